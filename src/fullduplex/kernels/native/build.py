"""From C sources to a shared library in a cache, once for a machine; the units of a library are compiled side by side.

The library's name is a digest of everything that decides its bytes: sources, compiler and its version, flags, processor.
A new version therefore never meets an old library, and a cache on a shared disk never hands one processor the code of
another. The file is written in a folder beside its place and takes its name in one step, so two processes, or two threads,
may build at once.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "FLAG_SETS",
    "KERNELS",
    "Sources",
    "build",
    "cache_folder",
    "find_compiler",
    "library_name",
    "load",
    "open_library",
    "wanted",
]

_LOG = logging.getLogger(__name__)

_BASE = ("-O3", "-fPIC", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math")
# The first set that compiles is taken: some compilers know no -march=native, some systems have no OpenMP. Never
# -ffast-math: it may drop NaN and reorder the sums whose equality the tests promise.
FLAG_SETS = (
    (*_BASE, "-march=native", "-mprefer-vector-width=512", "-fopenmp"),
    (*_BASE, "-march=native", "-fopenmp"),
    (*_BASE, "-mcpu=native", "-fopenmp"),
    (*_BASE, "-march=native"),
    (*_BASE, "-fopenmp"),
    _BASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What one library is made of: every `.c` and `.h` in `folder` decides its name, `units` are the files compiled.

    `flag_sets`: of which the first that compiles is taken; none: `FLAG_SETS`. `what` it is and what runs `otherwise` are
    for the log.
    """

    folder: Path
    units: tuple[str, ...]
    name: str
    what: str
    otherwise: str
    flag_sets: tuple[tuple[str, ...], ...] = ()

    @property
    def flags(self) -> tuple[tuple[str, ...], ...]:
        """The sets to try."""
        return self.flag_sets or FLAG_SETS


KERNELS = Sources(
    folder=Path(__file__).parent, units=("single", "double"), name="fullduplex",
    what="compiled kernels", otherwise="the torch path runs instead, several times slower",
)  # fmt: skip
_NO_COMPILER = "no C compiler found: tried $CC, cc, gcc, clang; pip install ziglang brings one"
_TIMEOUT_S = 600.0  # a guard against a compiler that hangs; on a crowded machine a healthy one has needed two minutes


def cache_folder() -> Path:
    """Where libraries are kept: `FULLDUPLEX_NATIVE_CACHE`, else `~/.cache/fullduplex/native`."""
    configured = os.environ.get("FULLDUPLEX_NATIVE_CACHE")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "fullduplex" / "native"


def find_compiler() -> str | None:
    """Command of a C compiler: `$CC`, else cc, gcc or clang, else the one in the package ziglang; None without any."""
    for command in [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]:
        name, *arguments = shlex.split(command) or [""]
        if found := shutil.which(name):
            return shlex.join([found, *arguments])
    if not os.environ.get("CC") and importlib.util.find_spec("ziglang"):
        return shlex.join([sys.executable, "-m", "ziglang", "cc"])
    return None


def wanted(sources: Sources) -> ctypes.CDLL | None:
    """The library of this machine; None without a compiler, with one that fails, or with `FULLDUPLEX_NATIVE=off`."""
    if os.environ.get("FULLDUPLEX_NATIVE") == "off":
        return _refused(sources, "FULLDUPLEX_NATIVE=off")
    return open_library(cache_folder(), find_compiler(), sources)


@functools.cache
def open_library(folder: Path, compiler: str | None, sources: Sources) -> ctypes.CDLL | None:
    """`load`, once and logged once for the same arguments."""
    library, how = load(folder, compiler, sources)
    if library is None:
        return _refused(sources, how)
    _LOG.info("%s: %s", sources.what, how)
    return library


@functools.cache
def _refused(sources: Sources, reason: str) -> None:
    _LOG.warning("no %s (%s): %s", sources.what, reason, sources.otherwise)


def load(folder: Path, compiler: str | None, sources: Sources = KERNELS) -> tuple[ctypes.CDLL | None, str]:
    """The library, compiled unless it is in `folder` already, and loaded; or None. And how, or why not.

    `compiler`: None when none was found.
    """
    if compiler is None:
        return None, _NO_COMPILER
    path, how = build(compiler, folder, sources)
    if path is None:
        return None, how
    try:
        return ctypes.CDLL(str(path)), f"{path.name}, {how}"
    except OSError as error:
        return None, f"{path.name} cannot be loaded: {error}"


def library_name(compiler: str, sources: Sources = KERNELS) -> str:
    """File name of the library that this compiler makes of these sources on this processor."""
    digest = hashlib.sha256()
    for source in sorted(sources.folder.glob("*.[ch]")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    version = subprocess.run(
        [*shlex.split(compiler), "--version"], capture_output=True, timeout=_TIMEOUT_S, check=False
    ).stdout
    for part in (compiler, version.decode(errors="replace"), repr(sources.flags), _processor()):
        digest.update(part.encode() + b"\0")
    return f"{sources.name}-{digest.hexdigest()[:20]}.so"


def build(compiler: str, folder: Path, sources: Sources = KERNELS) -> tuple[Path | None, str]:
    """The library, compiled unless it is there already.

    Args:
        compiler: command of a C compiler.
        folder: the cache; made when absent.
        sources: of which library.

    Returns:
        The path, or None and why there is none.
    """
    try:
        target = folder / library_name(compiler, sources)
        if target.is_file():
            return target, "found in the cache"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            made = Path(beside) / target.name
            problem = _compile(compiler, made, sources)
            if problem is not None:
                return None, f"{compiler} failed: {problem}"
            made.replace(target)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"{type(error).__name__}: {error}"
    return target, f"compiled with {compiler}"


def _compile(compiler: str, target: Path, sources: Sources) -> str | None:
    """Compile to `target`, objects beside it; None, or the first line of what the compiler said about the plainest flags."""
    said = ""
    objects = {name: str(target.with_name(f"{name}.o")) for name in sources.units}
    for flags in sources.flags:
        units = [(*flags, "-c", "-o", made, str(sources.folder / f"{name}.c")) for name, made in objects.items()]
        # A compiler may know OpenMP's pragmas and not have its library: then this set has failed, not the first call.
        linking = (*flags, "-shared", "-Wl,--no-undefined", "-o", str(target), *objects.values(), "-lm")
        said = _run(compiler, units) or _run(compiler, [linking])
        if not said:
            return None
    return said.splitlines()[0]


def _run(compiler: str, commands: list[tuple[str, ...]]) -> str:
    """Run them side by side; what the first that failed said, or nothing."""
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    [*shlex.split(compiler), *each], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
                )
            )
            for each in commands
        ]
        for each in running:
            stack.callback(each.kill)  # nothing, if it has ended
        told = [each.communicate(timeout=_TIMEOUT_S)[1] for each in running]
    failed = (
        text.strip() or f"status {each.returncode}" for each, text in zip(running, told, strict=True) if each.returncode
    )
    return next(failed, "")


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    return "\n".join([platform.machine(), platform.processor(), *told])
