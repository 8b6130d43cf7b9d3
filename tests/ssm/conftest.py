"""Perturbations searched for by a test do not end up in anybody's cache."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FULLDUPLEX_CACHE", str(Path(tmp_path_factory.mktemp("cache"))))
        yield
