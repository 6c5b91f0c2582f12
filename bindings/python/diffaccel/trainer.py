"""Trainers, which learn a router, the blocks to keep, or weights. `diffaccel.learn` makes them."""

from __future__ import annotations

import ctypes
import json
import math
import os
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping

import numpy as np
import numpy.typing as npt

from . import _arrays, _ffi
from ._events import bars, run_interruptibly
from ._handle import Handle, new_handle
from .errors import BusyError, Cancelled, InvalidArgumentError, error_for
from ._json import json_text
from .plan import Plan


@dataclass(frozen=True)
class TrainingEvent:
    """What a callback is told after each step."""

    step: int  #: step just made, from 1
    steps: int  #: of the whole training
    loss: float  #: all terms together
    gradient_norm: float  #: of everything that learns, before clipping
    learning_rate: float
    seconds: float  #: since `run` began
    confidences: npt.NDArray[np.float32]  #: float32, 0...1: of each group of gates, or a router's scores of the row just trained
    terms: dict[str, float] = field(default_factory=dict)  #: terms of the loss and other figures by name


def _event(raw: _ffi.TrainingEvent) -> TrainingEvent:
    confidences: npt.NDArray[np.float32] = np.zeros(0, np.float32)
    if raw.confidence_count:
        confidences = np.ctypeslib.as_array(raw.confidences, (raw.confidence_count,)).copy()
    # JSON has no word for numbers that are none.
    terms = {name: math.nan if value is None else value for name, value in json.loads(raw.json)["terms"].items()}
    return TrainingEvent(raw.step, raw.steps, raw.loss, raw.gradient_norm, raw.learning_rate, raw.seconds, confidences, terms)


class _Listener:
    """Passes events on and keeps what the receivers raised in `failure`: no exception may cross the C call."""

    def __init__(self, callback: Callable[[TrainingEvent], Any] | None, progress: bool, log: Any, every: int) -> None:
        self.failure: BaseException | None = None
        if every < 1:
            raise ValueError(f"log_every must be at least 1, not {every}")
        self._callback, self._every = callback, every
        self._log = open(log, "a", encoding="utf-8") if log is not None else None
        self._bar: Any = None
        self._wants_bar = progress
        needed = progress or callback is not None or log is not None
        # Kept here so that the trampoline lives as long as the call.
        self.function = _ffi.TrainingCallback(self._tell) if needed else _ffi.TrainingCallback()

    def _tell(self, _user: Any, event: Any) -> int:
        try:
            raw = event.contents
            if self._wants_bar:
                self._show(raw)
            if self._log is not None and (raw.step % self._every == 0 or raw.step == raw.steps):
                self._log.write(raw.json.decode("utf-8") + "\n")
                self._log.flush()
            return int(bool(self._callback(_event(raw)))) if self._callback is not None else 0
        except BaseException as failure:  # noqa: BLE001 - raised again by `Trainer.run`
            self.failure = failure
            return 1

    def _show(self, raw: _ffi.TrainingEvent) -> None:
        if self._bar is None:
            bar = bars()
            if bar is None:
                self._wants_bar = False
                return
            self._bar = bar(total=raw.steps, initial=raw.step - 1, desc="learning")
        self._bar.update(raw.step - self._bar.n)
        self._bar.set_postfix(loss=f"{raw.loss:.4g}", refresh=False)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._log is not None:
            self._log.close()


def _request(path: Any, settings: Mapping[str, Any], threads: int, memory_limit: int, conventions: str | None,
             config: Any, follow_links: bool) -> tuple[tuple[Any, ...], list[Any]]:
    """The arguments that creating and estimating share, and what must outlive the call."""
    text = json_text(settings, "settings").encode("utf-8")
    model = _ffi.ModelOptions()
    _ffi.check(_ffi.lib.da_model_options_init, ctypes.byref(model), ctypes.sizeof(model))
    model.conventions = _ffi.encode_text(conventions, "conventions")
    model.follow_links = _arrays.flag(follow_links, "follow_links")
    if config is not None and not isinstance(config, str):
        config = json_text(config, "config")
    model.config = _ffi.encode_text(config, "config")
    options = _ffi.TrainerOptions()
    _ffi.check(_ffi.lib.da_trainer_options_init, ctypes.byref(options), ctypes.sizeof(options))
    options.threads = _arrays.integer(threads, "threads")
    options.memory_limit = _arrays.unsigned(memory_limit, "memory_limit")
    arguments = (_ffi.encode_path(path), text, len(text), ctypes.byref(model), ctypes.byref(options))
    return arguments, [model, options, text]


class Trainer(Handle):
    """Learns an acceleration or weights of one DiT or VAR checkpoint. `diffaccel.learn.router`, `prune`, `finetune` and `specialise` make
    and run one.

    path: as for `Model`. settings: the dict that include/diffaccel.h describes under "learning".
    memory_limit: bytes for weights, gradients, moments, averages and activations; 0 is no limit.
    follow_links: follow symbolic links in folders of models, as download caches have them.

    One thread uses a trainer at a time; only `cancel` may be called at any time. Whatever ends `run`, the trainer is left after its last
    whole step and can continue. Raises InvalidArgumentError, FormatError, ShapeError, FileError, IncompatibleError, UnsupportedError,
    OutOfMemoryError, OverBudgetError.
    """

    _close_function = _ffi.lib.da_trainer_close

    def __init__(
        self, path: str | os.PathLike[str], settings: Mapping[str, Any], *, threads: int = 0, memory_limit: int = 0,
        conventions: str | None = None, config: Mapping[str, Any] | str | None = None, follow_links: bool = False,
    ) -> None:
        arguments, kept = _request(path, settings, threads, memory_limit, conventions, config, follow_links)
        super().__init__(new_handle(_ffi.lib.da_trainer_create, *arguments))
        del kept
        self._path = os.fspath(path)

    @staticmethod
    def estimate(
        path: str | os.PathLike[str], settings: Mapping[str, Any], *, threads: int = 0, conventions: str | None = None,
        config: Mapping[str, Any] | str | None = None, follow_links: bool = False,
    ) -> dict[str, Any]:
        """The memory that such a trainer would need, found by a dry run: {"bytes": {"weights", "learning", "workspace", "peak"}, ...}."""
        arguments, kept = _request(path, settings, threads, 0, conventions, config, follow_links)
        facts = _ffi.facts_of(_ffi.lib.da_trainer_estimate, *arguments)
        del kept
        return facts

    def run(
        self, steps: int | None = None, *, progress: bool = False,
        callback: Callable[[TrainingEvent], Any] | None = None, log: str | os.PathLike[str] | None = None,
        log_every: int = 10,
    ) -> None:
        """Makes `steps` more steps, or all that are left. Ctrl-C stops between two modules of the network.

        progress: show a bar, when tqdm is installed. callback: called with a TrainingEvent after each step, from the thread that
        computes; a true value stops the run (Cancelled), an exception stops it and is raised here. log: a file to which every
        `log_every`-th event is appended as a line of JSON.
        Raises Cancelled, NotFiniteError, FileError, OverBudgetError, OutOfMemoryError, BusyError.
        """
        count = 0 if steps is None else _arrays.integer(steps, "steps", bits=64)
        if count < 0:
            raise InvalidArgumentError(f"steps must not be negative, found {count}")
        if steps is not None and count == 0:
            return
        listener = _Listener(callback, progress, log, _arrays.integer(log_every, "log_every"))

        def work() -> tuple[int, str]:
            return _ffi.call(_ffi.lib.da_trainer_run, self._handle, count, listener.function, None)

        try:
            status, text = run_interruptibly(work, self._cancel_quietly)
        finally:
            listener.close()
        if listener.failure is not None:
            raise listener.failure
        if status == _ffi.DA_CANCELLED:
            raise Cancelled("training was stopped")
        if status != _ffi.DA_OK:
            raise error_for(status, text)

    def cancel(self) -> None:
        """Stops the current run, if any. May be called from any thread; returns at once."""
        _ffi.check(_ffi.lib.da_trainer_cancel, self._handle)

    def _cancel_quietly(self) -> None:
        _ffi.lib.da_trainer_cancel(self._handle)

    def describe(self) -> dict[str, Any]:
        """Where training stands and what was learned: method, step, steps, bytes, and the method's own members."""
        return _ffi.facts_of(_ffi.lib.da_trainer_describe, self._handle)

    def evaluate(self, batches: int = 8) -> dict[str, float]:
        """What was learned so far, measured on `batches` batches without chance: the same draws whenever it is asked.

        Router: "error" and "removed". Pruning: "loss" of the decided blocks, "loss_all_blocks". Weights: "loss"; specialised ones "ce" and,
        of a refiner, "kl" too. Ctrl-C stops it.
        Raises as `run` does, UnsupportedError without data.
        """
        count = _arrays.integer(batches, "batches")
        # A size query would compute too; the text is always shorter than this.
        buffer, needed = ctypes.create_string_buffer(512), ctypes.c_size_t(0)

        def work() -> tuple[int, str]:
            return _ffi.call(_ffi.lib.da_trainer_evaluate, self._handle, count, buffer, len(buffer), ctypes.byref(needed))

        status, text = run_interruptibly(work, self._cancel_quietly)
        if status == _ffi.DA_CANCELLED:
            raise Cancelled("the evaluation was stopped")
        if status != _ffi.DA_OK:
            raise error_for(status, text)
        measures: dict[str, float] = json.loads(buffer.value)
        return measures

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything that the next steps depend on, atomically. Raises FileError."""
        _ffi.check(_ffi.lib.da_trainer_save, self._handle, _ffi.encode_path(path))

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Resumes from a saved state. Raises IncompatibleError for one of other settings, FormatError, FileError."""
        _ffi.check(_ffi.lib.da_trainer_restore, self._handle, _ffi.encode_path(path))

    def plan(self) -> Plan:
        """What was learned as a plan: a router, or the blocks to keep. Raises UnsupportedError for weights."""
        return Plan._from_handle(new_handle(_ffi.lib.da_trainer_plan, self._handle))

    def export(self, folder: str | os.PathLike[str]) -> None:
        """Writes a checkpoint folder: pruned with the original weights, or with the trained weights. Raises UnsupportedError for a
        router, NotFiniteError, FileError."""
        _ffi.check(_ffi.lib.da_trainer_export, self._handle, _ffi.encode_path(folder))

    def __repr__(self) -> str:
        if self.closed:
            return "<diffaccel.Trainer closed>"
        try:
            facts = self.describe()
        except BusyError:
            return f"<diffaccel.Trainer of {self._path!r}, at work>"
        return f"<diffaccel.Trainer of {self._path!r}: {facts['method']}, step {facts['step']} of {facts['steps']}>"
