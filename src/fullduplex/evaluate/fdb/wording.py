"""The words of a sentence that carry its content: what the judges without a model compare."""

import re

__all__ = ["content_words"]

_FUNCTION_WORDS = frozenset(
    "a about all an and any are as at be but by can could did do does for from had has have he her him his how i if in "
    "into is it its just let me my no not of on or our out she so some than that the their them then there these they "
    "this to up us was we were what when where which who why will with would yes you your".split()
)


def content_words(text: str) -> set[str]:
    """Lower-case words without function words and without the endings -s, -es, -ed, -ing (where three letters stay)."""
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())
    return {_stem(word) for word in words if word not in _FUNCTION_WORDS and len(word) > 1}


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
