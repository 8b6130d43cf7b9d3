"""The room needs NumPy alone."""

import subprocess
import sys
from pathlib import Path

import fullduplex.links


def test_importing_every_module_loads_no_torch_no_scipy_and_no_plotting() -> None:
    folder = Path(str(fullduplex.links.__file__)).parent
    files = [path.relative_to(folder).with_suffix("") for path in sorted(folder.rglob("*.py"))]
    names = [".".join(("fullduplex.links", *path.parts)) for path in files if path.name != "__init__"]
    assert "fullduplex.links.beam.search" in names
    code = f"import sys\nfor name in {names!r}: __import__(name)\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "scipy", "networkx", "matplotlib", "asyncio"} & set(done.stdout.split())
