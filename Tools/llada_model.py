"""LLaDA in PyTorch with the names of the published checkpoints, for training small models; its forward feeds all positions."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def rotate(x, cosines, sines):
    """Rotary position embedding of x [n, heads, length, size]: first and second half of a head turn together."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cosines - b * sines, b * cosines + a * sines], dim=-1)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, mlp, self.heads = c["d_model"], c["mlp_hidden_size"], c["n_heads"]
        linear = lambda inside, out: nn.Linear(inside, out, bias=False)
        self.attn_norm, self.ff_norm = nn.RMSNorm(d, eps=c["rms_norm_eps"]), nn.RMSNorm(d, eps=c["rms_norm_eps"])
        self.q_proj, self.k_proj, self.v_proj, self.attn_out = (linear(d, d) for _ in range(4))
        self.ff_proj, self.up_proj, self.ff_out = linear(d, mlp), linear(d, mlp), linear(mlp, d)

    def forward(self, h, cosines, sines):
        a = self.attn_norm(h)
        q, k, v = (layer(a).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj))
        o = F.scaled_dot_product_attention(rotate(q, cosines, sines), rotate(k, cosines, sines), v)
        h = h + self.attn_out(o.transpose(1, 2).flatten(2))
        f = self.ff_norm(h)
        return h + self.ff_out(F.silu(self.ff_proj(f)) * self.up_proj(f))


class LLaDA(nn.Module):
    """`c` is the model's config.json: d_model, n_layers, n_heads, mlp_hidden_size, vocab_size, rope_theta, rms_norm_eps; tied head."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.model = nn.Module()
        self.model.transformer = t = nn.Module()
        t.wte, t.ln_f = nn.Embedding(c["vocab_size"], c["d_model"]), nn.RMSNorm(c["d_model"], eps=c["rms_norm_eps"])
        t.blocks = nn.ModuleList(Block(c) for _ in range(c["n_layers"]))
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)
        for block in t.blocks:
            for layer in (block.attn_out, block.ff_out):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * c["n_layers"]))

    def forward(self, tokens):
        """Logits [n, length, vocabulary] of tokens [n, length]."""
        t, size = self.model.transformer, self.c["d_model"] // self.c["n_heads"]
        frequencies = self.c["rope_theta"] ** (-torch.arange(0, size, 2) / size)
        angles = torch.arange(tokens.shape[1])[:, None] * frequencies
        cosines, sines = angles.cos(), angles.sin()
        h = t.wte(tokens)
        for block in t.blocks:
            h = block(h, cosines, sines)
        return F.linear(t.ln_f(h), t.wte.weight)


def masked_loss(network, tokens, share, drawn, mask):
    """The bound on the negative log-likelihood, nats per token: cross-entropy where `drawn` < `share`, divided by that share.

    tokens [n, length]; share [n] of tokens to mask; drawn [n, length] uniform.  Also the plain mean over masked tokens.
    """
    hidden = drawn < share[:, None]
    logits = network(torch.where(hidden, mask, tokens))[hidden]
    errors = F.cross_entropy(logits, tokens[hidden], reduction="none")
    weights = (1 / share)[:, None].expand_as(tokens)[hidden]
    return (errors * weights).sum() / tokens.numel(), errors.mean()
