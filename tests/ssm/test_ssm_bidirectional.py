"""Both directions at once, and no state."""

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.base.errors import InputError
from fullduplex.ssm.bidirectional import Bidirectional
from fullduplex.ssm.s4 import S4, S4Config
from fullduplex.ssm.s4d import S4D, S4DConfig


def both():
    generator = torch.Generator().manual_seed(0)
    ahead = S4(S4Config(width=3, order=8), generator=generator).double()
    return Bidirectional(ahead, S4D(S4DConfig(width=3, order=8), generator=generator).double())


def test_by_its_two_kernels():
    # y_t = sum_{s<=t} K_{t-s} x_s + sum_{s>=t} J_{s-t} x_s: the present is in both, and nothing is off by one.
    model = both()
    x = torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        y, forwards, backwards = model(x), model.ahead.kernel(9), model.behind.kernel(9)
        for t in range(9):
            expected = (model.ahead.skip_D + model.behind.skip_D) * x[0, t]
            expected = expected + sum(forwards[:, t - s] * x[0, s] for s in range(t + 1))
            expected = expected + sum(backwards[:, s - t] * x[0, s] for s in range(t, 9))
            torch.testing.assert_close(y[0, t], expected, rtol=0, atol=1e-12)


def test_a_state_is_refused():
    model, x = both(), torch.zeros(1, 2, 3)
    for asked in (lambda: model.init(1), lambda: model.step(x[:, 0], None), lambda: model.scan(x, None)):
        with pytest.raises(InputError, match="needs the future"):
            asked()
