"""How much of a cached evaluation Learning-to-Cache removes on Models/fashion-uvit, and what that does to the pictures.

DPM-Solver++(2S) makes two evaluations a step, of which the first only places the midpoint; from the second step on a router may
reuse there what the midpoint before it gave. Routers are learned on the model's own trajectory with its guidance, at several prices (l1), and as
published on noised data; beside them stand the hand rule that first evaluations reuse everything, and fewer evaluations.

    python Benchmarks/fashion_uvit.py --evaluations 50 --l1 0.03 0.05 0.1 --seed 1 --install 50=0.05

Every contender draws the same labels from the same noise, so the change of the Fréchet distance is one of pairs; its noise is the standard
deviation over bootstrap samples of those pairs. An interrupted run goes on where it stopped: plans and features are in --out. `--install`
copies the router of that price into the model's folder.
"""

import json
import shutil

import numpy as np
import torch

import common
import fashion_quality as quality
import diffaccel
from evaluate_fashion import Judge, frechet_distance
from fashion_classifier import describe
from fashion_data import to_unit_range

FOLDER = common.ROOT / "Models" / "fashion-uvit"
#: Iterations of learning: some 90 lessons a row of 20 evaluations, 60 of 50.
ITERATIONS = {20: 800, 50: 1440}
#: Learning rate 0.1: with the published 1e-3 nothing is decided in so few iterations.
SETTINGS = dict(batch=8, learning_rate=0.1, threshold=0.5)
BOOTSTRAP = 100


def learned(options, model, evaluations, l1, trajectory):
    """The plan, learned once and kept in a file."""
    name = f"uvit-{evaluations}-{trajectory}-{l1:g}"
    path = options.out / f"{name}.json"
    if not path.exists():
        settings = {**SETTINGS, "l1": l1, "seed": options.seed, "steps": ITERATIONS[evaluations], "sampling_steps": evaluations // 2}
        data = quality.training_data(options) if trajectory == "data" else None
        if trajectory == "own":
            settings |= dict(trajectory="own", guidance=model.description["guidance"])
        trainer = diffaccel.learn.router(FOLDER, data=data, threads=options.threads, log=options.out / f"{name}.jsonl",
                                         state=options.out / f"{name}.safetensors", resume=True, **settings)
        trainer.plan().save(path)
        print(f"{name}: {100 * trainer.describe()['removed']:.2f} % removed of cached evaluations", flush=True)
    return diffaccel.Plan.load(path)


class Sets:
    """Draws sets of pictures and describes them by the judge's features, kept in files."""

    def __init__(self, options, model):
        self.options, self.model, self.judge = options, model, Judge(options)

    def features(self, name, plan, evaluations):
        """{"features", "hits", "reused": outputs reused by a run, "flops" of it}"""
        path = self.options.out / f"uvit-set-{evaluations}-{name.replace(' ', '-')}-{self.options.pictures}.npz"
        if not path.exists():
            labels = np.repeat(np.arange(quality.CLASSES), 10)
            features, hits = [], []
            with self.model.session(plan=plan, threads=self.options.threads) as session:
                for seed in range(0, self.options.pictures, len(labels)):
                    result = session.sample(labels=labels, steps=evaluations // 2, seed=10_000 + seed)
                    predicted, described = describe(self.judge.classifier, to_unit_range(torch.from_numpy(result.images[..., 0].copy())))
                    features.append(described.numpy())
                    hits.append(predicted.numpy() == labels)
            steps = result.stats["steps"]
            np.savez(path, features=np.concatenate(features), hits=np.concatenate(hits), reused=result.stats["totals"]["reused"],
                     flops=sum(step["flops"] for step in steps) / len(labels))
        return np.load(path)

    def distance(self, features):
        return frechet_distance(torch.from_numpy(features), self.judge.reference)

    def change(self, found, full):
        """Fréchet distance beside that of the full run, in percent, and its standard deviation over bootstrap samples of pairs."""
        a, b = full["features"], found["features"]
        random, changes = np.random.default_rng(0), []
        for _ in range(BOOTSTRAP):
            pick = random.integers(len(a), size=len(a))
            before = self.distance(a[pick])
            changes.append(100 * (self.distance(b[pick]) - before) / before)
        return 100 * (self.distance(b) / self.distance(a) - 1), float(np.std(changes))


def contenders(options, model, evaluations):
    """{name: (plan, evaluations)}, the full run first."""
    found = {"full": (None, evaluations)}
    for l1 in options.l1:
        found[f"own trajectory, l1 {l1:g}"] = (learned(options, model, evaluations, l1, "own"), evaluations)
    for l1 in options.published:
        found[f"as published, l1 {l1:g}"] = (learned(options, model, evaluations, l1, "data"), evaluations)
    found["first evaluations reuse everything"] = ("alternate", evaluations)
    for fewer in (count for count in options.fewer if count < evaluations):
        found[f"{fewer} evaluations"] = (None, fewer)
    return found


def experiment(options, model, sets, evaluations):
    rows, figures = [], {}
    sites = 2 * (model.description["config"]["depth"] + 1)
    full = None
    for name, (plan, count) in contenders(options, model, evaluations).items():
        found = sets.features(name, plan, count)
        full = full or found
        (change, noise) = sets.change(found, full) if found is not full else (0, 0)
        removed = 100 * float(found["reused"]) / (sites * (count // 2 - 1))
        figures[name] = {"removed": removed, "ratio": float(full["flops"] / found["flops"]), "frechet": sets.distance(found["features"]),
                         "change": change, "noise": noise, "recognised": float(found["hits"].mean())}
        f = figures[name]
        rows.append([name, f"{removed:.1f} %", f"{f['ratio']:.3f}", f"{f['frechet']:.3f}",
                     f"{change:+.2f} % ± {noise:.2f}" if plan is not None or count != evaluations else "", f"{100 * f['recognised']:.1f} %"])
        print(rows[-1], flush=True)
    print(f"\n### {evaluations} evaluations\n\n" + common.table(
        ["", "removed of cached evaluations", "ratio of operations", "Fréchet distance", "change", "recognised"], rows) + "\n", flush=True)
    return figures


def pair(text):
    """20=0.03"""
    key, value = text.split("=")
    return int(key), float(value)


def main():
    parser = quality.arguments(__doc__)
    parser.set_defaults(pictures=3000)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[20, 50], choices=list(ITERATIONS))
    parser.add_argument("--l1", type=float, nargs="+", default=[0.01, 0.03, 0.1, 0.3, 1], help="prices of a score on the own trajectory")
    parser.add_argument("--published", type=float, nargs="*", default=[0.1], help="prices of routers learned on noised data")
    parser.add_argument("--fewer", type=int, nargs="*", default=[16], help="plain runs of so many evaluations beside those of more")
    parser.add_argument("--install", type=pair, nargs="*", default=[], metavar="EVALUATIONS=L1")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = diffaccel.Model(FOLDER)
    sets = Sets(options, model)
    tables = {evaluations: experiment(options, model, sets, evaluations) for evaluations in options.evaluations}
    (options.out / "uvit-tables.json").write_text(json.dumps(tables, indent=1) + "\n")
    for evaluations, l1 in options.install:
        shutil.copy(options.out / f"uvit-{evaluations}-own-{l1:g}.json", FOLDER / f"plan-dpm{evaluations}.json")


if __name__ == "__main__":
    main()
