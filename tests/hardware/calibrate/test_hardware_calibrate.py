"""The fit finds constants that made the data, and predicts measured kernels on shapes it has not seen."""

import csv
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.hardware.calibrate.fit import Fit, fit_roofline
from fullduplex.hardware.device import Device
from fullduplex.hardware.workload import Work, gemm

PROFILES = Path(__file__).parents[4] / "shared" / "data" / "vidur" / "profiling" / "compute"
A100 = Device(flops_per_s=312e12, bytes_per_s=2.039e12, capacity_bytes=80e9, source="NVIDIA A100 80 GB SXM data sheet")
A40 = Device(flops_per_s=149.7e12, bytes_per_s=0.696e12, capacity_bytes=48e9, source="NVIDIA A40 data sheet, dense")


def test_the_fit_finds_the_constants_that_made_the_times() -> None:
    rng = np.random.default_rng(0)
    work = [gemm(*(2.0 ** rng.uniform(0, 13, 3))) for _ in range(300)]
    truth = Fit(compute_share=0.7, memory_share=0.85, start_s=1e-5)
    found = fit_roofline(work, truth.seconds(work, A100), A100)
    assert found.compute_share == pytest.approx(0.7, rel=0.05)
    assert found.memory_share == pytest.approx(0.85, rel=0.05)
    assert found.start_s == pytest.approx(1e-5, rel=0.05)
    assert found.error(work, truth.seconds(work, A100), A100) < 0.01


def test_a_fit_refuses_what_it_cannot_fit() -> None:
    work = [gemm(8, 8, 8)] * 4
    with pytest.raises(InputError, match="as many"):
        fit_roofline(work, np.ones(3), A100)
    with pytest.raises(InputError, match="at least 3"):
        fit_roofline(work[:2], np.ones(2), A100)
    with pytest.raises(InputError, match="above 0"):
        fit_roofline(work, np.array([1.0, np.nan, 1.0, 1.0]), A100)


def products(file: Path) -> tuple[list[Work], np.ndarray, np.ndarray]:
    """Four products of every row: work, median seconds, tokens."""
    work, seconds, tokens = [], [], []
    with file.open(encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            hidden, inner, rows = int(row["n_embd"]), int(row["n_expanded_embd"]), int(row["num_tokens"])
            ways = int(row["num_tensor_parallel_workers"])
            keys = 2 * hidden * int(row["n_kv_head"]) // int(row["n_head"])
            shapes = {
                "attn_pre_proj": (hidden, (hidden + keys) / ways), "attn_post_proj": (hidden / ways, hidden),
                "mlp_up_proj": (hidden, (1 + (row["use_gated_mlp"] == "True")) * inner / ways),
                "mlp_down_proj": (inner / ways, hidden),
            }  # fmt: skip
            for name, (k, n) in shapes.items():
                work.append(gemm(rows, k, n))
                seconds.append(float(row[f"time_stats.{name}.median"]) / 1000)
                tokens.append(rows)
    return work, np.array(seconds), np.array(tokens)


@pytest.mark.parametrize(("name", "device"), [("a100", A100), ("a40", A40)])
def test_measured_products_on_token_counts_held_out_of_the_fit(name: str, device: Device) -> None:
    """Llama 2 70 B on real devices (the Vidur profiles, MIT licence): mean error at most 10 % on unseen token counts."""
    file = PROFILES / name / "meta-llama" / "Llama-2-70b-hf" / "mlp.csv"
    if not file.is_file():
        pytest.skip("the Vidur kernel profiles are not beside this checkout")
    work, seconds, tokens = products(file)
    unseen = np.isin(tokens, np.unique(tokens)[1::2])
    fit = fit_roofline([item for item, out in zip(work, unseen, strict=True) if not out], seconds[~unseen], device)
    held_out = [item for item, out in zip(work, unseen, strict=True) if out]
    naive = Fit(compute_share=1.0, memory_share=1.0, start_s=0.0)
    error = fit.error(held_out, seconds[unseen], device)
    assert error <= 0.10
    assert error < 0.5 * naive.error(held_out, seconds[unseen], device)
