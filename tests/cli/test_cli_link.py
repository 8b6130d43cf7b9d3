"""`fullduplex link`: what is printed, and what is refused with exit status 2."""

import json
import math
from pathlib import Path

import pytest

from fullduplex.cli.main import main

NSFNET = str(Path(__file__).parents[2] / "docs" / "data" / "nsfnet.csv")


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["link", *arguments]) == 0
    return capsys.readouterr().out


def test_chain(capsys: pytest.CaptureFixture[str]) -> None:
    out = asked(capsys, "chain", "--length-km", "300", "--stations", "10", "--transmissivity", "0.9")
    assert "10 stations, 11 spans" in out
    assert "0.427252 bits/use (exact, two-way" in out
    assert "3.32193 bits/use (upper, two-way" in out
    found = json.loads(asked(capsys, "chain", "--loss-db", "60", "--clock-hz", "1e9", "--json"))
    assert found["rates"][0]["bits_per_s"] == pytest.approx(1442.7, abs=0.1)
    assert found["limits"] == []
    lossless = json.loads(asked(capsys, "chain", "--loss-db", "0", "--json"))
    assert lossless["rates"][0]["bits_per_use"] == "inf"


def test_chain_of_unequal_thermal_spans(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(asked(capsys, "chain", "--spans-km", "10,30,20", "--photons", "0.01", "--json"))
    assert found["stations"] == 2
    kinds = {(rate["reading"], rate["strategy"]): [] for rate in found["rates"]}
    for rate in found["rates"]:
        kinds[rate["reading"], rate["strategy"]].append((rate["kind"], rate["bits_per_use"]))
    (upper, high), (lower, low) = kinds["composed", "two-way"]
    assert (upper, lower) == ("upper", "lower")
    assert 0 < low < high


def test_network(capsys: pytest.CaptureFixture[str]) -> None:
    out = asked(capsys, "network", NSFNET, "--from", "2", "--to", "14")
    assert "2 - 4 - 5 - 7 - 8 - 9 -" in out
    assert "cut by" in out
    found = json.loads(asked(capsys, "network", NSFNET, "--from", "1", "--to", "14", "--json"))
    assert found["composed"]["multi_path"]["cut_links"] == [["1", "2"], ["1", "3"], ["1", "8"]]
    total = math.fsum(found["composed"]["multi_path"]["cut_bits"])
    assert total == pytest.approx(found["composed"]["multi_path"]["bits_per_use"], rel=1e-12)


def test_network_with_bounds_that_do_not_meet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("a,b,length_km,mean_photons\nx,y,30,0.05\ny,z,20,0.01\n", encoding="utf-8")
    (tmp_path / "s.csv").write_text("name,receive_db\ny,1\n", encoding="utf-8")
    question = ("network", str(tmp_path / "n.csv"), "--stations", str(tmp_path / "s.csv"), "--from", "x", "--to", "z")
    found = json.loads(asked(capsys, *question, "--clock-hz", "1e6", "--json"))
    for reading in ("composed", "edge"):
        for way in ("single_path", "multi_path"):
            high, low = found[reading][way], found[reading]["lower"][way]
            assert (high["kind"], low["kind"]) == ("upper", "lower")
            assert 0 < low["bits_per_use"] < high["bits_per_use"]
            assert high["bits_per_s"] == pytest.approx(1e6 * high["bits_per_use"])
    out = asked(capsys, *question)
    assert out.count("(lower, two-way") == 4 and out.count("(upper, two-way") == 4


def test_plan(capsys: pytest.CaptureFixture[str]) -> None:
    out = asked(capsys, "plan", "--kbit-s", "24", "--clock-hz", "1e9", "--station-db", "2", "--length-km", "1000")
    assert "48000 bits of key a second" in out
    assert "223.9 km" in out
    assert "equally spaced stations" in out
    found = json.loads(asked(capsys, "plan", "--station-db", "2", "--length-km", "1000", "--json"))
    assert found["reach"][0]["longest_km"] == pytest.approx(223.9, abs=0.05)
    # 200 dB in spans of at most 44.78 - 2 dB: 4.67 of them, so five spans and four stations.
    assert found["fewest_stations"] == 4
    assert "no number of such stations" in asked(capsys, "plan", "--station-db", "60", "--length-km", "1000")


def test_the_plan_is_drawn_and_places_its_stations(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = asked(capsys, "plan", "--station-db", "2", "--length-km", "1000", "--out", str(tmp_path))
    assert "spans of 198.0, 198.0, 198.0, 198.0, 208.0 km" in out
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    rows = (tmp_path / "plan.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith('"distance between the ends, km",0 stations,1 stations')
    # The curve of no station crosses 1 at its reach, 223.9 km.
    points = [[float(value) for value in row.split(",")] for row in rows[1:]]
    assert max(km for km, share, *_ in points if share >= 1) <= 223.9 < min(km for km, share, *_ in points if share < 1)
    found = json.loads(asked(capsys, "plan", "--station-db", "2", "--json"))
    assert (found["kind"], found["strategy"]) == ("upper", "two-way")


def test_figure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    asked(capsys, "figure", "all", "--out", str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.{ending}" for name in ("distance", "network", "one-way", "stations") for ending in ("csv", "png")
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("chain", "--length-km", "-3"), "length_km"),
        (("chain", "--length-km", "nan"), "length_km"),
        (("chain", "--length-km", "3", "--stations", "-1"), "num_stations"),
        (("chain", "--length-km", "3", "--transmissivity", "2"), "transmissivity"),
        (("chain", "--length-km", "3", "--clock-hz", "0"), "clock_hz"),
        (("chain", "--loss-db", "3", "--photons", "1"), "--photons"),
        (("chain", "--spans-km", "3,4", "--stations", "4"), "--stations is 4"),
        (("network", "none.csv", "--from", "a", "--to", "b"), "none.csv"),
        (("network", NSFNET, "--from", "a", "--to", "2"), "source is 'a'"),
        (("network", NSFNET, "--from", "2", "--to", "2"), "both '2'"),
        (("plan", "--out", f"{NSFNET}/folder"), "--out is"),
        (("figure", "all", "--out", NSFNET), "--out is"),
        (("beam", "--out", NSFNET), "--out is"),
        (("plan", "--kbit-s", "0"), "bits_per_s"),
        (("plan", "--clock-hz", "-1"), "clock_hz"),
        (("plan", "--db-per-km", "0"), "db_per_km"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link", *arguments]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [(), ("chain",), ("dance",), ("plan", "--stations", "a,b"), ("chain", "--spans-km", "3,,4")]
)
def test_bad_usage_exits_with_two(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["link", *arguments])
    assert left.value.code == 2
