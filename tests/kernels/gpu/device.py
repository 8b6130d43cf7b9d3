"""Where tests of Triton kernels run: on a GPU where there is one, else in Triton's interpreter where it is asked for."""

import os

import pytest
import torch

__all__ = ["DEVICE", "INTERPRETED", "complex_noise", "need_device", "noise"]

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"


def need_device() -> None:
    """Skip the module that calls this if neither is there."""
    pytest.importorskip("triton", reason="Triton is not installed")
    if not (torch.cuda.is_available() or INTERPRETED):
        pytest.skip("no GPU here; TRITON_INTERPRET=1 runs these tests in Triton's interpreter", allow_module_level=True)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def complex_noise(*shape, seed=0):
    return torch.complex(noise(*shape, seed=seed), noise(*shape, seed=seed + 50)).to(torch.complex128)
