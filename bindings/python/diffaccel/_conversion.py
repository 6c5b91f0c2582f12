"""What converting has for all kinds of files: its error, and files that are there whole or not at all."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any, Callable

TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
State = dict[str, Any]


class ConversionError(Exception):
    """The file is not what can be converted; the text says why."""


def write_atomically(path: Path, write: Callable[[Any], None]) -> None:
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
    write_atomically(path, lambda file: file.write((json.dumps(value, indent=1) + "\n").encode("utf-8")))


def write_safetensors(path: Path, state: State, dtype: str | None = None) -> None:
    """Writes tensors in the safetensors format. dtype "f32", "f16" or "bf16"; None keeps each tensor's own."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    def stored(tensor: Any) -> Any:
        tensor = tensor.detach().cpu()
        kind = str(tensor.dtype).removeprefix("torch.")
        wanted = TYPES[dtype] if dtype else kind if kind in _NAMES else "float32"
        return tensor.to(getattr(torch, wanted)).contiguous()

    names = sorted(state)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in names:
        tensor = stored(state[name])
        size = tensor.numel() * tensor.element_size()
        kind = _NAMES[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)

    def write(file: Any) -> None:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            # numpy has no bfloat16, so the bytes travel as such
            file.write(stored(state[name]).reshape(-1).view(torch.uint8).numpy().tobytes())

    write_atomically(path, write)
