"""Train the multi-scale VQ-VAE of fashion-var: gray 28 x 28 pictures, padded to 32 x 32 with three equal channels.

Loss: squared error of the picture, commitment and codebook terms as published (no discriminator: these pictures are simple).  Codes
that nothing chose for a while are moved to features of the current batch.  Resumable; limited by --steps or --minutes.
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from checkpoints import write_atomically, write_json, write_model
from fashion_data import DEFAULT_DATA, load_split, to_unit_range
from var_model import VQVAE

SIDES = [1, 2, 3, 4, 6, 8]
CONFIG = {"vocab_size": 512, "z_channels": 16, "ch": 32, "ch_mult": [1, 2, 2], "num_res_blocks": 1,
          "quant_resi": 0.5, "share_quant_resi": 4, "using_znorm": False}


def pictures(images):
    """Bytes [n,28,28] as float [n,3,32,32] in -1...1."""
    return F.pad(to_unit_range(images), (2, 2, 2, 2), value=-1).expand(-1, 3, -1, -1)


def losses(model, x, usage):
    """Error of the picture, and of the codes; counts in `usage` which codes were chosen."""
    f = model.features(x)
    rest, state, code_error = f.detach(), torch.zeros_like(f), 0
    for scale in range(len(SIDES)):
        tokens = model.quantize.nearest(model.quantize.view(rest, scale))
        usage.index_add_(0, tokens.flatten(), torch.ones(tokens.numel()))
        added = model.quantize.contribution(tokens, scale)
        state, rest = state + added, rest - added.detach()
        code_error = code_error + F.mse_loss(state, f.detach()) + 0.25 * F.mse_loss(f, state.detach())
    straight = f + (state - f).detach()
    return F.mse_loss(model.decode(straight), x), code_error / len(SIDES), f


def revive(model, usage, f):
    """Moves codes that nothing chose to features of this batch."""
    dead = (usage == 0).nonzero().flatten()
    rows = f.detach().permute(0, 2, 3, 1).reshape(-1, f.shape[1])
    if len(dead):
        pick = torch.randint(len(rows), (len(dead),))
        with torch.no_grad():
            model.quantize.embedding.weight[dead] = rows[pick] * torch.rand(len(dead), 1)
    usage.zero_()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default=DEFAULT_DATA)
    p.add_argument("--out", default="Models/fashion-var/vae")
    p.add_argument("--state", default=".cache/fashion-var/vqvae.pt")
    p.add_argument("--steps", type=int, default=6000)
    p.add_argument("--minutes", type=float, default=math.inf)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--seed", type=int, default=1)
    options = p.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    images, _ = load_split("train", options.data)
    model = VQVAE(CONFIG, SIDES)
    torch.nn.init.normal_(model.quantize.embedding.weight, std=0.5)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.95), weight_decay=0.01)
    step, seconds = 0, 0.0
    if Path(options.state).exists():
        saved = torch.load(options.state)
        model.load_state_dict(saved["model"]), optimiser.load_state_dict(saved["optimiser"])
        step, seconds = saved["step"], saved["seconds"]
    usage, clock, kept = torch.zeros(CONFIG["vocab_size"]), time.monotonic(), time.monotonic()

    def save():
        state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "seconds": seconds}
        write_atomically(options.state, lambda path: torch.save(state, path))
        write_model(options.out, {"family": "vqvae", "patch_nums": SIDES, "model": CONFIG}, model.state_dict())
        write_json(Path(options.state).with_suffix(".json"), {**vars(options), "step": step, "minutes": seconds / 60})

    while max(step / options.steps, seconds / 60 / options.minutes) < 1:
        progress = max(step / options.steps, seconds / 60 / options.minutes)
        for group in optimiser.param_groups:
            group["lr"] = options.lr * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * progress))
        g = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        x = pictures(images[torch.randint(len(images), (options.batch,), generator=g)])
        picture, codes, f = losses(model, x, usage)
        optimiser.zero_grad(set_to_none=True)
        (picture + codes).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 100 == 0 and progress < 0.7:
            revive(model, usage, f)
        now = time.monotonic()
        seconds, clock = seconds + now - clock, now
        if step % 50 == 0:
            print(f"step {step}  picture {float(picture.detach()):.4f}  codes {float(codes.detach()):.4f}  {seconds / 60:.1f} min", flush=True)
        if now - kept > 300:
            kept = now
            save()
    save()


if __name__ == "__main__":
    main()
