"""Two ranks of one thread each beside one process of one thread: AsyncDiff in two components, and the guidance split, on a whole pipeline.

    python Benchmarks/async_ranks.py --pipeline FOLDER --sizes 256 512 --steps 20 --split measured --json out/async_ranks.json

`--split measured` times the modules in one process first, at each size, and tells the ranks which are whose.

Every process is bound to a processor of its own. Seconds are those of the network calls on rank 0; the first call evaluates the whole network and,
of asynchronous runs, is left in, as their warm-up. What a run could reach at best: the calls over the whole calls and the others' dearest component.
"Two at once" is two processes that have nothing to do with each other, each of which makes the whole run: how much slower they are than one alone is what
ranks on one machine lose to its memory and clock, whoever divides the work; on two machines they lose nothing of it.

A long measurement can be made in parts: `--runs` chooses some of "alone", "two at once", "async" and "guidance", `--json` keeps what it holds
already and adds to it, and `--before COMMAND` is what each run is started with, such as a program that waits for a quiet machine.
Needs `make mpi` and mpirun of Open MPI; stride 2 takes a third rank and is not run here.
"""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import tempfile

import numpy as np

import common

CLI = common.ROOT / ".build" / "release" / "diffaccel-cli"
RUNS = ["alone", "two at once", "async", "guidance"]


def seconds(text):
    """Seconds of the calls of a run that printed `text`, and what its ranks took."""
    statistics = json.loads(text[text.index("{"):])["statistics"]
    return [step["seconds"] for step in statistics["steps"]], statistics.get("ranks", [])


def plan_of(split):
    return {"methods": [{"method": "async", "components": 2, "split": split}]}


def components(given, size):
    """The components at `size`: their modules and shares of the operations."""
    import diffaccel

    with diffaccel.Model(given.pipeline, text_encoders="on_demand") as model, \
            model.session(diffaccel.Plan.parse(plan_of(given.split)), threads=1) as session:
        return session.sample(prompt="a castle by the sea", steps=3, sampler="ddim", height=size, width=size, decode=False).stats["components"]


def sample(given, size, run, split, folder):
    """Seconds of each call of one run, and its ranks."""
    out, plan = os.path.join(folder, "latents.safetensors"), os.path.join(folder, "plan.json")
    pathlib.Path(plan).write_text(json.dumps(plan_of(split)))
    command = [str(CLI), "sample", given.pipeline, "--prompt", "a castle by the sea", "--steps", str(given.steps), "--sampler", "ddim",
               "--size", f"{size}x{size}", "--threads", "1", "--json", "--latents", out]
    ranks = ["mpirun", "-n", "2", "--bind-to", "core", "--allow-run-as-root", *command]
    if run == "alone":
        command = ["taskset", "-c", "0", *command]
    elif run == "two at once":
        second = shlex.join(["taskset", "-c", "1", *command[:-1], f"{out}.2"])
        command = ["bash", "-c", f"{second} >/dev/null & {shlex.join(['taskset', '-c', '0', *command])}; wait"]
    else:
        command = [*ranks, *(["--plan", plan, "--executor", "mpi"] if run == "async" else ["--guidance-execution", "ranks"])]
    done = subprocess.run([*shlex.split(given.before), *command], capture_output=True, text=True,
                          env={**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")
    return seconds(done.stdout)


def rows(found, best):
    """The table: medians of whole runs, and speed-ups against one process alone."""
    out = []
    for size in sorted({figure["size"] for figure in found}):
        whole = {run: [sum(f["calls"]) for f in found if f["size"] == size and f["run"] == run] for run in RUNS}
        if not whole["alone"]:
            continue
        alone = float(np.median(whole["alone"]))
        crowded = float(np.median(whole["two at once"])) if whole["two at once"] else None
        for run in ("async", "guidance"):
            if not whole[run]:
                continue
            both = float(np.median(whole[run]))
            ranks = [f["ranks"] for f in found if f["size"] == size and f["run"] == run][-1]
            out.append([f"{size} px", {"async": "async, 2 components", "guidance": "guidance split"}[run], f"{alone:.2f}", f"{both:.2f}",
                        f"**{alone / both:.2f}**", f"{crowded:.2f}" if crowded else "", f"{crowded / both:.2f}" if crowded else "", f"{best[size, run]:.2f}",
                        ", ".join(f"{r['weights'] / 2**20:.0f}" for r in ranks), ", ".join(f"{r['sent'] / 2**20:.0f}" for r in ranks)])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pipeline", required=True, help="folder of a whole Stable Diffusion")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--split", choices=["official", "balanced", "measured"], default="balanced")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS)
    parser.add_argument("--before", default="", help="what each run is started with")
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    facts, found = common.machine(np), []
    if given.json and given.json.exists():
        found = json.loads(given.json.read_text())["figures"]
    if any(figure["steps"] != given.steps for figure in found):
        raise SystemExit(f"{given.json} has runs of other numbers of steps")
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in given.sizes:
            parts = components(given, size)
            split = [part["modules"] for part in parts] if given.split == "measured" else given.split
            shares = [part["share"] for part in parts]
            print(size, "shares of operations", *(f"{share:.3f}" for share in shares), flush=True)
            best |= {(size, "async"): given.steps / (1 + (given.steps - 1) * max(shares)), (size, "guidance"): 2.0}
            for _ in range(given.repeat):
                for run in given.runs:
                    calls, ranks = sample(given, size, run, split, folder)
                    found.append({"size": size, "run": run, "steps": given.steps, "calls": calls, "ranks": ranks})
                    print(size, run, f"{sum(calls):.2f} s", flush=True)
                    if given.json:
                        given.json.parent.mkdir(parents=True, exist_ok=True)
                        given.json.write_text(json.dumps({"figures": found}))
    counts = sorted({sum(f["size"] == size and f["run"] == run for f in found) for size in given.sizes for run in RUNS})
    text = f"{given.steps} DDIM steps with guidance, one thread a process; components: {given.split}; " \
        f"medians of {'...'.join(map(str, counts))} runs.\n\n" + common.table(
        ["", "two ranks", "alone, s", "two ranks, s", "speed-up", "two at once, s", "speed-up against these", "at best", "weights by rank, MiB",
         "sent by rank, MiB"], rows(found, best))
    common.finish("Two ranks beside one", facts, text, found, given.json)


if __name__ == "__main__":
    main()
