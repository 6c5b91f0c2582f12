"""A LLaDA of any size with random bf16 weights: the checkpoint, and the same network in torch.

The torch network does what the library does in a plain pass: keys and values of all places in every block, everything else of the
last block and the head for the wanted rows only, which changes no result. Otherwise a model of few layers would flatter the library.
"""

import json
import struct

import numpy as np

SIZES = dict(d_model=4096, n_heads=32, n_kv_heads=32, mlp_hidden_size=12288, vocab_size=126464, embedding_size=126464)
SMALL = dict(d_model=512, n_heads=8, n_kv_heads=8, mlp_hidden_size=1536, vocab_size=8192, embedding_size=8192)
LAYERS = 32  # of the published model
ROPE, EPS = 500000.0, 1e-5


def shapes_of(sizes, layers):
    """Extents by name, in the order of the file."""
    d, kv = sizes["d_model"], sizes["n_kv_heads"] * sizes["d_model"] // sizes["n_heads"]
    mlp, vocabulary = sizes["mlp_hidden_size"], sizes["embedding_size"]
    shapes = {"model.transformer.wte.weight": (vocabulary, d), "model.transformer.ln_f.weight": (d,),
              "model.transformer.ff_out.weight": (vocabulary, d)}
    for i in range(layers):
        p = f"model.transformer.blocks.{i}."
        for name, shape in (("attn_norm", (d,)), ("ff_norm", (d,)), ("q_proj", (d, d)), ("k_proj", (kv, d)), ("v_proj", (kv, d)),
                            ("attn_out", (d, d)), ("ff_proj", (mlp, d)), ("up_proj", (mlp, d)), ("ff_out", (d, mlp))):
            shapes[f"{p}{name}.weight"] = shape
    return shapes


def write(folder, sizes, layers, seed=0):
    """The folder of the checkpoint, written once."""
    if (folder / "config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    shapes = shapes_of(sizes, layers)
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(seed)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            scale = float(shape[-1] ** -0.5) if len(shape) > 1 else 0.1
            for start in range(0, int(np.prod(shape)), 1 << 24):
                count = min(1 << 24, int(np.prod(shape)) - start)
                values = rng.standard_normal(count, np.float32) * scale + (len(shape) == 1)
                file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())
    config = dict(sizes, model_type="llada", n_layers=layers, rope_theta=ROPE, rms_norm_eps=EPS, weight_tying=False,
                  mask_token_id=sizes["embedding_size"] - 128, max_sequence_length=4096)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def matrix_elements(sizes):
    """(weights of the matrices of one block, weights of the head)."""
    block = sum(int(np.prod(shape)) for name, shape in shapes_of(sizes, 1).items() if ".blocks.0." in name and len(shape) > 1)
    return block, sizes["embedding_size"] * sizes["d_model"]


def torch_network(folder, sizes, layers, dtype):
    """The network in torch: (tokens [1, n], wanted rows [r]) -> logits [r, vocabulary]. The embedding stays in bf16."""
    import torch
    from safetensors.torch import load_file
    from torch import nn
    from torch.nn import functional as F

    d, heads, kv_heads = sizes["d_model"], sizes["n_heads"], sizes["n_kv_heads"]
    side = d // heads

    def rotated(x, cosines, sines):
        first, second = x.chunk(2, -1)
        return x * cosines + torch.cat((-second, first), -1) * sines

    class Norm(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = nn.Parameter(weight, requires_grad=False)

        def forward(self, x):
            wide = x.float()
            return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)).to(x.dtype)

    class Block(nn.Module):
        def __init__(self, state, p):
            super().__init__()
            for name in ("q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out"):
                weight = state.pop(f"{p}{name}.weight").to(dtype)
                layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
                layer.weight = nn.Parameter(weight, requires_grad=False)
                setattr(self, name, layer)
            self.attn_norm, self.ff_norm = (Norm(state.pop(f"{p}{name}.weight").to(dtype)) for name in ("attn_norm", "ff_norm"))

        def forward(self, x, cosines, sines, rows=None):
            """`rows`: those whose results are wanted; None: all."""
            a = self.attn_norm(x)
            k, v = (layer(a).view(1, -1, kv_heads, side).transpose(1, 2) for layer in (self.k_proj, self.v_proj))
            k = rotated(k, cosines, sines)
            if rows is not None:
                x, a, cosines, sines = x[:, rows], a[:, rows], cosines[rows], sines[rows]
            q = rotated(self.q_proj(a).view(1, -1, heads, side).transpose(1, 2), cosines, sines)
            if kv_heads < heads:
                k, v = (t.repeat_interleave(heads // kv_heads, 1) for t in (k, v))
            x = x + self.attn_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, -1, d))
            a = self.ff_norm(x)
            return x + self.ff_out(F.silu(self.ff_proj(a)) * self.up_proj(a))

    class Network(nn.Module):
        def __init__(self, state, places):
            super().__init__()
            self.table = nn.Parameter(state.pop("model.transformer.wte.weight"), requires_grad=False)
            self.blocks = nn.ModuleList(Block(state, f"model.transformer.blocks.{i}.") for i in range(layers))
            self.norm = Norm(state.pop("model.transformer.ln_f.weight").to(dtype))
            weight = state.pop("model.transformer.ff_out.weight").to(dtype)
            self.head = nn.Linear(d, weight.shape[0], bias=False, device="meta")
            self.head.weight = nn.Parameter(weight, requires_grad=False)
            angles = torch.outer(torch.arange(places).float(), ROPE ** (-torch.arange(0, side, 2).float() / side))
            angles = torch.cat((angles, angles), -1)
            self.register_buffer("cosines", angles.cos().to(dtype))
            self.register_buffer("sines", angles.sin().to(dtype))

        def forward(self, tokens, rows):
            x = F.embedding(tokens, self.table).to(dtype)
            cosines, sines = self.cosines[: tokens.shape[1]], self.sines[: tokens.shape[1]]
            for block in self.blocks[:-1]:
                x = block(x, cosines, sines)
            x = self.blocks[-1](x, cosines, sines, rows)
            return self.head(self.norm(x))[0]

    return Network(load_file(str(folder / "model.safetensors")), places=4096).eval()
