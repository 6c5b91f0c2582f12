"""What happens while the library works: events, progress bars, and Ctrl-C."""

from __future__ import annotations

import _thread
import importlib
import threading
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from . import _ffi

#: Seconds between two looks at pending signals.
_POLL = 0.05
_STAGES = {0: "denoise", 1: "decode", 2: "scale"}


@dataclass(frozen=True)
class Event:
    """What a callback is told after each step."""

    stage: str  #: "denoise", "decode" or "scale"
    step: int  #: steps done in this stage, 1...steps
    steps: int
    timestep: int  #: original timestep of the step just done, side of the scale; -1 while decoding
    sites_computed: int
    sites_reused: int
    sites_skipped: int
    seconds: float  #: since the run began
    flops: float  #: of this step
    latents: npt.NDArray[np.float32] | None  #: copy of the state, float32 [n, C, H, W]; None in other stages
    network: int = 0  #: 0: the session's model made the step; 1: the refiner of its plan
    preview: npt.NDArray[np.uint8] | None = None  #: copy of the picture so far, uint8 [n, H, W, C], when previews are asked for


def _event(raw: _ffi.Event) -> Event:
    latents = None
    if raw.latents:
        latents = np.ctypeslib.as_array(raw.latents, tuple(raw.shape)).copy()
    preview = None
    if raw.preview:
        preview = np.ctypeslib.as_array(raw.preview, tuple(raw.preview_shape)).copy()
    return Event(_STAGES.get(raw.stage, str(raw.stage)), raw.step, raw.steps, raw.timestep, raw.sites_computed,
                 raw.sites_reused, raw.sites_skipped, raw.seconds, raw.flops, latents, raw.network, preview)


class Listener:
    """Passes the library's events on, and keeps what the receiver raised: no exception may cross the C call."""

    def __init__(self, callback: Callable[[Event], Any] | None, progress: bool) -> None:
        self.failure: BaseException | None = None
        self._callback = callback
        self._bars: dict[int, Any] = {}
        self._make_bar = _bar_maker() if progress else None
        needed = callback is not None or self._make_bar is not None
        # Kept here so that the trampoline lives as long as the call.
        self.function = _ffi.EventCallback(self._tell) if needed else _ffi.EventCallback()

    def _tell(self, _user: Any, event: Any) -> int:
        try:
            raw = event.contents
            if self._make_bar is not None:
                self._show(raw, self._make_bar)
            return int(bool(self._callback(_event(raw)))) if self._callback is not None else 0
        except BaseException as failure:  # noqa: BLE001 - raised again by `raise_failure`
            self.failure = failure
            return 1

    def _show(self, raw: _ffi.Event, make_bar: Callable[[int, str], Any]) -> None:
        if raw.stage not in self._bars:
            self._bars[raw.stage] = make_bar(raw.steps, _STAGES.get(raw.stage, ""))
        bar = self._bars[raw.stage]
        bar.update(raw.step - bar.n)

    def close(self) -> None:
        """Ends the bars, whichever way the call ended."""
        for bar in self._bars.values():
            bar.close()

    def raise_failure(self) -> None:
        """Raises what the callback raised, if anything."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure


def bars() -> Any:
    """tqdm's bars; None when tqdm is not installed, for a missing bar is no reason to fail."""
    try:
        return importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        return None


def _bar_maker() -> Callable[[int, str], Any] | None:
    bar = bars()
    return None if bar is None else lambda total, name: bar(total=total, desc=name)


def run_interruptibly(work: Callable[[], tuple[int, str]], cancel: Callable[[], Any]) -> tuple[int, str]:
    """Runs `work`, a call that lasts, so that Ctrl-C stops it.

    Python handles signals in its main thread between two bytecodes, and a C call is one bytecode. So the call goes to a
    thread of its own while the main thread waits in short turns. When that wait is interrupted, `cancel` is called, the
    call is waited for - it reads arrays that the caller may free - and the interruption goes on.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    outcome: list[tuple[int, str]] = []
    failure: list[BaseException] = []
    done = _thread.allocate_lock()
    done.acquire()

    def body() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            failure.append(error)
        finally:
            done.release()

    # The thread exists from the first statement of the try block on, or not at all: an interruption in between would
    # otherwise leave the call behind.
    started = False
    try:
        _thread.start_new_thread(body, ())
        started = True
        while not done.acquire(timeout=_POLL):
            pass
    except BaseException:
        if started:
            _drain(done, cancel)
        raise
    if failure:
        raise failure[0]
    return outcome[0]


def _drain(done: Any, cancel: Callable[[], Any]) -> None:
    """Cancels and waits for the end, whatever else is pressed in the meantime."""
    while True:
        try:
            if not done.locked():
                return
            cancel()
            if done.acquire(timeout=_POLL):
                return
        except KeyboardInterrupt:
            continue
