"""What asynchronous denoising does to pictures of emoji-sd, beside as fast runs of other kinds: Fréchet distance, names recognised, distance
from the plain model's pictures of the same noise.

    python Benchmarks/async_quality.py --samples 500 --json out/async_quality.json --picture out/async.png

Fifty DDIM steps, guidance 5, the names, seeds and judge of Tools/evaluate_emoji.py. Speed-ups are ideal ones: of the operations of one machine,
and for components that work at once of the dearest component in each call (the network between machines costs nothing). The paper's comparison
is with fewer plain steps at the same speed.
"""

import time

import numpy as np

import common

#: The settings of the paper's tables: components, stride, warm-up.
ASYNC = [(2, 1, 1), (3, 1, 1), (4, 1, 1), (2, 2, 1), (3, 2, 1), (2, 1, 9), (3, 1, 9), (3, 2, 3), (3, 2, 5), (3, 2, 9)]
#: Plain steps that are as fast, by the paper.
STEPS = [27, 21, 15, 11]
PLANS = ["interval:2", "interval:3", "deepcache:2", "deepcache:3"]


def ideal(components, stride, warm_up, calls, share):
    """Speed-up of `calls` calls when components work at once and nothing else takes time; `share` is the dearest component's."""
    batches = sum(1 for call in range(warm_up, calls) if stride == 1 or call % 2 == 1)
    return calls / (warm_up + batches * share)


class Contest:
    def __init__(self, given):
        import torch

        from evaluate_emoji import Judge

        import diffaccel

        torch.set_num_threads(given.threads)
        self.given, self.torch, self.diffaccel = given, torch, diffaccel
        self.judge = Judge(given)
        names = [name for group in self.judge.pictures["names"] for name in group]
        order = torch.randperm(len(names), generator=torch.Generator().manual_seed(given.seed))[: given.samples].tolist()
        self.names = [names[i] for i in order]
        self.model = diffaccel.Model(given.model)
        self.plain = None

    def draw(self, plan, steps):
        """Bytes [n, 3, 64, 64], operations of all calls, seconds of processor time."""
        pictures, flops, began = [], 0.0, time.process_time()
        with self.model.session(plan, threads=self.given.threads) as session:
            for first in range(0, len(self.names), self.given.batch):
                names = self.names[first : first + self.given.batch]
                result = session.sample(prompt=names, steps=steps, sampler="ddim", guidance=self.given.guidance,
                                        seeds=[self.given.seed + first + i for i in range(len(names))])
                pictures.append(np.array(result.images))
                flops += result.stats["totals"]["flops"]
        return self.torch.from_numpy(np.concatenate(pictures)).permute(0, 3, 1, 2), flops, time.process_time() - began

    def row(self, name, plan, steps, speed=None):
        images, flops, seconds = self.draw(plan, steps)
        if self.plain is None:
            self.plain = (images, flops)
        found = {"name": name, "steps": steps, "operations": flops / self.plain[1], "seconds": seconds,
                 "speed": speed or self.plain[1] / flops, "frechet": self.judge.frechet(images),
                 "recognised": sum(self.judge.recognised(images, self.names)) / len(self.names),
                 "difference": float((images.float() - self.plain[0].float()).abs().mean())}
        print(f"{name:24} {found['speed']:5.2f}x  Fréchet {found['frechet']:.3f}  recognised {found['recognised']:.1%}  "
              f"difference {found['difference']:.2f} of 255  ({seconds:.0f} s)", flush=True)
        return found, images


def main():
    parser = common.arguments(__doc__.split("\n")[0], size=None)
    parser.add_argument("--model", default=str(common.ROOT / "Models" / "emoji-sd"))
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--picture", help="write a sheet of the same pictures under each setting there")
    given = parser.parse_args()
    import torch

    facts = common.machine(np, torch)
    contest, found, shown = Contest(given), [], []

    def add(name, plan, steps, speed=None, show=False):
        row, images = contest.row(name, plan, steps, speed)
        found.append(row)
        if show:
            shown.append((name, images[:8]))

    add("plain", None, given.steps, show=True)
    for components, stride, warm_up in ASYNC:
        plan = f"async:{components}:{stride}:{warm_up}"
        parts = contest.diffaccel.Plan.load(plan).describe(contest.model)["components"]
        speed = ideal(components, stride, warm_up, given.steps, max(part["share"] for part in parts))
        add(plan, plan, given.steps, speed, show=warm_up == 1)
    for steps in STEPS:
        add(f"plain, {steps} steps", None, steps, show=steps in (27, 15))
    for plan in PLANS:
        add(plan, plan, given.steps)
    rows = [[row["name"], f"{row['speed']:.2f}", f"{row['operations']:.0%}", f"{row['frechet']:.3f}", f"{row['recognised']:.1%}",
             f"{row['difference']:.2f}"] for row in found]
    text = (f"{len(contest.names)} names, {given.steps} DDIM steps, guidance {given.guidance:g}, seeds {given.seed} to "
            f"{given.seed + len(contest.names) - 1}, the same noise in every row.\n\n")
    text += common.table(["setting", "ideal speed-up", "operations", "Fréchet distance", "recognised", "difference from plain, of 255"], rows)
    if given.picture:
        from evaluate_emoji import labelled

        images = torch.cat([images for _, images in shown])
        texts = [f"{name}" if i == 0 else contest.names[i] for name, group in shown for i in range(len(group))]
        labelled(images, texts, given.picture, columns=8, zoom=1)
    common.finish("Asynchronous denoising on emoji-sd", facts, text, found, given.json)


if __name__ == "__main__":
    main()
