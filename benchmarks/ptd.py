"""Perturb-then-diagonalise: how fast, how well conditioned and how stable, against the procedure of the reference code.

Prints one JSON line. The peer is that procedure, written with torch and differentiated by autograd: a complex E that
starts uniform in [0, 0.1) + i [0, 0.1), Adam at 0.1 on kappa(V)^2 + lambda ||E||, no look at stability. It runs here on
the same matrix for the same number of steps. The control is a random perturbation of the size the search found.

    python benchmarks/ptd.py
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from fullduplex.base.record import Record
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.ptd.cache import cached_ptd
from fullduplex.ssm.ptd.perturb import PtdConfig, ptd
from fullduplex.ssm.ptd.spikes import discrete_modes, gain_of_modes, spike_of_legs
from fullduplex.ssm.ptd.transfer import bound_first_order, deviation, frequency_grid

ORDERS, PEER_ORDERS = (8, 16, 32, 64), (8, 16, 32)
NUM_STEPS, PRICE = 1000, 1.0


def reference_procedure(a_NN: np.ndarray, seed: int) -> tuple[float, float, float, float]:
    """Seconds, condition, ||E|| / ||A|| and abscissa of the peer."""
    torch.manual_seed(seed)
    a = torch.from_numpy(a_NN).to(torch.complex128)
    e = (0.1 * torch.complex(torch.rand(a.shape).double(), torch.rand(a.shape).double())).requires_grad_()
    optimiser = torch.optim.Adam([e], lr=0.1)
    start_s = time.perf_counter()
    for _ in range(NUM_STEPS):
        _, v = torch.linalg.eig(a + e)
        loss = torch.linalg.cond(v) ** 2 + PRICE * torch.linalg.matrix_norm(e)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    seconds_s = time.perf_counter() - start_s
    found = e.detach().numpy()
    values, v_NN = np.linalg.eig(a_NN + found)
    share = np.linalg.norm(found) / np.linalg.norm(a_NN)
    return seconds_s, float(np.linalg.cond(v_NN)), float(share), float(values.real.max())


def measure(order: int) -> dict[str, float]:
    """One size: the search, its control, the peer, the cache."""
    system = transition("legs", order)
    config = PtdConfig(abscissa=-0.5, num_steps=NUM_STEPS)
    start_s = time.perf_counter()
    found = ptd(system.a_NN, config)
    seconds_s = time.perf_counter() - start_s
    report = found.report
    drawn = [
        ptd(system.a_NN, PtdConfig(method="random", size=report.relative, seed=seed, abscissa=None)).report
        for seed in range(5)
    ]
    grid = np.concatenate([frequency_grid(found.values_N), np.linspace(-(order**2), order**2, 401)])
    moved, _ = deviation(system.a_NN, found.e_NN, system.b_N, grid)
    values_M, b_M, c_M = found.modes(system.b_N, np.eye(order)[0])
    step = 1.0 / order**2
    spike = spike_of_legs(order, step, "zoh")
    gain = gain_of_modes(*discrete_modes(values_M, b_M, step, "zoh"), c_M, [spike.angle])[0]
    with tempfile.TemporaryDirectory() as folder:
        cached_ptd(system.a_NN, config, folder=Path(folder))
        start_s = time.perf_counter()
        cached_ptd(system.a_NN, config, folder=Path(folder))
        again_s = time.perf_counter() - start_s
    figures = {
        "search_s": round(seconds_s, 3),
        "cached_ms": round(1e3 * again_s, 2),
        "condition": report.condition,
        "relative": report.relative,
        "norm_e": report.norm_e,
        "abscissa": report.abscissa,
        "residual": report.residual,
        "random_condition": float(np.median([each.condition for each in drawn])),
        "random_abscissa": max(each.abscissa for each in drawn),
        "transfer_moved": moved,
        "transfer_bound": bound_first_order(order, report.norm_e),
        "spike_gain_s4d": spike.gain_diagonal,
        "spike_gain_ptd": float(gain),
        "spike_gain_legs": spike.gain_legs,
    }
    if order in PEER_ORDERS:
        peer_s, condition, relative, abscissa = reference_procedure(system.a_NN, 0)
        figures |= {
            "reference_over_search": peer_s / seconds_s,
            "reference_condition": condition,
            "reference_relative": relative,
            "reference_abscissa": abscissa,
        }
    return {f"n{order}_{name}": float(f"{value:.4g}") for name, value in figures.items()}


def main() -> None:
    """Measure and print the record."""
    # One thread: with more, a busy neighbour decides the figures.
    torch.set_num_threads(1)
    start_s = time.perf_counter()
    figures: dict[str, float] = {}
    for order in ORDERS:
        figures |= measure(order)
    record = Record(
        name="ptd",
        seed=0,
        data_hash="",
        figures=figures,
        seconds_s=round(time.perf_counter() - start_s, 2),
        config={"num_steps": NUM_STEPS, "numpy": np.__version__, "torch": torch.__version__},
    )
    print(record.to_json())


if __name__ == "__main__":
    main()
