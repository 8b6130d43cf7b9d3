"""The long run in closed form, and the statements of the paper it reproduces."""

import pytest

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.hardware.device import System
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.reproduce.comparison import PAPER, Claim, Unknowns, claims, compare, paper_system
from fullduplex.hardware.stage import Stage, stage_cost
from fullduplex.hardware.steady import decode_only_share, largest_batch, steady

PRESETS = load_presets()
FOUND = compare(PRESETS)


@pytest.mark.parametrize(("batch", "answer", "share"), [(32, 256, 0.882), (128, 256, 0.606), (128, 2048, 0.939)])
def test_share_of_stages_that_only_decode(batch: int, answer: int, share: float) -> None:
    assert decode_only_share(batch, answer) == pytest.approx(share, abs=6e-4)


@pytest.mark.parametrize("claim", claims(FOUND), ids=lambda claim: claim.name)
def test_every_throughput_statement_of_the_paper_within_six_percent(claim: Claim) -> None:
    assert abs(claim.error) < 0.06, f"{claim.here:.3f} here, {claim.paper} in the paper"


def test_the_best_plain_duplex_is_the_papers() -> None:
    """2.51 is the bar of Mixtral with 4096 tokens, section VII."""
    ratios = FOUND.ratios("Duplex", "GPU")
    assert max(ratios, key=ratios.__getitem__)[::2] == ("mixtral", 4096)
    assert len(ratios) == 27


def test_energy_saved_for_a_token_within_six_points() -> None:
    """The paper: at most 33.28, 42.03 and 34.59 % of the GPU's energy a token; 28.19 % in the mean."""
    saved = {
        key: 1 - FOUND.runs["Duplex+PE+ET"][key].joules_per_token / run.joules_per_token
        for key, run in FOUND.runs["GPU"].items()
    }
    for model, paper in (("mixtral", 0.3328), ("glam", 0.4203), ("grok1", 0.3459)):
        assert max(value for key, value in saved.items() if key[0] == model) == pytest.approx(paper, abs=0.06)
    assert sum(saved.values()) / len(saved) == pytest.approx(0.2819, abs=0.06)


def test_without_calibration_the_order_holds_and_the_gains_are_too_high() -> None:
    naive = {row.name: row.here for row in claims(compare(PRESETS, Unknowns(dram_efficiency=1.0, hop_s=8e-7)))}
    assert set(naive) == set(PAPER)
    assert naive["mean Duplex+PE+ET / GPU"] > 1.15 * PAPER["mean Duplex+PE+ET / GPU"]
    assert naive["mean Duplex+PE / Duplex"] > 1


def test_capacity_of_two_decoding_devices_and_of_opt() -> None:
    """Duplex-Split keeps 74 requests of 8192 tokens in the paper, OPT's batch 41; a reserve of 7 % is unknown."""
    two = System(device=PRESETS.find_device("duplex"), num_devices=2)
    assert largest_batch(PRESETS.find_model("mixtral"), two, 8192) == 73
    four = System(device=PRESETS.find_device("gpu"), num_devices=4)
    assert largest_batch(PRESETS.find_model("opt-66b"), four, 2048) == pytest.approx(41, rel=0.08)


def test_a_batch_is_cut_to_memory_and_counts_its_tokens() -> None:
    model = PRESETS.find_model("opt-66b")
    system = paper_system(PRESETS, "GPU", 4)
    found = steady(model, system, batch=64, prompt=1024, answer=1024)
    assert found.batch == largest_batch(model, system, 2048) == 43
    assert found.tokens_per_s == pytest.approx(found.batch / found.stage_s)


def test_answers_of_one_token_are_all_prompts() -> None:
    model, system = PRESETS.find_model("llama3-8b"), System(device=PRESETS.find_device("gpu"))
    found = steady(model, system, batch=3, prompt=50, answer=1)
    expected = stage_cost(model, system, Stage.of_lengths(0, 0, 3, 50)).seconds
    assert found.stage_s == pytest.approx(expected, rel=1e-6)


def test_what_never_fits_is_said_and_not_waited_for() -> None:
    model, one = PRESETS.find_model("mixtral"), System(device=PRESETS.find_device("gpu"))
    with pytest.raises(InputError, match=r"93\.4 GB of weights"):
        largest_batch(model, one, 10)
    with pytest.raises(InputError, match="do not fit"):
        steady(model, paper_system(PRESETS, "GPU", 4), batch=1, prompt=10_000_000, answer=1)


@pytest.mark.parametrize("field", ["batch", "prompt", "answer"])
def test_lengths_below_one_name_their_field(field: str) -> None:
    lengths = {"batch": 1, "prompt": 1, "answer": 1, field: 0}
    system = System(device=PRESETS.find_device("gpu"))
    with pytest.raises(ConfigError, match=field):
        steady(PRESETS.find_model("llama3-8b"), system, **lengths)


def test_glam_latency_within_six_points() -> None:
    """GLaM, batch 64, mean of three lengths: median TBT -58.3 %, E2E -60.2 % against GPU and -35.4 % against 2xGPU.

    The median gap between tokens is a stage without a prompt; an answer takes as many mean stages as tokens.
    """
    keys = [("glam", 64, length) for length in (512, 1024, 2048)]
    runs = FOUND.runs

    def saved(field: str, peer: str) -> float:
        ratios = [getattr(runs["Duplex+PE+ET"][key], field) / getattr(runs[peer][key], field) for key in keys]
        return 1 - sum(ratios) / 3

    assert saved("decode_stage_s", "GPU") == pytest.approx(0.583, abs=0.06)
    assert saved("stage_s", "GPU") == pytest.approx(0.602, abs=0.06)
    assert saved("stage_s", "2xGPU") == pytest.approx(0.3538, abs=0.06)


@pytest.mark.parametrize(("name", "paper"), [("GPU", 9.0), ("2xGPU", 14.0), ("Duplex", 14.0), ("Duplex+PE+ET", 14.0)])
def test_requests_a_second_at_which_mixtral_saturates(name: str, paper: float) -> None:
    """4096 + 512 tokens, batch 128; read off the text of section VII, so 15 % of tolerance."""
    found = steady(PRESETS.find_model("mixtral"), paper_system(PRESETS, name, 4), batch=128, prompt=4096, answer=512)
    assert found.tokens_per_s / 512 == pytest.approx(paper, rel=0.15)
