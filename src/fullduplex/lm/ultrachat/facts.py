"""Dialogues whose right answers are known to the word: the user tells a few things and asks about them, one by one.

Ours, not the paper's. They teach and measure what a small model gets wrong first when it is interrupted: to answer the
question that was asked last. The training part and the held-out part share no name, place, day or thing.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fullduplex.base.errors import FormatError, InputError
from fullduplex.lm.ultrachat.prompts import Part

__all__ = ["FactDialogue", "fact_dialogues", "read_facts"]

_NAMES = (
    "Anna", "Tom", "Maria", "Paul", "Lena", "Oscar", "Nina", "Felix", "Clara", "Hugo", "Sara", "Leo", "Emma", "Jonas",
    "Ruth", "Victor", "Alice", "Simon", "Julia", "Martin", "Helen", "David", "Sofia", "Peter", "Laura", "Adam", "Eva",
    "Frank", "Grace", "Henry", "Irene", "Karl",
)  # fmt: skip
_PLACES = (
    "Oslo", "Lima", "Paris", "Cairo", "Rome", "Boston", "Madrid", "Dublin", "Vienna", "Tokyo", "Athens", "Lisbon",
    "Berlin", "Chicago", "Prague", "Sydney", "Geneva", "Toronto", "Milan", "Warsaw", "Denver", "Zurich", "Delhi", "Bergen",
)  # fmt: skip
_TIMES = (
    "Monday morning", "Tuesday afternoon", "Wednesday evening", "Thursday at noon", "Friday morning", "Saturday afternoon",
    "Sunday evening", "Monday at noon", "Tuesday morning", "Wednesday afternoon", "Thursday evening", "Friday at noon",
)  # fmt: skip
_COLOURS = ("red", "blue", "green", "yellow", "black", "white", "orange", "purple", "brown", "silver", "pink", "grey")
_THINGS = (
    "bicycle", "front door", "kitchen table", "umbrella", "sofa", "winter coat", "suitcase", "garden chair", "lamp",
    "piano", "rowing boat", "tent", "teapot", "bookshelf", "motorcycle", "raincoat",
)  # fmt: skip
_ANIMALS = (
    "dog",
    "cat",
    "parrot",
    "horse",
    "rabbit",
    "goat",
    "hamster",
    "tortoise",
    "donkey",
    "pony",
    "canary",
    "goose",
)
_TAILS = (
    "That is what you told me a moment ago, and I will remember it for later.",
    "You mentioned it just now, so I am quite sure about that one.",
    "If that changes at some point, just let me know and I will keep up.",
    "I hope that helps, and please ask me again whenever you need it.",
    "It is easy to mix these things up, so it is good that you asked.",
    "Is there anything else about it that you would like to go over with me?",
)
_HELD_OUT_EVERY = 4


@dataclass(frozen=True, slots=True)
class _Scene:
    """`told`, `asked` and `answered` take {key} and {value}; keys and values come from two lists."""

    told: str
    asked: str
    answered: str
    keys: tuple[str, ...]
    values: tuple[str, ...]


_SCENES = (
    _Scene("{key} lives in {value}", "where does {key} live?", "{key} lives in {value}.", _NAMES, _PLACES),
    _Scene("I meet {key} on {value}", "when do I meet {key}?", "You meet {key} on {value}.", _NAMES, _TIMES),
    _Scene("my {key} is {value}", "what colour is my {key}?", "Your {key} is {value}.", _THINGS, _COLOURS),
    _Scene("my {key} is called {value}", "what is my {key} called?", "Your {key} is called {value}.", _ANIMALS, _NAMES),
    _Scene(
        "the {key} comes from {value}",
        "where does the {key} come from?",
        "The {key} comes from {value}.",
        _THINGS,
        _PLACES,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FactDialogue:
    """`exchanges`: (user, machine); `slots`: the word or words that the right answer of each exchange must hold."""

    exchanges: tuple[tuple[str, str], ...]
    slots: tuple[str, ...]

    def messages(self) -> list[dict[str, str]]:
        """As one chat of a JSONL file."""
        return [
            {"role": role, "content": text}
            for exchange in self.exchanges
            for role, text in zip(("user", "assistant"), exchange, strict=True)
        ]


def fact_dialogues(count: int, *, seed: int = 0, part: Part = "all") -> Iterator[FactDialogue]:
    """`count` dialogues of two or three questions about as many facts, told in the first message.

    Args:
        count: how many.
        seed: all chance.
        part: "training" and "held-out" share no name, place, time, colour or thing.

    Raises:
        InputError: count is not positive.
    """
    if count < 1:
        raise InputError(f"count is {count}; expected at least 1")
    for number in range(count):
        yield _dialogue(Random(f"facts:{seed}:{number}"), part)


def read_facts(file: Path) -> list[FactDialogue]:
    """The dialogues of a file that `fullduplex data facts` wrote.

    Raises:
        FormatError: a line is none (it is named), there are none, or no such file.
    """
    found: list[FactDialogue] = []
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    plain = json.loads(line)
                    texts = [str(message["content"]) for message in plain["messages"]]
                    found.append(
                        FactDialogue(tuple(zip(texts[::2], texts[1::2], strict=True)), tuple(map(str, plain["slots"])))
                    )
                except (KeyError, TypeError, ValueError) as error:
                    raise FormatError(f"{file} line {number} is no dialogue of told facts: {error!r}") from error
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error}") from error
    if not found:
        raise FormatError(f"{file} holds no dialogue; make some with: fullduplex data facts")
    return found


def _dialogue(draw: Random, part: Part) -> FactDialogue:
    scene = draw.choice(_SCENES)
    size = draw.randint(2, 3)
    keys, values = draw.sample(_of(scene.keys, part), size), draw.sample(_of(scene.values, part), size)
    told = [scene.told.format(key=key, value=value) for key, value in zip(keys, values, strict=True)]
    first = f"{', '.join(told[:-1])} and {told[-1]}."
    exchanges: list[tuple[str, str]] = []
    order = draw.sample(range(size), size)
    for place, at in enumerate(order):
        asked = scene.asked.format(key=keys[at])
        question = f"{_capital(first)} {_capital(asked)}" if not place else f"And {asked}"
        answer = scene.answered.format(key=keys[at], value=values[at])
        exchanges.append((question, f"{answer} {draw.choice(_TAILS)}"))
    return FactDialogue(tuple(exchanges), tuple(values[at] for at in order))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _of(words: Sequence[str], part: Part) -> list[str]:
    if part == "all":
        return list(words)
    return [word for at, word in enumerate(words) if (at % _HELD_OUT_EVERY == 0) == (part == "held-out")]
