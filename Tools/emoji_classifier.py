"""A small classifier of the groups of emoji ("Animals & Nature", "Food & Drink", ...), whose features the Fréchet distance compares.

It is trained on four fifths of the pictures, varied by shifts, sizes, mirroring and brightness, in half a minute on a CPU; it is cached, never
committed.  What is printed is the share of right groups of the last fifth.
"""

import torch
import torch.nn.functional as F
from torch import nn

from emoji_data import load, to_float
from judging import arguments, cached, fit

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


def train(images, labels, classes, seed, steps=600, batch=64):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Classifier(classes)

    def loss_of(pick):
        return F.cross_entropy(model(varied(to_float(images[pick]), generator)), labels[pick], label_smoothing=0.05)

    return fit(model, loss_of, len(images), steps, batch, generator)


def load_or_train(pictures, cache=CACHE, seed=1):
    """The cached classifier; trained and cached first when there is none."""
    kinds, labels = targets(pictures)
    kept = ~held_out(labels)
    return cached(cache, lambda: Classifier(len(kinds)), lambda: train(pictures["images"][kept], labels[kept], len(kinds), seed))


def held_out(labels):
    return torch.arange(len(labels)) % 5 == 0


def accuracy(model, pictures):
    """Share of the pictures that were left out whose group is recognised."""
    _, labels = targets(pictures)
    out = held_out(labels)
    return float((describe(model, pictures["images"][out])[0] == labels[out]).float().mean())


def main():
    options = arguments(__doc__, CACHE)
    pictures = load()
    model = load_or_train(pictures, options.cache, options.seed)
    print(f"pictures left out: {100 * accuracy(model, pictures):.1f} % in the right one of {len(set(pictures['groups']))} groups")


if __name__ == "__main__":
    main()
