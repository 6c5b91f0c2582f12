"""Trains a small MAR on Fashion-MNIST and writes it as a model folder: what caches and pruning of MARs are tried on.

    python Tools/train_mar.py --out out/fashion-mar --steps 4000

Tokens are patches of 4 x 4 pixels in -1...1; the state is the picture. A few thousand steps on two processors make recognisable garments.
"""

import argparse
import copy
import json
import math
import pathlib
import time

import torch
from safetensors.torch import save_file

import fashion_data
from mar_model import TorchMAR

PATCH, SIDE, CLASSES = 4, 28, 10


def initial(width, depth, head_width, head_depth, buffer):
    """A state dict as the published code initialises it."""
    tokens, numbers, state = (SIDE // PATCH) ** 2, PATCH**2, {}

    def linear(name, out, inside, zero=False):
        bound = math.sqrt(6 / (out + inside))
        state[f"{name}.weight"] = torch.zeros(out, inside) if zero else torch.empty(out, inside).uniform_(-bound, bound)
        state[f"{name}.bias"] = torch.zeros(out)

    def norm(name, size):
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.ones(size), torch.zeros(size)

    for name, shape in {"fake_latent": (1, width), "class_emb.weight": (CLASSES, width), "mask_token": (1, 1, width),
                        "encoder_pos_embed_learned": (1, buffer + tokens, width), "decoder_pos_embed_learned": (1, buffer + tokens, width),
                        "diffusion_pos_embed_learned": (1, tokens, width)}.items():
        state[name] = torch.randn(shape) * 0.02
    linear("z_proj", width, numbers), norm("z_proj_ln", width), linear("decoder_embed", width, width)
    for part in ("encoder", "decoder"):
        norm(f"{part}_norm", width)
        for index in range(depth):
            block = f"{part}_blocks.{index}"
            norm(f"{block}.norm1", width), norm(f"{block}.norm2", width)
            linear(f"{block}.attn.qkv", 3 * width, width), linear(f"{block}.attn.proj", width, width)
            linear(f"{block}.mlp.fc1", 4 * width, width), linear(f"{block}.mlp.fc2", width, 4 * width)
    net, w = "diffloss.net", head_width
    linear(f"{net}.time_embed.mlp.0", w, 256), linear(f"{net}.time_embed.mlp.2", w, w)
    linear(f"{net}.cond_embed", w, width), linear(f"{net}.input_proj", w, numbers)
    for index in range(head_depth):
        block = f"{net}.res_blocks.{index}"
        norm(f"{block}.in_ln", w), linear(f"{block}.mlp.0", w, w), linear(f"{block}.mlp.2", w, w)
        linear(f"{block}.adaLN_modulation.1", 3 * w, w, zero=True)
    linear(f"{net}.final_layer.linear", 2 * numbers, w, zero=True), linear(f"{net}.final_layer.adaLN_modulation.1", 2 * w, w, zero=True)
    return state


def write(state, heads, out):
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().contiguous() for name, value in state.items()}, str(out / "model.safetensors"))
    config = {"family": "mar", "img_size": SIDE, "vae_stride": 1, "patch_size": PATCH, "encoder_num_heads": heads, "decoder_num_heads": heads,
              "labels": fashion_data.LABELS, "output": {"kind": "pixels", "range": [-1, 1]}, "cfg": 2.0, "num_iter": 16, "num_sampling_steps": "50"}
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--data", default=fashion_data.DEFAULT_DATA)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=4, help="blocks of the encoder, and as many of the decoder")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--head-width", type=int, default=192)
    parser.add_argument("--head-depth", type=int, default=3)
    parser.add_argument("--buffer", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    torch.set_num_threads(given.threads)
    images, labels = fashion_data.load_split("train", given.data)
    images = fashion_data.to_unit_range(images)
    state = {name: value.requires_grad_() for name, value in initial(
        given.width, given.depth, given.head_width, given.head_depth, given.buffer).items()}
    network = TorchMAR(state, given.heads, PATCH)
    average = {name: value.detach().clone() for name, value in state.items()}
    decayed = [value for name, value in state.items() if value.ndim > 1 and "diffloss" not in name]
    others = [value for name, value in state.items() if value.ndim <= 1 or "diffloss" in name]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.95))
    began, smooth = time.time(), None
    for step in range(given.steps):
        rate = given.rate * min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * step / given.steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        rows = torch.randint(len(images), (given.batch,))
        loss = network.loss(network.patchify(images[rows]), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(state.values(), 3.0)
        optimiser.step()
        with torch.no_grad():
            keep = min(0.998, (step + 1) / (step + 10))
            for name, value in average.items():
                value.lerp_(state[name], 1 - keep)
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if step % 100 == 99 or step == given.steps - 1:
            print(f"step {step + 1} loss {smooth:.4f} {time.time() - began:.0f} s", flush=True)
            write(copy.copy(average), given.heads, given.out)


if __name__ == "__main__":
    main()
