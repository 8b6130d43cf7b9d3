"""Every test starts from the same random numbers, whichever tests ran before it in the same process.

Workers share the cores: each computes with one thread, and so do the programs it starts. Threads of several workers that wait
for each other in a spin take most of the time of small matrices.
"""

import os
import random
import sys

import hypothesis

if "PYTEST_XDIST_WORKER" in os.environ:  # before the first import of numpy or torch
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

# What property tests draw is the same every time; HYPOTHESIS_PROFILE=random looks further.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.register_profile("random", print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_runtest_setup(item):
    random.seed(0)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)
