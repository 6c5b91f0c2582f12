"""Models/fashion-var: drafter, refiner and CoDe at every split, training-free and specialised: quality and time.

    python Benchmarks/fashion_code.py --json out/fashion_code.json --picture Models/fashion-var/splits.png

1,000 pictures of each contender from the same seeds, judged as everywhere (fashion_quality.py). Times are of whole runs with the
VQ-VAE's decoder, contenders taking turns. The picture has the same labels and the same seed in every row. Verdicts are kept in
.cache/fashion/code.json, so that an interrupted run goes on; delete it after training anew.
"""

import contextlib

import matplotlib
import numpy as np
import torch

import common
import diffaccel
from fashion_data import LABELS, load_split
from fashion_quality import CLASSES, Gallery, arguments, turns
from train_vqvae import pictures

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 - after the choice of the backend

FOLDER = common.ROOT / "Models" / "fashion-var"


def grey(images):
    """Pictures [n,32,32,3] as the data set's [n,28,28]."""
    return np.rint(images[:, 2:30, 2:30].astype(np.float32).mean(-1)).astype(np.uint8)


def contenders():
    """{name: (model, plan, partner)}"""
    vae = FOLDER / "vae"
    drafter, refiner = diffaccel.Model(FOLDER), diffaccel.Model(FOLDER / "refiner", decoder=vae)
    found = {"drafter alone": (drafter, None, None), "refiner alone": (refiner, None, None)}
    for split in range(len(drafter.description["config"]["patch_nums"]) - 1, 0, -1):
        found[f"N = {split}"] = (drafter, diffaccel.Plan(code={"draft_scales": split}), refiner)
    for folder in sorted(FOLDER.glob("specialised-*")):
        split = int(folder.name.rsplit("-", 1)[1])
        drafts = diffaccel.Model(folder / "drafter", decoder=vae)
        found[f"N = {split}, specialised"] = (
            drafts, diffaccel.Plan(code={"draft_scales": split}), diffaccel.Model(folder / "refiner"))
    return found


def reconstructed(options):
    """A way to draw that gives test pictures through the VQ-VAE and back: what no sampler can beat."""
    vae = diffaccel.Model(FOLDER / "vae")
    images, labels = load_split("test", options.data)
    rows = [np.flatnonzero(labels.numpy() == label) for label in range(CLASSES)]

    def draw(_session, asked, seed):
        first = seed // 10
        chosen = np.concatenate([rows[label][first : first + 10] for label in range(CLASSES)])
        tokens = vae.forward(image=pictures(images[torch.from_numpy(chosen)]).contiguous().numpy())
        image = vae.forward(tokens=tokens.astype(np.int64))
        return grey(np.clip(np.rint((np.moveaxis(image, 1, -1) + 1) * 127.5), 0, 255).astype(np.uint8))

    return draw


def draw_picture(path, opened, times, seed):
    """One row for each contender: a sample of every class, the same seed in all."""
    figure, axes = plt.subplots(len(opened), CLASSES, figsize=(CLASSES * 0.62 + 2.2, len(opened) * 0.64), squeeze=False)
    for row, (name, session) in enumerate(opened.items()):
        images = grey(session.sample(labels=list(range(CLASSES)), seed=seed).images)
        for column, axis in enumerate(axes[row]):
            axis.imshow(images[column], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_xticks([]), axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set_visible(False)
            if row == 0:
                axis.set_title(LABELS[column], fontsize=6)
        axes[row][0].set_ylabel(f"{name}\n{1000 * times[name]['seconds'] / 50:.1f} ms a picture", rotation=0, ha="right", va="center",
                                fontsize=7)
    figure.subplots_adjust(left=0.2, right=0.995, top=0.95, bottom=0.005, wspace=0.05, hspace=0.06)
    figure.savefig(path, dpi=130)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--json", type=common.pathlib.Path)
    parser.add_argument("--picture", type=common.pathlib.Path)
    options = parser.parse_args()
    facts = common.machine(np, torch)
    torch.set_num_threads(options.threads)
    gallery, opened = Gallery(options, "code"), {}
    vae_name = "test pictures through the VQ-VAE"
    gallery.judged(vae_name, contextlib.nullcontext, reconstructed(options))
    operations = {}
    for name, (model, plan, partner) in contenders().items():
        opened[name] = model.session(plan=plan, threads=options.threads, partner=partner)
        gallery.judged(name, lambda session=opened[name]: contextlib.nullcontext(session),
                       lambda session, labels, seed: grey(session.sample(labels=labels, seed=seed).images))
        operations[name] = opened[name].estimate(labels=[0], decode=False)["flops"]["total"]
    labels = np.repeat(np.arange(CLASSES), 5)
    times = turns({name: lambda seed, session=session: session.sample(labels=labels, seed=seed)
                   for name, session in opened.items()}, options.rounds)
    bare = turns({name: lambda seed, session=session: session.sample(labels=labels, seed=seed, decode=False)
                  for name, session in opened.items()}, options.rounds)
    single = turns({name: lambda seed, session=session: session.sample(labels=[seed % CLASSES], seed=seed)
                    for name, session in opened.items()}, 4 * options.rounds)
    rows = []
    for name in opened:
        verdict = gallery.verdicts[name]
        rows.append([name, f"{100 * verdict['recognised']:.1f} %", f"{verdict['frechet']:.2f}",
                     f"{1000 * times[name]['seconds'] / len(labels):.2f} ms", f"{times[name]['speedup']:.2f}x",
                     f"{bare[name]['speedup']:.2f}x", f"{operations['drafter alone'] / operations[name]:.2f}x",
                     f"{1000 * single[name]['seconds']:.1f} ms"])
    rows.append([vae_name, f"{100 * gallery.verdicts[vae_name]['recognised']:.1f} %", f"{gallery.verdicts[vae_name]['frechet']:.2f}",
                 *[""] * 5])
    header = ["", "recognised", "Fréchet distance", "a picture of 50", "speed-up", "without decoder", "of operations", "one picture alone"]
    figures = {"verdicts": gallery.verdicts, "batch": times, "undecoded": bare, "single": single, "operations": operations}
    if options.picture:
        draw_picture(options.picture, opened, times, seed=7)
    common.finish(f"fashion-var: {options.pictures} pictures each, {options.threads} threads", facts, common.table(header, rows),
                  figures, options.json)


if __name__ == "__main__":
    main()
