"""How a fixed number of pilots is spent on eliminating two thirds, phase by phase (UB3, 2301.03456).

L phases each try four arms (both ends and the points at a third and two thirds) and drop a third; a last phase tries the
survivors, at most three. N_1 = N_2 = T 2^(L-2) / 3^(L-1), N_l = T 2^(L-l+1) / 3^(L-l+2) for l = 3 ... L+1: they sum to T.

Read literally, the first phases of a small budget get less than one pilot an arm (of 100 pilots over 64 arms, two in the
first phase). Where the budget allows one for every arm of every phase, we give them that and take it from the last phases.
"""

from dataclasses import dataclass
from fractions import Fraction

from fullduplex.base.errors import InputError

__all__ = ["Schedule", "even_counts", "schedule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`sizes`: arms alive before each phase. `pilots`: of each phase, the last one's for the survivors.

    `starved`: some arm of some phase gets no pilot, so its place is decided by chance.
    """

    arms: int
    budget: int
    sizes: tuple[int, ...]
    pilots: tuple[int, ...]

    @property
    def starved(self) -> bool:
        """Too few pilots."""
        wanted = [*(4 for _ in self.sizes[:-1]), self.sizes[-1]]
        return any(spent < arms for spent, arms in zip(self.pilots, wanted, strict=True))


def schedule(arms: int, budget: int, *, literal: bool = False) -> Schedule:
    """The schedule of `budget` pilots over `arms` arms; whole numbers that sum to the budget exactly.

    `literal`: the formula as it stands, also where it leaves arms without a pilot.

    Raises:
        InputError: no arm, or a budget below 0.
    """
    if arms < 1 or budget < 0:
        raise InputError(f"arms is {arms} and budget {budget}; expected at least 1 arm and 0 pilots")
    sizes = [arms]
    while sizes[-1] > 3:
        sizes.append(sizes[-1] - (sizes[-1] - 1) // 3)
    phases = len(sizes) - 1
    if not phases:
        shares = [Fraction(1)]
    else:
        first = Fraction(2) ** (phases - 2) / Fraction(3) ** (phases - 1)
        later = [Fraction(2) ** (phases - l + 1) / Fraction(3) ** (phases - l + 2) for l in range(3, phases + 2)]
        shares = [first, first, *later]
    pilots = _whole(shares, budget)
    least = [*(4 for _ in sizes[:-1]), sizes[-1]]
    if not literal and sum(least) <= budget:
        pilots = _filled(pilots, least)
    return Schedule(arms=arms, budget=budget, sizes=tuple(sizes), pilots=pilots)


def _filled(pilots: tuple[int, ...], least: list[int]) -> tuple[int, ...]:
    """Every phase has at least its least; what that costs comes from the phases with most to spare."""
    filled = [max(spent, wanted) for spent, wanted in zip(pilots, least, strict=True)]
    for _ in range(sum(filled) - sum(pilots)):
        richest = max(range(len(filled)), key=lambda i: (filled[i] - least[i], i))
        filled[richest] -= 1
    return tuple(filled)


def _whole(shares: list[Fraction], budget: int) -> tuple[int, ...]:
    """Whole numbers in proportion that sum to `budget`: largest remainders first, later phases before earlier."""
    exact = [share * budget for share in shares]
    whole = [int(value) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: (exact[i] - whole[i], i), reverse=True)
    for i in order[: budget - sum(whole)]:
        whole[i] += 1
    return tuple(whole)


def even_counts(pilots: int, arms: int) -> tuple[int, ...]:
    """Pilots of each of `arms` arms, as even as whole numbers allow."""
    each, left = divmod(pilots, arms)
    return tuple(each + (i < left) for i in range(arms))
