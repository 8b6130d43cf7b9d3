"""Which of two texts is a third nearer to? The cosine between counts of content words: no model, no surprises."""

import math
import re
from collections import Counter

__all__ = ["content_words", "likeness"]

_WORD = re.compile(r"[a-z]+")
_EMPTY = frozenset(
    "a about after all also am an and any are as at be because been before being but by can could did do does for from get "
    "go had has have he her here him his how i if in into is it its just know like make many may me more most much my no "
    "not now of on one only or other our out over own people same say see she should so some such take tell than that the "
    "their them then there these they thing things this those through to too up us use used very want was way we well were "
    "what when where which while who why will with would you your".split()
)


def content_words(text: str) -> Counter[str]:
    """Counts of the words that carry a subject, plural endings dropped."""
    words = (word.removesuffix("s") for word in _WORD.findall(text.lower()) if word not in _EMPTY)
    return Counter(word for word in words if len(word) > 2)


def likeness(one: str, other: str) -> float:
    """Cosine between the counts of content words, 0 to 1; 0 where either has none."""
    a, b = content_words(one), content_words(other)
    length = math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return sum(count * b[word] for word, count in a.items()) / length if length else 0.0
