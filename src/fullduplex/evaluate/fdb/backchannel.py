"""Back-channels of Full-Duplex-Bench v1: takeover, frequency, and how their times compare with those of listeners.

The two modes differ in every line:

| | paper | code |
|---|---|---|
| takeover | the rule of `takeover` over all words | each speech segment in turn; the *last* one decides |
| frequency | back-channels a second, of items without a takeover | segments of at most 3 s a second, of all items |
| JSD | the divergence in bits (0 to 1), of items without a takeover | its root in nats (0 to 0.8326), of all |
| silence | a uniform distribution | 1, which the formula cannot reach |
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.evaluate.fdb.items import FdbItem, Mode
from fullduplex.evaluate.fdb.takeover import takes_turn
from fullduplex.evaluate.timing.spans import Recording, Span, Word, clipped

__all__ = ["BIN_S", "BackchannelOutcome", "backchannel_bins", "backchannel_outcome", "js_distance", "js_divergence"]

BIN_S = 0.2
_LONG_S, _SHORT_S, _EPSILON = 3.0, 1.0, 1e-10

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackchannelOutcome:
    """One item. `frequency_hz` and `divergence` are None where the mode leaves the item out of the mean."""

    takeover: bool
    num_backchannels: int
    frequency_hz: float | None
    divergence: float | None


def js_divergence(first: Sequence[float], second: Sequence[float], *, base: float = 2.0) -> float:
    """Jensen-Shannon divergence of two distributions (normalised here) over the same bins; 0 to log_base(2)."""
    p, q = _normal(first), _normal(second)
    if p.size != q.size:
        raise InputError(f"distributions have {p.size} and {q.size} bins; expected the same")
    m = (p + q) / 2

    def relative(a: F64) -> float:
        some = a > 0
        return float(np.sum(a[some] * np.log(a[some] / m[some])))

    return max(0.0, (relative(p) + relative(q)) / 2) / math.log(base)


def js_distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Square root of the divergence in nats: what the released script calls by the divergence's name."""
    return math.sqrt(js_divergence(first, second, base=math.e))


def _normal(values: Sequence[float]) -> F64:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not found.size or not np.isfinite(found).all() or (found < 0).any() or not found.sum() > 0:
        raise InputError("a distribution needs at least one bin, no negative or NaN share, and a sum above 0")
    return found / found.sum()


def backchannel_bins(spans: Sequence[Span], duration_s: float) -> F64:
    """How many back-channels cover each bin of 0.2 s; a span counts in every bin it touches."""
    bins = np.zeros(int(duration_s / BIN_S) + 1)
    for start, end in spans:
        bins[int(start / BIN_S) : int(end / BIN_S) + 1] += 1
    return bins


def _resized(truth: Sequence[float], count: int) -> F64:
    """The listeners' distribution over another number of bins: linear interpolation from end to end."""
    values = np.asarray(truth, np.float64)
    if values.size == 1:
        return np.full(count, values[0])
    return np.interp(np.linspace(0, 1, count), np.linspace(0, 1, values.size), values)


def _words_in(words: Sequence[Word], span: Span) -> int:
    """Words the released script finds in a segment, with its three overlap tests."""
    count = 0
    for word in words:
        start, end = word.start_s, word.end_s
        if start is None or (end is None and start < span[1]):
            continue
        end = start if end is None else end
        inside = start >= span[0] and end <= span[1]
        count += inside or start <= span[1] < end or (start <= span[0] < end)
    return count


def backchannel_outcome(item: FdbItem, mode: Mode) -> BackchannelOutcome:
    """Score one item: the system's spans are its speech segments, its words the recognised words."""
    recording = item.recording
    judged = item.judged or (0.0, recording.duration_s)
    spans = clipped(recording.system.spans, *judged)
    outcome = _by_code if mode == "code" else _by_paper
    return outcome(item, recording, spans)


def _by_code(item: FdbItem, recording: Recording, spans: Sequence[Span]) -> BackchannelOutcome:
    takeover = False
    kept: list[Span] = []
    for span in spans:
        length_s = span[1] - span[0]
        if length_s > _LONG_S:
            takeover = True
            break
        count = _words_in(recording.system.words, span)
        takeover = count > 3 or length_s >= _SHORT_S or count > 2
        kept.append(span)
    divergence = 1.0
    if kept:
        bins = backchannel_bins(kept, recording.duration_s) + _EPSILON
        divergence = js_distance(bins.tolist(), _resized(item.truth, bins.size).tolist())
    return BackchannelOutcome(
        takeover=takeover,
        num_backchannels=len(kept),
        frequency_hz=len(kept) / recording.duration_s,
        divergence=divergence,
    )


def _by_paper(item: FdbItem, recording: Recording, spans: Sequence[Span]) -> BackchannelOutcome:
    takeover = any(_takes(recording.system.words, span) for span in spans)
    if takeover:
        return BackchannelOutcome(takeover=True, num_backchannels=0, frequency_hz=None, divergence=None)
    bins = backchannel_bins(spans, recording.duration_s)
    said = bins if spans else np.ones_like(bins)
    return BackchannelOutcome(
        takeover=False,
        num_backchannels=len(spans),
        frequency_hz=len(spans) / recording.duration_s,
        divergence=js_divergence(said.tolist(), _resized(item.truth, bins.size).tolist()),
    )


def _takes(words: Sequence[Word], span: Span) -> bool:
    """The printed rule for one utterance: its words, and its own length as heard."""
    inside = [word for word in words if word.start_s is not None and span[0] <= word.start_s < span[1]]
    return takes_turn(inside, "paper") or span[1] - span[0] >= _SHORT_S
