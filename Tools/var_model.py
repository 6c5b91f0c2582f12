"""VAR and its multi-scale VQ-VAE in PyTorch, with the names of the published state dicts.

Written for training small models on a CPU: no mixed precision, no drop path.  The forward of `VAR` is teacher-forced; sampling is
the library's.  `python Tools/var_model.py --check FOLDER` compares both networks with recorded outputs of the published code.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def phi_index(scale, scales, shares=4):
    """Which shared convolution smooths `scale`: the nearest tick, the first of equally near ones, in the last bit as numpy has it."""
    edge = 1 / 3 / shares if shares == 4 else 1 / 2 / shares
    ticks = np.linspace(edge, 1 - edge, shares)
    return int(np.argmin(np.abs(ticks - scale / (scales - 1))))


def norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class Residual(nn.Module):
    def __init__(self, inside, out):
        super().__init__()
        self.norm1, self.conv1 = norm(inside), nn.Conv2d(inside, out, 3, padding=1)
        self.norm2, self.conv2 = norm(out), nn.Conv2d(out, out, 3, padding=1)
        if inside != out:
            self.nin_shortcut = nn.Conv2d(inside, out, 1)

    def forward(self, x):
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm, self.qkv = norm(channels), nn.Conv2d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        o = F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(o)


class Middle(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = Residual(channels, channels), Attention(channels), Residual(channels, channels)

    def forward(self, x):
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    """Blocks of one resolution, each with an attention where it is the coarsest, then a change of size."""

    def __init__(self, inside, out, layers, attends, resample=None):
        super().__init__()
        self.block = nn.ModuleList(Residual(inside if i == 0 else out, out) for i in range(layers))
        self.attn = nn.ModuleList(Attention(out) for _ in range(layers if attends else 0))
        if resample == "down":
            self.downsample = nn.ModuleDict({"conv": nn.Conv2d(out, out, 3, stride=2)})
        elif resample == "up":
            self.upsample = nn.ModuleDict({"conv": nn.Conv2d(out, out, 3, padding=1)})

    def forward(self, x):
        for index, block in enumerate(self.block):
            x = block(x)
            if len(self.attn):
                x = self.attn[index](x)
        if hasattr(self, "downsample"):
            return self.downsample.conv(F.pad(x, (0, 1, 0, 1)))
        if hasattr(self, "upsample"):
            return self.upsample.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return x


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        widths, last = [c["ch"] * m for m in c["ch_mult"]], len(c["ch_mult"]) - 1
        self.conv_in = nn.Conv2d(3, c["ch"], 3, padding=1)
        self.down = nn.ModuleList(
            Level(c["ch"] if i == 0 else widths[i - 1], w, c["num_res_blocks"], i == last, None if i == last else "down")
            for i, w in enumerate(widths))
        self.mid, self.norm_out = Middle(widths[-1]), norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], c["z_channels"], 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        widths, last = [c["ch"] * m for m in c["ch_mult"]], len(c["ch_mult"]) - 1
        self.conv_in, self.mid = nn.Conv2d(c["z_channels"], widths[-1], 3, padding=1), Middle(widths[-1])
        self.up = nn.ModuleList(
            Level(widths[min(i + 1, last)], w, c["num_res_blocks"] + 1, i == last, "up" if i else None)
            for i, w in enumerate(widths))
        self.norm_out, self.conv_out = norm(widths[0]), nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x):
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Quantizer(nn.Module):
    def __init__(self, c, sides):
        super().__init__()
        self.sides, z = sides, c["z_channels"]
        self.embedding = nn.Embedding(c["vocab_size"], z)
        self.quant_resi = nn.ModuleDict({"qresi_ls": nn.ModuleList(nn.Conv2d(z, z, 3, padding=1) for _ in range(4))})

    def contribution(self, tokens, scale):
        """What the tokens [n, side²] of a scale add to the state [n, z, S, S]."""
        side, finest = self.sides[scale], self.sides[-1]
        h = self.embedding(tokens).transpose(1, 2).unflatten(2, (side, side))
        if scale < len(self.sides) - 1:
            h = F.interpolate(h, size=(finest, finest), mode="bicubic")
        return 0.5 * h + 0.5 * self.quant_resi.qresi_ls[phi_index(scale, len(self.sides))](h)

    def view(self, state, scale):
        """The state as a scale sees it, as rows [n, side², z]."""
        side = self.sides[scale]
        return F.interpolate(state, size=(side, side), mode="area").flatten(2).transpose(1, 2)

    def nearest(self, rows):
        e = self.embedding.weight
        return (rows.square().sum(-1, keepdim=True) + e.square().sum(-1) - 2 * rows @ e.T).argmin(-1)

    def encode(self, f):
        """Tokens of every scale and the state after each, for features [n, z, S, S]."""
        rest, state, tokens, states = f, torch.zeros_like(f), [], []
        for scale in range(len(self.sides)):
            found = self.nearest(self.view(rest, scale))
            added = self.contribution(found, scale)
            rest, state = rest - added, state + added
            tokens.append(found), states.append(state)
        return tokens, states

    def teacher_codes(self, tokens):
        """Views for scales 1 and on, [n, tokens - 1, z], and the last state, given the tokens of all scales."""
        state, views = 0, []
        for scale, found in enumerate(tokens):
            state = state + self.contribution(found, scale)
            if scale + 1 < len(self.sides):
                views.append(self.view(state, scale + 1))
        return torch.cat(views, 1), state


class VQVAE(nn.Module):
    """`c` has vocab_size, z_channels, ch, ch_mult, num_res_blocks."""

    def __init__(self, c, sides):
        super().__init__()
        self.encoder, self.decoder, self.quantize = Encoder(c), Decoder(c), Quantizer(c, sides)
        self.quant_conv = nn.Conv2d(c["z_channels"], c["z_channels"], 3, padding=1)
        self.post_quant_conv = nn.Conv2d(c["z_channels"], c["z_channels"], 3, padding=1)

    def features(self, images):
        return self.quant_conv(self.encoder(images))

    def decode(self, state):
        return self.decoder(self.post_quant_conv(state))


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.mat_qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.scale_mul_1H11 = nn.Parameter(torch.full((1, heads, 1, 1), math.log(4)))

    def forward(self, x, mask):
        n, length, width = x.shape
        qkv = F.linear(x, self.mat_qkv.weight, torch.cat([self.q_bias, self.zero_k_bias, self.v_bias]))
        q, k, v = qkv.view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q = F.normalize(q, dim=-1) * self.scale_mul_1H11.clamp_max(math.log(100)).exp()
        o = F.scaled_dot_product_attention(q, F.normalize(k, dim=-1), v, attn_mask=mask, scale=1)
        return self.proj(o.transpose(1, 2).reshape(n, length, width))


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attn, self.ffn = SelfAttention(width, heads), FeedForward(width)
        self.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x, condition, mask):
        g1, g2, s1, s2, b1, b2 = self.ada_lin(condition).unsqueeze(1).chunk(6, dim=-1)
        shape = x.shape[-1:]
        x = x + g1 * self.attn(F.layer_norm(x, shape, eps=1e-6) * (1 + s1) + b1, mask)
        return x + g2 * self.ffn(F.layer_norm(x, shape, eps=1e-6) * (1 + s2) + b2)


class HeadNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x, condition):
        s, b = self.ada_lin(condition).unsqueeze(1).chunk(2, dim=-1)
        return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + s) + b


class VAR(nn.Module):
    """`c` has depth, embed_dim, num_heads, num_classes, vocab_size, z_channels, patch_nums."""

    def __init__(self, c):
        super().__init__()
        d, self.sides = c["embed_dim"], c["patch_nums"]
        levels = torch.tensor([i for i, side in enumerate(self.sides) for _ in range(side * side)])
        self.register_buffer("levels", levels, persistent=False)
        mask = torch.where(levels[:, None] >= levels[None], 0.0, -torch.inf)
        self.register_buffer("mask", mask, persistent=False)
        self.pos_start, self.pos_1LC = nn.Parameter(torch.zeros(1, 1, d)), nn.Parameter(torch.zeros(1, len(levels), d))
        self.lvl_embed, self.class_emb = nn.Embedding(len(self.sides), d), nn.Embedding(c["num_classes"] + 1, d)
        self.word_embed = nn.Linear(c["z_channels"], d)
        self.blocks = nn.ModuleList(Block(d, c["num_heads"]) for _ in range(c["depth"]))
        self.head_nm, self.head = HeadNorm(d), nn.Linear(d, c["vocab_size"])
        self.initialise(c["depth"], d)

    def initialise(self, depth, width):
        """The published initialisation."""
        spread = math.sqrt(1 / width / 3)
        for name, p in self.named_parameters():
            if p.dim() == 1:
                nn.init.zeros_(p)
            elif "scale_mul" not in name:
                nn.init.trunc_normal_(p, std=spread)
        with torch.no_grad():
            self.head.weight.mul_(0.02)
            for block in self.blocks:
                block.ada_lin[1].weight[: 2 * width].mul_(1e-3)
                block.ada_lin[1].weight[2 * width :].mul_(0.5)
                for layer in (block.attn.proj, block.ffn.fc2):
                    layer.weight.div_(math.sqrt(2 * depth))

    def forward(self, codes, labels, tokens=None):
        """Logits [n, tokens, vocabulary] for views `codes` [n, all - 1, z]; of the first `tokens` only, when given."""
        length = tokens or len(self.levels)
        condition = self.class_emb(labels)
        x = torch.cat([condition.unsqueeze(1) + self.pos_start, self.word_embed(codes[:, : length - 1])], 1)
        x = x + self.lvl_embed(self.levels[:length]) + self.pos_1LC[:, :length]
        for block in self.blocks:
            x = block(x, condition, self.mask[:length, :length])
        return self.head(self.head_nm(x, condition))


def check(folder):
    """Largest differences from a recorded fixture of the published code."""
    from safetensors.torch import load_file

    folder = Path(folder)
    config, io = json.loads((folder / "config.json").read_text()), load_file(folder / "io.safetensors")
    sides = config["patch_nums"]
    codes = VQVAE(config["vae"], sides)
    state = load_file(folder / "weights.vae.safetensors")
    missing, unexpected = codes.load_state_dict(state, strict=False)
    assert set(unexpected) <= {"quantize.ema_vocab_hit_SV"}, unexpected
    with torch.inference_mode():
        if "img" in io:
            assert not missing, missing
            tokens, states = codes.quantize.encode(codes.features(io["img"]))
            print("tokens equal:", all(torch.equal(t, io[f"idx.{i}"]) for i, t in enumerate(tokens)))
            print("image:", float((codes.decode(states[-1]) - io["rec_raw"]).abs().max()))
            return
        network = VAR({**config["var"], **config["vae"], "patch_nums": sides})
        weights = load_file(folder / "weights.var.safetensors")
        for name in ("lvl_1L", "attn_bias_for_masking"):
            weights.pop(name, None)
        network.load_state_dict(weights)
        counts = [side * side for side in sides]
        views, last = codes.quantize.teacher_codes(io["tf.gt_idx"].split(counts, 1))
        print("views:", float((views - io["tf.x_BLCv_wo_first_l"]).abs().max()))
        print("logits:", float((network(views, io["label"]) - io["tf.logits"]).abs().max()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", required=True, help="folder of a recorded fixture")
    check(parser.parse_args().check)
