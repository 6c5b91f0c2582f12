"""Train a class-conditional U-ViT on Fashion-MNIST in pixel space, on a CPU.

    python Tools/train_uvit.py --seed 1 --minutes 44

The run is resumable (its whole state is in --state, what a step draws depends on seed and step only) and can be stopped at any time:
each checkpoint also rewrites the model folder with the averaged weights.  Limited by --steps or --minutes, whichever is used up first.
"""

import json
from pathlib import Path

import torch

from checkpoints import write_model
from fashion_data import DEFAULT_DATA, LABELS, load_split, to_unit_range
from muon import with_adam
from training import Training, arguments, begin
from uvit_model import Curve, UViT


def parse_arguments():
    p = arguments(__doc__, "Models/fashion-uvit", steps=20000, batch=128, lr=2e-3)
    p.add_argument("--data", default=DEFAULT_DATA, help="folder with the IDX files")
    p.add_argument("--patch", type=int, default=7,
                   help="7 gives 16 tokens, a third of the work of 4 (49 tokens), in training and in sampling")
    p.add_argument("--width", type=int, default=128)
    p.add_argument("--depth", type=int, default=12, help="input and output blocks together; one in the middle comes on top")
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--weight-decay", type=float, default=0.05)
    p.add_argument("--ema", type=float, default=0.999)
    p.add_argument("--gamma", type=float, default=5.0, help="min-SNR cap; 0 weights all times equally")
    p.add_argument("--dropout", type=float, default=0.1, help="share of labels replaced by the null class")
    return p.parse_args()


def model_config(options):
    """The content of config.json. `cfg_scale` is the official code's s, which writes c + s (c - u)."""
    existing = Path(options.out) / "config.json"
    scale = json.loads(existing.read_text())["cfg_scale"] if existing.exists() else 0.5
    return {
        "family": "uvit",
        "name": "fashion-uvit",
        "model": {
            "img_size": 28, "patch_size": options.patch, "in_chans": 1, "embed_dim": options.width, "depth": options.depth,
            "num_heads": options.heads, "mlp_ratio": 4, "qkv_bias": False, "mlp_time_embed": False,
            "num_classes": len(LABELS) + 1, "conv": True, "skip": True, "null_class": len(LABELS),
        },
        "cfg_scale": scale,
        "schedule": {"beta_start": 0.00085, "beta_end": 0.012, "n": 1000},
        "output": {"kind": "pixels", "range": [-1, 1]},
        "labels": LABELS,
    }  # fmt: skip


def main():
    options = parse_arguments()
    begin(options)
    images, labels = load_split("train", options.data)
    config = model_config(options)
    network = UViT(config["model"])
    blocks = torch.nn.ModuleList([network.in_blocks, network.mid_block, network.out_blocks])
    training = Training(options, network, with_adam(network, blocks, options.lr, options.weight_decay), clip=1.0, warmup=200,
                        ema=options.ema)
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, from step {training.step}", flush=True)
    logs = Curve().logs.float()
    alphas, sigmas = logs.exp(), (-torch.expm1(2 * logs)).sqrt()
    average = 0.0

    def loss_of_step(generator):
        nonlocal average
        pick = torch.randint(len(images), (options.batch,), generator=generator)
        clean, y = to_unit_range(images[pick]), labels[pick]
        y = torch.where(torch.rand(options.batch, generator=generator) < options.dropout, torch.full_like(y, network.null_class), y)
        # One time from each of `batch` equal slices of the process: still uniform, less variance.
        slices = torch.arange(options.batch) + torch.rand(options.batch, generator=generator)
        index = (slices * len(logs) / options.batch).long().clamp(max=len(logs) - 1)
        noise = torch.randn(clean.shape, generator=generator)
        alpha, sigma = alphas[index].view(-1, 1, 1, 1), sigmas[index].view(-1, 1, 1, 1)
        epsilon = network(alpha * clean + sigma * noise, index + 1.0, y)
        error = (epsilon - noise).square().flatten(1).mean(1)
        ratio = (alpha / sigma).square().flatten()
        loss = (error * ratio.clamp(max=options.gamma) / ratio if options.gamma else error).mean()
        plain = float(error.detach().mean())
        average = plain if average == 0 else 0.99 * average + 0.01 * plain
        return loss, {"loss": loss.detach(), "epsilon error": average}

    training.run(loss_of_step, lambda weights: write_model(options.out, config, weights), every=100)


if __name__ == "__main__":
    main()
