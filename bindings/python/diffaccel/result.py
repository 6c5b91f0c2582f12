"""What a run gave: images, latents and figures."""

from __future__ import annotations

import ctypes
import json
from typing import Any

import numpy as np

from . import _ffi
from ._handle import Handle
from .errors import InvalidArgumentError

_KINDS = {_ffi.F32: np.dtype(np.float32), _ffi.U8: np.dtype(np.uint8), _ffi.I64: np.dtype(np.int64)}


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
            "typestr": _KINDS[tensor.dtype].str,
            "data": (tensor.data or 0, True),
        }


class Result:
    """The outcome of `Session.sample`.

    Arrays are views of the library's memory: they are read-only, cost nothing, and stay valid after the result, the
    session and the model are gone. `copy()` one to change it.
    """

    def __init__(self, handle: int) -> None:
        self._owner: _Owner | None = _Owner(handle)

    def _open(self) -> _Owner:
        if self._owner is None:
            from .errors import InvalidHandleError

            raise InvalidHandleError("the result is closed")
        return self._owner

    def tensor(self, name: str) -> np.ndarray:
        """The tensor of that name. Raises InvalidArgumentError when the result has none."""
        owner = self._open()
        view = _ffi.Tensor(struct_size=ctypes.sizeof(_ffi.Tensor))
        _ffi.check(_ffi.lib.da_result_tensor, owner._handle, _ffi.encode_text(name, "name"), ctypes.byref(view))
        return np.asarray(_Memory(owner, view))

    def _optional(self, name: str) -> np.ndarray | None:
        try:
            return self.tensor(name)
        except InvalidArgumentError:
            return None

    @property
    def images(self) -> np.ndarray | None:
        """uint8 [n, H, W, C] with C 3 or 1; None when nothing was decoded."""
        return self._optional("images")

    @property
    def latents(self) -> np.ndarray:
        """float32 [n, C, H, W]: the sampler's last state."""
        return self.tensor("latents")

    @property
    def tokens(self) -> np.ndarray | None:
        """int64 [n, L]: the codes of all scales, one after the other; None of models that do not work scale by scale."""
        return self._optional("tokens")

    @property
    def pixels(self) -> np.ndarray | None:
        """float32 [n, C, H, W], nominally -1...1; None when nothing was decoded."""
        return self._optional("pixels")

    @property
    def stats(self) -> dict[str, Any]:
        """Seconds, threads, instruction set, and for each step timestep, seconds, sites computed and reused, FLOPs."""
        return json.loads(_ffi.text_of(_ffi.lib.da_result_stats, self._open()._handle))

    def close(self) -> None:
        """Lets go of the result. Its memory is freed when no array refers to it any more."""
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
        return f"<diffaccel.Result: {len(self.latents)} samples, {len(stats['steps'])} steps, {stats['seconds']:.2f} s>"


class TextResult(Result):
    """The outcome of `Session.generate`."""

    def __init__(self, handle: int, model: Any, whole: bool = False) -> None:
        super().__init__(handle)
        self._model, self._whole = model, whole

    @property
    def tokens(self) -> np.ndarray:
        """int64 [prompts, length]: what was generated behind the prompts."""
        return self.tensor("tokens")

    @property
    def sequences(self) -> list[np.ndarray]:
        """int64 arrays: prompt and text of each prompt, masks in it filled."""
        return self._split("sequences")

    @property
    def filled(self) -> list[np.ndarray]:
        """int64 arrays: for each prompt the places of its sequence that the run filled, ascending."""
        return [np.flatnonzero(flags) for flags in self._split("filled")]

    def _split(self, name: str) -> list[np.ndarray]:
        return np.split(self.tensor(name), np.cumsum(self.tensor("lengths"))[:-1])

    @property
    def texts(self) -> list[str]:
        """The texts behind the prompts, up to the first token that ends one; of infilling the whole texts, prompts and all.

        Raises UnsupportedError when the model has no tokenizer.
        """
        tokenizer, ends = self._model.tokenizer, set(self._model.end_tokens)
        texts = []
        length = self.tokens.shape[1]
        for row in (self.sequences if self._whole else self.tokens):
            row = row.tolist()
            stop = next((place for place in range(len(row) - length, len(row)) if row[place] in ends), len(row))
            texts.append(tokenizer.decode(row[:stop]))
        return texts

    @property
    def text(self) -> str:
        """The text of the first prompt."""
        return self.texts[0]
