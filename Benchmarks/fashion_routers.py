"""Learned routers on Models/fashion-dit: speed by the clock against quality, beside what one could do without learning.

Learns a router as published (noised data) and one on the model's own trajectory, for 20 and 50 DDIM steps with guidance 3, and compares them with
the full run, fewer DDIM steps, every-second-step reuse, a random router of equal ratio and an interval cache. Beyond the paper, for 20
steps: two cached steps after a full one, and room for a quarter of the kept outputs.

    python Benchmarks/fashion_routers.py --steps 20 50 --seed 1
    python Benchmarks/fashion_routers.py --steps 50 --sampler ddpm --seed 1     # the same routers, where every step counts more

An interrupted run goes on where it stopped; plans and verdicts are in --out. `--install` copies the routers into the model's folder.
"""

import json
import shutil

import common
import fashion_quality as quality
import diffaccel

#: Learning: iterations, samples of one, price of a score; learning rate 0.1 falls short of nothing in so few iterations per row.
LESSONS = {
    20: {"data": dict(steps=800, batch=16, l1=1e-4), "own": dict(steps=800, batch=8, l1=1e-4)},
    50: {"data": dict(steps=1500, batch=16, l1=4e-5), "own": dict(steps=1500, batch=8, l1=4e-5)},
}
TOKENS_WIDTH_BYTES = 16 * 128 * 4  # one kept output of one network row
COLUMNS = 24


def learned(options, steps, trajectory, gallery, cache_limit=None, **more):
    """The plan, learned once and kept in a file. A limit on kept outputs is one of the export: learning goes on from its end."""
    name = "-".join(["router", str(steps), trajectory, *(f"{key}{value}" for key, value in more.items())])
    state = options.out / f"{name}.safetensors"
    path = options.out / f"{name}{'-limited' if cache_limit else ''}.json"
    if not path.exists():
        settings = {**LESSONS[steps][trajectory], **more, "learning_rate": 0.1, "seed": options.seed, "sampling_steps": steps}
        if trajectory == "own":
            settings |= dict(trajectory="own", guidance=3.0, guidance_channels=1)
        trainer = diffaccel.learn.router(
            quality.FOLDER, data=quality.training_data(options), threads=options.threads, log=options.out / f"{name}.jsonl",
            state=state, resume=True, cache_limit=cache_limit, **settings)
        trainer.plan().save(path)
        gallery.remember(f"learning/{name}", lambda: {"settings": settings, "removed": trainer.describe()["removed"]})
    return diffaccel.Plan.load(path)


def contenders(options, steps, model, gallery):
    """{name: (plan, steps)}"""
    data, own = (learned(options, steps, kind, gallery) for kind in ("data", "own"))
    entry = own.describe()["methods"][0]
    full = quality.operations(model, steps)
    fewer = round(steps / quality.ideal(model, own, steps, full))
    found = {
        "full": (None, steps),
        "learned, own trajectory": (own, steps),
        "learned, as published": (data, steps),
        f"{fewer} {options.sampler.upper()} steps": (None, fewer),
        "random router of equal ratio": (diffaccel.Plan(l2c={**entry, "policy": "random", "seed": 7}), steps),
        "every second step": (diffaccel.Plan(l2c={"policy": "alternate"}), steps),
        "interval 3": (diffaccel.Plan(l2c={"policy": "interval", "interval": 3}), steps),
    }
    if steps == 20:
        found["own trajectory, two cached steps after a full one"] = (
            learned(options, steps, "own", gallery, period=3), steps)
        found["own trajectory, a quarter of the kept outputs"] = (
            learned(options, steps, "own", gallery, cache_limit=COLUMNS // 4 * TOKENS_WIDTH_BYTES), steps)
    return found


def experiment(options, steps, model, gallery):
    found = contenders(options, steps, model, gallery)
    full = quality.operations(model, steps)
    series = str(steps) if options.sampler == "ddim" else f"{options.sampler} {steps}"
    timed = gallery.remember(f"speeds/{series}", lambda: quality.speeds(
        {name: (model, plan, count) for name, (plan, count) in found.items()}, options, options.sampler))
    rows = []
    for name, (plan, count) in found.items():
        verdict = gallery.verdict(f"{series}/{name}", model, plan, count, options.sampler)
        rows.append([name, f"{timed[name]['speedup']:.2f}", f"{quality.ideal(model, plan, count, full):.2f}",
                     f"{verdict['frechet']:.2f}", f"{100 * verdict['recognised']:.1f} %"])
    print(f"\n### {steps} {options.sampler.upper()} steps\n\n" + common.table(
        ["", "speed-up", "ratio of operations", "Fréchet distance", "recognised"], rows) + "\n", flush=True)
    return rows


def main():
    parser = quality.arguments(__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 50], choices=list(LESSONS))
    parser.add_argument("--sampler", default="ddim", choices=["ddim", "ddpm"])
    parser.add_argument("--install", action="store_true", help="copy the routers of the own trajectory into the model's folder")
    options = parser.parse_args()
    gallery = quality.Gallery(options, "routers")
    model = diffaccel.Model(quality.FOLDER)
    tables = {steps: experiment(options, steps, model, gallery) for steps in options.steps}
    (options.out / "routers-tables.json").write_text(json.dumps(tables, indent=1, ensure_ascii=False) + "\n")
    if options.install:
        for steps in options.steps:
            shutil.copy(options.out / f"router-{steps}-own.json", quality.FOLDER / f"plan-ddim{steps}.json")


if __name__ == "__main__":
    main()
