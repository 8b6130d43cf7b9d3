"""Small offline questions with one right answer among four, in tables: what a model knew before must not be lost.

Ours, for lack of the paper's benchmarks here: capitals, sums, agreement of verbs, opposites. A few hundred questions tell
a loss of several per cent from none, not more.
"""

from dataclasses import dataclass
from random import Random

__all__ = ["Probe", "probes"]

_CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "Austria": "Vienna", "Poland": "Warsaw", "Greece": "Athens", "Norway": "Oslo", "Sweden": "Stockholm",
    "Denmark": "Copenhagen", "Finland": "Helsinki", "Ireland": "Dublin", "Hungary": "Budapest", "Russia": "Moscow",
    "Turkey": "Ankara", "Egypt": "Cairo", "Kenya": "Nairobi", "Japan": "Tokyo", "China": "Beijing",
    "India": "New Delhi", "Thailand": "Bangkok", "Vietnam": "Hanoi", "Iran": "Tehran", "Iraq": "Baghdad",
    "Israel": "Jerusalem", "Peru": "Lima", "Chile": "Santiago", "Cuba": "Havana", "Canada": "Ottawa",
    "Australia": "Canberra", "Argentina": "Buenos Aires", "Belgium": "Brussels", "Netherlands": "Amsterdam",
    "Switzerland": "Bern", "Romania": "Bucharest", "Bulgaria": "Sofia", "Ukraine": "Kyiv", "Mexico": "Mexico City",
    "Colombia": "Bogota", "Nepal": "Kathmandu", "Pakistan": "Islamabad", "Indonesia": "Jakarta",
    "Malaysia": "Kuala Lumpur",
}  # fmt: skip
_OPPOSITES = {
    "hot": "cold", "big": "small", "fast": "slow", "light": "dark", "early": "late", "happy": "sad", "rich": "poor",
    "strong": "weak", "old": "young", "hard": "soft", "wet": "dry", "full": "empty", "loud": "quiet", "high": "low",
    "near": "far", "open": "closed", "clean": "dirty", "thick": "thin", "deep": "shallow", "easy": "difficult",
    "cheap": "expensive", "heavy": "light", "long": "short", "wide": "narrow", "sharp": "dull", "sweet": "sour",
    "brave": "cowardly", "polite": "rude", "safe": "dangerous", "true": "false", "up": "down", "left": "right",
    "first": "last", "day": "night", "love": "hate", "begin": "end", "win": "lose", "buy": "sell", "push": "pull",
    "arrive": "leave",
}  # fmt: skip
_SINGULAR = ("dog", "teacher", "child", "farmer", "pilot", "cat", "doctor", "singer", "boy", "nurse")
_PLURAL = ("trees", "houses", "cars", "roses", "chairs", "boats", "rivers", "books", "lamps", "hills")
_VERBS = (("is", "are"), ("was", "were"), ("has", "have"), ("sleeps", "sleep"), ("sings", "sing"))


@dataclass(frozen=True, slots=True)
class Probe:
    """A question as a user asks it, what the answer begins with, and how it may go on: the first is right."""

    kind: str
    question: str
    begin: str
    options: tuple[str, ...]


def probes(*, seed: int = 0) -> list[Probe]:
    """All of them; `seed` draws the wrong options."""
    draw = Random(f"probes:{seed}")
    return [*_capitals(draw), *_sums(draw), *_agreement(draw), *_opposites(draw)]


def _others(draw: Random, right: str, all_of_them: list[str]) -> tuple[str, ...]:
    return (right, *draw.sample([one for one in all_of_them if one != right], 3))


def _capitals(draw: Random) -> list[Probe]:
    cities = list(_CAPITALS.values())
    return [
        Probe("capitals", f"What is the capital of {land}?", f"The capital of {land} is", _others(draw, city, cities))
        for land, city in _CAPITALS.items()
    ]


def _sums(draw: Random) -> list[Probe]:
    made: list[Probe] = []
    for _ in range(60):
        a, b = draw.randint(1, 9), draw.randint(1, 9)
        wrong = draw.sample([n for n in range(max(1, a + b - 4), a + b + 5) if n != a + b], 3)
        options = (str(a + b), *map(str, wrong))
        made.append(Probe("sums", f"What is {a} plus {b}?", f"{a} plus {b} is", options))
    return made


def _agreement(draw: Random) -> list[Probe]:
    made: list[Probe] = []
    for _ in range(60):
        one, many, verb = draw.choice(_SINGULAR), draw.choice(_PLURAL), draw.choice(_VERBS)
        subject, far = (f"The {one}", many) if draw.random() < 0.5 else (f"The {one}s", many[:-1])
        options = verb if subject.endswith(one) else verb[::-1]
        made.append(Probe("agreement", "Say a sentence.", f"{subject} near the {far}", options))
    return made


def _opposites(draw: Random) -> list[Probe]:
    words = list(_OPPOSITES.values())
    return [
        Probe("opposites", f"What is the opposite of {a}?", f"The opposite of {a} is", _others(draw, b, words))
        for a, b in _OPPOSITES.items()
    ]
