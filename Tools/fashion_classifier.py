"""A small Fashion-MNIST classifier: the judge of generated pictures.

It answers two questions about a sample: is it recognised as the class that was asked for, and (through
its penultimate features) how far is a set of samples from the real pictures.  It trains in a few minutes
on a CPU and is cached, never committed.
"""

import argparse
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

from fashion_data import DEFAULT_DATA, load_split, to_unit_range
from judging import cached

DEFAULT_CACHE = ".cache/fashion-classifier.pt"


class Classifier(nn.Module):
    """Three convolutions and two dense layers; `features` is the 128-vector before the logits.

    Strides instead of pooling in the first two layers: most of the time of a tiny network goes to its
    full-size maps, and accuracy does not need them.
    """

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in (32, 64, 64))
        self.dense = nn.Linear(64 * 9, 128)
        self.logits = nn.Linear(128, 10)

    def features(self, x):
        x = F.relu(self.norms[0](self.conv1(x)))
        x = F.relu(self.norms[1](self.conv2(x)))
        x = F.relu(self.norms[2](F.max_pool2d(self.conv3(x), 2)))
        return F.relu(self.dense(F.dropout(x.flatten(1), 0.3, self.training)))

    def forward(self, x):
        return self.logits(F.dropout(self.features(x), 0.3, self.training))


@torch.inference_mode()
def describe(model, images, batch=500):
    """Return (predicted classes, features) of float images in [-1,1]."""
    model.eval()
    features = torch.cat([model.features(chunk) for chunk in images.split(batch)])
    return model.logits(features).argmax(1), features


def shift(images, generator):
    """Move the whole batch by up to one pixel: the only augmentation the data set tolerates cheaply."""
    dy, dx = (int(v) for v in torch.randint(-1, 2, (2,), generator=generator))
    return torch.roll(images, (dy, dx), (2, 3))


def train(data, seed, epochs, rate=3e-3, batch=256):
    """Train from nothing and return the classifier; deterministic for one seed and thread count."""
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    images, labels = load_split("train", data)
    model = Classifier()
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
    total, step, start = epochs * (len(images) // batch), 0, time.monotonic()
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(images), generator=g)
        for pick in order[:len(images) // batch * batch].view(-1, batch):
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / total))
            loss = F.cross_entropy(model(shift(to_unit_range(images[pick]), g)), labels[pick],
                                   label_smoothing=0.05)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            step += 1
        print(f"epoch {epoch + 1}/{epochs}  loss {float(loss.detach()):.3f}  "
              f"{time.monotonic() - start:.0f} s", flush=True)
    return model.eval()


def test_accuracy(model, data):
    images, labels = load_split("test", data)
    return float((describe(model, to_unit_range(images))[0] == labels).float().mean())


def load_or_train(data=DEFAULT_DATA, cache=DEFAULT_CACHE, seed=1, epochs=8):
    """The cached classifier; trained and cached first when there is none."""
    return cached(cache, Classifier, lambda: train(data, seed, epochs))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default=DEFAULT_DATA, help="folder with the IDX files")
    p.add_argument("--out", default=DEFAULT_CACHE, help="cached weights")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--threads", type=int, default=2)
    options = p.parse_args()
    torch.set_num_threads(options.threads)
    model = load_or_train(options.data, options.out, options.seed, options.epochs)
    accuracy = test_accuracy(model, options.data)
    print(f"test accuracy {accuracy:.4f}")
    if accuracy < 0.9:
        raise SystemExit("the classifier is below 90 %: its verdicts would not mean much")


if __name__ == "__main__":
    main()
