"""Finding assets on disk."""

from pathlib import Path

import pytest

from assets.conftest import CONTENT, catalogue_of
from fullduplex.assets.store import find, path, store_root, verify
from fullduplex.base.errors import AssetError

CATALOGUE = catalogue_of('["hub:owner/name@main:model.bin"]')


def install(store: Path, data: bytes = CONTENT) -> None:
    (store / "tiny").mkdir(parents=True)
    (store / "tiny" / "model.bin").write_bytes(data)


def test_the_variable_is_read_at_each_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path / "a"))
    assert store_root() == tmp_path / "a"
    monkeypatch.delenv("FULLDUPLEX_ASSETS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store_root() == tmp_path / ".cache" / "fullduplex" / "assets"


def test_find_needs_every_byte_counted(store: Path) -> None:
    assert find("tiny", CATALOGUE) is None
    install(store, CONTENT[:-1])
    assert find("tiny", CATALOGUE) is None
    (store / "tiny" / "model.bin").write_bytes(CONTENT)
    assert find("tiny", CATALOGUE) == store / "tiny"


def test_path_says_what_to_run(store: Path) -> None:
    with pytest.raises(AssetError, match="run: fullduplex assets get tiny"):
        path("tiny", catalogue=CATALOGUE)
    install(store)
    assert path("tiny", "model.bin", CATALOGUE) == store / "tiny" / "model.bin"
    with pytest.raises(AssetError, match=r"no file 'modell.bin'; it has: model.bin"):
        path("tiny", "modell.bin", CATALOGUE)


def test_verify_says_what_is_wrong(store: Path) -> None:
    assert "No such file" in verify("tiny", CATALOGUE)[0]
    install(store)
    assert verify("tiny", CATALOGUE) == ()
    (store / "tiny" / "model.bin").write_bytes(CONTENT[:-1])
    assert "107999 bytes, expected 108000" in verify("tiny", CATALOGUE)[0]
    (store / "tiny" / "model.bin").write_bytes(b"!" + CONTENT[1:])
    assert "SHA-256" in verify("tiny", CATALOGUE)[0]
