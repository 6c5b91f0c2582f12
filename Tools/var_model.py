"""VAR in PyTorch, with the names of the published state dict; its VQ-VAE is in vqvae_model.py.

Written for training small models on a CPU: no mixed precision, no drop path.  The forward of `VAR` is teacher-forced; sampling is
the library's.  `python Tools/var_model.py --check FOLDER` compares both networks with recorded outputs of the published code.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from vqvae_model import VQVAE


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
