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
from ._events import run_interruptibly
from ._prompts import Prompts, token_lists
from .errors import InvalidArgumentError, ShapeError, UnsupportedError, error_for

ALLOW_MASK, NO_END, END_LAST, INFILL = 1, 2, 4, 8
ENCODE_SPECIAL, ENCODE_CONTROL = 1, 2

# Bytes or tokens from which on a call runs so that Ctrl-C can stop it.
_LASTING = 1 << 20


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
    def encode(
        self, text: str, add_special: bool = False, offsets: Literal[False] = False, allow_control: bool = False
    ) -> npt.NDArray[np.int64]: ...

    @overload
    def encode(
        self, text: str, add_special: bool = False, *, offsets: Literal[True], allow_control: bool = False
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]: ...

    def encode(
        self, text: str, add_special: bool = False, offsets: bool = False, allow_control: bool = False
    ) -> npt.NDArray[np.int64] | tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Tokens of `text` as an int64 array; with `offsets` also an array [n, 2] of their bytes in its UTF-8.

        add_special: with what the tokenizer puts around a text.
        allow_control: control tokens that the text spells out, such as <|endoftext|>, are those tokens. By default they are text
        like any other, so that nobody's text can open a turn of a chat or bring masks.
        Raises TypeError for what is no string, InvalidArgumentError for halves of surrogate pairs.
        """
        source = _ffi.utf8(text, "text")
        flags = ENCODE_SPECIAL * _arrays.flag(add_special, "add_special")
        flags += ENCODE_CONTROL * _arrays.flag(allow_control, "allow_control")
        places = np.empty((0, 2), np.int64)

        def run(cancel: Any, tokens: Any, capacity: int, needed: Any) -> tuple[int, str]:
            nonlocal places
            places = np.empty((capacity, 2), np.int64)
            return _ffi.call(
                _ffi.lib.da_tokenizer_encode, self._handle, source, len(source), flags, cancel, tokens,
                _arrays.pointer(places, ctypes.c_int64), capacity, needed)

        tokens = _tokens(run, len(source))
        return (tokens, places[: tokens.size].copy()) if offsets else tokens

    def encode_chat(
        self, family: str, messages: Sequence[Mapping[str, str]], ask: bool = True, allow_control: bool = False,
    ) -> npt.NDArray[np.int64]:
        """Tokens of a conversation as instruction-tuned models of `family` ("llada", "dream") read it.

        messages: [{"role": "system" | "user" | "assistant", "content": ...}, ...]. What a content says is plain text, whatever it
        looks like, unless `allow_control`. ask: opens the assistant's turn.
        """
        source = _turns(messages)
        name = _ffi.encode_text(family, "family")
        asks = _arrays.flag(ask, "ask")
        flags = ENCODE_CONTROL * _arrays.flag(allow_control, "allow_control")

        def run(cancel: Any, tokens: Any, capacity: int, needed: Any) -> tuple[int, str]:
            return _ffi.call(
                _ffi.lib.da_chat_encode, self._handle, name, source, len(source), asks, flags, cancel, tokens, capacity, needed)

        return _tokens(run, len(source))

    def decode(self, tokens: Any, skip_special: bool = True) -> str:
        """The text of `tokens`; what is no UTF-8 becomes U+FFFD."""
        ids = _arrays.integers(tokens, "tokens")
        if ids.ndim != 1:
            raise ShapeError(f"tokens: expected those of one text, found shape {ids.shape}; decode the rows one by one")
        needed = ctypes.c_size_t(0)
        flag = _arrays.flag(skip_special, "skip_special")
        buffer = ctypes.create_string_buffer(1)

        def work(cancel: Any) -> tuple[int, str]:
            return _ffi.call(
                _ffi.lib.da_tokenizer_decode, self._handle, _arrays.pointer(ids, ctypes.c_int64), ids.size, flag, cancel, buffer,
                len(buffer), ctypes.byref(needed))

        while _stoppable(work, ids.size) == _ffi.DA_MORE:
            buffer = ctypes.create_string_buffer(needed.value)
        return buffer.raw[: needed.value - 1].decode("utf-8")

    def __repr__(self) -> str:
        return "<diffaccel.Tokenizer closed>" if self.closed else "<diffaccel.Tokenizer>"


def _stoppable(work: Callable[[Any], tuple[int, str]], size: int) -> int:
    """The status of a call that takes a cancel flag. Ctrl-C stops it when there is much to do."""
    flag = ctypes.c_int32(0)
    pointer = ctypes.pointer(flag)
    if size < _LASTING:
        status, text = work(pointer)
    else:
        status, text = run_interruptibly(lambda: work(pointer), lambda: setattr(flag, "value", 1))
    if status < 0:
        raise error_for(status, text)
    return status


def _tokens(run: Callable[[Any, Any, int, Any], tuple[int, str]], size: int) -> npt.NDArray[np.int64]:
    """What a call that writes tokens has written. Most texts have fewer tokens than bytes; what has more is asked for again."""
    needed = ctypes.c_size_t(0)
    capacity = size + 64
    while True:
        tokens = np.empty(capacity, np.int64)
        status = _stoppable(
            lambda cancel: run(cancel, _arrays.pointer(tokens, ctypes.c_int64), capacity, ctypes.byref(needed)), size)
        if status != _ffi.DA_MORE:
            return tokens[: needed.value].copy()
        capacity = needed.value


def _turns(messages: Sequence[Mapping[str, str]]) -> bytes:
    """A conversation as the library reads it."""
    if isinstance(messages, (str, bytes, Mapping)) or not all(isinstance(message, Mapping) for message in messages):
        raise TypeError('messages must be a list of {"role": ..., "content": ...}')
    turns = [dict(message) for message in messages]
    for index, turn in enumerate(turns):
        for name, value in turn.items():
            _ffi.utf8(value, f"messages[{index}][{name!r}]")
    return json.dumps(turns).encode()


def render_chat(family: str, messages: Sequence[Mapping[str, str]], ask: bool = True) -> str:
    """A conversation as instruction-tuned models of `family` ("llada", "dream") read it, for reading.

    For a model take `Tokenizer.encode_chat`: in a text a message that spells out a control token looks like one.
    """
    text = _turns(messages)
    return _ffi.text_of(
        _ffi.lib.da_chat_render, _ffi.encode_text(family, "family"), text, len(text), _arrays.flag(ask, "ask"))


def infilling_prompt(
    tokenizer: Tokenizer, mask: int | None, text: str, blank: str, allow_control: bool = False
) -> npt.NDArray[np.int64]:
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
        parts += [np.array([mask], np.int64)] * (number > 0) + [tokenizer.encode(piece, allow_control=allow_control)]
    return np.concatenate([*parts, around[last:]])


def request(
    tokenizer: Callable[[], Tokenizer], family: str, prompt: Prompts, *, mask: int | None = None, blank: str | None = None,
    infill: bool = False, chat: bool = False, length: int | None = None,
    steps: int | None = None, block_length: int | None = None, order: str | None = None, temperature: float | None = None,
    guidance: float | None = None, threshold: float | None = None, order_temperature: float | None = None,
    top_p: float | None = None, top_k: int | None = None, eps: float | None = None, seed: int | None = None,
    seeds: Sequence[int] | None = None, allow_mask: bool = False, no_end: bool = False, end_last: bool = False,
    allow_control: bool = False,
) -> tuple[_ffi.TextRequest, list[Any]]:
    """The C request, and the arrays it points to, which must outlive its use. What is None keeps the library's default."""
    raw = _ffi.TextRequest()
    _ffi.check(_ffi.lib.da_text_request_init, ctypes.byref(raw), ctypes.sizeof(raw))
    is_chat = bool(_arrays.flag(chat, "chat"))
    if is_chat and blank is not None:
        raise InvalidArgumentError("blank: a conversation has none to fill in")

    def encode(text: str) -> npt.NDArray[np.int64]:
        if blank is not None:
            return infilling_prompt(tokenizer(), mask, text, blank, allow_control)
        if is_chat:
            return tokenizer().encode_chat(family, [{"role": "user", "content": text}], allow_control=allow_control)
        return tokenizer().encode(text, add_special=True, allow_control=allow_control)

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
