"""Points of a sweep: in order, with progress, and the same on Ray."""

import operator
from importlib import import_module

import pytest

from fullduplex.base.errors import InputError, MissingExtraError
from fullduplex.cli.main import main
from fullduplex.hardware import sweep
from fullduplex.hardware.device import System
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.reproduce.comparison import claims, compare
from fullduplex.hardware.serving.sessions import DuplexLoad, Place, capacity
from fullduplex.hardware.sweep import run_points

PRESETS = load_presets()


def places() -> list[Place]:
    return [
        Place(
            model=PRESETS.find_model(name),
            system=System(device=PRESETS.find_device("gpu")),
            load=DuplexLoad(conversation_s=60.0 * minutes),
        )
        for name in ("llama3-8b", "mamba2-2.7b", "mixtral")
        for minutes in (1, 10, 60)
    ]


def test_points_come_back_in_order_and_are_counted() -> None:
    seen: list[int] = []
    assert run_points(operator.neg, [3, 1, 2], progress=lambda: seen.append(1)) == [-3, -1, -2]
    assert len(seen) == 3
    assert run_points(operator.neg, []) == []


def test_a_point_without_room_is_none_and_the_others_are_the_capacity() -> None:
    found = run_points(Place.room, places())
    assert found[6:] == [None, None, None]  # Mixtral's weights alone are more than one device holds
    assert found[0] == capacity(places()[0].model, places()[0].system, places()[0].load)


def test_ray_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(sweep, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"fullduplex\[sweep\]"):
        run_points(operator.neg, [1], ray="local")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, on import and at exit
def test_two_workers_of_a_local_ray_find_what_one_process_finds(capsys: pytest.CaptureFixture[str]) -> None:
    """Capacity curves, the 27 configurations and the command, bit for bit; and no cluster where there is none."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'fullduplex[sweep]'")
    ray = import_module("ray")
    with pytest.raises(InputError, match="ray start"):
        run_points(operator.neg, [1], ray="127.0.0.1:1")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        seen: list[int] = []
        assert run_points(Place.room, places(), ray="local", progress=lambda: seen.append(1)) == run_points(
            Place.room, places()
        )
        assert len(seen) == len(places())
        assert claims(compare(PRESETS, ray="local")) == claims(compare(PRESETS))
        asked = [
            "plan",
            "sweep",
            "--model",
            "llama3-8b,mamba2-2.7b",
            "--device",
            "gpu,duplex",
            "--minutes",
            "1,60",
            "--json",
        ]
        printed = []
        for more in ([], ["--ray", "local"]):
            assert main([*asked, *more]) == 0
            printed.append(capsys.readouterr().out)
        assert printed[0] == printed[1]
    finally:
        ray.shutdown()
