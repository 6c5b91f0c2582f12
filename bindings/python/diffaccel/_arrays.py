"""Numbers and numpy arrays on their way into the library: of the right type, in range, contiguous, of the right shape.

ctypes itself cuts off what does not fit, so nothing gets there that was not looked at here.
"""

from __future__ import annotations

import ctypes
import math
import numbers
from typing import Any, Sequence

import numpy as np
import numpy.typing as npt

from . import _ffi
from .errors import InvalidArgumentError, ShapeError

Array = npt.NDArray[Any]


def as_array(value: Any, name: str) -> Array:
    """`value` as an array. Raises TypeError for bytes, ShapeError for lists of different lengths."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name} must be numbers, not {type(value).__name__}")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{name}: lists of different lengths are no array") from error


def floats(value: Any, name: str, shape: Sequence[int] | None = None) -> npt.NDArray[np.float32]:
    """`value` as a contiguous float32 array. Raises TypeError for what is not real numbers, ShapeError."""
    array = as_array(value, name)
    if array.dtype == object and all(isinstance(item, numbers.Real) for item in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, not {array.dtype}")
    if shape is not None and array.shape != tuple(shape):
        raise ShapeError(f"{name}: expected shape {tuple(shape)}, found {array.shape}")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return np.require(array, np.float32, ["C", "A"])


def integers(value: Any, name: str, bits: int = 64) -> npt.NDArray[np.int64]:
    """`value` as a contiguous int64 array of numbers that fit `bits` bits. Raises TypeError for what is not integers, OverflowError."""
    array = as_array(value, name)
    if array.size == 0 and not isinstance(value, np.ndarray):
        array = array.astype(np.int64)  # an empty list has no element type of its own
    if not hasattr(value, "__array__") or array.dtype == object:
        # numpy makes 1 of a True among integers, and objects of what is beyond its own types.
        source = np.asarray(value, dtype=object)
        for place in source.flat:
            integer(place, name, bits)
        array = source.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, not {array.dtype}")
    if array.size:
        for end in (array.min(), array.max()):
            integer(end, name, bits)
    return np.require(array, np.int64, ["C", "A"])


def integer(value: Any, name: str, bits: int = 32) -> int:
    """`value` as a signed integer of `bits` bits. Raises TypeError for anything else, True and 3.0 included, OverflowError."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, not {value!r:.100}")
    try:
        number = int(value.__index__())
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r:.100}") from None
    if not -(1 << (bits - 1)) <= number < 1 << (bits - 1):
        raise OverflowError(f"{name} = {_shown(number)} does not fit {bits} bits")
    return number


def unsigned(value: Any, name: str) -> int:
    """`value` as an unsigned 64-bit integer. Raises TypeError, OverflowError."""
    number = integer(value, name, bits=1 << 20)
    if not 0 <= number < 1 << 64:
        raise OverflowError(f"{name} = {_shown(number)} is not in 0...2**64-1")
    return number


def _shown(number: int) -> str:
    return str(number) if abs(number) < 1 << 200 else "a number of hundreds of digits"


def real(value: Any, name: str) -> float:
    """`value` as a float. Raises TypeError for what is no real number, booleans included, InvalidArgumentError for texts and for NaN,
    which to the library would mean that nothing was said."""
    if isinstance(value, (str, bytes)):
        raise InvalidArgumentError(f"{name} must be a number, not {value!r:.100}")
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a number, not {value!r:.100}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}") from None
    except OverflowError:
        raise OverflowError(f"{name} is beyond the numbers of 64 bits") from None
    if math.isnan(number):
        raise InvalidArgumentError(f"{name} must be a number, not NaN; None is the default")
    return number


def flag(value: Any, name: str) -> int:
    """`value` as 0 or 1. Raises TypeError for what is no boolean."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {value!r:.100}")
    return int(value)


def describe(name: str, array: Array) -> _ffi.Tensor:
    """A da_tensor over `array`'s memory; the caller keeps the array alive."""
    if array.ndim > _ffi.MAX_RANK:
        raise ShapeError(f"{name}: at most {_ffi.MAX_RANK} dimensions, found {array.ndim}")
    tensor = _ffi.Tensor(struct_size=ctypes.sizeof(_ffi.Tensor), name=name.encode("utf-8"), rank=array.ndim)
    tensor.dtype = {"float32": _ffi.F32, "uint8": _ffi.U8, "int64": _ffi.I64}[array.dtype.name]
    tensor.data, tensor.bytes = array.ctypes.data, array.nbytes
    tensor.shape[: array.ndim] = array.shape
    return tensor


def copied(tensor: _ffi.Tensor) -> Array:
    """A copy of the library's tensor."""
    kind = np.dtype({_ffi.F32: np.float32, _ffi.U8: np.uint8, _ffi.I64: np.int64}[tensor.dtype])
    shape = tuple(tensor.shape[: tensor.rank])
    data = ctypes.string_at(tensor.data, tensor.bytes) if tensor.bytes else b""
    return np.frombuffer(bytearray(data), kind).reshape(shape)


def pointer(array: Array, kind: Any) -> Any:
    """The address of `array`'s elements as a ctypes pointer."""
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
