"""Judge Fashion-MNIST samples: share recognised as the class asked for, and Fréchet distance.

Two sources.  `--model FOLDER` samples the checkpoint with the plain PyTorch sampler (a DiT with DDIM, eta 0; a
U-ViT with DPM-Solver++(2S), two evaluations a step) at one or more guidance scales, which are those of
classifier-free guidance: 1 is none.  `--images FILE` judges pictures made elsewhere: an .npz with "images" and
"labels", or an .npy of images with `--labels FILE.npy` (without labels: equally many of each class, in
class order).  Images are bytes 0..255 or floats in [-1,1], [N,28,28] or [N,1,28,28].

The Fréchet distance compares the classifier's 128 penultimate features with those of the 10,000 test
pictures.  It is a number for comparing samplers on this data set, not an ImageNet FID.  The figures for
as many real training pictures are printed as the floor that a perfect generator would reach.
"""

import argparse
import json
import time

import numpy as np
import torch

from checkpoints import read_model, write_json
from dit_diffusion import ddim_sample, linear_schedule
from fashion_classifier import DEFAULT_CACHE, describe, load_or_train, test_accuracy
from fashion_data import DEFAULT_DATA, LABELS, load_split, to_bytes, to_unit_range
from picture import grid, write_png
from uvit_model import solver_sample


def frechet_distance(a, b):
    """Distance between the Gaussians fitted to two feature sets [N,F], in float64."""
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross)


class Judge:
    def __init__(self, options):
        self.classifier = load_or_train(options.data, options.classifier, seed=1)
        test_images, _ = load_split("test", options.data)
        _, self.reference = describe(self.classifier, to_unit_range(test_images))
        self.accuracy = test_accuracy(self.classifier, options.data)

    def verdict(self, images, labels):
        """Figures for float images in [-1,1]; they are rounded to bytes first, as any saved picture is."""
        predicted, features = describe(self.classifier, to_unit_range(to_bytes(images).squeeze(1)))
        hit = predicted == labels
        return {
            "samples": len(labels),
            "accuracy": round(float(hit.float().mean()), 4),
            "frechet": round(frechet_distance(features, self.reference), 3),
            "per_class": {LABELS[c]: round(float(hit[labels == c].float().mean()), 3)
                          for c in sorted(set(labels.tolist()))},
        }


def balanced_labels(count):
    return torch.arange(count) * len(LABELS) // count


def read_images(path, labels_path):
    """Return (float [N,1,28,28] in [-1,1], labels) from an .npz or .npy file."""
    loaded = np.load(path)
    archive = isinstance(loaded, np.lib.npyio.NpzFile)
    images = np.asarray(loaded["images"] if archive else loaded).reshape(-1, 1, 28, 28)
    if labels_path:
        labels = torch.from_numpy(np.load(labels_path).astype(np.int64))
    elif archive and "labels" in loaded:
        labels = torch.from_numpy(loaded["labels"].astype(np.int64))
    else:
        labels = balanced_labels(len(images))
    if images.dtype == np.uint8:
        return torch.from_numpy(images).float() / 127.5 - 1, labels
    return torch.from_numpy(images.astype(np.float32)), labels


def sample(model, config, labels, scale, options):
    """All samples at one scale.  The same seed gives every scale the same starting noise."""
    g = torch.Generator().manual_seed(options.seed)
    noise = torch.randn(len(labels), 1, 28, 28, generator=g)
    def draw(y, z):
        if config["family"] == "uvit":
            return solver_sample(model, y, 2 * options.steps, scale, z)
        return ddim_sample(model, linear_schedule(config["diffusion"]), y, options.steps, scale, z)

    return torch.cat([draw(y, z) for y, z in zip(labels.split(options.batch), noise.split(options.batch))])


def own_scale(config):
    """The model's own guidance scale: a U-ViT's config has the official s of c + s (c - u)."""
    return config["cfg_scale"] + (1 if config["family"] == "uvit" else 0)


def show(name, result):
    print(f"{name}: recognised {100 * result['accuracy']:.1f} %, Fréchet distance {result['frechet']:.2f} "
          f"({result['samples']} samples)", flush=True)


def contact_sheet(images, labels, path, per_class):
    """A picture with one row per class."""
    rows = [images[labels == c][:per_class] for c in range(len(LABELS))]
    write_png(path, grid(to_bytes(torch.cat(rows)).squeeze(1), per_class, zoom=2))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="Models/fashion-dit", help="model folder to sample")
    p.add_argument("--images", help="judge this .npy or .npz instead of sampling a model")
    p.add_argument("--labels", help=".npy of the classes asked for, when --images is an .npy")
    p.add_argument("--data", default=DEFAULT_DATA, help="folder with the IDX files")
    p.add_argument("--classifier", default=DEFAULT_CACHE, help="cached classifier (trained if absent)")
    p.add_argument("--scale", type=float, nargs="*", help="guidance scales; default: the model's own")
    p.add_argument("--steps", type=int, default=50)
    p.add_argument("--samples", type=int, default=1000)
    p.add_argument("--batch", type=int, default=50)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--out", help="write the figures to this JSON file")
    p.add_argument("--png", help="write a contact sheet of the last set here")
    p.add_argument("--npz", help="save the last set of samples here")
    options = p.parse_args()
    torch.set_num_threads(options.threads)

    judge = Judge(options)
    train_images, train_labels = load_split("train", options.data)
    real = judge.verdict(to_unit_range(train_images[:options.samples]), train_labels[:options.samples])
    print(f"classifier: {100 * judge.accuracy:.2f} % on the test set")
    show("real training pictures", real)
    results = {"classifier_test_accuracy": judge.accuracy, "real": real, "sets": {}}

    if options.images:
        images, labels = read_images(options.images, options.labels)
        results["sets"]["file"] = judge.verdict(images, labels)
        show("file", results["sets"]["file"])
    else:
        model, config = read_model(options.model)
        labels = balanced_labels(options.samples)
        for scale in options.scale or [own_scale(config)]:
            start = time.monotonic()
            images = sample(model, config, labels, scale, options)
            result = judge.verdict(images, labels)
            result["seconds"] = round(time.monotonic() - start, 1)
            results["sets"][f"scale {scale:g}"] = result
            show(f"scale {scale:g}, {options.steps} steps", result)
    print(json.dumps(results["sets"], indent=1))
    if options.out:
        write_json(options.out, results)
    if options.png:
        contact_sheet(images, labels, options.png, min(12, len(labels) // len(LABELS)))
    if options.npz:
        np.savez_compressed(options.npz, images=to_bytes(images).numpy(), labels=labels.numpy())


if __name__ == "__main__":
    main()
