"""Pictures and masks of a request, as people have them: Pillow images, bytes, floats."""

from __future__ import annotations

import numbers
import sys
from typing import Any, Mapping

import numpy as np
import numpy.typing as npt

from . import _arrays
from .errors import InvalidArgumentError, ShapeError

Floats = npt.NDArray[np.float32]
#: Beyond this no value is a pixel in -1...1, not even one that a decoder overshot.
_FAR = 16.0


def is_picture(spec: Mapping[str, Any]) -> bool:
    """Whether the tensor that `spec` describes is made of pictures."""
    return spec["name"] == "image" and len(_axes(spec)) == 4


def is_mask(spec: Mapping[str, Any]) -> bool:
    """Whether the tensor that `spec` describes is made of masks, one channel each."""
    return spec["name"] == "mask" and len(_axes(spec)) == 4


def _axes(spec: Mapping[str, Any]) -> list[str]:
    return [axis.strip() for axis in spec["shape"].strip("[]").split(",")]


def picture(value: Any) -> Floats:
    """Pictures as float32 [n, 3, H, W] in -1...1.

    `value` is an image of Pillow, an array of bytes [H, W], [H, W, 3] or [n, H, W, 3] (0...255; with a fourth channel, opacity, as on
    white), floats [3, H, W] or [n, 3, H, W] in -1...1, or a list of these. Raises TypeError, ShapeError, InvalidArgumentError.
    """
    array = _pixels(value, "image")
    if array.dtype == np.uint8:
        array = _byte_batch(array, "image")
        colours = array[..., :3].astype(np.float32) / 127.5 - 1
        if array.shape[-1] == 4:
            opacity = array[..., 3:].astype(np.float32) / 255
            colours = colours * opacity + (1 - opacity)
        return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:-1], 3)).transpose(0, 3, 1, 2))
    batch = array[None] if array.ndim == 3 else array
    if batch.ndim != 4 or batch.shape[1] != 3:
        raise ShapeError(f"image: expected floats [3, H, W] or [n, 3, H, W], or bytes [H, W, 3], found {list(array.shape)}")
    if batch.size and np.abs(batch).max() > _FAR:
        raise InvalidArgumentError("image: floats are in -1...1; values of 0...255 are given as uint8")
    return batch


def mask(value: Any) -> Floats:
    """Masks as float32 [n, 1, H, W], 1 where is painted.

    `value` is an image of Pillow (white: painted), an array of bytes [H, W], [n, H, W] or [H, W, channels], booleans or floats [H, W],
    [n, H, W] or [n, 1, H, W], or a list of these. Raises TypeError, ShapeError.
    """
    array = _pixels(value, "mask")
    if array.dtype == np.uint8:
        whole = 255 if array.size and array.max() > 1 else 1
        if array.ndim == 4 and array.shape[1] == 1 and array.shape[3] not in (1, 3, 4):
            batch = array
        elif array.ndim >= 3 and array.shape[-1] in (1, 3, 4):
            # Opacity says nothing of where is painted.
            batch = _byte_batch(array, "mask")[..., :3].astype(np.float32).mean(axis=-1)[:, None]
        else:
            batch = _planes(array)
        return np.ascontiguousarray(batch.astype(np.float32) / whole)
    return np.ascontiguousarray(_planes(array))


def _planes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    batch = array[None, None] if array.ndim == 2 else array[:, None] if array.ndim == 3 else array
    if batch.ndim != 4 or batch.shape[1] != 1:
        raise ShapeError(f"mask: expected [H, W], [n, H, W] or [n, 1, H, W], found {list(array.shape)}")
    return batch


def _byte_batch(array: npt.NDArray[np.uint8], name: str) -> npt.NDArray[np.uint8]:
    """Bytes as [n, H, W, channels]."""
    batch = array[None, ..., None] if array.ndim == 2 else array[None] if array.ndim == 3 else array
    if batch.ndim != 4 or batch.shape[-1] not in (1, 3, 4):
        raise ShapeError(f"{name}: expected bytes [H, W], [H, W, 3] or [n, H, W, 3], found {list(array.shape)}")
    return batch


def _is_pillow(value: Any) -> bool:
    # Not imported for this: whoever has such an image has the module.
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def _of_pillow(value: Any, name: str) -> npt.NDArray[np.uint8]:
    if name == "mask":
        return np.asarray(value.convert("L"))
    has_opacity = value.mode in ("RGBA", "LA", "PA") or "transparency" in value.info
    return np.asarray(value.convert("RGBA" if has_opacity else "RGB"))


def _pixels(value: Any, name: str) -> npt.NDArray[Any]:
    """Bytes or floats; those of a list one after the other."""
    if _is_pillow(value):
        return _of_pillow(value, name)
    if isinstance(value, (list, tuple)) and not all(isinstance(item, (numbers.Real, list, tuple)) for item in value):
        parts = [_pixels(item, name) for item in value]
        if len({(part.shape, part.dtype.name) for part in parts}) > 1:
            raise ShapeError(f"{name}: pictures of a list must be alike, found " + ", ".join(str(list(part.shape)) for part in parts[:4]))
        if parts[0].ndim > 3:
            raise ShapeError(f"{name}: a list is of single pictures, found {list(parts[0].shape)}")
        return np.stack(parts)
    array = _arrays.as_array(value, name)
    if array.dtype == np.uint8:
        return array
    if name == "image" and array.dtype.kind in "iub":
        raise TypeError(f"image must be uint8 (0...255) or floats in -1...1, not {array.dtype}")
    return _arrays.floats(array, name)
