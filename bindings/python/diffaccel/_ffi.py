"""The C interface as ctypes sees it: the library, its structs and the type of every function.

`FUNCTIONS` mirrors include/diffaccel.h line by line; the tests compare the two.
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Callable

from ._loading import bind, load
from .errors import InvalidArgumentError, error_for

MAX_RANK = 8
F32, U8, I64 = 0, 16, 17
DA_OK, DA_CANCELLED, DA_MORE, DA_INVALID_HANDLE = 0, 1, 2, -8


class Tensor(ctypes.Structure):
    """da_tensor"""

    _fields_ = [("struct_size", c_uint32), ("dtype", c_int32), ("name", c_char_p), ("data", c_void_p),
                ("bytes", c_size_t), ("rank", c_int32), ("reserved", c_int32), ("shape", c_int64 * MAX_RANK)]


class ModelOptions(ctypes.Structure):
    """da_model_options"""

    _fields_ = [("struct_size", c_uint32), ("widen", c_int32), ("family", c_char_p), ("config", c_char_p),
                ("conventions", c_char_p), ("decoder", c_char_p), ("memory_limit", c_uint64),
                ("follow_links", c_int32), ("reserved", c_int32), ("weights", c_char_p),
                ("mask_token", c_int64), ("settings", c_char_p)]


class ForwardOptions(ctypes.Structure):
    """da_forward_options"""

    _fields_ = [("struct_size", c_uint32), ("threads", c_int32), ("memory_limit", c_uint64)]


class SessionOptions(ctypes.Structure):
    """da_session_options"""

    _fields_ = [("struct_size", c_uint32), ("threads", c_int32), ("memory_limit", c_uint64), ("partner", c_void_p)]


class Event(ctypes.Structure):
    """da_event"""

    _fields_ = [("struct_size", c_uint32), ("stage", c_int32), ("step", c_int32), ("steps", c_int32),
                ("fraction", c_double), ("seconds", c_double), ("source", c_void_p)]


EventCallback = ctypes.CFUNCTYPE(c_int32, c_void_p, POINTER(Event))
LogCallback = ctypes.CFUNCTYPE(None, c_void_p, c_int32, c_char_p)


class TrainerOptions(ctypes.Structure):
    """da_trainer_options"""

    _fields_ = [("struct_size", c_uint32), ("threads", c_int32), ("memory_limit", c_uint64)]


class TrainingEvent(ctypes.Structure):
    """da_training_event"""

    _fields_ = [("struct_size", c_uint32), ("reserved", c_int32), ("step", c_int64), ("steps", c_int64),
                ("loss", c_double), ("gradient_norm", c_double), ("learning_rate", c_double), ("seconds", c_double),
                ("confidences", POINTER(c_float)), ("confidence_count", c_size_t), ("json", c_char_p)]


TrainingCallback = ctypes.CFUNCTYPE(c_int32, c_void_p, POINTER(TrainingEvent))


# Handles are numbers and travel as void pointers; character buffers are written to, so they are no c_char_p.
_HANDLE, _BUFFER = c_void_p, c_void_p
_TEXT = [_BUFFER, c_size_t, POINTER(c_size_t)]

#: name -> (result type, argument types), in the header's order
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "da_version_string": (c_char_p, []),
    "da_abi_version": (c_int32, []),
    "da_status_name": (c_char_p, [c_int32]),
    "da_last_error": (c_char_p, []),
    "da_library_describe": (c_int32, _TEXT),
    "da_set_log": (c_int32, [LogCallback, c_void_p, c_int32]),
    "da_model_options_init": (c_int32, [POINTER(ModelOptions), c_uint32]),
    "da_model_open": (c_int32, [c_char_p, POINTER(ModelOptions), POINTER(_HANDLE)]),
    "da_model_describe": (c_int32, [_HANDLE, *_TEXT]),
    "da_model_close": (c_int32, [_HANDLE]),
    "da_forward_options_init": (c_int32, [POINTER(ForwardOptions), c_uint32]),
    "da_model_forward": (c_int32, [_HANDLE, POINTER(Tensor), c_size_t, POINTER(Tensor), c_size_t,
                                   POINTER(ForwardOptions)]),
    "da_plan_load": (c_int32, [c_char_p, POINTER(_HANDLE)]),
    "da_plan_parse": (c_int32, [c_char_p, c_size_t, POINTER(_HANDLE)]),
    "da_plan_stack": (c_int32, [_HANDLE, _HANDLE, POINTER(_HANDLE)]),
    "da_plan_describe": (c_int32, [_HANDLE, _HANDLE, c_int32, *_TEXT]),
    "da_plan_save": (c_int32, [_HANDLE, c_char_p]),
    "da_plan_close": (c_int32, [_HANDLE]),
    "da_session_options_init": (c_int32, [POINTER(SessionOptions), c_uint32]),
    "da_session_create": (c_int32, [_HANDLE, _HANDLE, POINTER(SessionOptions), POINTER(_HANDLE)]),
    "da_event_tensor": (c_int32, [POINTER(Event), c_char_p, POINTER(Tensor)]),
    "da_event_describe": (c_int32, [POINTER(Event), *_TEXT]),
    "da_session_estimate": (c_int32, [_HANDLE, c_char_p, c_size_t, POINTER(Tensor), c_size_t, *_TEXT]),
    "da_session_run": (c_int32, [_HANDLE, c_char_p, c_size_t, POINTER(Tensor), c_size_t, EventCallback, c_void_p,
                                 POINTER(_HANDLE)]),
    "da_session_cancel": (c_int32, [_HANDLE]),
    "da_session_close": (c_int32, [_HANDLE]),
    "da_result_tensor": (c_int32, [_HANDLE, c_char_p, POINTER(Tensor)]),
    "da_result_stats": (c_int32, [_HANDLE, *_TEXT]),
    "da_result_close": (c_int32, [_HANDLE]),
    "da_trainer_options_init": (c_int32, [POINTER(TrainerOptions), c_uint32]),
    "da_trainer_create": (c_int32, [c_char_p, c_char_p, c_size_t, POINTER(ModelOptions), POINTER(TrainerOptions),
                                    POINTER(_HANDLE)]),
    "da_trainer_estimate": (c_int32, [c_char_p, c_char_p, c_size_t, POINTER(ModelOptions), POINTER(TrainerOptions), *_TEXT]),
    "da_trainer_run": (c_int32, [_HANDLE, c_int64, TrainingCallback, c_void_p]),
    "da_trainer_cancel": (c_int32, [_HANDLE]),
    "da_trainer_describe": (c_int32, [_HANDLE, *_TEXT]),
    "da_trainer_evaluate": (c_int32, [_HANDLE, c_int32, *_TEXT]),
    "da_trainer_save": (c_int32, [_HANDLE, c_char_p]),
    "da_trainer_restore": (c_int32, [_HANDLE, c_char_p]),
    "da_trainer_plan": (c_int32, [_HANDLE, POINTER(_HANDLE)]),
    "da_trainer_export": (c_int32, [_HANDLE, c_char_p]),
    "da_trainer_close": (c_int32, [_HANDLE]),
    "da_model_tokenizer": (c_int32, [_HANDLE, POINTER(_HANDLE)]),
    "da_tokenizer_load": (c_int32, [c_char_p, POINTER(_HANDLE)]),
    "da_tokenizer_encode": (c_int32, [_HANDLE, c_char_p, c_size_t, c_int32, POINTER(c_int32), POINTER(c_int64), POINTER(c_int64),
                                      c_size_t, POINTER(c_size_t)]),
    "da_tokenizer_decode": (c_int32, [_HANDLE, POINTER(c_int64), c_size_t, c_int32, POINTER(c_int32), *_TEXT]),
    "da_tokenizer_close": (c_int32, [_HANDLE]),
    "da_chat_encode": (c_int32, [_HANDLE, c_char_p, c_char_p, c_size_t, c_int32, c_int32, POINTER(c_int32), POINTER(c_int64),
                                 c_size_t, POINTER(c_size_t)]),
    "da_chat_render": (c_int32, [c_char_p, c_char_p, c_size_t, c_int32, *_TEXT]),
    "da_random_normal": (c_int32, [c_uint64, c_size_t, POINTER(c_float)]),
    "da_random_uniform": (c_int32, [c_uint64, c_size_t, POINTER(c_float)]),
    "da_random_permutation": (c_int32, [c_uint64, c_size_t, POINTER(c_int64)]),
}


lib = load()
bind(lib, FUNCTIONS)


class _Thread(threading.local):
    """What is under way on this thread."""

    calls = 0

    def __init__(self) -> None:
        self.pending: list[tuple[Any, int]] = []


_thread = _Thread()


def call(function: Any, *arguments: Any) -> tuple[int, str]:
    """Calls the library and returns (status, error text) without raising.

    The text belongs to the thread's last call. A garbage collection between call and text may close handles, which
    are calls too: `release` therefore waits while a call is under way.
    """
    _thread.calls += 1
    try:
        status = function(*arguments)
        text = lib.da_last_error() if status < 0 else b""
    finally:
        _thread.calls -= 1
        while _thread.pending and not _thread.calls:
            close, handle = _thread.pending.pop()
            close(handle)
    return status, text.decode("utf-8", "replace")


def check(function: Any, *arguments: Any) -> int:
    """Calls the library; raises the status's exception when it failed, else returns the status (0 or an outcome)."""
    status, text = call(function, *arguments)
    if status < 0:
        raise error_for(status, text)
    return status


def release(close: Any, handle: int) -> None:
    """Closes a handle that nothing refers to any more."""
    if _thread.calls:
        _thread.pending.append((close, handle))
    else:
        close(handle)


def text_of(function: Callable[..., int], *arguments: Any) -> str:
    """The text a describing function writes, asked for twice: how long, then what."""
    needed = c_size_t(0)
    check(function, *arguments, None, 0, ctypes.byref(needed))
    while True:
        buffer = ctypes.create_string_buffer(max(1, needed.value))
        if check(function, *arguments, buffer, len(buffer), ctypes.byref(needed)) != DA_MORE:
            return buffer.value.decode("utf-8")


def facts_of(function: Callable[..., int], *arguments: Any) -> dict[str, Any]:
    """The JSON object a describing function writes."""
    facts: dict[str, Any] = json.loads(text_of(function, *arguments))
    return facts


def encode_path(path: Any) -> bytes:
    """A file name as the system spells it. Raises InvalidArgumentError for one with a NUL inside."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise InvalidArgumentError("a path cannot contain a NUL character")
    return name


def utf8(text: Any, what: str) -> bytes:
    """Text in UTF-8. Raises TypeError for what is no text, InvalidArgumentError for halves of surrogate pairs, which UTF-8 cannot
    spell."""
    if not isinstance(text, str):
        hint = f"; {what}.decode() makes text of bytes" if isinstance(text, (bytes, bytearray)) else ""
        raise TypeError(f"{what} must be a string, not {type(text).__name__}{hint}")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            f"{what} holds half of a surrogate pair, {text[error.start]!r}, at character {error.start}: it is no valid text") from error


def encode_text(text: str | None, what: str) -> bytes | None:
    """Text for the library, or None. Raises as `utf8`, and InvalidArgumentError for NUL characters."""
    if text is None:
        return None
    if isinstance(text, str) and "\0" in text:
        raise InvalidArgumentError(f"{what} cannot contain a NUL character")
    return utf8(text, what)
