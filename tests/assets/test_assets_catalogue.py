"""The catalogue: the built-in one is sound, and a wrong one is refused with the reason."""

import pytest

from fullduplex.assets.catalogue import HubPart, PackagePart, builtin_catalogue, parse_catalogue, parse_part
from fullduplex.base.errors import AssetError, FormatError

GOOD = f"""
[packages]
"pypi:some-package==1.0" = {{ size_bytes = 10 }}
[[asset]]
name = "one"
kind = "vad"
title = "One"
licence = "MIT"
notes = ""
[[asset.file]]
name = "a.bin"
size_bytes = 3
sha256 = "{"0" * 64}"
sources = ["hub:owner/name@main:a/b.bin", ["pypi:some-package==1.0:x/1", "pypi:some-package==1.0:x/2"]]
"""


def test_builtin_defaults_are_small_enough() -> None:
    catalogue = builtin_catalogue()
    assert catalogue.download_bytes(catalogue.defaults()) < 400e6
    kinds = {catalogue.asset(name).kind for name in catalogue.defaults()}
    assert kinds == {"vad", "recogniser", "turn_end", "voice", "lexicon", "brain"}


def test_builtin_hashes_are_the_published_ones() -> None:
    """SHA-256 noted independently of the catalogue when the files were first measured."""
    known = {
        "moonshine-tiny-en/encoder_model.ort": "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
        "moonshine-tiny-en/decoder_model_merged.ort": (
            "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0"
        ),
        "smart-turn-v3.2/smart-turn-v3.2-cpu.onnx": "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
        "piper-joe/en_US-joe-medium.onnx": "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
        "smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf": (
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
        ),
    }
    assets = builtin_catalogue().assets.values()
    mine = {f"{asset.name}/{file.name}": file.sha256 for asset in assets for file in asset.files}
    assert known.items() <= mine.items()


def test_builtin_packages_are_all_weighed() -> None:
    catalogue = builtin_catalogue()
    for asset in catalogue.assets.values():
        for file in asset.files:
            for part in (part for source in file.sources for part in source):
                if isinstance(part, PackagePart):
                    assert catalogue.info(part.package).size_bytes > 0, part


def test_reads_sources_in_order() -> None:
    file = parse_catalogue(GOOD).asset("one").files[0]
    assert file.sources[0] == (HubPart(repository="owner/name", revision="main", path="a/b.bin"),)
    assert [str(part) for part in file.sources[1]] == ["pypi:some-package==1.0:x/1", "pypi:some-package==1.0:x/2"]


def test_a_shared_package_is_counted_once() -> None:
    assert parse_catalogue(GOOD).download_bytes(("one",)) == 10


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('kind = "vad"', 'kin = "vad"', "did you mean 'kind'"),
        ('licence = "MIT"', "", "missing licence"),
        ("size_bytes = 3", 'size_bytes = "3"', "size_bytes must be int"),
        ("size_bytes = 3", "size_bytes = 0", "positive size_bytes"),
        ("size_bytes = 3", "size_bytes = true", "size_bytes must be int"),
        (f'"{"0" * 64}"', '"xyz"', "64 lower-case hex"),
        ('name = "a.bin"', 'name = "../a.bin"', "file name"),
        ('name = "one"', 'name = "../one"', "the name must be"),
        ("hub:owner/name@main:a/b.bin", "hub:owner/name@main:../b", "relative path"),
        ("hub:owner/name@main:a/b.bin", "ftp://a/b", "is not one of hub:"),
        ("[[asset]]", "[[asset]", "is not TOML"),
    ],
)
def test_wrong_catalogues_are_refused(old: str, new: str, reason: str) -> None:
    assert old in GOOD
    with pytest.raises(FormatError, match=reason):
        parse_catalogue(GOOD.replace(old, new))


def test_twice_the_same_asset_is_refused() -> None:
    with pytest.raises(FormatError, match="twice"):
        parse_catalogue(GOOD + GOOD[GOOD.index("[[asset]]") :])


def test_unknown_asset_names_the_nearest() -> None:
    with pytest.raises(AssetError, match="did you mean 'silero-vad'"):
        builtin_catalogue().asset("silero")


def test_npm_scopes_are_read() -> None:
    part = parse_part("npm:@scope/name@1.2.3:package/a.bin")
    assert isinstance(part, PackagePart)
    assert part.package.requirement == "@scope/name@1.2.3"
