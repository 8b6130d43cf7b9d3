"""Figures: the curves say what the theory says, and they can be written."""

import csv
from pathlib import Path

import pytest

from fullduplex.base.errors import InputError
from fullduplex.links.chains import Station, chain_rate, even_chain
from fullduplex.links.figures import FIGURES, draw, figure, write_csv


def test_distance_curves_stay_below_the_limit_and_agree_with_the_chain() -> None:
    curves = figure("distance")
    limit = curves.series["any number of stations"][0]
    for name, values in curves.series.items():
        assert len(values) == len(curves.x)
        if name not in ("0 stations", "any number of stations"):
            assert max(values) < limit
    at_300_km = curves.x.index(300.0)
    expected = chain_rate(even_chain(60.0, 5, Station.of_transmissivity(0.9))).bits_per_use
    assert curves.series["5 stations"][at_300_km] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["stations", "one-way"])
def test_station_curves_rise_towards_their_limits(name: str) -> None:
    curves = figure(name)
    for tau in ("0.9", "0.7", "0.5", "0.1"):
        values = curves.series[f"transmissivity {tau}"]
        limit = curves.series[f"limit of {tau}"][0]
        assert list(values) == sorted(values)
        assert max(values) <= limit
        if limit > 0:
            assert values[-1] == pytest.approx(limit, rel=0.01)
        else:
            assert max(values) == 0.0


def test_network_curves() -> None:
    curves = figure("network")
    for reading in ("composed", "edge"):
        one, many = curves.series[f"one route, {reading}"], curves.series[f"all routes, {reading}"]
        assert all(a <= b for a, b in zip(one, many, strict=True))
        assert many[-1] == pytest.approx(2.0)
    assert all(
        a <= b * (1 + 1e-12)
        for a, b in zip(curves.series["one route, composed"], curves.series["one route, edge"], strict=True)
    )


def test_writing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no figure 'seven'"):
        figure("seven")
    curves = figure("distance")
    write_csv(curves, tmp_path / "f.csv")
    with (tmp_path / "f.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [curves.x_label, *curves.series]
    assert float(rows[1][1]) == curves.series["0 stations"][0]
    assert len(rows) == 1 + len(curves.x)


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_drawing(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw(figure(name), tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
