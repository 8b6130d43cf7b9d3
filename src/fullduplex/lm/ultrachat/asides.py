"""Side questions that have nothing to do with what is being said, with answers that are true anywhere.

Ours, not the paper's: it has GPT-4 write side questions. A small model knows these answers, so that what is learnt and
measured is to give them and then to go back to where it was.
"""

from fullduplex.lm.ultrachat.prompts import Part

__all__ = ["side_questions"]

_WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_YEAR = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_LEGS = {
    "a spider": "eight",
    "a dog": "four",
    "a chicken": "two",
    "a beetle": "six",
    "a horse": "four",
    "a duck": "two",
}
_COLOURS = {
    "grass": "green", "snow": "white", "coal": "black", "a ripe banana": "yellow", "the sky on a clear day": "blue",
    "a ripe tomato": "red", "milk": "white", "a carrot": "orange",
}  # fmt: skip
_YOUNG = {"dog": "puppy", "cat": "kitten", "cow": "calf", "sheep": "lamb", "horse": "foal", "duck": "duckling"}
_MAKERS = {
    "bread": "baker", "shoes": "shoemaker", "furniture": "carpenter", "clothes": "tailor", "meals": "cook",
    "paintings": "painter",
}  # fmt: skip
_PARTS = {
    "minutes in an hour": "sixty", "days in a week": "seven", "months in a year": "twelve", "hours in a day": "twenty-four",
    "seconds in a minute": "sixty", "wheels on a bicycle": "two", "letters in the alphabet": "twenty-six",
    "eggs in a dozen": "twelve",
}  # fmt: skip
_OPENINGS = ("", "Sorry, quick question.", "Wait.", "By the way,", "Oh, before I forget:", "One thing.")
_HELD_OUT_EVERY = 4


def _all() -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for days, what in ((_WEEK, "day"), (_YEAR, "month")):
        for at, day in enumerate(days):
            after = days[(at + 1) % len(days)]
            pairs.append((f"what {what} comes after {day}?", f"{after} comes after {day}."))
    pairs += [
        (f"how many legs does {animal} have?", f"{_first(animal)} has {count} legs.") for animal, count in _LEGS.items()
    ]
    pairs += [(f"what colour is {thing}?", f"{_first(thing)} is {colour}.") for thing, colour in _COLOURS.items()]
    pairs += [
        (f"what is a young {animal} called?", f"A young {animal} is called a {name}.")
        for animal, name in _YOUNG.items()
    ]
    pairs += [(f"who makes {thing}?", f"A {maker} makes {thing}.") for thing, maker in _MAKERS.items()]
    pairs += [(f"how many {things} are there?", f"There are {count} {things}.") for things, count in _PARTS.items()]
    return pairs


def _first(text: str) -> str:
    return text[0].upper() + text[1:]


def side_questions(part: Part = "all") -> tuple[tuple[str, str], ...]:
    """Pairs of a question and its answer, one sentence each; "training" and "held-out" share no question."""
    made: list[tuple[str, str]] = []
    for at, (question, answer) in enumerate(_all()):
        if part != "all" and (at % _HELD_OUT_EVERY == 0) != (part == "held-out"):
            continue
        for opening in _OPENINGS:
            after = _first(question) if not opening or opening[-1] == "." else question
            made.append((f"{opening} {after}".strip(), answer))
    return tuple(made)
