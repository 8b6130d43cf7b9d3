"""A real server's run against ours: three constants from its first part, and how far the rest is predicted.

The constants are shares of the two peaks of the device and the seconds a stage takes before its roofline (`Fit`). They
are found on the requests that had ended by a moment; the errors are those of requests that made their first token later.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import FormatError, InputError, MissingExtraError
from fullduplex.hardware.calibrate.fit import Fit
from fullduplex.hardware.checks import positive
from fullduplex.hardware.device import Device, System
from fullduplex.hardware.model import Model
from fullduplex.hardware.serving.paged import Blocks, serve_paged
from fullduplex.hardware.serving.quick import quick_cost
from fullduplex.hardware.serving.traffic import Requests
from fullduplex.hardware.stage import Stage

__all__ = ["Replay", "Run", "fit_run", "read_run", "replay"]

Array = NDArray[np.float64]
_KEYS = ("arrival_time", "input_toks", "output_toks", "queued_ts", "first_token_ts", "last_token_ts")
_START, _STEPS, _TRIES = (0.9, 0.86, 1.0), (-0.03, 0.02, 0.6), 30
_FAILED = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Requests as they came, and the measured seconds of their first and last token on the same clock."""

    requests: Requests
    first_s: Array
    last_s: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Means of the held-out requests, (measured, predicted) seconds, and the mean of the error of each request."""

    fit: Fit
    calibrated_on: int
    held_out: int
    stages: int
    sent_back: int
    means_s: dict[str, tuple[float, float]]
    each_error: dict[str, float]

    def error(self, name: str) -> float:
        """Relative error of the mean of "TTFT", "TPOT" or "E2E"."""
        measured, here = self.means_s[name]
        return here / measured - 1


def read_run(path: Path) -> Run:
    """A `requests.jsonl` as the LLMServingSim bench writes it; the wall clock and the engine's are aligned by the least lag.

    Raises: FormatError for lines that are no such records.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    try:
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        table = np.array([[float(line[key]) for key in _KEYS] for line in lines])
    except (TypeError, ValueError, KeyError) as error:
        raise FormatError(f"{path.name} cannot be read as requests: {error!r}; expected {', '.join(_KEYS)}") from error
    if not table.size:
        raise FormatError(f"{path.name} holds no request; expected one JSON object a line")
    table = table[np.argsort(table[:, 0], kind="stable")]
    lag = (table[:, 3] - table[:, 0]).min() + table[0, 0]
    requests = Requests(
        arrival_s=table[:, 0] - table[0, 0], prompt=table[:, 1].astype(np.int64), answer=table[:, 2].astype(np.int64)
    )
    return Run(requests=requests, first_s=table[:, 4] - lag, last_s=table[:, 5] - lag)


def fit_run(run: Run, model: Model, device: Device, blocks: Blocks, until_s: float) -> Fit:
    """The constants with the least mean error of E2E and of the time per token among requests that ended by `until_s`.

    Nothing measured after `until_s` is looked at.
    Raises: InputError when fewer than ten requests had ended. MissingExtraError when scipy is not installed.
    """
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise MissingExtraError("scipy", "plan") from error
    positive(until_s, "until_s")
    ended = run.last_s <= until_s
    if ended.sum() < 10:
        raise InputError(f"{ended.sum()} requests had ended after {until_s:g} s; expected at least 10: give more time")
    whole_s = (run.last_s - run.requests.arrival_s)[ended]
    decode_s = (run.last_s - run.first_s)[ended]

    def loss(point: Array) -> float:
        if point.min() < 0 or point[0] == 0 or point[1] == 0 or point[1] > 1:
            return _FAILED
        log = serve_paged(run.requests, blocks, _seconds(model, device, _fit_of(point)), until_s=1.5 * until_s)
        last = log.last_s[ended]
        if not np.isfinite(last).all():
            return _FAILED
        whole = np.abs((last - run.requests.arrival_s[ended]) / whole_s - 1).mean()
        return float(whole + np.abs((last - log.first_s[ended]) / decode_s - 1).mean())

    corners = np.array(_START) + np.vstack([np.zeros(3), np.diag(_STEPS)])
    found = minimize(loss, corners[0], method="Nelder-Mead", options={"maxfev": _TRIES, "initial_simplex": corners})
    return _fit_of(found.x)


def replay(run: Run, model: Model, device: Device, blocks: Blocks, *, fit: Fit, until_s: float) -> Replay:
    """Serve the whole run with `fit`, and compare the requests that made their first token after `until_s`.

    Raises: InputError when there are none.
    """
    held = run.first_s > until_s
    if not held.any():
        raise InputError(f"every request had its first token by {until_s:g} s; calibrate on less to hold some out")
    log = serve_paged(run.requests, blocks, _seconds(model, device, fit))
    measured, here = _metrics(run, run.first_s, run.last_s), _metrics(run, log.first_s, log.last_s)
    pairs = {name: (measured[name][held], here[name][held]) for name in measured}
    return Replay(
        fit=fit,
        calibrated_on=int((run.last_s <= until_s).sum()),
        held_out=int(held.sum()),
        stages=log.stages,
        sent_back=log.sent_back,
        means_s={name: (float(np.nanmean(a)), float(np.nanmean(b))) for name, (a, b) in pairs.items()},
        each_error={name: float(np.nanmean(np.abs(b / a - 1))) for name, (a, b) in pairs.items()},
    )


def _metrics(run: Run, first_s: Array, last_s: Array) -> dict[str, Array]:
    """TTFT and E2E from arrival; TPOT over the tokens after the first, NaN for answers of one token."""
    later = np.where(run.requests.answer > 1, run.requests.answer - 1.0, np.nan)
    arrival_s = run.requests.arrival_s
    return {"TTFT": first_s - arrival_s, "TPOT": (last_s - first_s) / later, "E2E": last_s - arrival_s}


def _fit_of(point: Array) -> Fit:
    return Fit(compute_share=float(point[0]), memory_share=float(point[1]), start_s=1e-3 * float(point[2]))


def _seconds(model: Model, device: Device, fit: Fit) -> Callable[[Stage], float]:
    real = dataclasses.replace(device, flops_per_s=device.flops_per_s * fit.compute_share)
    system = System(device=real, dram_efficiency=fit.memory_share)
    cost = quick_cost(model, system)

    def seconds(stage: Stage) -> float:
        found, _ = cost(stage.decode, stage.context_tokens, stage.prompts, stage.prompt_tokens, stage.prompt_pairs, -1)
        return found + fit.start_s

    return seconds
