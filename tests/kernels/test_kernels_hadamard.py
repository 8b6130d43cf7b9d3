"""The fast Walsh-Hadamard transform against its matrix."""

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.kernels.hadamard import hadamard, hadamard_matrix, hadamard_ref, hadamard_split
from kernels.paths import choose_path

SIZES = (1, 2, 4, 64, 512, 12, 24, 96, 20, 40, 80, 28, 56, 160, 768, 1280)


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def path(request, monkeypatch):
    choose_path(request.param, monkeypatch)


def noise(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", SIZES)
def test_the_matrix_is_hadamards(size):
    matrix = hadamard_matrix(size)
    assert set(matrix.unique().tolist()) <= {-1.0, 1.0}
    assert torch.equal(matrix @ matrix.T, size * torch.eye(size, dtype=torch.float64))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-14)], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_equals_reference_and_its_inverse(size, dtype, tolerance):
    x = noise(3, 2, size, dtype=dtype)
    torch.testing.assert_close(hadamard(x), hadamard_ref(x), rtol=0, atol=10 * tolerance)
    torch.testing.assert_close(hadamard(x, inverse=True), hadamard_ref(x, inverse=True), rtol=0, atol=10 * tolerance)
    torch.testing.assert_close(hadamard(hadamard(x), inverse=True), x, rtol=0, atol=10 * tolerance)


def test_known_transforms():
    # Sylvester's matrix of 4, from its definition; a unit impulse becomes a constant.
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    assert hadamard(x).tolist() == [5.0, -1.0, -2.0, 0.0]
    impulse = torch.zeros(256, dtype=torch.float64)
    impulse[0] = 1
    assert hadamard(impulse).tolist() == [1 / 16] * 256


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 3), st.booleans())
def test_length_is_kept(size, rows, inverse):
    x = noise(rows, size)
    torch.testing.assert_close(hadamard(x, inverse=inverse).norm(dim=-1), x.norm(dim=-1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [4, 12, 28])
def test_gradients_match_finite_differences_twice(size):
    x = noise(2, size).requires_grad_()
    assert torch.autograd.gradcheck(hadamard, (x,))
    assert torch.autograd.gradgradcheck(hadamard, (x,))


def test_a_view_is_read_and_left_alone():
    x = noise(12, 5)
    before = x.clone()
    torch.testing.assert_close(hadamard(x.T), hadamard_ref(x.T), rtol=0, atol=1e-13)
    assert torch.equal(x, before)


def test_split():
    assert [hadamard_split(size) for size in (1, 8, 12, 48, 20, 40, 160, 28, 5120)] == [
        (1, 1), (1, 8), (12, 1), (12, 4), (20, 1), (20, 2), (20, 8), (28, 1), (20, 256),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 3, 6, 36, 60, 100, 9 * 64])
def test_sizes_without_a_transform_are_refused(size):
    with pytest.raises(InputError, match=f"of {size} numbers"):
        hadamard(torch.zeros(2, size))


@pytest.mark.parametrize(
    "x", [torch.zeros(4, dtype=torch.int32), torch.zeros(4, dtype=torch.complex64), torch.tensor(1.0)]
)
def test_other_kinds_are_refused(x):
    with pytest.raises(InputError, match="hadamard got"):
        hadamard(x)
