"""Pictures of Models/fashion-dit and its kin, judged: what the experiments on learned accelerations share.

Every set is 1,000 pictures, 100 of each class, from the same start noise for every contender. The judge is that of Tools/evaluate_fashion.py.
"""

import argparse
import json
import statistics
import time

import numpy as np
import torch

import common
import diffaccel
from evaluate_fashion import Judge
from fashion_classifier import DEFAULT_CACHE
from fashion_data import DEFAULT_DATA, load_split, to_unit_range

FOLDER = common.ROOT / "Models" / "fashion-dit"
CLASSES = 10


def arguments(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of learning")
    parser.add_argument("--pictures", type=int, default=1000, help="judged of each contender")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds")
    parser.add_argument("--data", default=DEFAULT_DATA)
    parser.add_argument("--out", type=lambda name: common.pathlib.Path(name), default=common.ROOT / ".cache" / "fashion")
    parser.add_argument("--classifier", default=DEFAULT_CACHE)
    return parser


def training_data(options):
    """The training pictures as files that trainers read: bytes [60000,1,28,28] and labels."""
    options.out.mkdir(parents=True, exist_ok=True)
    paths = options.out / "images.npy", options.out / "labels.npy"
    if not all(path.exists() for path in paths):
        images, labels = load_split("train", options.data)
        np.save(paths[0], images.numpy()[:, None])
        np.save(paths[1], labels.numpy())
    return paths


class Gallery:
    """Draws and judges sets of pictures; keeps every verdict in a file, so that an interrupted experiment goes on."""

    def __init__(self, options, name):
        self.options, self.judge = options, None
        self.path = options.out / f"{name}.json"
        self.verdicts = json.loads(self.path.read_text()) if self.path.exists() else {}

    def verdict(self, name, model, plan, steps, sampler="ddim"):
        """Recognised share and Fréchet distance of a diffusion model's pictures."""
        def draw(session, labels, seed):
            return session.sample(sampler=sampler, labels=labels, steps=steps, seed=seed).images[..., 0]

        return self.judged(name, lambda: model.session(plan=plan, threads=self.options.threads), draw)

    def judged(self, name, open_session, draw):
        """Recognised share and Fréchet distance of what `draw(session, labels, seed)` gives: bytes [n,28,28]."""
        def make():
            if self.judge is None:
                self.judge = Judge(self.options)
            labels = np.repeat(np.arange(CLASSES), 10)
            with open_session() as session:
                pictures = [draw(session, labels, seed) for seed in range(0, self.options.pictures, len(labels))]
            asked = torch.from_numpy(np.tile(labels, len(pictures)))
            found = self.judge.verdict(to_unit_range(torch.from_numpy(np.concatenate(pictures))), asked)
            return {"recognised": found["accuracy"], "frechet": found["frechet"]}

        return self.remember(name, make)

    def remember(self, name, make):
        """What `make` gives, once."""
        if name not in self.verdicts:
            self.verdicts[name] = make()
            self.save()
            print(f"{name}: {self.verdicts[name]}", flush=True)
        return self.verdicts[name]

    def save(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.verdicts, indent=1) + "\n")


def speeds(contenders, options, sampler="ddim"):
    """Seconds for 50 pictures of each {name: (model, plan, steps)} in turns, and the median ratio to the first one's."""
    labels = np.repeat(np.arange(CLASSES), 5)
    sessions = {name: (model.session(plan=plan, threads=options.threads), steps)
                for name, (model, plan, steps) in contenders.items()}
    return turns({name: lambda seed, session=session, steps=steps: session.sample(sampler=sampler, labels=labels, steps=steps, seed=seed)
                  for name, (session, steps) in sessions.items()}, options.rounds)


def turns(runs, rounds):
    """Median seconds of each {name: run(turn)}, and the median ratio to the first one's; one unmeasured round first."""
    seconds = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run(turn)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    first = next(iter(runs))
    return {name: {"seconds": statistics.median(values),
                   "speedup": statistics.median(a / b for a, b in zip(seconds[first], values))}
            for name, values in seconds.items()}


def ideal(model, plan, steps, reference):
    """Ratio of operations: `reference` operations to those of `steps` steps under `plan`."""
    described = (plan or diffaccel.Plan(l2c={"policy": "none"})).describe(model, steps)
    return reference / described["flops"]


def operations(model, steps):
    """Operations of a plain run for one sample."""
    return diffaccel.Plan(l2c={"policy": "none"}).describe(model, steps)["flops"]
