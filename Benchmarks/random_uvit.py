"""A U-ViT of a published size with random weights, under the names of the published state dicts."""

import json
import os

import torch
from safetensors.torch import save_file

from common import CACHE

#: depth (input and output blocks), width, heads, final convolution; of 256 x 256 pixels
SIZES = {"L": (20, 1024, 16, True), "H": (28, 1152, 16, False)}


def configuration(size):
    """The network's sizes under the official names."""
    depth, width, heads, convolution = SIZES[size]
    return {"family": "uvit", "img_size": 32, "patch_size": 2, "in_chans": 4, "embed_dim": width, "depth": depth,
            "num_heads": heads, "mlp_ratio": 4, "qkv_bias": False, "mlp_time_embed": False, "num_classes": 1001,
            "conv": convolution, "skip": True}


def shapes(config):
    """Name and shape of every tensor."""
    width, patch, channels = config["embed_dim"], config["patch_size"], config["in_chans"]
    tokens = 2 + (config["img_size"] // patch) ** 2
    found = {"pos_embed": (1, tokens, width), "patch_embed.proj.weight": (width, channels, patch, patch),
             "patch_embed.proj.bias": (width,), "label_emb.weight": (config["num_classes"], width),
             "norm.weight": (width,), "norm.bias": (width,),
             "decoder_pred.weight": (patch * patch * channels, width), "decoder_pred.bias": (patch * patch * channels,)}
    if config["conv"]:
        found |= {"final_layer.weight": (channels, channels, 3, 3), "final_layer.bias": (channels,)}
    half = config["depth"] // 2
    blocks = [f"in_blocks.{i}" for i in range(half)] + ["mid_block"] + [f"out_blocks.{i}" for i in range(half)]
    for name in blocks:
        for norm in ("norm1", "norm2"):
            found |= {f"{name}.{norm}.weight": (width,), f"{name}.{norm}.bias": (width,)}
        found |= {f"{name}.attn.qkv.weight": (3 * width, width), f"{name}.attn.proj.weight": (width, width),
                  f"{name}.attn.proj.bias": (width,), f"{name}.mlp.fc1.weight": (4 * width, width),
                  f"{name}.mlp.fc1.bias": (4 * width,), f"{name}.mlp.fc2.weight": (width, 4 * width),
                  f"{name}.mlp.fc2.bias": (width,)}
        if name.startswith("out"):
            found |= {f"{name}.skip_linear.weight": (width, 2 * width), f"{name}.skip_linear.bias": (width,)}
    return found


def checkpoint(size, seed=0):
    """The folder of the checkpoint, written on first use."""
    config = configuration(size)
    folder = CACHE / f"uvit-{size}-seed{seed}"
    weights = folder / "model.safetensors"
    if weights.exists() and (folder / "config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes(config).items():
        value = torch.empty(shape)
        if name.endswith("weight") and "norm" in name:
            value.fill_(1)
        elif name.endswith("bias") or name == "pos_embed":
            value.normal_(0, 0.02, generator=generator)
        else:
            value.normal_(0, value[0].numel() ** -0.5, generator=generator)
        state[name] = value
    partial = weights.with_suffix(f".{os.getpid()}")
    save_file(state, str(partial))
    os.replace(partial, weights)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return folder
