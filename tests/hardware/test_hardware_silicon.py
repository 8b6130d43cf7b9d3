"""Area and EDAP: the paper's sums, its Figure 8, and the crossing that its text puts at 8 Op/B."""

import numpy as np
import pytest

from fullduplex.base.errors import ConfigError
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.silicon import (
    EACH_PLACE,
    EDAP_UNITS,
    LOGIC_DIE_MM2,
    LOGIC_PIM_MM2,
    PAPER_EDAP,
    Silicon,
    bandwidth_ratio,
    crossing,
    delay_per_byte,
    edap,
    edap_table,
)

DEVICES = load_presets().device


def test_the_parts_of_the_logic_die_add_up() -> None:
    """Section VI: 17.80 mm2 a stack, 14.71 % of the die."""
    area = sum(LOGIC_PIM_MM2.values())
    assert area == pytest.approx(17.80, abs=0.015)
    assert area / LOGIC_DIE_MM2 == pytest.approx(0.1471, abs=2e-4)


def test_bundles_of_banks_give_the_bandwidths() -> None:
    """Section IV: eight banks, tCCD_L = 2 tCCD_S, four times; all 32 banks of both ranks: sixteen times (Bank-PIM)."""
    assert bandwidth_ratio(8) == 4 == DEVICES["duplex"].pim_bandwidth_ratio
    assert bandwidth_ratio(32) == 16 == DEVICES["bank-pim"].pim_bandwidth_ratio
    assert bandwidth_ratio(1) == 1
    with pytest.raises(ConfigError, match="banks_together"):
        bandwidth_ratio(0)


@pytest.mark.parametrize(
    ("column", "tolerance"), [(1, 0.015), (2, 0.015), (4, 0.015), (8, 0.015), (16, 0.06), (32, 0.2)]
)
def test_edap_meets_figure_8(column: int, tolerance: float) -> None:
    """Three constants fitted to the first four columns; the last two are what they then say."""
    assert edap_table(DEVICES, [column])[:, 0] == pytest.approx(PAPER_EDAP[column], abs=tolerance)


def test_an_energy_of_its_own_for_each_place_meets_all_columns() -> None:
    """Five constants for 18 cells printed to two digits: within 0.02, where one energy for all DRAM dies misses by 0.16."""
    columns = list(PAPER_EDAP)
    paper = np.array([PAPER_EDAP[column] for column in columns]).T
    assert np.abs(edap_table(DEVICES, columns, EACH_PLACE) - paper).max() < 0.02
    assert np.abs(edap_table(DEVICES, columns) - paper).max() > 0.1
    bank, group, logic = (getattr(EACH_PLACE, f"{at}_alu_pj_per_flop") for at in ("bank", "bank_group", "logic"))
    assert bank > group > logic
    assert 4 < crossing(DEVICES, EACH_PLACE) < 8


def test_every_column_is_over_its_largest() -> None:
    table = edap_table(DEVICES, list(PAPER_EDAP))
    assert table.shape == (3, 6)
    assert (table.max(axis=0) == 1).all()
    for column in PAPER_EDAP:
        assert max(PAPER_EDAP[column]) == 1


def test_logic_pim_overtakes_between_4_and_8_and_by_delay_at_4() -> None:
    assert crossing(DEVICES, delay_alone=True) == pytest.approx(4.0)
    met = crossing(DEVICES)
    assert 4 < met < 8
    assert edap("bank-pim", DEVICES["bank-pim"], met) == pytest.approx(edap("duplex", DEVICES["duplex"], met), rel=1e-9)


def test_an_edap_by_hand() -> None:
    """Logic-PIM at 2 Op/B: 8 x 1.81 + 2 x 0.23 pJ a byte, a byte every 1 / 13.408 TB/s, area 1."""
    device = DEVICES["duplex"]
    assert delay_per_byte(device, 2.0) == pytest.approx(1 / (4 * 3.352e12))
    assert delay_per_byte(device, 16.0) == pytest.approx(2 / (4 * 3.352e12))
    assert edap("duplex", device, 2.0) == pytest.approx((8 * 1.81 + 0.46) / (4 * 3.352e12))
    dearer = Silicon(bank_alu_pj_per_flop=1.0, bank_area=2.0)
    assert edap("bank-pim", DEVICES["bank-pim"], 1.0, dearer) == pytest.approx(2 * (8 * 0.73 + 1) / (16 * 3.352e12))


def test_what_has_no_units_or_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="no units in memory"):
        delay_per_byte(DEVICES["gpu"], 1.0)
    with pytest.raises(ConfigError, match="bank-pim, bankgroup-pim, duplex"):
        edap("gpu", DEVICES["gpu"], 1.0)
    for value in (0.0, -1.0, np.nan):
        with pytest.raises(ConfigError, match="ops_per_byte"):
            edap("duplex", DEVICES["duplex"], value)
        with pytest.raises(ConfigError, match="bank_area"):
            Silicon(bank_area=value)
    assert len(EDAP_UNITS) == 3
