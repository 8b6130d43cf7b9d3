"""Every test starts from the same random numbers, whichever tests ran before it in the same process."""

import random
import sys


def pytest_runtest_setup(item):
    random.seed(0)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)
