"""A column through one compiled call is a scan of one step."""

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.base.errors import InputError
from fullduplex.forecast.chimera.config import ChimeraConfig, HeadConfig
from fullduplex.forecast.chimera.layer import Chimera, ChimeraState
from fullduplex.kernels.native.library import native
from fullduplex.kernels.scan2d import GridState
from fullduplex.nn.mamba.exact import StepStart
from fullduplex.nn.state import leaves

# batch, variates, width, settings
CASES = [
    (1, 1, 3, {"order": 1, "expand": 1, "num_taps": 1}),
    (3, 5, 7, {"order": 3, "expand": 2, "num_taps": 4, "step_rank": 3}),
    (1, 2, 2, {"order": 1, "expand": 1, "step_rank": 200}),
    (1, 32, 64, {"order": 16, "expand": 1}),
    (2, 4, 20, {"order": 2, "bidirectional": False, "heads": (HeadConfig(time=StepStart(shortest=0.1, longest=1.0)),)}),
]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"B{case[0]}-V{case[1]}-D{case[2]}")
def test_equals_a_scan_of_one_step(case, dtype):
    if native() is None:
        pytest.skip("no C compiler here")
    batch, num_variates, width, settings = case
    generator = torch.Generator().manual_seed(0)
    layer = Chimera(ChimeraConfig(width=width, **settings), num_variates, generator=generator).to(dtype)
    with torch.no_grad():
        for name, weight in layer.named_parameters():  # couplings that saturate, and a bias that is not zero
            weight.mul_(12 if name.endswith("w2_EN") else 1)
        layer.conv_bias_E.normal_(generator=generator)
        state = slow = layer.init(batch)
        for _ in range(5):
            x = torch.randn(batch, num_variates, width, generator=generator, dtype=dtype)
            done = layer._step_compiled(x, state)
            assert done is not None
            y, state = done
            expected, slow = layer.scan(x.unsqueeze(1), slow)
            for got, want in zip(
                [y, *dict(leaves(state)).values()], [expected[:, 0], *dict(leaves(slow)).values()], strict=True
            ):
                assert got.shape == want.shape
                scale = max(1.0, want.abs().max().item()) if want.numel() else 1.0
                torch.testing.assert_close(got, want, rtol=0, atol=TOLERANCE[dtype] * scale)


def test_gradients_and_other_settings_take_the_scan():
    layer, x = Chimera(ChimeraConfig(width=3, order=2), 2), torch.randn(1, 2, 3)
    assert layer._step_compiled(x, layer.init(1)) is None
    layer.step(x, layer.init(1))[0].sum().backward()
    assert layer.in_proj.weight.grad is not None
    with torch.no_grad():
        for settings in ({"coupling": "pooled"}, {"discretisation": "paper"}, {"hold": "euler"}, {"selective": False}):
            other = Chimera(ChimeraConfig(width=3, order=2, **settings), 2)
            assert other._step_compiled(x, other.init(1)) is None


def test_a_state_of_another_shape_never_reaches_c():
    layer = Chimera(ChimeraConfig(width=3, order=2), 2)
    state = layer.init(1)
    short = tuple(GridState(grid.h1_BVN[..., :-1].contiguous(), grid.h2_BVN) for grid in state.grids)
    with torch.no_grad(), pytest.raises(InputError, match="state"):
        layer.step(torch.randn(1, 2, 3), ChimeraState(state.past_BVSE, short))
