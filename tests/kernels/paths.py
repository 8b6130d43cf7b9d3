"""Every path a kernel can take, for tests that hold each of them to the same reference."""

import pytest

from fullduplex.kernels.native.library import native

__all__ = ["choose_path"]


def choose_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the kernels take the path `name`, or skip."""
    monkeypatch.setenv("FULLDUPLEX_NATIVE", "off" if name == "torch" else "on")
    if name == "compiled" and native() is None:
        pytest.skip("no C compiler here")
