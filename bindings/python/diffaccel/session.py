"""Sessions: everything a run changes - threads, memory, caches."""

from __future__ import annotations

import ctypes
import json
from typing import Any, Callable, Sequence

import numpy as np

from . import _arrays, _ffi
from . import text as texts
from ._events import Event, Listener, run_interruptibly
from ._handle import Handle, new_handle
from .errors import Cancelled, InvalidArgumentError, ShapeError, error_for
from .model import Model
from .plan import Plan
from .result import Result, TextResult
from .text import TextEvent


class Session(Handle):
    """Samples one model with one plan. Made by `Model.session`.

    One thread uses a session at a time, a second one gets BusyError; only `cancel` may be called at any time. Distinct
    sessions run at once, also over one model.
    """

    _close_function = _ffi.lib.da_session_close

    def __init__(
        self, model: Model, plan: Plan | None = None, threads: int = 0, memory_limit: int = 0,
        partner: Model | None = None,
    ) -> None:
        options = _ffi.SessionOptions()
        _ffi.check(_ffi.lib.da_session_options_init, ctypes.byref(options), ctypes.sizeof(options))
        options.threads = _arrays.integer(threads, "threads")
        options.memory_limit = _arrays.unsigned(memory_limit, "memory_limit")
        if plan is not None and plan.closed:
            # A null plan means "the plain model" to the library, which a closed one must not.
            raise error_for(_ffi.DA_INVALID_HANDLE, "the plan is closed")
        if partner is not None:
            if partner.closed:
                raise error_for(_ffi.DA_INVALID_HANDLE, "the partner is closed")
            options.partner = partner._handle
        handle = None if plan is None else plan._handle
        super().__init__(new_handle(_ffi.lib.da_session_create, model._handle, handle, ctypes.byref(options)))
        self._model, self._plan = model, plan

    @property
    def model(self) -> Model:
        """The model the session was made from."""
        return self._model

    def sample(
        self,
        sampler: str = "ddim",
        steps: int = 50,
        labels: int | str | Sequence[int | str] | np.ndarray = (),
        guidance: float | None = None,
        seed: int = 0,
        progress: bool = False,
        callback: Callable[[Event], Any] | None = None,
        noise: Any = None,
        step_noise: Any = None,
        eta: float = 0.0,
        spacing: str = "even",
        guidance_channels: int | None = None,
        decode: bool = True,
        tile: int = 0,
        steps_offset: int = 0,
        top_k: int | Sequence[int] | None = None,
        top_p: float | None = None,
        temperature: float | Sequence[float] | None = None,
        draws: Any = None,
        image: Any = None,
        keeps: Any = None,
        smooth: bool = False,
        previews: bool = False,
    ) -> Result:
        """Draws one sample for each label and returns them as a Result. Ctrl-C stops the run.

        sampler: "ddim" or "ddpm". steps: 1...1000.
        labels: class indices, or names from `model.labels`; one sample each.
        guidance: classifier-free guidance scale; 1 or less is none; None is the model's own.
        seed: as in torch.manual_seed; the start noise of a seed equals torch.randn's.
        progress: show a bar, when tqdm is installed.
        callback: called with an Event after each step, from the thread that computes; a true return value stops the
            run (Cancelled), an exception stops it and is raised here.
        noise: start state [n,C,H,W] instead of one drawn from the seed; step_noise: [steps,n,C,H,W], likewise.
        eta: DDIM's noise, 0...1. spacing: "even", "leading" (diffusers, with steps_offset), "strided", or counts per
            section such as "10,15,25" (then steps must be their sum or 0).
        guidance_channels: epsilon channels that are guided; -1 all; None the model's own.
        Models that work scale by scale (var) take no sampler, steps and noise, but: top_k and temperature, one number or one for
        each scale; top_p; draws, a number in 0...1 for each token [n, tokens] instead of the seed's; smooth, which mixes codes
        for looks; image [n,3,H,W] in -1...1 and keeps [n,H,W], not 0 where the picture is kept while the rest is drawn to
        fit it; previews, which gives events a picture of what the state would become. Guidance grows from 0 there.
        decode: turn latents into images when the model can. tile: decoder tile side in latents; 0 as memory asks; -1 none.

        Raises Cancelled, InvalidArgumentError, ShapeError, IncompatibleError, UnsupportedError, OverBudgetError,
        OutOfMemoryError, NotFiniteError, BusyError.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "progress", "callback")}
        request, arrays = self._request(**given)
        listener = Listener(callback, progress)
        request.callback = listener.function
        try:
            status, text, handle = self._perform(_ffi.lib.da_session_sample, request)
        finally:
            listener.close()
            del arrays  # until here they had to stay: the request points into them
        result = Result(handle) if handle else None
        listener.raise_failure()
        if status == _ffi.DA_CANCELLED:
            raise Cancelled("the run was stopped")
        if status != _ffi.DA_OK or result is None:
            raise error_for(status, text)
        return result

    def generate(
        self, prompt: Any, *, callback: Callable[[TextEvent], Any] | None = None, **options: Any
    ) -> TextResult:
        """Continues texts with a masked diffusion language model (LLaDA, Dream). Ctrl-C stops the run.

        prompt: a string or token ids, or a list of such: a batch of any lengths. chat: the strings are what a user says to
            an instruction-tuned model.
        length: tokens to generate (128). steps: passes; 0 is one per token. block_length: LLaDA's blocks; 0 is one.
        order: LLaDA "low_confidence" or "random"; Dream "entropy", "maskgit_plus", "topk_margin" or "origin".
        temperature, guidance and threshold (LLaDA), order_temperature, top_p, top_k and eps (Dream): as published.
        seed: one stream of draws for the batch, as torch draws it; seeds: one per prompt, each then draws as if alone.
        allow_mask: the mask may be chosen, as in the published code. no_end, end_last: no end of text, or only last.
        allow_control: control tokens that a string spells out are those tokens; by default they are text like any other.
        callback: called with a TextEvent for each text after each pass; a true return value stops the run.
        """
        raw, kept = texts.request(lambda: self._model.tokenizer, self._model.family, prompt, **options)
        listener = texts.TextListener(callback)
        raw.callback = listener.function
        try:
            status, message, handle = self._perform(_ffi.lib.da_session_generate, raw)
        finally:
            del kept
        result = TextResult(handle, self._model) if handle else None
        listener.raise_failure()
        if status == _ffi.DA_CANCELLED:
            raise Cancelled("the run was stopped")
        if status != _ffi.DA_OK or result is None:
            raise error_for(status, message)
        return result

    def estimate_generate(self, prompt: Any, **options: Any) -> dict[str, Any]:
        """What `generate` with these arguments would need, as `estimate`."""
        options.pop("callback", None)
        raw, kept = texts.request(lambda: self._model.tokenizer, self._model.family, prompt, **options)
        answer = _ffi.text_of(_ffi.lib.da_session_generate_estimate, self._handle, ctypes.byref(raw))
        del kept
        return json.loads(answer)

    def estimate(self, **request: Any) -> dict[str, Any]:
        """What `sample` with these arguments would need: bytes (weights, cache, workspace, decode, peak), flops, sites.

        By a dry run: nothing large is allocated, nothing is computed. Raises what `sample` would.
        """
        for name in ("progress", "callback"):
            request.pop(name, None)
        raw, arrays = self._request(**request)
        text = _ffi.text_of(_ffi.lib.da_session_estimate, self._handle, ctypes.byref(raw))
        del arrays
        return json.loads(text)

    def cancel(self) -> None:
        """Stops the run that is going on, if any. From any thread; returns at once."""
        _ffi.check(_ffi.lib.da_session_cancel, self._handle)

    def _perform(self, function: Any, request: Any) -> tuple[int, str, int]:
        """Status, error text and result handle (0: none) of a call that lasts; an interruption leaves no result behind."""
        target = ctypes.c_void_p()

        def work() -> tuple[int, str]:
            return _ffi.call(function, self._handle, ctypes.byref(request), ctypes.byref(target))

        try:
            status, text = run_interruptibly(work, self._cancel_quietly)
        except BaseException:
            if target.value:
                _ffi.release(_ffi.lib.da_result_close, target.value)
            raise
        return status, text, target.value or 0

    def _cancel_quietly(self) -> None:
        # Not through `check`: an interruption must not be replaced by the error of a session closed meanwhile.
        _ffi.lib.da_session_cancel(self._handle)

    def _label_indices(self, labels: Any) -> np.ndarray:
        """Indices of `labels`, which may hold names. Raises InvalidArgumentError for unknown names and for none."""
        if isinstance(labels, str) or np.ndim(labels) == 0:
            labels = [labels]
        if any(isinstance(label, str) for label in labels):
            names = self._model.labels
            unknown = [label for label in labels if isinstance(label, str) and label not in names]
            if unknown:
                raise InvalidArgumentError(f"the model has no class {unknown[0]!r}; it has {names}")
            labels = [names.index(label) if isinstance(label, str) else label for label in labels]
        indices = _arrays.integers(labels, "labels")
        if indices.ndim != 1:
            raise ShapeError(f"labels: expected one dimension, found shape {indices.shape}")
        if indices.size == 0:
            raise InvalidArgumentError("labels: one class index for each sample is needed")
        return indices

    def _request(
        self, sampler: str = "ddim", steps: int = 50, labels: Any = (), guidance: float | None = None, seed: int = 0,
        noise: Any = None, step_noise: Any = None, eta: float = 0.0, spacing: str = "even",
        guidance_channels: int | None = None, decode: bool = True, tile: int = 0, steps_offset: int = 0,
        top_k: Any = None, top_p: float | None = None, temperature: Any = None, draws: Any = None, image: Any = None,
        keeps: Any = None, smooth: bool = False, previews: bool = False,
    ) -> tuple[_ffi.Request, list[np.ndarray]]:
        """The C request, and the arrays it points to, which must outlive its use."""
        request = _ffi.Request()
        _ffi.check(_ffi.lib.da_request_init, ctypes.byref(request), ctypes.sizeof(request))
        request.sampler = _ffi.encode_text(sampler, "sampler")
        request.spacing = _ffi.encode_text(spacing, "spacing")
        request.steps = _arrays.integer(steps, "steps")
        request.steps_offset = _arrays.integer(steps_offset, "steps_offset")
        request.tile = _arrays.integer(tile, "tile")
        request.seed = _arrays.unsigned(seed, "seed")
        request.decode = _arrays.flag(decode, "decode")
        request.eta = float(eta)
        if guidance is not None:
            request.guidance = float(guidance)
        if guidance_channels is not None:
            request.guidance_channels = _arrays.integer(guidance_channels, "guidance_channels")
        indices = self._label_indices(labels)
        request.labels, request.label_count = _arrays.pointer(indices, _ffi.c_int64), indices.size
        arrays = [indices]
        request.smooth = _arrays.flag(smooth, "smooth")
        request.previews = _arrays.flag(previews, "previews")
        if top_p is not None:
            request.top_p = float(top_p)
        for name, value, kind, element in (("top_k", top_k, np.int32, _ffi.c_int32),
                                           ("temperature", temperature, np.float64, _ffi.c_double)):
            if value is None:
                continue
            array = np.ascontiguousarray(np.atleast_1d(np.asarray(value)), dtype=kind)
            if array.ndim != 1 or not array.size:
                raise ShapeError(f"{name}: expected a number or one for each scale, found shape {array.shape}")
            setattr(request, name, _arrays.pointer(array, element))
            setattr(request, f"{name}_count", array.size)
            arrays.append(array)
        for name, value in (("draws", draws), ("image", image), ("keeps", keeps)):
            if value is None:
                continue
            array = _arrays.floats(value, name, None)
            setattr(request, name, _arrays.pointer(array, _ffi.c_float))
            setattr(request, f"{name}_count", array.size)
            arrays.append(array)
        state = (indices.size, *self._model.input_shape)
        for name, value, shape in (("noise", noise, state), ("step_noise", step_noise, None)):
            if value is None:
                continue
            array = _arrays.floats(value, name, shape)
            if name == "step_noise" and array.shape[1:] != state:
                raise ShapeError(f"step_noise: expected shape (steps, {str(state)[1:-1]}), found {array.shape}")
            setattr(request, name, _arrays.pointer(array, _ffi.c_float))
            setattr(request, f"{name}_count", array.size)
            arrays.append(array)
        return request, arrays

    def __repr__(self) -> str:
        return "<diffaccel.Session closed>" if self.closed else f"<diffaccel.Session of {self._model!r}, plan {self._plan!r}>"
