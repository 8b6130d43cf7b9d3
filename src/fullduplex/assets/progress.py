"""What a download says about itself while it runs, as values; who listens decides how to show them."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Report", "silent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One report: `stage` is download, extract, note or done; `what` is the thing worked on; sizes are in bytes.

    `total_bytes` is 0 when the size is not known; a note has text in `what` and no sizes.
    """

    stage: str
    what: str
    done_bytes: int = 0
    total_bytes: int = 0


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """A listener that shows nothing."""
