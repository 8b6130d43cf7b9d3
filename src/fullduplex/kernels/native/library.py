"""The compiled kernels as callables on tensors, or nothing, with the reason in the log.

`native()` compiles on its first call in a process (a few seconds on a new machine, milliseconds after that) and answers
from memory afterwards. Without a compiler, with one that fails, with a cache that cannot be written, or with
`FULLDUPLEX_NATIVE=off`, it answers None and every kernel takes its torch path. ctypes releases the GIL during a call.
"""

import ctypes
import functools
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from fullduplex.kernels.native.build import KERNELS, open_library, wanted

__all__ = ["Native", "forget_native", "load_native", "native", "native_for", "triton_for", "unit_rows"]

_SUFFIX = {
    torch.float32: "_f32",
    torch.float64: "_f64",
    torch.complex64: "_complex_f32",
    torch.complex128: "_complex_f64",
}

Real = ctypes.c_float | ctypes.c_double
Argument = (
    Tensor
    | float
    | ctypes.Array[ctypes.c_void_p]
    | ctypes.Array[ctypes.c_int64]
    | Sequence[int]
    | Sequence[Tensor | None]
    | None
)


class Native:
    """A loaded library.

    Args:
        library: as `load` gives it.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._functions: dict[tuple[str, torch.dtype], tuple[Callable[..., object], type[Real]]] = {}

    def run(self, kernel: str, dtype: torch.dtype, *arguments: Argument) -> None:
        """Call `fd_<kernel>` in the precision `dtype`.

        Args:
            kernel: name without prefix and precision.
            dtype: float32, float64, complex64 or complex128.
            arguments: tensors (their memory is lent), None, tuples of tensors or None, tuples of int64 sizes, arrays of
                ctypes as they are, and numbers of the kernel's precision.
        """
        found = self._functions.get((kernel, dtype))
        if found is None:
            real = ctypes.c_double if dtype in (torch.float64, torch.complex128) else ctypes.c_float
            found = (getattr(self._library, f"fd_{kernel}{_SUFFIX[dtype]}"), real)
            self._functions[kernel, dtype] = found
        function, real = found
        function(*[_convert(argument, real) for argument in arguments])


def native() -> Native | None:
    """The compiled kernels of this machine, or None. Compiler and cache are looked for once (see `forget_native`)."""
    return _native_of(os.environ.get("FULLDUPLEX_NATIVE"))


def forget_native() -> None:
    """Look for compiler and cache again at the next call: the environment has changed."""
    _native_of.cache_clear()


def native_for(*tensors: Tensor | None) -> Native | None:
    """`native()`, if all these tensors are where and of the kind it can read."""
    if all(tensor is None or (tensor.device.type == "cpu" and tensor.dtype in _SUFFIX) for tensor in tensors):
        return native()
    return None


def triton_for(*tensors: Tensor) -> bool:
    """Whether the kernels of `fullduplex.kernels.gpu` can be imported and read all these tensors, none of them empty."""
    return all(each.is_cuda and each.dtype in _SUFFIX and each.numel() for each in tensors) and _has_triton()


def unit_rows(tensor: Tensor) -> Tensor:
    """The tensor itself if neighbours on its last axis are neighbours in memory, else a copy where they are."""
    resolved = tensor.resolve_conj().resolve_neg()
    return resolved if resolved.shape[-1] <= 1 or resolved.stride(-1) == 1 else resolved.contiguous()


def load_native(folder: Path, compiler: str | None) -> Native | None:
    """Build with `compiler` into `folder` and load; asked and logged once for each pair.

    Args:
        folder: the cache.
        compiler: command of a C compiler, None when none was found.
    """
    return _callable(open_library(folder, compiler, KERNELS))


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _native_of(setting: str | None) -> Native | None:
    """Kernels are asked for at every call; the environment and the disk are asked once for a `setting`."""
    return _callable(wanted(KERNELS))


@functools.cache
def _callable(library: ctypes.CDLL | None) -> Native | None:
    return None if library is None else Native(library)


def _convert(argument: Argument, real: type[Real]) -> object:
    if argument is None:
        return None  # a null pointer
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, int | float):
        return real(argument)
    if isinstance(argument, ctypes.Array):
        return argument
    if all(isinstance(item, int) for item in argument):
        return _sizes(len(argument))(*cast("Sequence[int]", argument))
    lent = cast("Sequence[Tensor | None]", argument)
    return _pointers(len(lent))(*[None if item is None else item.data_ptr() for item in lent])


@functools.cache
def _pointers(count: int) -> type[ctypes.Array[ctypes.c_void_p]]:
    return ctypes.c_void_p * count


@functools.cache
def _sizes(count: int) -> type[ctypes.Array[ctypes.c_int64]]:
    return ctypes.c_int64 * count
