"""Text as a voice reads it: every written word with the words that are spoken for it and the pause that follows.

`spoken("It costs $5.")` gives It, costs, and `$5.` spoken as "five dollars" with the pause ".". The written word is
kept, so that a caller can say how much of the *text* was heard. Any Unicode goes in; what has no reading (emoji,
other scripts) is silent. Nothing here raises for any text.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from fullduplex.speech.english.numbers import cardinal, decimal, digits, ordinal, plural, year

__all__ = ["SpokenWord", "plain", "spoken"]


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word as written, the words said for it, and the punctuation after it: "" or one of , . ? ! ; :"""

    text: str
    words: tuple[str, ...]
    pause: str = ""


_MONTHS = "january february march april may june july august september october november december".split()
_SHORT_MONTHS = {month[:3]: month for month in _MONTHS} | {"sept": "september"}
_TITLES = {
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "dr": "doctor",
    "prof": "professor",
    "st": "saint",
    "jr": "junior",
    "sr": "senior",
    "vs": "versus",
    "etc": "et cetera",
    "e.g": "for example",
    "i.e": "that is",
    "approx": "approximately",
    "dept": "department",
    "min": "minutes",
    "max": "maximum",
    "inc": "incorporated",
    "ltd": "limited",
    "corp": "corporation",
    "ave": "avenue",
    "a.m": "A M",
    "p.m": "P M",
}
_UNITS = {
    "km": ("kilometer", "kilometers"),
    "m": ("meter", "meters"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "mi": ("mile", "miles"),
    "ft": ("foot", "feet"),
    "in": ("inch", "inches"),
    "kg": ("kilogram", "kilograms"),
    "g": ("gram", "grams"),
    "mg": ("milligram", "milligrams"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "l": ("liter", "liters"),
    "ml": ("milliliter", "milliliters"),
    "s": ("second", "seconds"),
    "sec": ("second", "seconds"),
    "ms": ("millisecond", "milliseconds"),
    "min": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
    "hz": ("hertz", "hertz"),
    "khz": ("kilohertz", "kilohertz"),
    "mhz": ("megahertz", "megahertz"),
    "ghz": ("gigahertz", "gigahertz"),
    "kb": ("kilobyte", "kilobytes"),
    "mb": ("megabyte", "megabytes"),
    "gb": ("gigabyte", "gigabytes"),
    "tb": ("terabyte", "terabytes"),
    "w": ("watt", "watts"),
    "kw": ("kilowatt", "kilowatts"),
    "v": ("volt", "volts"),
    "mph": ("mile per hour", "miles per hour"),
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "°c": ("degree celsius", "degrees celsius"),
    "°f": ("degree fahrenheit", "degrees fahrenheit"),
    "°": ("degree", "degrees"),
    "%": ("percent", "percent"),
    "am": ("A M", "A M"),
    "pm": ("P M", "P M"),
    "a.m": ("A M", "A M"),
    "p.m": ("P M", "P M"),
    "k": ("thousand", "thousand"),
    "bn": ("billion", "billion"),
}
_COINS = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
_SIZES = ("thousand", "million", "billion", "trillion")
_SYMBOLS = {
    "&": "and",
    "+": "plus",
    "=": "equals",
    "@": "at",
    "%": "percent",
    "#": "number",
    "°": "degrees",
    "<": "less than",
    ">": "greater than",
    "×": "times",
    "÷": "divided by",
    "±": "plus or minus",
    "½": "one half",
    "¼": "one quarter",
    "¾": "three quarters",
    "©": "copyright",
    "™": "trademark",
    "$": "dollars",
    "€": "euros",
    "£": "pounds",
    "~": "about",
    "*": "",
    "_": "",
    "/": "slash",
}
_PAUSES = {"…": ".", "—": ",", "–": ",", "。": ".", "，": ",", "？": "?", "！": "!"}

_NUMBER = r"(\d{1,3}(?:,\d{3})+|\d+)?(?:\.(\d+))?"
_UNIT_NAMES = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_EDGE_OPEN = "\"'“”‘’([{<*_«»~`"
_EDGE_CLOSE = "\"'“”’)]}>*_«»~`"


def spoken(text: str) -> tuple[SpokenWord, ...]:
    """The words of `text` in order, as read aloud in American English. Words with no reading have `words` empty."""
    pieces = _fold(text).split()
    out: list[SpokenWord] = []
    index = 0
    while index < len(pieces):
        piece = pieces[index]
        core, pause = _peel(piece)
        before = out[-1].text if out else ""
        following = _peel(pieces[index + 1])[0].lower() if index + 1 < len(pieces) else ""
        if following in _SIZES and not pause and (match := re.fullmatch(r"([$€£¥₹])" + _NUMBER, core)):
            # "$3 million" is "three million dollars": two written words share one reading.
            end_pause = _peel(pieces[index + 1])[1]
            out.append(SpokenWord(piece, tuple(_plain_number(*match.groups()[1:]))))
            out.append(SpokenWord(pieces[index + 1], (following, _COINS[match[1]][1]), end_pause))
            index += 2
            continue
        out.append(SpokenWord(piece, tuple(_read(core, before)), pause))
        index += 1
    return tuple(out)


def plain(text: str) -> str:
    """`text` with everything spelled out: "It's 5%." -> "it's five percent"."""
    return " ".join(word for item in spoken(text) for word in item.words).lower()


def _fold(text: str) -> str:
    """Compatibility forms and typographic quotes to ASCII; ½ stays, surrogates and controls become spaces."""
    text = re.sub(r"[’‘ʼ]", "'", text)
    text = re.sub(r"(?<=\S)(--+|—|–)(?=\S)", lambda match: "-" if match[0] == "–" else ", ", text)
    kept = (c if c in "½¼¾™…°" else unicodedata.normalize("NFKC", c) for c in text)
    return "".join(c if unicodedata.category(c[:1] or " ")[0] != "C" else " " for c in kept)


def _peel(piece: str) -> tuple[str, str]:
    """A written word without its quotes and brackets, and the pause that its last punctuation means."""
    pause = ""
    core = piece.lstrip(_EDGE_OPEN + "¿¡")
    core = re.sub(r"^[.…,;:!?-]+(?=[^\d$€£¥₹.])|^-+$", "", core)
    while core:
        last = core[-1]
        if last in ".,?!;:" or last in _PAUSES:
            mark = _PAUSES.get(last, last)
            pause = mark if not pause or (mark in "?!" and pause not in "?!") else pause
        elif last not in _EDGE_CLOSE:
            break
        core = core[:-1]
    lowered = core.lower()
    if pause == "." and piece.endswith(".") and (lowered in _TITLES or re.fullmatch(r"[A-Z]", core)):
        pause = ""  # "Dr. Smith", "J. Smith"
    return core, pause


def _read(core: str, before: str) -> list[str]:
    """The spoken words of one written word. `before` is the written word before it."""
    if not core:
        return []
    if core.lower() in _UNITS and core != "in" and re.fullmatch(r"-?[\d.,]*\d", before, re.ASCII):  # "5 in a row"
        return _UNITS[core.lower()][before != "1"].split()
    if core.lower() in _TITLES:
        return _TITLES[core.lower()].split()
    for pattern, reader in _READERS:
        if match := pattern.fullmatch(core):
            return reader(match, before)
    if core.lower() in _SHORT_MONTHS and core[0].isupper() and core.lower() != "may":
        return [_SHORT_MONTHS[core.lower()]]
    return _pieces(core)


def _pieces(core: str) -> list[str]:
    """Words, numbers and symbols inside one written word: "well-known", "C++", "GPT4", "user@example.com"."""
    if re.fullmatch(r"(?:https?://)?(?:www\.)?[\w-]+(?:\.[\w-]+)+(?:/\S*)?|\S+@\S+\.\S+", core) and re.search(
        r"[A-Za-z]{2}", core
    ):
        core = re.sub(r"^https?://", "", core).rstrip("/").replace(".", " dot ")
    words: list[str] = []
    for part in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*'?|\d+(?:\.\d+)?|\S", core):
        if part[0].isdigit() and part.isascii():
            whole, _, fraction = part.partition(".")
            words += decimal(whole, fraction) if fraction else _whole(whole)
        elif part[0].isalpha():
            # fooBar and GPTModel are two words each; McDonald stays one.
            split = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\WA-Z\d_']+(?:'\w+)?|\w+(?:'\w+)?", part)
            words += [part] if part.startswith(("Mc", "Mac", "O'")) or "'" in part else split
        else:
            words += _SYMBOLS.get(part, "").split()
    return words


def _whole(text: str) -> list[str]:
    """An integer as written: leading zeros and long runs are read digit by digit."""
    value = text.replace(",", "")
    if (len(value) > 1 and value.startswith("0")) or len(value) > 12:
        return digits(value)
    return cardinal(int(value))


def _plain_number(whole: str | None, fraction: str | None) -> list[str]:
    return decimal((whole or "0").replace(",", ""), fraction) if fraction else _whole(whole or "0")


def _read_number(match: re.Match[str], before: str) -> list[str]:
    sign, whole, fraction = match.groups()
    if whole is None and fraction is None:
        return []
    head = ["minus"] if sign else []
    if whole and not fraction and not sign:
        month = _SHORT_MONTHS.get(before.lower().rstrip(".,")[:3]) if before[:1].isupper() else None
        if (
            month
            and before.lower().rstrip(".,") in (month, month[:3], "sept")
            and 1 <= int(whole.replace(",", "")) <= 31
        ):
            return ordinal(int(whole))
        if len(whole) == 4 and whole.isdigit() and 1100 <= int(whole) <= 2099:
            return year(int(whole))
    return head + _plain_number(whole, fraction)


def _read_money(match: re.Match[str], _before: str) -> list[str]:
    sign, symbol, whole, fraction, size = match.groups()
    one, many, cent, cents = _COINS[symbol]
    head = ["minus"] if sign else []
    amount = int((whole or "0").replace(",", ""))
    if size:
        return [
            *head,
            *_plain_number(whole, fraction),
            {"k": "thousand", "m": "million"}.get(size.lower(), "billion"),
            many,
        ]
    if fraction and len(fraction) == 2 and cent:
        part = int(fraction)
        small = [*cardinal(part), cent if part == 1 else cents]
        if not amount:
            return head + small
        big = [*cardinal(amount), one if amount == 1 else many]
        return [*head, *big, "and", *small] if part else head + big
    return [*head, *_plain_number(whole, fraction), one if amount == 1 and not fraction else many]


def _read_time(match: re.Match[str], _before: str) -> list[str]:
    hour, minute, second, half = match.groups()
    words = cardinal(int(hour))
    if minute != "00":
        words += (["oh"] if minute[0] == "0" else []) + cardinal(int(minute))
    elif not half and not second:
        words += ["o'clock"] if 1 <= int(hour) <= 12 else ["hundred"]
    if second:
        words += ["and", *cardinal(int(second)), "seconds"]
    if half:
        words += [half[0].upper(), "M"]
    return words


def _read_date(match: re.Match[str], _before: str) -> list[str]:
    if match["iso"]:
        years, month, day = int(match["y"]), int(match["m"]), int(match["d"])
    else:
        month, day, years = int(match["m2"]), int(match["d2"]), int(match["y2"])
        years += 2000 if years < 100 else 0
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return [*cardinal(month), "slash", *cardinal(day), "slash", *cardinal(years)]
    return [_MONTHS[month - 1], *ordinal(day), *year(years)]


def _read_unit(match: re.Match[str], _before: str) -> list[str]:
    sign, whole, fraction, unit = match.groups()
    if whole is None and fraction is None:
        return _pieces(match[0])
    one = whole == "1" and not fraction
    name = _UNITS[unit.lower()][0 if one else 1].split()
    return [*(["minus"] if sign else []), *_plain_number(whole, fraction), *name]


def _read_range(match: re.Match[str], before: str) -> list[str]:
    low, high = match.groups()
    if len(low) == len(high) == 4:
        return [*year(int(low)), "to", *year(int(high))]
    return [*_whole(low), "to", *_whole(high)]


def _read_fraction(match: re.Match[str], _before: str) -> list[str]:
    above, below = int(match[1]), int(match[2])
    if not above < below <= 20:  # 24/7, 50/50
        return [*cardinal(above), *cardinal(below)]
    name = {2: ["half"], 4: ["quarter"]}.get(below) or ordinal(below)
    if above == 1:
        return ["one", *name]
    return [*cardinal(above), *plural(name)]


def _read_phone(match: re.Match[str], _before: str) -> list[str]:
    return digits(match[0])


def _read_decade(match: re.Match[str], _before: str) -> list[str]:
    value = int(match[1])
    return plural(year(value) if value >= 1000 else cardinal(value))


def _read_letters(match: re.Match[str], _before: str) -> list[str]:
    return [letter.upper() for letter in match[0] if letter.isalpha()]


Reader = Callable[[re.Match[str], str], list[str]]

# First match wins.
_READERS: tuple[tuple[re.Pattern[str], Reader], ...] = (
    (
        re.compile(r"(?P<iso>(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d))|(?P<m2>\d\d?)/(?P<d2>\d\d?)/(?P<y2>\d{4}|\d\d)"),
        _read_date,
    ),
    (re.compile(r"([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?\s?([aApP]\.?[mM]\.?)?"), _read_time),
    (re.compile(r"(?:\+?\d{1,2}[-.])?(?:\(\d{3}\)|\d{3})[-.]\d{3,4}(?:[-.]\d{4})?"), _read_phone),
    (re.compile(r"(-|−)?([$€£¥₹])" + _NUMBER + r"([kKmMbB])?"), _read_money),
    (re.compile(r"(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)"), lambda match, _: ordinal(int(match[1].replace(",", "")))),
    (re.compile(r"'?(\d{2,4})'?s"), _read_decade),
    (re.compile(r"(-|−)?" + _NUMBER, re.ASCII), _read_number),
    (re.compile(r"(-|−)?" + _NUMBER + rf"-?({_UNIT_NAMES})", re.IGNORECASE | re.ASCII), _read_unit),
    (re.compile(r"(\d+)-(\d+)", re.ASCII), _read_range),
    (re.compile(r"(\d{1,4})/(\d{1,4})", re.ASCII), _read_fraction),
    (re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]?"), _read_letters),
)
