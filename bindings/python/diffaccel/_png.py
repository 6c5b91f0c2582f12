"""Pictures as PNG files, without another package."""

from __future__ import annotations

import importlib
import math
import os
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import FileError, UnsupportedError

Pictures = npt.NDArray[np.uint8]
_GAP = 2


def grid(images: Pictures, columns: int | None = None) -> Pictures:
    """Images [n, H, W, C] as one, on white, in a square grid or in `columns` columns: what `diffaccel sample` writes."""
    count, height, width, channels = images.shape
    across = min(columns or math.isqrt(count - 1) + 1, count)
    down = -(-count // across)
    sheet: Pictures = np.full((down * (height + _GAP) + _GAP, across * (width + _GAP) + _GAP, channels), 255, np.uint8)
    for index, image in enumerate(images):
        y, x = _GAP + index // across * (height + _GAP), _GAP + index % across * (width + _GAP)
        sheet[y:y + height, x:x + width] = image
    return sheet


def encoded(picture: Pictures, parameters: str = "") -> bytes:
    """A picture [H, W, 1 or 3] as the bytes of a PNG file, with what it was made with as the text `parameters`."""
    height, width, channels = picture.shape
    if channels not in (1, 3):
        raise UnsupportedError(f"a picture of {channels} channels cannot be shown")
    lines = np.zeros((height, 1 + width * channels), np.uint8)
    lines[:, 1:] = picture.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    text = chunk(*_text_chunk("parameters", parameters)) if parameters else b""
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text + chunk(b"IDAT", zlib.compress(lines.tobytes()))
            + chunk(b"IEND", b""))


def _text_chunk(keyword: str, text: str) -> tuple[bytes, bytes]:
    """The kind and the data of a chunk that says `text`: tEXt where Latin-1 has all its letters, else iTXt."""
    text = text.replace("\0", " ")
    try:
        return b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        return b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode("utf-8", "replace")


def pillow() -> Any:
    """The module PIL.Image. Raises ImportError naming what to install."""
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise ImportError("this needs Pillow: pip install Pillow; `save(\"x.png\")` and `images` do without") from error


def image_of(picture: Pictures) -> Any:
    """A picture [H, W, C] as an image of Pillow, gray for one channel."""
    return pillow().fromarray(np.ascontiguousarray(picture[:, :, 0] if picture.shape[2] == 1 else picture))


def write(path: Any, data: bytes) -> None:
    """The whole file or none: under another name first. Raises FileError."""
    target = Path(os.fspath(path))
    try:
        descriptor, name = tempfile.mkstemp(prefix=".diffaccel-", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise FileError(f"{target}: {error.strerror or error}") from error
