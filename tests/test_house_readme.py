"""What the README shows is what there is."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fullduplex.assets import store
from fullduplex.cli.main import COMMANDS

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
MAKEFILE = (Path(__file__).parent.parent / "Makefile").read_text(encoding="utf-8")
LINES = [line.split("  #")[0].strip() for line in README.splitlines() if line.startswith("fullduplex ")]
WITH_JOBS = ("data", "evaluate", "link", "plan", "ssm", "tune")  # fullduplex <command> <job> [options]
NEEDED = ("silero-vad", "moonshine-tiny-en", "smart-turn-v3.2", "piper-joe", "english-lexicon", "smollm2-135m-instruct")


def test_the_readme_shows_commands() -> None:
    assert len(LINES) >= 5


@pytest.mark.parametrize("line", LINES)
def test_every_command_and_option_exists(line: str) -> None:
    words = shlex.split(line.replace("…", ""))
    assert words[1] in COMMANDS
    job = words[2:3] if words[1] in WITH_JOBS else []
    shown = subprocess.run(
        [sys.executable, "-m", "fullduplex", words[1], *job, "--help"], capture_output=True, text=True, check=True
    ).stdout
    for option in (word for word in words[2:] if word.startswith("--")):
        assert option in shown


def test_every_make_target_exists() -> None:
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in MAKEFILE


@pytest.mark.slow
def test_the_python_example_runs() -> None:
    if any(store.find(name) is None for name in NEEDED):
        pytest.skip("the default models are not installed: fullduplex assets get")
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    done = subprocess.run(
        [sys.executable, "-c", code.group(1)], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert 0.0 < float(done.stdout.split()[-1]) < 5.0
