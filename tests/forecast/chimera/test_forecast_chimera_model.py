"""The forecaster: its stream, its closed loop, and that the coupling is worth something where the series are coupled."""

import pytest

pytest.importorskip("torch")

import torch

from contracts.streaming import CHECKS
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.forecast.chimera.config import ChimeraConfig, HeadConfig
from fullduplex.forecast.chimera.coupled import (
    FLOOR,
    CoupledVar,
    Fit,
    draw_coupled,
    fit_next_column,
    next_column_error,
)
from fullduplex.forecast.chimera.model import ForecasterConfig, NextColumn, roll_out
from fullduplex.nn.mamba.exact import StepStart

QUICK = HeadConfig(time=StepStart(shortest=0.1, longest=2.0))


def make(num_layers=2, named=True, **options):
    layer = ChimeraConfig(**{"width": 3, "order": 2, "expand": 1, **options})
    config = ForecasterConfig(num_variates=3, layer=layer, num_layers=num_layers, named=named)
    return NextColumn(config, generator=torch.Generator().manual_seed(0)).double()


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("check", CHECKS)
def test_streaming_contract(check, tmp_path):
    CHECKS[check](make(), noise(3, 37, 3), tmp_path)


def test_a_closed_loop_is_the_model_run_on_its_own_answers():
    model, past = make(), noise(2, 12, 3)
    with torch.no_grad():
        forecast = roll_out(model, past, 9)
        known = past
        for h in range(9):  # from the beginning every time, no state kept
            y, _ = model.scan(known, model.init(2))
            torch.testing.assert_close(forecast[:, h], y[:, -1], rtol=1e-10, atol=1e-11)
            known = torch.cat([known, y[:, -1:]], dim=1)


def test_pooled_and_unnamed_forecasts_know_no_order():
    model, past = make(coupling="pooled", named=False), noise(2, 12, 3)
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        straight, shuffled = roll_out(model, past, 20), roll_out(model, past[:, :, order], 20)
    torch.testing.assert_close(shuffled, straight[:, :, order], rtol=1e-12, atol=1e-13)


def test_the_process_is_what_it_says():
    x = draw_coupled(CoupledVar(lag=3), 50, 400, torch.Generator().manual_seed(0)).double()
    rest = x[:, 3:, 2] - 0.9 * x[:, :-3, 0]
    assert abs(rest.var() / FLOOR - 1) < 0.05
    assert abs(x[:, :, 0].var() * (1 - 0.36) - 1) < 0.05
    assert abs((x[:, 1:, 1] - 0.6 * x[:, :-1, 1]).var() - 1) < 0.05


def test_one_training_is_the_other_with_the_same_seed():
    ends = []
    for _ in range(2):
        model, generator = make(num_layers=1).float(), torch.Generator().manual_seed(3)
        seen = []
        fit_next_column(
            model,
            lambda batch, steps, generator=generator: draw_coupled(CoupledVar(), batch, steps, generator),
            Fit(num_updates=3, batch=2, num_steps=12),
            lambda number, loss, seen=seen: seen.append((number, loss)),
        )
        assert [number for number, _ in seen] == [0, 1, 2]
        ends.append((seen, model.read.weight.detach()))
    assert ends[0][0] == ends[1][0] and torch.equal(ends[0][1], ends[1][1])


@pytest.mark.slow
def test_coupling_beats_its_own_absence_on_coupled_series():
    errors = {}
    for cut in (False, True):
        generator = torch.Generator().manual_seed(0)
        layer = ChimeraConfig(width=8, order=4, num_taps=1, heads=(QUICK,))
        model = NextColumn(ForecasterConfig(num_variates=3, layer=layer), generator=generator)
        if cut:
            model.cut_coupling()
        fit_next_column(
            model,
            lambda batch, steps, generator=generator: draw_coupled(CoupledVar(), batch, steps, generator),
            Fit(num_updates=250, batch=12, num_steps=48),
        )
        unseen = draw_coupled(CoupledVar(), 64, 200, torch.Generator().manual_seed(99))
        errors[cut] = next_column_error(model, unseen)
    assert errors[False].mean() <= 0.8 * errors[True].mean()
    assert errors[False].mean() <= 1.1 * (2 + FLOOR) / 3  # within a tenth of the floor of all three (Bayes)
    assert errors[False][2] <= 3 * FLOOR
    # Without A2 and A3 nothing tells x2 the innovation that reaches it next, of variance 0.81.
    assert errors[True][2] >= 0.95 * (0.81 + FLOOR)


def test_cutting_leaves_no_path_but_the_present_column():
    model, x = make(num_layers=1, num_taps=1), noise(1, 12, 3)
    model.cut_coupling()
    poked = x.clone()
    poked[:, 4, 0] += 1
    with torch.no_grad():
        moved = (model.scan(poked, model.init(1))[0] - model.scan(x, model.init(1))[0]).abs()[0]
    assert moved[4, 1:].min() > 1e-9 and moved[5:, 0].max() > 1e-9
    assert moved[5:, 1:].max() < 1e-14


def test_bad_input_says_what_was_wrong():
    model = make()
    with pytest.raises(InputError, match="NextColumn got"):
        model.scan(noise(2, 5, 4), model.init(2))
    with pytest.raises(InputError, match="horizon 0"):
        roll_out(model, noise(2, 5, 3), 0)
    with pytest.raises(InputError, match="past"):
        roll_out(model, noise(2, 0, 3), 4)
    with pytest.raises(InputError, match="NaN"):
        roll_out(model, noise(2, 5, 3) * torch.nan, 4)
    with pytest.raises(InputError, match="cut_coupling"):
        make(coupling="pooled").cut_coupling()
    with pytest.raises(ConfigError, match="variates"):
        ForecasterConfig(num_variates=0, layer=ChimeraConfig(width=2))
    with pytest.raises(ConfigError, match="lag 0"):
        CoupledVar(lag=0)
