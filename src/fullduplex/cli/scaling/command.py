"""`fullduplex scaling`: fit laws to runs, plan with them, make runs."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError
from fullduplex.cli.scaling.study import add_study
from fullduplex.forecast.scaling_law.fit import FitConfig, HopelessRunsError, Law, compare_forms, fit_law
from fullduplex.forecast.scaling_law.joint import Budget, fit_joint
from fullduplex.forecast.scaling_law.picture import draw_law
from fullduplex.forecast.scaling_law.runs import RunTable, envelope, read_runs, refuse_wrong_compute

__all__ = ["main"]

_Jobs = Any  # argparse does not name the type of what add_subparsers returns

_ABOUT_FIT = """\
Fit how a loss falls with one quantity: parameters (n), data (d), compute (c), or any column. Three shapes are fitted -
a constant, a power, a power above a floor - and the one that the corrected Akaike criterion prefers is the law. Intervals
are bootstrap ones. Where a constant does as well, or the exponent may be 0, there is no law, and the command says so.

  fullduplex scaling fit runs.csv --x n --loss id_crps --where kind=encoder --where d=1e6 --last
  fullduplex scaling fit runs.csv --x c --loss id_crps --envelope --where kind=decoder
  fullduplex scaling fit sweep.csv --columns n=params,loss=val_loss --png law.png      (a language model's runs)

Losses: fit one without unit (CRPS over the deviation of the past, MASE; of a language model, the loss of a fixed tokenizer).
A likelihood in nats of data with a unit moves by a constant when the unit changes; --nats fits it so that the exponent does
not. If the table has n (or n_total), tokens and c, c is compared with 6 n tokens first.
"""
_ABOUT_PLAN = """\
What to expect and how to spend. With --at and --reach, from the law of one quantity (options as for `fit`); with --compute,
from a law of parameters and tokens together, L = E + A n^-a + B tokens^-b, which needs runs that vary both.

  fullduplex scaling plan runs.csv --x n --loss id_crps --at 1e6
  fullduplex scaling plan runs.csv --x n --loss id_crps --reach 0.4
  fullduplex scaling plan sweep.csv --columns n=params,tokens=tokens,loss=val_loss --compute 1e18
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex scaling",
        description="How errors fall with parameters, data and compute. Each JOB explains itself with --help.",
    )
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    fit = _job(jobs, "fit", "fit a law to a table of runs", _ABOUT_FIT, _fit)
    fit.add_argument("--png", type=Path, metavar="FILE", help="draw runs and law")
    plan = _job(jobs, "plan", "what a larger run would reach, and how to spend compute", _ABOUT_PLAN, _plan)
    plan.add_argument("--at", type=float, metavar="X", help="the loss to expect at x")
    plan.add_argument("--reach", type=float, metavar="LOSS", help="the x needed for a loss")
    plan.add_argument("--compute", type=float, metavar="C", help="parameters and tokens for so many operations")
    add_study(jobs)
    return parser


def _job(
    jobs: _Jobs, name: str, summary: str, about: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    job: argparse.ArgumentParser = jobs.add_parser(
        name, help=summary, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    job.add_argument("file", type=Path, help="CSV, one row a run or a look at a run")
    job.add_argument("--x", default="n", metavar="COLUMN", help="what the loss falls with (default: n)")
    job.add_argument("--loss", default="loss", metavar="COLUMN", help="default: loss")
    job.add_argument("--columns", default="", metavar="OURS=THEIRS,…", help="names of the file's columns")
    job.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE", help="rows to keep; repeatable")
    job.add_argument("--last", action="store_true", help="of every `run`, only the row of its largest `step`")
    job.add_argument("--envelope", action="store_true", help="only the lower envelope; for compute")
    job.add_argument("--nats", action="store_true", help="the loss is a likelihood in nats of data with a unit")
    job.add_argument("--form", choices=("power", "offset"), help="this shape, whatever the criterion prefers")
    job.add_argument("--level", type=float, default=0.95, metavar="P", help="of intervals (default: 0.95)")
    job.add_argument("--copies", type=int, default=400, metavar="N", help="bootstrap copies (default: 400)")
    job.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    job.add_argument("--json", action="store_true", help="print one JSON object")
    job.set_defaults(run=run)
    return job


def main(argv: list[str]) -> int:
    """Run one job."""
    arguments = _parser().parse_args(argv)
    return cast("Callable[[argparse.Namespace], int]", arguments.run)(arguments)


def _fit(arguments: argparse.Namespace) -> int:
    x_N, loss_N, config = _chosen(arguments)
    found = compare_forms(x_N, loss_N, config)
    trouble: HopelessRunsError | None = None
    try:
        fit_law(x_N, loss_N, config)
    except HopelessRunsError as error:
        trouble = error
    if arguments.png is not None and trouble is None:
        draw_law(arguments.png, x_N, loss_N, found, names=(arguments.x, arguments.loss))
    _warn_of_nats(arguments)
    if arguments.json:
        print(json.dumps(_plain(found, len(x_N), trouble), allow_nan=False))
    else:
        _table(found, arguments, len(x_N))
    if trouble is not None:
        raise trouble
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    if (arguments.at is None) + (arguments.reach is None) + (arguments.compute is None) != 2:
        raise InputError("give one of --at X, --reach LOSS and --compute C")
    if arguments.compute is not None:
        return _spend(arguments)
    x_N, loss_N, config = _chosen(arguments)
    law = fit_law(x_N, loss_N, config)
    if arguments.at is not None:
        x, (value, low, high) = arguments.at, law.at(arguments.at)
        text = f"{arguments.loss} at {arguments.x} = {x:g}: {value:.5g} ({low:.5g} to {high:.5g})"
    else:
        value, low, high = law.needed_for(arguments.reach)
        x = value
        text = f"{arguments.x} for {arguments.loss} = {arguments.reach:g}: {value:.4g} ({low:.4g} to {high:.4g})"
    beyond = x / law.span[1]
    if arguments.json:
        print(json.dumps({"value": value, "low": low, "high": _number(high), "times_beyond_runs": beyond}))
        return 0
    print(f"{text}, level {law.config.level:g}")
    if beyond > 1:
        print(f"{beyond:.3g} times beyond the largest run; the interval does not know whether the law goes on")
    return 0


def _spend(arguments: argparse.Namespace) -> int:
    table = _rows(arguments)
    law = fit_joint(
        table.numbers("n"),
        table.numbers("tokens"),
        table.numbers(arguments.loss),
        level=arguments.level,
        num_copies=arguments.copies,
        seed=arguments.seed,
    )
    budget: Budget = law.spend(arguments.compute)
    parts = {"parameters": budget.parameters, "tokens": budget.tokens, "loss": budget.loss}
    if arguments.json:
        print(json.dumps(parts))
        return 0
    print(f"for {arguments.compute:.3g} operations (6 n tokens), level {arguments.level:g}")
    for name, (value, low, high) in parts.items():
        print(f"  {name:<11} {value:>12.4g}   {low:.4g} to {high:.4g}")
    for name, (value, _, _), largest in zip(parts, (budget.parameters, budget.tokens), law.largest, strict=False):
        if value > largest:
            print(f"  {name}: {value / largest:.3g} times beyond the largest run")
    return 0


def _rows(arguments: argparse.Namespace) -> RunTable:
    columns: dict[str, str] = {}
    for pair in filter(None, arguments.columns.split(",")):
        ours, sign, theirs = pair.partition("=")
        if not sign:
            raise InputError(f"--columns has {pair!r}; expected OURS=THEIRS, such as n=params")
        columns[ours] = theirs
    table = read_runs(arguments.file, columns).where(arguments.where)
    size = next((name for name in ("n_total", "n") if table.has(name, "tokens", "c")), None)
    if size is not None:
        refuse_wrong_compute(table.numbers("c"), table.numbers(size), table.numbers("tokens"))
    return table.last_steps("run", "step") if arguments.last else table


def _chosen(arguments: argparse.Namespace) -> tuple[Float64Array, Float64Array, FitConfig]:
    table = _rows(arguments)
    x_N, loss_N = table.numbers(arguments.x), table.numbers(arguments.loss)
    if arguments.envelope:
        x_N, loss_N = envelope(x_N, loss_N)
    config = FitConfig(
        nats=arguments.nats,
        form=arguments.form,
        level=arguments.level,
        num_copies=arguments.copies,
        seed=arguments.seed,
    )
    return x_N, loss_N, config


def _warn_of_nats(arguments: argparse.Namespace) -> None:
    named = str(arguments.loss).lower()
    if not arguments.nats and ("nll" in named or "likelihood" in named):
        print(
            f"{arguments.loss} looks like a likelihood in nats: if its data have a unit, another unit gives another "
            "exponent; --nats fits it so that it does not",
            file=sys.stderr,
        )


def _table(law: Law, arguments: argparse.Namespace, count: int) -> None:
    print(f"{count} points, {arguments.x} from {law.span[0]:.4g} to {law.span[1]:.4g}, loss {arguments.loss}\n")
    print(f"{'form':<10}{'':<14}{'a':>9}{'error':>10}{'AICc':>10}")
    for fit in law.fits:
        mark = "  <- law" if fit is law.chosen else ""
        exponent = f"{fit.exponent:.4f}" if fit.form.powers else "-"
        criterion = f"{fit.criterion:.2f}" if np.isfinite(fit.criterion) else "-"
        print(f"{fit.form.name:<10}{fit.form.text:<14}{exponent:>9}{fit.scale:>10.2g}{criterion:>10}{mark}")
    if not law.chosen.form.powers:
        return
    low, high = law.exponent_interval
    print(f"\na = {law.exponent:.4f}   {low:.4f} to {high:.4f} (level {law.config.level:g})")
    if law.reference is not None:
        print(f"x0 = {law.reference:.3g}; far outside the runs it is a way to write the level, not a measured size")
    if law.floor is not None and law.floor_interval is not None:
        print(f"E = {law.floor:.4g}   {law.floor_interval[0]:.4g} to {law.floor_interval[1]:.4g}")


def _plain(law: Law, count: int, trouble: HopelessRunsError | None) -> dict[str, object]:
    fits = [
        {"form": fit.form.name, "a": fit.exponent, "aicc": _number(fit.criterion), "error": fit.scale}
        for fit in law.fits
    ]
    return {
        "points": count,
        "span": list(law.span),
        "forms": fits,
        "chosen": law.chosen.form.name,
        "law": trouble is None,
        "why_not": None if trouble is None else str(trouble),
        "a": law.exponent,
        "a_interval": list(law.exponent_interval) if law.chosen.form.powers else None,
        "x0": None if law.reference is None else _number(law.reference),
        "E": law.floor,
        "E_interval": None if law.floor_interval is None else list(law.floor_interval),
        "level": law.config.level,
    }


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
