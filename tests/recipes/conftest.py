"""Parts without models, and the real ones where they are installed."""

import importlib.util
from pathlib import Path

import pytest

from fullduplex.assets.store import find
from fullduplex.recipes.parts import Parts, PartsConfig, open_parts


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Every fallback at once: energy, no recogniser, rules, tones."""
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path / "empty"))
    return open_parts(PartsConfig(brain="scripted", voice="tones"))


@pytest.fixture(scope="session")
def real() -> Parts:
    """The default stack."""
    names = (
        "silero-vad",
        "moonshine-tiny-en",
        "smart-turn-v3.2",
        "piper-joe",
        "english-lexicon",
        "smollm2-135m-instruct",
    )
    for module in ("onnxruntime", "cyllama", "soundfile"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    for name in names:
        if find(name) is None:
            pytest.skip(f"asset missing; run: fullduplex assets get {name}")
    return open_parts(PartsConfig(strict=True))
