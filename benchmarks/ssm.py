"""Mamba and Mamba-2 beside transformers and mambapy, every kernel above the floor of this machine, and the search of PTD.

Same weights, same process, contenders in turns; ratios are medians over neighbouring turns. A table goes to standard error
and one JSON line to standard output. `fullduplex ssm bench` runs the same code
but for the search.

    pip install -e '.[torch,peers]'
    python benchmarks/ssm.py
"""

import dataclasses
import sys

import torch

from fullduplex.ssm.bench.models import ModelSizes
from fullduplex.ssm.bench.report import make_record, run_bench, table
from fullduplex.ssm.bench.search import compare_search


def main() -> None:
    """Measure and print."""
    # One thread: with more, a busy neighbour decides the figures.
    torch.set_num_threads(1)
    sizes = ModelSizes()

    def show(name: str) -> None:
        print(name, file=sys.stderr)

    result = run_bench(sizes, progress=show)
    search = compare_search(64, result.floors, show)
    result = dataclasses.replace(result, comparisons=(*result.comparisons, search))
    print(table(result.comparisons), file=sys.stderr)
    print(make_record(result, sizes, 0).to_json())


if __name__ == "__main__":
    main()
