"""Devices set apart ("hetero") and prompts apart ("Duplex-Split"): the trades the paper shows, and their closed forms."""

import dataclasses

import numpy as np
import pytest

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.hardware.device import Link, System
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.reproduce.comparison import paper_system
from fullduplex.hardware.serving.simulate import Log, Serving, simulate
from fullduplex.hardware.serving.split import Pools, simulate_split, steady_split
from fullduplex.hardware.serving.traffic import Requests, draw_requests
from fullduplex.hardware.stage import Stage, stage_cost
from fullduplex.hardware.steady import cache_bytes, largest_batch, steady

PRESETS = load_presets()
MIXTRAL, LLAMA = PRESETS.find_model("mixtral"), PRESETS.find_model("llama3-8b")
HALF = paper_system(PRESETS, "Duplex+PE+ET", 2)
POOLS = Pools(prompts=HALF, answers=HALF)
HETERO = paper_system(PRESETS, "hetero", 4)


def asked(number: int, prompt: int, answer: int, spread: float = 0.1, per_s: float | None = None) -> Requests:
    rng = np.random.default_rng(0)
    return draw_requests(number, prompt=prompt, answer=answer, rng=rng, spread=spread, per_s=per_s)


def run(name: str, batch: int, length: int) -> Log:
    system = paper_system(PRESETS, name, 4)
    return simulate(MIXTRAL, system, asked(5 * batch, length, length), Serving(batch=batch, closed=True))


@pytest.mark.parametrize("batch", [32, 64])
def test_devices_set_apart_decode_faster_and_pay_with_their_prompts(batch: int) -> None:
    """Sections III and VII: lower median TBT than four GPUs, but longer tails and first tokens, the more the longer."""
    ratios = []
    for length in (256, 1024):
        gpu, hetero = run("GPU", batch, length), run("hetero", batch, length)
        assert hetero.between_tokens_s(0.5) < 0.8 * gpu.between_tokens_s(0.5)
        assert hetero.between_tokens_s(0.99) > 2 * gpu.between_tokens_s(0.99)
        ratios.append(hetero.first_token_s.mean() / gpu.first_token_s.mean())
    assert 2 < ratios[0] < ratios[1]


def test_devices_set_apart_hold_experts_and_caches() -> None:
    """Two of four 80 GiB devices: 171.8 GB less 90.2 GB of experts is left for caches."""
    experts = 2 * MIXTRAL.expert_parameters
    assert cache_bytes(MIXTRAL, HETERO) == pytest.approx(2 * 80 * 2**30 - experts)
    assert largest_batch(MIXTRAL, HETERO, 8192) == 76
    with pytest.raises(InputError, match="do not fit"):
        largest_batch(PRESETS.find_model("grok1"), HETERO, 10)
    # Llama's weights are all on the first two devices, which are not asked for caches.
    small = dataclasses.replace(HETERO.device, capacity_bytes=7e9)
    assert cache_bytes(LLAMA, HETERO.replaced(device=small)) < 0


def test_a_stage_of_devices_set_apart_by_hand() -> None:
    """Free links, one request: dense weights on two processors, its two experts and its cache on two memories."""
    free = Link(bytes_per_s=1e30, hop_s=0.0)
    system = HETERO.replaced(dram_efficiency=1.0, link=free)
    parts = stage_cost(MIXTRAL, system, Stage.of_lengths(1, 4000)).parts_s
    rate = system.device.bytes_per_s
    mixers = 2 * MIXTRAL.num_layers * sum(a * b for a, b in MIXTRAL.mixer_shapes)
    assert parts["linear"] == pytest.approx(mixers / 2 / rate, rel=2e-3)
    assert parts["mixer"] == pytest.approx(4000 * MIXTRAL.kv_bytes_per_token / 2 / (4 * rate), rel=1e-9)
    read = 2 * MIXTRAL.expert_parameters * 2 / 8  # two of eight, each on either device
    on_one, on_both = read / (4 * rate), read / 2 / (4 * rate)
    assert on_both < parts["experts"] < on_one  # both experts on one device or one on each, in the mean over routings
    mixed = stage_cost(MIXTRAL, system, Stage.of_lengths(1, 4000, 1, 4096)).parts_s
    flops = 2 * 4096 * 2 * MIXTRAL.expert_parameters / 8
    assert mixed["experts"] > flops / 2 / (8 * 4 * rate)  # prompts, too, run their experts in memory


def test_the_simulator_of_devices_set_apart_meets_its_closed_form() -> None:
    log = simulate(MIXTRAL, HETERO, asked(1000, 256, 256), Serving(batch=32, closed=True))
    full = log.decodes + log.prompts == 32
    rate = log.tokens[full].sum() / log.stage_s[full].sum()
    assert rate == pytest.approx(steady(MIXTRAL, HETERO, batch=32, prompt=256, answer=256).tokens_per_s, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"apart": -1}, "apart"), ({"apart": 4}, "apart"), ({"apart": 2, "co_processing": "spaces"}, "co_processing"),
     ({"apart": 2, "device": PRESETS.find_device("gpu")}, "apart"), ({"apart": 8, "num_devices": 16}, "apart")],
)  # fmt: skip
def test_devices_cannot_be_set_apart_at_will(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        HETERO.replaced(apart=0).replaced(**changes)


def test_prompts_apart_cut_the_tail_the_batch_and_the_throughput() -> None:
    """4096 + 4096, batch 128: 74 requests fit (ours 73), better tail TBT, lower throughput than Duplex (section VIII)."""
    whole = run("Duplex+PE+ET", 128, 4096)
    split = simulate_split(MIXTRAL, POOLS, asked(640, 4096, 4096), Serving(batch=128, closed=True))
    found = steady_split(MIXTRAL, POOLS, batch=128, prompt=4096, answer=4096)
    assert found.batch == 73
    assert 71 <= split.decodes.max() <= 75  # lengths differ
    assert split.between_tokens_s(0.99) < 0.4 * whole.between_tokens_s(0.99)
    assert split.tokens_per_s < 0.75 * whole.tokens_per_s
    duplex = steady(MIXTRAL, paper_system(PRESETS, "Duplex+PE+ET", 4), batch=128, prompt=4096, answer=4096)
    assert found.tokens_per_s < 0.75 * duplex.tokens_per_s


@pytest.mark.parametrize(
    ("batch", "prompt", "answer", "tolerance"),
    [(32, 512, 256, 0.01), (73, 4096, 4096, 0.01), (64, 2000, 128, 0.03), (100, 4096, 200, 0.03)],
)
def test_the_simulator_of_two_pools_meets_the_closed_form(
    batch: int, prompt: int, answer: int, tolerance: float
) -> None:
    """Within 1 % while the pool for prompts has time, 3 % where it never rests (prompts that wait are read together)."""
    requests = asked(1600, prompt, answer)
    log = simulate_split(MIXTRAL, POOLS, requests, Serving(batch=batch, closed=True))
    order = np.argsort(log.last_s)[401:1201]
    rate = requests.answer[order].sum() / (log.last_s[order[-1]] - np.sort(log.last_s)[400])
    found = steady_split(MIXTRAL, POOLS, batch=batch, prompt=prompt, answer=answer)
    assert rate == pytest.approx(found.tokens_per_s, rel=tolerance)


@pytest.mark.parametrize("closed", [True, False])
def test_the_books_of_two_pools_balance(closed: bool) -> None:
    requests = asked(200, 300, 12, per_s=None if closed else 40.0)
    log = simulate_split(LLAMA, POOLS, requests, Serving(batch=16, closed=closed))
    seen = np.isfinite(log.first_s)
    assert closed != seen.all()
    assert log.prompts.sum() == seen.sum() == len(log.handover_s) == log.handed_over.sum()
    assert (log.last_s[seen] > log.first_s[seen]).all() and (log.first_s[seen] > log.arrival_s[seen]).all()
    if not closed:
        assert log.tokens.sum() == requests.answer.sum()
    move_s = POOLS.move_seconds(LLAMA, 200)
    assert log.handover_s.min() > move_s > 0
    again = simulate_split(LLAMA, POOLS, requests, Serving(batch=16, closed=closed))
    assert (again.last_s == log.last_s).all()


def test_an_answer_of_one_token_never_reaches_the_second_pool() -> None:
    log = simulate_split(LLAMA, POOLS, asked(20, 100, 1, spread=0.0), Serving(batch=4))
    assert log.decodes.sum() == 0 and (log.first_s == log.last_s).all()
    found = steady_split(LLAMA, POOLS, batch=4, prompt=100, answer=2)
    assert 0 < found.tokens_per_s < 2 / stage_cost(LLAMA, HALF, Stage.of_lengths(0, 0, 1, 100)).seconds


def test_two_pools_refuse_what_they_cannot_serve() -> None:
    with pytest.raises(ConfigError, match="chunk"):
        simulate_split(LLAMA, POOLS, asked(2, 10, 2), Serving(batch=1, chunk=64))
    with pytest.raises(InputError, match="do not fit"):
        simulate_split(MIXTRAL, POOLS, asked(2, 900_000, 2), Serving(batch=1))
    with pytest.raises(ConfigError, match="answer"):
        steady_split(MIXTRAL, POOLS, batch=1, prompt=1, answer=0)
    one = System(device=PRESETS.find_device("gpu"))
    with pytest.raises(InputError, match="weights"):
        steady_split(MIXTRAL, Pools(prompts=one, answers=HALF), batch=1, prompt=10, answer=10)
