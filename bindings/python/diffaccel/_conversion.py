"""What converting has for all kinds of files: its error, tensors on disk, and files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any, Callable

import numpy as np

#: Element types that can be asked for, and their names in safetensors files.
TYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
#: Element types of safetensors files as arrays of their bits; the types that numpy has not are told apart by their names.
ARRAYS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "|u1", "F8_E5M2": "|u1", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "|i1", "U8": "|u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "|u1", "C64": "<c8",
}
#: Those that weights can have.
FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


class ConversionError(Exception):
    """The file is not what can be converted; the text says why, and what to do."""


class FileTensor:
    """A tensor in a file, read when it is asked for.

    kind: its element type as safetensors files name it.
    shape: its extents.
    read: gives the elements' bits as a little-endian array of the type in ARRAYS, of any strides.
    """

    def __init__(self, kind: str, shape: tuple[int, ...], read: Callable[[], np.ndarray]) -> None:
        self.kind, self.shape, self._read = kind, tuple(shape), read

    @property
    def is_float(self) -> bool:
        """Whether the elements can be weights."""
        return self.kind in FLOATS

    def bits(self) -> np.ndarray:
        """The elements' bits, without gaps."""
        return np.ascontiguousarray(self._read()).reshape(self.shape)

    def values(self) -> np.ndarray:
        """The elements as numbers that numpy has: floating-point ones in f64 where the file's are, else in f32."""
        bits = self.bits()
        if self.kind == "BF16":
            wide: np.ndarray = bits.astype("<u4") << 16
            return wide.view("<f4")
        if self.kind in ("F8_E4M3", "F8_E5M2"):
            values: np.ndarray = _EIGHT_BITS[self.kind][bits]
            return values
        return bits.astype("<f4") if self.kind == "F16" else bits

    def stored(self, kind: str, name: str) -> bytes:
        """The elements as type `kind`. Raises ConversionError, naming the tensor, for numbers that it cannot hold."""
        values = self.values()
        if not np.isfinite(values).all():
            raise ConversionError(f"tensor {name}: {np.count_nonzero(~np.isfinite(values))} elements are NaN or infinite")
        if kind == self.kind:
            return bytes(self.bits().tobytes())
        with np.errstate(over="ignore"):
            single = values.astype("<f4")
            if kind == "BF16":
                bits = single.view("<u4")
                # To nearest, ties to even, as torch does.
                rounded = ((bits.astype("<u8") + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
                result, finite = rounded, (rounded & 0x7F80) != 0x7F80
            else:
                result = values.astype(ARRAYS[kind])
                finite = np.isfinite(result)
        if not (finite.all() and np.isfinite(single).all()):
            largest = float(np.abs(values).max())
            raise ConversionError(
                f"tensor {name}: {largest:g} is beyond {kind}, which would make it infinite: use --dtype "
                f"{'f32 or bf16' if kind == 'F16' else 'f32'}")
        return bytes(result.tobytes())


def _eight_bits(exponents: int, mantissas: int, bias: int) -> np.ndarray:
    codes = np.arange(256)
    exponent, mantissa = (codes >> mantissas) & ((1 << exponents) - 1), codes & ((1 << mantissas) - 1)
    values = np.where(exponent == 0, mantissa, mantissa + (1 << mantissas)) * 2.0 ** (np.maximum(exponent, 1) - bias - mantissas)
    if exponents == 5:
        values = np.where(exponent == 31, np.where(mantissa == 0, np.inf, np.nan), values)
    else:
        values = np.where((codes & 0x7F) == 0x7F, np.nan, values)
    return np.where(codes & 0x80, -values, values).astype("<f4")


_EIGHT_BITS = {"F8_E4M3": _eight_bits(4, 3, 7), "F8_E5M2": _eight_bits(5, 2, 15)}
#: Tensors by name.
State = dict[str, FileTensor]


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Calls `write` with a file that takes its name only once it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, lambda file: file.write((json.dumps(value, indent=1, allow_nan=False) + "\n").encode("utf-8")))
