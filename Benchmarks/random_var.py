"""A VAR of a published depth with random weights: checkpoint, VQ-VAE, and the same inference in torch."""

import json
import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from common import CACHE

SIDES = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16]
TOKENS = sum(side * side for side in SIDES)
CODES, CHANNELS, CLASSES = 4096, 32, 1000
#: The published VQ-VAE has ch 160; figures without decoding need only its codebook.
AUTOENCODER = {"ch": 32, "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": 2}


def shapes(depth):
    """Names and extents of a VAR of that depth: width 64 * depth, heads of 64."""
    d = 64 * depth
    found = {"pos_start": (1, 1, d), "pos_1LC": (1, TOKENS, d), "lvl_embed.weight": (len(SIDES), d),
             "class_emb.weight": (CLASSES + 1, d), "word_embed.weight": (d, CHANNELS), "word_embed.bias": (d,),
             "head_nm.ada_lin.1.weight": (2 * d, d), "head_nm.ada_lin.1.bias": (2 * d,),
             "head.weight": (CODES, d), "head.bias": (CODES,)}
    for index in range(depth):
        block = f"blocks.{index}"
        found |= {f"{block}.attn.mat_qkv.weight": (3 * d, d), f"{block}.attn.scale_mul_1H11": (1, depth, 1, 1)}
        found |= {f"{block}.attn.{bias}": (d,) for bias in ("q_bias", "zero_k_bias", "v_bias")}
        for layer, out, inside in (("attn.proj", d, d), ("ffn.fc1", 4 * d, d), ("ffn.fc2", d, 4 * d), ("ada_lin.1", 6 * d, d)):
            found |= {f"{block}.{layer}.weight": (out, inside), f"{block}.{layer}.bias": (out,)}
    return found


def autoencoder_shapes():
    """Names and extents of the VQ-VAE's decoder and codebook."""
    c, found = AUTOENCODER, {"quantize.embedding.weight": (CODES, CHANNELS)}
    widths = [c["ch"] * multiple for multiple in c["ch_mult"]]

    def conv(name, inside, out, kernel=3):
        found[f"{name}.weight"], found[f"{name}.bias"] = (out, inside, kernel, kernel), (out,)

    def norm(name, width):
        found[f"{name}.weight"] = found[f"{name}.bias"] = (width,)

    def block(name, inside, out):
        norm(f"{name}.norm1", inside), conv(f"{name}.conv1", inside, out), norm(f"{name}.norm2", out)
        conv(f"{name}.conv2", out, out)
        if inside != out:
            conv(f"{name}.nin_shortcut", inside, out, 1)

    def attention(name, width):
        norm(f"{name}.norm", width), conv(f"{name}.qkv", width, 3 * width, 1), conv(f"{name}.proj_out", width, width, 1)

    for index in range(4):
        conv(f"quantize.quant_resi.qresi_ls.{index}", CHANNELS, CHANNELS)
    conv("post_quant_conv", CHANNELS, CHANNELS), conv("decoder.conv_in", CHANNELS, widths[-1])
    block("decoder.mid.block_1", widths[-1], widths[-1]), attention("decoder.mid.attn_1", widths[-1])
    block("decoder.mid.block_2", widths[-1], widths[-1])
    inside = widths[-1]
    for level in reversed(range(len(widths))):
        for layer in range(c["num_res_blocks"] + 1):
            block(f"decoder.up.{level}.block.{layer}", inside, widths[level])
            inside = widths[level]
            if level == len(widths) - 1:
                attention(f"decoder.up.{level}.attn.{layer}", inside)
        if level:
            conv(f"decoder.up.{level}.upsample.conv", inside, inside)
    norm("decoder.norm_out", widths[0]), conv("decoder.conv_out", widths[0], 3)
    return found


def random_state(extents, seed):
    """Random tensors: no gate is zero, tables are of size 1."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in extents.items():
        value = torch.empty(shape)
        if "scale_mul" in name:
            value.fill_(np.log(4))
        elif len(shape) == 1:
            value.normal_(1 if "norm" in name and name.endswith("weight") else 0, 0.02, generator=generator)
        else:
            spread = 0.5 if "emb" in name or "pos_" in name else value[0].numel() ** -0.5
            value.normal_(0, spread, generator=generator)
        state[name] = value
    return state


def checkpoint(depth, seed=0, codes=True, dtype="f32"):
    """The folder of the checkpoint, written on first use; the transformer in `dtype` (f32, f16, bf16)."""
    folder = CACHE / f"var-d{depth}-seed{seed}{'' if codes else '-bare'}{'' if dtype == 'f32' else f'-{dtype}'}"
    kind = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[dtype]
    parts = [(folder, shapes(depth), {"family": "var", "model": {"depth": depth, "patch_nums": SIDES}})]
    if codes:
        parts.append((folder / "vae", autoencoder_shapes(), {"family": "vqvae", "model": AUTOENCODER}))
    for place, extents, config in parts:
        if (place / "config.json").exists():
            continue
        place.mkdir(parents=True, exist_ok=True)
        partial = place / f"partial.{os.getpid()}"
        state = random_state(extents, seed)
        save_file({name: value.to(kind) for name, value in state.items()} if place == folder else state, str(partial))
        os.replace(partial, place / "model.safetensors")
        (place / "config.json").write_text(json.dumps(config) + "\n")
    return folder


class TorchVAR:
    """The transformer in torch eager with a key-value cache: what the published code computes, scale by scale."""

    def __init__(self, depth, seed=0):
        self.state = load_file(str(checkpoint(depth, seed) / "model.safetensors"))
        self.depth, self.width = depth, 64 * depth

    @torch.inference_mode()
    def forward(self, maps, labels):
        """Hidden states and logits of every scale for the views `maps` [n, l, channels] of scales 1 and on; rows doubled for
        guidance. Yields the logits of each scale."""
        s, n = self.state, len(labels)
        rows = torch.tensor([*labels, *[CLASSES] * n])
        condition = s["class_emb.weight"][rows]
        active = F.silu(condition)
        positions = s["pos_1LC"][0] + s["lvl_embed.weight"][torch.tensor([i for i, p in enumerate(SIDES) for _ in range(p * p)])]
        caches, offset = [None] * self.depth, 0
        for scale, side in enumerate(SIDES):
            length = side * side
            if scale == 0:
                x = condition[:, None] + s["pos_start"] + positions[:1]
            else:
                x = F.linear(maps[scale - 1], s["word_embed.weight"], s["word_embed.bias"]) + positions[offset:offset + length]
                x = x.repeat(2, 1, 1)
            for index in range(self.depth):
                x, caches[index] = self.block(x, f"blocks.{index}.", active, caches[index])
            m = F.linear(active, s["head_nm.ada_lin.1.weight"], s["head_nm.ada_lin.1.bias"]).view(2 * n, 1, 2, -1)
            h = F.layer_norm(x, (self.width,), eps=1e-6) * (1 + m[:, :, 0]) + m[:, :, 1]
            yield F.linear(h, s["head.weight"], s["head.bias"])
            offset += length

    def block(self, x, name, active, cache):
        s, b, length = self.state, x.shape[0], x.shape[1]
        m = F.linear(active, s[f"{name}ada_lin.1.weight"], s[f"{name}ada_lin.1.bias"]).view(b, 1, 6, -1).unbind(2)
        h = F.layer_norm(x, (self.width,), eps=1e-6) * (1 + m[2]) + m[4]
        bias = torch.cat([s[f"{name}attn.{part}"] for part in ("q_bias", "zero_k_bias", "v_bias")])
        q, k, v = F.linear(h, s[f"{name}attn.mat_qkv.weight"], bias).view(b, length, 3, self.depth, 64).permute(2, 0, 3, 1, 4)
        q = F.normalize(q, dim=-1) * s[f"{name}attn.scale_mul_1H11"].clamp_max(np.log(100)).exp()
        k = F.normalize(k, dim=-1)
        if cache:
            k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
        o = F.scaled_dot_product_attention(q, k, v, scale=1).transpose(1, 2).reshape(b, length, -1)
        x = x + m[0] * F.linear(o, s[f"{name}attn.proj.weight"], s[f"{name}attn.proj.bias"])
        h = F.layer_norm(x, (self.width,), eps=1e-6) * (1 + m[3]) + m[5]
        h = F.gelu(F.linear(h, s[f"{name}ffn.fc1.weight"], s[f"{name}ffn.fc1.bias"]), approximate="tanh")
        return x + m[1] * F.linear(h, s[f"{name}ffn.fc2.weight"], s[f"{name}ffn.fc2.bias"]), (k, v)
