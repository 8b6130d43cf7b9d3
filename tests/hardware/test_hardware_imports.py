"""The room needs NumPy alone."""

import subprocess
import sys
from pathlib import Path

import fullduplex.hardware

FOLDER = Path(fullduplex.hardware.__file__).parent


def test_no_module_loads_more_than_numpy_or_another_family() -> None:
    files = [path.relative_to(FOLDER).with_suffix("") for path in sorted(FOLDER.rglob("*.py"))]
    names = [".".join(("fullduplex", "hardware", *path.parts)) for path in files if path.stem != "__init__"]
    code = f"import sys\nfor name in {names!r}: __import__(name)\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "matplotlib", "scipy", "tqdm", "asyncio"}
    assert {name.split(".")[1] for name in loaded if name.startswith("fullduplex.")} <= {"hardware", "base"}
