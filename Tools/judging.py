"""What the classifiers that judge generated pictures and sounds share: how they are fitted, cached and called."""

import argparse
import math
from pathlib import Path

import torch

from checkpoints import write_atomically


def fit(model, loss_of, count, steps, batch, generator, rate=3e-3, every=100):
    """`model`, fitted by AdamW to `loss_of(positions)`, the loss of these `batch` of `count` examples."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = loss_of(torch.randint(count, (batch,), generator=generator))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % every == 0:
            print(f"classifier: step {step}  loss {float(loss.detach()):.3f}", flush=True)
    return model.eval()


def cached(cache, make, train):
    """`make()` with the weights in the file `cache`; when there is none, what `train()` gives, cached."""
    if Path(cache).exists():
        model = make()
        model.load_state_dict(torch.load(cache))
        return model.eval()
    model = train()
    write_atomically(cache, lambda path: torch.save(model.state_dict(), path))
    return model


def arguments(description, cache):
    """The options of a classifier's own command."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cache", default=cache)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    options = p.parse_args()
    torch.set_num_threads(options.threads)
    return options
