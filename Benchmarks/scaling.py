"""From one thread to two, measured; to 8 and 64 cores, predicted by the model of scaling.md.

Forwards with one and with two threads take turns, each with the multiply-add loop beside it. The model gets the forward on
one core, the loop's and the memory's rates and the cost of a parallel call; its figure for two threads is compared with the
measured one.

    python Benchmarks/scaling.py --repeat 7 --predict 8 64 --json out/scaling.json
"""

import dataclasses
import statistics

import numpy as np
import torch

import common
import contenders
import cost_model
import native
import random_dit


def network_of(model, replay, args, predicted):
    counts = {p: replay.tasks(p) for p in {1, args.threads, *predicted}}
    layers = [(2.0 * rows * weight.size, weight.nbytes, streamed, {p: counts[p][index] for p in counts})
              for index, (rows, weight, streamed) in enumerate(replay.layers)]
    blocks = random_dit.SIZES[args.size][0]
    return cost_model.Network(model.description["flops"] * args.batch, layers, blocks, args.serial_us * 1e-6 * blocks)


def machine_of(rooflines, rates, core, replay, args):
    """What one core and all of the used ones do; the memory's rate is that of an array far larger than the caches."""
    data = np.ones(1 << 27, dtype=np.float32)
    read = {p: statistics.median(roofline.read(data) for _ in range(args.repeat)) for p, roofline in rooflines.items()}
    barrier = min(replay.barrier() for _ in range(args.repeat))  # the cost, not the neighbours
    limit = args.memory_gbs * 1e9 if args.memory_gbs else max(read.values())
    return cost_model.Machine(fma=core, read=read[1], read_limit=limit, barrier=barrier / max(1, args.threads - 1),
                              fma_of=rates, read_of=read)


def prediction(network, machine, efficiency, p):
    parts = cost_model.parts(network, machine, efficiency, p)
    return {"threads": p, "parts": parts, "seconds": sum(parts.values())}


def report(found, machine, efficiency, p, measured):
    """`found`: predictions for otherwise idle cores. Where there is a measurement, the model's figure at the rates that the
    loop had meanwhile stands beside it."""
    keys = list(found[0]["parts"])
    one = found[0]["seconds"]
    rows = []
    for figures in found:
        here = figures.get("as_measured")
        rows.append([figures["threads"], *(f"{1e3 * figures['parts'][key]:.1f}" for key in keys),
                     f"**{figures['seconds']:.3f} s**", f"{one / figures['seconds']:.2f}",
                     f"{here:.3f} s" if here else "", f"{measured[figures['threads']]:.3f} s" if here else ""])
    text = (f"Multiply-add loop: {machine.fma / 1e9:.1f} GFLOP/s of a core by processor time; by the clock "
            f"{machine.fma_of[1] / 1e9:.1f} with one thread, {machine.fma_of[p] / 1e9:.1f} with {p}. Memory read: "
            f"{machine.read / 1e9:.1f} and {machine.read_of[p] / 1e9:.1f} GB/s. A parallel call: {1e6 * machine.barrier:.2f} µs "
            f"per further thread. Kernels' efficiency on one core, by processor time: {100 * efficiency:.0f} % (fitted).\n\n")
    return text + common.table(["threads", *(f"{key} (ms)" for key in keys), "model, free cores",
                                "speed-up", "model, loop's rates", "measured"], rows)


def main():
    parser = common.arguments(__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--predict", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--memory-gbs", type=float, default=0, help="GB/s of all memory channels, for the predictions")
    parser.add_argument("--serial-us", type=float, default=20, help="work of the calling thread alone per block (overhead.py)")
    args = parser.parse_args()

    import diffaccel

    facts = common.machine(np, torch)
    network = random_dit.torch_network(args.size, seed=args.seed)
    replay = native.Replay(random_dit.linear_layers(network, args.batch), args.threads)
    model = diffaccel.Model(random_dit.checkpoint(args.size, seed=args.seed))
    inputs = contenders.Inputs(random_dit.configuration(args.size), args.batch, args.seed)
    rooflines = {p: native.Roofline(p) for p in (1, args.threads)}

    def beside():
        return {p: roofline.fma() for p, roofline in rooflines.items()}

    runs = {p: contenders.ours(model, inputs, p) for p in rooflines}
    found = common.alternate(runs, args.repeat, beside)
    measured = {p: found[p].median for p in runs}
    samples = [sample for one in found.values() for pair in one.around for sample in pair]
    rates = {p: statistics.median(sample[p][0] for sample in samples) for p in rooflines}
    core = statistics.median(sample[1][1] for sample in samples)
    machine = machine_of(rooflines, rates, core, replay, args)
    shape = network_of(model, replay, args, args.predict)
    # By processor time, which neighbours change least: a property of the kernels, not of the hour.
    undisturbed = dataclasses.replace(machine, fma_of={})
    efficiency = cost_model.efficiency_of(shape, undisturbed, statistics.median(found[1].processor))
    predicted = [prediction(shape, undisturbed, efficiency, p) for p in sorted({1, args.threads, *args.predict})]
    for figures in predicted:
        if figures["threads"] in measured:
            figures["as_measured"] = cost_model.seconds(shape, machine, efficiency, figures["threads"])
    speedup = common.paired_ratio(found[1].seconds, found[args.threads].seconds)
    text = report(predicted, machine, efficiency, args.threads, measured)
    text += (f"\n\nMeasured speed-up with {args.threads} threads: **{speedup:.2f}** (median of {args.repeat} rounds); the "
             f"loop's own: {rates[args.threads] / rates[1]:.2f}.")
    common.finish(f"Threads, DiT-{args.size}/2, batch {args.batch}", facts, text,
                  {"measured": {p: one.seconds for p, one in found.items()},
                   "processor": {p: one.processor for p, one in found.items()}, "speedup": speedup, "rates": rates,
                   "read": machine.read_of, "barrier": machine.barrier, "efficiency": efficiency, "model": predicted}, args.json)


if __name__ == "__main__":
    main()
