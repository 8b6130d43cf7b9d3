"""Which library carries llama.cpp: a compiled one that does not work, or is another version, gives way to the wheel."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fullduplex.lm.engine import llama_cpp as engine

pytest.importorskip("cyllama", reason="needs the extra talk")

COMPILED = "fullduplex.lm.engine.compiled"


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in sys.modules if name == COMPILED or name.partition(".")[0] == "llama_cpp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("fullduplex.lm.engine.compiled", raising=False)
    engine._library.cache_clear()
    yield
    engine._library.cache_clear()


@pytest.mark.parametrize(
    ("init", "told"),
    [
        ("raise RuntimeError('Failed to load shared library')", "Failed to load"),
        ("raise FileNotFoundError('no libllama.so')", "no libllama"),
        ("import a_package_that_nobody_has", "a_package_that_nobody_has"),
        ("__version__ = '0.2.0'", "0.2.0"),
        ("__version__ = '0.3.36'", "llama_model_default_params"),
    ],
)
def test_a_library_that_does_not_work_gives_way(
    init: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "llama_cpp").mkdir()
    (tmp_path / "llama_cpp/__init__.py").write_text(init + "\n")
    (tmp_path / "llama_cpp/llama_cpp.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert engine._library().__name__ == "cyllama.llama.llama_cpp"
    assert told in caplog.text and "the wheel is taken" in caplog.text


def test_without_it_nothing_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with caplog.at_level(logging.WARNING):
        assert engine._library().__name__ == "cyllama.llama.llama_cpp"
    assert not caplog.text
