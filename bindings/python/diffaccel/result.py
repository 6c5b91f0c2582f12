"""The result of a run: images, sounds, texts, states and statistics."""

from __future__ import annotations

import ctypes
import html
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _arrays, _ffi, _png, _sounds
from ._handle import Handle
from .errors import InvalidArgumentError, InvalidHandleError

_KINDS: dict[int, str] = {_ffi.F32: np.dtype(np.float32).str, _ffi.U8: np.dtype(np.uint8).str, _ffi.I64: np.dtype(np.int64).str}


class _Owner(Handle):
    """The library's result. Every array made from it refers to it, so its memory outlives them all."""

    _close_function = _ffi.lib.da_result_close


class _Memory:
    """A block of the result's memory, read-only, in the form that numpy takes."""

    def __init__(self, owner: _Owner, tensor: _ffi.Tensor) -> None:
        self._owner = owner
        self.__array_interface__ = {
            "version": 3,
            "shape": tuple(tensor.shape[: tensor.rank]),
            "typestr": _KINDS[tensor.dtype],
            "data": (tensor.data or 0, True),
        }


class Result:
    """The result of `Session.sample`. For texts, `str()` gives the texts.

    Arrays are views of the library's memory: they are read-only, cost nothing, and stay valid after the result, the
    session and the model are closed. `copy()` an array to change it.
    """

    def __init__(self, handle: int) -> None:
        self._owner: _Owner | None = _Owner(handle)

    def _open(self) -> _Owner:
        if self._owner is None:
            raise InvalidHandleError("the result is closed")
        return self._owner

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """The tensor of that name. Raises InvalidArgumentError when the result has none, naming those it has."""
        owner = self._open()
        view = _ffi.Tensor(struct_size=ctypes.sizeof(_ffi.Tensor))
        _ffi.check(_ffi.lib.da_result_tensor, owner._handle, _ffi.encode_text(name, "name"), ctypes.byref(view))
        return np.asarray(_Memory(owner, view))

    @property
    def names(self) -> list[str]:
        """Names of the tensors. Images: "latents", and "pixels" and "images" if decoded; scale by scale also "tokens"; sounds: "latents",
        and "audio" and "mel" if decoded;
        language models: "tokens", "sequences", "lengths", "filled", and "text" and "text_lengths" if the model has a tokenizer."""
        return sorted(self.stats["tensors"])

    @property
    def images(self) -> npt.NDArray[np.uint8]:
        """uint8 [n, H, W, C] with C 3 or 1. Raises InvalidArgumentError when nothing was decoded: `"images" in result.names` tells."""
        return self.tensor("images")

    @property
    def latents(self) -> npt.NDArray[np.float32]:
        """float32 [n, C, H, W]: the sampler's last state. Raises InvalidArgumentError when the model has none."""
        return self.tensor("latents")

    @property
    def tokens(self) -> npt.NDArray[np.int64]:
        """int64: scale by scale [n, L], the codes of all scales one after the other; of language models [prompts, length], what was
        generated after the prompts. Raises InvalidArgumentError for models without tokens."""
        return self.tensor("tokens")

    @property
    def sequences(self) -> list[npt.NDArray[np.int64]]:
        """int64 arrays: each prompt with its text, masks in it filled. Raises InvalidArgumentError when the model writes no texts."""
        return self._split("sequences")

    @property
    def filled(self) -> list[npt.NDArray[np.int64]]:
        """int64 arrays: for each prompt the positions of its sequence that the run filled, ascending. Raises as `sequences`."""
        return [np.flatnonzero(flags) for flags in self._split("filled")]

    def _split(self, name: str, lengths: str = "lengths") -> list[npt.NDArray[Any]]:
        return np.split(self.tensor(name), np.cumsum(self.tensor(lengths))[:-1])

    @property
    def texts(self) -> list[str]:
        """The texts generated after the prompts, up to the first end token; with infilling the whole texts, prompts included.

        Raises InvalidArgumentError when the model writes no texts, or has no tokenizer.
        """
        return [part.tobytes().decode("utf-8", "replace") for part in self._split("text", "text_lengths")]

    @property
    def text(self) -> str:
        """The text of the first prompt."""
        return self.texts[0]

    @property
    def pixels(self) -> npt.NDArray[np.float32]:
        """float32 [n, C, H, W], nominally -1...1. Raises InvalidArgumentError when nothing was decoded."""
        return self.tensor("pixels")

    @property
    def audio(self) -> npt.NDArray[np.float32]:
        """float32 [n, values] in -1...1: sounds, of which `sample_rate` values are a second. Raises InvalidArgumentError when the model makes
        none, or nothing was decoded."""
        return self.tensor("audio")

    @property
    def sample_rate(self) -> int:
        """Values of a second of `audio`; 0 when the model makes no sounds."""
        return int(self.stats.get("sample_rate") or 0)

    @property
    def parameters(self) -> list[str]:
        """What each picture was made with, as files of pictures say it: the prompt, a line of the negative prompt, a line of settings.
        Empty unless the pictures come from prompts."""
        return [str(text) for text in self.stats.get("parameters", [])]

    @property
    def pil_images(self) -> list[Any]:
        """The images as Pillow images, gray ones with one channel; of prompts with their `parameters` in `info`. Raises ImportError without
        Pillow, else as `images`."""
        pictures = [_png.image_of(picture) for picture in self.images]
        for picture, text in zip(pictures, self.parameters):
            picture.info["parameters"] = text
        return pictures

    def save(self, path: str | os.PathLike[str], columns: int | None = None, index: int | None = None) -> None:
        """Writes the images to one file, several in a grid (of `columns` columns), as `diffaccel sample --out` does; a single one, or that
        of number `index`, without a margin. PNG needs no other package; other formats, by the name's suffix, need Pillow. A PNG of
        pictures from prompts carries `parameters`, of a grid the first one's, as its text of that name. A name ending in .txt gets the
        texts, each followed by a line feed; one ending in .wav the sound, or of several that of number `index`.

        Raises InvalidArgumentError when there are no images, sounds or texts or for an unknown format, FileError.
        """
        kind = Path(path).suffix.lower()
        if kind == ".wav":
            return _png.write(path, _sounds.wav(self._sound(columns, index), self.sample_rate))
        if kind == ".txt":
            if columns is not None or index is not None:
                raise InvalidArgumentError("columns and index are for pictures")
            return _png.write(path, "".join(text + "\n" for text in self.texts).encode("utf-8"))
        picture = self._sheet(columns, index)
        if kind == ".png":
            return _png.write(path, _png.encoded(picture, self._parameters(index)))
        formats = _png.pillow().registered_extensions()
        if kind not in formats:
            raise InvalidArgumentError(f"{os.fspath(path)}: the name says no kind of picture; end it in .png")
        file = io.BytesIO()
        _png.image_of(picture).save(file, formats[kind])
        _png.write(path, file.getvalue())

    def _parameters(self, index: int | None = None) -> str:
        """Those of the picture of that number, or of the first one; nothing where there are none."""
        texts = self.parameters
        return texts[index or 0] if texts else ""

    def _sound(self, columns: int | None, index: int | None) -> npt.NDArray[np.float32]:
        sounds = self.audio
        number = _arrays.integer(0 if index is None and len(sounds) == 1 else -1 if index is None else index, "index")
        if columns is not None or not 0 <= number < len(sounds):
            raise InvalidArgumentError(f"index must be one of the {len(sounds)} sounds', without columns; found {index}")
        chosen: npt.NDArray[np.float32] = sounds[number]
        return chosen

    def _sheet(self, columns: int | None = None, index: int | None = None) -> npt.NDArray[np.uint8]:
        if columns is not None and columns < 1:
            raise InvalidArgumentError(f"columns must be at least 1, found {columns}")
        images = self.images
        if index is not None:
            if columns is not None or not 0 <= _arrays.integer(index, "index") < len(images):
                raise InvalidArgumentError(f"index must be one of the {len(images)} pictures', without columns; found {index}")
            chosen: npt.NDArray[np.uint8] = images[index]
            return chosen
        return images[0] if len(images) == 1 else _png.grid(images, columns)

    def _repr_png_(self) -> bytes | None:
        """The images for notebooks; None when there are none."""
        if self.closed or "images" not in self.names or self.images.shape[3] not in (1, 3):
            return None
        return _png.encoded(self._sheet(), self._parameters())

    def _repr_html_(self) -> str | None:
        """The texts for notebooks, or the sounds, which they play; None when there are none."""
        if not self.closed and "audio" in self.names:
            return "".join(_sounds.player(sound, self.sample_rate) for sound in self.audio)
        if self.closed or "text" not in self.names:
            return None
        return "".join(f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>' for text in self.texts)

    def __str__(self) -> str:
        return "\n".join(self.texts) if not self.closed and "text" in self.names else repr(self)

    @property
    def stats(self) -> dict[str, Any]:
        """Seconds, threads and instruction set; for each step timestep, seconds, sites computed and reused, FLOPs; and the tensors' shapes."""
        return _ffi.facts_of(_ffi.lib.da_result_stats, self._open()._handle)

    def close(self) -> None:
        """Releases the result. Its memory is freed when no array refers to it any more."""
        self._owner = None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._owner is None

    def __enter__(self) -> Result:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a Result cannot be copied or pickled; copy its arrays")

    def __repr__(self) -> str:
        if self.closed:
            return "<diffaccel.Result closed>"
        stats = self.stats
        tensors = ", ".join(f"{name} {shape}" for name, shape in sorted(stats["tensors"].items()))
        count = next((stats["tensors"][name][0] for name in ("tokens", "latents") if name in stats["tensors"]), 0)
        return f"<diffaccel.Result: {count} samples, {len(stats['steps'])} {stats['sampler']} steps, {stats['seconds']:.2f} s: {tensors}>"
