"""numpy arrays on their way into the library: contiguous, of the right element type, and of the right shape."""

from __future__ import annotations

import ctypes
from typing import Any, Sequence

import numpy as np

from . import _ffi
from .errors import ShapeError


def floats(value: Any, name: str, shape: Sequence[int] | None = None) -> np.ndarray:
    """`value` as a contiguous float32 array. Raises TypeError for what is not real numbers, ShapeError."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, not {array.dtype}")
    if shape is not None and array.shape != tuple(shape):
        raise ShapeError(f"{name}: expected shape {tuple(shape)}, found {array.shape}")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return np.require(array, np.float32, ["C", "A"])


def integers(value: Any, name: str) -> np.ndarray:
    """`value` as a contiguous int64 array. Raises TypeError for what is not integers, OverflowError for 2**63 and more."""
    array = np.asarray(value)
    if array.size == 0 and not isinstance(value, np.ndarray):
        array = array.astype(np.int64)  # an empty list has no element type of its own
    if array.dtype == object and array.size and all(isinstance(item, int) for item in array.flat):
        raise OverflowError(f"{name} holds numbers beyond 64 bits")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, not {array.dtype}")
    if array.dtype.kind == "u" and array.size and int(array.max()) >= 1 << 63:
        raise OverflowError(f"{name} holds numbers beyond 63 bits")
    return np.require(array, np.int64, ["C", "A"])


def integer(value: Any, name: str, bits: int = 32) -> int:
    """`value` as a signed integer of so many bits: ctypes itself would silently cut off what does not fit."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    number = value.__index__()
    if not -(1 << (bits - 1)) <= number < 1 << (bits - 1):
        raise OverflowError(f"{name} = {number} does not fit {bits} bits")
    return number


def unsigned(value: Any, name: str) -> int:
    """`value` as an unsigned 64-bit integer. Raises TypeError, OverflowError."""
    number = integer(value, name, bits=66)
    if not 0 <= number < 1 << 64:
        raise OverflowError(f"{name} = {number} is not in 0...2**64-1")
    return number


def flag(value: Any, name: str) -> int:
    """`value` as 0 or 1. Raises TypeError for what is no boolean."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return int(value)


def describe(name: str, array: np.ndarray) -> _ffi.Tensor:
    """A da_tensor over `array`'s memory; the caller keeps the array alive."""
    if array.ndim > _ffi.MAX_RANK:
        raise ShapeError(f"{name}: at most {_ffi.MAX_RANK} dimensions, found {array.ndim}")
    tensor = _ffi.Tensor(struct_size=ctypes.sizeof(_ffi.Tensor), name=name.encode("utf-8"), rank=array.ndim)
    tensor.dtype = {"float32": _ffi.F32, "uint8": _ffi.U8, "int64": _ffi.I64}[array.dtype.name]
    tensor.data, tensor.bytes = array.ctypes.data, array.nbytes
    tensor.shape[: array.ndim] = array.shape
    return tensor


def pointer(array: np.ndarray, kind: Any) -> Any:
    """The address of `array`'s elements as a ctypes pointer."""
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
