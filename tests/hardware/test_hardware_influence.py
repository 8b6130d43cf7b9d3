"""What the paper does not say, changed one at a time: which of its numbers move, and which unknown could explain a miss."""

import pytest

from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.reproduce import influence as module
from fullduplex.hardware.reproduce.comparison import Unknowns
from fullduplex.hardware.reproduce.influence import influence, num_settings


def test_dram_efficiency_explains_the_first_token_and_the_spread_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows: time to first token of GLaM against 2xGPU, -26.2 % in the paper, -22 % with 75 % of DRAM bandwidth."""
    monkeypatch.setattr(module, "SWEPT", {"dram_efficiency": (0.65, 0.75), "spread": (0.1, 0.5)})
    base, seen = Unknowns(), []
    assert num_settings(base) == 3  # the base is in both
    found = influence(load_presets(), base, progress=lambda: seen.append(1))
    assert len(seen) == 3
    rows = found["spread"].rows["0.1"]
    assert rows == found["dram_efficiency"].rows["0.75"]
    first = next(index for index, row in enumerate(rows) if "T2FT" in row.name)
    assert rows[first].paper == -26.2
    assert found["dram_efficiency"].reaches(first)
    assert not found["spread"].reaches(first)
    assert found["dram_efficiency"].here(first)[0] < -26 < found["dram_efficiency"].here(first)[1]
    capacity = [index for index, row in enumerate(rows) if row.kind in ("capacity", "edap")]
    for index in capacity:  # bytes and areas do not depend on any of these
        assert len(set(found["dram_efficiency"].here(index) + found["spread"].here(index))) == 1
