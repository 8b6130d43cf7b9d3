"""The verified faults of the released TimeMixer's model; those of its evaluation are in ..._protocol_faults.py.

Each test puts one question twice: to our code, which passes, and to a stand-in with the released behaviour, which fails:
so no check is one that cannot fail. Axes: B windows, C channels, L context, H horizon, K calendar features, T steps.
"""

import threading
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from fullduplex.forecast.timemixer.config import MixingConfig, TimeMixerConfig, scale_lengths  # noqa: E402
from fullduplex.forecast.timemixer.decompose import split_by_dft  # noqa: E402
from fullduplex.forecast.timemixer.mixing import PastMixing  # noqa: E402
from fullduplex.forecast.timemixer.model import TimeMixer, WindowStats  # noqa: E402


def small(**changes: object) -> TimeMixerConfig:
    settings = {"context": 32, "horizon": 8, "num_channels": 3, "num_scales": 2, "width": 4, "hidden": 8, **changes}
    return TimeMixerConfig(**settings)  # type: ignore[arg-type]


def made(kind: type[TimeMixer], config: TimeMixerConfig) -> TimeMixer:
    torch.manual_seed(0)
    return kind(config).eval()


def windows(config: TimeMixerConfig, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, config.num_channels, config.context, generator=generator).cumsum(-1)


def refused(check: Callable[[], None]) -> None:
    """The check says no."""
    with pytest.raises(AssertionError):
        check()


# 1. Rows lie window by window, the released calendar channel by channel: a series gets another window's times.


class TiledMarks(TimeMixer):
    def _marks_of_rows(self, m_DBT: Tensor) -> Tensor:
        return m_DBT.repeat(1, self.config.num_channels, 1)


def moves_its_own_window_only(model: TimeMixer) -> None:
    x_BCL, marks_BKL = windows(model.config), torch.zeros(5, 2, 32)
    changed_BKL = marks_BKL.clone()
    changed_BKL[2] += 1
    moved_BC = (model(x_BCL, changed_BKL) - model(x_BCL, marks_BKL)).abs().amax(dim=2) > 1e-7
    assert moved_BC.all(dim=1).tolist() == [False, False, True, False, False]
    assert not moved_BC[[0, 1, 3, 4]].any()


def follows_the_order_of_the_windows(model: TimeMixer) -> None:
    x_BCL, order = windows(model.config), torch.tensor([3, 0, 4, 1, 2])
    marks_BKL = torch.randn(5, 2, 32, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(model(x_BCL[order], marks_BKL[order]), model(x_BCL, marks_BKL)[order], atol=1e-5)


@pytest.mark.parametrize("check", [moves_its_own_window_only, follows_the_order_of_the_windows])
def test_fault_01_every_series_gets_the_calendar_of_its_own_window(check: Callable[[TimeMixer], None]) -> None:
    config = small(num_marks=2)
    check(made(TimeMixer, config))
    refused(lambda: check(made(TiledMarks, config)))


# 2. The released split by frequency: along channels, without batch item 0 in place of the mean, one threshold for all.


def split_with_fault(fault: str) -> Callable[[Tensor, int], Tensor]:
    def season(x_BT: Tensor, top_k: int) -> Tensor:
        axis = 0 if fault == "along channels" else 1
        spectrum = torch.fft.rfft(x_BT, dim=axis)
        strength = spectrum.abs()
        if fault == "first series emptied":
            strength[0] = 0
        else:
            strength.select(axis, 0).zero_()
        least = strength.topk(top_k, dim=axis).values.amin(dim=axis, keepdim=True)
        if fault == "one threshold":
            least = least.min()
        kept = spectrum * ((strength >= least) & (strength > 0))
        return torch.fft.irfft(kept, n=x_BT.shape[axis], dim=axis)

    return season


def ours(x_BT: Tensor, top_k: int) -> Tensor:
    return split_by_dft(x_BT, top_k)[0]


def waves_and_levels() -> tuple[Tensor, Tensor]:
    time = torch.arange(96.0)
    waves_BT = torch.stack([torch.sin(2 * torch.pi * time * k / 96) for k in (4, 9, 2, 6)])
    return waves_BT, torch.tensor([[5.0], [-2.0], [3.0], [1.0]])


def finds_the_wave_of_every_series(season: Callable[[Tensor, int], Tensor]) -> None:
    waves_BT, levels_B1 = waves_and_levels()
    assert torch.allclose(season(waves_BT + levels_B1, 1), waves_BT, atol=1e-4)


def hears_no_neighbour(season: Callable[[Tensor, int], Tensor]) -> None:
    noise_BT = torch.randn(2, 96, generator=torch.Generator().manual_seed(0))
    other_BT = torch.stack([noise_BT[0], 0.01 * noise_BT[1]])
    assert torch.allclose(season(other_BT, 3)[0], season(noise_BT, 3)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("along channels", finds_the_wave_of_every_series),
        ("first series emptied", finds_the_wave_of_every_series),
        ("one threshold", hears_no_neighbour),
    ],
)
def test_fault_02_the_dft_splits_every_series_along_time_by_itself(
    fault: str, check: Callable[[Callable[[Tensor, int], Tensor]], None]
) -> None:
    check(ours)
    check(split_with_fault("none"))  # the stand-in itself is right where it has no fault
    refused(lambda: check(split_with_fault(fault)))


# 3. The released convolution between scales is a new random layer in every call.


class FreshKernels(TimeMixer):
    def _coarser(self, x_BCT: Tensor, index: int) -> Tensor:
        width, factor = x_BCT.shape[1], self.config.factor
        return nn.Conv1d(width, width, factor, stride=factor, bias=False)(x_BCT)


def says_the_same_twice(model: TimeMixer) -> None:
    assert torch.equal(model(windows(model.config)), model(windows(model.config)))


def learns_its_kernels(model: TimeMixer) -> None:
    model(windows(model.config)).square().mean().backward()
    kernels = [parameter for name, parameter in model.named_parameters() if name.startswith("down.")]
    assert len(kernels) == model.config.num_scales
    assert all(kernel.grad is not None and kernel.grad.any() for kernel in kernels)


def is_what_was_saved(model: TimeMixer) -> None:
    loaded = type(model)(model.config).eval()
    loaded.load_state_dict(model.state_dict())
    assert torch.equal(loaded(windows(model.config)), model(windows(model.config)))


@pytest.mark.parametrize("check", [says_the_same_twice, learns_its_kernels, is_what_was_saved])
def test_fault_03_learned_down_sampling_is_learned_and_saved(check: Callable[[TimeMixer], None]) -> None:
    config = small(mixing=MixingConfig(downsample="conv"))
    check(made(TimeMixer, config))
    refused(lambda: check(made(FreshKernels, config)))


# 8. Where channels mix, the released blocks have neither their residual nor their feed-forward layer.


class BareMixing(PastMixing):
    def forward(self, scales: list[Tensor]) -> list[Tensor]:
        seasons, trends = zip(*(self._split(index, x_DNT) for index, x_DNT in enumerate(scales)), strict=True)
        seasons = self.season([self._crossed(s_DNT) for s_DNT in seasons])
        trends = self.trend([self._crossed(t_DNT) for t_DNT in trends])
        return [s_DNT + t_DNT for s_DNT, t_DNT in zip(seasons, trends, strict=True)]


def features(config: TimeMixerConfig) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(config.width, 2, length, generator=generator) for length in scale_lengths(config)]


def lets_the_input_through(block: PastMixing) -> None:
    nn.init.zeros_(block.out.narrow.weight)
    nn.init.zeros_(block.out.narrow.bias)
    scales = features(small(per_channel=False))
    assert all(torch.equal(after, before) for after, before in zip(block(scales), scales, strict=True))


def learns_its_feed_forward_layer(block: PastMixing) -> None:
    torch.stack([x_DNT.square().mean() for x_DNT in block(features(small(per_channel=False)))]).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in block.out.parameters())


@pytest.mark.parametrize("check", [lets_the_input_through, learns_its_feed_forward_layer])
def test_fault_08_where_channels_mix_a_block_has_its_residual_and_its_feed_forward_layer(
    check: Callable[[PastMixing], None],
) -> None:
    torch.manual_seed(0)
    check(PastMixing(small(per_channel=False)))
    refused(lambda: check(BareMixing(small(per_channel=False))))


# 9. Released scales of odd lengths: pooling drops the newest step, and steps of pooled marks are one more than of values.


class CutAtTheNewEnd(TimeMixer):
    def _coarser(self, x_BCT: Tensor, index: int) -> Tensor:
        return functional.avg_pool1d(x_BCT, self.config.factor)

    def _coarser_marks(self, marks_BKT: Tensor) -> Tensor:
        return marks_BKT[..., :: self.config.factor]


def hears_the_newest_value_on_every_scale(model: TimeMixer) -> None:
    x_BCL = windows(model.config)
    changed_BCL = x_BCL.clone()
    changed_BCL[..., -1] += 1
    before, after = model._pyramid(x_BCL)[0], model._pyramid(changed_BCL)[0]
    assert [scale.shape[-1] for scale in before] == list(scale_lengths(model.config))
    assert all(not torch.equal(new[..., -1], old[..., -1]) for new, old in zip(after, before, strict=True))


def takes_a_calendar(model: TimeMixer) -> None:
    try:
        forecast_BCH = model(windows(model.config), torch.zeros(5, 1, model.config.context))
    except RuntimeError as error:
        raise AssertionError(f"crashed: {error}") from error
    assert forecast_BCH.shape == (5, 3, 8)


@pytest.mark.parametrize("context", [45, 33, 97])
@pytest.mark.parametrize("check", [hears_the_newest_value_on_every_scale, takes_a_calendar])
def test_fault_09_any_length_works_and_the_newest_values_count(
    check: Callable[[TimeMixer], None], context: int
) -> None:
    config = small(context=context, num_scales=3, num_marks=int(check is takes_a_calendar), normalise=False)
    check(made(TimeMixer, config))
    refused(lambda: check(made(CutAtTheNewEnd, config)))


# 10. The released normalisation keeps the statistics of the newest window on the module.


class KeepsStats(TimeMixer):
    kept: WindowStats

    def _pyramid(self, x_BCL: Tensor) -> tuple[list[Tensor], WindowStats]:
        scales, self.kept = super()._pyramid(x_BCL)
        return scales, self  # type: ignore[return-value]  # read from the module when the forecast is undone

    @property
    def mean_BC1(self) -> Tensor:
        return self.kept.mean_BC1

    @property
    def std_BC1(self) -> Tensor:
        return self.kept.std_BC1


def two_threads_agree_with_one(model: TimeMixer) -> None:
    inputs = [100.0**level * windows(model.config) for level in range(2)]
    with torch.no_grad():
        serial = [model(x_BCL) for x_BCL in inputs]
    together = threading.Barrier(2)  # both have taken their statistics before either goes on

    def meet(*_: object) -> None:
        together.wait(timeout=60)

    hook = model.blocks[0].register_forward_pre_hook(meet)
    found: dict[int, Tensor] = {}

    def work(index: int) -> None:
        with torch.no_grad():
            found[index] = model(inputs[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hook.remove()
    assert all(torch.equal(found[index], serial[index]) for index in range(2))


def keeps_nothing(model: TimeMixer) -> None:
    before = set(vars(model))
    model(windows(model.config))
    assert set(vars(model)) == before


@pytest.mark.parametrize("check", [two_threads_agree_with_one, keeps_nothing])
def test_fault_10_threads_may_share_a_model(check: Callable[[TimeMixer], None]) -> None:
    check(made(TimeMixer, small()))
    refused(lambda: check(made(KeepsStats, small())))
