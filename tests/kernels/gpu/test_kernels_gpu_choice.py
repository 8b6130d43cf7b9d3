"""The public functions take the Triton path for tensors on a GPU, and give what their references give."""

import importlib

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from fullduplex.kernels.cauchy import cauchy_sums, cauchy_sums_ref
from fullduplex.kernels.conv import causal_conv, causal_conv_ref
from fullduplex.kernels.hadamard import hadamard, hadamard_ref
from fullduplex.kernels.scan import linear_scan, linear_scan_ref
from fullduplex.kernels.selective import SelectiveSystem, selective_scan, selective_scan_ref
from fullduplex.kernels.ssd import ssd, ssd_ref
from fullduplex.kernels.vandermonde import gather_powers, gather_powers_ref, unroll_powers, unroll_powers_ref
from kernels.gpu.device import INTERPRETED, complex_noise, need_device, noise

need_device()


def selective(run):
    """With gate, bias and softplus."""

    def named(x, dt, b, c, rate, skip, bias, h0, z):
        return run(x, dt, b, c, SelectiveSystem(rate, skip, bias), h0, z)

    return named


def of(run, *constants):
    return lambda *leaves: run(*leaves, *constants)


def wave(nodes):
    z = torch.polar(torch.ones(nodes), torch.linspace(0, 6, nodes)).to(noise(1).device).to(torch.complex128)
    return 1 - z, (1 + z) / 2


def cases():
    x, step = noise(2, 9, 5), functional.softplus(noise(2, 9, 5, seed=1))
    b, c = noise(2, 9, 3, seed=2), noise(2, 9, 3, seed=3)
    system = -noise(5, 3, seed=4).exp(), noise(5, seed=5), noise(5, seed=6)
    heads = (
        noise(2, 9, 4, 5),
        functional.softplus(noise(2, 9, 4)),
        -noise(4).exp(),
        noise(2, 9, 2, 3),
        noise(2, 9, 2, 3, seed=1),
    )
    turn = complex_noise(3, 7)
    turn = turn / (1 + turn.abs())
    return {
        "scan": (linear_scan, linear_scan_ref, (x.sigmoid(), x, x[:, 0])),
        "selective": (selective(selective_scan), selective(selective_scan_ref), (x, step, b, c, *system, noise(2, 5, 3), x)),
        "ssd": (ssd, ssd_ref, (*heads, noise(2, 4, 5, 3))),
        "conv": (causal_conv, causal_conv_ref, (x, noise(5, 4), noise(5), noise(2, 3, 5))),
        "hadamard": (hadamard, hadamard_ref, (noise(3, 96),)),
        "cauchy": (of(cauchy_sums, *wave(9)), of(cauchy_sums_ref, *wave(9)), (complex_noise(2, 3, 5), complex_noise(2, 5) - 8)),
        "unroll": (of(unroll_powers, 70), of(unroll_powers_ref, 70), (complex_noise(2, 3, 7), turn)),
        "gather": (gather_powers, gather_powers_ref, (noise(2, 3, 70), turn)),
    }  # fmt: skip


MODULES = {"scan": "recurrence", "selective": "recurrence", "unroll": "vandermonde", "gather": "vandermonde"}


def test_rows_that_are_longer_than_a_program(monkeypatch):
    monkeypatch.setattr("fullduplex.kernels.hadamard._LARGEST_ROW", 2)
    test_forward_and_gradients("hadamard", monkeypatch)


@pytest.mark.parametrize("name", ["scan", "selective", "ssd", "conv", "hadamard", "cauchy", "unroll", "gather"])
def test_forward_and_gradients(name, monkeypatch):
    if INTERPRETED:  # the tensors are where the compiled path could read them
        chosen = importlib.import_module(f"fullduplex.kernels.{MODULES.get(name, name).replace('recurrence', name)}")
        monkeypatch.setattr(chosen, "triton_for", lambda *tensors: all(each.numel() for each in tensors))
        monkeypatch.setenv("FULLDUPLEX_NATIVE", "off")
    module = importlib.import_module(f"fullduplex.kernels.gpu.{MODULES.get(name, name)}")
    launched, launch = [], module.launch
    monkeypatch.setattr(module, "launch", lambda *arguments: (launched.append(name), launch(*arguments)))
    run, run_ref, leaves = cases()[name]
    wide = [leaf.to(torch.complex128 if leaf.is_complex() else torch.float64).requires_grad_() for leaf in leaves]
    got, expected = (each if isinstance(each, tuple) else (each,) for each in (run(*wide), run_ref(*wide)))
    forward = len(launched)
    weights = [torch.ones_like(each) for each in expected]
    found, wanted = torch.autograd.grad(got, wide, weights), torch.autograd.grad(expected, wide, weights)
    assert 0 < forward < len(launched), "both ways are kernels"
    for one, other in zip((*got, *found), (*expected, *wanted), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
