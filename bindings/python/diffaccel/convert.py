"""Turns published .pt and .pth files into what the library reads. Needs torch; the library itself never reads pickle.

    python -m diffaccel.convert DiT-XL-2-256x256.pt --out dit-xl
    python -m diffaccel.convert autoencoder_kl.pth --out dit-xl/vae
    python -m diffaccel.convert DDIM20_router.pt --out router.json
    python -m diffaccel.convert var_d16.pth --out var-d16
    python -m diffaccel.convert vae_ch160v4096z32.pth --out var-d16/vae

A DiT, VAR or autoencoder becomes a folder with config.json and model.safetensors, an L2C router becomes a plan. Files are read
with weights_only, so nothing in them is executed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import struct
import sys
from pathlib import Path
from typing import Any, Callable

#: Attention heads by width, for the published DiT sizes; a state dict does not tell them.
_HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}
_TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
State = dict[str, Any]


class ConversionError(Exception):
    """The file is not what can be converted; the text says why."""


def load(path: str | os.PathLike[str]) -> Any:
    """Reads a .pt file safely, on the CPU. Raises ConversionError."""
    try:
        import torch
    except ImportError as error:
        raise ConversionError("reading .pt files needs torch: pip install torch") from error
    try:
        # Training scripts store their arguments; a Namespace is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds
        raise ConversionError(f"{path}: {error}") from error


def state_dict(content: Any) -> State:
    """The tensors of a checkpoint: its "ema" when it has one, else "state_dict" or "model", else itself;
    those of a VAR training run are two levels down."""
    for key in ("ema", "state_dict", "model", "trainer", "var_wo_ddp"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise ConversionError("the file holds no state dict")
    tensors = {name: value for name, value in content.items() if hasattr(value, "detach")}
    # Distributed training and combined checkpoints put a prefix before every name.
    for prefix in ("module.", "first_stage_model."):
        if any(name.startswith(prefix) for name in tensors):
            tensors = {name[len(prefix):]: value for name, value in tensors.items() if name.startswith(prefix)}
    return tensors


def router_rows(content: Any) -> list[list[float]] | None:
    """Logits of an L2C router, one row a step; None when the content is no router."""
    routers = content.get("routers", content) if isinstance(content, dict) else None
    if not isinstance(routers, dict) or not routers:
        return None
    if not all(isinstance(name, str) and re.fullmatch(r"\d+\.prob", name) for name in routers):
        return None
    rows = {int(name.split(".")[0]): value for name, value in routers.items()}
    if sorted(rows) != list(range(len(rows))):
        raise ConversionError("the router's rows are not numbered 0, 1, 2, ...")
    logits = [[float(item) for item in rows[index].detach().flatten().tolist()] for index in range(len(rows))]
    if len({len(row) for row in logits}) != 1:
        raise ConversionError("the router's rows differ in length")
    return logits


def router_plan(content: Any, threshold: float | None = None) -> dict[str, Any]:
    """An L2C plan from a router's content. The threshold defaults to the authors': 0.1 for DiT, 0.9 for U-ViT."""
    logits = router_rows(content)
    if logits is None:
        raise ConversionError("the file holds no router")
    if threshold is None:
        threshold = 0.1 if "routers" in content else 0.9
    return {"method": "l2c", "threshold": threshold, "logits": logits}


def _count(state: State, pattern: str) -> int:
    found = [int(match.group(1)) for match in (re.match(pattern, name) for name in state) if match]
    return max(found, default=-1) + 1


def dit_config(state: State, heads: int | None = None) -> dict[str, Any]:
    """Configuration of an official DiT state dict, from its shapes."""
    width, channels, patch, _ = state["x_embedder.proj.weight"].shape
    heads = heads or _HEADS.get(width)
    if heads is None:
        raise ConversionError(f"the number of heads cannot be told from a width of {width}: pass --heads")
    model = {
        "patch_size": patch,
        "hidden_size": width,
        "depth": _count(state, r"blocks\.(\d+)\."),
        "num_heads": heads,
        "num_classes": state["y_embedder.embedding_table.weight"].shape[0] - 1,
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "class_dropout_prob": 0.1,
        "in_channels": channels,
        "learn_sigma": state["final_layer.linear.weight"].shape[0] == 2 * channels * patch * patch,
        "frequency_embedding_size": state["t_embedder.mlp.0.weight"].shape[1],
    }
    if "pos_embed" in state:
        model["input_size"] = math.isqrt(state["pos_embed"].shape[1]) * patch
    return {"family": "dit", "model": model}


def autoencoder_config(state: State, scaling_factor: float = 0.18215) -> dict[str, Any]:
    """Configuration of a KL autoencoder's state dict, in the original (LDM) or diffusers naming, from its shapes."""
    original = "decoder.up.0.block.0.conv1.weight" in state
    level, block = ("up", "block") if original else ("up_blocks", "resnets")
    levels = _count(state, rf"decoder\.{level}\.(\d+)\.")
    channels = [state[f"decoder.{level}.{index}.{block}.0.conv1.weight"].shape[0] for index in range(levels)]
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "out_channels": state["decoder.conv_out.weight"].shape[0],
        "latent_channels": state["decoder.conv_in.weight"].shape[1],
        # diffusers numbers the decoder's levels from the coarsest
        "block_out_channels": channels if original else channels[::-1],
        "layers_per_block": _count(state, rf"decoder\.{level}\.0\.{block}\.(\d+)\.") - 1,
        "norm_num_groups": 32,
        "act_fn": "silu",
        "scaling_factor": scaling_factor,
        "use_quant_conv": "quant_conv.weight" in state,
        "use_post_quant_conv": "post_quant_conv.weight" in state,
    }


#: Scales of the published VAR models by their number of tokens.
_SCHEDULES = {680: [1, 2, 3, 4, 5, 6, 8, 10, 13, 16], 2240: [1, 2, 3, 4, 6, 9, 13, 18, 24, 32]}
#: Buffers of a VAR that follow from its scales, and statistics of its VQ-VAE.
_VAR_BUFFERS = ("lvl_1L", "attn_bias_for_masking")


def var_config(state: State) -> dict[str, Any]:
    """Configuration of an official VAR state dict, from its shapes and its level buffer."""
    width = state["word_embed.weight"].shape[0]
    depth = _count(state, r"blocks\.(\d+)\.")
    tokens = state["pos_1LC"].shape[1]
    if "lvl_1L" in state:
        levels = state["lvl_1L"].flatten().tolist()
        sides = [math.isqrt(levels.count(level)) for level in range(max(levels) + 1)]
    else:
        sides = _SCHEDULES.get(tokens, [])
    if sum(side * side for side in sides) != tokens:
        raise ConversionError(f"the scales cannot be told from {tokens} tokens")
    normalises = "blocks.0.attn.scale_mul_1H11" in state
    model = {
        "depth": depth,
        "embed_dim": width,
        "num_heads": state["blocks.0.attn.scale_mul_1H11"].shape[1] if normalises else max(1, width // 64),
        "mlp_ratio": state["blocks.0.ffn.fc1.weight"].shape[0] / width,
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


def write_atomically(path: Path, write: Callable[[Any], None]) -> None:
    """Calls `write` with a file that takes its name only once it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, lambda file: file.write((json.dumps(value, indent=1) + "\n").encode("utf-8")))


def write_safetensors(path: Path, state: State, dtype: str | None = None) -> None:
    """Writes tensors in the safetensors format. dtype "f32", "f16" or "bf16"; None keeps each tensor's own."""
    import torch

    def stored(tensor: Any) -> Any:
        tensor = tensor.detach().cpu()
        kind = str(tensor.dtype).removeprefix("torch.")
        wanted = _TYPES[dtype] if dtype else kind if kind in _NAMES else "float32"
        return tensor.to(getattr(torch, wanted)).contiguous()

    names = sorted(state)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in names:
        tensor = stored(state[name])
        size = tensor.numel() * tensor.element_size()
        kind = _NAMES[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)

    def write(file: Any) -> None:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            # numpy has no bfloat16, so the bytes travel as such
            file.write(stored(state[name]).reshape(-1).view(torch.uint8).numpy().tobytes())

    write_atomically(path, write)


def convert(
    source: str | os.PathLike[str], out: str | os.PathLike[str], heads: int | None = None,
    threshold: float | None = None, dtype: str | None = None, scaling_factor: float = 0.18215,
) -> str:
    """Converts `source` to `out` and returns what it was: "router", "dit", "var", "vqvae" or "autoencoder_kl". Raises ConversionError."""
    content, out = load(source), Path(out)
    if router_rows(content) is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, router_plan(content, threshold))
        return "router"
    state = state_dict(content)
    try:
        if "x_embedder.proj.weight" in state:
            kind, config = "dit", dit_config(state, heads)
        elif "pos_1LC" in state:
            kind, config = "var", var_config(state)
            state = {name: value for name, value in state.items() if name not in _VAR_BUFFERS}
        elif "quantize.embedding.weight" in state:
            kind, config = "vqvae", vqvae_config(state)
        elif "decoder.conv_in.weight" in state:
            state = {name: value for name, value in state.items() if not name.startswith("loss.")}
            kind, config = "autoencoder_kl", autoencoder_config(state, scaling_factor)
        else:
            raise ConversionError(f"{source}: neither a DiT, a VAR, a VQ-VAE, a KL autoencoder nor an L2C router")
    except KeyError as error:
        raise ConversionError(f"{source}: the tensor {error} is missing") from error
    out.mkdir(parents=True, exist_ok=True)
    write_safetensors(out / "model.safetensors", state, dtype)
    write_json(out / "config.json", config)
    return kind


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m diffaccel.convert", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", help=".pt or .pth file")
    parser.add_argument("--out", required=True, help="folder for a model, file for a router's plan")
    parser.add_argument("--heads", type=int, help="attention heads, for a DiT of a size that was not published")
    parser.add_argument("--threshold", type=float, help="router threshold (default: the authors')")
    parser.add_argument("--dtype", choices=sorted(_TYPES), help="element type of the weights (default: as they are)")
    parser.add_argument("--scaling-factor", type=float, default=0.18215, help="of an autoencoder's latents")
    given = parser.parse_args(arguments)
    try:
        kind = convert(given.source, given.out, given.heads, given.threshold, given.dtype, given.scaling_factor)
    except (ConversionError, OSError) as error:
        print(f"diffaccel.convert: {error}", file=sys.stderr)
        return 1
    print(f"{given.out}: {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
