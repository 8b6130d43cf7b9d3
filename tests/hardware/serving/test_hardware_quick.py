"""The fast cost of a stage is the slow one, for every kind of model and system."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.reproduce.comparison import paper_system
from fullduplex.hardware.serving.quick import quick_cost
from fullduplex.hardware.stage import Stage, expert_cost, stage_cost
from fullduplex.hardware.workload import Routing

PRESETS = load_presets()
CASES = [
    (model, system, devices)
    for model in ("mixtral", "glam", "llama3-8b", "mamba2-2.7b")
    for system, devices in (("GPU", 4), ("2xGPU", 8), ("Duplex", 8), ("Duplex+PE+ET", 16), ("hetero", 4))
]


def of(stage: Stage, draw: int = -1) -> tuple[int, float, int, int, float, int]:
    return stage.decode, stage.context_tokens, stage.prompts, stage.prompt_tokens, stage.prompt_pairs, draw


@pytest.mark.parametrize(("name", "kind", "devices"), CASES)
@settings(max_examples=12, deadline=None)
@given(decode=st.integers(0, 12), context=st.integers(0, 5000), prompts=st.integers(0, 2), prompt=st.integers(0, 2))
def test_few_tokens_cost_the_same_both_ways(
    name: str, kind: str, devices: int, decode: int, context: int, prompts: int, prompt: int
) -> None:
    """Up to 16 tokens experts are drawn for every number, so nothing may differ."""
    stage = Stage.of_lengths(decode, context, prompts if prompt else 0, prompt)
    if not stage.tokens:
        return
    model, system = PRESETS.find_model(name), paper_system(PRESETS, kind, devices)
    slow = stage_cost(model, system, stage)
    assert quick_cost(model, system)(*of(stage)) == pytest.approx((slow.seconds, slow.energy_j), rel=1e-9)


@pytest.mark.parametrize("kind", ["GPU", "2xGPU", "Duplex", "Duplex+PE+ET"])
@pytest.mark.parametrize("name", ["glam", "llama3-8b", "mamba2-2.7b"])
def test_many_tokens_cost_the_same_within_three_percent_of_their_experts(name: str, kind: str) -> None:
    model, system = PRESETS.find_model(name), paper_system(PRESETS, kind, 8)
    quick = quick_cost(model, system)
    stages = [Stage.of_lengths(decode, 1000.0) for decode in (1, 9, 17, 40, 77, 127)]
    stages += [Stage.of_lengths(60, 1000.0, 1, prompt) for prompt in (101, 517, 1031, 3333)]
    for stage in [*stages, Stage.of_lengths(60, 1000.0, 3, 700)]:
        slow = stage_cost(model, system, stage)
        seconds, joules = quick(*of(stage))
        assert seconds == pytest.approx(slow.seconds, abs=0.03 * slow.parts_s["experts"] + 1e-12 * slow.seconds)
        assert joules == pytest.approx(slow.energy_j, rel=0.03 if model.num_expert_layers else 1e-9)


def test_stages_get_one_routing_each_and_all_routings_in_the_mean() -> None:
    model, system = PRESETS.find_model("glam"), paper_system(PRESETS, "GPU", 8)
    routing = Routing(correlation=0.1)
    drawn = expert_cost(model, system, 64, mixed=False, routing=routing).drawn_s
    quick = quick_cost(model, system, routing)
    stage = Stage.of_lengths(64, 1000.0)
    each = [quick(*of(stage, draw))[0] for draw in range(len(drawn))]
    mean = quick(*of(stage))[0]
    assert sum(each) / len(each) == pytest.approx(mean)
    assert max(each) - min(each) == pytest.approx(drawn.max() - drawn.min())
    assert max(each) > 1.05 * mean


@pytest.mark.parametrize(("prompts", "slowest"), [(1, 1.0), (2, 0.5), (3, 2 / 3), (0, 1.0)])
def test_a_prompt_is_not_cut_over_nodes(prompts: int, slowest: float) -> None:
    """Two nodes: the one with more prompts decides; a piece of a prompt that does not end is one as well."""
    stage = Stage(decode=10, context_tokens=100.0, prompts=prompts, prompt_tokens=600, prompt_pairs=9000.0)
    assert stage.share(2, slowest=True).prompt_tokens == pytest.approx(600 * slowest)
    assert stage.share(2, slowest=False).prompt_tokens == 300
    assert stage.share(2, slowest=True).decode == 5
