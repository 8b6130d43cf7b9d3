"""The gates of the house: sizes, names, the catalogue and its examples."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON_FILES = sorted(
    p for room in ("src", "tests", "examples", "benchmarks", "scripts") for p in (ROOT / room).rglob("*.py")
)
FOLDERS = sorted({p.parent for p in PYTHON_FILES})
SYSTEMS = tomllib.loads((ROOT / "systems.toml").read_text(encoding="utf-8"))["system"]
FIELDS = ("module", "test", "doc", "example", "benchmark")


def where(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {where(p): len(p.read_text(encoding="utf-8").splitlines()) for p in PYTHON_FILES}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


@pytest.mark.parametrize("folder", FOLDERS, ids=where)
def test_a_folder_holds_at_most_twelve_modules(folder: Path) -> None:
    modules = [p for p in folder.glob("*.py") if p.name not in ("__init__.py", "__main__.py", "conftest.py")]
    # One example a system, and there are more than twelve systems.
    assert len(modules) <= (40 if folder.name == "examples" else 12)


def test_nothing_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "common", "helpers", "helper", "misc"}
    named = {p for p in PYTHON_FILES if empty & {p.stem, *p.relative_to(ROOT).parts}}
    assert named == set()


def test_test_files_have_unique_names_that_say_their_room() -> None:
    names = [p.name for p in PYTHON_FILES if p.name.startswith("test_")]
    assert len(names) == len(set(names))
    for path in (ROOT / "tests").rglob("test_*.py"):
        room = path.relative_to(ROOT / "tests").parts[0] if path.parent != ROOT / "tests" else "house"
        assert path.name.startswith(f"test_{room}_"), where(path)


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=where)
def test_modules_say_what_they_are_and_what_they_offer(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.lstrip().startswith('"""'), "a module begins with its docstring"
    found = re.search(r"^__all__ = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    if found is None:
        assert path.name in ("__init__.py", "__main__.py")
        return
    names = re.findall(r'"([^"]+)"', found.group(1))
    classes = [name for name in names if name[0].isupper() and not name.isupper()]
    assert len(names) == len(set(names))
    for kind in (classes, [n for n in names if n.isupper()], [n for n in names if n[0].islower()]):
        assert kind == sorted(kind)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system["id"])
def test_every_path_of_the_catalogue_exists(system: dict[str, str]) -> None:
    assert set(system) == {"id", "title", "paper", "status", *FIELDS}
    assert system["status"] in ("works", "runtime")
    for field in FIELDS:
        assert (ROOT / system[field]).is_file(), system[field]


def test_every_example_is_in_the_catalogue_and_short() -> None:
    examples = sorted((ROOT / "examples").glob("*.py"))
    assert [where(p) for p in examples] == sorted({system["example"] for system in SYSTEMS})
    assert all(len(p.read_text(encoding="utf-8").splitlines()) < 60 for p in examples)


@pytest.mark.parametrize("example", sorted({system["example"] for system in SYSTEMS}))
def test_every_example_runs(example: str, tmp_path: Path) -> None:
    text = (ROOT / example).read_text(encoding="utf-8")
    if "import torch" in text:
        pytest.importorskip("torch")
    environment = {**os.environ, "FULLDUPLEX_ASSETS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / example)],
        capture_output=True, text=True, timeout=250, cwd=tmp_path, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_repository_speaks_of_itself_alone() -> None:
    """No path of anybody's machine, no private host, in any tracked file."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    private = re.compile(
        rb"(?<![\w.])/(?:" + rb"|".join([b"work", b"root", b"home/[a-z]+", b"Users"]) + rb")/|" + b"tmp/" + b"w/"
    )
    found = []
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if not name or not path.is_file() or path.suffix in (".flac", ".png", ".gz"):
            continue
        found += [f"{name}: {m.group().decode()}" for m in private.finditer(path.read_bytes())]
    assert found == []
