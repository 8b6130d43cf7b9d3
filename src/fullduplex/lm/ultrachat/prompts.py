"""Spoken questions without a data set: subjects times forms, in an order drawn by seed."""

from random import Random
from typing import Literal

from fullduplex.base.errors import InputError

__all__ = ["FOLLOW_UPS", "LEADS", "Part", "num_prompts", "prompts"]

_SUBJECTS = (
    "the moon", "volcanoes", "bread", "bicycles", "the Roman Empire", "coffee", "sleep", "gardening", "photosynthesis",
    "the piano", "chess", "whales", "the weather", "elections", "vaccines", "earthquakes", "the ocean", "solar panels",
    "public libraries", "the violin", "honey bees", "black holes", "recycling", "tea", "running", "learning a language",
    "the human heart", "cheese", "trains", "the printing press", "penguins", "desert plants", "inflation", "swimming",
    "map making", "dreams", "the internet", "rainbows", "potatoes", "glaciers", "music theory", "first aid", "paper",
    "mushrooms", "the Olympic Games", "electric cars", "dogs", "cats", "knots", "photography", "origami", "telescopes",
    "dinosaurs", "fermentation", "rivers", "lighthouses", "magnets", "clouds", "painting walls", "saving money",
    "job interviews", "packing a suitcase", "sore muscles", "stage fright",
)  # fmt: skip
_FORMS = (
    "Tell me something about {}.",
    "What should I know about {}?",
    "Why do people care about {}?",
    "Explain {} as if I were ten years old.",
    "What is a common mistake people make about {}?",
    "Give me three facts about {}.",
    "What is the history of {} in a few sentences?",
    "I know nothing about {}. Where do I begin?",
    "What is surprising about {}?",
    "How would you describe {} to a friend?",
    "What questions do people often ask about {}?",
    "Is there anything about {} that people disagree on?",
    "Can you tell me a short story about {}?",
    "What is the best way to learn more about {}?",
)
FOLLOW_UPS = (
    "Can you tell me more about that?",
    "Why is that?",
    "Could you give me an example?",
    "What else should I know?",
    "How does that work exactly?",
    "Is that always true?",
    "Can you say that in one sentence?",
    "What would you recommend?",
)


# People seldom ask in six words. What they say first carries no information and must not be answered yet.
LEADS = (
    "I was reading the newspaper this morning and something in it made me curious.",
    "My daughter came home from school with a question that I could not answer.",
    "I am preparing a short talk for some friends and I need a little help.",
    "We were having dinner last night when this came up again.",
    "I have a few minutes before my train leaves and I would like to learn something.",
    "You probably get this question all the time, but I have never really understood it.",
    "Yesterday I watched half of a documentary and then fell asleep on the sofa.",
    "My neighbour and I have been arguing about this for a week now.",
)
_HELD_OUT_EVERY = 8  # subjects of the held-out part: no prompt of the other part speaks of them

Part = Literal["all", "training", "held-out"]


def num_prompts(part: Part = "all") -> int:
    """How many different ones there are, lead-ins not counted."""
    return len(_subjects(part)) * len(_FORMS)


def prompts(count: int, *, seed: int = 0, part: Part = "all", lead: float = 0.0) -> list[str]:
    """`count` different questions.

    Args:
        count: how many.
        seed: order and lead-ins.
        part: "training" and "held-out" share no subject, "all" is both.
        lead: share of the questions before which the user says a sentence that asks nothing, 0 to 1.

    Raises:
        InputError: more than there are, or a share outside 0 to 1.
    """
    if not 1 <= count <= num_prompts(part):
        raise InputError(f"count is {count}; expected 1 to {num_prompts(part)}: bring a file of prompts for more")
    if not 0 <= lead <= 1:
        raise InputError(f"lead is {lead}; expected a share from 0 to 1")
    draw = Random(seed)
    chosen = draw.sample([form.format(subject) for subject in _subjects(part) for form in _FORMS], count)
    return [f"{draw.choice(LEADS)} {prompt}" if draw.random() < lead else prompt for prompt in chosen]


def _subjects(part: Part) -> tuple[str, ...]:
    if part == "all":
        return _SUBJECTS
    held = _SUBJECTS[::_HELD_OUT_EVERY]
    return held if part == "held-out" else tuple(s for s in _SUBJECTS if s not in held)
