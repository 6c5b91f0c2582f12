"""torch's CPU random numbers, without torch: the same seed gives the same noise as published code."""

from __future__ import annotations

import ctypes
import math
from typing import Any, Sequence

import numpy as np
import numpy.typing as npt

from . import _arrays, _ffi


def _filled(function: Any, kind: Any, shape: int | Sequence[int], seed: int, dtype: Any) -> npt.NDArray[Any]:
    given: tuple[Any, ...] = (shape,) if np.ndim(shape) == 0 else tuple(shape)  # type: ignore[arg-type]
    extents = tuple(_arrays.integer(extent, "shape", bits=64) for extent in given)
    if any(extent < 0 for extent in extents):
        raise ValueError(f"negative dimensions in {extents}")
    if math.prod(extents) > 1 << 40:
        raise ValueError(f"{extents} holds more than 2**40 elements")
    array = np.empty(extents, dtype)
    _ffi.check(function, _arrays.unsigned(seed, "seed"), array.size, _arrays.pointer(array, kind))
    return array


def randn(shape: int | Sequence[int], seed: int = 0) -> npt.NDArray[np.float32]:
    """float32 normal values equal to torch.manual_seed(seed); torch.randn(shape), to 2e-7."""
    return _filled(_ffi.lib.da_random_normal, ctypes.c_float, shape, seed, np.float32)


def rand(shape: int | Sequence[int], seed: int = 0) -> npt.NDArray[np.float32]:
    """float32 values in [0, 1) equal to torch.manual_seed(seed); torch.rand(shape), exactly."""
    return _filled(_ffi.lib.da_random_uniform, ctypes.c_float, shape, seed, np.float32)


def randperm(count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """An int64 permutation of 0...count-1 equal to torch.manual_seed(seed); torch.randperm(count), exactly."""
    return _filled(_ffi.lib.da_random_permutation, ctypes.c_int64, count, seed, np.int64)
