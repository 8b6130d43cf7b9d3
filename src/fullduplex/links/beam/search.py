"""Find the strongest of M arms with at most T pilots, for many trials at once.

Every search has the same shape: true amplitudes (B, M), a budget, a noise law and a generator in; the arm chosen in each
trial and the pilots used out. No search ever uses more than its budget.

Axes: B trials, M arms, A arms tried in a phase.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.links.beam.noise import Float, Noise
from fullduplex.links.beam.schedule import even_counts, schedule

__all__ = [
    "SEARCHES",
    "Found",
    "Search",
    "eliminate_thirds",
    "eliminate_thirds_ref",
    "exhaustive",
    "line_search",
    "sequential_halving",
    "successive_rejects",
]

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What a search came to.

    `best_B`: the arm chosen; `pilots`: used in every trial; `undetermined_B`: the choice was a coin toss; `starved`: the
    budget leaves some arm that should be tried without a pilot.
    """

    best_B: Int
    pilots: int
    undetermined_B: NDArray[np.bool_]
    starved: bool


Search = Callable[[Float, int, Noise, np.random.Generator], Found]


def _check(amplitude_BM: Float, budget: int) -> None:
    if amplitude_BM.ndim != 2 or amplitude_BM.shape[1] < 1 or not np.isfinite(amplitude_BM).all():
        raise InputError("amplitudes must be finite, of shape (trials, arms) with at least one arm")
    if budget < 1:
        raise InputError(f"budget is {budget}; expected at least 1 pilot")


def _reports(amplitude_BA: Float, counts: tuple[int, ...], noise: Noise, draw: np.random.Generator) -> Float:
    """Mean reports (B, A); arms with equally many pilots are drawn together."""
    out_BA = np.empty(amplitude_BA.shape)
    for count in sorted(set(counts)):
        which = [i for i, c in enumerate(counts) if c == count]
        out_BA[:, which] = noise.observe(amplitude_BA[:, which], count, draw)
    return out_BA


def _best(report_BA: Float, draw: np.random.Generator) -> tuple[Int, NDArray[np.bool_]]:
    """Column of the greatest report, ties broken by chance, and whether there was a tie.

    The chance is drawn whether it is needed or not: a trial must not depend on ties in the others.
    """
    top_BA = report_BA == report_BA.max(axis=1, keepdims=True)
    chance_BA = draw.random(report_BA.shape, np.float32)
    tie_B = top_BA.sum(axis=1) > 1
    if not tie_B.any():
        return report_BA.argmax(axis=1), tie_B
    return np.where(top_BA, chance_BA, -1.0).argmax(axis=1), tie_B


def _says_nothing(report_BA: Float) -> NDArray[np.bool_]:
    """Every arm that was tried reports the same."""
    least_B = np.where(np.isneginf(report_BA), np.inf, report_BA).min(axis=1)
    return ~(least_B < report_BA.max(axis=1))


def _fair(best_B: Int, silent_B: NDArray[np.bool_], num_arms: int, draw: np.random.Generator) -> Int:
    """Where nothing at all was heard, any arm with the same probability: coin tosses of thirds would favour the middle."""
    return np.where(silent_B, draw.integers(0, num_arms, best_B.size), best_B)


def _take(amplitude_BM: Float, arm_BA: Int) -> Float:
    return np.take_along_axis(amplitude_BM, arm_BA, axis=1)


def eliminate_thirds(amplitude_BM: Float, budget: int, noise: Noise, draw: np.random.Generator) -> Found:
    """Unimodal elimination (UB3, 2301.03456): four arms a phase, a third dropped each time.

    If the best of the four is one of the two on the left, the right third cannot hold the peak, and the other way round.
    """
    _check(amplitude_BM, budget)
    plan = schedule(amplitude_BM.shape[1], budget)
    low_B = np.zeros(len(amplitude_BM), np.int64)
    silent_B = np.full(low_B.shape, plan.arms > 1)
    for size, pilots in zip(plan.sizes[:-1], plan.pilots[:-1], strict=True):
        third = (size - 1) // 3
        arm_BA = low_B[:, None] + np.array([0, third, size - 1 - third, size - 1])
        report_BA = _reports(_take(amplitude_BM, arm_BA), even_counts(pilots, 4), noise, draw)
        silent_B &= _says_nothing(report_BA)
        place_B, _tie = _best(report_BA, draw)
        low_B = low_B + np.where(place_B >= 2, third, 0)
    arm_BA = low_B[:, None] + np.arange(plan.sizes[-1])
    report_BA = _reports(_take(amplitude_BM, arm_BA), even_counts(plan.pilots[-1], plan.sizes[-1]), noise, draw)
    silent_B &= _says_nothing(report_BA)
    place_B, tie_B = _best(report_BA, draw)
    best_B = _fair(low_B + place_B, silent_B, plan.arms, draw)
    return Found(best_B=best_B, pilots=budget, undetermined_B=tie_B | silent_B, starved=plan.starved)


def eliminate_thirds_ref(amplitude_M: Float, budget: int, noise: Noise, draw: np.random.Generator) -> int:
    """The slow twin of `eliminate_thirds`, for one trial, arm by arm."""
    plan = schedule(len(amplitude_M), budget)
    alive = list(range(len(amplitude_M)))
    for pilots in plan.pilots[:-1]:
        third = (len(alive) - 1) // 3
        tried = [alive[0], alive[third], alive[-1 - third], alive[-1]]
        counts = even_counts(pilots, 4)
        reports = [
            float(noise.observe(np.array([amplitude_M[arm]]), count, draw)[0])
            for arm, count in zip(tried, counts, strict=True)
        ]
        alive = alive[third:] if reports.index(max(reports)) >= 2 else alive[: len(alive) - third]
    counts = even_counts(plan.pilots[-1], len(alive))
    reports = [
        float(noise.observe(np.array([amplitude_M[arm]]), count, draw)[0])
        for arm, count in zip(alive, counts, strict=True)
    ]
    return alive[reports.index(max(reports))]


def exhaustive(amplitude_BM: Float, budget: int, noise: Noise, draw: np.random.Generator) -> Found:
    """Every arm equally often; with fewer pilots than arms, a random part of the arms once."""
    _check(amplitude_BM, budget)
    num_trials, num_arms = amplitude_BM.shape
    arm_BA = _random_arms(num_trials, num_arms, min(num_arms, budget), draw)
    report_BA = _reports(_take(amplitude_BM, arm_BA), even_counts(budget, arm_BA.shape[1]), noise, draw)
    place_B, tie_B = _best(report_BA, draw)
    starved = budget < num_arms
    return Found(best_B=_pick(arm_BA, place_B), pilots=budget, undetermined_B=tie_B, starved=starved)


def _random_arms(num_trials: int, num_arms: int, count: int, draw: np.random.Generator) -> Int:
    if count == num_arms:
        return np.broadcast_to(np.arange(num_arms), (num_trials, num_arms))
    return draw.random((num_trials, num_arms)).argpartition(count, axis=1)[:, :count]


def _pick(arm_BA: Int, place_B: Int) -> Int:
    return np.take_along_axis(arm_BA, place_B[:, None], axis=1)[:, 0]


def sequential_halving(amplitude_BM: Float, budget: int, noise: Noise, draw: np.random.Generator) -> Found:
    """Halve the field each round, pilots spread evenly over rounds (Karnin, Koren, Somekh, ICML 2013).

    With fewer pilots than M log2 M, rounds still give every arm one while that can be afforded, and the last reports
    decide; with fewer pilots than arms it begins with as many random arms as there are pilots.
    """
    _check(amplitude_BM, budget)
    num_trials, num_arms = amplitude_BM.shape
    arm_BA = _random_arms(num_trials, num_arms, min(num_arms, budget), draw)
    rounds = max(1, math.ceil(math.log2(arm_BA.shape[1])))
    report_BA = np.zeros(arm_BA.shape)
    used = 0
    for number in range(rounds):
        alive = arm_BA.shape[1]
        spend = max(alive, (budget - used) // (rounds - number))
        if used + spend > budget:
            break
        used += spend
        report_BA = _reports(_take(amplitude_BM, arm_BA), even_counts(spend, alive), noise, draw)
        if number == rounds - 1:
            break
        jitter = draw.random(report_BA.shape)  # ties fall by chance
        order_BA = np.lexsort((jitter, -report_BA), axis=1)[:, : math.ceil(alive / 2)]
        arm_BA, report_BA = (
            np.take_along_axis(arm_BA, order_BA, axis=1),
            np.take_along_axis(report_BA, order_BA, axis=1),
        )
    place_B, tie_B = _best(report_BA, draw)
    starved = budget < num_arms
    return Found(best_B=_pick(arm_BA, place_B), pilots=used, undetermined_B=tie_B, starved=starved)


def successive_rejects(amplitude_BM: Float, budget: int, noise: Noise, draw: np.random.Generator) -> Found:
    """Drop the worst arm in each of M - 1 phases, all reports kept (Audibert, Bubeck, Munos, COLT 2010)."""
    _check(amplitude_BM, budget)
    num_trials, num_arms = amplitude_BM.shape
    if num_arms == 1 or budget < num_arms:
        return exhaustive(amplitude_BM, budget, noise, draw)
    log_sum = 0.5 + sum(1 / i for i in range(2, num_arms + 1))
    arm_BA = np.broadcast_to(np.arange(num_arms), (num_trials, num_arms)).copy()
    sum_BM = np.zeros((num_trials, num_arms))
    before = used = 0
    tie_B = np.zeros(num_trials, np.bool_)
    for phase in range(1, num_arms):
        total = max(before, 1, math.ceil((budget - num_arms) / (log_sum * (num_arms + 1 - phase))))
        alive = arm_BA.shape[1]
        more = min(total - before, (budget - used) // alive)
        if more > 0:
            report_BA = noise.observe(_take(amplitude_BM, arm_BA), more, draw)
            np.put_along_axis(sum_BM, arm_BA, _take(sum_BM, arm_BA) + more * report_BA, axis=1)
            used += more * alive
            before += more
        worst_B, tie_B = _best(-_take(sum_BM, arm_BA), draw)
        stay_BA = np.ones(arm_BA.shape, np.bool_)
        stay_BA[np.arange(num_trials), worst_B] = False
        arm_BA = arm_BA[stay_BA].reshape(num_trials, alive - 1)
    return Found(best_B=arm_BA[:, 0], pilots=used, undetermined_B=tie_B, starved=False)


def line_search(amplitude_BM: Float, budget: int, noise: Noise, draw: np.random.Generator) -> Found:
    """Compare two inner points and drop the outer third beside the weaker (line-search elimination, Yu and Mannor 2011)."""
    _check(amplitude_BM, budget)
    sizes = [amplitude_BM.shape[1]]
    while sizes[-1] > 3:
        sizes.append(sizes[-1] - (sizes[-1] - 1) // 3)
    each = even_counts(budget, len(sizes))
    low_B = np.zeros(len(amplitude_BM), np.int64)
    silent_B = np.full(low_B.shape, sizes[0] > 1)
    for size, pilots in zip(sizes[:-1], each[:-1], strict=True):
        third = (size - 1) // 3
        arm_BA = low_B[:, None] + np.array([third, size - 1 - third])
        report_BA = _reports(_take(amplitude_BM, arm_BA), even_counts(pilots, 2), noise, draw)
        silent_B &= _says_nothing(report_BA)
        place_B, _tie = _best(report_BA, draw)
        low_B = low_B + np.where(place_B == 1, third, 0)
    arm_BA = low_B[:, None] + np.arange(sizes[-1])
    report_BA = _reports(_take(amplitude_BM, arm_BA), even_counts(each[-1], sizes[-1]), noise, draw)
    silent_B &= _says_nothing(report_BA)
    place_B, tie_B = _best(report_BA, draw)
    best_B = _fair(low_B + place_B, silent_B, sizes[0], draw)
    starved = min(each[:-1], default=2) < 2 or each[-1] < sizes[-1]
    return Found(best_B=best_B, pilots=budget, undetermined_B=tie_B | silent_B, starved=starved)


SEARCHES: dict[str, Search] = {
    "thirds": eliminate_thirds,
    "halving": sequential_halving,
    "rejects": successive_rejects,
    "line": line_search,
    "exhaustive": exhaustive,
}
