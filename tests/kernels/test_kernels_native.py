"""Building and loading the compiled path, and doing without it."""

import logging
import os
import shlex
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.kernels.conv import causal_conv, causal_conv_ref
from fullduplex.kernels.hadamard import hadamard, hadamard_ref
from fullduplex.kernels.native.build import FLAG_SETS, build, find_compiler, library_name, load
from fullduplex.kernels.native.library import Native, forget_native, load_native, native, native_for, unit_rows
from fullduplex.kernels.scan import linear_scan, linear_scan_ref
from fullduplex.kernels.selective import SelectiveSystem, selective_scan, selective_scan_ref
from fullduplex.kernels.ssd import ssd, ssd_ref

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")


@pytest.fixture(autouse=True)
def looked_for_again():
    forget_native()
    yield
    forget_native()


@pytest.fixture
def quick(monkeypatch):
    """Compilers that do not optimise: for tests of building and of numbers, not of speed."""
    sets = tuple(tuple("-O0" if flag == "-O3" else flag for flag in flags) for flags in FLAG_SETS)
    monkeypatch.setattr("fullduplex.kernels.native.build.FLAG_SETS", sets)


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def works_without():
    a, b = torch.full((1, 70, 2), 0.5), torch.ones(1, 70, 2)
    assert native_for(a, b) is None
    torch.testing.assert_close(linear_scan(a, b, b[:, 0]), linear_scan_ref(a, b, b[:, 0]))


@needs_compiler
def test_built_once_then_found(tmp_path, quick):
    compiler = find_compiler()
    path, how = build(compiler, tmp_path / "new" / "folder")
    assert path is not None and "compiled" in how
    before = path.stat().st_mtime_ns
    assert build(compiler, tmp_path / "new" / "folder") == (path, "found in the cache")
    assert path.stat().st_mtime_ns == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.slow
@needs_compiler
def test_two_threads_may_build_at_once(tmp_path, quick):
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: build(find_compiler(), tmp_path), range(2)))
    assert found[0][0] == found[1][0] and found[0][0] is not None
    x = torch.ones(1, 1, 1)
    out = torch.empty(1, 1, 1)
    library, _ = load(tmp_path, find_compiler())
    Native(library).run("scan", x.dtype, x, x, x[0], out, (1, 1, 1, 1, 1, 1, 1, 0, 1))
    assert out.item() == 2.0
    assert [each.name for each in tmp_path.iterdir()] == [found[0][0].name]


@needs_compiler
def test_the_name_says_what_made_it(tmp_path):
    other = script(tmp_path / "cc", "echo another compiler")
    assert library_name(find_compiler()) == library_name(find_compiler()) != library_name(other)


@pytest.mark.slow
@needs_compiler
def test_a_compiler_without_march_and_openmp_still_gives_right_numbers(tmp_path, monkeypatch, quick):
    # Without -march there are no wide registers and no AVX-512: the portable text of every kernel is what runs.
    real = find_compiler()
    refuse = 'for x in "$@"; do case "$x" in -march*|-mcpu*|-fopenmp) echo "unknown flag $x" >&2; exit 1;; esac; done'
    monkeypatch.setenv("CC", script(tmp_path / "plain-cc", f'{refuse}\nexec {real} "$@"'))
    monkeypatch.setenv("FULLDUPLEX_NATIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FULLDUPLEX_NATIVE", "on")
    found = native()
    assert found is not None and list((tmp_path / "cache").glob("fullduplex-*.so"))
    g = torch.Generator().manual_seed(0)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):

        def noise(*shape, dtype=dtype):
            return torch.randn(*shape, dtype=dtype, generator=g)

        x, n, v, k = noise(2, 40, 20), noise(2, 40, 7), noise(2, 40, 4, 9), noise(2, 40, 2, 5)
        system = SelectiveSystem(-noise(20, 7).exp(), noise(20), noise(20))
        streams = (x, noise(2, 40, 20), n, noise(2, 40, 7), system, noise(2, 20, 7), noise(2, 40, 20))
        heads = (v, noise(2, 40, 4).exp() / 10, -noise(4).exp(), k, noise(2, 40, 2, 5), noise(2, 4, 9, 5))
        taps = (x, noise(20, 4), noise(20), noise(2, 3, 20))
        pairs = [
            (selective_scan(*streams)[0], selective_scan_ref(*streams)[0]),
            (ssd(*heads)[0], ssd_ref(*heads)[0]),
            (causal_conv(*taps, silu=True)[0], causal_conv_ref(*taps, silu=True)[0]),
            (hadamard(noise(3, 96)[:0]), noise(0, 96)),
            (linear_scan(x.sigmoid(), x, x[:, 0]), linear_scan_ref(x.sigmoid(), x, x[:, 0])),
        ]
        y = noise(3, 192)
        pairs.append((hadamard(y), hadamard_ref(y)))
        for got, expected in pairs:
            torch.testing.assert_close(got, expected, rtol=tolerance, atol=10 * tolerance)


def test_no_compiler(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    assert load_native(tmp_path, None) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("FULLDUPLEX_NATIVE", "on")
    assert native() is None
    works_without()
    told = [record.message for record in caplog.records if "no C compiler" in record.message]
    assert len(told) <= 1, "said once, however often it is asked"


def test_where_a_compiler_is_looked_for(tmp_path, monkeypatch):
    mine = script(tmp_path / "my cc", "exit 0")
    monkeypatch.setenv("CC", f"'{mine}' -m64")
    assert shlex.split(find_compiler()) == [mine, "-m64"]
    monkeypatch.setenv("CC", "no-such-compiler")
    assert find_compiler() is None
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "ziglang").mkdir()
    (tmp_path / "ziglang/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert shlex.split(find_compiler()) == [sys.executable, "-m", "ziglang", "cc"]
    script(tmp_path / "gcc", "exit 0")
    assert shlex.split(find_compiler()) == [str(tmp_path / "gcc")]


def test_a_failing_compiler(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    broken = script(tmp_path / "cc", 'echo "internal error" >&2; exit 3')
    assert load_native(tmp_path / "cache", broken) is None
    assert load_native(tmp_path / "cache", broken) is None
    told = [record.message for record in caplog.records if "internal error" in record.message]
    assert len(told) == 1
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_compiler_that_hangs_is_ended(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    stuck = script(tmp_path / "cc", f'[ "$1" = --version ] || {{ echo $$ >> {tmp_path}/started; exec sleep 60; }}')
    monkeypatch.setattr("fullduplex.kernels.native.build._TIMEOUT_S", 3.0)
    assert load_native(tmp_path / "cache", stuck) is None
    assert "TimeoutExpired" in caplog.text
    started = (tmp_path / "started").read_text().split()
    assert started and not any(Path(f"/proc/{each}").exists() for each in started)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_compiler_that_writes_rubbish(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    wrong = script(tmp_path / "cc", 'while [ $# -gt 0 ]; do [ "$1" = -o ] && echo no library > "$2"; shift; done')
    assert load_native(tmp_path / "cache", wrong) is None
    assert "cannot be loaded" in caplog.text


@needs_compiler
def test_a_cache_that_cannot_be_written(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("FULLDUPLEX_NATIVE", "on")
    monkeypatch.setenv("FULLDUPLEX_NATIVE_CACHE", str(blocked / "cache"))
    assert native() is None
    works_without()
    assert "NotADirectoryError" in caplog.text


def test_switched_off(monkeypatch):
    monkeypatch.setenv("FULLDUPLEX_NATIVE", "off")
    assert native() is None
    works_without()


def test_nothing_is_compiled_at_import(tmp_path):
    import subprocess
    import sys

    environment = {**os.environ, "FULLDUPLEX_NATIVE_CACHE": str(tmp_path / "cache")}
    code = "import fullduplex.kernels.selective, fullduplex.kernels.ssd, fullduplex.nn.mamba.mamba1"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)
    assert not (tmp_path / "cache").exists()


def test_only_tensors_it_can_read():
    assert native_for(torch.zeros(2, dtype=torch.bfloat16)) is None
    assert native_for(torch.zeros(2, dtype=torch.int64)) is None
    assert native_for(torch.zeros(2, device="meta")) is None


def test_unit_rows_copies_only_what_must_be_copied():
    x = torch.zeros(2, 5, 8)
    assert unit_rows(x[:, :, 2:5]).data_ptr() == x[:, :, 2:].data_ptr()
    turned = unit_rows(x.transpose(1, 2))
    assert turned.stride(-1) == 1 and turned.shape == (2, 8, 5)
    pairs = torch.zeros(2, 4, dtype=torch.complex64).conj()
    assert not unit_rows(pairs).is_conj()


def test_the_last_flags_are_the_plainest():
    assert all(set(FLAG_SETS[-1]) <= set(flags) for flags in FLAG_SETS)
    assert not any("fast-math" in flag for flags in FLAG_SETS for flag in flags)
