"""A MAR of a published size with random weights: checkpoint, and the same generation in torch eager (Tools/mar_model.py)."""

import json
import math
import os

import torch
from safetensors.torch import load_file, save_file

from common import CACHE
from mar_model import TorchMAR

#: Blocks of encoder and of decoder, width, heads, blocks of the head and their width.
SIZES = {"B": (12, 768, 12, 6, 1024), "L": (16, 1024, 16, 8, 1280), "H": (20, 1280, 16, 12, 1536)}
TOKENS, BUFFER, CHANNELS, CLASSES = 256, 64, 16, 1000


def shapes(size):
    """Names and extents of the published network."""
    depth, d, _, blocks, w = SIZES[size]
    rows = BUFFER + TOKENS
    found = {"fake_latent": (1, d), "class_emb.weight": (CLASSES, d), "encoder_pos_embed_learned": (1, rows, d),
             "decoder_pos_embed_learned": (1, rows, d), "mask_token": (1, 1, d), "diffusion_pos_embed_learned": (1, TOKENS, d)}

    def linear(name, out, inside):
        found[f"{name}.weight"], found[f"{name}.bias"] = (out, inside), (out,)

    def norm(name, width):
        found[f"{name}.weight"] = found[f"{name}.bias"] = (width,)

    linear("z_proj", d, CHANNELS), norm("z_proj_ln", d), linear("decoder_embed", d, d)
    for name in ("encoder", "decoder"):
        norm(f"{name}_norm", d)
        for index in range(depth):
            block = f"{name}_blocks.{index}"
            norm(f"{block}.norm1", d), norm(f"{block}.norm2", d)
            linear(f"{block}.attn.qkv", 3 * d, d), linear(f"{block}.attn.proj", d, d)
            linear(f"{block}.mlp.fc1", 4 * d, d), linear(f"{block}.mlp.fc2", d, 4 * d)
    head = "diffloss.net"
    linear(f"{head}.time_embed.mlp.0", w, 256), linear(f"{head}.time_embed.mlp.2", w, w)
    linear(f"{head}.cond_embed", w, d), linear(f"{head}.input_proj", w, CHANNELS)
    for index in range(blocks):
        block = f"{head}.res_blocks.{index}"
        norm(f"{block}.in_ln", w), linear(f"{block}.mlp.0", w, w), linear(f"{block}.mlp.2", w, w)
        linear(f"{block}.adaLN_modulation.1", 3 * w, w)
    linear(f"{head}.final_layer.linear", 2 * CHANNELS, w), linear(f"{head}.final_layer.adaLN_modulation.1", 2 * w, w)
    return found


def random_state(size, seed):
    """Random tensors: no gate is zero, tables are of size 1."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes(size).items():
        value = torch.empty(shape)
        if len(shape) == 1:
            value.normal_(1 if "norm" in name and name.endswith("weight") or "_ln.weight" in name else 0, 0.02, generator=generator)
        else:
            is_table = "emb" in name and "embed." not in name and "time" not in name and "cond" not in name or "token" in name
            value.normal_(0, 0.5 if is_table else value[0].numel() ** -0.5, generator=generator)
        state[name] = value
    return state


def checkpoint(size, seed=0, dtype="f32"):
    """The folder of the checkpoint, written on first use, in `dtype` (f32, f16, bf16)."""
    folder = CACHE / f"mar-{size}-seed{seed}{'' if dtype == 'f32' else f'-{dtype}'}"
    if not (folder / "config.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"partial.{os.getpid()}"
        kind = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[dtype]
        save_file({name: value.to(kind) for name, value in random_state(size, seed).items()}, str(partial))
        os.replace(partial, folder / "model.safetensors")
        (folder / "config.json").write_text('{"family": "mar"}\n')
    return folder


def torch_network(folder, size):
    """The checkpoint's network in torch, in f32."""
    state = {name: value.float() for name, value in load_file(str(folder / "model.safetensors")).items()}
    return TorchMAR(state, SIZES[size][2])


def facts(size):
    """Parameters in millions."""
    return sum(math.prod(shape) for shape in shapes(size).values()) / 1e6


if __name__ == "__main__":
    print(json.dumps({size: facts(size) for size in SIZES}))
