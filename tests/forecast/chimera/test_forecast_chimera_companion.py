"""The companion system: its matrices are companion, its recurrence is the dense one, and it streams."""

import pytest

pytest.importorskip("torch")

import torch

from contracts.streaming import CHECKS
from fullduplex.base.errors import ConfigError
from fullduplex.forecast.chimera.companion import CompanionCore
from fullduplex.forecast.chimera.config import ChimeraConfig, HeadConfig
from fullduplex.forecast.chimera.layer import Chimera
from fullduplex.forecast.chimera.special import companion
from fullduplex.nn.mamba.exact import StepStart

HEAD = HeadConfig(time=StepStart(shortest=0.1, longest=1.0))


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_core(order=4):
    config = ChimeraConfig(width=2, expand=1, order=order, transition="companion")
    return CompanionCore(config, HEAD, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("order", [2, 4, 8])
def test_the_transition_is_a_companion_matrix_with_stable_roots(order):
    core = make_core(order)
    with torch.no_grad():
        basis, roots = core.basis(), core.roots()
        a1 = torch.linalg.inv(basis) @ torch.diag_embed(roots) @ basis
        rounding = 1e-14 * torch.linalg.cond(basis).max().item()
        assert a1.imag.abs().max() < rounding < 2e-11
        for matrix in a1.real:
            torch.testing.assert_close(matrix, companion(matrix[:, -1]), rtol=0, atol=rounding)
        assert (roots.real < 0).all()
        for matrix, last in zip(core.coupling() / core.gain_E[:, None, None], core.last_EN, strict=True):
            torch.testing.assert_close(matrix, companion(last))


def test_the_recurrence_is_the_dense_one_by_matrix_exponentials():
    core, u = make_core(), noise(1, 6, 3, 2)
    with torch.no_grad():
        got, _ = core.scan(u, core.init(1, 3))
        b1, c1, step1 = core.along.ports(u)
        _, decay2, enter2, c2 = core.across(u)
        basis = core.basis()
        a1 = (torch.linalg.inv(basis) @ torch.diag_embed(core.roots()) @ basis).real
        eye, k2 = torch.eye(4, dtype=torch.float64), core.coupling()
        for e in range(2):
            h1 = {(-1, v): torch.zeros(4, dtype=torch.float64) for v in range(3)}
            h2 = dict(h1)
            for t in range(6):
                for v in range(3):
                    grown = torch.matrix_exp(step1[0, t, v, e, 0] * a1[e])
                    held = torch.linalg.solve(a1[e], grown - eye)
                    h1[t, v] = grown @ h1[t - 1, v] + held @ (k2[e] @ h2[t - 1, v] + b1[0, t, v, 0] * u[0, t, v, e])
                    a4 = decay2[0, t, v, e]
                    below = (1 - a4) * torch.tanh(core.w3_EN[e]) * h1[t, v - 1] + a4 * h2[t, v - 1] if v else 0
                    h2[t, v] = below + enter2[0, t, v, e]
                    y = c1[0, t, v, 0] @ h1[t, v] + c2[0, t, v, 0] @ h2[t, v] + core.skip_E[e] * u[0, t, v, e]
                    torch.testing.assert_close(got[0, t, v, e], y, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("check", CHECKS)
def test_streaming_contract(check, tmp_path):
    config = ChimeraConfig(width=2, expand=1, order=2, transition="companion", heads=(HEAD,))
    layer = Chimera(config, 3, generator=torch.Generator().manual_seed(0)).double()
    CHECKS[check](layer, noise(3, 37, 3, 2), tmp_path)


def test_what_a_companion_cannot_be_joined_with_is_refused():
    for options in (
        {"coupling": "pooled"},
        {"discretisation": "paper"},
        {"hold": "euler"},
        {"order": 3},
        {"order": 10},
    ):
        with pytest.raises(ConfigError, match="companion"):
            ChimeraConfig(width=2, transition="companion", **options)
    with pytest.raises(ConfigError, match="transition"):
        ChimeraConfig(width=2, transition="dense")
