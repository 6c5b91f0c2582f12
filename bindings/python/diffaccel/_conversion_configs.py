"""What the shapes of a published state dict say about its network: the configuration that the library reads."""

from __future__ import annotations

import math
import re
from typing import Any, Callable

from ._conversion import ConversionError, State

#: Attention heads by width, for the published sizes of DiT, SiT, U-ViT and MAR; a state dict does not tell them.
_HEADS = {384: 6, 512: 8, 768: 12, 1024: 16, 1152: 16, 1280: 16}
#: Rows of a U-ViT's label table that has one for no class: ImageNet's.
_UVIT_ROWS = 1001


def _ratio(hidden: int, width: int) -> float:
    """The mlp_ratio whose product with `width`, cut to an integer, is `hidden`."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf) if hasattr(math, "nextafter") else ratio + 1e-12


def _count(state: State, pattern: str) -> int:
    found = [int(match.group(1)) for match in (re.match(pattern, name) for name in state) if match]
    return max(found, default=-1) + 1


def _heads(width: int, heads: int | None, say: Callable[[str], None]) -> int:
    """`heads`, or those that published networks of this width have."""
    if heads is not None:
        return heads
    if width not in _HEADS:
        raise ConversionError(f"the number of heads cannot be told from a width of {width}: pass --heads")
    say(f"assumed: {_HEADS[width]} attention heads, as published networks of width {width} have (--heads)")
    return _HEADS[width]


def _side(tokens: int) -> int:
    """The side of a square of `tokens` patches."""
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise ConversionError(f"positions of {tokens} tokens, which are no square: only square inputs are known")
    return side


def dit_config(
    state: State, heads: int | None = None, null_class: bool | None = None, say: Callable[[str], None] = lambda text: None,
    family: str | None = None,
) -> dict[str, Any]:
    """Configuration of an official DiT or SiT state dict, from its shapes.

    null_class: whether the last row of the class table stands for no class; None assumes it and says so.
    family: "dit" or "sit", whose tensors are called alike; None assumes a DiT and says so.
    """
    if family is None:
        say("assumed: a DiT; a SiT has the same tensors (--family sit)")
    width, channels, patch, _ = state["x_embedder.proj.weight"].shape
    rows = state["y_embedder.embedding_table.weight"].shape[0]
    if null_class is None:
        null_class = True
        if rows < 2:
            raise ConversionError(
                f"a class table of {rows} row: pass --no-null-class when it stands for a class, not for none of them")
        say(f"assumed: the last of the {rows} rows of the class table stands for no class (--no-null-class: all are classes)")
    if rows < 1 + null_class:
        raise ConversionError(f"a class table of {rows} rows leaves no class beside the one for none")
    model = {
        "patch_size": patch,
        "hidden_size": width,
        "depth": _count(state, r"blocks\.(\d+)\."),
        "num_heads": _heads(width, heads, say),
        "num_classes": rows - null_class,
        "mlp_ratio": _ratio(state["blocks.0.mlp.fc1.weight"].shape[0], width),
        "class_dropout_prob": 0.1 if null_class else 0.0,
        "in_channels": channels,
        "learn_sigma": state["final_layer.linear.weight"].shape[0] == 2 * channels * patch * patch,
        "frequency_embedding_size": state["t_embedder.mlp.0.weight"].shape[1],
    }
    if "pos_embed" in state:
        model["input_size"] = _side(state["pos_embed"].shape[1]) * patch
    else:
        say("assumed: an input of 32 x 32, since the file has no positions (pos_embed)")
    return {"family": family or "dit", "model": model}


def uvit_config(
    state: State, heads: int | None = None, null_class: bool | None = None, say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Configuration of an official U-ViT state dict, from its shapes.

    null_class: whether the last row of the label table stands for no class; None assumes it of ImageNet's tables and says so.
    """
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    rows = state["label_emb.weight"].shape[0] if "label_emb.weight" in state else 0
    extras = 2 if rows else 1
    if null_class is None and rows:
        null_class = rows == _UVIT_ROWS
        say(f"assumed: {'the last' if null_class else 'none'} of the {rows} rows of the label table stands for no class "
            f"(--{'no-' if null_class else ''}null-class)")
    if null_class and rows < 2 or null_class is False and rows == _UVIT_ROWS:
        raise ConversionError(f"a label table of {rows} rows {'leaves no class' if null_class else 'has one for no class'}")
    model = {
        "img_size": _side(state["pos_embed"].shape[1] - extras) * patch,
        "patch_size": patch,
        "in_chans": channels,
        "embed_dim": width,
        "depth": 2 * _count(state, r"in_blocks\.(\d+)\."),
        "num_heads": _heads(width, heads, say),
        "mlp_ratio": _ratio(state["mid_block.mlp.fc1.weight"].shape[0], width),
        "qkv_bias": "mid_block.attn.qkv.bias" in state,
        "mlp_time_embed": "time_embed.0.weight" in state,
        "num_classes": rows or -1,
        "conv": "final_layer.weight" in state,
        "skip": "out_blocks.0.skip_linear.weight" in state,
    }
    if null_class:
        model["null_class"] = rows - 1
    config: dict[str, Any] = {"family": "uvit", "model": model}
    if channels == 3:
        say("assumed: three channels are pixels from -1 to 1")
        config["output"] = {"kind": "pixels", "range": [-1, 1]}
    return config


def autoencoder_config(
    state: State, scaling_factor: float | None = None, groups: int | None = None, say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Configuration of a KL autoencoder's state dict, in the original (LDM) or diffusers naming, from its shapes.

    scaling_factor, groups: what shapes do not tell; None assumes those of Stable Diffusion (0.18215, 32) and says so.
    """
    original = "decoder.up.0.block.0.conv1.weight" in state
    level, block = ("up", "block") if original else ("up_blocks", "resnets")
    levels = _count(state, rf"decoder\.{level}\.(\d+)\.")
    if scaling_factor is None:
        # MAR's autoencoder: 16 channels at a sixteenth of the size.
        is_mar = original and levels == 5 and state["decoder.conv_in.weight"].shape[1] == 16
        scaling_factor = 0.2325 if is_mar else 0.18215
        say(f"assumed: latents are scaled by {scaling_factor} (--scaling-factor)")
    channels = [state[f"decoder.{level}.{index}.{block}.0.conv1.weight"].shape[0] for index in range(levels)]
    if groups is None:
        groups = 32
        if any(width % groups for width in channels):
            raise ConversionError(f"levels of {channels} channels cannot be normalised in 32 groups: pass --norm-groups")
        say("assumed: norms of 32 groups (--norm-groups)")
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "out_channels": state["decoder.conv_out.weight"].shape[0],
        "latent_channels": state["decoder.conv_in.weight"].shape[1],
        # diffusers numbers the decoder's levels from the coarsest
        "block_out_channels": channels if original else channels[::-1],
        "layers_per_block": _count(state, rf"decoder\.{level}\.0\.{block}\.(\d+)\.") - 1,
        "norm_num_groups": groups,
        "act_fn": "silu",
        "scaling_factor": scaling_factor,
        "use_quant_conv": "quant_conv.weight" in state,
        "use_post_quant_conv": "post_quant_conv.weight" in state,
    }


#: Scales of the published VAR models by their number of tokens.
_SCHEDULES = {680: [1, 2, 3, 4, 5, 6, 8, 10, 13, 16], 2240: [1, 2, 3, 4, 6, 9, 13, 18, 24, 32]}
#: Buffers of a VAR that follow from its scales, and statistics of its VQ-VAE.
VAR_BUFFERS = ("lvl_1L", "attn_bias_for_masking")


def var_config(state: State, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Configuration of an official VAR state dict, from its shapes and its level buffer."""
    width = state["word_embed.weight"].shape[0]
    if state["class_emb.weight"].shape[0] < 2:
        raise ConversionError("a class table of one row: a VAR has one for each class and one for none")
    depth = _count(state, r"blocks\.(\d+)\.")
    tokens = state["pos_1LC"].shape[1]
    if "lvl_1L" in state:
        levels = state["lvl_1L"].values().flatten().tolist()
        sides = [math.isqrt(levels.count(level)) for level in range(max(levels) + 1)]
    else:
        sides = _SCHEDULES.get(tokens, [])
        say(f"assumed: the published scales {sides} of {tokens} tokens")
    if sum(side * side for side in sides) != tokens:
        raise ConversionError(f"the scales cannot be told from {tokens} tokens")
    normalises = "blocks.0.attn.scale_mul_1H11" in state
    if not normalises:
        say(f"assumed: heads of 64 elements, so {max(1, width // 64)}")
    model = {
        "depth": depth,
        "embed_dim": width,
        "num_heads": state["blocks.0.attn.scale_mul_1H11"].shape[1] if normalises else max(1, width // 64),
        "mlp_ratio": _ratio(state["blocks.0.ffn.fc1.weight"].shape[0], width),
        "num_classes": state["class_emb.weight"].shape[0] - 1,
        "vocab_size": state["head.weight"].shape[0],
        "z_channels": state["word_embed.weight"].shape[1],
        "shared_aln": "shared_ada_lin.1.weight" in state,
        "attn_l2_norm": normalises,
        "patch_nums": sides,
    }
    return {"family": "var", "model": model}


def vqvae_config(state: State) -> dict[str, Any]:
    """Configuration of a multi-scale VQ-VAE's state dict, from its shapes."""
    levels = _count(state, r"decoder\.up\.(\d+)\.")
    channels = [state[f"decoder.up.{index}.block.0.conv1.weight"].shape[0] for index in range(levels)]
    base = state["encoder.conv_in.weight"].shape[0] if "encoder.conv_in.weight" in state else math.gcd(*channels)
    shares = _count(state, r"quantize\.quant_resi\.qresi_ls\.(\d+)\.")
    model = {
        "vocab_size": state["quantize.embedding.weight"].shape[0],
        "z_channels": state["quantize.embedding.weight"].shape[1],
        "ch": base,
        "ch_mult": [width // base for width in channels],
        "num_res_blocks": _count(state, r"decoder\.up\.0\.block\.(\d+)\.") - 1,
        "share_quant_resi": shares or int("quantize.quant_resi.qresi.weight" in state),
        "quant_resi": 0.5,
    }
    return {"family": "vqvae", "model": model}


def mar_config(state: State, heads: int | None = None, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Configuration of an official MAR state dict, from its shapes. heads: those of encoder and decoder; None: as published ones of their widths."""
    tokens, rows = state["diffusion_pos_embed_learned"].shape[1], state["encoder_pos_embed_learned"].shape[1]
    side = _side(tokens)
    width, numbers = state["z_proj.weight"].shape
    # Tokens of one latent are the published ones; a larger patch has the square of its side in each channel.
    patch = 2 if numbers == 64 else 1
    say(f"assumed: tokens of {patch} x {patch} latents with {numbers // (patch * patch)} channels, each of 16 x 16 pixels")
    model: dict[str, Any] = {
        "img_size": side * patch * 16, "vae_stride": 16, "patch_size": patch, "vae_embed_dim": numbers // (patch * patch),
        "class_num": state["class_emb.weight"].shape[0], "buffer_size": rows - tokens,
        "diffloss_d": _count(state, r"diffloss\.net\.res_blocks\.(\d+)\."),
        "diffloss_w": state["diffloss.net.input_proj.weight"].shape[0],
        "mlp_ratio": _ratio(state["encoder_blocks.0.mlp.fc1.weight"].shape[0], width),
    }
    for name in ("encoder", "decoder"):
        own = state[f"{name}_norm.weight"].shape[0]
        model |= {
            f"{name}_depth": _count(state, rf"{name}_blocks\.(\d+)\."), f"{name}_embed_dim": own,
            f"{name}_num_heads": _heads(own, heads, say),
        }
    return {"family": "mar", "model": model}
