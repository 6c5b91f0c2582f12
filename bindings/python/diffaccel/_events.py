"""What happens while the library works: events, progress bars, and Ctrl-C."""

from __future__ import annotations

import _thread
import ctypes
import importlib
import threading
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from . import _arrays, _ffi
from .errors import InvalidHandleError

#: Seconds between two looks at pending signals.
_POLL = 0.05
_STAGES = {0: "denoise", 1: "decode", 2: "scale", 3: "unmask", 4: "encode", 5: "vocode"}


@dataclass(frozen=True)
class EventText:
    """One text that took part in a pass of a language model."""

    prompt: int  #: number of its prompt
    sequence: npt.NDArray[np.int64]  #: prompt and text, masks included
    revealed: npt.NDArray[np.int64]  #: positions revealed in this pass, in that order
    queries: int  #: positions that the network computed


class Event:
    """What a callback is told after each network call (for most samplers a step) and while decoding.

    The numbers are plain attributes. All else is read on first access, during the callback only, and then kept: afterwards whatever
    was not accessed raises InvalidHandleError.
    """

    stage: str  #: "denoise", "decode", "scale" (of a model that generates scale by scale), "unmask" (a pass of a language model, an iteration of one that makes tokens of pictures), "encode" (prompts and pictures before the first step) or "vocode" (a stretch of a sound is finished)
    step: int  #: network calls or samples done in this stage, of "vocode" values of sounds, 1...steps
    steps: int  #: how many there are; an upper bound where the sampler decides while running
    fraction: float  #: share of the whole run's arithmetic that is done, 0...1, decoding included
    seconds: float  #: since the run began

    def __init__(self, raw: _ffi.Event) -> None:
        self.stage = _STAGES.get(raw.stage, str(raw.stage))
        self.step, self.steps, self.fraction, self.seconds = raw.step, raw.steps, raw.fraction, raw.seconds
        # A copy: the original is gone after the callback, while this one is refused by the library.
        self._raw: _ffi.Event | None = _ffi.Event.from_buffer_copy(raw)
        # The library's tensors live as long as the callback: it does not return while another thread copies one.
        self._lock = threading.RLock()
        self._kept: dict[str, npt.NDArray[Any]] = {}
        self._description: dict[str, Any] | None = None

    def _open(self) -> Any:
        if self._raw is None:
            raise InvalidHandleError("the event's callback has returned; what is needed later must be read in it, such as event.latents")
        return ctypes.byref(self._raw)

    def _end(self) -> None:
        with self._lock:
            self._raw = None

    def _facts(self) -> dict[str, Any]:
        with self._lock:
            if self._description is None:
                self._description = _ffi.facts_of(_ffi.lib.da_event_describe, self._open())
            return self._description

    @property
    def names(self) -> list[str]:
        """Names of the tensors that `tensor` has."""
        return list(self._facts()["tensors"])

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """A copy of the tensor of that name. Raises InvalidArgumentError when there is none now, naming those there are."""
        with self._lock:
            if name not in self._kept:
                view = _ffi.Tensor(struct_size=ctypes.sizeof(_ffi.Tensor))
                _ffi.check(_ffi.lib.da_event_tensor, self._open(), _ffi.encode_text(name, "name"), ctypes.byref(view))
                self._kept[name] = _arrays.copied(view)
            return self._kept[name]

    @property
    def latents(self) -> npt.NDArray[np.float32] | None:
        """float32 [n, C, H, W]: the state after the step; None while decoding, and of language models."""
        return self._optional("latents")

    @property
    def preview(self) -> npt.NDArray[np.uint8] | None:
        """uint8 [n, H, W, C]: the image that the state decodes to so far; None unless the request asks for previews."""
        return self._optional("preview")

    @property
    def audio(self) -> npt.NDArray[np.float32] | None:
        """float32 [count]: the next values of a sound, while the vocoder goes on; `audio_place` says of which, and from where on."""
        return self._optional("audio")

    @property
    def audio_place(self) -> tuple[int, int] | None:
        """Number of the sound that `audio` belongs to, and where in it these values begin; None without any."""
        place = self._optional("audio_place")
        return None if place is None else (int(place[0]), int(place[1]))

    def _optional(self, name: str) -> npt.NDArray[Any] | None:
        return self.tensor(name) if name in self._kept or name in self.names else None

    @property
    def texts(self) -> list[EventText]:
        """The texts that took part in the pass of a language model; empty for other models."""
        if "sequences" not in self.names:
            return []
        prompts, queries, pairs = self.tensor("prompts").tolist(), self.tensor("queries").tolist(), self.tensor("revealed")
        sequences = np.split(self.tensor("sequences"), np.cumsum(self.tensor("lengths"))[:-1])
        return [EventText(prompt, sequence, pairs[pairs[:, 0] == prompt, 1], count)
                for prompt, sequence, count in zip(prompts, sequences, queries)]

    @property
    def timestep(self) -> float | None:
        """Original timestep of the call, the side of its scale, or the tokens of a picture that it leaves unknown; None while decoding."""
        step: float | None = self._facts()["timestep"]
        return step

    @property
    def network(self) -> int:
        """0: the session's model made the step; 1: the partner of its plan."""
        return int(self._facts()["network"])

    @property
    def sites_computed(self) -> int:
        """Attention and MLP outputs that the call computed."""
        return int(self._facts()["computed"])

    @property
    def sites_reused(self) -> int:
        """Those that it took from an earlier call."""
        return int(self._facts()["reused"])

    @property
    def sites_skipped(self) -> int:
        """Those that were not needed."""
        return int(self._facts()["skipped"])

    @property
    def flops(self) -> float:
        """Floating-point operations of the call."""
        return float(self._facts()["flops"])

    def __repr__(self) -> str:
        return f"<diffaccel.Event: {self.stage} {self.step} of {self.steps}, {self.seconds:.2f} s>"


class Listener:
    """Forwards the library's events, and keeps what the receiver raised: no exception may cross the C call."""

    def __init__(self, callback: Callable[[Event], Any] | None, progress: bool) -> None:
        self.failure: BaseException | None = None
        self._callback = callback
        self._bars: dict[str, Any] = {}
        self._make_bar = _bar_maker() if progress else None
        needed = callback is not None or self._make_bar is not None
        # Kept here so that the trampoline lives as long as the call.
        self.function = _ffi.EventCallback(self._tell) if needed else _ffi.EventCallback()

    def _tell(self, _user: Any, event: Any) -> int:
        try:
            told = Event(event.contents)
            try:
                if self._make_bar is not None:
                    self._show(told, self._make_bar)
                return int(bool(self._callback(told))) if self._callback is not None else 0
            finally:
                told._end()
        except BaseException as failure:  # noqa: BLE001 - raised again by `raise_failure`
            self.failure = failure
            return 1

    def _show(self, event: Event, make_bar: Callable[[int, str], Any]) -> None:
        if event.stage not in self._bars:
            self._bars[event.stage] = make_bar(event.steps, event.stage)
        bar = self._bars[event.stage]
        bar.update(event.step - bar.n)

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
