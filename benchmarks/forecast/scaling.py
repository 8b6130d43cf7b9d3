"""Recovery of known scaling laws: ours against scipy's `curve_fit` with its own intervals, on the same runs.

Prints one JSON line. Half of the trials have one run that went wrong by a fifth. Without scipy the peer is left out.

    python benchmarks/forecast/scaling.py [--trials N]
"""

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable

import numpy as np

from fullduplex.base.record import Record
from fullduplex.forecast.scaling_law.fit import FitConfig, compare_forms

SIZES, FACTOR, EXPONENT, FLOOR, NOISE = np.geomspace(1e3, 1e7, 12), 8.0, 0.2, 0.5, 0.005
Trial = tuple[float, float, float]  # estimate, lower and upper end


def losses(seed: int, *, spoiled: bool) -> np.ndarray:
    """Twelve runs of the law, one of them a fifth too high where it is spoiled."""
    rng = np.random.default_rng(seed)
    made = (FLOOR + FACTOR * SIZES**-EXPONENT) * np.exp(NOISE * rng.standard_normal(SIZES.size))
    if spoiled:
        made[rng.integers(SIZES.size)] *= 1.2
    return made


def ours(loss_N: np.ndarray) -> Trial:
    """Huber's fit of the logarithm with a floor, bootstrap interval."""
    law = compare_forms(SIZES, loss_N, FitConfig(form="offset", num_copies=200))
    return (law.exponent, *law.exponent_interval)


def peer(loss_N: np.ndarray) -> Trial:
    """Least squares of the logarithm by scipy from a good start, Student's interval from its covariance."""
    from scipy.optimize import curve_fit
    from scipy.stats import t

    def law(x: np.ndarray, floor: float, log_factor: float, exponent: float) -> np.ndarray:
        return np.log(np.abs(floor) + np.exp(log_factor) * x**-exponent)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, covariance = curve_fit(law, SIZES, np.log(loss_N), p0=(0.4, 2.0, 0.25), maxfev=20_000)
    half = float(t.ppf(0.975, SIZES.size - 3) * np.sqrt(covariance[2, 2]))
    return float(found[2]), float(found[2] - half), float(found[2] + half)


def measure(fit: Callable[[np.ndarray], Trial], trials: int, *, spoiled: bool) -> tuple[float, float, float, float]:
    """Coverage, median absolute error, median width of the interval, seconds a fit."""
    start_s = time.process_time()
    found = np.array([fit(losses(seed, spoiled=spoiled)) for seed in range(trials)])
    seconds_s = (time.process_time() - start_s) / trials
    covered = float(np.mean((found[:, 1] <= EXPONENT) & (found[:, 2] >= EXPONENT)))
    return (
        covered,
        float(np.median(np.abs(found[:, 0] - EXPONENT))),
        float(np.median(found[:, 2] - found[:, 1])),
        seconds_s,
    )


def main() -> None:
    """Measure and print the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    trials: int = parser.parse_args().trials
    start_s = time.perf_counter()
    fits = {"ours": ours} | ({"scipy": peer} if importlib.util.find_spec("scipy") is not None else {})
    figures: dict[str, float] = {}
    for name, fit in fits.items():
        for label, spoiled in (("clean", False), ("outlier", True)):
            covered, error, width, seconds_s = measure(fit, trials, spoiled=spoiled)
            figures |= {
                f"{name}_{label}_coverage": round(covered, 3),
                f"{name}_{label}_error": round(error, 5),
                f"{name}_{label}_width": round(width, 4),
                f"{name}_{label}_ms": round(1e3 * seconds_s, 1),
            }
    if "scipy" in fits:
        figures["scipy_over_our_error_with_outlier"] = round(
            figures["scipy_outlier_error"] / figures["ours_outlier_error"], 2
        )
    record = Record(
        name="scaling",
        seed=0,
        data_hash="",
        figures=figures,
        seconds_s=round(time.perf_counter() - start_s, 1),
        config={"trials": trials, "runs": SIZES.size, "law": "0.5 + 8 N^-0.2", "noise": NOISE},
    )
    print(record.to_json())


if __name__ == "__main__":
    main()
