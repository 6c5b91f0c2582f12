"""Language models: tokenizers and chats."""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any, Callable, Literal, Mapping, Sequence, overload

import numpy as np
import numpy.typing as npt

from . import _arrays, _ffi
from ._handle import Handle, new_handle
from ._events import run_interruptibly
from .errors import ShapeError, error_for

ENCODE_SPECIAL, ENCODE_CONTROL = 1, 2

# Bytes or tokens from which on a call runs so that Ctrl-C can stop it.
_LASTING = 1 << 20


class Tokenizer(Handle):
    """Text to tokens and back. From `Model.tokenizer`, or by the path of a tokenizer.json or of a folder with one, with vocab.json and
    merges.txt, or with spiece.model: byte pairs (GPT-2's kind, CLIP's) and pieces (T5's)."""

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
        """Tokens of `text` as an int64 array; with `offsets` also an array [n, 2] of their byte ranges in its UTF-8.

        add_special: add what the tokenizer puts around a text.
        allow_control: control tokens that the text spells out, such as <|endoftext|>, become those tokens. By default they are text
        like any other, so that user text cannot open a turn of a chat or insert masks.
        Raises TypeError for anything but a string, InvalidArgumentError for lone surrogates.
        """
        source = _ffi.utf8(text, "text")
        flags = ENCODE_SPECIAL * _arrays.flag(add_special, "add_special")
        flags += ENCODE_CONTROL * _arrays.flag(allow_control, "allow_control")
        positions = np.empty((0, 2), np.int64)

        def run(cancel: Any, tokens: Any, capacity: int, needed: Any) -> tuple[int, str]:
            nonlocal positions
            positions = np.empty((capacity, 2), np.int64)
            return _ffi.call(
                _ffi.lib.da_tokenizer_encode, self._handle, source, len(source), flags, cancel, tokens,
                _arrays.pointer(positions, ctypes.c_int64), capacity, needed)

        tokens = _tokens(run, len(source))
        return (tokens, positions[: tokens.size].copy()) if offsets else tokens

    def encode_chat(
        self, family: str, messages: Sequence[Mapping[str, str]], ask: bool = True, allow_control: bool = False,
    ) -> npt.NDArray[np.int64]:
        """Tokens of a conversation as instruction-tuned models of `family` ("llada", "dream") read it.

        messages: [{"role": "system" | "user" | "assistant", "content": ...}, ...]. Contents are plain text, whatever they
        look like, unless `allow_control`. ask: open the assistant's turn.
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
        """The text of `tokens`; invalid UTF-8 becomes U+FFFD."""
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
    """The status of a call that takes a cancel flag. Ctrl-C stops it if the input is large."""
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
    """What a call that writes tokens has written. Most texts have fewer tokens than bytes; for others the call is repeated."""
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

    For a model use `Tokenizer.encode_chat`: in a text, a message that spells out a control token looks like one.
    """
    text = _turns(messages)
    return _ffi.text_of(
        _ffi.lib.da_chat_render, _ffi.encode_text(family, "family"), text, len(text), _arrays.flag(ask, "ask"))
