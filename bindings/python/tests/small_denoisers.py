"""Tiny U-ViT and SiT checkpoints under the official names, with random weights."""

import json

import numpy as np
from conftest import dit_tensors, write_safetensors

UVIT = dict(img_size=8, patch_size=2, in_chans=4, embed_dim=48, depth=4, num_heads=4, mlp_ratio=4, qkv_bias=False,
            mlp_time_embed=False, num_classes=11, conv=False)
SIT = dict(input_size=8, patch_size=2, in_channels=4, hidden_size=48, depth=4, num_heads=4, mlp_ratio=4.0, num_classes=10,
           class_dropout_prob=0.1, learn_sigma=True)


def uvit_tensors(c, seed=0):
    """Random weights of a U-ViT with configuration `c`, small enough that sampling stays finite."""
    g = np.random.default_rng(seed)
    d, p, channels, tensors = c["embed_dim"], c["patch_size"], c["in_chans"], {}

    def linear(name, out, inside, bias=True):
        tensors[f"{name}.weight"] = (g.standard_normal((out, inside)) * 0.7 / np.sqrt(inside)).astype(np.float32)
        if bias:
            tensors[f"{name}.bias"] = (g.standard_normal(out) * 0.02).astype(np.float32)

    def norm(name):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = np.ones(d, np.float32), np.zeros(d, np.float32)

    half = c["depth"] // 2
    for block in (*(f"in_blocks.{i}" for i in range(half)), "mid_block", *(f"out_blocks.{i}" for i in range(half))):
        norm(f"{block}.norm1"), norm(f"{block}.norm2")
        linear(f"{block}.attn.qkv", 3 * d, d, bias=c["qkv_bias"]), linear(f"{block}.attn.proj", d, d)
        linear(f"{block}.mlp.fc1", int(d * c["mlp_ratio"]), d), linear(f"{block}.mlp.fc2", d, int(d * c["mlp_ratio"]))
        if block.startswith("out"):
            linear(f"{block}.skip_linear", d, 2 * d)
    if c["mlp_time_embed"]:
        linear("time_embed.0", 4 * d, d), linear("time_embed.2", d, 4 * d)
    if c["conv"]:
        tensors["final_layer.weight"] = (g.standard_normal((channels, channels, 3, 3)) * 0.1).astype(np.float32)
        tensors["final_layer.bias"] = np.zeros(channels, np.float32)
    norm("norm"), linear("decoder_pred", p * p * channels, d)
    tensors["patch_embed.proj.weight"] = (g.standard_normal((d, channels, p, p)) * 0.2).astype(np.float32)
    tensors["patch_embed.proj.bias"] = np.zeros(d, np.float32)
    extras = 1
    if c["num_classes"] > 0:
        extras, tensors["label_emb.weight"] = 2, (g.standard_normal((c["num_classes"], d)) * 0.5).astype(np.float32)
    tokens = (c["img_size"] // p) ** 2 + extras
    tensors["pos_embed"] = (g.standard_normal((1, tokens, d)) * 0.3).astype(np.float32)
    return tensors


def write_model(folder, tensors, config):
    """Writes a model folder and returns it."""
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_uvit(folder, seed=0, extra=None, **changes):
    """A random U-ViT as a model folder; `extra` goes into the config beside the network's keys."""
    config = {**UVIT, **changes}
    extra = {"null_class": 10, **(extra or {})} if config["num_classes"] == 11 else extra or {}
    return write_model(folder, uvit_tensors(config, seed), {**config, **extra})


def write_sit(folder, seed=0, **extra):
    """A random SiT as a model folder; `extra` goes into its config."""
    tensors = dit_tensors({**SIT, "frequency_embedding_size": 256}, seed)
    return write_model(folder, tensors, {"family": "sit", **SIT, **extra})
