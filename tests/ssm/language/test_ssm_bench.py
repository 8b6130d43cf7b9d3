"""The benchmark as a command, at sizes that say only that it works; and the arithmetic of turns and floors."""

import json

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.base.errors import InputError
from fullduplex.cli.main import main
from fullduplex.nn.mamba.layout import Checkpoint
from fullduplex.nn.mamba.mamba1 import MambaConfig
from fullduplex.ssm.bench.models import ModelSizes
from fullduplex.ssm.bench.peers import as_mambapy
from fullduplex.ssm.bench.report import table
from fullduplex.ssm.bench.search import compare_search
from fullduplex.ssm.bench.timing import Floors, measure_floors, take_turns, without_native
from fullduplex.ssm.pretrained import new_mamba


def test_turns_alternate_and_the_first_is_the_measure():
    seen = []
    timings = take_turns({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, 3, run_times=2)
    assert seen == ["a", "b"] + ["a", "a", "b", "b"] * 3
    assert timings["a"].over_first == 1.0
    assert 0 < timings["b"].fastest_ms <= timings["b"].median_ms


def test_floors_take_the_larger_of_moving_and_computing():
    floors = Floors(bytes_per_s=1e9, flop_per_s=1e12)
    assert floors.time_ms(num_bytes=2e6, flop=1e6) == pytest.approx(2.0)
    assert floors.time_ms(num_bytes=1, flop=1e9, exps=1e9) == pytest.approx(17.0)
    measured = measure_floors(torch.Generator().manual_seed(0))
    assert measured.bytes_per_s > 1e8 and measured.flop_per_s > 1e8


def test_the_torch_path_lasts_as_long_as_it_should(monkeypatch):
    import os

    for before in (None, "on"):
        if before is None:
            monkeypatch.delenv("FULLDUPLEX_NATIVE", raising=False)
        else:
            monkeypatch.setenv("FULLDUPLEX_NATIVE", before)
        with without_native():
            assert os.environ["FULLDUPLEX_NATIVE"] == "off"
        assert os.environ.get("FULLDUPLEX_NATIVE") == before


def test_mambapy_with_our_weights_gives_our_numbers():
    pytest.importorskip("mambapy", reason="mambapy is not installed: fullduplex[peers]")
    checkpoint = Checkpoint(layer=MambaConfig(width=16, order=8), num_layers=2, vocabulary=5)
    model = new_mamba(checkpoint, generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, 50, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, _ = model.layers.scan(x, model.init(2))
        theirs = as_mambapy(model, checkpoint)(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


SMALL = ["--width", "16", "--layers", "1", "--steps", "16", "--training-steps", "16", "--repeats", "1"]


@pytest.fixture
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("_threads")
def test_the_command_measures_and_draws(tmp_path, capsys):
    picture = tmp_path / "bench.png"
    assert main(["ssm", "bench", *SMALL, "--plot", str(picture), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["name"] == "ssm" and record["config"]["num_steps"] == 16
    figures = record["figures"]
    for name in (
        "selective_scan_over_floor",
        "ssd_over_floor",
        "mamba_prefill_fullduplex_ms",
        "mamba2_step_fullduplex_ms",
    ):
        assert figures[name] > 0
    for peer in {"transformers", "mambapy"} - set(record["config"]["skipped"]):
        assert figures[f"mamba_prefill_{peer}_over_ours"] > 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("_threads")
def test_a_search_and_its_second_call():
    floors = Floors(bytes_per_s=1e9, flop_per_s=1e9)
    told = []
    found = compare_search(8, floors, told.append, num_steps=20)
    assert told == ["PTD 8"] == [found.name]
    assert found.floor_ms == 1e3 * 25 * 8**3 * 20 / 1e9
    assert found.timings["cached"].median_ms < found.timings["search"].median_ms
    assert "cached" in table([found])


def test_a_part_with_a_table(capsys):
    assert main(["ssm", "bench", *SMALL, "--only", "kernels"]) == 0
    table = capsys.readouterr().err
    assert "selective scan" in table and "over floor" in table and "mamba prefill" not in table


def test_impossible_sizes_are_refused(capsys):
    assert main(["ssm", "bench", "--threads", "0"]) == 2
    assert "--threads" in capsys.readouterr().err
    with pytest.raises(InputError, match="1 or more"):
        ModelSizes(num_layers=0)
