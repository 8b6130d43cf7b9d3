from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from fullduplex.base.config import config_from_mapping, config_from_toml
from fullduplex.base.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate_hz: int = 16_000
    kind: Literal["fast", "exact"] = "fast"


@dataclass(frozen=True, kw_only=True)
class Outer:
    num_steps: int
    gain_db: float = 0.0
    loud: bool = False
    name: str | None = None
    betas: tuple[float, float] = (0.9, 0.95)
    files: tuple[Path, ...] = ()
    inner: Inner = field(default_factory=Inner)
    hidden: int = field(default=1, init=False)


def test_toml_becomes_the_dataclass(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        'num_steps = 3\ngain_db = 2\nbetas = [0.5, 1]\nfiles = ["a"]\nname = "n"\n[inner]\nkind = "exact"\n'
    )
    config = config_from_toml(Outer, path)
    assert config == Outer(
        num_steps=3, gain_db=2.0, betas=(0.5, 1.0), files=(Path("a"),), name="n", inner=Inner(kind="exact")
    )
    assert isinstance(config.gain_db, float)


def test_none_fits_an_optional_value():
    assert config_from_mapping(Outer, {"num_steps": 1, "name": None}).name is None


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"num_step": 1}, "no key 'num_step'; did you mean 'num_steps'"),
        ({"num_steps": 1, "inner": {"rate": 1}}, "no key 'inner.rate'; did you mean 'inner.rate_hz'"),
        ({"num_steps": 1, "zzz": 1}, "known keys: num_steps, gain_db"),
        ({"num_steps": 1, "hidden": 1}, "no key 'hidden'"),
        ({}, "missing num_steps"),
        ({"num_steps": 1.5}, "num_steps is 1.5, a float; expected int"),
        ({"num_steps": True}, "num_steps is True, a bool; expected int"),
        ({"num_steps": 1, "loud": 1}, "loud is 1, a int; expected bool"),
        ({"num_steps": 1, "gain_db": "3"}, "gain_db is '3', a str; expected float"),
        ({"num_steps": 1, "gain_db": False}, "gain_db is False, a bool; expected float"),
        ({"num_steps": 1, "name": 3}, "name is 3, a int; expected str"),
        ({"num_steps": 1, "betas": [1.0]}, "betas has 1 items; expected 2"),
        ({"num_steps": 1, "betas": 1.0}, "expected a list"),
        ({"num_steps": 1, "betas": [1.0, "x"]}, r"betas\[1\] is 'x'"),
        ({"num_steps": 1, "inner": {"kind": "slow"}}, "inner.kind is 'slow'; expected one of 'fast', 'exact'"),
        ({"num_steps": 1, "inner": 3}, "inner is 3, a int; expected Inner"),
    ],
)
def test_what_does_not_fit_is_named(mapping, message):
    with pytest.raises(ConfigError, match=message):
        config_from_mapping(Outer, mapping)


@pytest.mark.parametrize("content", [b"num_steps = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused(content, tmp_path):
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.toml is not valid TOML"):
        config_from_toml(Outer, tmp_path / "c.toml")
