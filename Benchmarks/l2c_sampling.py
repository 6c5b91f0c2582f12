"""What Learning-to-Cache saves in practice: DDIM sampling of DiT-XL/2 with the released routers, beside the plain model.

Two sessions over one model sample the same request, the plain one and the one with the router, and take turns after every
step: a slow minute of the machine strikes both. The speed-up by the clock is compared with the ideal one, the ratio of the
operations. The kept outputs' memory is compared with the library's estimate.

    python Benchmarks/l2c_sampling.py --routers FOLDER --steps 20 50 --json out/l2c.json

FOLDER holds dit_xl2_256_ddim20_router.json and dit_xl2_256_ddim50_router.json. For other sizes than XL (to try the script) the
router's first columns are used. The figures say nothing about pictures: the weights are random.
"""

import json
import pathlib
import statistics
import threading
import time

import numpy as np
import torch

import common
import random_dit

ROUTER = "dit_xl2_256_ddim{steps}_router.json"


class Turns:
    """Lets two threads work one after another: whoever's turn it is works, the others wait."""

    def __init__(self, players):
        self.condition, self.waiting, self.current = threading.Condition(), list(range(players)), 0

    def take(self, player):
        with self.condition:
            self.condition.wait_for(lambda: self.current == player)

    def give(self, player, leave=False):
        """Ends the player's turn; with `leave` it never gets another one."""
        with self.condition:
            following = [p for p in self.waiting if p > player] + [p for p in self.waiting if p <= player]
            following = [p for p in following if not (leave and p == player)]
            if leave:
                self.waiting.remove(player)
            self.current = following[0] if following else None
            self.condition.notify_all()


class Sampler(threading.Thread):
    """One session's run, step by step in its turns."""

    def __init__(self, player, turns, session, request, stop_after):
        super().__init__()
        self.player, self.turns, self.session, self.request = player, turns, session, request
        self.stop_after, self.steps, self.memory, self.failure = stop_after, [], None, None

    def run(self):
        import diffaccel

        self.turns.take(self.player)
        self.begin_step()
        try:
            result = self.session.sample(**self.request, decode=False, callback=self.step_done)
            self.memory = result.stats["memory"]
        except diffaccel.Cancelled:
            pass
        except BaseException as failure:  # raised again by the main thread
            self.failure = failure
        finally:
            self.turns.give(self.player, leave=True)

    def begin_step(self):
        self.clock, self.processor = time.perf_counter(), time.process_time()

    def step_done(self, event):
        self.steps.append({"seconds": time.perf_counter() - self.clock, "processor": time.process_time() - self.processor,
                           "flops": event.flops, "computed": event.sites_computed, "reused": event.sites_reused})
        if event.step == event.steps or event.step == self.stop_after:
            return event.step != event.steps
        self.turns.give(self.player)
        self.turns.take(self.player)
        self.begin_step()
        return False


def router(path, depth):
    content = json.loads(path.read_text())
    logits = [row[: 2 * depth] for row in content["logits"]]
    return {"logits": logits, "threshold": content["official_threshold"]}


def together(sessions, request, stop_after):
    """Runs both sessions in turns."""
    turns = Turns(len(sessions))
    samplers = [Sampler(i, turns, session, request, stop_after) for i, session in enumerate(sessions)]
    for sampler in samplers:
        sampler.start()
    for sampler in samplers:
        sampler.join()
        if sampler.failure:
            raise sampler.failure
    return samplers


def total(steps, key):
    return sum(step[key] for step in steps)


def measure(model, steps, args):
    import diffaccel

    depth = random_dit.SIZES[args.size][0]
    plan = diffaccel.Plan(l2c=router(args.routers / ROUTER.format(steps=steps), depth))
    request = {"steps": steps, "labels": list(range(args.samples)), "guidance": args.guidance, "seed": args.seed}
    plain, cached = model.session(threads=args.threads), model.session(plan, threads=args.threads)
    estimate = cached.estimate(**request)
    for session in (plain, cached):  # threads, pages of the weights
        together([session], request, stop_after=1)
    rounds = [together([plain, cached], request, args.stop_after) for _ in range(args.repeat)]
    figures = {"steps": steps, "estimate": estimate, "rounds": [
        {"plain": a.steps, "l2c": b.steps, "memory": b.memory} for a, b in rounds]}
    sums = {name: [total(r[name], "seconds") for r in figures["rounds"]] for name in ("plain", "l2c")}
    first = figures["rounds"][0]
    figures["speedup"] = common.paired_ratio(sums["plain"], sums["l2c"])
    figures["ideal"] = total(first["plain"], "flops") / total(first["l2c"], "flops")
    figures["seconds"] = {name: statistics.median(values) for name, values in sums.items()}
    kept = first["memory"]["cache"] if first["memory"] else None
    figures["cache"] = {"measured": kept, "estimate": estimate["bytes"]["cache"]}
    figures["per_step"] = {name: statistics.median(step["seconds"] for r in figures["rounds"] for step in r[name])
                           for name in ("plain", "l2c")}
    return figures


def row_of(found):
    done, cache = len(found["rounds"][0]["plain"]), found["cache"]
    share = found["speedup"] / found["ideal"]
    memory = "run was cut short" if cache["measured"] is None else \
        f"{cache['measured'] / 1e6:.1f} MB ({cache['measured'] / max(1, cache['estimate']):.3f})"
    steps = str(found["steps"]) if done == found["steps"] else f"first {done} of {found['steps']}"
    return [steps, f"{found['seconds']['plain']:.1f} s", f"{found['seconds']['l2c']:.1f} s", f"**{found['speedup']:.3f}**",
            f"{found['ideal']:.3f}", f"{100 * share:.1f} %", memory]


def main():
    parser = common.arguments(__doc__.splitlines()[0], repeat=1)
    parser.add_argument("--routers", type=pathlib.Path, required=True, help="folder of the released router files")
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--stop-after", type=int, default=0, help="steps of each run that are done; 0: all")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--guidance", type=float, default=1.5)
    args = parser.parse_args()

    import diffaccel

    facts = common.machine(np, torch)
    model = diffaccel.Model(random_dit.checkpoint(args.size, seed=args.seed))
    found = [measure(model, steps, args) for steps in args.steps]
    text = (f"{args.samples} sample(s) with guidance {args.guidance}, {args.threads} threads, f32, {args.repeat} run(s) of both "
            "sessions taking turns after every step; the last column is the most kept at once (in brackets: over the "
            "estimate).\n\n")
    text += common.table(["DDIM steps", "plain", "L2C", "speed-up", "ideal", "reached", "kept outputs"], map(row_of, found))
    common.finish(f"Learning-to-Cache, DiT-{args.size}/2", facts, text, found, args.json)


if __name__ == "__main__":
    main()
