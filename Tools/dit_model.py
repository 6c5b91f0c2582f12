"""Diffusion transformer (DiT) whose state dict has the official names, shapes and arithmetic.

Written from the architecture's description: adaLN-Zero blocks, fixed sine/cosine positions, cosine-first
time features over half the frequency width, tanh GELU, parameter-free LayerNorm with eps 1e-6.
Only what training and sampling need is here; no dependency beyond torch.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-6


def position_table(width, side):
    """[1, side*side, width]: first half encodes the column, second half the row, sines before cosines."""
    quarter = width // 4
    rate = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angle = torch.arange(side, dtype=torch.float64)[:, None] * rate
    axis = torch.cat([angle.sin(), angle.cos()], dim=1)
    column = axis[None, :, :].expand(side, side, -1)
    row = axis[:, None, :].expand(side, side, -1)
    return torch.cat([column, row], dim=-1).reshape(1, side * side, width).float()


def modulate(x, shift, scale):
    return torch.addcmul(shift.unsqueeze(1), x, 1 + scale.unsqueeze(1))


class TimestepEmbedder(nn.Module):
    def __init__(self, width, features):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))
        half = features // 2
        rate = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        self.register_buffer("rate", rate, persistent=False)

    def forward(self, t):
        angle = t[:, None].float() * self.rate
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1))


class LabelEmbedder(nn.Module):
    """One row per class and a last row for "no class", which classifier-free guidance needs."""

    def __init__(self, classes, width):
        super().__init__()
        self.embedding_table = nn.Embedding(classes + 1, width)

    def forward(self, y):
        return self.embedding_table(y)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads, mlp_ratio):
        super().__init__()
        self.attn = Attention(width, heads)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).chunk(6, dim=1)
        norm = F.layer_norm(x, x.shape[-1:], eps=EPS)
        x = torch.addcmul(x, gate1.unsqueeze(1), self.attn(modulate(norm, shift1, scale1)))
        norm = F.layer_norm(x, x.shape[-1:], eps=EPS)
        return torch.addcmul(x, gate2.unsqueeze(1), self.mlp(modulate(norm, shift2, scale2)))


class FinalLayer(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.linear = nn.Linear(width, outputs)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x, c):
        shift, scale = self.adaLN_modulation(c).chunk(2, dim=1)
        return self.linear(modulate(F.layer_norm(x, x.shape[-1:], eps=EPS), shift, scale))


class PatchEmbedder(nn.Module):
    def __init__(self, channels, width, patch):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class DiT(nn.Module):
    """`config` is the "model" dictionary of a checkpoint's config.json."""

    def __init__(self, config):
        super().__init__()
        self.config = dict(config)
        width, channels, patch = config["hidden_size"], config["in_channels"], config["patch_size"]
        self.side = config["input_size"] // patch
        self.null_class = config["num_classes"]
        self.outputs = channels * (2 if config["learn_sigma"] else 1)
        self.x_embedder = PatchEmbedder(channels, width, patch)
        self.t_embedder = TimestepEmbedder(width, config["frequency_embedding_size"])
        self.y_embedder = LabelEmbedder(config["num_classes"], width)
        self.pos_embed = nn.Parameter(position_table(width, self.side), requires_grad=False)
        self.blocks = nn.ModuleList(
            Block(width, config["num_heads"], config["mlp_ratio"]) for _ in range(config["depth"]))
        self.final_layer = FinalLayer(width, patch * patch * self.outputs)
        self._initialise()

    def _initialise(self):
        """Start as the identity: every gate and the output layer are zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.data.flatten(1))
        nn.init.zeros_(self.x_embedder.proj.bias)
        for table in (self.y_embedder.embedding_table, self.t_embedder.mlp[0], self.t_embedder.mlp[2]):
            nn.init.normal_(table.weight, std=0.02)
        zeroed = [block.adaLN_modulation[1] for block in self.blocks]
        for layer in zeroed + [self.final_layer.adaLN_modulation[1], self.final_layer.linear]:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x, t, y):
        c = self.t_embedder(t) + self.y_embedder(y)
        x = self.x_embedder(x) + self.pos_embed
        for block in self.blocks:
            x = block(x, c)
        x = self.final_layer(x, c)
        side, patch = self.side, self.config["patch_size"]
        x = x.view(-1, side, side, patch, patch, self.outputs)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(-1, self.outputs, side * patch, side * patch)
