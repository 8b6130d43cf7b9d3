"""A machine of known rates is found from its times, and a model's calls on it are predicted; then the real one."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.cli.main import main
from fullduplex.hardware.calibrate.calls import Call, call_work, predict_calls
from fullduplex.hardware.calibrate.fit import Fit
from fullduplex.hardware.calibrate.machine import SHAPES, Products, measure_products, this_machine
from fullduplex.hardware.device import Device
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.workload import Work

SMALL = load_presets().find_model("smollm2-135m")
DEVICE = Device(flops_per_s=80e9, bytes_per_s=10e9, capacity_bytes=8e9, source="made up")
TRUTH = Fit(compute_share=0.9, memory_share=0.8, start_s=2e-6)
PLAN = [(1, 32), (1, 256), (1, 512), (1, 768), (32, 0), (32, 128), (32, 384), (32, 640), (8, 64), (8, 320)]


def made_up() -> Products:
    work = tuple(Work(2.0 * m * k * n, 4.0 * (m * k + k * n + m * n)) for m, k, n in SHAPES)
    return Products(work=work, seconds=TRUTH.seconds(work, DEVICE))


def test_the_rates_that_made_the_times_are_found() -> None:
    device, fit, error = this_machine(made_up())
    assert device.flops_per_s * fit.compute_share == pytest.approx(80e9 * 0.9, rel=0.05)
    assert device.bytes_per_s * fit.memory_share == pytest.approx(10e9 * 0.8, rel=0.05)
    assert error < 0.03


def test_a_product_is_timed_by_the_clock_it_is_given() -> None:
    """Each look at this clock is a second later, so every round over the pool takes one."""

    def ticking() -> Iterator[float]:
        now = 0.0
        while True:
            yield now
            now += 1.0

    clock = ticking()
    found = measure_products([(2, 3000, 3000)], repeats=2, clock=lambda: next(clock))
    assert found.seconds[0] == pytest.approx(1 / 4)  # a pool of 160 MB holds four of these
    assert found.work[0] == Work(2.0 * 2 * 9e6, 4.0 * (2 * 3000 * 2 + 9e6))
    with pytest.raises(ConfigError, match="inner"):
        measure_products([(1, 0, 5)])
    with pytest.raises(ConfigError, match="repeats"):
        measure_products(repeats=0)
    with pytest.raises(InputError, match="at least 6"):
        this_machine(Products(work=found.work, seconds=found.seconds))


def test_a_call_reads_the_weights_as_they_are_stored_and_the_cache() -> None:
    """One token behind 500: all weights once (4.5 bits each, tied head read, no input table), and 501 tokens of cache."""
    model = dataclasses.replace(SMALL, weight_bits=4.5)
    work = call_work(model, Call(tokens=1, context=500, seconds=1.0))
    read = 4.5 / 8 * model.num_parameters + 501 * model.kv_bytes_per_token
    assert work.bytes == pytest.approx(read, rel=0.02)  # activations are the rest
    attention = 4 * 500.5 * model.hidden * model.num_layers
    assert work.flops == pytest.approx(2 * model.num_parameters + attention, rel=1e-3)


def calls_of(fit: Fit) -> list[Call]:
    shapes = [Call(tokens=tokens, context=context, seconds=1.0) for tokens, context in PLAN]
    seconds = fit.seconds([call_work(SMALL, call) for call in shapes], DEVICE).tolist()
    return [dataclasses.replace(call, seconds=value) for call, value in zip(shapes, seconds, strict=True)]


def test_calls_held_out_are_predicted_and_products_alone_say_what_they_can() -> None:
    calls = calls_of(Fit(compute_share=0.3, memory_share=0.5, start_s=1e-3))
    found = predict_calls(SMALL, calls, DEVICE, dataclasses.replace(TRUTH, start_s=0.0))
    assert found.held_out_error < 0.03
    assert found.products_error > 0.3  # this program reaches a third of what products do
    exact = predict_calls(SMALL, calls_of(dataclasses.replace(TRUTH, start_s=0.0)), DEVICE,
                          dataclasses.replace(TRUTH, start_s=0.0))  # fmt: skip
    assert exact.products_error == pytest.approx(0, abs=1e-12)
    assert len(found.from_products_s) == len(found.from_calls_s) == len(calls)


def test_calls_that_cannot_be_predicted_are_refused() -> None:
    with pytest.raises(InputError, match="at least 6"):
        predict_calls(SMALL, calls_of(TRUTH)[:5], DEVICE, TRUTH)
    with pytest.raises(InputError, match="experts"):
        predict_calls(load_presets().find_model("mixtral"), calls_of(TRUTH), DEVICE, TRUTH)
    for field, value in (("tokens", 0), ("context", -1), ("seconds", 0.0), ("seconds", float("nan"))):
        with pytest.raises(ConfigError, match=field):
            dataclasses.replace(calls_of(TRUTH)[0], **{field: value})


def test_this_machine_becomes_a_preset(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command end to end with a few small products of the machine that runs the test."""
    pytest.importorskip("tqdm")
    few = [(rows, 256, 256) for rows in (1, 2, 4, 8, 32, 128)]
    monkeypatch.setattr("fullduplex.cli.plan.calibrate.SHAPES", few)
    monkeypatch.setattr(
        "fullduplex.cli.plan.calibrate.measure_products", lambda **given: measure_products(few, **given)
    )
    out = tmp_path / "mine.toml"
    assert main(["plan", "calibrate", "--repeats", "1", "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["products"]["device"]["flops_per_s"] > 1e8
    device = load_presets(out).find_device("this-machine")
    assert 0 < device.flops_per_s <= found["products"]["device"]["flops_per_s"] * (1 + 1e-6)
    assert np.isfinite(found["products"]["held_out_error"]) and found["predicted"] is None
