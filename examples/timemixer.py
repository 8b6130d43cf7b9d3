"""Forecast two series with TimeMixer, beside the baselines it has to beat.

python examples/timemixer.py
"""

import numpy as np
import torch

from fullduplex.forecast.backtest import backtest, prepare
from fullduplex.forecast.baselines import LinearForecaster, SeasonalNaive
from fullduplex.forecast.epochs import EpochsConfig
from fullduplex.forecast.timemixer.config import TimeMixerConfig
from fullduplex.forecast.timemixer.fit import TimeMixerForecaster
from fullduplex.forecast.windows import Split

torch.set_num_threads(1)
rng, time = np.random.default_rng(0), np.arange(1_000)
day, week = np.sin(2 * np.pi * time / 24), np.sin(2 * np.pi * time / 168)
values = np.stack([day + week, day * (1 + week)], axis=1) + 0.1 * rng.standard_normal((1_000, 2))

prepared = prepare(values, Split(train=700, validate=150, test=150), season=24)
mixer = TimeMixerForecaster(
    config=TimeMixerConfig(context=96, horizon=24, num_channels=2, num_scales=2, width=8, hidden=16),
    fit_config=EpochsConfig(num_epochs=4, batch_size=64),
)
for forecaster in (SeasonalNaive(context=96, horizon=24), LinearForecaster(context=96, horizon=24), mixer):
    result = backtest(forecaster, prepared)
    print(f"{result.name:<15} MSE {result.mse:.4f}  MAE {result.mae:.4f}  over all {result.num_windows} test windows")
