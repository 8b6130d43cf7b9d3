"""Statistics of a two-party conversation: IPUs, pauses, gaps, overlaps, floor-transfer offsets.

Definitions (as in Heldner and Edlund 2010, and 2203.16502, which measured spoken-dialogue models with them):
- IPU (inter-pausal unit): speech of one side with no silence in it longer than 0.2 s (an option).
- Silence of both sides is a pause where the same side speaks before and after it, a gap where the other does.
- Overlap is where both speak: "between" at a change of speaker, "within" inside one side's IPU.
- Floor-transfer offset: start of the next speaker's IPU minus end of the last one's; negative when they overlapped.
  An IPU that lies within the other side's IPU transfers nothing (it is a backchannel or an attempt).
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from itertools import pairwise
from math import nan

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.evaluate.timing.spans import Recording, Span, gaps_between, merged, shared, total_s

__all__ = ["IPU_SILENCE_S", "Statistics", "conversation_statistics", "pooled"]

IPU_SILENCE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a conversation is made of. All in seconds; counts are the lengths of the tuples."""

    duration_s: float
    user_speech_s: float
    system_speech_s: float
    user_ipus_s: tuple[float, ...] = ()
    system_ipus_s: tuple[float, ...] = ()
    pauses_s: tuple[float, ...] = ()
    gaps_s: tuple[float, ...] = ()
    overlaps_between_s: tuple[float, ...] = ()
    overlaps_within_s: tuple[float, ...] = ()
    offsets_to_user_s: tuple[float, ...] = ()
    offsets_to_system_s: tuple[float, ...] = ()

    @property
    def offsets_s(self) -> tuple[float, ...]:
        """Floor-transfer offsets in both directions."""
        return (*self.offsets_to_user_s, *self.offsets_to_system_s)

    def figures(self) -> dict[str, float]:
        """Counts per minute, totals per minute, medians; NaN where there is nothing to take the median of."""
        minutes = self.duration_s / 60
        named: Mapping[str, Sequence[float]] = {
            "user_ipu": self.user_ipus_s,
            "system_ipu": self.system_ipus_s,
            "pause": self.pauses_s,
            "gap": self.gaps_s,
            "overlap_between": self.overlaps_between_s,
            "overlap_within": self.overlaps_within_s,
        }
        out = {
            "duration_s": self.duration_s,
            "user_speech_share": self.user_speech_s / self.duration_s,
            "system_speech_share": self.system_speech_s / self.duration_s,
        }
        for name, values in named.items():
            out[f"{name}_count"] = float(len(values))
            out[f"{name}_per_min"] = len(values) / minutes
            out[f"{name}_s_per_min"] = sum(values) / minutes
            out[f"{name}_s_median"] = _quantile(values, 0.5)
        for name, values in (("user", self.offsets_to_user_s), ("system", self.offsets_to_system_s)):
            out[f"offset_to_{name}_count"] = float(len(values))
            for label, q in (("p10", 0.1), ("median", 0.5), ("p90", 0.9)):
                out[f"offset_to_{name}_s_{label}"] = _quantile(values, q)
        return out


def _quantile(values: Sequence[float], q: float) -> float:
    return float(np.quantile(values, q)) if values else nan


def conversation_statistics(recording: Recording, *, ipu_silence_s: float = IPU_SILENCE_S) -> Statistics:
    """Count and measure. Linear in the number of spans.

    Args:
        recording: spans of both sides; words are not used.
        ipu_silence_s: longest silence inside an IPU.
    """
    if not ipu_silence_s >= 0:
        raise InputError(f"ipu_silence_s is {ipu_silence_s}; expected 0 or more seconds")
    user, system = (merged(side.spans, ipu_silence_s) for side in (recording.user, recording.system))
    pauses, gaps = _silences(user, system)
    between, within = _overlaps(user, system)
    to_user, to_system = _offsets(user, system)
    return Statistics(
        duration_s=recording.duration_s,
        user_speech_s=total_s(user),
        system_speech_s=total_s(system),
        user_ipus_s=_lengths(user),
        system_ipus_s=_lengths(system),
        pauses_s=pauses,
        gaps_s=gaps,
        overlaps_between_s=between,
        overlaps_within_s=within,
        offsets_to_user_s=to_user,
        offsets_to_system_s=to_system,
    )


def _lengths(spans: Sequence[Span]) -> tuple[float, ...]:
    return tuple(end - start for start, end in spans)


def _silences(user: Sequence[Span], system: Sequence[Span]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(pauses, gaps): whoever ends at a silence spoke before it, whoever begins at its end speaks after it."""
    user_ends, user_starts = {end for _, end in user}, {start for start, _ in user}
    system_ends, system_starts = {end for _, end in system}, {start for start, _ in system}
    pauses: list[float] = []
    gaps: list[float] = []
    for low, high in gaps_between(merged((*user, *system))):
        same = (low in user_ends and high in user_starts) or (low in system_ends and high in system_starts)
        (pauses if same else gaps).append(high - low)
    return tuple(pauses), tuple(gaps)


def _overlaps(user: Sequence[Span], system: Sequence[Span]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(between, within): within when the overlap is the whole of one side's IPU."""
    whole = {*user, *system}
    between: list[float] = []
    within: list[float] = []
    for span in shared(user, system):
        (within if span in whole else between).append(span[1] - span[0])
    return tuple(between), tuple(within)


def _offsets(user: Sequence[Span], system: Sequence[Span]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(to the user, to the system): floor-transfer offsets between IPUs that are not inside one of the other side."""
    ipus = sorted([(start, -end, "user") for start, end in user] + [(start, -end, "system") for start, end in system])
    holders: list[tuple[float, float, str]] = []
    reach = -np.inf  # of everything so far: an IPU that does not pass it lies within another
    for start, minus_end, who in ipus:
        if -minus_end > reach:
            holders.append((start, -minus_end, who))
            reach = -minus_end
    out: dict[str, list[float]] = {"user": [], "system": []}
    for (_, end, before), (start, _, after) in pairwise(holders):
        if before != after:
            out[after].append(start - end)
    return tuple(out["user"]), tuple(out["system"])


def pooled(parts: Sequence[Statistics]) -> Statistics:
    """Several conversations as one sample.

    Raises:
        InputError: there are none.
    """
    if not parts:
        raise InputError("no conversations to pool; expected at least one")

    def joined(name: str) -> tuple[float, ...]:
        return tuple(value for part in parts for value in getattr(part, name))

    return Statistics(
        duration_s=sum(part.duration_s for part in parts),
        user_speech_s=sum(part.user_speech_s for part in parts),
        system_speech_s=sum(part.system_speech_s for part in parts),
        **{item.name: joined(item.name) for item in fields(Statistics) if item.default is not MISSING},
    )
