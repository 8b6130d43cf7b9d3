"""TimeMixer: sizes, ablations, decompositions, fast paths; what it refuses."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fullduplex.base.errors import ConfigError, InputError  # noqa: E402
from fullduplex.forecast.timemixer.config import MixingConfig, TimeMixerConfig, scale_lengths  # noqa: E402
from fullduplex.forecast.timemixer.decompose import moving_average, moving_average_matrix, split_by_dft  # noqa: E402
from fullduplex.forecast.timemixer.feed_forward import feed_forward, feed_forward_ref  # noqa: E402
from fullduplex.forecast.timemixer.gelu_map import gelu_map, gelu_map_ref  # noqa: E402
from fullduplex.forecast.timemixer.mixing import ScaleMixer  # noqa: E402
from fullduplex.forecast.timemixer.model import TimeMixer  # noqa: E402

ABLATIONS = {
    "full": MixingConfig(),
    "no future mixing": MixingConfig(future=False),
    "no season mixing": MixingConfig(season="none"),
    "no trend mixing": MixingConfig(trend="none"),
    "season down": MixingConfig(season="coarse_to_fine"),
    "trend up": MixingConfig(trend="fine_to_coarse"),
    "both reversed": MixingConfig(season="coarse_to_fine", trend="fine_to_coarse"),
    "whole, fine to coarse": MixingConfig(decomposition="none"),
    "whole, coarse to fine": MixingConfig(decomposition="none", season="coarse_to_fine"),
    "nothing": MixingConfig(decomposition="none", season="none"),
    "dft": MixingConfig(decomposition="dft"),
    "conv": MixingConfig(downsample="conv"),
    "max": MixingConfig(downsample="max"),
}


def small(**changes: object) -> TimeMixerConfig:
    settings = {"context": 32, "horizon": 8, "num_channels": 3, "num_scales": 2, "width": 4, "hidden": 8, **changes}
    return TimeMixerConfig(**settings)  # type: ignore[arg-type]


def model_of(config: TimeMixerConfig) -> TimeMixer:
    torch.manual_seed(0)
    return TimeMixer(config).eval()


def windows(config: TimeMixerConfig, batch: int = 5, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, config.num_channels, config.context, generator=generator).cumsum(-1)


def test_the_number_of_parameters_is_that_of_the_released_model() -> None:
    """75,497 for ETTh1 96 to 96, of which 64 belong to two layer norms that the released forward pass never uses."""
    model = TimeMixer(TimeMixerConfig(context=96, horizon=96, num_channels=7, num_marks=4))
    assert sum(parameter.numel() for parameter in model.parameters()) == 75_497 - 2 * 2 * 16


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_forecasts_and_learns(name: str, per_channel: bool) -> None:
    config = small(mixing=ABLATIONS[name], per_channel=per_channel)
    model = model_of(config)
    model(windows(config)).square().mean().backward()
    assert model(windows(config)).shape == (5, 3, 8)
    used = {key for key, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    assert any(key.startswith("blocks.0.season") for key in used) == (ABLATIONS[name].season != "none")
    splits = ABLATIONS[name].decomposition != "none"
    assert any(key.startswith("blocks.0.trend") for key in used) == (splits and ABLATIONS[name].trend != "none")


def test_ablations_differ_from_each_other() -> None:
    made = [model_of(small(mixing=mixing))(windows(small())).detach() for mixing in ABLATIONS.values()]
    assert all(not torch.allclose(a, b) for a, b in itertools.combinations(made, 2))


def test_mixing_goes_the_way_it_says() -> None:
    """Changing the finest scale reaches the coarsest only upwards, and the other way round."""
    scales = [torch.zeros(1, 1, length) for length in (8, 4, 2)]
    for direction, source, target in (("fine_to_coarse", 0, 2), ("coarse_to_fine", 2, 0)):
        torch.manual_seed(0)
        mixer = ScaleMixer((8, 4, 2), direction)
        before = mixer(scales)
        changed = [scale + (index == source) for index, scale in enumerate(scales)]
        assert not torch.equal(mixer(changed)[target], before[target])
        changed = [scale + (index == target) for index, scale in enumerate(scales)]
        assert torch.equal(mixer(changed)[source], before[source])


@pytest.mark.parametrize(("length", "kernel"), [(96, 25), (7, 25), (1, 3), (12, 1)])
def test_the_moving_average_is_its_loop_and_its_matrix(length: int, kernel: int) -> None:
    x = torch.randn(3, length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    half = kernel // 2
    loop = [[np.mean([row[min(max(t + k, 0), length - 1)] for k in range(-half, half + 1)]) for t in range(length)]
            for row in x.tolist()]  # fmt: skip
    assert torch.allclose(moving_average(x, kernel), torch.tensor(loop, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(x @ moving_average_matrix(length, kernel).double(), moving_average(x, kernel), atol=1e-6)


def drawn(*sizes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, dtype=torch.float64, generator=generator).to(dtype).requires_grad_() for size in sizes]


def test_gelu_and_map_in_one_step_are_their_slow_twin_forwards_and_backwards() -> None:
    inputs = drawn((7, 5), (4, 5), (4,))
    assert torch.allclose(gelu_map(*inputs), gelu_map_ref(*inputs), atol=1e-12)
    assert torch.autograd.gradcheck(gelu_map, inputs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("sizes", [(16, 32, 700), (3, 5, 71), (1, 1, 1), (4, 8, 256), (5, 3, 2)])
@pytest.mark.parametrize("parts", ["all", "no sum", "no residual", "one"])
def test_the_feed_forward_layer_in_one_step_is_its_slow_twin_forwards_and_backwards(
    dtype: torch.dtype, tolerance: float, sizes: tuple[int, int, int], parts: str
) -> None:
    """Tolerances are of the largest number of each result."""
    d, f, r = sizes
    x, s, other, *weights = drawn((d, r), (d, r), (d, r), (f, d), (f,), (d, f), (d,), dtype=dtype)
    given = [x if parts in ("all", "no sum") else None, s, other if parts in ("all", "no residual") else None]
    (back,) = drawn((d, r), dtype=dtype)
    results = []
    for layer in (feed_forward, feed_forward_ref):
        y = layer(*given, tuple(weights))
        wanted = [each for each in (*given, *weights) if each is not None]
        results.append([y, *torch.autograd.grad(y, wanted, back.detach())])
    for fast, slow in zip(*results, strict=True):
        assert fast.shape == slow.shape
        assert (fast - slow).abs().max() <= tolerance * slow.abs().max()


def test_the_feed_forward_layer_has_the_right_gradient_and_passes_what_is_not_a_number() -> None:
    x, s, other, *weights = drawn((3, 5), (3, 5), (3, 5), (4, 3), (4,), (3, 4), (3,))
    assert torch.autograd.gradcheck(lambda *g: feed_forward(g[0], g[1], g[2], g[3:]), (x, s, other, *weights))
    for value in (1e30, -1e30, float("nan"), float("inf")):
        one = torch.full((3, 40), value)
        plain = [weight.detach().float() for weight in weights]
        fast, slow = (layer(None, one, None, plain) for layer in (feed_forward, feed_forward_ref))
        assert torch.equal(fast.isfinite(), slow.isfinite())
        assert torch.allclose(fast, slow, rtol=1e-5, equal_nan=True)


def test_the_summed_forecast_is_the_published_order_of_maps() -> None:
    """Along time for every feature, then along features, then summed over scales."""
    config = small()
    model = model_of(config)
    hidden = [torch.randn(4, 6, length, generator=torch.Generator().manual_seed(1)) for length in scale_lengths(config)]
    published = torch.stack(
        [model.project(head(x).permute(1, 2, 0)) for head, x in zip(model.heads, hidden, strict=True)]
    )
    assert torch.allclose(model._forecast(hidden, (), 2), published.sum(0).reshape(2, 3, 8), atol=1e-5)


def test_the_embedding_is_the_circular_convolution_it_is_kept_as() -> None:
    for per_channel in (True, False):
        model = model_of(small(per_channel=per_channel))
        x = torch.randn(5, 1 if per_channel else 3, 32, generator=torch.Generator().manual_seed(1))
        assert torch.allclose(model._convolved(x.transpose(0, 1)).transpose(0, 1), model.embed(x), atol=1e-5)


def test_the_dft_splits_every_series_along_time() -> None:
    time = torch.arange(96.0)
    waves = torch.stack([torch.sin(2 * torch.pi * time * k / 96) for k in (4, 9)])
    season, trend = split_by_dft(waves + torch.tensor([[5.0], [-2.0]]), 1)
    assert torch.allclose(season, waves, atol=1e-5)
    assert torch.allclose(trend, torch.tensor([[5.0], [-2.0]]).expand(2, 96), atol=1e-5)
    line = 0.01 * time
    season, trend = split_by_dft(waves + line, 1)
    assert (season - waves).abs().max() < 0.1
    assert (trend - line).abs().max() < 0.1
    # A neighbour in the batch changes nothing, and no series is left out.
    assert torch.equal(split_by_dft(torch.stack([waves, 100 * waves]), 1)[0][0], split_by_dft(waves, 1)[0])
    with pytest.raises(InputError, match="frequencies"):
        split_by_dft(waves, 49)


def test_level_and_size_of_a_window_come_back() -> None:
    """Reversible normalisation: shift and scale of the window are those of the forecast."""
    config = small()
    model, x = model_of(config), windows(config)
    with torch.no_grad():
        assert torch.allclose(model(5 * x + 100), 5 * model(x) + 100, atol=2e-2)


def test_a_constant_window_and_one_channel() -> None:
    config = small(num_channels=1)
    assert torch.isfinite(model_of(config)(torch.full((2, 1, 32), 7.0))).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"context": 3}, {"context": 0}, {"horizon": 0}, {"factor": 1}, {"num_channels": 0}, {"num_marks": -1},
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        small(**changes)


@pytest.mark.parametrize("changes", [{"kernel": 4}, {"top_k": 0}, {"season": "up"}, {"downsample": "mean"}])
def test_choices_that_do_not_exist_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        MixingConfig(**changes)  # type: ignore[arg-type]


def test_windows_of_another_shape_are_refused() -> None:
    model = model_of(small())
    for shape in ((1, 2, 32), (1, 3, 31), (3, 32)):
        with pytest.raises(InputError, match="windows have shape"):
            model(torch.zeros(shape))
    with pytest.raises(InputError, match="calendar"):
        model(torch.zeros(1, 3, 32), torch.zeros(1, 1, 32))
