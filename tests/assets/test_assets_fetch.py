"""Getting assets: packages, hub, mirror, and everything that can go wrong on the way."""

import errno
import logging
import multiprocessing
import shutil
from pathlib import Path

import pytest

from assets.conftest import CONTENT, Hub, catalogue_of, sha256, write_tarball, write_wheel
from fullduplex.assets.catalogue import Catalogue, parse_catalogue
from fullduplex.assets.fetch import get
from fullduplex.assets.progress import Progress
from fullduplex.assets.store import find, path, verify
from fullduplex.base.errors import AssetError

HUB_PATH = "/owner/name/resolve/main/model.bin"
HUB = '["hub:owner/name@main:model.bin"]'
WHEEL = '["pypi:tiny-model==1.0:tiny_model/data/model.bin"]'
HUB_THEN_WHEEL = '["hub:owner/name@main:model.bin", "pypi:tiny-model==1.0:tiny_model/data/model.bin"]'


def leftovers(store: Path) -> list[str]:
    return sorted(entry.name for entry in store.iterdir() if entry.name not in {".lock", ".partial", "tiny"})


def test_takes_one_member_out_of_a_wheel_pip_downloads(index: Path, store: Path) -> None:
    write_wheel(index, "tiny-model", "1.0", {"tiny_model/data/model.bin": CONTENT, "tiny_model/__init__.py": b"1/0"})
    catalogue = catalogue_of(WHEEL)
    reports: list[Progress] = []
    assert get([], report=reports.append, catalogue=catalogue) == {"tiny": store / "tiny"}
    assert (store / "tiny" / "model.bin").read_bytes() == CONTENT
    assert [entry.name for entry in (store / "tiny").iterdir()] == ["model.bin"]
    assert verify("tiny", catalogue) == ()
    assert reports[-1].stage == "done"
    assert leftovers(store) == []


def test_joins_parts_in_order(index: Path) -> None:
    for number, part in enumerate((CONTENT[:5000], CONTENT[5000:]), 1):
        write_wheel(index, f"part{number}", "1.0", {f"part{number}/model.bin": part})
    catalogue = catalogue_of('[["pypi:part1==1.0:part1/*.bin", "pypi:part2==1.0:part2/*.bin"]]')
    assert (get(["tiny"], catalogue=catalogue)["tiny"] / "model.bin").read_bytes() == CONTENT


def test_a_package_two_assets_share_is_downloaded_once(index: Path) -> None:
    write_wheel(index, "tiny-model", "1.0", {"tiny_model/data/model.bin": CONTENT})
    one = catalogue_of(WHEEL)
    two = catalogue_of(WHEEL, name="twin")
    both = Catalogue(assets={**one.assets, **two.assets}, packages={})
    shared = index / "tiny_model-1.0-py3-none-any.whl"

    def remove_after_the_first(progress: Progress) -> None:
        if progress.stage == "done" and progress.what == "tiny":
            shared.unlink()

    assert set(get(["tiny", "twin"], report=remove_after_the_first, catalogue=both)) == {"tiny", "twin"}


def test_does_nothing_for_what_is_installed(index: Path, store: Path) -> None:
    wheel = write_wheel(index, "tiny-model", "1.0", {"tiny_model/data/model.bin": CONTENT})
    catalogue = catalogue_of(WHEEL)
    get(["tiny"], catalogue=catalogue)
    wheel.unlink()
    assert get(["tiny"], catalogue=catalogue) == {"tiny": store / "tiny"}


def test_check_replaces_what_was_changed_later(index: Path, store: Path) -> None:
    write_wheel(index, "tiny-model", "1.0", {"tiny_model/data/model.bin": CONTENT})
    catalogue = catalogue_of(WHEEL)
    file = get(["tiny"], catalogue=catalogue)["tiny"] / "model.bin"
    file.write_bytes(b"x" + CONTENT[1:])
    assert get(["tiny"], catalogue=catalogue) == {"tiny": store / "tiny"}
    assert "SHA-256" in verify("tiny", catalogue)[0]
    get(["tiny"], catalogue=catalogue, check=True)
    assert verify("tiny", catalogue) == ()
    assert leftovers(store) == []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"tiny_model/data/model.bin": CONTENT[:-1]}, "107999 bytes, expected 108000"),
        ({"tiny_model/data/model.bin": CONTENT + b"!"}, "more than the expected 108000"),
        ({"tiny_model/data/model.bin": CONTENT[:-1] + b"!"}, "SHA-256 is"),
        ({"tiny_model/data/other.bin": CONTENT}, "must match exactly one member"),
        ({"../tiny_model/data/model.bin": CONTENT}, "must match exactly one member"),
    ],
)
def test_wrong_wheels_are_refused(index: Path, store: Path, members: dict[str, bytes], reason: str) -> None:
    write_wheel(index, "tiny-model", "1.0", members)
    with pytest.raises(AssetError, match=reason):
        get(["tiny"], catalogue=catalogue_of(WHEEL))
    assert not (store / "tiny").exists()
    assert leftovers(store) == []


def test_member_names_that_leave_the_archive_are_never_opened(index: Path) -> None:
    write_wheel(index, "tiny-model", "1.0", {"../../evil/model.bin": CONTENT})
    with pytest.raises(AssetError, match="matches none"):
        get(["tiny"], catalogue=catalogue_of('["pypi:tiny-model==1.0:*model.bin"]'))


def test_a_truncated_wheel_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(tmp_path, "tiny-model", "1.0", {"tiny_model/data/model.bin": CONTENT})
    wheel.write_bytes(wheel.read_bytes()[:-200])
    monkeypatch.setenv("FULLDUPLEX_MIRROR", str(tmp_path))
    with pytest.raises(AssetError, match="damaged"):
        get(["tiny"], catalogue=catalogue_of(WHEEL))


def test_a_full_disk_is_not_a_damaged_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wheel(tmp_path, "tiny-model", "1.0", {"tiny_model/data/model.bin": CONTENT})
    monkeypatch.setenv("FULLDUPLEX_MIRROR", str(tmp_path))

    def full(progress: Progress) -> None:
        if progress.stage == "extract":
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(AssetError, match=r"cannot be written.*No space left"):
        get(["tiny"], catalogue=catalogue_of(WHEEL), report=full)


def test_a_flipped_bit_in_a_wheel_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(tmp_path, "tiny-model", "1.0", {"tiny_model/data/model.bin": CONTENT})
    data = bytearray(wheel.read_bytes())
    data[100] ^= 0x40
    wheel.write_bytes(data)
    monkeypatch.setenv("FULLDUPLEX_MIRROR", str(tmp_path))
    with pytest.raises(AssetError, match=r"damaged|SHA-256|bytes, expected|more than"):
        get(["tiny"], catalogue=catalogue_of(WHEEL))


def test_an_sdist_is_never_built(index: Path) -> None:
    write_tarball(index, "tiny_model", "1.0", {"tiny_model-1.0/setup.py": b"raise SystemExit('ran')"})
    (index / "tiny_model-1.0.tgz").rename(index / "tiny_model-1.0.tar.gz")
    with pytest.raises(AssetError) as caught:
        get(["tiny"], catalogue=catalogue_of(WHEEL))
    assert "ran" not in str(caught.value).split()


def test_npm_tarballs_come_from_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tarball(tmp_path, "scope-name", "1.2.3", {"package/model.bin": CONTENT})
    monkeypatch.setenv("FULLDUPLEX_MIRROR", str(tmp_path))
    catalogue = catalogue_of('["npm:@scope/name@1.2.3:package/model.bin"]')
    assert (get(["tiny"], catalogue=catalogue)["tiny"] / "model.bin").read_bytes() == CONTENT


def test_downloads_from_the_hub(hub: Hub, store: Path) -> None:
    hub.files[HUB_PATH] = CONTENT
    assert (get(["tiny"], catalogue=catalogue_of(HUB))["tiny"] / "model.bin").read_bytes() == CONTENT
    assert hub.requests == [(HUB_PATH, None)]
    assert list((store / ".partial").iterdir()) == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_continued(hub: Hub, store: Path, ranges: bool) -> None:
    hub.files[HUB_PATH] = CONTENT
    hub.cut_after_bytes = 40_000
    catalogue = catalogue_of(HUB)
    with pytest.raises(AssetError, match="broken off after 40000 of 108000"):
        get(["tiny"], catalogue=catalogue)
    hub.cut_after_bytes = None
    hub.ranges = ranges
    assert (get(["tiny"], catalogue=catalogue)["tiny"] / "model.bin").read_bytes() == CONTENT
    assert hub.requests[-1] == (HUB_PATH, "bytes=40000-")


def test_a_hub_file_of_another_size_is_not_downloaded(hub: Hub, store: Path) -> None:
    hub.files[HUB_PATH] = CONTENT + b"more"
    with pytest.raises(AssetError, match="has 108004 bytes, expected 108000"):
        get(["tiny"], catalogue=catalogue_of(HUB))
    assert list((store / ".partial").iterdir()) == []


def test_a_hub_file_that_hashes_wrong_falls_through(
    hub: Hub, index: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.files[HUB_PATH] = b"!" + CONTENT[1:]
    write_wheel(index, "tiny-model", "1.0", {"tiny_model/data/model.bin": CONTENT})
    catalogue = catalogue_of(HUB_THEN_WHEEL)
    with caplog.at_level(logging.INFO):
        get(["tiny"], catalogue=catalogue)
    assert "SHA-256 is" in caplog.text
    assert verify("tiny", catalogue) == ()
    assert list((store / ".partial").iterdir()) == []


def test_offline_error_names_every_source_and_what_to_do(store: Path) -> None:
    with pytest.raises(AssetError) as caught:
        get(["tiny"], catalogue=catalogue_of(HUB_THEN_WHEEL))
    message = str(caught.value)
    assert "hub:owner/name@main:model.bin: http://127.0.0.1:9/" in message
    assert "pypi:tiny-model==1.0" in message
    assert "No matching distribution found" in message
    assert "FULLDUPLEX_MIRROR" in message
    assert "fullduplex assets get tiny" in message
    assert find("tiny", catalogue_of(WHEEL)) is None


def test_an_unreachable_hub_is_asked_once(index: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_wheel(index, "tiny-model", "1.0", {"tiny_model/data/model.bin": CONTENT})
    one = catalogue_of(HUB_THEN_WHEEL)
    both = Catalogue(assets={**one.assets, **catalogue_of(HUB_THEN_WHEEL, name="twin").assets}, packages={})
    with caplog.at_level(logging.INFO):
        get(["tiny", "twin"], catalogue=both)
    assert caplog.text.count("not asked again") == 1


def test_the_mirror_is_tried_first(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files[HUB_PATH] = CONTENT
    (tmp_path / "model.bin").write_bytes(CONTENT)
    monkeypatch.setenv("FULLDUPLEX_MIRROR", str(tmp_path))
    get(["tiny"], catalogue=catalogue_of(HUB))
    assert hub.requests == []


def test_a_wrong_mirror_file_is_dropped(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub.files[HUB_PATH] = CONTENT
    (tmp_path / "model.bin").write_bytes(b"!" + CONTENT[1:])
    monkeypatch.setenv("FULLDUPLEX_MIRROR", str(tmp_path))
    get(["tiny"], catalogue=catalogue_of(HUB))
    assert "mirror file dropped" in caplog.text
    assert len(hub.requests) == 1


def test_a_mirror_that_is_no_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULLDUPLEX_MIRROR", str(tmp_path / "nothing"))
    with pytest.raises(AssetError, match="not a folder"):
        get(["tiny"], catalogue=catalogue_of(HUB))


def test_a_full_disk_is_noticed_before_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(AssetError, match="1 MB free"):
        get(["tiny"], catalogue=catalogue_of(HUB))
    assert hub.requests == []


def test_a_store_that_cannot_be_written_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path / "file" / "store"))
    with pytest.raises(AssetError, match="FULLDUPLEX_ASSETS"):
        get(["tiny"], catalogue=catalogue_of(HUB))


def test_a_crashed_run_leaves_nothing_behind(hub: Hub, store: Path) -> None:
    (store / ".work-dead").mkdir(parents=True)
    (store / "tiny").mkdir()
    (store / "tiny" / "model.bin").write_bytes(b"half")
    hub.files[HUB_PATH] = CONTENT
    get(["tiny"], catalogue=catalogue_of(HUB))
    assert leftovers(store) == []
    assert path("tiny", "model.bin", catalogue_of(HUB)).read_bytes() == CONTENT


def _get_in_a_process(results: "multiprocessing.Queue[str]") -> None:
    try:
        folder = get(["tiny"], catalogue=catalogue_of(HUB))["tiny"]
        results.put(sha256((folder / "model.bin").read_bytes()))
    except AssetError as error:
        results.put(str(error))


def test_processes_wait_for_one_another(hub: Hub) -> None:
    hub.files[HUB_PATH] = CONTENT
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_get_in_a_process, args=(results,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    results.close()
    assert found == [sha256(CONTENT)] * 3
    assert len(hub.requests) == 1


def test_unknown_names_are_refused_before_anything_is_done(store: Path) -> None:
    with pytest.raises(AssetError, match="no asset 'tinyy'"):
        get(["tinyy"], catalogue=parse_catalogue("asset = []"))
    assert not store.exists()
