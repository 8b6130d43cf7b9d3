"""Train three tiny patch Transformers, then fit laws to runs, and see one refused.

python examples/tsfm_scaling.py
"""

import numpy as np
import torch

from fullduplex.forecast.foundation.config import PatchConfig, block_parameters
from fullduplex.forecast.foundation.corpus import last_windows, make_series, training_windows
from fullduplex.forecast.foundation.pretrain import PretrainConfig, pretrain, score_next_patch
from fullduplex.forecast.scaling_law.fit import FitConfig, HopelessRunsError, fit_law

torch.set_num_threads(1)
windows = training_windows([make_series(index, 160) for index in range(200)], 40, 8, 8)
tests = last_windows([make_series(index, 160, seed=1) for index in range(100)], 40, 8)
sizes, losses = [], []
for width, layers in ((8, 1), (24, 1), (32, 2)):
    config = PatchConfig(kind="decoder", width=width, num_layers=layers, patch=8)
    model = pretrain(config, windows, PretrainConfig(num_steps=60, peak_lr=5e-3))
    sizes.append(block_parameters(config))
    losses.append(score_next_patch(model, tests)["crps"])
    print(f"{sizes[-1]:>6} parameters: CRPS {losses[-1]:.3f} of the deviation of the past")
try:
    fit_law(sizes, losses, FitConfig())
except HopelessRunsError as refusal:
    print(f"no law: {refusal}")

# Runs whose law is known: 0.5 + 8 N^-0.2, with an error of half a per cent.
many = np.geomspace(1e3, 1e7, 12)
known = (0.5 + 8 * many**-0.2) * np.exp(0.005 * np.random.default_rng(0).standard_normal(12))
law = fit_law(many, known, FitConfig())
low, high = law.exponent_interval
print(f"{law.chosen.form.text}: a = {law.exponent:.3f} ({low:.3f} to {high:.3f}), E = {law.floor:.3f}")
print("loss to expect at 1e8: {:.3f} ({:.3f} to {:.3f})".format(*law.at(1e8)))
