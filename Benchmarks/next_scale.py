"""What CoDe saves by the clock against the ratio of operations, and a plain VAR beside torch eager.

    python Benchmarks/next_scale.py --drafter 16 --refiner 8 --splits 9 8 7 6 --samples 1 --json out/next_scale.json

The plain model, every split, and torch's transformer alone (scale by scale with a cache, no drawing, no decoding) take turns. The
sessions do not decode. The weights are random: the figures say nothing about pictures.
"""

import numpy as np
import torch

import common
import random_var


def sampling(session, samples):
    """A contender: one request with guidance, without decoding; and where its statistics are kept."""
    kept = {}

    def run():
        result = session.sample(labels=[index * 7 % 1000 for index in range(samples)], seed=1, decode=False)
        kept["stats"], kept["tokens"] = result.stats, np.array(result.tokens)

    return run, kept


def main():
    parser = common.arguments(__doc__.split("\n")[0], size=None)
    parser.add_argument("--drafter", type=int, default=16, help="depth")
    parser.add_argument("--refiner", type=int, default=8, help="depth")
    parser.add_argument("--splits", type=int, nargs="+", default=[9, 8, 7, 6], help="scales that are drafted")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--dtype", default="f32", choices=["f32", "f16", "bf16"], help="of the library's weights; torch's are f32")
    parser.add_argument("--without-torch", action="store_true")
    given = parser.parse_args()
    import diffaccel

    facts = common.machine(np, torch)
    torch.set_num_threads(given.threads)
    drafter = diffaccel.Model(random_var.checkpoint(given.drafter, dtype=given.dtype))
    refiner = diffaccel.Model(random_var.checkpoint(given.refiner, seed=1, codes=False, dtype=given.dtype))
    request = dict(labels=[index * 7 % 1000 for index in range(given.samples)], decode=False)
    plain = drafter.session(threads=given.threads)
    contenders, kept = {}, {}
    estimates = {"plain": plain.estimate(**request)}
    contenders["plain"], kept["plain"] = sampling(plain, given.samples)
    for split in given.splits:
        session = drafter.session(diffaccel.Plan(code={"draft_scales": split}), threads=given.threads, partner=refiner)
        name = f"CoDe N = {split}"
        estimates[name] = session.estimate(**request)
        contenders[name], kept[name] = sampling(session, given.samples)
    if not given.without_torch:
        network = random_var.TorchVAR(given.drafter)
        maps = [torch.randn(given.samples, side * side, random_var.CHANNELS) for side in random_var.SIDES[1:]]
        labels = request["labels"]
        contenders["torch eager"] = lambda: [logits.sum() for logits in network.forward(maps, labels)]
    found = common.alternate(contenders, given.repeat)
    rows, figures = [], {}
    for name, runs in found.items():
        row = [name, f"{runs.median:.3f} s", common.spread(runs.seconds)]
        figures[name] = {"seconds": runs.seconds}
        ratio = common.paired_ratio(found["plain"].seconds, runs.seconds)
        if name in estimates:
            ideal = estimates["plain"]["flops"]["total"] / estimates[name]["flops"]["total"]
            memory = kept[name]["stats"]["memory"]["peak"] / 2**20
            row += [f"{ratio:.2f}", f"{ideal:.2f}", f"{100 * ratio / ideal:.0f} %", f"{memory:.0f} MiB"]
            figures[name] |= {"ratio": ratio, "ideal": ideal, "peak": kept[name]["stats"]["memory"]["peak"]}
        else:
            row += [f"{ratio:.2f}", "", "", ""]
        rows.append(row)
    header = ["", "median", "runs", "speed-up", "of operations", "of it reached", "peak beside weights"]
    title = (f"VAR-d{given.drafter} and d{given.refiner}, {given.samples} pictures with guidance, {given.dtype} weights, "
             f"{given.threads} threads")
    common.finish(title, facts, common.table(header, rows), figures, given.json)


if __name__ == "__main__":
    main()
