"""Two ranks of one thread each beside one process of one thread: AsyncDiff in two components, and the guidance split, on a whole pipeline.

    python Benchmarks/async_ranks.py --pipeline FOLDER --sizes 256 512 --steps 20 --json out/async_ranks.json

Every process is bound to a processor of its own. Seconds are those of the network calls on rank 0; the first call evaluates the whole network and,
of asynchronous runs, is left in, as their warm-up. What a run could reach at best: the calls over the whole calls and the others' dearest component.
Needs `make mpi` and mpirun of Open MPI; stride 2 takes a third rank and is not run here.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np

import common

CLI = common.ROOT / ".build" / "release" / "diffaccel-cli"
RUNS = {"async:2, balanced": ["--plan", "async:2", "--executor", "mpi"], "guidance split": ["--guidance-execution", "ranks"]}


def sample(given, size, ranks, extra):
    """Seconds of the calls, by one process or `ranks`."""
    command = [str(CLI), "sample", given.pipeline, "--prompt", "a castle by the sea", "--steps", str(given.steps), "--sampler", "ddim",
               "--size", f"{size}x{size}", "--threads", "1", "--json", "--out", os.path.join(tempfile.gettempdir(), "async_ranks.png"), *extra]
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks), "--bind-to", "core", "--allow-run-as-root", *command]
    else:
        command = ["taskset", "-c", "0", *command]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1",
                                                                        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    statistics = json.loads(done.stdout[done.stdout.index("{"):])["statistics"]
    return sum(step["seconds"] for step in statistics["steps"]), statistics


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pipeline", required=True, help="folder of a whole Stable Diffusion")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    facts, rows, found = common.machine(np), [], {}
    import diffaccel

    with diffaccel.Model(given.pipeline, text_encoders="on_demand") as model:
        shares = [part["share"] for part in diffaccel.Plan.load("async:2").describe(model)["components"]]
    best = {"async:2, balanced": given.steps / (1 + (given.steps - 1) * max(shares)), "guidance split": 2.0}
    for size in given.sizes:
        for name, extra in RUNS.items():
            pairs = [(sample(given, size, 1, [])[0], sample(given, size, 2, extra)) for _ in range(given.repeat)]
            speed = float(np.median([alone / both[0] for alone, both in pairs]))
            ranks = pairs[-1][1][1]["ranks"]
            found[f"{size}, {name}"] = {"alone": [a for a, _ in pairs], "both": [b[0] for _, b in pairs], "speed": speed, "ranks": ranks}
            rows.append([f"{size} px", name, f"{np.median([a for a, _ in pairs]):.2f}", f"{np.median([b[0] for _, b in pairs]):.2f}",
                         f"**{speed:.2f}**", f"{best[name]:.2f}", ", ".join(f"{r['weights'] / 2**20:.0f}" for r in ranks),
                         ", ".join(f"{r['sent'] / 2**20:.0f}" for r in ranks)])
            print(rows[-1], flush=True)
    text = f"{given.steps} DDIM steps with guidance, one thread a process; medians of {given.repeat} runs in turn.\n\n" + common.table(
        ["", "two ranks", "one process, s", "two ranks, s", "speed-up", "at best", "weights by rank, MiB", "sent by rank, MiB"], rows)
    common.finish("Two ranks beside one", facts, text, found, given.json)


if __name__ == "__main__":
    main()
