"""Train a class-conditional DiT on Fashion-MNIST in pixel space, on a CPU.

The run is resumable (its whole state is in --state, the noise of a step depends on seed and step only)
and can be stopped at any time: each checkpoint also rewrites the model folder with the averaged weights.
Length is limited by --steps or --minutes, whichever is used up first; the learning rate follows the more
advanced of the two and reaches zero at the end, so a slower machine still gets a finished model.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch

from checkpoints import write_atomically, write_json, write_model
from dit_diffusion import linear_schedule, training_loss
from dit_model import DiT
from fashion_data import DEFAULT_DATA, LABELS, load_split, to_unit_range


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default=DEFAULT_DATA, help="folder with the IDX files")
    p.add_argument("--out", default="Models/fashion-dit", help="model folder to write")
    p.add_argument("--state", default=".cache/fashion-dit/state.pt", help="resumable training state")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--steps", type=int, default=12000)
    p.add_argument("--minutes", type=float, default=math.inf, help="wall-clock budget over all resumptions")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--warmup", type=int, default=200)
    p.add_argument("--weight-decay", type=float, default=0.01)
    p.add_argument("--ema", type=float, default=0.999)
    p.add_argument("--gamma", type=float, default=5.0, help="min-SNR cap; 0 weights all steps equally")
    p.add_argument("--dropout", type=float, default=0.1, help="share of labels replaced by the null class")
    p.add_argument("--patch", type=int, default=7,
                   help="7 gives 16 tokens: three times as many steps an hour as 4 (49 tokens)")
    p.add_argument("--hidden", type=int, default=128)
    p.add_argument("--depth", type=int, default=12)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--save-every", type=float, default=5.0, help="minutes between checkpoints")
    return p.parse_args()


def model_config(options):
    """The content of config.json.  Guidance covers the one epsilon channel there is."""
    existing = Path(options.out) / "config.json"
    scale = json.loads(existing.read_text())["cfg_scale"] if existing.exists() else 2.0
    return {
        "family": "dit",
        "name": "fashion-dit",
        "model": {
            "input_size": 28, "patch_size": options.patch, "hidden_size": options.hidden,
            "depth": options.depth, "num_heads": options.heads, "num_classes": len(LABELS),
            "mlp_ratio": 4.0, "class_dropout_prob": options.dropout, "in_channels": 1,
            "learn_sigma": True, "frequency_embedding_size": 256, "null_class": len(LABELS),
        },
        "cfg_scale": scale,
        "cfg_channels": 1,
        "diffusion": {"schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02,
                      "train_steps": 1000, "clip_denoised": False},
        "output": {"kind": "pixels", "range": [-1, 1]},
        "labels": LABELS,
    }


def draw_batch(options, step, images, labels):
    """Everything random about one step, from a generator that depends on seed and step only."""
    g = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
    pick = torch.randint(len(images), (options.batch,), generator=g)
    clean, y = to_unit_range(images[pick]), labels[pick]
    drop = torch.rand(options.batch, generator=g) < options.dropout
    y = torch.where(drop, torch.full_like(y, len(LABELS)), y)
    # One timestep from each of `batch` equal slices of the schedule: still uniform, less variance.
    t = (torch.arange(options.batch) + torch.rand(options.batch, generator=g)) * 1000 / options.batch
    noise = torch.randn(clean.shape, generator=g)
    return clean, t.long().clamp(max=999), y, noise


class Run:
    """Model, optimiser, averaged weights and the two clocks; saved and restored as one."""

    def __init__(self, options):
        self.options, self.config = options, model_config(options)
        torch.manual_seed(options.seed)
        self.model = DiT(self.config["model"])
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.trained, lr=options.lr, betas=(0.9, 0.99),
                                           weight_decay=options.weight_decay, fused=True)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.step, self.seconds = 0, 0.0
        if Path(options.state).exists():
            saved = torch.load(options.state)
            self.model.load_state_dict(saved["model"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.average, self.step, self.seconds = saved["average"], saved["step"], saved["seconds"]

    def progress(self):
        return max(self.step / self.options.steps, self.seconds / 60 / self.options.minutes)

    def learning_rate(self):
        warm = min(1.0, (self.step + 1) / self.options.warmup)
        return self.options.lr * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress())))

    def update(self, loss):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        current = self.model.state_dict()
        torch._foreach_lerp_(list(self.average.values()), [current[k] for k in self.average], 1 - decay)

    def save(self):
        whole = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(),
                 "average": self.average, "step": self.step, "seconds": self.seconds}
        write_atomically(self.options.state, lambda p: torch.save(whole, p))
        write_model(self.options.out, self.config, self.average)
        write_json(Path(self.options.state).with_name("training.json"),
                   {**vars(self.options), "step": self.step, "wall_minutes": round(self.seconds / 60, 2),
                    "minutes": str(self.options.minutes), "torch": torch.__version__})


def train(options):
    torch.set_num_threads(options.threads)
    images, labels = load_split("train", options.data)
    run = Run(options)
    schedule = linear_schedule(run.config["diffusion"])
    print(f"{sum(p.numel() for p in run.model.parameters()):,} parameters, from step {run.step}", flush=True)
    recent, saved, clock = 0.0, run.seconds, time.monotonic()
    while run.progress() < 1:
        clean, t, y, noise = draw_batch(options, run.step, images, labels)
        loss, error = training_loss(run.model, schedule, clean, t, y, noise, options.gamma)
        run.update(loss)
        now = time.monotonic()
        run.seconds, clock = run.seconds + now - clock, now
        recent = float(error) if recent == 0 else 0.99 * recent + 0.01 * float(error)
        if run.step % 100 == 0:
            print(f"step {run.step}  epsilon error {recent:.4f}  loss {float(loss.detach()):.4f}  "
                  f"lr {run.learning_rate():.2e}  {run.seconds / 60:.1f} min", flush=True)
        if run.seconds - saved > 60 * options.save_every:
            saved = run.seconds
            run.save()
    run.save()
    print(f"finished: {run.step} steps, {run.seconds / 60:.1f} min", flush=True)


if __name__ == "__main__":
    train(parse_arguments())
