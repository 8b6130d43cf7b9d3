"""`fullduplex plan simulate`: a stream of requests, drawn or from a file, and how long they wait."""

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from fullduplex.base.errors import FormatError
from fullduplex.cli.plan.inputs import counted
from fullduplex.hardware.checks import at_least, positive
from fullduplex.hardware.device import System
from fullduplex.hardware.model import Model
from fullduplex.hardware.serving.simulate import Serving, simulate
from fullduplex.hardware.serving.split import Pools, simulate_split
from fullduplex.hardware.serving.traffic import Requests, draw_requests
from fullduplex.hardware.workload import Routing

__all__ = ["add_traffic", "read_trace", "run_simulation"]

_COLUMNS = ("arrived_at", "num_prefill_tokens", "num_decode_tokens")


def add_traffic(parser: argparse.ArgumentParser) -> None:
    """Options of the requests and of how they are served."""
    group = parser.add_argument_group("requests")
    group.add_argument("--trace", type=Path, metavar="CSV", help=f"columns {', '.join(_COLUMNS)}, instead of drawing")
    group.add_argument("--requests", type=counted(1), default=1000, metavar="N", help="to draw (default: 1000)")
    group.add_argument("--rate", type=float, metavar="R", help="arrivals a second (Poisson); without: a full batch")
    group.add_argument("--prompt", type=counted(1), default=1024, metavar="T", help="mean tokens (default: 1024)")
    group.add_argument("--answer", type=counted(1), default=256, metavar="T", help="mean tokens (default: 256)")
    group.add_argument("--spread", type=float, default=0.1, metavar="S", help="deviation over mean (default: 0.1)")
    group.add_argument("--seed", type=counted(0), default=0, help="of the drawn requests (default: 0)")
    group.add_argument("--batch", type=counted(1), default=64, metavar="N", help="requests at once (default: 64)")
    group.add_argument(
        "--chunk", type=counted(0), default=0, metavar="T", help="prompt tokens a stage takes (default: all)"
    )
    group.add_argument("--skew", type=float, default=0.0, metavar="S", help="Zipf exponent of the experts (default: 0)")
    group.add_argument(
        "--correlation", type=float, default=0.0, metavar="C", help="chance that two tokens of a stage choose alike (0)"
    )


def read_trace(path: Path) -> Requests:
    """Requests of a CSV file, sorted by arrival; a missing answer counts as one token.

    Raises: FormatError for a missing column or a cell that is no number.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [[float(row[name]) for name in _COLUMNS] for row in csv.DictReader(file)]
    except KeyError as error:
        raise FormatError(f"{path.name} has no column {error}; expected {', '.join(_COLUMNS)}") from error
    except (OSError, TypeError, ValueError) as error:
        raise FormatError(f"{path.name} cannot be read as numbers: {error}") from error
    table = np.array(sorted(rows)).reshape(-1, len(_COLUMNS))
    if not np.isfinite(table).all():
        raise FormatError(f"{path.name} holds a number that is not finite; every cell must be")
    tokens = np.maximum(1, table[:, 1:]).astype(np.int64)
    return Requests(arrival_s=table[:, 0], prompt=tokens[:, 0], answer=tokens[:, 1])


def run_simulation(arguments: argparse.Namespace, model: Model, layout: System | Pools) -> int:
    """Serve the requests and print throughput and quantiles; exit status 0."""
    if arguments.rate is not None:
        positive(arguments.rate, "--rate")
    at_least(arguments.skew, 0, "--skew")
    if arguments.trace is not None:
        requests = read_trace(arguments.trace)
    else:
        requests = draw_requests(
            arguments.requests,
            prompt=arguments.prompt,
            answer=arguments.answer,
            rng=np.random.default_rng(arguments.seed),
            spread=arguments.spread,
            per_s=arguments.rate,
        )
    closed = arguments.trace is None and arguments.rate is None
    routing = Routing(zipf=arguments.skew, correlation=arguments.correlation)
    serving = Serving(batch=arguments.batch, closed=closed, chunk=arguments.chunk, routing=routing)
    if isinstance(layout, Pools):
        log = simulate_split(model, layout, requests, serving)
    else:
        log = simulate(model, layout, requests, serving)
    shares = (0.5, 0.9, 0.99)
    waits = {
        "first token": [float(value) for value in np.quantile(log.first_token_s, shares)]
        if log.first_token_s.size
        else [],
        "between tokens": [log.between_tokens_s(share) for share in shares] if log.decodes.any() else [],
        "whole answer": [float(value) for value in np.quantile(log.whole_s, shares)] if log.whole_s.size else [],
    }
    overload = log.overloaded(arguments.batch)
    joules = log.energy_j / max(1, int(log.tokens.sum()))
    if arguments.json:
        found = {"requests": len(requests), "stages": len(log.stage_s), "seconds": log.end_s, "overload": overload}
        rates = {"tokens_per_s": log.tokens_per_s, "joules_per_token": joules}
        print(json.dumps({**found, **rates, "p50_p90_p99_s": waits}))
        return 0
    print(
        f"{len(requests)} requests in {log.end_s:.1f} s, {len(log.stage_s)} stages: {log.tokens_per_s:.1f} tokens/s, "
        f"{joules:.3g} J a token; {'a full batch, the last answers alone' if closed else 'arrivals as given'}"
    )
    print(f"{'seconds':<15} {'p50':>9} {'p90':>9} {'p99':>9}")
    for name, values in waits.items():
        print(f"{name:<15} " + (" ".join(f"{value:>9.4f}" for value in values) or f"{'-':>9}"))
    if overload:
        print(
            f"OVERLOAD: {log.waiting} requests had no first token yet when the last one came. More arrives than is served: "
            "waits grow as long as the run does, and the quantiles above are those of its length"
        )
    return 0
