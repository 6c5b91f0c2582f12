"""The loop of the training scripts: resumable, limited by --steps or --minutes, learning rate falling to (nearly) zero at the end.

Length is whichever of the two limits is used up first, and the learning rate follows the more advanced one: a slower machine still
gets a finished model.  What a step draws depends on seed and step only.
"""

import argparse
import math
import time
from pathlib import Path

import torch

from checkpoints import write_atomically, write_json


def arguments(description, out, steps, batch, lr):
    """A parser with what every script takes."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", default=out, help="model folder to write")
    p.add_argument("--state", help="resumable state (default: under .cache, named after --out)")
    p.add_argument("--steps", type=int, default=steps)
    p.add_argument("--minutes", type=float, default=math.inf, help="wall-clock budget over all resumptions")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch", type=int, default=batch)
    p.add_argument("--lr", type=float, default=lr)
    p.add_argument("--seed", type=int, default=1)
    return p


def begin(options):
    """Threads and seed, before anything is drawn; where the state is kept."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.state = options.state or f".cache/training/{options.out.strip('/').replace('/', '-')}.pt"


class Training:
    """Network, optimiser, averaged weights (with `ema` > 0) and the two clocks; saved and restored as one."""

    def __init__(self, options, network, optimisers, clip, warmup, floor=0.0, ema=0.0):
        self.options, self.network, self.clip, self.warmup, self.floor, self.ema = options, network, clip, warmup, floor, ema
        self.optimisers = optimisers
        rates = [group["lr"] for optimiser in optimisers for group in optimiser.param_groups]
        self.average = {name: value.detach().clone() for name, value in network.state_dict().items()} if ema else None
        self.step, self.seconds = 0, 0.0
        if Path(options.state).exists():
            saved = torch.load(options.state)
            network.load_state_dict(saved["network"])
            for optimiser, state in zip(optimisers, saved["optimisers"]):
                optimiser.load_state_dict(state)
            self.average, self.step, self.seconds = saved["average"], saved["step"], saved["seconds"]
        # Only now: loading an optimiser's state makes its groups anew.
        self.groups = list(zip((group for optimiser in optimisers for group in optimiser.param_groups), rates))

    @property
    def weights(self):
        """What the model folder gets."""
        return self.average or self.network.state_dict()

    @property
    def progress(self):
        return max(self.step / self.options.steps, self.seconds / 60 / self.options.minutes)

    def generator(self):
        """The random numbers of the step that comes next."""
        return torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)

    def run(self, loss_of_step, write, every=50):
        """`loss_of_step(generator)` gives the loss and a dict of figures to print; `write(weights)` the model folder."""
        clock, kept = time.monotonic(), time.monotonic()
        while self.progress < 1:
            for group, rate in self.groups:
                group["lr"] = rate * self.rate_factor()
            loss, figures = loss_of_step(self.generator())
            self.update(loss)
            now = time.monotonic()
            self.seconds, clock = self.seconds + now - clock, now
            if self.step % every == 0:
                text = "  ".join(f"{name} {float(value):.4f}" for name, value in figures.items())
                print(f"step {self.step}  {text}  {self.seconds / 60:.1f} min", flush=True)
            if now - kept > 300:
                kept = now
                self.save(write)
        self.save(write)
        print(f"finished: {self.step} steps, {self.seconds / 60:.1f} min", flush=True)

    def rate_factor(self):
        warm = min(1.0, (self.step + 1) / self.warmup)
        return warm * max(self.floor, 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress))))

    def update(self, loss):
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        if self.average:
            decay = min(self.ema, (1 + self.step) / (10 + self.step))
            current = self.network.state_dict()
            with torch.no_grad():
                for name, value in self.average.items():
                    value.lerp_(current[name], 1 - decay)

    def save(self, write):
        whole = {"network": self.network.state_dict(), "optimisers": [o.state_dict() for o in self.optimisers], "average": self.average,
                 "step": self.step, "seconds": self.seconds}
        write_atomically(self.options.state, lambda path: torch.save(whole, path))
        write(self.weights)
        write_json(Path(self.options.state).with_suffix(".json"),
                   {**vars(self.options), "minutes": str(self.options.minutes), "step": self.step,
                    "wall_minutes": round(self.seconds / 60, 2), "torch": torch.__version__})
