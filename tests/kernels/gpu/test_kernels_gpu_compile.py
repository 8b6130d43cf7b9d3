"""Every Triton kernel compiles to the machine code of a GPU, whether or not there is one: no launch, no numbers."""

import os
import subprocess
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

import torch

triton = pytest.importorskip("triton", reason="Triton is not installed")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("TRITON_INTERPRET=1 has replaced the compiler", allow_module_level=True)

from fullduplex.kernels.gpu import cauchy, conv, hadamard, recurrence, ssd, vandermonde  # noqa: E402

_POINTERS = {torch.float32: "*fp32", torch.float64: "*fp64"}


@pytest.fixture(scope="module")
def assembler():
    """What turns PTX into machine code; without it there is nothing to compile to."""
    found = triton.knobs.nvidia.ptxas.path
    try:
        subprocess.run([found, "--version"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"ptxas does not run: {error}")


@pytest.fixture
def compiled(assembler, monkeypatch, tmp_path):
    """Names of the kernels that were compiled where they would have been launched."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # as it is by default; unset it warns
    names = []

    def compile_only(kernel, grid, *arguments):
        assert 1 <= len(grid) <= 3 and all(isinstance(each, int) and each > 0 for each in grid)
        kinds, constants = {}, {}
        for parameter, value in zip(kernel.params, arguments, strict=True):
            if isinstance(value, torch.Tensor):
                kinds[parameter.name] = _POINTERS[value.dtype]
            elif parameter.is_constexpr or value == 1:  # a launch, too, makes a one part of the program
                kinds[parameter.name], constants[parameter.name] = "constexpr", value
            else:
                kinds[parameter.name] = "i32"
        source = ASTSource(kernel, kinds, constants)
        assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]
        names.append(kernel.__name__)

    for module in (cauchy, conv, hadamard, recurrence, ssd, vandermonde):
        monkeypatch.setattr(module, "launch", compile_only)
    return names


def scan(at):
    recurrence.scan_gpu(at.real(at.some, 9, 70), at.real(at.some, 9, 70), at.real(at.some, 70), reverse=False)
    return ["_scan_kernel"]


def complex_scan(at):
    shape = (at.some, 9, 70)
    recurrence.scan_gpu(at.complex(*shape), at.complex(*shape), at.complex(at.some, 70), reverse=True)
    return ["_complex_scan_kernel"]


def selective(at):
    streams = [at.real(2, at.some, 70).requires_grad_() for _ in range(2)]
    order, steps = (16, at.some)
    rest = [at.real(*shape) for shape in ((2, steps, order), (2, steps, order), (70, order), (70,), (2, 70, order))]
    y, _ = recurrence.selective_gpu(*streams, *rest)
    y.sum().backward()
    return ["_selective_kernel", "_selective_backward_kernel"]


def duality(at):
    v, k = at.real(2, 9, at.some, 20), at.real(2, 9, at.some, 16)
    gains = [at.real(2, 9, 2 * at.some) for _ in range(2)]
    state = at.real(2, 2 * at.some, 20, 16)
    ssd.pass_gpu(ssd.Pass(v=v, k=k, q=k, decay_BQH=gains[0], weight_BQH=gains[1], state_BHIJ=state))
    return ["_pass_kernel"]


def convolution(at):
    conv.conv_gpu(at.real(2, 9, 70), at.real(70, at.some), at.real(70), at.real(2, at.some - 1, 70), silu=True)
    return ["_conv_kernel"]


def butterflies(at):
    hadamard.butterflies_gpu(at.real(2, 1 if at.some == 1 else 1024), 1 if at.some == 1 else 1024)
    return ["_butterflies_kernel"]


def cauchy_sums(at):
    v, mu, node = at.complex(2, at.some, 5), at.complex(2, 5), at.complex(9)
    cauchy.cauchy_gpu(v, mu, node, node)
    return ["_sums_kernel"]


def cauchy_gradients(at):
    v, mu, node = at.complex(2, at.some, 5), at.complex(2, 5), at.complex(9)
    cauchy.cauchy_backward_gpu(v, mu, node, node, at.complex(2, at.some, 9))
    return ["_backward_kernel"]


def powers(at):
    c, a = at.complex(2, at.some**3).requires_grad_(), at.complex(2, at.some**3).to(torch.complex128)
    vandermonde.unroll_gpu(c, a, 100 * at.some).sum().backward()
    vandermonde.gather_gpu(at.real(2, 100), a)
    return ["_unroll_kernel", "_moments_kernel", "_moments_kernel"]


RUNS = (scan, complex_scan, selective, duality, convolution, butterflies, cauchy_sums, cauchy_gradients, powers)


@pytest.mark.parametrize(
    ("dtype", "some"),
    [(torch.float32, 3), (torch.float64, 3), (torch.float32, 1)],
    ids=["single", "double", "sizes-of-one"],
)
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_kernel_compiles(run, dtype, some, compiled):
    def make(*shape, dtype=dtype):
        return torch.ones(shape, dtype=dtype)

    at = SimpleNamespace(some=some, real=make, complex=lambda *shape: make(*shape, dtype=dtype.to_complex()))
    assert run(at) == compiled
