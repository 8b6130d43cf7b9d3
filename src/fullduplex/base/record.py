"""One result, one JSON line: what was run, on what, and what came out."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from fullduplex.base.errors import FormatError, InputError

__all__ = ["Record", "append_record", "hash_bytes", "read_records"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A figure is worth keeping only with what is needed to get it again.

    Args:
        name: what was measured, e.g. `"linear_scan"`.
        seed: the seed every random draw came from.
        data_hash: `hash_bytes` of the data, or `""` when there was none.
        figures: measured numbers by name, units in the name; all finite.
        seconds_s: wall-clock duration of the run.
        config: the settings, as plain JSON values.
    """

    name: str
    seed: int
    data_hash: str
    figures: Mapping[str, float]
    seconds_s: float
    config: Mapping[str, object] = field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        bad = [key for key, value in {**self.figures, "seconds_s": self.seconds_s}.items() if not math.isfinite(value)]
        if bad:
            raise InputError(f"record {self.name!r}: not finite: {', '.join(bad)}; leave out what was not measured")

    def to_json(self) -> str:
        """This record as one line of JSON without the line end.

        Raises:
            InputError: `config` holds a value JSON has no form for.
        """
        plain = {**asdict(self), "figures": dict(self.figures), "config": dict(self.config)}
        try:
            return json.dumps(plain, allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"record {self.name!r} cannot be written as JSON: {error}; pass plain values") from error


def append_record(path: Path, record: Record) -> None:
    """Add one line to `path`, which is created when absent."""
    line = record.to_json() + "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(line)


def read_records(path: Path) -> tuple[Record, ...]:
    """Every record in `path`, oldest first.

    Raises:
        FormatError: a line is not a record; the message names the line.
    """
    records: list[Record] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            records.append(Record(**cast("dict[str, Any]", json.loads(line))))
        except (TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"{path.name} line {number} is not a record: {error}") from error
    return tuple(records)


def hash_bytes(chunks: Iterable[bytes]) -> str:
    """SHA-256 of the chunks as one stream, in hexadecimal: how the chunks are cut does not matter."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
