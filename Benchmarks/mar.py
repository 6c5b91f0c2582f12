"""A whole generation of a MAR beside torch eager: the published code's operations on the same random weights, tokens and noise.

    python Benchmarks/mar.py --size B --iterations 64 256 --repeat 2 --json out/mar.json

Both generate the same latents from the same seed, and how far they are apart is printed. Neither decodes. The weights are random: the figures
say nothing about pictures.
"""

import time

import numpy as np
import torch

import common
import random_mar


def once(contenders, every):
    """One run of each; torch's seconds times `every`."""
    found = {}
    for name, run in contenders.items():
        start = time.perf_counter()
        run()
        found[name] = common.Runs([(time.perf_counter() - start) * (every if name == "torch eager" else 1)])
    return found


def main():
    parser = common.arguments(__doc__.split("\n")[0], size="B", repeat=2)
    parser.add_argument("--iterations", type=int, nargs="+", default=[64])
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--guidance", type=float, default=2.9)
    parser.add_argument("--head-steps", type=int, default=100)
    parser.add_argument("--dtype", default="f32", choices=["f32", "f16", "bf16"], help="of the library's weights; torch computes in f32")
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument("--torch-every", type=int, default=1,
                        help="torch makes only every so many-th iteration, and its time counts as often; both run once, without a trial")
    given = parser.parse_args()
    import diffaccel

    torch.set_num_threads(given.threads)
    facts = common.machine(np, torch)
    folder = random_mar.checkpoint(given.size, given.seed, given.dtype)
    model = diffaccel.Model(folder)
    session = model.session(threads=given.threads)
    network = None if given.without_torch else random_mar.torch_network(folder, given.size)
    labels = [index * 7 % 1000 for index in range(given.samples)]
    rows, figures = [], {}
    for count in given.iterations:
        kept = {}

        def library():
            result = session.sample(labels=labels, steps=count, guidance=given.guidance, head_steps=given.head_steps,
                                    temperature=1.0, seed=given.seed, decode=False)
            kept["library"], kept["stats"] = np.array(result.latents), result.stats

        def published():
            kept["torch"] = network.sample(labels, count, given.guidance, 1.0, given.head_steps, given.seed).numpy()

        if given.torch_every > 1:
            published = lambda: network.sample(labels, count, given.guidance, 1.0, given.head_steps, given.seed, given.torch_every)  # noqa: E731
        contenders = {"library": library} | ({} if network is None else {"torch eager": published})
        found = once(contenders, given.torch_every) if given.torch_every > 1 else common.alternate(contenders, given.repeat)
        own = found["library"]
        peak = kept["stats"]["memory"]["peak"]
        row = [str(count), f"{own.median:.1f} s", common.spread(own.seconds)]
        figures[str(count)] = {"library": own.seconds, "peak": peak}
        if network is not None:
            apart = np.abs(kept["library"] - kept["torch"]).max() / np.abs(kept["torch"]).max() if "torch" in kept else np.nan
            other = found["torch eager"]
            figures[str(count)] |= {"torch": other.seconds, "apart": None if np.isnan(apart) else float(apart)}
            row += [f"{other.median:.1f} s", f"{common.paired_ratio(other.seconds, own.seconds):.2f}", "-" if np.isnan(apart) else f"{apart:.0e}"]
        rows.append([*row, f"{peak / 2**20:.0f} MiB"])
    header = ["iterations", "library", "runs", *([] if network is None else ["torch eager", "ratio", "apart"]), "peak beside weights"]
    title = (f"MAR-{given.size}, {given.samples} pictures, guidance {given.guidance}, {given.head_steps} steps of the head, {given.dtype} "
             f"weights, {given.threads} threads")
    common.finish(title, facts, common.table(header, rows), figures, given.json)


if __name__ == "__main__":
    main()
