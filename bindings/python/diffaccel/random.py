"""torch's CPU random numbers, without torch: the same seed gives the same noise as published code."""

from __future__ import annotations

import math
from typing import Any, Sequence

import numpy as np

from . import _arrays, _ffi


def _filled(function: Any, kind: Any, shape: int | Sequence[int], seed: int, dtype: Any) -> np.ndarray:
    extents = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    extents = tuple(_arrays.integer(extent, "shape", bits=64) for extent in extents)
    if any(extent < 0 for extent in extents):
        raise ValueError(f"negative dimensions in {extents}")
    if math.prod(extents) > 1 << 40:
        raise ValueError(f"{extents} holds more than 2**40 elements")
    array = np.empty(extents, dtype)
    _ffi.check(function, _arrays.unsigned(seed, "seed"), array.size, _arrays.pointer(array, kind))
    return array


def randn(shape: int | Sequence[int], seed: int = 0) -> np.ndarray:
    """float32 normal values equal to torch.manual_seed(seed); torch.randn(shape), to 2e-7."""
    return _filled(_ffi.lib.da_random_normal, _ffi.c_float, shape, seed, np.float32)


def rand(shape: int | Sequence[int], seed: int = 0) -> np.ndarray:
    """float32 values in [0, 1) equal to torch.manual_seed(seed); torch.rand(shape), exactly."""
    return _filled(_ffi.lib.da_random_uniform, _ffi.c_float, shape, seed, np.float32)


def randperm(count: int, seed: int = 0) -> np.ndarray:
    """An int64 permutation of 0...count-1 equal to torch.manual_seed(seed); torch.randperm(count), exactly."""
    return _filled(_ffi.lib.da_random_permutation, _ffi.c_int64, count, seed, np.int64)
