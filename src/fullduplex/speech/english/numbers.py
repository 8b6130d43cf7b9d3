"""Numbers as English words: cardinals, ordinals, years, decimals, digits."""

__all__ = ["cardinal", "decimal", "digits", "ordinal", "plural", "year"]

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
_GROUPS = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (10**3, "thousand"))
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_LIMIT = 10**15


def cardinal(value: int) -> list[str]:
    """21 -> twenty one. Beyond 10**15 the digits are read one by one."""
    if value < 0:
        return ["minus", *cardinal(-value)]
    if value >= _LIMIT:
        return digits(str(value))
    words: list[str] = []
    for size, name in _GROUPS:
        if value >= size:
            words += [*_below_thousand(value // size), name]
            value %= size
    if value or not words:
        words += _below_thousand(value)
    return words


def ordinal(value: int) -> list[str]:
    """21 -> twenty first."""
    *head, last = cardinal(value)
    if last in _ORDINALS:
        return [*head, _ORDINALS[last]]
    return [*head, last[:-1] + "ieth" if last.endswith("y") else last + "th"]


def year(value: int) -> list[str]:
    """1999 -> nineteen ninety nine; 2007 -> two thousand seven; 1900 -> nineteen hundred."""
    century, rest = divmod(value, 100)
    if not 1000 <= value <= 2999 or (century % 10 == 0 and rest < 10):
        return cardinal(value)
    if rest == 0:
        return [*cardinal(century), "hundred"]
    return [*cardinal(century), *(["oh"] if rest < 10 else []), *cardinal(rest)]


def decimal(whole: str, fraction: str) -> list[str]:
    """("3", "14") -> three point one four. An empty `whole` is zero."""
    return [*cardinal(int(whole or "0")), "point", *digits(fraction)]


def digits(text: str) -> list[str]:
    """Each digit by its name; anything else in `text` is skipped."""
    return [_SMALL[int(character)] for character in text if character in "0123456789"]


def plural(words: list[str]) -> list[str]:
    """nineteen ninety -> nineteen nineties."""
    *head, last = words
    if last.endswith("y"):
        return [*head, last[:-1] + "ies"]
    return [*head, last + ("es" if last.endswith(("x", "s")) else "s")]


def _below_thousand(value: int) -> list[str]:
    words: list[str] = []
    if value >= 100:
        words += [_SMALL[value // 100], "hundred"]
        value %= 100
    if value >= 20:
        words.append(_TENS[value // 10])
        value %= 10
        if value == 0:
            return words
    if value or not words:
        words.append(_SMALL[value])
    return words
