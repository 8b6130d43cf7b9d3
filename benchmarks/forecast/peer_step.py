"""One training step of TimeMixer, ours or neuralforecast's, in a process of its own: time and peak of memory.

Started by `timemixer.py`, once for each, so that neither's libraries weigh on the other. Both have the paper's sizes for
ETTh1 (96 to 96, 7 channels alone, 3 coarser scales, 2 blocks, width 16), the same batch, squared error and Adam, one thread.
Prints one JSON line.

    python benchmarks/forecast/peer_step.py ours|peer
"""

import json
import logging
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

BATCH, CHANNELS, CONTEXT, HORIZON, STEPS = 128, 7, 96, 96, 12


def ours() -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """Model, and forecasts (B, C, H) of windows (B, C, L)."""
    from fullduplex.forecast.timemixer.config import TimeMixerConfig
    from fullduplex.forecast.timemixer.model import TimeMixer

    model = TimeMixer(TimeMixerConfig(context=CONTEXT, horizon=HORIZON, num_channels=CHANNELS))
    return model, model


def peer() -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """The same of neuralforecast; its axes are (B, L, C)."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from neuralforecast.losses.pytorch import MSE  # pyright: ignore[reportMissingImports]
    from neuralforecast.models import TimeMixer  # pyright: ignore[reportMissingImports]

    model = TimeMixer(
        h=HORIZON, input_size=CONTEXT, n_series=CHANNELS, d_model=16, d_ff=32, e_layers=2, dropout=0.1,
        channel_independence=1, down_sampling_layers=3, loss=MSE(), accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
    )  # fmt: skip
    return model, lambda x: model({"insample_y": x.transpose(1, 2), "futr_exog": None}).transpose(1, 2)


def peak_mb() -> float:
    """Most memory this process has had since `reset_peak`, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def reset_peak() -> None:
    """Forget the peak that the imports left (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Measure one of the two."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, forecast = {"ours": ours, "peer": peer}[sys.argv[1]]()
    model.train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = torch.randn(BATCH, CHANNELS, CONTEXT), torch.randn(BATCH, CHANNELS, HORIZON)
    reset_peak()
    before_mb, durations_s = peak_mb(), []
    for _ in range(STEPS):
        start_s = time.process_time()
        loss = nn.functional.mse_loss(forecast(x), y)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        durations_s.append(time.process_time() - start_s)
    made = {
        "step_ms": 1e3 * statistics.median(durations_s[2:]),
        "peak_mb": peak_mb(),
        "step_peak_mb": peak_mb() - before_mb,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    print(json.dumps(made))


if __name__ == "__main__":
    main()
