"""Asking the registries' clients."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from fullduplex.assets.catalogue import Package, PackageInfo
from fullduplex.assets.packages import archive_name_matches, download_command
from fullduplex.base.errors import AssetError

WHEEL = Package(registry="pypi", name="Some-Package", version="1.0")
TARBALL = Package(registry="npm", name="some-package", version="1.0")


def test_pip_is_asked_for_wheels_only_and_no_dependencies(tmp_path: Path) -> None:
    command = download_command(WHEEL, PackageInfo(size_bytes=1, platform="manylinux_2_34_x86_64"), tmp_path)
    assert command[:3] == [sys.executable, "-m", "pip"]
    assert {"download", "--no-deps", "--only-binary=:all:", "Some-Package==1.0"} <= set(command)
    assert command[-2:] == ["--platform", "manylinux_2_34_x86_64"]
    assert not any("index" in word or "://" in word for word in command)


def test_npm_packs_without_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    command = download_command(TARBALL, PackageInfo(size_bytes=1), tmp_path)
    assert command[:3] == ["/bin/npm", "pack", "some-package@1.0"]
    assert "--ignore-scripts" in command


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(AssetError, match="needs npm"):
        download_command(TARBALL, PackageInfo(size_bytes=1), tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(AssetError, match="ensurepip"):
        download_command(WHEEL, PackageInfo(size_bytes=1), tmp_path)


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("some_package-1.0-py3-none-any.whl", True),
        ("Some_Package-1.0-1build-py3-none-any.whl", True),
        ("some_package-1.0.1-py3-none-any.whl", False),
        ("other_package-1.0-py3-none-any.whl", False),
        ("some_package-1.0.tar.gz", False),
    ],
)
def test_wheels_are_known_by_their_names(name: str, matches: bool) -> None:
    assert archive_name_matches(WHEEL, name) is matches


def test_tarballs_are_known_by_their_names() -> None:
    assert archive_name_matches(TARBALL, "some-package-1.0.tgz")
    assert not archive_name_matches(TARBALL, "some-package-1.1.tgz")
