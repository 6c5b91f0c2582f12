"""Sampling with Models/fashion-dit, a network so small that what surrounds the kernels shows: this library and torch eager.

Both sample the same labels from the same noise with DDIM without guidance, taking turns; seconds per step are those of the
whole run over its steps. Then one run of the raw network each.

    python Benchmarks/small_models.py --batches 1 16 --json out/small.json
"""

import json
import statistics

import numpy as np
import torch

import common
import contenders

FOLDER = common.ROOT / "Models" / "fashion-dit"


def contest(model, network, config, batch, args):
    """Sampling runs and forwards of both for one batch size, and how far the outputs lie apart."""
    from dit_diffusion import ddim_sample, linear_schedule

    labels = (np.arange(batch) % network.null_class).astype(np.int64)
    noise = np.random.default_rng(args.seed).standard_normal((batch, *model.input_shape), dtype=np.float32)
    schedule = linear_schedule(config["diffusion"])
    session = model.session(threads=args.threads)
    inputs = contenders.Inputs(config["model"], batch, args.seed)

    def ours():
        return session.sample(labels=labels, steps=args.steps, guidance=1, noise=noise, decode=False).latents

    def eager():
        return ddim_sample(network, schedule, torch.from_numpy(labels), args.steps, 1, torch.from_numpy(noise)).numpy()

    runs = {("DiffAccel", "step"): ours, ("torch eager", "step"): eager,
            ("DiffAccel", "forward"): contenders.ours(model, inputs, args.threads),
            ("torch eager", "forward"): contenders.torch_eager(network, inputs, args.threads)}
    difference = contenders.largest_difference(ours(), eager())
    found = common.alternate(runs, args.repeat, settle=0.02)
    figures = {}
    for what, count in (("step", args.steps), ("forward", 1)):
        a, b = (found[name, what].seconds for name in ("DiffAccel", "torch eager"))
        figures[what] = {"ours": [value / count for value in a], "torch": [value / count for value in b],
                         "ratio": common.paired_ratio(b, a)}
    return {"batch": batch, "difference": difference, **figures}


def main():
    parser = common.arguments(__doc__.splitlines()[0], size=None, repeat=20)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    import diffaccel
    from checkpoints import read_model

    torch.set_num_threads(args.threads)
    facts = common.machine(torch, np)
    config = json.loads((FOLDER / "config.json").read_text())
    network, _ = read_model(FOLDER)
    model = diffaccel.Model(FOLDER)
    found = [contest(model, network.requires_grad_(False), config, batch, args) for batch in args.batches]
    rows = []
    for figures in found:
        for what in ("step", "forward"):
            ours, eager = (1e3 * statistics.median(figures[what][name]) for name in ("ours", "torch"))
            rows.append([figures["batch"], "sampling step" if what == "step" else "forward alone", f"{ours:.2f} ms",
                         f"{eager:.2f} ms", f"**{figures[what]['ratio']:.2f}**",
                         f"{figures['difference']:.1e}" if what == "step" else ""])
    text = (f"{args.steps} DDIM steps without guidance, {args.threads} threads, {args.repeat} alternating runs; the last column "
            "is the largest relative difference of the samples.\n\n")
    text += common.table(["batch", "", "DiffAccel", "torch eager", "torch / DiffAccel", "difference"], rows)
    common.finish("A small model: fashion-dit", facts, text, found, args.json)


if __name__ == "__main__":
    main()
