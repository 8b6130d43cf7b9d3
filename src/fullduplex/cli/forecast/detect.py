"""`fullduplex detect`: what is strange in a file, or in a live stream, a line at a time."""

import argparse
import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fullduplex.base.arrays import Float64Array, Int64Array
from fullduplex.base.errors import FormatError, InputError, MissingExtraError
from fullduplex.cli.forecast.reading import add_reading, read_config
from fullduplex.forecast.anomaly.detector import ChimeraDetector, DetectorConfig
from fullduplex.forecast.anomaly.measures import affiliation, best_f1, point_adjusted_f1, vus_pr
from fullduplex.forecast.anomaly.picture import draw_scores
from fullduplex.forecast.series import Series, read_series

__all__ = ["main"]

_ABOUT = """\
A small Chimera learns what is usual from the first rows, predicts every row behind them from the rows before it, and scores
the error: a score of 5 is 5 deviations above the usual error. Rows at or above --threshold are anomalies. No label is
needed; the first rows should be ordinary ones.

  fullduplex detect load.csv --out out                       # the strangest stretches, out/scores.csv, out/scores.png
  fullduplex detect load.csv --train 2000 --save load.ckpt   # learn from 2000 rows, keep the detector
  fullduplex detect today.csv --model load.ckpt              # use it again
  fullduplex detect load.csv --label is_anomaly              # and measure it against labels
  tail -f sensors.csv | fullduplex detect --follow --train 500

With --follow every line on standard input is a row of numbers between commas (an empty field is a missing value; a first
line of names is passed over), and every row gives one line out: its score, or nan while the detector is still learning.
With --json a line out is {"row": 12, "score": 3.4, "anomaly": false}.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex detect", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, nargs="?", help=".csv or .parquet, one column a series")
    parser.add_argument("--follow", action="store_true", help="read rows from standard input, score each as it comes")
    parser.add_argument(
        "--train", type=float, metavar="N", help="rows to learn from, or a share of them (default: 0.15; 500 to follow)"
    )
    parser.add_argument("--threshold", type=float, default=5.0, metavar="S", help="score of an anomaly (default: 5)")
    parser.add_argument("--model", type=Path, metavar="FILE", help="a detector kept by --save, instead of learning")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the detector there")
    parser.add_argument("--label", metavar="COLUMN", help="column of 0 and 1: measure the scores against it")
    parser.add_argument("--updates", type=int, metavar="N", help="training steps (default: 150)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write scores.csv and scores.png there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_reading(parser, gaps="nan")
    return parser


def main(argv: list[str]) -> int:
    """Score a file or a stream; exit status 0."""
    arguments = _parser().parse_args(argv)
    if arguments.follow == (arguments.file is not None):
        raise InputError("give a file, or --follow to read standard input; not both, not neither")
    if arguments.model is not None and not arguments.model.is_file():
        raise InputError(f"{arguments.model} is not a file; --model takes what --save wrote")
    if not math.isfinite(arguments.threshold) or arguments.threshold <= 0:
        raise InputError(f"--threshold is {arguments.threshold}; expected a number above 0")
    return _follow(arguments, sys.stdin) if arguments.follow else _score_file(arguments)


def _config(arguments: argparse.Namespace) -> DetectorConfig:
    config = DetectorConfig(seed=arguments.seed)
    if arguments.updates is None:
        return config
    if arguments.updates < 1:
        raise InputError(f"--updates is {arguments.updates}; expected 1 or more")
    return replace(config, fit=replace(config.fit, num_updates=arguments.updates))


def _score_file(arguments: argparse.Namespace) -> int:
    series = read_series(arguments.file, read_config(arguments))
    series, labels_T = _apart(series, arguments.label)
    values_TV, start = series.values_TC, 0
    if arguments.model is not None:
        detector = ChimeraDetector.load(arguments.model)
    else:
        start = _num_train(arguments.train, len(values_TV))
        print(f"learning from {start} of {len(values_TV)} rows", file=sys.stderr)
        detector = ChimeraDetector(_config(arguments)).fit(values_TV[:start])
    if arguments.save is not None:
        detector.save(arguments.save)
    scores_T = detector.score(values_TV[start:])
    events = list(_events(scores_T, arguments.threshold, start))
    measures = None if labels_T is None else _measures(scores_T, labels_T[start:], arguments.threshold)
    if arguments.out is not None:
        _write(arguments.out, series, scores_T, start, arguments.threshold)
    if arguments.json:
        said = [{**event, "time": _time(series, int(event["row"]))} for event in events]
        head = {"rows": len(values_TV), "series": list(series.names), "learnt": start, "threshold": arguments.threshold}
        print(json.dumps({**head, "events": said, "measures": measures}))
        return 0
    _print_events(series, events, arguments.threshold, scores_T)
    for name, value in (measures or {}).items():
        print(f"{name:<36} {'not installed: pip install --no-deps vus' if value is None else f'{value:.3f}'}")
    return 0


def _apart(series: Series, label: str | None) -> tuple[Series, Int64Array | None]:
    """The series without its column of labels, and that column."""
    if label is None:
        return series, None
    if label not in series.names or len(series.names) < 2:
        raise InputError(f"no column {label!r} of numbers beside others; the file has {', '.join(series.names)}")
    index = series.names.index(label)
    labels_T = series.values_TC[:, index]
    if not np.isin(labels_T, (0.0, 1.0)).all():
        raise InputError(f"column {label!r} holds other values than 0 and 1; --label needs one of each a row")
    names = tuple(name for name in series.names if name != label)
    return replace(series, values_TC=np.delete(series.values_TC, index, axis=1), names=names), labels_T.astype(np.int64)


def _num_train(asked: float | None, num_rows: int) -> int:
    share = 0.15 if asked is None else asked
    wanted = share * num_rows if share < 1 else share
    rows = max(int(wanted), 30) if asked is None else int(wanted)
    if not 30 <= rows < num_rows:
        raise InputError(f"--train asks for {rows} of {num_rows} rows; expected 30 or more, and rows left to score")
    return rows


def _events(scores_T: Float64Array, threshold: float, start: int) -> Iterator[dict[str, float]]:
    """Stretches at or above the threshold; those less than five rows apart are one."""
    rows = np.flatnonzero(scores_T >= threshold)
    for stretch in np.split(rows, np.flatnonzero(np.diff(rows) > 5) + 1) if rows.size else ():
        peak = int(stretch[scores_T[stretch].argmax()])
        first, last = start + int(stretch[0]), start + int(stretch[-1])
        yield {"row": start + peak, "score": round(float(scores_T[peak]), 3), "first": first, "last": last}


def _measures(scores_T: Float64Array, labels_T: Int64Array, threshold: float) -> dict[str, float | None]:
    adjusted = point_adjusted_f1(scores_T, labels_T)
    found: dict[str, float | None] = {
        "best F1, row by row": best_f1(scores_T, labels_T),
        "point-adjusted F1": adjusted.scores,
        "point-adjusted F1 of random scores": adjusted.random,
        "VUS-PR": None, "affiliation precision": None, "affiliation recall": None,
    }  # fmt: skip
    try:
        near = affiliation((scores_T >= threshold).astype(np.int64), labels_T)
        found |= {"VUS-PR": vus_pr(scores_T, labels_T)}
        found |= {"affiliation precision": near.precision, "affiliation recall": near.recall}
    except MissingExtraError:
        pass  # the table says so
    return found


def _time(series: Series, row: int) -> str:
    return str(row) if series.times is None else str(series.times[row])[:19].replace("T", " ")


def _print_events(series: Series, events: list[dict[str, float]], threshold: float, scores_T: Float64Array) -> None:
    count, highest = len(scores_T), float(scores_T.max(initial=0.0))
    print(f"{len(events)} anomalies in {count} rows, threshold {threshold:g}")
    if not events:
        print(f"  the highest score is {highest:.2f}; a lower --threshold shows more")
    for event in sorted(events, key=lambda event: -event["score"])[:20]:
        rows = f"rows {event['first']:.0f} to {event['last']:.0f}"
        print(f"  {_time(series, int(event['row'])):<20} score {event['score']:<10.2f} {rows}")
    if len(events) > 20:
        print(f"  and {len(events) - 20} more; --out writes all scores")


def _write(folder: Path, series: Series, scores_T: Float64Array, start: int, threshold: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "score", "anomaly"])
        for row, score in enumerate(scores_T, start=start):
            writer.writerow([_time(series, row), f"{score:.6g}", int(score >= threshold)])
    draw_scores(folder / "scores.png", series.values_TC[start:], scores_T, series.names, threshold)


def _follow(arguments: argparse.Namespace, lines: Iterable[str]) -> int:
    """One line in, one score out, in memory that does not grow."""
    detector = None if arguments.model is None else ChimeraDetector.load(arguments.model)
    state = None if detector is None else detector.init()
    wanted = 500 if arguments.train is None else int(arguments.train)
    if wanted < 30:
        raise InputError(f"--train is {arguments.train}; to follow, expected a number of rows, 30 or more")
    learning: list[Float64Array] = []
    for row, column_V in enumerate(_rows(lines)):
        score = math.nan
        if detector is not None and state is not None:
            score, state = detector.step(column_V, state)
        else:
            if learning and learning[0].shape != column_V.shape:
                raise InputError(f"row {row} has {column_V.size} values, the rows before {learning[0].size}")
            learning.append(column_V)
            if len(learning) == wanted:
                detector = ChimeraDetector(_config(arguments)).fit(_filled(learning))
                state, learning = detector.init(), []
                if arguments.save is not None:
                    detector.save(arguments.save)
        if arguments.json:
            learnt = not math.isnan(score)
            said = {"row": row, "score": round(score, 4) if learnt else None, "anomaly": score >= arguments.threshold}
            print(json.dumps(said), flush=True)
        else:
            print(f"{score:.4f}", flush=True)
    return 0


def _rows(lines: Iterable[str]) -> Iterator[Float64Array]:
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line.strip().split(",")]
        if cells == [""]:
            continue
        try:
            yield np.array([float(cell) if cell else math.nan for cell in cells])
        except ValueError as error:
            if number > 1:
                raise FormatError(f"line {number}: {error}; expected numbers between commas") from error


def _filled(rows: list[Float64Array]) -> Float64Array:
    """Missing values among the rows to learn from, along straight lines."""
    values_TV = np.stack(rows)
    steps = np.arange(len(values_TV))
    for channel in values_TV.T:
        there = np.isfinite(channel)
        if not there.any():
            raise InputError("a channel has no value in the rows to learn from; leave it out, or learn from more rows")
        channel[:] = np.interp(steps, steps[there], channel[there])
    return values_TV
