"""Sessions: everything a run changes - threads, memory, caches."""

from __future__ import annotations

import ctypes
from typing import Any, Callable, Sequence

import numpy as np

from . import _arrays, _ffi
from . import text as texts
from ._events import Event, Listener, run_interruptibly
from ._handle import Handle, new_handle
from ._prompts import Labels, Prompts, class_indices
from .errors import Cancelled, InvalidArgumentError, ShapeError, error_for
from .model import Model
from .plan import Plan, PlanLike
from .result import Result, TextResult
from .text import TextEvent


#: Members of a request that one value fills, and what makes it of a caller's.
_SCALARS: dict[str, Callable[[Any, str], Any]] = {
    "sampler": _ffi.encode_text, "spacing": _ffi.encode_text, "eta": _arrays.real, "seed": _arrays.unsigned,
    "guidance": _arrays.real, "guidance_channels": _arrays.integer, "steps_offset": _arrays.integer, "decode": _arrays.flag,
    "tile": _arrays.integer, "top_p": _arrays.real, "smooth": _arrays.flag, "previews": _arrays.flag,
}


def _per_scale(values: Any, name: str) -> Any:
    """One number, or a list with one for each scale, as a list."""
    array = np.ascontiguousarray(np.atleast_1d(values))
    if array.ndim != 1 or not array.size:
        raise ShapeError(f"{name}: expected a number or one for each scale, found shape {array.shape}")
    return array


class Session(Handle):
    """Samples one model with one plan. Made by `Model.session`.

    One thread uses a session at a time, a second one gets BusyError; only `cancel` may be called at any time. Distinct
    sessions run at once, also over one model.
    """

    _close_function = _ffi.lib.da_session_close

    def __init__(
        self, model: Model, plan: PlanLike | None = None, threads: int = 0, memory_limit: int = 0,
        partner: Model | None = None,
    ) -> None:
        options = _ffi.SessionOptions()
        _ffi.check(_ffi.lib.da_session_options_init, ctypes.byref(options), ctypes.sizeof(options))
        options.threads = _arrays.integer(threads, "threads")
        options.memory_limit = _arrays.unsigned(memory_limit, "memory_limit")
        plan = None if plan is None else Plan.of(plan)
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
        sampler: str | None = None,
        steps: int | None = None,
        labels: Labels = (),
        guidance: float | None = None,
        seed: int | None = None,
        progress: bool = False,
        callback: Callable[[Event], Any] | None = None,
        noise: Any = None,
        step_noise: Any = None,
        eta: float | None = None,
        spacing: str | None = None,
        guidance_channels: int | None = None,
        decode: bool | None = None,
        tile: int | None = None,
        steps_offset: int | None = None,
        top_k: int | Sequence[int] | None = None,
        top_p: float | None = None,
        temperature: float | Sequence[float] | None = None,
        draws: Any = None,
        image: Any = None,
        keeps: Any = None,
        smooth: bool | None = None,
        previews: bool | None = None,
    ) -> Result:
        """Draws one sample for each label and returns them as a Result. Ctrl-C stops the run. What is None is left to the library.

        sampler: one of `model.description["samplers"]`. steps: 1...1000; None: the counts of `spacing`, else what the plan's router was
            learned for, else 50.
        labels: class indices, or names from `model.labels` in upper or lower case; one sample each.
        guidance: classifier-free guidance scale; 1 or less is none; None is the model's own.
        seed: as in torch.manual_seed (0); the start noise of a seed equals torch.randn's.
        progress: show a bar, when tqdm is installed.
        callback: called with an Event after each step, from the thread that computes; a true return value stops the
            run (Cancelled), an exception stops it and is raised here.
        noise: start state [n,C,H,W] instead of one drawn from the seed; step_noise: [steps,n,C,H,W], likewise.
        eta: DDIM's noise, 0...1 (0). spacing: "even", "leading" (diffusers, with steps_offset), "strided", or counts per
            section such as "10,15,25"; None: as the model's conventions say.
        guidance_channels: epsilon channels that are guided; -1 all; None the model's own.
        Models that work scale by scale (var) take no sampler, steps and noise, but: top_k and temperature, one number or one for
        each scale; top_p; draws, a number in 0...1 for each token [n, tokens] instead of the seed's; smooth, which mixes codes
        for looks; image [n,3,H,W] in -1...1 and keeps [n,H,W], not 0 where the picture is kept while the rest is drawn to
        fit it; previews, which gives events a picture of what the state would become. Guidance grows from 0 there.
        decode: turn latents into images when the model can (True). tile: decoder tile side in latents; 0 as memory asks; -1 none.

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
        self, prompt: Prompts, *, callback: Callable[[TextEvent], Any] | None = None, **options: Any
    ) -> TextResult:
        """Continues texts, or fills them in, with a masked diffusion language model (LLaDA, Dream). Ctrl-C stops the run.

        prompt: a string or token ids, or a list of such: a batch of any lengths. What is not given is left to the library. chat: the strings are what a user says to
            an instruction-tuned model.
        length: tokens to generate behind the prompt; 0 only fills the masks in it. steps: passes; 0 is one per token.
            block_length: tokens of a block; 0 is one block.
        infill: masks in the prompt are filled like those behind it, and the text is the whole sequence; without it LLaDA's steps
            are made for the text alone. blank: a mark in strings that stands for one mask token, such as "___".
        order: LLaDA "low_confidence" or "random"; Dream "entropy", "maskgit_plus", "topk_margin" or "origin".
        temperature, threshold, guidance (LLaDA), order_temperature, top_p, top_k and eps (Dream): as published.
        seed: one stream of draws for the batch, as torch draws it; seeds: one per prompt, each then draws as if alone.
        allow_mask: the mask may be chosen, as in the published code. no_end, end_last: no end of text, or only last.
        allow_control: control tokens that a string spells out are those tokens; by default they are text like any other.
        callback: called with a TextEvent for each text after each pass; a true return value stops the run.
        """
        raw, kept = texts.request(
            lambda: self._model.tokenizer, self._model.family, prompt, mask=self._model.mask_token, **options)
        listener = texts.TextListener(callback)
        raw.callback = listener.function
        try:
            status, message, handle = self._perform(_ffi.lib.da_session_generate, raw)
        finally:
            del kept
        whole = bool(options.get("infill")) or raw.length == 0
        result = TextResult(handle, self._model, whole) if handle else None
        listener.raise_failure()
        if status == _ffi.DA_CANCELLED:
            raise Cancelled("the run was stopped")
        if status != _ffi.DA_OK or result is None:
            raise error_for(status, message)
        return result

    def estimate_generate(self, prompt: Prompts, **options: Any) -> dict[str, Any]:
        """What `generate` with these arguments would need, as `estimate`."""
        options.pop("callback", None)
        raw, kept = texts.request(
            lambda: self._model.tokenizer, self._model.family, prompt, mask=self._model.mask_token, **options)
        facts = _ffi.facts_of(_ffi.lib.da_session_generate_estimate, self._handle, ctypes.byref(raw))
        del kept
        return facts

    def estimate(self, **request: Any) -> dict[str, Any]:
        """What `sample` with these arguments would need: bytes (weights, cache, workspace, decode, peak), flops, sites.

        By a dry run: nothing large is allocated, nothing is computed. Raises what `sample` would.
        """
        for name in ("progress", "callback"):
            request.pop(name, None)
        raw, arrays = self._request(**request)
        facts = _ffi.facts_of(_ffi.lib.da_session_estimate, self._handle, ctypes.byref(raw))
        del arrays
        return facts

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

    def _request(
        self, labels: Any = (), steps: int | None = None, top_k: Any = None, temperature: Any = None, draws: Any = None,
        image: Any = None, keeps: Any = None, noise: Any = None, step_noise: Any = None, **options: Any,
    ) -> tuple[_ffi.Request, list[Any]]:
        """The C request, and the arrays it points to, which must outlive its use. What is None keeps the library's default."""
        request = _ffi.Request()
        _ffi.check(_ffi.lib.da_request_init, ctypes.byref(request), ctypes.sizeof(request))
        for name, convert in _SCALARS.items():
            value = options.pop(name, None)
            if value is not None:
                setattr(request, name, convert(value, name))
        if options:
            raise TypeError(f"sample has no argument {next(iter(options))!r}")
        if steps is not None:
            request.steps = _arrays.integer(steps, "steps")
            if request.steps == 0 and not (request.spacing or b"")[:1].isdigit():
                raise InvalidArgumentError("steps must be 1...1000, found 0; None is the default")
        indices = class_indices(labels, lambda: self._model.labels)
        request.labels, request.label_count = _arrays.pointer(indices, ctypes.c_int64), indices.size
        arrays: list[Any] = [indices]

        def attach(name: str, array: Any, element: Any) -> None:
            setattr(request, name, _arrays.pointer(array, element))
            setattr(request, f"{name}_count", array.size)
            arrays.append(array)

        if top_k is not None:
            attach("top_k", _per_scale(_arrays.integers(top_k, "top_k", bits=32), "top_k").astype(np.int32), ctypes.c_int32)
        if temperature is not None:
            numbers = np.vectorize(lambda item: _arrays.real(item, "temperature"), otypes=[np.float64])
            attach("temperature", _per_scale(numbers(np.asarray(temperature, dtype=object)), "temperature"), ctypes.c_double)
        for name, value in (("draws", draws), ("image", image), ("keeps", keeps)):
            if value is not None:
                attach(name, _arrays.floats(value, name), ctypes.c_float)
        if noise is None and step_noise is None:
            return request, arrays
        state = (indices.size, *self._model.input_shape)
        for name, value, shape in (("noise", noise, state), ("step_noise", step_noise, None)):
            if value is None:
                continue
            array = _arrays.floats(value, name, shape)
            if name == "step_noise" and array.shape[1:] != state:
                raise ShapeError(f"step_noise: expected shape (steps, {str(state)[1:-1]}), found {array.shape}")
            attach(name, array, ctypes.c_float)
        return request, arrays

    def __repr__(self) -> str:
        return "<diffaccel.Session closed>" if self.closed else f"<diffaccel.Session of {self._model!r}, plan {self._plan!r}>"
