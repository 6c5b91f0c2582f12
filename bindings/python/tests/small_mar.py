"""Tiny MAR checkpoints under the official names, with random weights."""

import json
import math

import numpy as np
from conftest import write_autoencoder, write_safetensors

MAR = dict(width=24, heads=3, encoder=2, decoder=3, side=3, patch=1, channels=4, buffer=2, classes=5, head=2, head_width=20)


def mar_tensors(c, seed=0):
    """Random weights of a MAR with sizes `c`."""
    d, w, tokens = c["width"], c["head_width"], c["side"] ** 2
    numbers, rows = c["channels"] * c["patch"] ** 2, c["buffer"] + c["side"] ** 2
    shapes = {"fake_latent": (1, d), "class_emb.weight": (c["classes"], d), "encoder_pos_embed_learned": (1, rows, d),
              "decoder_pos_embed_learned": (1, rows, d), "mask_token": (1, 1, d), "diffusion_pos_embed_learned": (1, tokens, d)}

    def linear(name, out, inside):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, inside), (out,)

    def norm(name, width):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    linear("z_proj", d, numbers), norm("z_proj_ln", d), linear("decoder_embed", d, d)
    for name in ("encoder", "decoder"):
        norm(f"{name}_norm", d)
        for index in range(c[name]):
            block = f"{name}_blocks.{index}"
            norm(f"{block}.norm1", d), norm(f"{block}.norm2", d)
            linear(f"{block}.attn.qkv", 3 * d, d), linear(f"{block}.attn.proj", d, d)
            linear(f"{block}.mlp.fc1", 4 * d, d), linear(f"{block}.mlp.fc2", d, 4 * d)
    net = "diffloss.net"
    linear(f"{net}.time_embed.mlp.0", w, 256), linear(f"{net}.time_embed.mlp.2", w, w)
    linear(f"{net}.cond_embed", w, d), linear(f"{net}.input_proj", w, numbers)
    for index in range(c["head"]):
        block = f"{net}.res_blocks.{index}"
        norm(f"{block}.in_ln", w), linear(f"{block}.mlp.0", w, w), linear(f"{block}.mlp.2", w, w)
        linear(f"{block}.adaLN_modulation.1", 3 * w, w)
    linear(f"{net}.final_layer.linear", 2 * numbers, w), linear(f"{net}.final_layer.adaLN_modulation.1", 2 * w, w)
    g, tensors = np.random.default_rng(seed), {}
    for name, shape in shapes.items():
        value = g.standard_normal(shape) * (0.1 if len(shape) == 1 else 0.5 if "emb" in name and len(shape) == 3 else 1.2 / math.sqrt(shape[-1]))
        is_norm = len(shape) == 1 and name.endswith("weight")
        tensors[name] = (value + is_norm).astype(np.float32)
    return tensors


def write_mar(folder, seed=0, vae=True, extra=None, **changes):
    """A random MAR as a model folder, with an autoencoder unless told otherwise; `extra` goes into its config."""
    c = {**MAR, **changes}
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", mar_tensors(c, seed))
    config = {"family": "mar", "patch_size": c["patch"], "encoder_num_heads": c["heads"], "decoder_num_heads": c["heads"],
              "num_iter": 4, "cfg": 2.0, "num_sampling_steps": "ddim10", **(extra or {})}
    (folder / "config.json").write_text(json.dumps(config))
    if vae:
        write_autoencoder(folder / "vae")
    return folder
