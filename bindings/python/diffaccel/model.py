"""Models: a checkpoint in memory, immutable and shared by any number of sessions and threads."""

from __future__ import annotations

import copy
import ctypes
import os
from typing import TYPE_CHECKING, Any, Mapping, Sequence, Union, overload

import numpy as np
import numpy.typing as npt

from . import _arrays, _ffi
from ._handle import Handle, new_handle
from ._json import json_text
from .errors import InvalidArgumentError
from .text import Tokenizer

if TYPE_CHECKING:
    from .plan import PlanLike
    from .session import Session

#: Inputs of a network that are integers; every other one is float32.
_INTEGER_INPUTS = {"y", "tokens", "mask", "layer"}
#: Output of a forward by family and telling input; "out" otherwise.
_OUTPUTS = {
    "autoencoder_kl": {"latents": "image", "image": "moments"},
    "autoencoder_tiny": {"latents": "image", "image": "latents"},
    "vqvae": {"tokens": "image", "state": "image", "image": "tokens"},
    "var": {"y": "logits"},
    "mar": {"latents": "z", "x": "out"},
    "clip_text": {"tokens": "last_hidden_state"}, "clap_text": {"tokens": "text_features"}, "t5_encoder": {"tokens": "last_hidden_state"},
    "speecht5_hifigan": {"mel": "waveform"},
    "llada": {"tokens": "logits"}, "illada": {"tokens": "logits"}, "dream": {"tokens": "logits"},
}


#: A file of low-rank updates, all of it or a share: a path, or a pair of a path and a scale.
LoRA = Union[str, os.PathLike[str], tuple[Union[str, os.PathLike[str]], float]]


def _updates(lora: LoRA | Sequence[LoRA] | None) -> list[dict[str, Any]] | None:
    """The files of `lora` as the library reads them; None for none."""
    if lora is None:
        return None
    is_pair = isinstance(lora, tuple) and len(lora) == 2 and isinstance(lora[1], (int, float))
    files = [lora] if isinstance(lora, (str, os.PathLike)) or is_pair else list(lora)
    pairs = [one if isinstance(one, tuple) else (one, 1.0) for one in files]
    return [{"path": os.fspath(path), "scale": float(scale)} for path, scale in pairs] or None


class Model(Handle):
    """A loaded checkpoint.

    path: folder with config.json and *.safetensors (official, diffusers or pipeline layout), a single file of Stable Diffusion, or
        another .safetensors file together with `config`.
    family: "dit", "uvit", "sit", "stable_diffusion", "audioldm", "unet2d_condition", "sd3_transformer", "var", "mar", "autoencoder_kl",
        "autoencoder_tiny", "vqvae", "llada", "illada", "dream", "clip_text", "clap_text", "t5_encoder"
        or "speecht5_hifigan"; None lets the config decide.
    config: the configuration as a dict or JSON text, used instead of the checkpoint's config.json.
    decoder: folder of the autoencoder that turns latents into pixels; None means the checkpoint's own vae/.
    conventions: "official" or "diffusers" (how a DiT is evaluated); None means official, unless the checkpoint shows that it was
        trained in diffusers.
    follow_links: follow symbolic links inside the folder, as download caches have them, and inside those of its autoencoder and of a
        plan's refiner.
    weights: how weights are kept in memory: "stored" (the default: the file's element type), "f32", or "int8": matrices of linear
        layers over tokens as integers with a scale per output, all else as stored.
    widen: the same as weights="f32".
    memory_limit: bytes the weights may take, the largest counted twice while it is packed; 0 is no limit.
    mask_token: language models: the mask token; None is the one that the config names.
    lora: Stable Diffusion: files of low-rank updates (LoRA) that are merged into the weights: a path, a pair of a path and a scale, or
        several of either.
    text_encoders: Stable Diffusion, AudioLDM: "resident" (the default), or "on_demand": loaded by each request and given back after it.
    t5: Stable Diffusion 3: False leaves its third text encoder out, which needs the most memory by far.
    variant: which variant of a pipeline's weight files is read, such as "fp16"; None is the plain files, or the only variant there is.
    prediction_type: Stable Diffusion: what the network predicts, "epsilon" or "v_prediction", where a single file does not say.
    tokenizer: Stable Diffusion, AudioLDM: folder of the tokenizers, of a checkpoint that has none.
    heads: AudioLDM: attention heads of the network, "config" (the default), as diffusers computes, or "channels/32" and the like, one for so
        many channels, as the original was trained: published configs have other numbers, which change what is heard.
    convolution: how 3 x 3 convolutions, and those of vocoders, are computed: "auto" (the default: by Winograd's transforms where these are
        faster), "direct", or "winograd". Results differ by rounding errors.
    precision: what linear layers over tokens, direct convolutions and attention multiply in: "f32" (the default), "bf16" (factors rounded to
        bf16, sums in f32; in half of the time and with half of the memory for these weights, where the processor has AVX512_BF16, else
        refused) or "auto" (bf16 where the processor has it, else f32). Everything else is computed in f32.
    ranks: the plan, with the executor "mpi", of whose ranks this process is one (a word or a dict): the model has only the weights of what
        the rank computes, and only rank 0 has encoders and decoder. None loads all weights.
    ranks_decode: with ranks, whether all ranks have the decoder, to share the tiles of pictures, or the pictures of a batch.

    Raises FileError, FormatError, UnsupportedError, OutOfMemoryError, OverBudgetError, InvalidArgumentError.
    """

    _close_function = _ffi.lib.da_model_close

    def __init__(
        self,
        path: str | os.PathLike[str],
        family: str | None = None,
        config: Mapping[str, Any] | str | None = None,
        decoder: str | os.PathLike[str] | None = None,
        conventions: str | None = None,
        *,
        follow_links: bool = False,
        widen: bool = False,
        weights: str | None = None,
        memory_limit: int = 0,
        mask_token: int | None = None,
        lora: LoRA | Sequence[LoRA] | None = None,
        text_encoders: str | None = None,
        t5: bool | None = None,
        variant: str | None = None,
        prediction_type: str | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
        heads: str | None = None,
        convolution: str | None = None,
        precision: str | None = None,
        ranks: str | Mapping[str, Any] | None = None,
        ranks_decode: bool | None = None,
    ) -> None:
        options = _ffi.ModelOptions()
        _ffi.check(_ffi.lib.da_model_options_init, ctypes.byref(options), ctypes.sizeof(options))
        if config is not None and not isinstance(config, str):
            # As files may hold NaN: the library refuses it where a setting is read, by name.
            config = json_text(config, "config", allow_nan=True)
        options.family = _ffi.encode_text(family, "family")
        options.config = _ffi.encode_text(config, "config")
        options.conventions = _ffi.encode_text(conventions, "conventions")
        options.decoder = None if decoder is None else _ffi.encode_path(decoder)
        options.follow_links = _arrays.flag(follow_links, "follow_links")
        options.widen = _arrays.flag(widen, "widen")
        options.weights = _ffi.encode_text(weights, "weights")
        options.memory_limit = _arrays.unsigned(memory_limit, "memory_limit")
        if mask_token is not None:
            options.mask_token = _arrays.integer(mask_token, "mask_token", bits=64)
            if options.mask_token < 0:
                raise InvalidArgumentError(f"mask_token must be 0 or more, not {mask_token}")
        settings = {"lora": _updates(lora), "text_encoders": text_encoders, "t5": t5, "variant": variant, "prediction_type": prediction_type,
                    "tokenizer": None if tokenizer is None else os.fspath(tokenizer), "heads": heads, "convolution": convolution,
                    "precision": precision, "ranks": ranks, "ranks_decode": ranks_decode}
        given = {name: value for name, value in settings.items() if value is not None}
        options.settings = _ffi.encode_text(json_text(given, "settings"), "settings") if given else None
        super().__init__(new_handle(_ffi.lib.da_model_open, _ffi.encode_path(path), ctypes.byref(options)))
        self._path = os.fspath(path)
        self._description: dict[str, Any] | None = None
        self._tokenizer: Tokenizer | None = None

    @property
    def description(self) -> dict[str, Any]:
        """Facts about the model: family, parameters, bytes, weights, input, config, sites, labels, decoder, flops, convolutions
        (how many are computed in which form, and each with its form, the reason and its output at the model's own size), ...; settings of
        its files without effect (unknown_keys), values of absent ones (defaults), and what else was assumed (assumptions).
        """
        return _ffi.facts_of(_ffi.lib.da_model_describe, self._handle)

    def _facts(self) -> dict[str, Any]:
        # The model never changes, so one look is enough for what every call needs.
        if self._description is None:
            self._description = self.description
        return self._description

    @property
    def request(self) -> dict[str, Any]:
        """What `Session.sample` accepts: {"options": [{"name", "description", "type", "minimum", "maximum", "enum", "items", "anyOf" (as
        in JSON Schema), "default" or "default_text", "required"}], "tensors": [{"name", "dtype", "shape", "description"}]}. Empty when the
        model cannot sample by itself."""
        return copy.deepcopy(self._facts().get("request") or {})

    @property
    def family(self) -> str:
        """The model's family, such as "dit"."""
        return str(self._facts()["family"])

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return int(self._facts()["parameters"])

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of a language model. Raises UnsupportedError when there is none."""
        if self._tokenizer is None or self._tokenizer.closed:
            self._tokenizer = Tokenizer._from_handle(new_handle(_ffi.lib.da_model_tokenizer, self._handle))
        return self._tokenizer

    @property
    def end_tokens(self) -> list[int]:
        """Tokens that end a text; empty when the model is not a language model."""
        return [int(token) for token in self._facts().get("end_tokens") or []]

    @property
    def mask_token(self) -> int | None:
        """The mask token of a language model; None when there is none."""
        return self._facts().get("mask_token")

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in order; empty when the checkpoint does not name them."""
        return [str(name) for name in self._facts().get("labels") or []]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of one sample's state."""
        return tuple(self._facts()["input"])

    @overload
    def forward(
        self, outputs: str | None = None, threads: int = 0, memory_limit: int = 0, **inputs: Any
    ) -> npt.NDArray[np.float32]: ...

    @overload
    def forward(
        self, outputs: list[str] | tuple[str, ...], threads: int = 0, memory_limit: int = 0, **inputs: Any
    ) -> dict[str, npt.NDArray[np.float32]]: ...

    def forward(
        self, outputs: str | Sequence[str] | None = None, threads: int = 0, memory_limit: int = 0, **inputs: Any
    ) -> npt.NDArray[np.float32] | dict[str, npt.NDArray[np.float32]]:
        """Evaluates the raw network once, without sampler or plan.

        dit: x [n,C,S,S], t [n] (original timesteps), y [n] (integers) -> [n,C or 2C,S,S]
        uvit, sit: the same -> [n,C,S,S]; t also between timesteps, of sit from 0 (noise) to 1 (data); an unconditional uvit has no y
        var: x [n,t-1,C] (codes of the image so far, for the scales after the first), y [n] -> logits [n,t,V]
        mar: latents [n,C,S,S], mask [n,L] (integers, 1 where a token is unknown), y [n] -> z [n,L,W]; also encoded, of the known tokens; and
            x [m,D], t [m], z [m,W] -> out [m,2D] of the head
        vqvae: tokens [n*L] (integers) or state [n,C,h,w] -> image [n,3,H,W]; image -> tokens [n,L] (integers)
        llada, illada, dream: tokens [n] (integers) -> logits [1,n,V]
        clip_text: tokens [n,t] (integers) -> last_hidden_state [n,t,W]; also pooled [n,W or P], and hidden_state, that of layer [1]
        audioldm: sample [n,C,t,f], timestep [n], encoder_hidden_states [n,k,W] (with encoder_hidden_states_1 [n,t,V] and perhaps
            encoder_attention_mask_1 [n,t]), or class_labels [n,P] -> out [n,C,t,f]
        clap_text: tokens [n,t], perhaps mask [n,t] (integers, 0: padding) -> text_features [n,P], of length 1; also text_embeds [n,P],
            before that, pooled [n,W] and last_hidden_state [n,t,W]
        t5_encoder: tokens [n,t], perhaps mask [n,t] (integers, 0: not seen) -> last_hidden_state [n,t,W]
        speecht5_hifigan: mel [n,frames,bins] -> waveform [n,values]
        autoencoder_kl: latents [n,C,h,w] -> image [n,3,H,W]; image [n,3,H,W] -> moments [n,2C,h,w]
        autoencoder_tiny: latents [n,C,h,w] -> image [n,3,H,W]; image [n,3,H,W] -> latents [n,C,h,w]
        sd3_transformer: hidden_states [n,C,h,w], timestep [n] (0, data, to 1000, noise), encoder_hidden_states [n,tokens,D],
            pooled_projections [n,P] -> [n,C,h,w]
        unet2d_condition: sample [n,C,h,w], timestep [n] (original ones), encoder_hidden_states [n,tokens,D]; of SDXL also text_embeds
            [n,P] and time_ids [n,6]; with time_cond_proj_dim perhaps timestep_cond [n,that] -> [n,C,h,w]
        stable_diffusion: its network with the inputs of unet2d_condition, but timestep_cond, under these names also in SD3

        Arrays of any strides and any real element type are converted; `y`, `tokens`, `mask` and `layer` must hold integers. `outputs`
        names what is wanted when the default does not fit. Returns a float32 array, or a dict of them for a list of names.
        Raises InvalidArgumentError (unknown or missing input), ShapeError, OverBudgetError, OutOfMemoryError.
        """
        if not inputs:
            raise InvalidArgumentError("a forward needs inputs, such as x=..., t=..., y=...")
        arrays = {
            name: _arrays.integers(value, name) if name in _INTEGER_INPUTS else _arrays.floats(value, name)
            for name, value in inputs.items()
        }
        default = next((out for key, out in _OUTPUTS.get(self.family, {}).items() if key in inputs), "out")
        names = [default] if outputs is None else [outputs] if isinstance(outputs, str) else list(outputs)
        options = _ffi.ForwardOptions()
        _ffi.check(_ffi.lib.da_forward_options_init, ctypes.byref(options), ctypes.sizeof(options))
        options.threads = _arrays.integer(threads, "threads")
        options.memory_limit = _arrays.unsigned(memory_limit, "memory_limit")
        wanted = (_ffi.Tensor * len(names))(
            *(_ffi.Tensor(struct_size=ctypes.sizeof(_ffi.Tensor), name=_ffi.encode_text(name, "outputs")) for name in names))
        given = (_ffi.Tensor * len(arrays))(*(_arrays.describe(name, array) for name, array in arrays.items()))
        run = (_ffi.lib.da_model_forward, self._handle, given, len(given), wanted, len(wanted), ctypes.byref(options))
        _ffi.check(*run)
        results: dict[str, npt.NDArray[np.float32]] = {}
        for name, tensor in zip(names, wanted):
            results[name] = np.empty(tuple(tensor.shape[: tensor.rank]), np.float32)
            tensor.data, tensor.bytes = results[name].ctypes.data, results[name].nbytes
        _ffi.check(*run)
        return results[names[0]] if outputs is None or isinstance(outputs, str) else results

    def session(
        self, plan: PlanLike | None = None, threads: int = 0, memory_limit: int = 0, partner: Model | None = None
    ) -> Session:
        """A session that samples this model with `plan`: a Plan, the path of a plan file, a word such as "alternate" or "dkv:decode:8",
        or a dict (None: the plain model).

        threads: 0 means one per processor that may be used (affinity, quotas of control groups). memory_limit: bytes for states, caches and workspace; 0 is no limit.
        partner: the second model of a plan that needs one (CoDe's refiner), already open; None: the plan says where it is.
        Raises IncompatibleError when the plan does not fit the model.
        """
        from .session import Session

        return Session(self, plan, threads, memory_limit, partner)

    def __repr__(self) -> str:
        if self.closed:
            return "<diffaccel.Model closed>"
        return f"<diffaccel.Model {self._path!r}: {self.family}, {self.parameters:,} parameters>"
