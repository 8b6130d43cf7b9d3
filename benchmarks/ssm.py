"""Mamba and Mamba-2 beside transformers and mambapy, and every kernel above the floor of this machine.

Same weights, same process, contenders in turns; ratios are medians over neighbouring turns. A table goes to standard error
and one JSON line to standard output. `fullduplex ssm bench` runs the same code.

    pip install -e '.[torch,peers]'
    python benchmarks/ssm.py
"""

import sys

import torch

from fullduplex.ssm.bench.models import ModelSizes
from fullduplex.ssm.bench.report import make_record, run_bench, table


def main() -> None:
    """Measure and print."""
    # One thread: with more, a busy neighbour decides the figures.
    torch.set_num_threads(1)
    sizes = ModelSizes()
    result = run_bench(sizes, progress=lambda name: print(name, file=sys.stderr))
    print(table(result.comparisons), file=sys.stderr)
    print(make_record(result, sizes, 0).to_json())


if __name__ == "__main__":
    main()
