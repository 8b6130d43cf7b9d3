"""Root-mean-square normalisation: every path against the rows one by one."""

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.base.errors import InputError
from fullduplex.kernels.norm import rms_norm, rms_norm_ref
from kernels.paths import choose_path


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def path(request, monkeypatch):
    choose_path(request.param, monkeypatch)


def noise(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)], ids=str)
@pytest.mark.parametrize("shape", [(2, 70, 33), (1, 16), (5, 1), (0, 4), (3,), (2, 4, 100)], ids=str)
def test_equals_reference(shape, dtype, tolerance):
    x, gain = noise(*shape, dtype=dtype), noise(shape[-1], dtype=dtype, seed=1)
    with torch.no_grad():
        got = rms_norm(x, gain, 1e-5)
    torch.testing.assert_close(got, rms_norm_ref(x, gain, 1e-5), rtol=tolerance, atol=tolerance)


def test_silence_stays_silent_and_a_view_is_read():
    with torch.no_grad():
        assert torch.equal(rms_norm(torch.zeros(2, 8), torch.ones(8), 1e-6), torch.zeros(2, 8))
        x = noise(6, 4)
        torch.testing.assert_close(rms_norm(x.T, noise(6, seed=1), 1e-5), rms_norm_ref(x.T, noise(6, seed=1), 1e-5))


def test_gradients_match_finite_differences():
    x, gain = noise(3, 5).requires_grad_(), noise(5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, gain: rms_norm(x, gain, 1e-5), (x, gain))


@pytest.mark.parametrize("x", [torch.zeros(2, 3), torch.tensor(1.0), torch.zeros(2, 4).double()])
def test_what_does_not_fit_is_refused(x):
    with pytest.raises(InputError, match="rms_norm got"):
        rms_norm(x, torch.ones(4), 1e-5)
