"""A specialised pair for Models/fashion-var, learned by this library: a drafter of the first scales, a refiner of the others.

    python Benchmarks/fashion_specialise.py --draft-scales 4 --steps 600 --seed 1

Codes of the training pictures are made once, by the library's VQ-VAE, and kept in .cache/fashion. Each network starts from the trained
one of the pair; the refiner's teacher is the drafter as it was. The folders specialised-N/drafter and specialised-N/refiner are
ordinary checkpoints. An interrupted run goes on where it stopped.
"""

import time

import numpy as np
import torch

import common  # noqa: F401 - says where the package is
import diffaccel
from fashion_code import FOLDER
from fashion_data import load_split
from fashion_quality import arguments
from train_vqvae import pictures


def codes(options):
    """Files of tokens [60000, 130] and labels."""
    paths = options.out / "codes.npy", options.out / "labels.npy"
    if not all(path.exists() for path in paths):
        options.out.mkdir(parents=True, exist_ok=True)
        images, labels = load_split("train", options.data)
        vae = diffaccel.Model(FOLDER / "vae")
        parts = [vae.forward(image=pictures(part).contiguous().numpy(), threads=options.threads) for part in images.split(250)]
        np.save(paths[0], np.concatenate(parts).astype(np.int16))
        np.save(paths[1], labels.numpy())
    return paths


def learned(options, role, source, **settings):
    """Trains for the options' steps or minutes and exports; goes on from a state that is there."""
    folder = FOLDER / f"specialised-{options.draft_scales}" / role
    state = options.out / f"specialised-{options.draft_scales}-{role}.safetensors"
    trainer = diffaccel.learn.trainer(
        source, "specialise", codes(options), role=role, draft_scales=options.draft_scales, steps=options.steps, batch=options.batch,
        learning_rate=[options.lr, options.lr / 20], average_decay=0.998, seed=options.seed, threads=options.threads,
        state=state, resume=True, dtype="f16", **settings)
    before, began = trainer.evaluate(8), time.monotonic()
    events = []
    trainer.run(callback=events.append, progress=True, log=options.out / f"specialised-{options.draft_scales}-{role}.jsonl")
    minutes = (time.monotonic() - began) / 60
    folder.parent.mkdir(parents=True, exist_ok=True)
    trainer.export(folder)
    print(f"{role}: {len(events)} steps in {minutes:.1f} min, before {before}, after {trainer.evaluate(8)}", flush=True)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--draft-scales", type=int, default=4)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-4)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    learned(options, "drafter", FOLDER)
    learned(options, "refiner", FOLDER / "refiner", teacher=str(FOLDER))


if __name__ == "__main__":
    main()
