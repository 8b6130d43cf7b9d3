"""Spoken questions without a data set: subjects times forms, in an order drawn by seed."""

from random import Random

from fullduplex.base.errors import InputError

__all__ = ["FOLLOW_UPS", "num_prompts", "prompts"]

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


def num_prompts() -> int:
    """How many different ones there are."""
    return len(_SUBJECTS) * len(_FORMS)


def prompts(count: int, *, seed: int = 0) -> list[str]:
    """`count` different questions.

    Raises:
        InputError: more than there are.
    """
    if not 1 <= count <= num_prompts():
        raise InputError(f"count is {count}; expected 1 to {num_prompts()}: bring a file of prompts for more")
    everything = [form.format(subject) for subject in _SUBJECTS for form in _FORMS]
    return Random(seed).sample(everything, count)
