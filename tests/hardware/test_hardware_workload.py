"""Operations, bytes and routing: the identities of the Duplex paper, and counts done by hand."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import ConfigError
from fullduplex.hardware.device import Processor
from fullduplex.hardware.model import FeedForward
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.workload import (
    Routing,
    Work,
    active_experts,
    decode_attention,
    expert_seconds,
    expert_work,
    gemm,
    prefill_attention,
    route_tokens,
    state_space_scan,
    state_space_step,
)

PRESETS = load_presets()
XPU = PRESETS.find_device("gpu").xpu()


def test_gemm_by_hand() -> None:
    work = gemm(3, 5, 7)
    assert (work.flops, work.bytes) == (2 * 3 * 5 * 7, 2 * (15 + 35 + 21))
    assert gemm(0, 5, 7) == Work(0, 0)
    assert gemm(0, 5, 7).ops_per_byte == 0


@given(rows=st.integers(1, 64))
def test_op_b_of_wide_weights_is_the_number_of_tokens(rows: int) -> None:
    assert gemm(rows, 1e6, 1e6).ops_per_byte == pytest.approx(rows, rel=2e-4)


@pytest.mark.parametrize(("model", "group"), [("opt-66b", 1), ("mixtral", 4), ("grok1", 6), ("llama3-70b", 8)])
def test_op_b_of_decode_attention_is_the_group(model: str, group: int) -> None:
    assert decode_attention(PRESETS.find_model(model), 1000, 4).ops_per_byte == pytest.approx(group)


@pytest.mark.parametrize(
    ("group", "paper_at_most", "here"), [(6, 0.0206, 0.0203), (4, 0.0206, 0.0136), (1, 0.0206, 0.0034)]
)
def test_utilisation_of_the_gpu_in_attention(group: int, paper_at_most: float, here: float) -> None:
    share = group / XPU.ops_per_byte
    assert share == pytest.approx(here, abs=5e-5)
    assert share <= paper_at_most


def test_utilisation_of_the_gpu_in_experts() -> None:
    """Mixtral, batch 128: 32 tokens an expert; the paper says below 11 %."""
    assert 128 * 2 / 8 / XPU.ops_per_byte == pytest.approx(0.1084, abs=5e-5)


@pytest.mark.parametrize(("state_bytes", "op_b"), [(2.0, 1.25), (4.0, 0.625)])
def test_op_b_of_a_state_space_step_does_not_depend_on_the_batch(state_bytes: float, op_b: float) -> None:
    model = PRESETS.find_model("mamba2-130m")
    assert model.state_space is not None
    model = dataclasses.replace(model, state_space=dataclasses.replace(model.state_space, state_bytes=state_bytes))
    assert [state_space_step(model, sessions, 2).ops_per_byte for sessions in (1, 64)] == pytest.approx([op_b] * 2)


def test_prompts_cost_more_than_nothing_and_scale() -> None:
    dense, space = PRESETS.find_model("llama3-8b"), PRESETS.find_model("mamba2-2.7b")
    assert prefill_attention(dense, 50, 10).flops == 4 * 50 * 4096
    assert prefill_attention(dense, 50, 10).bytes == 2 * 10 * (4096 + 4096 + 2 * 1024)  # Q, result, K and V
    assert state_space_scan(space, 20).flops == 2 * state_space_scan(space, 10).flops


@pytest.mark.parametrize(
    ("experts", "top_k", "batch", "found"),
    [(64, 2, 32, 40.83), (64, 2, 64, 55.61), (64, 2, 128, 62.90), (8, 2, 8, 7.20), (8, 2, 1, 2.0), (8, 8, 3, 8.0)],
)
def test_expected_active_experts(experts: int, top_k: int, batch: int, found: float) -> None:
    assert active_experts(experts, top_k, batch) == pytest.approx(found, abs=5e-3)


def test_active_experts_refuses_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match="top_k"):
        active_experts(4, 5, 1)
    with pytest.raises(ConfigError, match="num_tokens"):
        active_experts(4, 2, float("nan"))


@given(experts=st.integers(1, 12), top_k=st.integers(1, 12), tokens=st.integers(0, 40), zipf=st.floats(0, 2))
def test_every_token_visits_top_k_experts(experts: int, top_k: int, tokens: int, zipf: float) -> None:
    feed = FeedForward(width=1, num_experts=experts, top_k=min(top_k, experts))
    counts = route_tokens(feed, tokens, 3, np.random.default_rng(0), Routing(zipf=zipf))
    assert counts.shape == (3, experts)
    assert (counts.sum(axis=1) == feed.top_k * tokens).all()
    assert counts.max(initial=0) <= tokens  # no token visits an expert twice


@pytest.mark.parametrize("top_k", [2, 6])
def test_routing_meets_the_closed_form(top_k: int) -> None:
    """With 64 experts: pairs are listed, sixes are drawn one token after another."""
    counts = route_tokens(FeedForward(width=1, num_experts=64, top_k=top_k), 16, 600, np.random.default_rng(3))
    assert (counts > 0).sum(axis=1).mean() == pytest.approx(active_experts(64, top_k, 16), rel=0.01)


def test_skew_follows_the_order_of_experts_and_the_seed_decides() -> None:
    feed = FeedForward(width=1, num_experts=8, top_k=2)
    counts = route_tokens(feed, 1000, 20, np.random.default_rng(1), Routing(zipf=1.0)).sum(axis=0)
    assert (np.diff(counts) < 0).all()
    again = route_tokens(feed, 1000, 20, np.random.default_rng(1), Routing(zipf=1.0)).sum(axis=0)
    assert (counts == again).all()


def test_a_skew_of_zero_is_even_and_a_negative_one_is_refused() -> None:
    feed = FeedForward(width=1, num_experts=8, top_k=2)
    share = route_tokens(feed, 1000, 200, np.random.default_rng(1)).mean(axis=0) / 1000
    assert share == pytest.approx(np.full(8, 0.25), abs=0.005)
    with pytest.raises(ConfigError, match="zipf"):
        Routing(zipf=-1.0)
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="correlation"):
            Routing(correlation=wrong)


@pytest.mark.parametrize(("experts", "top_k"), [(8, 2), (64, 1)])
@pytest.mark.parametrize("correlation", [0.0, 0.05, 0.3])
def test_tokens_of_a_stage_choose_alike_as_often_as_asked(experts: int, top_k: int, correlation: float) -> None:
    """The variance of an expert's count of n tokens is that of independent ones times 1 + (n - 1) c."""
    number, chance = 40, top_k / experts
    feed, routing = FeedForward(width=1, num_experts=experts, top_k=top_k), Routing(correlation=correlation)
    counts = route_tokens(feed, number, 6000, np.random.default_rng(4), routing)
    assert counts.mean() == pytest.approx(number * chance, rel=1e-9)
    expected = number * chance * (1 - chance) * (1 + (number - 1) * correlation)
    assert counts.var(axis=0).mean() == pytest.approx(expected, rel=0.04)


def test_correlated_choices_of_many_experts_scatter_more() -> None:
    """Six of 64 are too many subsets to list: the same law, drawn token by token."""
    feed = FeedForward(width=1, num_experts=64, top_k=6)
    even, alike = (
        route_tokens(feed, 50, 200, np.random.default_rng(5), Routing(correlation=c)).var(axis=0).mean()
        for c in (0.0, 0.05)
    )
    assert alike > 2 * even


def _unit_times(tokens: int) -> dict[str, float]:
    """One wide expert on each processor; the unit is the time to read its weights at the GPU's bandwidth."""
    model = PRESETS.find_model("mixtral")
    assert model.feed_forward is not None
    model = dataclasses.replace(
        model, hidden=1 << 22, feed_forward=dataclasses.replace(model.feed_forward, width=1 << 22)
    )
    counts = np.array([tokens])
    _, moved = expert_work(model, counts, 1.0)
    sides = {
        "xpu": XPU, "logic": PRESETS.find_device("duplex").pim(), "bank": PRESETS.find_device("bank-pim").pim(),
    }  # fmt: skip
    unit = moved[0] / XPU.bytes_per_s
    return {name: float(expert_seconds(model, counts, 1.0, side)[0] / unit) for name, side in sides.items() if side}


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 8, 12, 16, 24, 31, 32, 33, 64, 400])
def test_times_and_crossovers_of_an_expert(tokens: int) -> None:
    """xPU max(1, m/295), Logic-PIM max(1/4, m/32), Bank-PIM max(1/16, m/16): equal at 4, 16 and 32 tokens."""
    times = _unit_times(tokens)
    expected = {
        "xpu": max(1, tokens / XPU.ops_per_byte), "logic": max(1 / 4, tokens / 32), "bank": max(1 / 16, tokens / 16),
    }  # fmt: skip
    assert times == pytest.approx(expected, rel=1e-3)
    if tokens not in (4, 16, 32):
        assert (times["bank"] < times["logic"]) == (tokens < 4)
        assert (times["logic"] < times["xpu"]) == (tokens < 32)
        assert (times["bank"] < times["xpu"]) == (tokens < 16)


@settings(max_examples=50)
@given(flops=st.floats(0, 1e15), moved=st.floats(0, 1e12), peak=st.floats(1e9, 1e15), rate=st.floats(1e9, 1e13))
def test_no_time_beats_physics(flops: float, moved: float, peak: float, rate: float) -> None:
    side = Processor(flops_per_s=peak, bytes_per_s=rate, read_pj_per_bit=1.0)
    seconds = Work(flops, moved).seconds(side)
    assert seconds >= flops / peak
    assert seconds >= moved / rate
    assert seconds in (flops / peak, moved / rate)
