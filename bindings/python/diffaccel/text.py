"""Language models: tokenizers, chats, and the request for texts."""

from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from . import _arrays, _ffi
from ._handle import Handle, new_handle
from .errors import InvalidArgumentError, UnsupportedError

ALLOW_MASK, NO_END, END_LAST, INFILL = 1, 2, 4, 8


@dataclass(frozen=True)
class TextEvent:
    """What a callback is told of one text after each pass."""

    step: int  #: passes done over the batch
    steps: int  #: how many there will be at most
    prompt: int  #: number of the text
    canvas: np.ndarray  #: int64, prompt and text, masks included
    revealed: np.ndarray  #: int64, places of the canvas written in this pass, in the order of revelation
    fed: int  #: places of this text that were fed to the network
    seconds: float  #: since the run began


class Tokenizer(Handle):
    """Text to tokens and back. From `Model.tokenizer`, or by the path of a tokenizer.json."""

    _close_function = _ffi.lib.da_tokenizer_close

    def __init__(self, path: Any = None, *, _handle: int | None = None) -> None:
        super().__init__(
            _handle if _handle is not None else new_handle(_ffi.lib.da_tokenizer_load, _ffi.encode_path(path)))

    def encode(self, text: str, add_special: bool = False, offsets: bool = False) -> Any:
        """Tokens of `text` as an int64 array; with `offsets` also an array [n, 2] of their bytes in its UTF-8.

        add_special: with what the tokenizer puts around a text; not for rendered chats, which have it.
        """
        source = text.encode("utf-8", "replace")
        needed = ctypes.c_size_t(0)
        flag = _arrays.flag(add_special, "add_special")
        arguments = (self._handle, source, len(source), flag)
        # Most texts have fewer tokens than bytes; what has more is asked for again.
        capacity = len(source) + 64
        while True:
            tokens = np.empty(capacity, np.int64)
            places = np.empty((capacity, 2), np.int64)
            status = _ffi.check(
                _ffi.lib.da_tokenizer_encode, *arguments, _arrays.pointer(tokens, _ffi.c_int64),
                _arrays.pointer(places, _ffi.c_int64), capacity, ctypes.byref(needed))
            if status != _ffi.DA_MORE:
                break
            capacity = needed.value
        tokens, places = tokens[: needed.value].copy(), places[: needed.value].copy()
        return (tokens, places) if offsets else tokens

    def decode(self, tokens: Any, skip_special: bool = True) -> str:
        """The text of `tokens`; what is no UTF-8 becomes U+FFFD."""
        ids = _arrays.integers(tokens, "tokens").reshape(-1)
        needed = ctypes.c_size_t(0)
        flag = _arrays.flag(skip_special, "skip_special")
        arguments = (self._handle, _arrays.pointer(ids, _ffi.c_int64), ids.size, flag)
        _ffi.check(_ffi.lib.da_tokenizer_decode, *arguments, None, 0, ctypes.byref(needed))
        buffer = ctypes.create_string_buffer(max(1, needed.value))
        _ffi.check(_ffi.lib.da_tokenizer_decode, *arguments, buffer, len(buffer), ctypes.byref(needed))
        return buffer.raw[: needed.value - 1].decode("utf-8")

    def __repr__(self) -> str:
        return "<diffaccel.Tokenizer closed>" if self.closed else "<diffaccel.Tokenizer>"


def render_chat(family: str, messages: Sequence[dict[str, str]], ask: bool = True) -> str:
    """A conversation as instruction-tuned models of `family` ("llada", "dream") read it: [{"role": ..., "content": ...}, ...]."""
    text = json.dumps(list(messages)).encode()
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
    tokenizer: Callable[[], Tokenizer], family: str, prompt: Any, *, mask: int | None = None, blank: str | None = None,
    infill: bool = False, chat: bool = False, length: int = 128, steps: int = 0,
    block_length: int = 0, order: str | None = None, temperature: float = 0.0, guidance: float = 0.0, threshold: float = 0.0,
    order_temperature: float = 0.0, top_p: float = 1.0, top_k: int = 0, eps: float = 1e-3, seed: int = 0,
    seeds: Any = None, allow_mask: bool = False, no_end: bool = False, end_last: bool = False,
) -> tuple[_ffi.TextRequest, list[Any]]:
    """The C request, and the arrays it points to, which must outlive its use."""
    raw = _ffi.TextRequest()
    _ffi.check(_ffi.lib.da_text_request_init, ctypes.byref(raw), ctypes.sizeof(raw))
    prompts = [prompt] if isinstance(prompt, str) or (np.ndim(prompt) == 1 and not isinstance(prompt[0], str)) else prompt
    lists = []
    for one in prompts:
        if isinstance(one, str):
            if blank is not None:
                if chat:
                    raise InvalidArgumentError("blank: a conversation has none to fill in")
                one = infilling_prompt(tokenizer(), mask, one, blank)
            else:
                text = render_chat(family, [{"role": "user", "content": one}]) if chat else one
                one = tokenizer().encode(text, add_special=not chat)
        lists.append(_arrays.integers(one, "prompt").reshape(-1))
    if not lists:
        raise InvalidArgumentError("prompt: at least one is needed")
    tokens = np.concatenate(lists)
    lengths = np.array([one.size for one in lists], np.uint64)
    raw.tokens, raw.prompt_count = _arrays.pointer(tokens, _ffi.c_int64), len(lists)
    raw.lengths = lengths.ctypes.data_as(ctypes.POINTER(_ffi.c_size_t))
    for name, value in (("length", length), ("steps", steps), ("block_length", block_length), ("top_k", top_k)):
        setattr(raw, name, _arrays.integer(value, name))
    for name, value in (("temperature", temperature), ("guidance", guidance), ("threshold", threshold),
                        ("order_temperature", order_temperature), ("top_p", top_p), ("eps", eps)):
        setattr(raw, name, float(value))
    raw.order = _ffi.encode_text(order, "order")
    raw.seed = _arrays.unsigned(seed, "seed")
    raw.flags = (ALLOW_MASK * bool(allow_mask) + NO_END * bool(no_end) + END_LAST * bool(end_last)
                 + INFILL * _arrays.flag(infill, "infill"))
    kept: list[Any] = [tokens, lengths]
    if seeds is not None:
        own = np.array([_arrays.unsigned(int(value), "seeds") for value in seeds], np.uint64)
        if own.size != len(lists):
            raise InvalidArgumentError(f"seeds: {own.size} for {len(lists)} prompts")
        raw.seeds = own.ctypes.data_as(ctypes.POINTER(_ffi.c_uint64))
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
