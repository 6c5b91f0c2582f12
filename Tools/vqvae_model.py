"""VAR's multi-scale VQ-VAE in PyTorch, with the names of the published state dict.

Written for training small models on a CPU: no mixed precision.  `python Tools/var_model.py --check FOLDER` compares it with recorded outputs
of the published code.
"""

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
