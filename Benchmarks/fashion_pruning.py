"""Half the depth of Models/fashion-dit: which blocks to keep, learned and by every rule, and what fine-tuning makes of each.

Every choice is fine-tuned for the same number of steps with the same draws; beside them stand a network of that depth trained from nothing
for the same time, the learned choice taught by the full network (masked distillation), one choice trained five times as long with a
teacher, and a router on top of it: the pair that `--install` copies into Models.

    python Benchmarks/fashion_pruning.py --seed 1

An interrupted run goes on where it stopped; checkpoints and verdicts are in --out.
"""

import json
import shutil
import time

import numpy as np
import torch

import common
import diffaccel
import fashion_quality as quality

STEPS = 20
RULES = ["pairs", "similarity", "change", "sensitivity", "random", "index"]
GROUPS = [[1, 2]] * 6
NAMES = {"learned": "learned (TinyFusion 1:2)", "pairs": "first and last of pairs (BK-SDM)", "similarity": "block influence (ShortGPT)",
         "change": "least change (after Flux-lite)", "sensitivity": "sensitivity", "random": "random", "index": "the first six",
         "scratch": "from nothing, for the same time", "distilled": "learned, masked distillation",
         "change-long": "least change, five times the steps, with a teacher"}
#: Trained longer; the best of them is what `--install` copies.
LONG = ["change-long"]


def pruned(options, choice, gallery):
    """The folder of the pruned checkpoint and the seconds that the choice took."""
    folder = options.out / f"pruned-{choice}"
    data = quality.training_data(options)
    common_settings = dict(threads=options.threads, seed=options.seed)

    def make():
        start = time.monotonic()
        if choice == "learned":
            trainer = diffaccel.learn.prune(
                quality.FOLDER, data, groups=GROUPS, steps=options.gate_steps, batch=64, gate_rate=1e-2, average_decay=0.99,
                log=options.out / "gates.jsonl", **common_settings)
        else:
            rule = {"keep": list(range(6))} if choice == "index" else {"keep_count": 6}
            trainer = diffaccel.learn.prune(quality.FOLDER, data, rule=choice, **rule, **common_settings)
        trainer.export(folder)
        return {"keep": trainer.describe()["keep"], "seconds": time.monotonic() - start,
                "loss before": trainer.evaluate(8)["loss"]}

    return folder, gallery.remember(f"choice/{choice}", make)


def tuned(options, name, gallery):
    """The folder of the fine-tuned checkpoint."""
    choice = {"distilled": "learned", "scratch": "pairs"}.get(name, name.removesuffix("-long"))
    source, facts = pruned(options, choice, gallery)
    folder = options.out / f"tuned-{name}"
    settings = dict(learning_rate=[options.rate, options.rate / 10], average_decay=0.995, batch=64, seed=options.seed, steps=options.tune_steps)
    if name == "distilled":
        settings |= dict(distillation="masked", teacher=str(quality.FOLDER), groups=GROUPS, feature_weight=[0.01, 0])
    if name in LONG:
        settings |= dict(learning_rate=[1e-3, 1e-5], average_decay=0.998, steps=5 * options.tune_steps, distillation="logits",
                         teacher=str(quality.FOLDER))
    if name == "scratch":
        # The time that learning the choice took goes into more steps; the rate is the one that the full model was trained with.
        learned_seconds = pruned(options, "learned", gallery)[1]["seconds"]
        each = gallery.verdicts["tuning/learned"]["seconds"] / options.tune_steps
        settings |= dict(start="scratch", learning_rate=[1e-3, 0], warmup=100, steps=options.tune_steps + round(learned_seconds / each))

    def make():
        start = time.monotonic()
        trainer = diffaccel.learn.finetune(source, quality.training_data(options), threads=options.threads, dtype="f16",
                                           log=options.out / f"tuning-{name}.jsonl", **settings)
        trainer.export(folder)
        return {"seconds": time.monotonic() - start, "loss": trainer.evaluate(8)["loss"], "settings": settings}

    return folder, facts, gallery.remember(f"tuning/{name}", make)


def on_top(options, folder, gallery):
    """A router for the pruned network."""
    path = options.out / f"router-on-{folder.name}.json"
    if not path.exists():
        trainer = diffaccel.learn.router(
            folder, quality.training_data(options), sampling_steps=STEPS, steps=800, batch=8, l1=1e-4, learning_rate=0.1, trajectory="own",
            guidance=3.0, guidance_channels=1, seed=options.seed, threads=options.threads)
        trainer.plan().save(path)
        gallery.remember(f"learning/router-on-{folder.name}", lambda: {"removed": trainer.describe()["removed"]})
    return diffaccel.Plan.load(path), path


def grid(options, models):
    """One picture: a row for each network, the same noise and classes."""
    from picture import write_png

    rows = []
    for model, plan in models:
        images = model.session(plan=plan, threads=options.threads).sample(labels=np.arange(10), steps=STEPS, seed=4).images[..., 0]
        rows.append(np.concatenate(list(images), axis=1))
    sheet = np.kron(np.concatenate(rows), np.ones((2, 2), np.uint8))
    write_png(options.out / "pruned.png", torch.from_numpy(sheet))


def main():
    parser = quality.arguments(__doc__)
    parser.add_argument("--gate-steps", type=int, default=400)
    parser.add_argument("--tune-steps", type=int, default=400)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--install", action="store_true")
    options = parser.parse_args()
    gallery = quality.Gallery(options, "pruning")
    full = diffaccel.Model(quality.FOLDER)
    names = ["learned", *RULES, "distilled", "scratch", *LONG]
    folders = {name: tuned(options, name, gallery) for name in names}
    best = min(LONG, key=lambda name: gallery.verdict(name, diffaccel.Model(folders[name][0]), None, STEPS)["frechet"])
    router, router_path = on_top(options, folders[best][0], gallery)
    half = diffaccel.Model(folders[best][0])
    full_router = diffaccel.Plan.load(options.out / f"router-{STEPS}-own.json")
    timed = gallery.remember(f"speeds/{best}", lambda: quality.speeds(
        {"full": (full, None, STEPS), "full + router": (full, full_router, STEPS), "half": (half, None, STEPS),
         "half + router": (half, router, STEPS)}, options))
    plain = gallery.verdict("full", full, None, STEPS)
    rows = [["all 12 blocks", "", "1.00", "", f"{plain['frechet']:.2f}", f"{100 * plain['recognised']:.1f} %"]]
    for name, (folder, facts, training) in folders.items():
        verdict = gallery.verdict(name, diffaccel.Model(folder), None, STEPS)
        kept = "" if name == "scratch" else ", ".join(map(str, facts["keep"]))
        rows.append([NAMES[name], kept, f"{timed['half']['speedup']:.2f}", f"{training['loss']:.4f}",
                     f"{verdict['frechet']:.2f}", f"{100 * verdict['recognised']:.1f} %"])
    stacked = gallery.verdict(f"{best} + router", half, router, STEPS)
    rows.append(["the same with a router of its own", "", f"{timed['half + router']['speedup']:.2f}", "",
                 f"{stacked['frechet']:.2f}", f"{100 * stacked['recognised']:.1f} %"])
    print("\n" + common.table(["", "blocks kept", "speed-up", "loss", "Fréchet distance", "recognised"], rows), flush=True)
    print(f"\nspeed-ups: {json.dumps(timed, indent=1)}")
    (options.out / "pruning-table.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    grid(options, [(full, None)] + [(diffaccel.Model(folders[name][0]), None) for name in names] + [(half, router)])
    if options.install:
        target = common.ROOT / "Models" / "fashion-dit-half"
        target.mkdir(exist_ok=True)
        for file in ("config.json", "model.safetensors"):
            shutil.copy(folders[best][0] / file, target / file)
        shutil.copy(router_path, target / "plan-ddim20.json")
        (quality.FOLDER / "keep-half.json").write_text(json.dumps({"methods": [{"method": "depth", "keep": folders["learned"][1]["keep"]}]}) + "\n")


if __name__ == "__main__":
    main()
