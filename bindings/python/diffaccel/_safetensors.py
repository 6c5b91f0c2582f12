"""safetensors files: read where the library does not, and written."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np

from ._conversion import ARRAYS, TYPES, ConversionError, FileTensor, State, write_atomically


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, FileTensor]:
    """The tensors of a safetensors file: one with prefixes, in a type that the library does not load, or among others."""
    size = os.path.getsize(path)
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if not 0 < length <= min(size - 8, 100_000_000):
                raise ValueError("its header ends beyond the file")
            header = json.loads(file.read(length))
        tensors: dict[str, FileTensor] = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            if kind not in ARRAYS:
                raise ConversionError(f"{path}: tensor {name}: elements of type {kind} cannot be converted")
            needed = int(np.prod(shape, dtype=object)) * np.dtype(ARRAYS[kind]).itemsize
            if min(shape, default=0) < 0 or begin < 0 or end - begin != needed or 8 + length + end > size:
                raise ValueError(f"tensor {name} lies beyond the file")
            tensors[name] = FileTensor(kind, shape, _slice(path, 8 + length + begin, kind, shape))
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ConversionError(f"{path}: no whole safetensors file ({error}); fetch it again") from None
    return tensors


def _slice(path: str | os.PathLike[str], offset: int, kind: str, shape: tuple[int, ...]) -> Any:
    def read() -> np.ndarray:
        count = int(np.prod(shape, dtype=object))
        return np.fromfile(path, ARRAYS[kind], count, offset=offset).reshape(shape)

    return read


def write_safetensors(path: Path, state: State, dtype: str | None = None) -> None:
    """Writes tensors in the safetensors format, one after the other. dtype "f32", "f16" or "bf16"; None keeps each tensor's own,
    F64 as f32."""
    names = sorted(state)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    kinds: dict[str, str] = {}
    for name in names:
        tensor = state[name]
        if not tensor.is_float:
            raise ConversionError(f"tensor {name}: elements of type {tensor.kind} cannot be weights")
        kinds[name] = TYPES[dtype] if dtype else "F32" if tensor.kind == "F64" else tensor.kind
        size = int(np.prod(tensor.shape, dtype=object)) * np.dtype(ARRAYS[kinds[name]]).itemsize
        header[name] = {"dtype": kinds[name], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)

    def write(file: IO[bytes]) -> None:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            file.write(state[name].stored(kinds[name], name))

    write_atomically(path, write)
