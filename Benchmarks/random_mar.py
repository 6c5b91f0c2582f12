"""A MAR of a published size with random weights: checkpoint, and the same generation in torch eager."""

import json
import math
import os

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from common import CACHE

#: Blocks of encoder and of decoder, width, heads, blocks of the head and their width.
SIZES = {"B": (12, 768, 12, 6, 1024), "L": (16, 1024, 16, 8, 1280), "H": (20, 1280, 16, 12, 1536)}
TOKENS, BUFFER, CHANNELS, CLASSES, TRAIN_STEPS = 256, 64, 16, 1000, 1000


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


class TorchMAR:
    """The published generation in torch eager, operation by operation."""

    def __init__(self, folder, size):
        self.state = {name: value.float() for name, value in load_file(str(folder / "model.safetensors")).items()}
        self.depth, self.width, self.heads, self.blocks, _ = SIZES[size]

    def linear(self, x, name):
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], 1e-6)

    def block(self, x, name):
        n, length, width = x.shape
        qkv = self.linear(self.norm(x, f"{name}.norm1"), f"{name}.attn.qkv")
        q, k, v = qkv.view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width), f"{name}.attn.proj")
        return x + self.linear(F.gelu(self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")), f"{name}.mlp.fc2")

    def encoder(self, tokens, mask, condition):
        x = self.linear(tokens, "z_proj")
        n, _, width = x.shape
        x = torch.cat([condition[:, None].expand(n, BUFFER, width), x], 1)
        mask = torch.cat([mask.new_zeros(n, BUFFER), mask], 1)
        x = self.norm(x + self.state["encoder_pos_embed_learned"], "z_proj_ln")
        x = x[(1 - mask).nonzero(as_tuple=True)].reshape(n, -1, width)
        for index in range(self.depth):
            x = self.block(x, f"encoder_blocks.{index}")
        return self.norm(x, "encoder_norm")

    def decoder(self, x, mask):
        x = self.linear(x, "decoder_embed")
        mask = torch.cat([mask.new_zeros(len(x), BUFFER), mask], 1)
        all_rows = self.state["mask_token"].repeat(*mask.shape, 1)
        all_rows[(1 - mask).nonzero(as_tuple=True)] = x.reshape(-1, self.width)
        x = all_rows + self.state["decoder_pos_embed_learned"]
        for index in range(self.depth):
            x = self.block(x, f"decoder_blocks.{index}")
        return self.norm(x, "decoder_norm")[:, BUFFER:] + self.state["diffusion_pos_embed_learned"]

    def head(self, x, t, z):
        net = "diffloss.net"
        x = self.linear(x, f"{net}.input_proj")
        angles = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
        features = torch.cat([angles.cos(), angles.sin()], -1)
        time = self.linear(F.silu(self.linear(features, f"{net}.time_embed.mlp.0")), f"{net}.time_embed.mlp.2")
        y = F.silu(time + self.linear(z, f"{net}.cond_embed"))
        for index in range(self.blocks):
            block = f"{net}.res_blocks.{index}"
            shift, scale, gate = self.linear(y, f"{block}.adaLN_modulation.1").chunk(3, -1)
            h = self.norm(x, f"{block}.in_ln") * (1 + scale) + shift
            x = x + gate * self.linear(F.silu(self.linear(h, f"{block}.mlp.0")), f"{block}.mlp.2")
        shift, scale = self.linear(y, f"{net}.final_layer.adaLN_modulation.1").chunk(2, -1)
        return self.linear(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift, f"{net}.final_layer.linear")

    def sample_head(self, z, temperature, cfg, steps):
        """DiffLoss.sample: `z` has the conditional rows, then the others when there is guidance."""
        n = len(z) // 2 if cfg != 1 else len(z)
        x = torch.randn(n, CHANNELS)
        x = torch.cat([x, x]) if cfg != 1 else x
        schedule = respaced(steps)
        for index in reversed(range(len(schedule["timesteps"]))):
            s = {name: values[index] for name, values in schedule.items()}
            t = torch.full((len(x),), int(s["timesteps"]))
            out = self.head(torch.cat([x[:n], x[:n]]) if cfg != 1 else x, t, z)
            eps, v = out.split(CHANNELS, -1)
            if cfg != 1:
                guided = eps[n:] + cfg * (eps[:n] - eps[n:])
                eps = torch.cat([guided, guided])
            fraction = (v + 1) / 2
            log_variance = fraction * float(s["max_log"]) + (1 - fraction) * float(s["min_log"])
            clean = float(s["recip"]) * x - float(s["recip_minus"]) * eps
            mean = float(s["mean0"]) * clean + float(s["mean1"]) * x
            noise = torch.randn_like(x)
            x = mean + (torch.exp(0.5 * log_variance) * noise * temperature if index else 0)
        return x[:n]

    @torch.inference_mode()
    def sample(self, labels, iterations, cfg, temperature=1.0, steps=100, seed=0):
        """sample_tokens with the linear schedule; orders by torch's generator. Gives [n, channels, 16, 16]."""
        torch.manual_seed(seed)
        n = len(labels)
        orders = torch.stack([torch.randperm(TOKENS) for _ in range(n)])
        mask, tokens = torch.ones(n, TOKENS), torch.zeros(n, TOKENS, CHANNELS)
        conditions = self.state["class_emb.weight"][torch.tensor(labels)]
        if cfg != 1:
            conditions = torch.cat([conditions, self.state["fake_latent"].expand(n, -1)])
        for index in range(iterations):
            twice = 2 if cfg != 1 else 1
            x = self.encoder(tokens.repeat(twice, 1, 1), mask.repeat(twice, 1), conditions)
            z = self.decoder(x, mask.repeat(twice, 1))
            left = max(1, min(int(mask[0].sum()) - 1, math.floor(TOKENS * math.cos(math.pi / 2 * (index + 1) / iterations))))
            after = torch.zeros(n, TOKENS).scatter(1, orders[:, :left], 1.0)
            predicted = mask.bool() if index == iterations - 1 else mask.bool() ^ after.bool()
            mask = after
            if not predicted.any():
                continue
            scale = 1 + (cfg - 1) * (TOKENS - left) / TOKENS
            rows = predicted.repeat(twice, 1).nonzero(as_tuple=True)
            tokens[predicted] = self.sample_head(z[rows], temperature, scale if cfg != 1 else 1, steps)
        return tokens.transpose(1, 2).reshape(n, CHANNELS, 16, 16)


def respaced(steps):
    """The cosine process on `steps` of its timesteps, index 0 the cleanest; float64."""
    def bar(u):
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    product, full = 1.0, []
    for i in range(TRAIN_STEPS):
        product *= 1 - min(1 - bar((i + 1) / TRAIN_STEPS) / bar(i / TRAIN_STEPS), 0.999)
        full.append(product)
    position, stride, kept = 0.0, (TRAIN_STEPS - 1) / (steps - 1), []
    for _ in range(steps):
        kept.append(round(position))
        position += stride
    bars = torch.tensor([full[t] for t in kept], dtype=torch.float64)
    before = torch.cat([torch.ones(1, dtype=torch.float64), bars[:-1]])
    betas = 1 - bars / before
    variance = betas * (1 - before) / (1 - bars)
    return {"timesteps": torch.tensor(kept), "max_log": betas.log(), "min_log": torch.cat([variance[1:2], variance[1:]]).log(),
            "recip": (1 / bars).sqrt(), "recip_minus": (1 / bars - 1).sqrt(), "mean0": betas * before.sqrt() / (1 - bars),
            "mean1": (1 - before) * (1 - betas).sqrt() / (1 - bars)}


def facts(size):
    """Parameters in millions."""
    return sum(math.prod(shape) for shape in shapes(size).values()) / 1e6


if __name__ == "__main__":
    print(json.dumps({size: facts(size) for size in SIZES}))
