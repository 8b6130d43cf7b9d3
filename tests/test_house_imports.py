"""Importing does nothing, and each room brings only what it needs; the command line speaks without its models."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fullduplex.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent
HEAVY = (
    "torch",
    "onnxruntime",
    "cyllama",
    "llama_cpp",
    "livekit",
    "aiohttp",
    "matplotlib",
    "soundfile",
    "tokenizers",
    "piper",
)
IO = ("asyncio", "threading", "socket")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("COV_", "PYTEST"))}
    return subprocess.run(
        [sys.executable, "-W", "error", *command], capture_output=True, text=True, timeout=60, env=environment, check=False
    )  # fmt: skip


def loaded_by(module: str) -> set[str]:
    """Top-level modules and our own, after importing `module` in a fresh interpreter."""
    done = run("-c", f"import sys, {module}; print(' '.join(sys.modules))")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def modules_of(room: str) -> list[str]:
    folder = ROOT / "src" / "fullduplex" / room
    names = [".".join(p.relative_to(ROOT / "src").with_suffix("").parts) for p in sorted(folder.rglob("*.py"))]
    return [name.removesuffix(".__init__") for name in names]


def test_importing_the_package_loads_nothing_else() -> None:
    loaded = loaded_by("fullduplex")
    assert not loaded & {"numpy", *HEAVY}
    assert {name for name in loaded if name.startswith("fullduplex.")} == set()


@pytest.mark.parametrize("room", ["base", "numerics", "dialogue", "speech", "lm", "evaluate", "assets"])
def test_importing_every_module_of_a_room_loads_no_model_library_and_no_other_family(room: str) -> None:
    # Training is torch's, and nothing that talks imports it.
    apart = ("fullduplex.lm.tune", "fullduplex.lm.student")
    names = [name for name in modules_of(room) if not name.startswith(apart)]
    done = run("-c", f"import sys\nfor name in {names!r}: __import__(name)\nprint(' '.join(sys.modules))")
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert not loaded & set(HEAVY)
    assert not any(name.startswith(apart) for name in loaded)
    families = {"dialogue", "speech", "lm", "evaluate"} - {room}
    others = {name for name in loaded if any(name.startswith(f"fullduplex.{family}.") for family in families)}
    assert others == set()


def test_the_core_does_no_input_or_output() -> None:
    """What NumPy itself brings does not count."""
    extra = loaded_by("fullduplex.dialogue.session") - loaded_by("numpy")
    assert not extra & {*IO, *HEAVY, "time"}


def test_recipes_load_no_model_before_one_is_opened() -> None:
    assert not loaded_by("fullduplex.recipes.talk") & (set(HEAVY) - {"livekit"})


def test_importing_starts_no_thread_and_reads_no_setting() -> None:
    code = (
        "import os, threading\n"
        "class Watched(dict):\n"
        "    def __getitem__(self, key):\n"
        "        assert 'FULLDUPLEX' not in str(key), key\n"
        "        return super().__getitem__(key)\n"
        "os.environ._data = Watched(os.environ._data)\n"
        "import fullduplex.recipes.talk, fullduplex.recipes.parts, fullduplex.assets.store\n"
        "assert threading.active_count() == 1\n"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def test_help_lists_every_command() -> None:
    done = run("-m", "fullduplex", "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
    assert run("-m", "fullduplex").stdout == done.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str) -> None:
    done = run("-m", "fullduplex", command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"fullduplex {command}" in done.stdout and len(done.stdout) > 200


def test_a_command_whose_library_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("fullduplex.cli.main.import_module", absent)
    assert main(["tune", "--help"]) in (1, 2)
    told = capsys.readouterr().err
    assert "torch" in told and "fullduplex[torch]" in told


def test_version_and_unknown_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fullduplex ")
    assert main(["dance"]) == 2
    assert "no command 'dance'" in capsys.readouterr().err
