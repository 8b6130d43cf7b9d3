"""Every test starts from the same random numbers, whichever tests ran before it in the same process."""

import os
import random
import sys

import hypothesis

# What property tests draw is the same every time; HYPOTHESIS_PROFILE=random looks further.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.register_profile("random", print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_runtest_setup(item):
    random.seed(0)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)
