"""Active experts beside another calculator's: GenZ reads `top_k` experts at any batch, and so beats physics."""

from importlib import import_module

import numpy as np
import pytest

from fullduplex.hardware.device import Link, System
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.stage import Stage, stage_cost
from fullduplex.hardware.workload import active_experts, route_tokens

PRESETS = load_presets()
MIXTRAL, GPU = PRESETS.find_model("mixtral"), PRESETS.find_device("gpu")
FOUR = System(
    device=GPU, num_devices=4, dram_efficiency=1.0, expert_tensor=True, link=Link(bytes_per_s=450e9, hop_s=0.0)
)
PEAK = {"Flops": 989.4, "Memory_size": 80, "Memory_BW": 3352, "ICN": 450, "real_values": True}


def genz(batch: int) -> tuple[float, float]:
    """GenZ's seconds for a stage of Mixtral without context on four devices, and the experts whose weights it reads."""
    pytest.importorskip("GenZ", reason="genz-llm is not installed: pip install genz-llm")
    found = import_module("GenZ").decode_moddeling(
        model="mixtral_8x7b", batch_size=batch, input_tokens=1, output_tokens=0, Bb=1, system_name=PEAK,
        tensor_parallel=4, parallelism_heirarchy="TP{4}_EP{1}_PP{1}",
    )  # fmt: skip
    rows = found["model_df"]
    read = float(rows[(rows["Layer Name"] == "up+gate")]["Input_w (MB)"].astype(float).iloc[0]) * 2**20 * 4
    return float(found["Latency"]) / 1000, read / (2 * 2 * 4096 * 14336)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # GenZ's own, on import
@pytest.mark.parametrize("batch", [1, 8, 32])
def test_experts_read_beside_genz_and_a_count(batch: int) -> None:
    theirs_s, theirs = genz(batch)
    assert MIXTRAL.feed_forward is not None
    counts = route_tokens(MIXTRAL.feed_forward, batch, 4000, np.random.default_rng(0))
    counted = (counts > 0).sum(axis=1).mean()
    ours = active_experts(8, 2, batch)
    assert ours == pytest.approx(counted, rel=0.01)
    assert theirs == pytest.approx(2.0, rel=1e-3)  # at any batch; right for one token only
    assert (ours == pytest.approx(theirs)) == (batch == 1)
    cost = stage_cost(MIXTRAL, FOUR, Stage.of_lengths(batch, 1))
    dense = MIXTRAL.weight_bytes() - 2 * MIXTRAL.expert_parameters
    embedding = 2 * MIXTRAL.vocabulary * MIXTRAL.hidden  # one row a token is read, not the table
    floor_s = (dense - embedding + 2 * MIXTRAL.expert_parameters * ours / 8) / 4 / GPU.bytes_per_s
    assert cost.seconds > 0.99 * floor_s  # the mean of 256 routings may read a little less
    if batch > 1:
        assert theirs_s < 0.5 * floor_s
