"""Point a holographic surface at someone with 100 pilots, and sixteen microphones at a talker (2401.05420).

python examples/holobeam.py
"""

import numpy as np

from fullduplex.links.beam.align import AlignConfig, align, random_directions
from fullduplex.links.beam.bound import error_bound
from fullduplex.links.beam.grid import check_unimodal, exact_grid
from fullduplex.links.beam.microphones import Line, arrive, find_talker
from fullduplex.links.beam.noise import Noise, noise_from_snr
from fullduplex.links.beam.surface import Surface, gain

surface = Surface(size=32)  # wavelengths along each axis: 65 x 65 beams
grid = exact_grid(surface)
print(f"unimodal on the exact grid: {check_unimodal(surface, grid).share:.0%} of directions")
print(f"on a grid of half the step: {check_unimodal(surface, np.arange(-64, 65) / 64).share:.1%}")

settings = AlignConfig(first=surface, second=surface, budget=100, noise=noise_from_snr(70), shift=True)
directions = random_directions(settings, 2000, seed=0)
for method in ("holobeam", "holobeam-fan", "halving-fan", "hierarchical"):
    found = align(settings, method, directions, seed=0)
    print(f"{method:<14} {found.right_B.mean():.0%} on the best beam, {found.ratio_B.mean():.0%} of its power")

small = Surface(size=4)
power = gain(small, 0.13 - exact_grid(small)) ** 2
reports = Noise(law="gaussian", sigma=0.05)
for budget in (1000, 10_000, 100_000):
    print(f"{budget} pilots: the error of one axis is at most {error_bound(power, budget, reports):.2g}")

rate_hz, line = 16_000, Line(microphones=16, spacing_m=0.04)
talker = np.random.default_rng(0).standard_normal(rate_hz).astype(np.float32)
heard = arrive(talker, line, 0.43, rate_hz, noise_db=20, seed=1)
print(f"talker at 0.43, found at {find_talker(heard, line, rate_hz, frequency_hz=2500, budget=150):.2f}")
