"""Devices and models: the paper's counts, and files of the user's own."""

import dataclasses
import math
from pathlib import Path

import pytest

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.hardware.device import Device, Link, System, logic_pim_stack_flops_per_s
from fullduplex.hardware.model import Attention, FeedForward, Model, StateSpace
from fullduplex.hardware.presets import load_presets

PRESETS = load_presets()
# Table I of arXiv:2409.01141 prints 47, 143, 314, 66 and 70 billion; KV bytes a token are 4 x layers x hidden / group.
TABLE = {
    "mixtral": (46.70e9, 131_072),
    "glam": (142.8e9, 524_288),
    "opt-66b": (65.7e9, 2_359_296),
    "llama3-70b": (70.6e9, 327_680),
}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_parameters_and_cache_of_table_one(name: str) -> None:
    model = PRESETS.find_model(name)
    parameters, kv_bytes = TABLE[name]
    assert model.num_parameters == pytest.approx(parameters, rel=1e-3)
    assert model.kv_bytes_per_token == kv_bytes
    assert model.session_bytes(7) == 7 * kv_bytes


def test_grok_counts_without_its_embedding() -> None:
    assert PRESETS.find_model("grok1").block_parameters == pytest.approx(314.9e9, rel=1e-3)
    assert PRESETS.find_model("grok1").kv_bytes_per_token == 262_144


@pytest.mark.parametrize(("name", "parameters"), [("mamba2-2.7b", 2.7e9), ("mamba2-130m", 0.13e9)])
def test_a_state_space_keeps_the_same_whatever_it_has_heard(name: str, parameters: float) -> None:
    model = PRESETS.find_model(name)
    assert model.num_parameters == pytest.approx(parameters, rel=0.02)
    assert model.session_bytes(0) == model.session_bytes(1e6) == model.state_bytes > 0
    space = model.state_space
    assert space is not None
    assert model.state_bytes >= model.num_layers * 2 * model.hidden * space.order * space.state_bytes


def test_logic_pim_constants() -> None:
    """32 modules x 512 MAC x 650 MHz, four times 665.6 GB/s: 21.2992 TFLOPS a stack, exactly 8 Op/B."""
    stack = logic_pim_stack_flops_per_s()
    assert stack == pytest.approx(21.2992e12, rel=1e-12)
    assert stack / (4 * 665.6e9) == pytest.approx(8.0, rel=1e-12)
    duplex = PRESETS.find_device("duplex").pim()
    bank = PRESETS.find_device("bank-pim").pim()
    assert duplex is not None and bank is not None
    assert duplex.ops_per_byte == 8
    assert bank.ops_per_byte == 1
    assert bank.bytes_per_s == 4 * duplex.bytes_per_s
    assert PRESETS.find_device("gpu").pim() is None


def test_read_energies_are_sums_of_the_path() -> None:
    cell, column, group, tsv, interposer = 0.44, 1.01, 1.23, 0.5, 0.3  # pJ/bit, O'Connor et al., MICRO 2017
    assert PRESETS.find_device("gpu").read_pj_per_bit == pytest.approx(cell + column + group + tsv + interposer)
    assert PRESETS.find_device("bankgroup-pim").pim_read_pj_per_bit == pytest.approx(cell + column + group)


def test_a_file_adds_devices_and_models(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[device.board]\nflops_per_s = 1e13\nbytes_per_s = 2e11\ncapacity_bytes = 8e9\nsource = "data sheet"\n'
        '[model.tiny]\nnum_layers = 2\nhidden = 64\nvocabulary = 100\nstate_space = { order = 16 }\nsource = "ours"\n'
    )
    presets = load_presets(file)
    assert presets.find_device("board").bytes_per_s == 2e11
    assert presets.find_model("tiny").inner == 128
    assert presets.find_model("mixtral") == PRESETS.find_model("mixtral")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[device.board]\nflop_per_s = 1.0", "flops_per_s"),
        ("[devices.board]\nflops_per_s = 1.0", "devices"),
        ("device = 3", "device"),
        ("[device]\nboard = 3", "board"),
        ('[model.m]\nhidden = 2.5\nnum_layers = 1\nvocabulary = 1\nsource = ""', "hidden"),
        ("[model.m", "TOML"),
        ('[device.d]\nflops_per_s = nan\nbytes_per_s = 1.0\ncapacity_bytes = 1.0\nsource = ""', "flops_per_s"),
    ],
)
def test_a_wrong_file_names_the_key(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_presets(file)


def test_a_missing_file_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_presets(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="did you mean 'duplex'"):
        PRESETS.find_device("dupplex")
    with pytest.raises(ConfigError, match="mixtral"):
        PRESETS.find_model("mixtrall")


GPU = PRESETS.find_device("gpu")


@pytest.mark.parametrize(
    ("field", "value"),
    [("bytes_per_s", -1.0), ("bytes_per_s", math.nan), ("flops_per_s", math.inf), ("capacity_bytes", 0.0),
     ("pim_bandwidth_ratio", -4.0), ("pim_bandwidth_ratio", 4.0), ("alu_pj_per_flop", math.nan)],
)  # fmt: skip
def test_a_device_refuses_impossible_constants(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=field):
        dataclasses.replace(GPU, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_devices", 0), ("num_devices", 12), ("node_size", 0), ("dram_efficiency", 0.0), ("dram_efficiency", 1.1),
     ("dram_efficiency", math.nan), ("co_processing", "spaces"), ("co_processing", "half")],
)  # fmt: skip
def test_a_system_refuses_impossible_layouts(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        System(device=GPU).replaced(**{field: value})


def test_links_refuse_negative_latency_and_no_bandwidth() -> None:
    with pytest.raises(ConfigError, match="hop_s"):
        Link(bytes_per_s=1.0, hop_s=-1.0)
    with pytest.raises(ConfigError, match="bytes_per_s"):
        Link(bytes_per_s=0.0, hop_s=0.0)


def test_models_refuse_shapes_that_do_not_divide() -> None:
    with pytest.raises(ConfigError, match=r"attention\.group"):
        Attention(num_heads=8, group=3)
    with pytest.raises(ConfigError, match=r"feed_forward\.top_k"):
        FeedForward(width=8, num_experts=4, top_k=5)
    with pytest.raises(ConfigError, match="exactly one"):
        Model(num_layers=1, hidden=8, vocabulary=8, source="")
    with pytest.raises(ConfigError, match="num_heads"):
        Model(num_layers=1, hidden=9, vocabulary=8, attention=Attention(num_heads=2), source="")
    with pytest.raises(ConfigError, match="head_width"):
        Model(num_layers=1, hidden=8, vocabulary=8, state_space=StateSpace(), source="")
    with pytest.raises(ConfigError, match=r"feed_forward\.every"):
        Model(
            num_layers=3, hidden=8, vocabulary=8, attention=Attention(num_heads=2),
            feed_forward=FeedForward(width=8, every=2), source="",
        )  # fmt: skip
    with pytest.raises(ConfigError, match=r"state_space\.state_bytes"):
        StateSpace(state_bytes=math.nan)


def test_bad_input_is_an_input_error() -> None:
    assert issubclass(ConfigError, InputError)
    assert isinstance(GPU, Device)
