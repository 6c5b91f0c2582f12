"""U-ViT whose state dict has the official names, shapes and arithmetic, its noise process and its solver.

Written from the architecture's description (Bao et al., arXiv 2209.12152): label and time as tokens before the patches, blocks without
modulation, long skips from the first half to the second, erf GELU, LayerNorm eps 1e-5.  The solver is DPM-Solver++(2S) on the process
of Stable Diffusion, read at fractions of its 1000 steps.  Only what training and sampling need is here; no dependency beyond torch.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from dit_model import Attention as BiasedAttention
from dit_model import PatchEmbedder


class Attention(BiasedAttention):
    """Without a bias of the fused projection, as the published models are."""

    def __init__(self, width, heads):
        super().__init__(width, heads)
        self.qkv = nn.Linear(width, 3 * width, bias=False)


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width, heads, hidden, takes_skip=False):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, heads), Mlp(width, hidden)
        self.skip_linear = nn.Linear(2 * width, width) if takes_skip else None

    def forward(self, x, skip=None):
        if self.skip_linear is not None:
            x = self.skip_linear(torch.cat([x, skip], dim=-1))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class UViT(nn.Module):
    """`config` is the "model" dictionary of a checkpoint's config.json."""

    def __init__(self, config):
        super().__init__()
        self.config = dict(config)
        width, self.channels, self.patch = config["embed_dim"], config["in_chans"], config["patch_size"]
        self.side, self.null_class = config["img_size"] // self.patch, config["null_class"]
        hidden, half, heads = int(width * config["mlp_ratio"]), config["depth"] // 2, config["num_heads"]
        self.patch_embed = PatchEmbedder(self.channels, width, self.patch)
        self.label_emb = nn.Embedding(config["num_classes"], width)
        self.pos_embed = nn.Parameter(torch.zeros(1, 2 + self.side**2, width))
        self.in_blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(half))
        self.mid_block = Block(width, heads, hidden)
        self.out_blocks = nn.ModuleList(Block(width, heads, hidden, takes_skip=True) for _ in range(half))
        self.norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, self.patch**2 * self.channels)
        self.final_layer = nn.Conv2d(self.channels, self.channels, 3, padding=1)
        self.register_buffer("rate", torch.exp(-math.log(10000) * torch.arange(width // 2) / (width // 2)), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x, t, y):
        """Noise in `x` [n, C, S, S] at times `t` [n], 1...1000, for labels `y` [n]."""
        angle = t[:, None].float() * self.rate
        time = torch.cat([angle.cos(), angle.sin()], dim=-1)
        x = torch.cat([self.label_emb(y)[:, None], time[:, None], self.patch_embed(x)], dim=1) + self.pos_embed
        skips = []
        for block in self.in_blocks:
            x = block(x)
            skips.append(x)
        x = self.mid_block(x)
        for block in self.out_blocks:
            x = block(x, skips.pop())
        x = self.decoder_pred(self.norm(x))[:, 2:]
        x = x.view(-1, self.side, self.side, self.patch, self.patch, self.channels)
        x = x.permute(0, 5, 1, 3, 2, 4).reshape(-1, self.channels, self.side * self.patch, self.side * self.patch)
        return self.final_layer(x)


class Curve:
    """The process between its steps: ln alpha is linear from each of 1000 steps to the next, the n-th at n / 1000."""

    def __init__(self):
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        self.logs = 0.5 * (1 - betas).log().cumsum(0)

    def level(self, t):
        """alpha, sigma and lambda = ln(alpha / sigma) at `t`, 0.001...1."""
        place = min(max(1000 * t - 1, 0.0), 999.0)
        low = min(int(place), 998)
        log = float(self.logs[low] + (place - low) * (self.logs[low + 1] - self.logs[low]))
        sigma = math.sqrt(-math.expm1(2 * log))
        return math.exp(log), sigma, log - math.log(sigma)

    def time(self, wanted):
        """The time with this lambda, by halving."""
        low, high = 0.001, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.level(middle)[2] > wanted else (low, middle)
        return (low + high) / 2


@torch.inference_mode()
def solver_sample(model, labels, evaluations, scale, noise):
    """DPM-Solver++(2S) in evaluations // 2 steps; `scale` is that of classifier-free guidance (1: none)."""
    curve, x, steps = Curve(), noise, evaluations // 2
    null = torch.full_like(labels, model.null_class)
    grid = torch.linspace(1, 0.001, steps + 1, dtype=torch.float64).tolist()

    def clean(x, t):
        when = torch.full((len(x),), 1000 * t)
        if scale == 1:
            epsilon = model(x, when, labels)
        else:
            conditional, free = model(torch.cat([x, x]), torch.cat([when, when]), torch.cat([labels, null])).chunk(2)
            epsilon = free + scale * (conditional - free)
        alpha, sigma, _ = curve.level(t)
        return (x - sigma * epsilon) / alpha

    def moved(x, here, there, data):
        return there[1] / here[1] * x - there[0] * math.expm1(here[2] - there[2]) * data

    for start, end in zip(grid, grid[1:]):
        here, there = curve.level(start), curve.level(end)
        between = curve.time((here[2] + there[2]) / 2)
        inner = moved(x, here, curve.level(between), clean(x, start))
        x = moved(x, here, there, clean(inner, between))
    return x
