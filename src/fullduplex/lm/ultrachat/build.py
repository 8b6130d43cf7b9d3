"""Chats in, duplex dialogues out: one pass, a bounded window in memory, the same file for the same seed.

Output n is made of source dialogue n // copies and, where a kind needs several, of others out of the window of dialogues
around it; every chance comes from (seed, n). So a build that broke off goes on where its file ends, and the whole is the
same, to the byte, as one that did not.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

from fullduplex.base.errors import FormatError, InputError
from fullduplex.base.slices import slice_messages
from fullduplex.lm.ultrachat.dialogues import Dialogue
from fullduplex.lm.ultrachat.kinds import KINDS, NUM_DIALOGUES, Kind, KindConfig, SlicedDialogue, Unsuitable, make

__all__ = ["OURS_MIX", "PAPER_MIX", "BuildConfig", "Built", "build", "read_built", "to_line", "write_build"]

# Dialogues of each kind in Duplex-UltraChat (2406.15718, table 1).
PAPER_MIX: dict[Kind, float] = {
    "basic": 1_458_353,
    "interweave": 489_065,
    "terminate": 1_468_141,
    "regenerate": 806_687,
    "reset": 300_318,
    "back_on_topic": 327_286,
}
# The same with a tenth of ours.
OURS_MIX: dict[Kind, float] = {**PAPER_MIX, "backchannel": sum(PAPER_MIX.values()) / 9}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """`mix`: relative number of each kind. `copies`: dialogues out for one in. `window`: dialogues held to choose others
    from; `seed`: all chance."""

    mix: Mapping[Kind, float] = field(default_factory=lambda: PAPER_MIX)
    kinds: KindConfig = field(default_factory=KindConfig)
    copies: int = 1
    window: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.mix if kind not in KINDS]
        if unknown:
            raise InputError(f"mix names {unknown[0]!r}; kinds are {', '.join(KINDS)}")
        if (
            not self.mix
            or any(not 0 <= share < float("inf") for share in self.mix.values())
            or not sum(self.mix.values())
        ):
            raise InputError("mix needs shares of 0 or more that are not all 0")
        if self.copies < 1 or self.window < 5:
            raise InputError(f"copies is {self.copies}, window {self.window}; expected at least 1 and 5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One output: the dialogue, its number, and the kind that was drawn (which it may have been too short for)."""

    number: int
    wanted: Kind
    sliced: SlicedDialogue


def build(dialogues: Iterable[Dialogue], config: BuildConfig | None = None, *, start: int = 0) -> Iterator[Built]:
    """Duplex dialogues, one after the other.

    A kind that the drawn dialogues are too short for, or too few for, becomes basic; `Built.wanted` tells.

    Args:
        dialogues: the source, in order.
        config: what to make.
        start: number of outputs to pass over, because they are there already.

    Raises:
        InputError: the source holds nothing.
    """
    config = config or BuildConfig()
    kinds: list[Kind] = [kind for kind in KINDS if config.mix.get(kind, 0) > 0]
    weights = [config.mix[kind] for kind in kinds]
    number = 0
    for dialogue, others in _windows(dialogues, config.window):
        for _ in range(config.copies):
            if number >= start:
                draw = Random(f"{config.seed}:{number}")
                wanted = draw.choices(kinds, weights)[0]
                yield Built(number=number, wanted=wanted, sliced=_make(wanted, dialogue, others, config.kinds, draw))
            number += 1
    if not number:
        raise InputError("the source holds no dialogue; expected at least one")


def _windows(dialogues: Iterable[Dialogue], window: int) -> Iterator[tuple[Dialogue, deque[Dialogue]]]:
    """Every dialogue with those around it: up to `window` before it, then as many after it where there are fewer."""
    source = iter(dialogues)
    ahead: deque[Dialogue] = deque()
    behind: deque[Dialogue] = deque(maxlen=window)
    for dialogue in source:
        ahead.append(dialogue)
        if len(ahead) > window:
            yield _window(ahead, behind)
    while ahead:
        yield _window(ahead, behind)


def _window(ahead: deque[Dialogue], behind: deque[Dialogue]) -> tuple[Dialogue, deque[Dialogue]]:
    dialogue = ahead.popleft()
    others = ahead if len(ahead) >= len(behind) else behind.copy()
    behind.append(dialogue)
    return dialogue, others


def _make(kind: Kind, dialogue: Dialogue, others: deque[Dialogue], config: KindConfig, draw: Random) -> SlicedDialogue:
    fewest, most = NUM_DIALOGUES[kind]
    count = fewest + int(draw.random() * (most - fewest + 1)) - 1
    if fewest - 1 <= len(others):
        chosen = draw.sample(range(len(others)), min(count, len(others))) if count else []
        try:
            return make(kind, (dialogue, *(others[i] for i in chosen)), config, draw)
        except Unsuitable:
            pass  # too short to be broken into: as it is, then
    return make("basic", (dialogue,), config, draw)


def to_line(built: Built, *, layout: str = "pairs") -> str:
    """One line of JSON without its end.

    `layout` "pairs": {"n", "kind", "wanted", "sources", "pairs": [[user, machine]], "marks": [[what, index]]}, "" for idle.
    "messages": the same with "output": [{"role", "content"}] and `<idle>`, as the paper's release is read by others.
    """
    sliced = built.sliced
    head = {"n": built.number, "kind": sliced.kind, "wanted": built.wanted, "sources": sliced.sources}
    if layout == "pairs":
        body: dict[str, Any] = {"pairs": sliced.pairs}
    elif layout == "messages":
        body = {"output": [{"role": m.role, "content": m.text} for m in slice_messages(sliced.pairs)]}
    else:
        raise InputError(f"layout is {layout!r}; expected pairs or messages")
    return json.dumps({**head, **body, "marks": sliced.marks}, ensure_ascii=False)


def write_build(
    file: Path,
    dialogues: Iterable[Dialogue],
    config: BuildConfig | None = None,
    *,
    layout: str = "pairs",
    resume: bool = False,
    limit: int | None = None,
) -> Iterator[Built]:
    """Write a build to JSONL, yielding what was written.

    Args:
        file: where to. Its last line, if it was cut off, is written again.
        dialogues: the source, from its beginning also when resuming.
        config: what to make; a resumed build must be given the same.
        layout: see `to_line`.
        resume: go on where the file ends. Otherwise an existing file is an error.
        limit: stop after this many outputs in all.

    Raises:
        InputError: the file exists and `resume` was not asked for; FormatError: its last whole line is no output.
    """
    if file.exists() and not resume:
        raise InputError(f"{file} exists; resume it, or choose another name")
    start = _written(file) if file.exists() else 0
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as out:
        for built in build(dialogues, config, start=start):
            if limit is not None and built.number >= limit:
                return
            out.write(to_line(built, layout=layout) + "\n")
            yield built


def _written(file: Path) -> int:
    """How many outputs are whole; what follows the last of them is cut off."""
    count = whole = 0
    with file.open("rb+") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            count += 1
        stream.truncate(whole)
    return count


def read_built(file: Path) -> Iterator[Built]:
    """Read what `write_build` wrote, in the "pairs" layout.

    Raises:
        FormatError: a line is no output; the message names it.
    """
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield _from_plain(json.loads(line))
                except (KeyError, TypeError, ValueError) as error:
                    raise FormatError(f"{file} line {number} is no duplex dialogue: {error!r}") from error
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error}") from error


def _from_plain(plain: dict[str, Any]) -> Built:
    if plain["kind"] not in KINDS:
        raise ValueError(f"kind {plain['kind']!r}")
    sliced = SlicedDialogue(
        kind=cast("Kind", plain["kind"]),
        sources=tuple(str(source) for source in plain["sources"]),
        pairs=[(str(user), str(machine)) for user, machine in plain["pairs"]],
        marks=[(str(what), int(at)) for what, at in plain["marks"]],
    )
    return Built(number=int(plain["n"]), wanted=plain["wanted"], sliced=sliced)
