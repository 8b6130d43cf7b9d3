"""Patch Transformers: published sizes, the mixture against other libraries, what each kind may see, training and study."""

import csv
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fullduplex.base.errors import ConfigError, InputError  # noqa: E402
from fullduplex.forecast.foundation.config import (  # noqa: E402
    LADDER,
    PatchConfig,
    block_parameters,
    ladder_config,
    total_parameters,
)
from fullduplex.forecast.foundation.corpus import KINDS, last_windows, make_series, training_windows  # noqa: E402
from fullduplex.forecast.foundation.mixture import StudentMixture, mixture_of, student_cdf  # noqa: E402
from fullduplex.forecast.foundation.model import PatchTransformer  # noqa: E402
from fullduplex.forecast.foundation.pretrain import (  # noqa: E402
    PretrainConfig,
    in_own_units,
    masked_loss,
    pretrain,
    score_next_patch,
)
from fullduplex.forecast.foundation.study import StudyConfig, mixed_series, planned_runs, run_study  # noqa: E402

# N as the released repository prints it, and the sizes that it rounds.
EXACT = {"1K": 872, "100K": 100_928, "300K": 302_656, "1M": 1_771_712, "3M": 4_747_264}
ROUNDED = {"10M": 14.1e6, "30M": 37.8e6, "100M": 127e6, "300M": 302e6, "1B": 1.019e9}


@pytest.mark.parametrize("name", LADDER)
def test_the_ladder_has_the_published_numbers_of_parameters(name: str) -> None:
    config = ladder_config(name, "encoder")
    if name in EXACT:
        assert block_parameters(config) == EXACT[name]
    if name in ROUNDED:
        assert block_parameters(config) == pytest.approx(ROUNDED[name], rel=5e-3)
    if name == "1K":
        assert total_parameters(config) == 5_752
    if name == "10K":  # the constant of the released notebooks, 7,032, is that of one layer
        assert block_parameters(PatchConfig(kind="encoder", width=24, num_layers=1)) == 7_032
        assert block_parameters(config) == 14_040
    if name == "1B":
        assert block_parameters(ladder_config(name, "decoder")) == pytest.approx(0.906e9, rel=1e-3)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("name", ["1K", "10K", "100K", "1M"])
def test_a_model_has_as_many_as_the_formula_says(name: str, kind) -> None:
    model = PatchTransformer(ladder_config(name, kind))
    assert sum(parameter.numel() for parameter in model.parameters()) == total_parameters(model.config)
    counted = sum(p.numel() for key, p in model.named_parameters() if key.startswith(("blocks.", "norm.")))
    assert counted == block_parameters(model.config)


def test_students_distribution_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    z = torch.linspace(-40, 40, 401, dtype=torch.float64)
    for df in (2.0001, 3.0, 17.0, 1e3):
        assert np.allclose(student_cdf(z, torch.tensor(df)).numpy(), stats.t.cdf(z.numpy(), np.float32(df)), atol=1e-11)
    rng = np.random.default_rng(0)
    parts = [torch.from_numpy(rng.standard_normal((5, 3))) for _ in range(3)]
    mixture = StudentMixture(parts[0], 2 + parts[1].exp(), parts[2], parts[1].abs() + 0.1)
    x = torch.from_numpy(rng.standard_normal(5))
    weights = torch.softmax(parts[0], -1).numpy()
    theirs = stats.t(mixture.df.numpy(), mixture.loc.numpy(), mixture.scale.numpy())
    assert np.allclose(
        mixture.log_prob(x).numpy(), np.log((weights * theirs.pdf(x.numpy()[:, None])).sum(-1)), atol=1e-12
    )
    # The published code weighs along the wrong axis, which three components of five mixtures would not survive.
    assert np.allclose(mixture.cdf(x).numpy(), (weights * theirs.cdf(x.numpy()[:, None])).sum(-1), atol=1e-12)


def test_draws_follow_the_distribution_function() -> None:
    stats = pytest.importorskip("scipy.stats")
    raw = torch.tensor([[1.0, 0.0, -1.0, 2.0, 0.5, 1.5, -2.0, 3.0, 0.1, -1.0, 0.5, 1.0]], dtype=torch.float64)
    mixture = mixture_of(raw, 3)
    draws = mixture.sample(4_000, np.random.default_rng(1))[0]
    repeated = StudentMixture(
        *(part.expand(4_000, 3) for part in (mixture.logits, mixture.df, mixture.loc, mixture.scale))
    )
    uniform = repeated.cdf(torch.from_numpy(draws)).numpy()
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    # 3 standard errors of a mean of draws.
    assert draws.mean() == pytest.approx(float(mixture.mean()), abs=3 * draws.std() / np.sqrt(4_000))


def test_likelihood_and_gradients_stay_finite_at_the_edges() -> None:
    raw = torch.tensor([[0.0, 0.0, -200.0, 200.0, 0.0, 1e6, -200.0, -200.0]], requires_grad=True)
    mixture_of(raw, 2).log_prob(torch.zeros(1)).sum().backward()
    assert torch.isfinite(raw.grad).all()  # type: ignore[arg-type]
    for kind in ("encoder", "decoder"):
        model = PatchTransformer(PatchConfig(kind=kind, width=8, num_layers=1, patch=4))  # type: ignore[arg-type]
        hard = torch.zeros(4, 5, 4, dtype=torch.float64)
        hard[0] = 7.0  # constant
        hard[1] = 1e12 * torch.randn(5, 4, dtype=torch.float64)
        hard[2, 3:] = 1e9  # constant, then a jump
        hard[3] = torch.nan  # nothing at all
        loss = masked_loss(model, hard, torch.tensor([3, 3, 3, 3]))
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_own_units_know_the_visible_part_only_and_no_unit_is_left() -> None:
    x = torch.randn(3, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shown = torch.arange(6).expand(3, 6) < 4
    z, mean, std = in_own_units(x, shown)
    assert torch.allclose(mean[:, 0, 0], x[:, :4].mean(dim=(1, 2)))
    assert torch.allclose(std[:, 0, 0], x[:, :4].std(dim=(1, 2), unbiased=False))
    other = x.clone()
    other[:, 4:] += 9
    assert torch.equal(in_own_units(other, shown)[1], mean)
    assert torch.allclose(in_own_units(1000 * x - 5, shown)[0], z, atol=1e-5)


def model_of(kind) -> PatchTransformer:
    torch.manual_seed(0)
    return PatchTransformer(PatchConfig(kind=kind, width=16, num_layers=2, patch=4)).eval()


def test_a_decoder_sees_the_past_only_and_an_encoder_nothing_that_is_masked() -> None:
    x = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(1))
    changed = x.clone()
    changed[:, 4:] += 1
    decoder, encoder = model_of("decoder"), model_of("encoder")
    assert torch.equal(decoder(x).loc[:, :4], decoder(changed).loc[:, :4])
    assert not torch.equal(decoder(x).loc[:, 4:], decoder(changed).loc[:, 4:])
    hidden = torch.arange(7).expand(2, 7) >= 4
    assert torch.equal(encoder(x, hidden).loc, encoder(changed, hidden).loc)
    assert not torch.equal(encoder(x, hidden).loc[:, 5], encoder(x + 1, hidden).loc[:, 5])
    # Positions count: masked patches differ although all of them are read as the same embedding.
    assert not torch.allclose(encoder(x, hidden).loc[:, 4], encoder(x, hidden).loc[:, 6])


def test_wrong_shapes_and_masks_are_refused() -> None:
    x = torch.zeros(1, 3, 4)
    for call in (
        lambda: model_of("decoder")(torch.zeros(1, 3, 5)),
        lambda: model_of("decoder")(x, torch.zeros(1, 3, dtype=torch.bool)),
        lambda: model_of("encoder")(x),
        lambda: pretrain(
            PatchConfig(kind="encoder", width=8, num_layers=1), np.zeros((9, 33)), PretrainConfig(num_steps=1)
        ),
        lambda: score_next_patch(model_of("encoder"), np.full((2, 12), np.nan)),
        lambda: score_next_patch(model_of("encoder"), np.zeros((2, 12))),
        lambda: make_series(-1, 5),
        lambda: training_windows([np.zeros(5)], 6, 1, 1),
        lambda: last_windows([np.zeros(5)], 5, 1),
    ):
        with pytest.raises(InputError):
            call()
    for changes in ({"width": 6}, {"width": 100}, {"kind": "both"}, {"num_layers": 0}):
        with pytest.raises(ConfigError):
            PatchConfig(**{"kind": "encoder", "width": 8, "num_layers": 1, **changes})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no size '2K'"):
        ladder_config("2K", "encoder")


def test_made_up_series_are_the_same_every_time_and_of_four_kinds() -> None:
    assert np.array_equal(make_series(5, 100), make_series(5, 100))
    assert not np.array_equal(make_series(5, 100), make_series(5, 100, seed=1))
    assert all(
        np.isfinite(make_series(index, 700)).all() and np.ptp(make_series(index, 700)) > 0 for index in range(40)
    )
    assert len(KINDS) == 4


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_training_beats_knowing_only_that_it_is_a_wave(kind) -> None:
    """A wave of unknown phase, in units of its deviation, has log(pi / sqrt 2) = 0.798 nats (the arcsine law)."""
    time = np.arange(400)
    series = [np.sin(2 * np.pi * time / period + phase) for period in (6, 8, 10) for phase in range(4)]
    windows = training_windows(series, 32, 4, 1)
    config = PatchConfig(kind=kind, width=16, num_layers=2, patch=4)
    model = pretrain(config, windows, PretrainConfig(num_steps=200, peak_lr=1e-2))
    found = score_next_patch(model, last_windows(series, 32, 4))
    assert found["nll"] < {"encoder": 0.5, "decoder": -0.5}[kind]
    assert found["crps"] < {"encoder": 0.55, "decoder": 0.15}[kind]
    again = score_next_patch(model, 1e6 * last_windows(series, 32, 4) + 3)
    assert again == pytest.approx(found, abs=2e-3)  # free of the unit


def test_a_smaller_corpus_is_the_beginning_of_a_larger_one() -> None:
    given = [np.arange(400.0), np.arange(500.0), np.arange(20.0)]
    small, large = (mixed_series(given, points, 36, 4) for points in (2_000, 9_000))
    assert all(np.array_equal(a, b) for a, b in zip(small, large, strict=False))
    assert sum(part.size - 4 for part in small) >= 2_000
    assert any(part is given[0] for part in large)
    assert not any(part is given[2] for part in large)  # too short for a window


def test_a_study_goes_on_where_it_was_stopped_and_counts_true_steps(tmp_path: Path) -> None:
    config = StudyConfig(
        kinds=("decoder",), sizes=((8, 1), (16, 1)), fixed_size=(8, 1), points=(2_000, 4_000), seeds=(0,), num_steps=16,
        batch_size=8, patch=4, num_patches=5,
    )  # fmt: skip
    tests = {"id": last_windows([make_series(index, 60, 1) for index in range(8)], 20, 4)}
    assert [run.name for run in planned_runs(config)] == [
        "decoder-w8-l1-d4000-s0", "decoder-w16-l1-d4000-s0", "decoder-w8-l1-d2000-s0",
    ]  # fmt: skip
    whole = run_study(config, [], tests, tmp_path / "a").read_text()

    class Stop(Exception):
        pass

    def stop(run: object, step) -> None:
        if step.step == 13 and getattr(run, "name", "").startswith("decoder-w16"):
            raise Stop

    with pytest.raises(Stop):
        run_study(config, [], tests, tmp_path / "b", report=stop)
    assert run_study(config, [], tests, tmp_path / "b").read_text() == whole
    rows = list(csv.DictReader(whole.splitlines()))
    assert len(rows) == 3 * 8
    assert [int(row["step"]) for row in rows[:8]] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert all(int(row["c"]) == 6 * int(row["n_total"]) * int(row["step"]) * 8 * 5 for row in rows)
    with pytest.raises(InputError, match="another study"):
        run_study(StudyConfig(num_steps=3), [], tests, tmp_path / "a")
    for changes in ({"seeds": ()}, {"points": (5, 4)}, {"fixed_size": (4, 1)}, {"num_patches": 1}):
        with pytest.raises(ConfigError):
            StudyConfig(**changes)  # type: ignore[arg-type]
