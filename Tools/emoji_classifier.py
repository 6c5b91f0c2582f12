"""A small classifier of the groups of emoji ("Animals & Nature", "Food & Drink", ...), whose features the Fréchet distance compares.

It is trained on four fifths of the pictures, varied by shifts, sizes, mirroring and brightness, in half a minute on a CPU; it is cached, never
committed.  What is printed is the share of right groups of the last fifth.
"""

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from checkpoints import write_atomically
from emoji_data import load, to_float

CACHE = ".cache/emoji/classifier.pt"


class Classifier(nn.Module):
    """Four convolutions of stride 2; `features` is the 64-vector before the logits."""

    def __init__(self, classes):
        super().__init__()
        widths = [3, 24, 48, 64, 96]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 5 if a == 3 else 3, stride=2, padding=2 if a == 3 else 1)
                                          for a, b in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.dense = nn.Linear(96 * 4, 64)
        self.logits = nn.Linear(64, classes)

    def features(self, x):
        for convolution, norm in zip(self.convolutions, self.norms):
            x = F.relu(norm(convolution(x)))
        x = F.avg_pool2d(x, 2).flatten(1)
        return F.relu(self.dense(F.dropout(x, 0.3, self.training)))

    def forward(self, x):
        return self.logits(F.dropout(self.features(x), 0.3, self.training))


@torch.inference_mode()
def describe(model, images, batch=500):
    """(groups, features) of bytes [n,3,64,64]."""
    features = torch.cat([model.features(to_float(chunk)) for chunk in images.split(batch)])
    return model.logits(features).argmax(1), features


def varied(x, generator):
    """Each picture enlarged, shifted and mirrored at random, and the whole batch's channels scaled."""
    count = len(x)
    size = 1 + 0.25 * (torch.rand(count, generator=generator) - 0.3)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    frame = torch.zeros(count, 2, 3)
    frame[:, 0, 0], frame[:, 1, 1] = size * mirror, size
    frame[:, :, 2] = 0.2 * (torch.rand(count, 2, generator=generator) - 0.5)
    moved = F.grid_sample(1 - x, F.affine_grid(frame, list(x.shape), align_corners=False), align_corners=False)
    return 1 - moved * (1 + 0.3 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5))


def targets(pictures):
    kinds = sorted(set(pictures["groups"]))
    return kinds, torch.tensor([kinds.index(group) for group in pictures["groups"]])


def train(images, labels, classes, seed, steps=600, batch=64, rate=3e-3):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Classifier(classes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        pick = torch.randint(len(images), (batch,), generator=generator)
        loss = F.cross_entropy(model(varied(to_float(images[pick]), generator)), labels[pick], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 100 == 0:
            print(f"classifier: step {step}  loss {float(loss.detach()):.3f}", flush=True)
    return model.eval()


def load_or_train(pictures, cache=CACHE, seed=1):
    """The cached classifier; trained and cached first when there is none."""
    kinds, labels = targets(pictures)
    if Path(cache).exists():
        model = Classifier(len(kinds))
        model.load_state_dict(torch.load(cache))
        return model.eval()
    kept = ~held_out(labels)
    model = train(pictures["images"][kept], labels[kept], len(kinds), seed)
    write_atomically(cache, lambda path: torch.save(model.state_dict(), path))
    return model


def held_out(labels):
    return torch.arange(len(labels)) % 5 == 0


def accuracy(model, pictures):
    """Share of the pictures that were left out whose group is recognised."""
    _, labels = targets(pictures)
    out = held_out(labels)
    return float((describe(model, pictures["images"][out])[0] == labels[out]).float().mean())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cache", default=CACHE)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    options = p.parse_args()
    torch.set_num_threads(options.threads)
    pictures = load()
    model = load_or_train(pictures, options.cache, options.seed)
    print(f"pictures left out: {100 * accuracy(model, pictures):.1f} % in the right one of {len(set(pictures['groups']))} groups")


if __name__ == "__main__":
    main()
