"""Fashion-MNIST as tensors.

The data set is four gzip'd IDX files.  Debian packages them as `dataset-fashion-mnist`;
anywhere else they are the files published by Zalando Research (MIT licence).  Reading IDX takes a
dozen lines, so no vision package is needed.
"""

import gzip
import struct
from pathlib import Path

import numpy as np
import torch

DEFAULT_DATA = "/usr/share/datasets/fashion-mnist"

LABELS = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]

_PREFIX = {"train": "train", "test": "t10k"}


def read_idx(path):
    """Return the unsigned-byte array stored in one (possibly gzip'd) IDX file."""
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rb") as stream:
        zero, kind, rank = struct.unpack(">HBB", stream.read(4))
        if zero != 0 or kind != 8:
            raise ValueError(f"{path}: not an IDX file of unsigned bytes")
        shape = struct.unpack(f">{rank}I", stream.read(4 * rank))
        body = np.frombuffer(stream.read(), dtype=np.uint8)
    if body.size != int(np.prod(shape)):
        raise ValueError(f"{path}: {body.size} bytes do not fill the shape {shape}")
    return body.reshape(shape)


def _find(folder, stem):
    for name in (f"{stem}.gz", stem):
        candidate = Path(folder) / name
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{stem}[.gz] is not in {folder}")


def load_split(split, folder=DEFAULT_DATA):
    """Return (images uint8 [N,28,28], labels int64 [N]) of "train" or "test"."""
    prefix = _PREFIX[split]
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"))
    return torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64))


def to_unit_range(images):
    """Map bytes 0..255 to float32 [-1,1] with a channel axis: the range every model here works in."""
    return (images.to(torch.float32) / 127.5 - 1.0).unsqueeze(-3)


def to_bytes(images):
    """Map float [-1,1] to bytes, rounding to nearest (the inverse of `to_unit_range`)."""
    return ((images.clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8)
