"""How long the perturbation of `legs` takes: searched for once, then read from the cache."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from fullduplex.ssm.bench.models import Comparison
from fullduplex.ssm.bench.timing import Floors, Timing, timed_ms
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.ptd.cache import cached_ptd
from fullduplex.ssm.ptd.perturb import PtdConfig

__all__ = ["compare_search"]

_EIG_FLOP = 25  # N^3 times this: eigenvalues and eigenvectors by the QR algorithm (Golub and Van Loan, section 7.5)


def compare_search(order: int, floors: Floors, progress: Callable[[str], None], *, num_steps: int = 1000) -> Comparison:
    """One search, not several: it is long enough. The floor is one eigendecomposition a step.

    Args:
        order: size N of the matrix.
        floors: of this machine.
        progress: told the name of what comes next.
        num_steps: of the search.
    """
    name = f"PTD {order}"
    progress(name)
    a_NN, config = transition("legs", order).a_NN, PtdConfig(abscissa=-0.5, num_steps=num_steps)
    with tempfile.TemporaryDirectory() as folder:
        searched_ms, cached_ms = (timed_ms(lambda: cached_ptd(a_NN, config, folder=Path(folder))) for _ in range(2))
    timings = {
        "search": Timing(median_ms=searched_ms, fastest_ms=searched_ms, over_first=1.0),
        "cached": Timing(median_ms=cached_ms, fastest_ms=cached_ms, over_first=cached_ms / searched_ms),
    }
    floor_ms = floors.time_ms(flop=_EIG_FLOP * order**3 * num_steps)
    return Comparison(name=name, timings=timings, floor_ms=floor_ms, note="an eigendecomposition a step")
