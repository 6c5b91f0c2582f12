"""A DiT of a published size with random weights: checkpoint in either layout, and the same network in torch."""

import json
import os

import torch
from safetensors.torch import load_file, save_file

from common import CACHE
from dit_model import DiT, TimestepEmbedder, position_table

#: depth, width, heads
SIZES = {"S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def configuration(size, latent=32, patch=2):
    """The network's sizes under the official names."""
    depth, width, heads = SIZES[size]
    return {"input_size": latent, "patch_size": patch, "in_channels": 4, "hidden_size": width, "depth": depth,
            "num_heads": heads, "num_classes": 1000, "mlp_ratio": 4.0, "learn_sigma": True,
            "frequency_embedding_size": 256, "class_dropout_prob": 0.1}


def published_config(config, layout):
    """What config.json says in the given layout."""
    if layout == "official":
        return {"family": "dit", "model": config}
    heads = config["num_heads"]
    return {"_class_name": "Transformer2DModel", "num_attention_heads": heads,
            "attention_head_dim": config["hidden_size"] // heads, "in_channels": config["in_channels"],
            "out_channels": 2 * config["in_channels"], "num_layers": config["depth"],
            "sample_size": config["input_size"], "patch_size": config["patch_size"],
            "num_embeds_ada_norm": config["num_classes"], "activation_fn": "gelu-approximate", "attention_bias": True,
            "norm_type": "ada_norm_zero", "norm_elementwise_affine": False, "norm_eps": 1e-5}


def random_state(config, seed):
    """A state dict under the official names. No layer is zero: zero gates would hide errors behind them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in DiT(config).state_dict().items()}
    state = {}
    for name, shape in shapes.items():
        value = torch.empty(shape)
        if name == "pos_embed":
            value = position_table(config["hidden_size"], config["input_size"] // config["patch_size"])
        elif "bias" in name or "adaLN" in name or "final_layer" in name or "t_embedder" in name or "table" in name:
            value.normal_(0, 0.02, generator=generator)
        else:
            value.normal_(0, value[0].numel() ** -0.5, generator=generator)
        state[name] = value
    return state


def diffusers_names(state, depth):
    """The same weights under the names of diffusers' Transformer2DModel, whose blocks hold q, k and v apart.

    Only block 0 gets the embedders, which published files repeat in every block without anyone reading them there.
    """
    embedders = "transformer_blocks.0.norm1.emb"
    names = {"x_embedder.proj": "pos_embed.proj", "t_embedder.mlp.0": f"{embedders}.timestep_embedder.linear_1",
             "t_embedder.mlp.2": f"{embedders}.timestep_embedder.linear_2",
             "y_embedder.embedding_table": f"{embedders}.class_embedder.embedding_table",
             "final_layer.adaLN_modulation.1": "proj_out_1", "final_layer.linear": "proj_out_2"}
    for index in range(depth):
        here, there = f"blocks.{index}", f"transformer_blocks.{index}"
        names.update({f"{here}.adaLN_modulation.1": f"{there}.norm1.linear", f"{here}.attn.proj": f"{there}.attn1.to_out.0",
                      f"{here}.mlp.fc1": f"{there}.ff.net.0.proj", f"{here}.mlp.fc2": f"{there}.ff.net.2"})
    renamed = {}
    for name, value in state.items():
        module, _, kind = name.rpartition(".")
        if module.endswith("attn.qkv"):
            block = module.split(".")[1]
            for part, rows in zip("qkv", value.chunk(3)):
                renamed[f"transformer_blocks.{block}.attn1.to_{part}.{kind}"] = rows
        elif name != "pos_embed":  # computed, not stored, in this layout
            renamed[f"{names[module]}.{kind}"] = value
    return renamed


def checkpoint(size, layout="diffusers", dtype="f32", latent=32, patch=2, seed=0):
    """The folder of the checkpoint, written on first use."""
    config = configuration(size, latent, patch)
    folder = CACHE / f"dit-{size}-{patch}-latent{latent}-seed{seed}-{layout}-{dtype}"
    weights = folder / ("model.safetensors" if layout == "official" else "diffusion_pytorch_model.safetensors")
    if weights.exists() and (folder / "config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    state = random_state(config, seed)
    if layout == "diffusers":
        state = diffusers_names(state, config["depth"])
    partial = weights.with_suffix(f".{os.getpid()}")
    save_file({name: value.to(DTYPES[dtype]).contiguous() for name, value in state.items()}, str(partial))
    os.replace(partial, weights)
    (folder / "config.json").write_text(json.dumps(published_config(config, layout), indent=1) + "\n")
    return folder


def empty_network(config):
    """The torch network without memory for its weights, to be filled with load_state_dict(..., assign=True)."""
    with torch.device("meta"):
        network = DiT(config)
    width, features = config["hidden_size"], config["frequency_embedding_size"]
    network.t_embedder.rate = TimestepEmbedder(width, features).rate
    return network.eval()


def torch_network(size, dtype="f32", latent=32, patch=2, seed=0):
    """The torch network with the weights of `checkpoint`, in memory of its own."""
    config = configuration(size, latent, patch)
    folder = checkpoint(size, "official", dtype, latent, patch, seed)
    state = load_file(str(folder / "model.safetensors"))
    network = empty_network(config)
    network.load_state_dict({name: value.clone() for name, value in state.items()}, assign=True)
    return network.requires_grad_(False)


def linear_layers(network, batch):
    """(rows, weight [n, k] as an array, one row per sample?) of every linear layer, in the order of a forward."""
    tokens = batch * network.side**2

    def weight(layer):
        return layer.weight.detach().flatten(1).numpy()

    layers = [(tokens, weight(network.x_embedder.proj), False)]
    layers += [(batch, weight(network.t_embedder.mlp[index]), True) for index in (0, 2)]
    for block in network.blocks:
        # The library computes the six modulation vectors in four calls: shift and scale, gate, and the same for the MLP.
        modulation, width = weight(block.adaLN_modulation[1]), network.config["hidden_size"]
        layers += [(batch, modulation[start * width: stop * width], True) for start, stop in ((0, 2), (2, 3), (3, 5), (5, 6))]
        layers += [(tokens, weight(layer), False)
                   for layer in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2)]
    layers.append((batch, weight(network.final_layer.adaLN_modulation[1]), True))
    return layers + [(tokens, weight(network.final_layer.linear), False)]
