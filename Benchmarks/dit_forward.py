"""One forward of DiT at a published size: this library, torch eager and OpenVINO, beside what the machine could do.

All contenders run the same random weights on the same input with the same number of threads and take turns in one process.
Two more runs say where a forward's time goes: the network's linear layers alone on the library's kernels, and on OpenBLAS.
Before and after every run a loop of multiply-adds measures the cores, which on a shared machine differ from one second to the
next: "of the loop's rate" compares a run with the two loops around it. The same by processor time instead of the clock says what
the code does while it runs, also when the machine is busy; waiting in loops counts as running.

    python Benchmarks/dit_forward.py --size XL --repeat 7 --threads 2 --json out/dit_forward.json

With `--precision bf16` this library and torch compute in bf16 and OpenVINO as it does by default, beside this library in f32; the loop is of
bf16 too. Differences are from torch in f32.
"""

import statistics

import numpy as np
import torch

import common
import contenders
import native
import random_dit

OURS, TORCH, OPENVINO, PLAIN = "DiffAccel", "torch eager", "OpenVINO", "DiffAccel, f32"
REPLAY, OPENBLAS = "linear layers alone, our kernels", "linear layers alone, OpenBLAS"


def narrowed(network, precision):
    """The torch network in this precision, its features of times in f32 as ever."""
    kind = random_dit.DTYPES[precision]
    network.t_embedder.mlp.register_forward_pre_hook(lambda _module, given: (given[0].to(kind),))
    return network.to(kind)


def build(args, inputs, names):
    """The contenders in `names`, the FLOPs of each, and what must stay alive while they run."""
    import diffaccel

    network = random_dit.torch_network(args.size, latent=args.latent, patch=args.patch, seed=args.seed)
    checkpoint = random_dit.checkpoint(args.size, "diffusers", "f32", args.latent, args.patch, args.seed)
    model = diffaccel.Model(checkpoint, precision=args.precision)
    wanted = contenders.torch_eager(network, inputs, args.threads)()
    replay = native.Replay(random_dit.linear_layers(network, args.batch), args.threads)
    flops = model.description["flops"] * args.batch
    runs = {
        OURS: lambda: contenders.ours(model, inputs, args.threads),
        PLAIN: lambda: contenders.ours(diffaccel.Model(checkpoint), inputs, args.threads),
        OPENVINO: lambda: contenders.openvino(network, inputs, args.threads, args.precision),
        # Last of those that need the network in f32.
        TORCH: lambda: contenders.torch_eager(narrowed(network, args.precision), inputs, args.threads),
        REPLAY: lambda: replay.run,
        OPENBLAS: lambda: replay.run_openblas,
    }
    works = {name: replay.flops if name in (REPLAY, OPENBLAS) else flops for name in runs}
    made = {name: runs[name]() for name in runs if name in names}
    return {name: made[name] for name in names}, works, wanted, (network, model, replay)


def differences(runs, wanted):
    """Of the outputs, from torch's in f32."""
    return {name: contenders.largest_difference(runs[name](), wanted) for name in (OURS, PLAIN, OPENVINO, TORCH) if name in runs}


def figures_of(runs, flops):
    peaks, cores = ([(before[i] + after[i]) / 2 for before, after in runs.around] for i in (0, 1))
    return {"seconds": runs.seconds, "median": runs.median, "gflops": flops / runs.median / 1e9,
            "processor_seconds": runs.processor, "fma_gflops": [peak / 1e9 for peak in peaks],
            "core_gflops": [core / 1e9 for core in cores],
            "share_of_peak": statistics.median(flops / value / peak for value, peak in zip(runs.seconds, peaks)),
            "share_of_core": statistics.median(flops / value / core for value, core in zip(runs.processor, cores))}


def report(figures, apart, ratios, args, gflop, loop):
    rows = []
    for name, found in figures.items():
        rows.append([name, f"{found['median']:.3f} s", common.spread(found["seconds"]),
                     f"{statistics.median(found['processor_seconds']):.2f} s", f"{found['gflops']:.1f}",
                     f"{100 * found['share_of_peak']:.0f} %",
                     f"{100 * found['share_of_core']:.0f} %", f"{apart[name]:.1e}" if name in apart else ""])
    peaks = [value for found in figures.values() for value in found["fma_gflops"]]
    rows.append([f"multiply-add loop ({loop})", "", "", "", f"{statistics.median(peaks):.1f}", "", "", ""])
    text = (f"Batch {args.batch}, latent {args.latent} × {args.latent}, {args.threads} threads, {args.precision}, {gflop:.1f} GFLOP, "
            f"{args.repeat} alternating runs each. The loop ran at {common.spread(peaks)} GFLOP/s.\n\n")
    text += common.table(["", "median", "runs (s)", "processor time", "GFLOP/s", "of the loop's rate",
                             "by processor time", "difference from torch in f32"], rows)
    lines = [f"- {name} = **{value:.2f}** (median of the rounds)" for name, value in ratios.items()]
    return text + "\n\n" + "\n".join(lines)


def main():
    parser = common.arguments(__doc__.splitlines()[0])
    parser.add_argument("--latent", type=int, default=32)
    parser.add_argument("--patch", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    known = {"ours": OURS, "torch": TORCH, "openvino": OPENVINO, "plain": PLAIN, "replay": REPLAY, "openblas": OPENBLAS}
    parser.add_argument("--only", nargs="+", choices=list(known), help="default: those that there are in this precision")
    args = parser.parse_args()
    usual = ["ours", "torch", "openvino", *(["replay", "openblas"] if args.precision == "f32" else ["plain"])]
    names = [known[name] for name in args.only or usual]

    import openvino

    facts = common.machine(torch, np, openvino)
    config = random_dit.configuration(args.size, args.latent, args.patch)
    runs, works, wanted, _alive = build(args, contenders.Inputs(config, args.batch, args.seed), names)
    apart = differences(runs, wanted)
    roofline = native.Roofline(args.threads, precision=args.precision)
    found = common.alternate(runs, args.repeat, beside=roofline.fma)
    figures = {name: figures_of(found[name], works[name]) for name in names}
    ratios = {f"{name} / {OURS}": common.paired_ratio(found[name].seconds, found[OURS].seconds)
              for name in names if name != OURS and OURS in names}
    title = f"One forward of DiT-{args.size}/{args.patch}, {args.threads} threads, {args.precision}"
    text = report(figures, apart, ratios, args, works[OURS] / 1e9, roofline.name)
    common.finish(title, facts, text, {"runs": figures, "differences": apart, "ratios": ratios,
                                       "settings": getattr(runs.get(OPENVINO), "settings", {})}, args.json)


if __name__ == "__main__":
    main()
