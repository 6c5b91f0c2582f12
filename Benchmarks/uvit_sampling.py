"""What Learning-to-Cache saves on U-ViT-H/2: DPM-Solver++(2S) with the released routers, and with the rule that the first evaluation of a
step reuses everything (it only places the midpoint), beside the plain model.

All sessions over one model take turns after every network call, so that a slow minute of the machine strikes all. The speed-up by the
clock is compared with the ideal one, the ratio of the operations.

    python Benchmarks/uvit_sampling.py --routers FOLDER --evaluations 20 50 --json out/uvit.json

FOLDER holds uvit_h2_256_dpm20_router.json and uvit_h2_256_dpm50_router.json. The figures say nothing about pictures: the weights are
random.
"""

import pathlib
import statistics

import numpy as np
import torch

import common
import random_uvit
from l2c_sampling import router, together, total

ROUTER = "uvit_h2_256_dpm{evaluations}_router.json"


def measure(model, evaluations, args):
    import diffaccel

    depth = random_uvit.SIZES["H"][0] + 1
    plans = {"plain": None, "l2c": diffaccel.Plan(l2c=router(args.routers / ROUTER.format(evaluations=evaluations), depth)),
             "alternate": "alternate"}
    request = {"steps": evaluations // 2, "labels": list(range(args.samples)), "guidance": args.guidance, "seed": args.seed}
    sessions = [model.session(plan, threads=args.threads) for plan in plans.values()]
    for session in sessions:  # threads, pages of the weights
        together([session], request, stop_after=1)
    rounds = [dict(zip(plans, together(sessions, request, args.stop_after))) for _ in range(args.repeat)]
    seconds = {name: [total(turn[name].steps, "seconds") for turn in rounds] for name in plans}
    work = {name: total(rounds[0][name].steps, "flops") for name in plans}
    saved = {name: total(rounds[0][name].steps, "reused") for name in plans}
    return {"evaluations": evaluations, "seconds": seconds, "flops": work, "reused": saved,
            "sites": 2 * depth * len(rounds[0]["plain"].steps)}


def rows(found):
    """A row for each plan but the plain one."""
    for name in ("l2c", "alternate"):
        speedup = common.paired_ratio(found["seconds"]["plain"], found["seconds"][name])
        ideal = found["flops"]["plain"] / found["flops"][name]
        yield [str(found["evaluations"]), name, f"{100 * found['reused'][name] / found['sites']:.1f} %",
               f"{statistics.median(found['seconds']['plain']):.1f} s", f"{statistics.median(found['seconds'][name]):.1f} s",
               f"**{speedup:.3f}**", f"{ideal:.3f}", f"{100 * speedup / ideal:.1f} %"]


def main():
    parser = common.arguments(__doc__.splitlines()[0], size=None, repeat=1)
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs")
    parser.add_argument("--routers", type=pathlib.Path, required=True, help="folder of the released router files")
    parser.add_argument("--evaluations", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--stop-after", type=int, default=0, help="network calls of each run that are made; 0: all")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--guidance", type=float, default=1.4, help="the official s is one less")
    args = parser.parse_args()

    import diffaccel

    facts = common.machine(np, torch)
    model = diffaccel.Model(random_uvit.checkpoint("H", seed=args.seed))
    found = [measure(model, evaluations, args) for evaluations in args.evaluations]
    text = (f"{args.samples} sample(s) with guidance {args.guidance}, {args.threads} threads, f32, {args.repeat} run(s) of all sessions "
            "taking turns after every network call.\n\n")
    text += common.table(["evaluations", "plan", "reused", "plain", "with it", "speed-up", "ideal", "reached"],
                         [row for one in found for row in rows(one)])
    common.finish("Learning-to-Cache, U-ViT-H/2", facts, text, found, args.json)


if __name__ == "__main__":
    main()
