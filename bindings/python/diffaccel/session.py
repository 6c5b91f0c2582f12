"""Sessions: everything that a run changes - threads, memory, caches."""

from __future__ import annotations

import ctypes
import inspect
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from . import _arrays, _ffi
from ._events import Event, Listener, run_interruptibly
from ._handle import Handle, new_handle
from ._requests import Form, Request
from .errors import Cancelled, error_for
from .model import Model
from .options import SampleOptions
from .plan import Plan, PlanLike
from .result import Result

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: A method whose keyword arguments are SampleOptions.
_Method = TypeVar("_Method", bound=Callable[..., Any])


def _with_options(method: _Method) -> _Method:
    """The same, its signature with every option by name: `help` and completion do not look into a TypedDict."""
    own = inspect.signature(method)
    shown = [parameter for parameter in own.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    shown += [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in SampleOptions.__annotations__]
    setattr(method, "__signature__", own.replace(parameters=shown))
    return method


class Session(Handle):
    """Samples one model with one plan. Made by `Model.session`.

    One thread uses a session at a time, a second one gets BusyError; only `cancel` may be called at any time. Distinct
    sessions may run at the same time, also of one model.
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
        self._form = Form(model.request)  # kept: the model may be closed before the session

    @property
    def model(self) -> Model:
        """The model the session was made from."""
        return self._model

    @_with_options
    def sample(
        self, *, progress: bool = False, callback: Callable[[Event], Any] | None = None, **options: Unpack[SampleOptions]
    ) -> Result:
        """Runs a request and returns its result: a sample for each label, or a picture, sound or text for each prompt. Ctrl-C stops the run.

        progress: show a bar, when tqdm is installed.
        callback: called with an Event after each step, from the thread that computes; a true return value stops the
            run (Cancelled), an exception stops it and is raised here.

        All other arguments are the model's options: `Model.request` has them with types, ranges and defaults. What is not given, or
        None, is left to the library. Arrays may have any real element type and any strides. Of prompts, `image` and `mask` may also be
        images of Pillow or arrays of bytes: [H, W, 3] or [n, H, W, 3], of masks [H, W] or [n, H, W] (255: painted).

        Images (dit, uvit, sit):
            labels: The class of each sample, by number or by name.
            steps: Number of sampling steps.
            sampler: The sampler, by its name or by its class in diffusers.
            spacing: How timesteps are spaced: leading, trailing, linspace (diffusers); of ddim and ddpm also even (official
                respacing), strided (ddimN), or counts per section such as 10,15,25.
            steps_offset: Added to every timestep of the leading spacing; 0: what the model's scheduler says.
            eta: The noise of DDIM, 0 (none) to 1.
            guidance: Classifier-free guidance scale; 1 or less: none.
            guidance_channels: How many channels are guided, counted from the first.
            guidance_rescale: How far the guided prediction is rescaled to the standard deviation of the conditional one (Lin et
                al. 2023); 0: not at all.
            guidance_interval: Part of the run in which guidance applies, as fractions of its steps; outside only the
                conditional prediction is used.
            guidance_execution: How predictions are computed, bit for bit the same: the two in one batch, one after the
                other, side by side on parts of the threads, or by rows on the ranks of an MPI program.
            seed: Seed of the random numbers, as in torch.manual_seed on the CPU.
            decode: Whether the final state is decoded to images, where the model can.
            tile: Side of the decoder's tiles, in latents; auto: whole images, or tiles when the memory limit requires them.
            noise: The initial noise, instead of that of the seed.
            step_noise: The noise that steps add, in the order of use; ddim and ddpm draw once a step.
        Prompts (stable_diffusion):
            prompt: What to draw, or several as a batch.
            negative_prompt: What to keep away from: one text for all prompts, or one for each.
            prompt_2: What text encoder 2 reads, where that is another text.
            negative_prompt_2: What text encoder 2 reads of it, where that is another text.
            prompt_3: What text encoder 3 reads, where that is another text.
            negative_prompt_3: What text encoder 3 reads of it, where that is another text.
            images_per_prompt: Pictures of each prompt.
            clip_skip: Layers left out at the end of the CLIP text encoders.
            max_sequence_length: Tokens of the text that T5 reads.
            height: Pixels, a multiple of 8.
            width: Pixels, a multiple of 8.
            steps: Number of sampling steps.
            sampler: The sampler, by its name or by its class in diffusers.
            spacing: How timesteps are spaced: leading, trailing, linspace (diffusers); of ddim and ddpm also even (official
                respacing), strided (ddimN), or counts per section such as 10,15,25.
            steps_offset: Added to every timestep of the leading spacing; 0: what the model's scheduler says.
            eta: The noise of DDIM, 0 (none) to 1.
            guidance: Classifier-free guidance scale; 1 or less: none.
            guidance_rescale: How far the guided prediction is rescaled to the standard deviation of the conditional one (Lin et
                al. 2023); 0: not at all.
            guidance_interval: Part of the run in which guidance applies, as fractions of its steps; outside only the
                conditional prediction is used.
            guidance_execution: How predictions are computed, bit for bit the same: the two in one batch, one after the
                other, side by side on parts of the threads, or by rows on the ranks of an MPI program.
            image: The picture to begin with, in -1 … 1.
            strength: How much of the given picture is changed: the share of the steps that is made.
            mask: Where to paint: 1 (0.5 or more), and where the picture stays: 0.
            image_latents: The same as scaled latents, instead of image.
            original_size: Height and width that the picture is to look like it had before it was scaled.
            crop: Top and left of the part that it is to look like it was cut from.
            target_size: Height and width that the network is told to aim at.
            negative_original_size: Height and width that the picture is to look like it had before it was scaled. For the
                negative prompt.
            negative_crop: Top and left of the part that it is to look like it was cut from. For the negative prompt.
            negative_target_size: Height and width that the network is told to aim at. For the negative prompt.
            seed: Seed of the random numbers, as in torch.manual_seed on the CPU.
            seeds: A seed for each picture, which is then the same in whatever batch.
            previews: What events show: nothing, a linear projection of the latents, or what the decoder makes of them.
            decode: Whether the final state is decoded to images, where the model can.
            tile: Side of the decoder's tiles, in latents; auto: whole images, or tiles when the memory limit requires them.
            noise: The initial noise, instead of that of the seed.
            step_noise: The noise that steps add, in the order of use.
            prompt_embeds: States of the text, instead of prompt.
            negative_prompt_embeds: The same of the negative prompt.
            pooled_prompt_embeds: The pooled text beside prompt_embeds.
            negative_pooled_prompt_embeds: The same of the negative prompt.
        Sounds (audioldm):
            prompt: What is to be heard, or several as a batch.
            negative_prompt: What to keep away from: one text for all prompts, or one for each.
            waveforms_per_prompt: Sounds of each prompt, in the order in which they are made: none is judged.
            seconds: Length of the sounds. What the network was not trained on it may do less well.
            steps: Number of sampling steps.
            sampler: The sampler, by its name or by its class in diffusers.
            spacing: How timesteps are spaced: leading, trailing, linspace (diffusers); of ddim and ddpm also even (official
                respacing), strided (ddimN), or counts per section such as 10,15,25.
            steps_offset: Added to every timestep of the leading spacing; 0: what the model's scheduler says.
            eta: The noise of DDIM, 0 (none) to 1.
            guidance: Classifier-free guidance scale; 1 or less: none.
            guidance_rescale: How far the guided prediction is rescaled to the standard deviation of the conditional one (Lin
                et al. 2023); 0: not at all.
            guidance_interval: Part of the run in which guidance applies, as fractions of its steps; outside only the
                conditional prediction is used.
            guidance_execution: How predictions are computed, bit for bit the same: the two in one batch, one after the
                other, side by side on parts of the threads, or by rows on the ranks of an MPI program.
            max_new_tokens: Vectors that the language model makes of a prompt.
            unconditional: What guidance leads away from, without a negative prompt: what the language model makes of an empty
                text, or zeros, as in the original code.
            seed: Seed of the random numbers, as in torch.manual_seed on the CPU.
            seeds: A seed for each sound, which is then the same in whatever batch.
            decode: Whether the final state is made a sound: its spectrogram, and its values.
            noise: The initial noise, instead of that of the seed.
            step_noise: The noise that steps add, in the order of use.
            prompt_embeds: CLAP's vectors, of length 1 (AudioLDM), or the second encoder's states (AudioLDM 2), instead of
                texts.
            attention_mask: 1 for states of prompt_embeds that are seen, 0 for padding; without it all are seen.
            generated_prompt_embeds: What the language model makes, beside prompt_embeds.
            clap_embeds: CLAP's vectors: of these and of prompt_embeds the language model makes the rest.
            negative_prompt_embeds: The same of the negative prompt.
            negative_attention_mask: The same of the negative prompt.
            negative_generated_prompt_embeds: The same of the negative prompt.
            negative_clap_embeds: The same of the negative prompt.
        Scale by scale (var):
            labels: The class of each sample, by number or by name.
            guidance: Classifier-free guidance t of (1 + t) c - t u, growing from 0 at the first scale to this at the last; 0:
                none.
            top_k: Keep only the top_k most likely codes, 0: all; one number, or one per scale.
            top_p: Nucleus sampling: keep the smallest set of codes with cumulative probability ≥ top_p; 0: all.
            temperature: Divides the remaining logits; one number, or one per scale. top_k 1 takes the most probable code.
            more_smooth: Mixes codes instead of sampling them: for looks, not for statistics.
            seed: Seed of the random numbers, as in torch.manual_seed on the CPU.
            decode: Whether the final state is decoded to images, where the model can.
            previews: Whether events have a preview, the image that the state decodes to so far; each costs a decoding.
            uniforms: A number in 0 ..< 1 for each token, scale by scale, instead of those of the seed.
            image: An image in -1...1, part of which is kept while the rest is drawn to fit it; needs the VQ-VAE's encoder.
            mask: Non-zero where the image is kept; of any size, resized by nearest neighbour; goes with image.
        Token by token (mar):
            labels: The class of each sample, by number or by name.
            steps: Iterations, each of which predicts some tokens; as many as there are tokens predict one each.
            guidance: Classifier-free guidance scale; 1: none.
            guidance_schedule: Whether guidance grows with the share of tokens that are generated, or is the same in all
                iterations.
            temperature: What the noise of the head's steps is multiplied by.
            head_steps: Diffusion steps of each token: a number, ddimN, or counts per section such as 10,15,25.
            order: Whose random numbers draw the order of the tokens from the seed: torch.randperm, or numpy.random.shuffle
                as the published code has it.
            seed: Seed of the random numbers, as in torch.manual_seed on the CPU.
            decode: Whether the final state is decoded to images, where the model can.
            tile: Side of the decoder's tiles, in latents; auto: whole images, or tiles when the memory limit requires them.
            previews: Whether events have a preview, the image that the tokens so far decode to; each costs a decoding.
            noise: The start noise of all tokens, instead of that of the seed.
            step_noise: The noise that the head's steps add, in the order of use; the last is drawn and not used.
        Texts (llada, illada, dream):
            prompt: The text to continue, or several as a batch.
            tokens: The tokens of the prompt, or of several, instead of prompt.
            chat: Whether the prompt is a user's message to an instruction-tuned model.
            blank: A mark in the prompt that stands for one token to be filled in, such as ___.
            allow_control: Whether control tokens that the prompt spells out are those tokens, and not text like any other.
            length: Tokens to generate after each prompt; 0: only masks in the prompts are filled.
            infill: Whether masks in the prompts are filled like those after them; steps and blocks then cover all of them.
            steps: Number of passes over the whole text.
            block_length: Tokens per block.
            order: Which positions are revealed first.
            temperature: Temperature of the tokens; 0: the most probable.
            threshold: Each pass reveals all positions of at least this probability, and at least one.
            guidance: Guidance away from a masked prompt; 0: none.
            end_last: Whether tokens that end a text are chosen only when nothing else is left to reveal.
            no_end: Whether tokens that end a text are never chosen.
            allow_mask: Whether the mask token may be chosen, as in the published code, which then leaves masks in the text.
            seed: Seed of the random numbers, as in torch.manual_seed: one stream for the whole batch.
            seeds: A seed for each prompt instead; each is then sampled as if it were alone.
            lengths: Number of tokens of each prompt in the tensor tokens; without it they are one prompt.
            order_temperature: Randomness of the order.
            top_p: Nucleus sampling: keep the smallest set with cumulative probability ≥ top_p.
            top_k: Keep only the top_k most likely tokens; 0: all.
            eps: Last time of the schedule.

        Raises Cancelled, InvalidArgumentError naming the option, ShapeError, IncompatibleError, UnsupportedError, OverBudgetError,
        OutOfMemoryError, NotFiniteError, BusyError; TypeError and OverflowError for values that an option cannot have.
        """
        request = self._form.request(options)
        listener = Listener(callback, progress)
        try:
            status, text, handle = self._perform(request, listener)
        finally:
            listener.close()
        result = Result(handle) if handle else None
        listener.raise_failure()
        if status == _ffi.DA_CANCELLED:
            raise Cancelled("the run was stopped")
        if status != _ffi.DA_OK or result is None:
            raise error_for(status, text)
        return result

    @_with_options
    def estimate(self, **options: Unpack[SampleOptions]) -> dict[str, Any]:
        """What `sample` with these options would need: bytes (weights, cache, workspace, decode, peak), calls (upper bounds
        where they are not "exact": then the sampler decides while running), flops, sites, convolutions (how many are computed in which form
        at these sizes).

        By a dry run: nothing large is allocated, nothing is computed. Raises the same errors as `sample`.
        """
        request = self._form.request(options)
        return _ffi.facts_of(_ffi.lib.da_session_estimate, self._handle, *request.arguments)

    def cancel(self) -> None:
        """Stops the current run, if any. May be called from any thread; returns at once."""
        _ffi.check(_ffi.lib.da_session_cancel, self._handle)

    def _perform(self, request: Request, listener: Listener) -> tuple[int, str, int]:
        """Status, error text and result handle (0: none) of a run; an interruption leaves no result behind."""
        target = ctypes.c_void_p()

        def work() -> tuple[int, str]:
            return _ffi.call(
                _ffi.lib.da_session_run, self._handle, *request.arguments, listener.function, None, ctypes.byref(target))

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

    def __repr__(self) -> str:
        return "<diffaccel.Session closed>" if self.closed else f"<diffaccel.Session of {self._model!r}, plan {self._plan!r}>"
