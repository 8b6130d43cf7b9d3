"""The smallest real model, loaded once; tests that need it skip with a reason when it is not installed."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from fullduplex.assets.store import find
from fullduplex.lm.llama import LlamaBrain


@pytest.fixture(scope="session")
def model_path() -> Path:
    if importlib.util.find_spec("cyllama") is None:
        pytest.skip("cyllama is not installed")
    folder = find("smollm2-135m-instruct")
    if folder is None:
        pytest.skip("asset missing; run: fullduplex assets get smollm2-135m-instruct")
    return folder / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def shared_brain(model_path: Path) -> Iterator[LlamaBrain]:
    brain = LlamaBrain(model_path, context=1024, slots=4)
    yield brain
    brain.close()


@pytest.fixture
def brain(shared_brain: LlamaBrain) -> Iterator[LlamaBrain]:
    """A brain that has read nothing."""
    yield shared_brain
    keys = shared_brain._table.keys()
    for key in keys:
        shared_brain.forget(key)
