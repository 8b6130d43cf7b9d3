"""The judge of returns, on continuations whose truth is known."""

import numpy as np
import pytest

from fullduplex.lm.behaviour.returning import came_back, split_opening
from fullduplex.lm.brain import Prompt
from fullduplex.lm.llama import LlamaBrain

TOPIC = ("What do bees do in winter?", "Honey bees stay in the hive and form a tight cluster around the queen.")
ASIDES = [
    ("How do you spell cluster?", "That is C-L-U-S-T-E-R."),
    ("Sorry, what was that last bit?", 'I said "form a tight cluster around the queen".'),
    ("What day comes after Monday?", "Tuesday comes after Monday."),
]
BACK = [
    "As I was saying, they shiver their wings to keep the queen warm and eat the honey that they stored.",
    "They take turns at the edge of the cluster, where it is coldest, until spring comes.",
    "Now, back to where I was. The bees live on honey that they have stored in summer.",
]


@pytest.mark.parametrize("aside", ASIDES)
@pytest.mark.parametrize("rest", BACK)
def test_a_return_is_seen(brain: LlamaBrain, aside: tuple[str, str], rest: str) -> None:
    assert came_back(brain, TOPIC, aside, rest)


@pytest.mark.parametrize("aside", ASIDES)
def test_what_is_no_return_is_seen(brain: LlamaBrain, aside: tuple[str, str]) -> None:
    for rest in (
        "",
        "Yes.",
        aside[1],
        f"{aside[1][:-1]}, that is what it was.",
        "As I was saying, the capital of France is Paris, a city on the river Seine.",
        "Is there anything else that you would like to know today?",
    ):
        assert not came_back(brain, TOPIC, aside, rest), rest


@pytest.mark.parametrize(
    ("text", "opening", "behind"),
    [
        ("As I was saying, they sleep a lot.", "As I was saying,", "they sleep a lot."),
        ("They sleep, eat, and wait.", "They sleep,", "eat, and wait."),
        (
            "In the winter months of the far north, bees sleep.",
            "",
            "In the winter months of the far north, bees sleep.",
        ),
        ("So, no.", "", "So, no."),
    ],
)
def test_a_phrase_of_returning_is_set_apart(text: str, opening: str, behind: str) -> None:
    assert split_opening(text) == (opening, behind)


def test_the_opening_is_given_and_not_judged() -> None:
    seen: list[tuple[str, str]] = []

    class Judge:
        def log_likelihood(self, messages: Prompt, text: str, *, key: str) -> np.ndarray:
            seen.append((messages[-1].text, text))
            return np.array([-1.0])

    assert not came_back(Judge(), TOPIC, ASIDES[0], "To continue, they wait for spring.")  # equal is not likelier
    assert [text for _, text in seen] == [" they wait for spring."] * 3
    assert [context.endswith("To continue,") for context, _ in seen] == [True] * 3
