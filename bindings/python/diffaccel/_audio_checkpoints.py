"""Original checkpoints of AudioLDM and AudioLDM 2, one file with all parts, as the parts of a pipeline under the names of diffusers."""

from __future__ import annotations

import re
from typing import Any, Callable, Iterable

import numpy as np

from ._conversion import ConversionError, FileTensor, State
from ._conversion_configs import _count, _heads, autoencoder_config

#: Where the parts are.
_UNET, _FIRST, _VOCODER = "model.diffusion_model.", "first_stage_model.", "first_stage_model.vocoder."
_SEQUENCE, _T5 = "cond_stage_models.0.", "cond_stage_models.1.model."
#: Of AudioLDM 2, and of AudioLDM.
_CLAP = ("clap.model.", "cond_stage_model.model.")
#: Rates of the published vocoders by their kernels, and values of a second.
_RATES: dict[tuple[int, ...], tuple[list[int] | None, int]] = {(16, 16, 8, 4, 4): ([5, 4, 2, 2, 2], 16000), (12, 10, 8, 4, 4): ([6, 5, 4, 2, 2], 48000)}
_RESNET = {"in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2", "out_layers.3": "conv2",
           "skip_connection": "conv_shortcut"}
_ENDS = {"time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2", "out.0": "conv_norm_out", "out.2": "conv_out",
         "input_blocks.0.0": "conv_in", "film_emb": "class_embedding"}
SCHEDULER = {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear",
             "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": "epsilon"}
#: A part: its tensors and its configuration.
Part = tuple[State, dict[str, Any]]


def holds_audio(state: State) -> bool:
    """Whether these are the tensors of such a checkpoint."""
    return f"{_VOCODER}conv_pre.weight" in state or f"{_VOCODER}conv_pre.weight_v" in state


def _under(state: State, prefix: str) -> State:
    return {name[len(prefix):]: tensor for name, tensor in state.items() if name.startswith(prefix)}


def _made(values: np.ndarray) -> FileTensor:
    values = np.ascontiguousarray(values, "<f4")
    return FileTensor("F32", values.shape, lambda: values)


def parts(state: State, say: Callable[[str], None], groups: int | None = None, rates: list[int] | None = None,
          heads: int | None = None) -> dict[str, Part]:
    """The parts of a pipeline by their folders. Raises ConversionError where shapes do not tell a setting."""
    unet = _under(state, _UNET)
    is_first = "film_emb.weight" in unet
    made = {"unet": _unet(unet, groups or 32, say), "vocoder": _vocoder(_under(state, _VOCODER), rates, say)}
    first = {name: tensor for name, tensor in _under(state, _FIRST).items() if not name.startswith(("vocoder.", "loss."))}
    scale = float(state["scale_factor"].values().reshape(-1)[0]) if "scale_factor" in state else None
    made["vae"] = (first, {**autoencoder_config(first, scale, groups, say), "in_channels": 1})
    made["text_encoder"] = _clap(next((part for prefix in _CLAP if (part := _under(state, prefix))), {}), heads, say)
    if not is_first:
        sequence = _under(state, _SEQUENCE)
        made["projection_model"] = _projection(sequence)
        made["language_model"] = _gpt2(_under(sequence, "model."), heads, say)
        made["text_encoder_2"] = _t5(_under(state, _T5))
    return made


def index(made: dict[str, Part]) -> dict[str, Any]:
    """model_index.json of these parts."""
    classes = {name: config.get("_class_name") or config["architectures"][0] for name, (_, config) in made.items()}
    return {"_class_name": "AudioLDM2Pipeline" if "text_encoder_2" in made else "AudioLDMPipeline",
            **{name: ["transformers" if "architectures" in made[name][1] else "diffusers", kind] for name, kind in classes.items()},
            "scheduler": ["diffusers", "DDIMScheduler"]}


def _levels(unet: State) -> tuple[int, list[int]]:
    """Resnets of a level, and the blocks of the way down that have one."""
    downs = sorted(int(match[1]) for name in unet if (match := re.fullmatch(r"input_blocks\.(\d+)\.0\.op\.weight", name)))
    if not downs or downs[0] < 2:
        raise ConversionError("a U-Net without levels: no input_blocks.N.0.op.weight")
    return downs[0] - 1, [i for i in range(1, _count(unet, r"input_blocks\.(\d+)\.")) if i not in downs]


def _unet(unet: State, groups: int, say: Callable[[str], None]) -> Part:
    layers, blocks = _levels(unet)
    stacks = max(_count(unet, rf"input_blocks\.{i}\.(\d+)\.(?:transformer_blocks|proj_in)") - 1 for i in blocks)
    if stacks < 1:
        raise ConversionError("a U-Net without attention")
    names: dict[str, str] = {}
    for name in unet:
        names[name] = _unet_name(name, layers, stacks)
    widths = [unet[f"input_blocks.{i}.0.out_layers.3.weight"].shape[0] for i in blocks[::layers]]
    attends = [f"input_blocks.{i}.1.norm.weight" in unet for i in blocks[::layers]]
    level = blocks[attends.index(True) * layers]
    width = unet[f"input_blocks.{level}.0.out_layers.3.weight"].shape[0]
    read = [unet[f"input_blocks.{level}.{1 + j}.transformer_blocks.0.attn2.to_k.weight"].shape[1] for j in range(stacks)]
    own: list[int | None] = [None if states == width else states for states in read]
    is_first = "film_emb.weight" in unet
    say("assumed: a head of attention for 32 channels, as AudioLDM was trained (l: 64)")
    config = {
        "_class_name": "UNet2DConditionModel" if is_first else "AudioLDM2UNet2DConditionModel",
        "in_channels": unet["input_blocks.0.0.weight"].shape[1], "out_channels": unet["out.2.weight"].shape[0], "sample_size": 128 if is_first else 256,
        "block_out_channels": widths, "layers_per_block": layers, "norm_num_groups": groups,
        "transformer_layers_per_block": _count(unet, rf"input_blocks\.{level}\.1\.transformer_blocks\.(\d+)\."),
        "attention_head_dim": [max(1, width // 32) for width in widths],
        "cross_attention_dim": widths if is_first else [own] * len(widths),
        "down_block_types": ["CrossAttnDownBlock2D" if one else "DownBlock2D" for one in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if one else "UpBlock2D" for one in attends[::-1]],
        "mid_block_type": "UNetMidBlock2DCrossAttn",
    }
    if is_first:
        config |= {"class_embed_type": "simple_projection", "class_embeddings_concat": True,
                   "projection_class_embeddings_input_dim": unet["film_emb.weight"].shape[1]}
    return {names[name]: tensor for name, tensor in unet.items()}, config


def _unet_name(name: str, layers: int, stacks: int) -> str:
    """diffusers' name of a tensor."""
    for old, new in _ENDS.items():
        if name.startswith(f"{old}."):
            return new + name[len(old):]
    match = re.fullmatch(r"(input_blocks|output_blocks)\.(\d+)\.(\d+)\.(.+)|(middle_block)\.(\d+)\.(.+)", name)
    if match is None:
        raise ConversionError(f"the tensor {name} is in no AudioLDM")
    if match[5]:
        module, rest, block, layer = int(match[6]), match[7], "mid_block", 0
        if module in (0, stacks + 1):
            return f"{block}.resnets.{min(module, 1)}.{_resnet(rest)}"
    else:
        number, module, rest = int(match[2]), int(match[3]), match[4]
        isdown = match[1] == "input_blocks"
        level, layer = divmod(number - 1 if isdown else number, layers + 1)
        block = f"{'down' if isdown else 'up'}_blocks.{level}"
        if isdown and rest.startswith("op."):
            return f"{block}.downsamplers.0.conv.{rest[3:]}"
        if not isdown and rest.startswith("conv."):
            return f"{block}.upsamplers.0.{rest}"
        if module == 0:
            return f"{block}.resnets.{layer}.{_resnet(rest)}"
    return f"{block}.attentions.{layer * stacks + module - 1}.{rest}"


def _resnet(rest: str) -> str:
    module, _, kind = rest.rpartition(".")
    if module not in _RESNET:
        raise ConversionError(f"the tensor {rest} is in no residual block")
    return f"{_RESNET[module]}.{kind}"


def _vocoder(state: State, rates: list[int] | None, say: Callable[[str], None]) -> Part:
    state = dict(_folded(state))
    named = {re.sub(r"^ups\.", "upsampler.", name): tensor for name, tensor in state.items()}
    kernels = [named[f"upsampler.{i}.weight"].shape[2] for i in range(_count(named, r"upsampler\.(\d+)\."))]
    known, rate = _RATES.get(tuple(kernels), (rates, 16000))
    if rates is None and known is None:
        raise ConversionError(f"the rates of a vocoder with kernels of {kernels} cannot be told: pass --upsample-rates")
    blocks = _count(named, r"resblocks\.(\d+)\.") // max(1, len(kernels))
    say(f"assumed: {rate} values a second, and dilations of 1, 3, 5 in the vocoder's blocks")
    dilations = [[1, 3, 5, 7][: _count(named, rf"resblocks\.{j}\.convs1\.(\d+)\.")] for j in range(blocks)]
    return named, {
        "architectures": ["SpeechT5HifiGan"], "model_type": "hifigan", "model_in_dim": named["conv_pre.weight"].shape[1], "sampling_rate": rate,
        "upsample_initial_channel": named["conv_pre.weight"].shape[0], "upsample_rates": rates or known, "upsample_kernel_sizes": kernels,
        "resblock_kernel_sizes": [named[f"resblocks.{j}.convs1.0.weight"].shape[2] for j in range(blocks)],
        "resblock_dilation_sizes": dilations, "leaky_relu_slope": 0.1, "normalize_before": False,
    }


def _folded(state: State) -> Iterable[tuple[str, FileTensor]]:
    """Weights that were kept apart as directions and lengths, as one."""
    for name, tensor in state.items():
        if name.endswith(".weight_v"):
            direction, length = tensor.values(), state[name[:-1] + "g"].values()
            sizes = np.sqrt((direction.astype(np.float64) ** 2).sum(tuple(range(1, direction.ndim)), keepdims=True))
            yield name[:-2], _made(direction * (length / sizes))
        elif not name.endswith(".weight_g"):
            yield name, tensor


def _projection(state: State) -> Part:
    made = {f"projection{suffix}.{kind}": state[f"input_sequence_embed_linear.{i}.{kind}"]
            for i, suffix in enumerate(("", "_1")) for kind in ("weight", "bias")}
    for old, new in (("start", "sos"), ("end", "eos")):
        rows = state[f"{old}_of_sequence_tokens.weight"].values()
        made |= {f"{new}_embed": _made(rows[0]), f"{new}_embed_1": _made(rows[1])}
    width, first = made["projection.weight"].shape
    return made, {"_class_name": "AudioLDM2ProjectionModel", "text_encoder_dim": first, "text_encoder_1_dim": made["projection_1.weight"].shape[1],
                  "langauge_model_dim": width}


def _gpt2(state: State, heads: int | None, say: Callable[[str], None]) -> Part:
    positions, width = state["wpe.weight"].shape
    kept = {name: tensor for name, tensor in state.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}
    return kept, {"architectures": ["GPT2Model"], "model_type": "gpt2", "n_embd": width, "n_layer": _count(state, r"h\.(\d+)\."),
                  "n_head": _heads(width, heads, say), "n_positions": positions, "max_new_tokens": 8}


def _t5(state: State) -> Part:
    bias = state["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    inner, width = state["encoder.block.0.layer.0.SelfAttention.q.weight"].shape
    gated = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight" in state
    table = state["shared.weight" if "shared.weight" in state else "encoder.embed_tokens.weight"]
    return state, {
        "architectures": ["T5EncoderModel"], "model_type": "t5", "vocab_size": table.shape[0], "d_model": width, "num_heads": bias.shape[1],
        "d_kv": inner // bias.shape[1], "relative_attention_num_buckets": bias.shape[0],
        "num_layers": _count(state, r"encoder\.block\.(\d+)\."), "feed_forward_proj": "gated-gelu" if gated else "relu",
        "d_ff": state[f"encoder.block.0.layer.1.DenseReluDense.{'wi_0' if gated else 'wi'}.weight"].shape[0]}


def _clap(state: State, heads: int | None, say: Callable[[str], None]) -> Part:
    made: State = {}
    for name, tensor in state.items():
        if name.startswith("text_branch."):
            made["text_model." + name[len("text_branch."):]] = tensor
        elif match := re.fullmatch(r"text_projection\.([02])\.(\w+)", name):
            made[f"text_projection.linear{1 + int(match[1]) // 2}.{match[2]}"] = tensor
    words = made["text_model.embeddings.word_embeddings.weight"]
    return {name: tensor for name, tensor in made.items() if tensor.is_float}, {
        "architectures": ["ClapTextModelWithProjection"], "model_type": "clap_text_model", "vocab_size": words.shape[0], "hidden_size": words.shape[1],
        "num_hidden_layers": _count(made, r"text_model\.encoder\.layer\.(\d+)\."), "num_attention_heads": _heads(words.shape[1], heads, say),
        "intermediate_size": made["text_model.encoder.layer.0.intermediate.dense.weight"].shape[0],
        "max_position_embeddings": made["text_model.embeddings.position_embeddings.weight"].shape[0],
        "projection_dim": made["text_projection.linear2.weight"].shape[0]}
