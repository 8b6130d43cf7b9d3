"""A cache in blocks by hand-made cases, and a real vLLM run predicted after its first third."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import FormatError, InputError
from fullduplex.cli.plan.command import main
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.serving.measured import fit_run, read_run
from fullduplex.hardware.serving.paged import Blocks, serve_paged
from fullduplex.hardware.serving.traffic import Requests
from fullduplex.hardware.stage import Stage

RUN = (
    Path(__file__).parents[4] / "shared" / "data" / "llmservingsim" / "RTX4090-Llama-3.1-8B" / "vllm" / "requests.jsonl"
)


def asked(*lengths: tuple[int, int]) -> Requests:
    prompt, answer = (np.array(column) for column in zip(*lengths, strict=True))
    return Requests(arrival_s=np.zeros(len(lengths)), prompt=prompt, answer=answer)


def by_tokens(stage: Stage) -> float:
    return float(stage.tokens)


def test_prompts_fill_what_decodes_leave_of_a_stage() -> None:
    """Budget 8: 6 + 2 of 4; then 1 + the last 2, which makes both first tokens in the second's second stage."""
    log = serve_paged(asked((6, 2), (4, 2)), Blocks(blocks=9, block_tokens=4, stage_tokens=8), by_tokens)
    assert log.first_s.tolist() == [8, 11]
    assert log.last_s.tolist() == [11, 12]
    assert (log.stages, log.sent_back) == (3, 0)


def test_who_came_last_yields_and_starts_again_with_what_is_left() -> None:
    """Two requests of 4 + 8 in five blocks of four: the second must yield, and both end with all their tokens."""
    tight = Blocks(blocks=5, block_tokens=4, stage_tokens=64)
    log = serve_paged(asked((4, 8), (4, 8)), tight, lambda _: 1.0)
    assert log.sent_back == 1
    assert log.last_s[0] < log.last_s[1]
    assert log.peak_blocks <= 5
    ample = Blocks(blocks=6, block_tokens=4, stage_tokens=64)
    roomy = serve_paged(asked((4, 8), (4, 8)), ample, lambda _: 1.0)
    assert roomy.sent_back == 0
    assert roomy.last_s[1] < log.last_s[1]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 12)), min_size=1, max_size=12),
    spare=st.integers(0, 8), block=st.sampled_from([1, 4, 16]), budget=st.integers(1, 40), places=st.integers(1, 8),
)  # fmt: skip
def test_everybody_is_served_within_the_blocks(
    lengths: list[tuple[int, int]], spare: int, block: int, budget: int, places: int
) -> None:
    """Whatever the cache, as long as the longest request fits: all end, in no more blocks, places and tokens than there are."""
    longest = max(prompt + answer for prompt, answer in lengths)
    blocks = Blocks(blocks=-(-longest // block) + spare, block_tokens=block, stage_tokens=budget, places=places)
    seen: list[Stage] = []

    def second(stage: Stage) -> float:
        seen.append(stage)
        return 1.0

    log = serve_paged(asked(*lengths), blocks, second)
    assert np.isfinite(log.last_s).all() and (log.last_s >= log.first_s).all()
    assert log.peak_blocks <= blocks.blocks and log.stages == len(seen)
    assert max(stage.tokens for stage in seen) <= budget
    assert min(stage.tokens for stage in seen) >= 1  # no stage is empty
    assert sum(stage.tokens for stage in seen) >= sum(prompt + answer - 1 for prompt, answer in lengths)
    if not log.sent_back:
        assert sum(stage.tokens for stage in seen) == sum(prompt + answer - 1 for prompt, answer in lengths)


def test_a_request_longer_than_the_cache_is_refused() -> None:
    with pytest.raises(InputError, match="more blocks"):
        serve_paged(asked((40, 1)), Blocks(blocks=2), by_tokens)


def test_files_and_windows_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"input_toks": 3}\n', encoding="utf-8")
    with pytest.raises(FormatError, match="arrival_time"):
        read_run(tmp_path / "a.jsonl")
    presets = load_presets()
    keys = ("arrival_time", "input_toks", "output_toks", "queued_ts", "first_token_ts", "last_token_ts")
    line = dict(zip(keys, (1, 3, 2, 1, 2, 3), strict=True))
    (tmp_path / "b.jsonl").write_text(json.dumps(line), encoding="utf-8")
    run = read_run(tmp_path / "b.jsonl")
    with pytest.raises(InputError, match="at least 10"):
        fit_run(run, presets.find_model("llama3-8b"), presets.find_device("rtx4090"), Blocks(blocks=9), 60.0)


@pytest.mark.slow
@pytest.mark.skipif(not RUN.exists(), reason="the public LLMServingSim run is not here")
def test_a_real_server_is_predicted_after_its_first_third(capsys: pytest.CaptureFixture[str]) -> None:
    """vLLM 0.19, Llama 3.1 8 B, RTX 4090, 300 requests; constants from those that ended in the first 61 of 184 s."""
    assert main(["replay", str(RUN), "--json"]) == 0
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert abs(errors["TPOT"]) < 0.03
    assert abs(errors["E2E"]) < 0.05
    assert abs(errors["TTFT"]) < 0.15
