"""Language models: tokenizers, chats, and the request for texts."""

from __future__ import annotations

import ctypes
import json
import os
from dataclasses import dataclass
from typing import Any, Callable, Literal, Mapping, Sequence, overload

import numpy as np
import numpy.typing as npt

from . import _arrays, _ffi
from ._handle import Handle, new_handle
from ._prompts import Prompts, token_lists
from .errors import InvalidArgumentError, ShapeError, UnsupportedError

ALLOW_MASK, NO_END, END_LAST, INFILL = 1, 2, 4, 8


@dataclass(frozen=True)
class TextEvent:
    """What a callback is told of one text after each pass."""

    step: int  #: passes done over the batch
    steps: int  #: how many there will be at most
    prompt: int  #: number of the text
    canvas: npt.NDArray[np.int64]  #: int64, prompt and text, masks included
    revealed: npt.NDArray[np.int64]  #: int64, places of the canvas written in this pass, in the order of revelation
    fed: int  #: places of this text that were fed to the network
    seconds: float  #: since the run began


class Tokenizer(Handle):
    """Text to tokens and back. From `Model.tokenizer`, or by the path of a tokenizer.json."""

    _close_function = _ffi.lib.da_tokenizer_close

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(new_handle(_ffi.lib.da_tokenizer_load, _ffi.encode_path(path)))

    @classmethod
    def _from_handle(cls, handle: int) -> Tokenizer:
        tokenizer = cls.__new__(cls)
        Handle.__init__(tokenizer, handle)
        return tokenizer

    @overload
    def encode(self, text: str, add_special: bool = False, offsets: Literal[False] = False) -> npt.NDArray[np.int64]: ...

    @overload
    def encode(
        self, text: str, add_special: bool = False, *, offsets: Literal[True]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]: ...

    def encode(
        self, text: str, add_special: bool = False, offsets: bool = False
    ) -> npt.NDArray[np.int64] | tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Tokens of `text` as an int64 array; with `offsets` also an array [n, 2] of their bytes in its UTF-8.

        add_special: with what the tokenizer puts around a text; not for rendered chats, which have it.
        Raises TypeError for what is no string, InvalidArgumentError for halves of surrogate pairs.
        """
        source = _ffi.utf8(text, "text")
        needed = ctypes.c_size_t(0)
        flag = _arrays.flag(add_special, "add_special")
        arguments = (self._handle, source, len(source), flag)
        # Most texts have fewer tokens than bytes; what has more is asked for again.
        capacity = len(source) + 64
        while True:
            tokens = np.empty(capacity, np.int64)
            places = np.empty((capacity, 2), np.int64)
            status = _ffi.check(
                _ffi.lib.da_tokenizer_encode, *arguments, _arrays.pointer(tokens, ctypes.c_int64),
                _arrays.pointer(places, ctypes.c_int64), capacity, ctypes.byref(needed))
            if status != _ffi.DA_MORE:
                break
            capacity = needed.value
        tokens, places = tokens[: needed.value].copy(), places[: needed.value].copy()
        return (tokens, places) if offsets else tokens

    def decode(self, tokens: Any, skip_special: bool = True) -> str:
        """The text of `tokens`; what is no UTF-8 becomes U+FFFD."""
        ids = _arrays.integers(tokens, "tokens")
        if ids.ndim != 1:
            raise ShapeError(f"tokens: expected those of one text, found shape {ids.shape}; decode the rows one by one")
        needed = ctypes.c_size_t(0)
        flag = _arrays.flag(skip_special, "skip_special")
        arguments = (self._handle, _arrays.pointer(ids, ctypes.c_int64), ids.size, flag)
        _ffi.check(_ffi.lib.da_tokenizer_decode, *arguments, None, 0, ctypes.byref(needed))
        buffer = ctypes.create_string_buffer(max(1, needed.value))
        _ffi.check(_ffi.lib.da_tokenizer_decode, *arguments, buffer, len(buffer), ctypes.byref(needed))
        return buffer.raw[: needed.value - 1].decode("utf-8")

    def __repr__(self) -> str:
        return "<diffaccel.Tokenizer closed>" if self.closed else "<diffaccel.Tokenizer>"


def render_chat(family: str, messages: Sequence[Mapping[str, str]], ask: bool = True) -> str:
    """A conversation as instruction-tuned models of `family` ("llada", "dream") read it: [{"role": ..., "content": ...}, ...]."""
    if isinstance(messages, (str, bytes, Mapping)) or not all(isinstance(message, Mapping) for message in messages):
        raise TypeError('messages must be a list of {"role": ..., "content": ...}')
    turns = [dict(message) for message in messages]
    for index, turn in enumerate(turns):
        for name, value in turn.items():
            _ffi.utf8(value, f"messages[{index}][{name!r}]")
    text = json.dumps(turns).encode()
    return _ffi.text_of(
        _ffi.lib.da_chat_render, _ffi.encode_text(family, "family"), text, len(text), _arrays.flag(ask, "ask"))


def infilling_prompt(tokenizer: Tokenizer, mask: int | None, text: str, blank: str) -> np.ndarray:
    """Tokens of `text`, every `blank` in it standing for one mask token."""
    if mask is None:
        raise UnsupportedError("the model names no mask token; open it with mask_token=...")
    if not blank:
        raise InvalidArgumentError("blank: an empty one would stand everywhere")
    # What the tokenizer puts around a text stands for none of its bytes.
    around, places = tokenizer.encode("a", add_special=True, offsets=True)
    inside = np.flatnonzero(places[:, 1] > places[:, 0])
    first, last = (int(inside[0]), int(inside[-1]) + 1) if inside.size else (around.size, around.size)
    parts = [around[:first]]
    for number, piece in enumerate(text.split(blank)):
        parts += [np.array([mask], np.int64)] * (number > 0) + [tokenizer.encode(piece)]
    return np.concatenate([*parts, around[last:]])


def request(
    tokenizer: Callable[[], Tokenizer], family: str, prompt: Prompts, *, mask: int | None = None, blank: str | None = None,
    infill: bool = False, chat: bool = False, length: int | None = None,
    steps: int | None = None, block_length: int | None = None, order: str | None = None, temperature: float | None = None,
    guidance: float | None = None, threshold: float | None = None, order_temperature: float | None = None,
    top_p: float | None = None, top_k: int | None = None, eps: float | None = None, seed: int | None = None,
    seeds: Sequence[int] | None = None, allow_mask: bool = False, no_end: bool = False, end_last: bool = False,
) -> tuple[_ffi.TextRequest, list[Any]]:
    """The C request, and the arrays it points to, which must outlive its use. What is None keeps the library's default."""
    raw = _ffi.TextRequest()
    _ffi.check(_ffi.lib.da_text_request_init, ctypes.byref(raw), ctypes.sizeof(raw))
    is_chat = bool(_arrays.flag(chat, "chat"))
    if is_chat and blank is not None:
        raise InvalidArgumentError("blank: a conversation has none to fill in")

    def encode(text: str) -> npt.NDArray[np.int64]:
        if blank is not None:
            return infilling_prompt(tokenizer(), mask, text, blank)
        said = render_chat(family, [{"role": "user", "content": text}]) if is_chat else text
        return tokenizer().encode(said, add_special=not is_chat)

    lists = token_lists(prompt, encode)
    tokens = np.concatenate(lists)
    lengths = np.array([one.size for one in lists], np.uint64)
    raw.tokens, raw.prompt_count = _arrays.pointer(tokens, ctypes.c_int64), len(lists)
    raw.lengths = _arrays.pointer(lengths, ctypes.c_size_t)
    for name, count in (("length", length), ("steps", steps), ("block_length", block_length), ("top_k", top_k)):
        if count is not None:
            setattr(raw, name, _arrays.integer(count, name))
    for name, number in (("temperature", temperature), ("guidance", guidance), ("threshold", threshold),
                         ("order_temperature", order_temperature), ("top_p", top_p), ("eps", eps)):
        if number is not None:
            setattr(raw, name, _arrays.real(number, name))
    raw.order = _ffi.encode_text(order, "order")
    if seed is not None:
        raw.seed = _arrays.unsigned(seed, "seed")
    for flag, name, asked in ((ALLOW_MASK, "allow_mask", allow_mask), (NO_END, "no_end", no_end), (END_LAST, "end_last", end_last),
                              (INFILL, "infill", infill)):
        raw.flags |= flag * _arrays.flag(asked, name)
    kept: list[Any] = [tokens, lengths]
    if seeds is not None:
        own = np.array([_arrays.unsigned(value, "seeds") for value in seeds], np.uint64)
        if own.size != len(lists):
            raise InvalidArgumentError(f"seeds: {own.size} for {len(lists)} prompts")
        raw.seeds = _arrays.pointer(own, ctypes.c_uint64)
        kept.append(own)
    return raw, kept


class TextListener:
    """Passes the library's text events on, and keeps what the receiver raised."""

    def __init__(self, callback: Callable[[TextEvent], Any] | None) -> None:
        self.failure: BaseException | None = None
        self._callback = callback
        self.function = _ffi.TextCallback(self._tell) if callback is not None else _ffi.TextCallback()

    def _tell(self, _user: Any, event: Any) -> int:
        try:
            if self._callback is None:
                return 0
            raw = event.contents
            canvas = np.ctypeslib.as_array(raw.canvas, (raw.canvas_count,)).copy()
            count = raw.revealed_count
            revealed = np.ctypeslib.as_array(raw.revealed, (count,)).copy() if count else np.empty(0, np.int64)
            return int(bool(self._callback(
                TextEvent(raw.step, raw.steps, raw.prompt, canvas, revealed, raw.fed, raw.seconds))))
        except BaseException as failure:  # noqa: BLE001 - raised again by `raise_failure`
            self.failure = failure
            return 1

    def raise_failure(self) -> None:
        """Raises what the callback raised, if anything."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
