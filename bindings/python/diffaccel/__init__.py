"""DiffAccel: accelerated sampling of published generative models on CPUs.

    import diffaccel

    model = diffaccel.Model("Models/fashion-dit")
    session = model.session(plan="alternate")       # or Plan(...), the path of a plan file
    result = session.sample(labels=["sneaker", 5], steps=20, progress=True)
    result.images                                   # uint8 [n, H, W, C]
    result.save("grid.png")

    writer = diffaccel.Model("Models/tiny-llada").session(plan="dkv:decode:8")
    writer.sample(prompt="And it came to pass", length=64).text

`help(diffaccel.Session.sample)` documents the options of all models, `Model.request` has those of one.
Everything the library reports is an exception derived from DiffAccelError. Ctrl-C stops a run.
"""

from __future__ import annotations

from typing import Any, Callable

from . import _ffi, learn
from ._events import Event, EventText
from .errors import (
    BusyError,
    Cancelled,
    DiffAccelError,
    FileError,
    FormatError,
    IncompatibleError,
    InternalError,
    InvalidArgumentError,
    InvalidHandleError,
    NotFiniteError,
    OutOfMemoryError,
    OverBudgetError,
    ShapeError,
    UnsupportedError,
)
from .model import Model
from .plan import Plan
from .random import rand, randn, randperm
from .result import Result
from .session import Session
from .text import Tokenizer, render_chat
from .trainer import Trainer, TrainingEvent

#: Version of the library in use, "major.minor.patch".
__version__ = _ffi.lib.da_version_string().decode("ascii")

__all__ = [
    "BusyError", "Cancelled", "DiffAccelError", "Event", "EventText", "FileError", "FormatError", "IncompatibleError",
    "InternalError", "InvalidArgumentError", "InvalidHandleError", "Model", "NotFiniteError", "OutOfMemoryError",
    "OverBudgetError", "Plan", "Result", "Session", "ShapeError", "Tokenizer", "Trainer", "TrainingEvent", "UnsupportedError",
    "describe", "learn", "rand", "randn", "randperm", "render_chat", "set_log",
]


def describe() -> dict[str, Any]:
    """Facts about the library: version, interface number, instruction set, families, methods, samplers, limits; "plan_options" and
    "training_options" are the options of plan entries by method and of trainings, each with name, description, type, range and default."""
    return _ffi.facts_of(_ffi.lib.da_library_describe)


_LEVELS = {"none": 0, "error": 1, "warning": 2, "info": 3}
_log_function: Any = None


def set_log(callback: Callable[[str, str], Any] | None, level: str = "warning") -> None:
    """Sends the library's messages up to `level` ("error", "warning", "info") to callback(level, message).

    None turns them off. The callback may come from any thread, must not call the library, and its exceptions are
    ignored. The setting applies to the whole process.
    """
    global _log_function
    if level not in _LEVELS:
        raise ValueError(f"level must be one of {', '.join(_LEVELS)}, not {level!r}")
    names = {number: name for name, number in _LEVELS.items()}

    def tell(_user: Any, number: int, message: bytes) -> None:
        if callback is None:
            return
        try:
            callback(names.get(number, str(number)), message.decode("utf-8", "replace"))
        except Exception:  # noqa: BLE001 - there is no caller to raise it to
            pass

    function = _ffi.LogCallback(tell) if callback is not None else _ffi.LogCallback()
    _ffi.check(_ffi.lib.da_set_log, function, None, _LEVELS[level] if callback is not None else 0)
    _log_function = function  # the old one is let go only now that the library no longer has it
