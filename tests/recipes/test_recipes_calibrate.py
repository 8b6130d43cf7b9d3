"""Calls of a model are timed at the contexts asked for, on what the cache holds; the engine is a fake, the clock is ours."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fullduplex.base.errors import AssetError
from fullduplex.recipes.machine import calibrate
from fullduplex.recipes.machine.calibrate import CALLS, time_calls


class Fake:
    """Keeps what llama.cpp would: the number of tokens cached, and every call behind a filled context."""

    vocabulary_size = 500
    opened: "list[Fake]"

    def __init__(self, path: Path, *, threads: int, context: int, sequences: int) -> None:
        self.path, self.threads, self.context, self.sequences = path, threads, context, sequences
        self.cached, self.closed = 0, False
        self.timed: list[tuple[int, int]] = []
        Fake.opened.append(self)

    def decode(self, sequence: int, start: int, tokens: list[int], logits: bool) -> None:
        assert sequence == 0 and start == self.cached, "a call must follow what is cached"
        assert all(100 <= token < 500 for token in tokens)
        self.cached += len(tokens)
        assert self.cached <= self.context
        if logits:
            self.timed.append((len(tokens), start))

    def remove(self, sequence: int, start: int) -> None:
        assert sequence == 0 and start <= self.cached, "what was never computed cannot be kept"
        self.cached = start

    def close(self) -> None:
        self.closed = True


def ticking(steps: list[float]) -> Iterator[float]:
    now = 0.0
    for step in steps:
        yield now
        now += step
        yield now


@pytest.fixture(autouse=True)
def _fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake.opened = []
    monkeypatch.setattr(calibrate, "Engine", Fake)


def test_the_least_of_the_repeats_in_the_order_of_the_plan(tmp_path: Path) -> None:
    """Longest context first, so that nothing is computed twice; the answer is in the order asked."""
    plan = [(1, 32), (8, 512), (4, 96)]
    clock = ticking([5.0, 3.0, 4.0, 0.5, 0.7, 0.6, 0.2, 0.3, 0.1])
    seen: list[int] = []
    found = time_calls(tmp_path, plan, repeats=3, clock=lambda: next(clock), progress=lambda: seen.append(1))
    assert [(call.tokens, call.context) for call in found] == plan
    assert [call.seconds for call in found] == pytest.approx([0.1, 3.0, 0.5])
    engine = Fake.opened[0]
    assert engine.timed == [(8, 512)] * 3 + [(4, 96)] * 3 + [(1, 32)] * 3
    assert (engine.threads, engine.sequences, engine.closed, len(seen)) == (1, 1, True, 3)


def test_every_call_of_the_plan_fits_and_has_a_partner_of_its_size() -> None:
    """One of two neighbours is fitted and the other held out; all calls are different."""
    assert len(set(CALLS)) == len(CALLS)
    assert max(tokens + context for tokens, context in CALLS) <= 1024
    for (first, _), (second, _) in zip(CALLS[::2], CALLS[1::2], strict=True):
        assert first == second
    found = time_calls(Path("model"), repeats=1)
    assert [(call.tokens, call.context) for call in found] == list(CALLS)


def test_the_engine_is_closed_when_a_call_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise AssetError("out of memory")

    monkeypatch.setattr(Fake, "remove", broken)
    with pytest.raises(AssetError, match="out of memory"):
        time_calls(Path("model"))
    assert Fake.opened[0].closed
