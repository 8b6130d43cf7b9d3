"""The simulator against the closed form, queueing theory and its own books."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.hardware.device import System
from fullduplex.hardware.model import Model
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.reproduce.comparison import paper_system
from fullduplex.hardware.serving.simulate import Log, Serving, simulate
from fullduplex.hardware.serving.traffic import Requests, draw_requests
from fullduplex.hardware.stage import Stage, stage_cost
from fullduplex.hardware.steady import decode_only_share, largest_batch, steady

PRESETS = load_presets()
LLAMA, MIXTRAL, MAMBA = (PRESETS.find_model(name) for name in ("llama3-8b", "mixtral", "mamba2-2.7b"))
ONE = System(device=PRESETS.find_device("gpu"))
FOUR = {name: paper_system(PRESETS, name, 4) for name in ("GPU", "Duplex", "Duplex+PE+ET")}


def requests(number: int, prompt: int, answer: int, *, spread: float = 0.0, per_s: float | None = None, seed: int = 0):
    rng = np.random.default_rng(seed)
    return draw_requests(number, prompt=prompt, answer=answer, rng=rng, spread=spread, per_s=per_s)


@pytest.mark.parametrize(("batch", "answer", "number"), [(128, 256, 1500), (128, 2048, 1000)])
def test_the_share_of_stages_that_only_decode_is_that_of_the_closed_form(batch: int, answer: int, number: int) -> None:
    """(1 - 1 / answer)^batch: 0.606 and 0.939; (32, 256) is below."""
    asked = requests(number, 200, answer, spread=0.1)
    log = simulate(MIXTRAL, FOUR["Duplex"], asked, Serving(batch=batch, closed=True))
    full = log.decodes + log.prompts == batch
    assert (log.prompts[full] == 0).mean() == pytest.approx(decode_only_share(batch, answer), abs=0.02)


@pytest.mark.parametrize("name", sorted(FOUR))
def test_the_closed_loop_meets_the_closed_form_within_one_percent(name: str) -> None:
    """Mixtral, batch 32, 256 + 256. The tail, in which places stay empty, is cut off."""
    asked, system = requests(1200, 256, 256, spread=0.1), FOUR[name]
    log = simulate(MIXTRAL, system, asked, Serving(batch=32, closed=True))
    full = log.decodes + log.prompts == 32
    rate = log.tokens[full].sum() / log.stage_s[full].sum()
    expected = steady(MIXTRAL, system, batch=32, prompt=256, answer=256)
    assert rate == pytest.approx(expected.tokens_per_s, rel=0.01)
    assert (log.prompts[full] == 0).mean() == pytest.approx(decode_only_share(32, 256), abs=0.02)


def test_littles_law() -> None:
    """Mean requests present = arrivals a second x mean time present, over a run that begins and ends empty."""
    log = simulate(LLAMA, ONE, requests(400, 300, 40, spread=0.2, per_s=20.0), Serving(batch=64))
    changes = np.concatenate([np.stack([log.arrival_s, np.ones(400)]), np.stack([log.last_s, -np.ones(400)])], axis=1)
    times, steps = changes[:, np.argsort(changes[0])]
    present = (np.cumsum(steps)[:-1] * np.diff(times)).sum() / log.end_s
    assert present == pytest.approx(400 / log.end_s * log.whole_s.mean(), rel=0.01)


def test_one_place_is_an_m_d_1_queue() -> None:
    """Fixed service S at load rho: mean wait rho S / (2 (1 - rho)); 3 % of tolerance."""
    service_s = stage_cost(LLAMA, ONE, Stage.of_lengths(0, 0, 1, 500)).seconds
    load = 0.6
    log = simulate(LLAMA, ONE, requests(60_000, 500, 1, per_s=load / service_s, seed=1), Serving(batch=1))
    wait_s = (log.first_token_s - service_s).mean()
    assert wait_s == pytest.approx(load * service_s / (2 * (1 - load)), rel=0.03)


def books_balance(log: Log, asked: Requests) -> None:
    assert log.stage_s.sum() <= log.end_s * (1 + 1e-9)
    assert log.tokens.sum() == asked.answer.sum()
    assert log.prompts.sum() == len(asked)
    assert (log.first_s > asked.arrival_s).all() and (log.last_s >= log.first_s).all()
    assert log.tokens_per_s * log.end_s == pytest.approx(log.tokens.sum(), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    number=st.integers(1, 30), prompt=st.integers(1, 400), answer=st.integers(1, 20), batch=st.integers(1, 9),
    chunk=st.sampled_from([0, 1, 64]), per_s=st.sampled_from([None, 1.0, 100.0]), seed=st.integers(0, 9),
)  # fmt: skip
def test_every_token_is_made_once(
    number: int, prompt: int, answer: int, batch: int, chunk: int, per_s: float | None, seed: int
) -> None:
    asked = requests(number, prompt, answer, spread=0.3, per_s=per_s, seed=seed)
    log = simulate(MAMBA, ONE, asked, Serving(batch=batch, chunk=chunk))
    books_balance(log, asked)
    assert (log.decodes + log.prompts).max() <= batch
    again = simulate(MAMBA, ONE, asked, Serving(batch=batch, chunk=chunk))
    assert (again.stage_s == log.stage_s).all() and again.energy_j == log.energy_j


def test_a_mixed_stage_lets_all_decodes_advance() -> None:
    """Three requests decode when a fourth arrives: its stage has three decodes and one prompt."""
    asked = Requests(
        arrival_s=np.array([0.0, 0.0, 0.0, 0.05]), prompt=np.array([10, 10, 10, 500]), answer=np.array([40, 40, 40, 5])
    )
    log = simulate(LLAMA, ONE, asked, Serving(batch=4))
    mixed = np.flatnonzero(log.prompts == 1)
    assert mixed.size == 1
    assert log.decodes[mixed[0]] == 3
    assert log.decodes[mixed[0] + 1] == 4
    books_balance(log, asked)


def test_chunks_cut_the_tail_between_tokens_and_not_the_tokens() -> None:
    asked = requests(150, 2000, 60, spread=0.1, per_s=4.0)
    whole, chunked = (simulate(LLAMA, ONE, asked, Serving(batch=32, chunk=size)) for size in (0, 256))
    assert whole.tokens.sum() == chunked.tokens.sum()
    assert chunked.between_tokens_s(0.99) < 0.6 * whole.between_tokens_s(0.99)
    assert chunked.first_token_s.mean() > 0


def test_admission_keeps_to_the_bytes() -> None:
    """KV of 20,000 tokens a request: 26 fit beside the weights, whatever the batch."""
    asked = requests(60, 19_990, 10)
    log = simulate(LLAMA, ONE, asked, Serving(batch=500))
    fit = largest_batch(LLAMA, ONE, 20_000)
    assert (log.decodes + log.prompts).max() == fit < 60
    assert log.peak_bytes <= ONE.capacity_bytes
    with pytest.raises(InputError, match="do not fit"):
        simulate(LLAMA, ONE, requests(1, 1_000_000, 1), Serving(batch=1))


def test_gaps_between_arrivals_are_exponential() -> None:
    """Kolmogorov-Smirnov distance below the 1 % point, 1.63 / sqrt(n)."""
    gaps = np.sort(np.diff(requests(5001, 1, 1, per_s=3.0).arrival_s))
    ideal = 1 - np.exp(-3.0 * gaps)
    ranks = np.arange(1, 5001) / 5000
    assert max(np.abs(ranks - ideal).max(), np.abs(ranks - 1 / 5000 - ideal).max()) < 1.63 / np.sqrt(5000)


def test_overload_is_seen_as_ever_longer_waits() -> None:
    log = simulate(LLAMA, ONE, requests(600, 2000, 20, per_s=200.0), Serving(batch=8))
    waits = log.first_token_s.reshape(3, -1).mean(axis=1)
    assert waits[2] > 1.5 * waits[1] > 2 * waits[0]
    assert log.overloaded(8) and log.waiting > 500
    longer = simulate(LLAMA, ONE, requests(1200, 2000, 20, per_s=200.0), Serving(batch=8))
    assert longer.first_token_s.mean() == pytest.approx(2 * log.first_token_s.mean(), rel=0.05)  # no bound
    calm = simulate(LLAMA, ONE, requests(600, 2000, 20, per_s=2.0), Serving(batch=8))
    assert not calm.overloaded(8) and calm.waiting <= 8
    closed = simulate(LLAMA, ONE, requests(60, 200, 20), Serving(batch=8, closed=True))
    assert not closed.overloaded(8) and closed.waiting == 0


def test_a_faster_device_and_a_shorter_hop_never_slow_a_closed_loop() -> None:
    asked, serving = requests(80, 200, 30), Serving(batch=16, closed=True)
    here = simulate(MIXTRAL, FOUR["GPU"], asked, serving).end_s
    device = dataclasses.replace(FOUR["GPU"].device, bytes_per_s=2 * 3.352e12)
    assert simulate(MIXTRAL, FOUR["GPU"].replaced(device=device), asked, serving).end_s < here
    link = dataclasses.replace(FOUR["GPU"].link, hop_s=1e-6)
    assert simulate(MIXTRAL, FOUR["GPU"].replaced(link=link), asked, serving).end_s < here


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(["mixtral", "glam", "llama3-8b", "mamba2-2.7b"]),
    kind=st.sampled_from(["GPU", "2xGPU", "Duplex", "Duplex+PE+ET", "Bank-PIM"]), prompt=st.integers(1, 600),
    answer=st.integers(1, 20), batch=st.integers(1, 40), chunk=st.sampled_from([0, 128]),
)  # fmt: skip
def test_no_simulated_stage_beats_the_roofline(
    name: str, kind: str, prompt: int, answer: int, batch: int, chunk: int
) -> None:
    """Both units of all devices at their peaks read the dense weights once a stage, and do what every token asks."""
    model, system = PRESETS.find_model(name), paper_system(PRESETS, kind, 8)
    log = simulate(model, system, requests(30, prompt, answer, spread=0.2), Serving(batch=batch, chunk=chunk))
    xpu, pim = system.device.xpu(), system.device.pim()
    rate = xpu.bytes_per_s + (pim.bytes_per_s if pim else 0.0)
    peak = xpu.flops_per_s + (pim.flops_per_s if pim else 0.0)
    dense = model.block_parameters - model.expert_parameters
    floor_s = np.maximum(2 * dense / rate, 2 * dense * (log.decodes + log.prompts) / peak) / system.num_devices
    assert (log.stage_s >= floor_s * (1 - 1e-9)).all()
    assert log.tokens_per_s <= batch / floor_s.min()


def test_lengths_scatter_as_asked() -> None:
    """Gaussian: the deviation is that share of the mean, 68.3 % lie within one of it; without a spread all are equal."""
    drawn = requests(20_000, 1000, 400, spread=0.1)
    for lengths, mean in ((drawn.prompt, 1000), (drawn.answer, 400)):
        assert lengths.mean() == pytest.approx(mean, rel=0.005)
        assert lengths.std() == pytest.approx(0.1 * mean, rel=0.02)
        assert (np.abs(lengths - mean) <= 0.1 * mean).mean() == pytest.approx(0.683, abs=0.02)
    assert np.corrcoef(drawn.prompt, drawn.answer)[0, 1] == pytest.approx(0, abs=0.03)
    assert set(requests(50, 7, 9).prompt.tolist()) == {7}


def test_energy_is_the_sum_over_stages() -> None:
    """The joules of a run are those of its stages, each counted the slow way."""
    asked = requests(30, 100, 12, spread=0.2)
    log = simulate(LLAMA, ONE, asked, Serving(batch=6, closed=True))
    seconds = joules = 0.0
    known: list[Stage] = []

    def remembered(decode: int, context: float, prompts: int, tokens: int, pairs: float, draw: int):
        assert draw == len(known)
        known.append(
            Stage(decode=decode, context_tokens=context, prompts=prompts, prompt_tokens=tokens, prompt_pairs=pairs)
        )
        return 1.0, 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fullduplex.hardware.serving.simulate.quick_cost", lambda *_: remembered)
        simulate(LLAMA, ONE, asked, Serving(batch=6, closed=True))
    for stage in known:
        cost = stage_cost(LLAMA, ONE, stage)
        assert sum(cost.parts_j.values()) == pytest.approx(cost.energy_j, rel=1e-12)
        seconds, joules = seconds + cost.seconds, joules + cost.energy_j
    assert len(known) == len(log.stage_s)
    assert log.energy_j == pytest.approx(joules, rel=1e-9)
    assert log.end_s == pytest.approx(seconds, rel=1e-9)


def test_names_of_requests_do_not_matter() -> None:
    """Requests that come at different times are served by their time; equal ones may change places."""
    drawn = requests(120, 300, 15, spread=0.4, per_s=30.0)
    order = np.random.default_rng(3).permutation(120)
    table = np.stack([drawn.arrival_s, drawn.prompt, drawn.answer], axis=1)[order]
    back = table[np.argsort(table[:, 0], kind="stable")]
    again = Requests(arrival_s=back[:, 0], prompt=back[:, 1].astype(np.int64), answer=back[:, 2].astype(np.int64))
    logs = [simulate(LLAMA, ONE, asked, Serving(batch=8)) for asked in (drawn, again)]
    assert (logs[0].last_s == logs[1].last_s).all() and (logs[0].stage_s == logs[1].stage_s).all()
    same = Requests(arrival_s=np.zeros(40), prompt=np.full(40, 90), answer=np.full(40, 9))
    log = simulate(LLAMA, ONE, same, Serving(batch=4))
    assert (np.diff(log.first_s) >= 0).all()  # first come, first served


@settings(max_examples=30, deadline=None)
@given(
    number=st.integers(1, 20), prompt=st.integers(1, 300), answer=st.integers(1, 15), batch=st.integers(1, 6),
    model=st.sampled_from([LLAMA, MAMBA]), gain=st.floats(1, 8), chunk=st.sampled_from([0, 32]),
)  # fmt: skip
def test_more_of_anything_never_slows_a_closed_loop(
    number: int, prompt: int, answer: int, batch: int, model: Model, gain: float, chunk: int
) -> None:
    """Fixed lengths. More bandwidth, more operations, quicker links, fewer tokens: never later."""
    system = System(device=PRESETS.find_device("duplex"), num_devices=2)
    serving = Serving(batch=batch, closed=True, chunk=chunk)
    here = simulate(model, system, requests(number, prompt, answer), serving).end_s

    def end_s(changed: System, asked: Requests) -> float:
        return simulate(model, changed, asked, serving).end_s

    asked = requests(number, prompt, answer)
    for field in ("bytes_per_s", "flops_per_s"):
        device = dataclasses.replace(system.device, **{field: gain * getattr(system.device, field)})
        assert end_s(system.replaced(device=device), asked) <= here * (1 + 1e-12)
    link = dataclasses.replace(system.link, hop_s=system.link.hop_s / gain)
    assert end_s(system.replaced(link=link), asked) <= here * (1 + 1e-12)
    assert end_s(system, requests(number, max(1, prompt // 2), answer)) <= here * (1 + 1e-12)
    assert end_s(system, requests(max(1, number // 2), prompt, answer)) <= here * (1 + 1e-12)


def test_requests_and_serving_refuse_nonsense() -> None:
    good = np.zeros(2), np.ones(2, dtype=np.int64)
    with pytest.raises(InputError, match="shapes"):
        Requests(arrival_s=good[0], prompt=good[1], answer=np.ones(3, dtype=np.int64))
    with pytest.raises(InputError, match="answer has 0"):
        Requests(arrival_s=good[0], prompt=good[1], answer=0 * good[1])
    with pytest.raises(InputError, match="ascending"):
        Requests(arrival_s=np.array([1.0, 0.0]), prompt=good[1], answer=good[1])
    with pytest.raises(InputError, match="no requests"):
        Requests(arrival_s=np.zeros(0), prompt=np.zeros(0, dtype=np.int64), answer=np.zeros(0, dtype=np.int64))
    with pytest.raises(ConfigError, match="per_s"):
        requests(1, 1, 1, per_s=0.0)
    with pytest.raises(ConfigError, match="batch"):
        Serving(batch=0)
    with pytest.raises(ConfigError, match="chunk"):
        Serving(batch=1, chunk=-1)
    log = simulate(LLAMA, ONE, requests(3, 5, 1), Serving(batch=2))
    with pytest.raises(InputError, match="second token"):
        log.between_tokens_s(0.5)
