"""What a sampling step costs outside the kernels: shares of instructions or of processor time by where they were spent.

A small C program samples Models/fashion-dit twice, with few and with more steps, under a profiler; the difference is what the
additional steps cost, free of loading and of the first step's preparations.

  callgrind  counts instructions, the same on a busy machine as on a quiet one; one thread, as valgrind runs no two at once
  perf       samples processor time of all threads, waiting in loops included (sleeping is not)

    python Benchmarks/overhead.py --tool callgrind --batch 1 --json out/overhead.json

The library must not be stripped, and its object files must be there (make build).
"""

import collections
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import common
import native

#: Files of the kernels that do no arithmetic, and what they do.
SERVICES = {"pool.c": "sharing work out and waiting", "alloc.c": "allocation", "fpenv.c": "allocation",
            "dispatch.c": "allocation"}
KERNELS = "kernels"
OTHERS = [(r"libdiffaccel", "Swift: models, samplers, interface"), (r"kernel|vmlinux|unknown", "operating system"),
          (r"lib(c|m|gcc_s|stdc\+\+|pthread)[.-]|ld-linux", "C library"), (r"", "other")]


def origins():
    """Symbol -> where it belongs, for every function of the kernels."""
    found = {}
    objects = sorted((common.ROOT / ".build" / "release" / "CKernels.build").glob("*.o"))
    if not objects:
        raise SystemExit("the kernels' object files are missing: make build first")
    for path in objects:
        place = SERVICES.get(path.name.removesuffix(".o"), KERNELS)
        text = subprocess.run(["nm", "--defined-only", str(path)], check=True, capture_output=True, text=True).stdout
        found.update({line.split()[2]: place for line in text.splitlines() if line.split()[1] in "tT"})
    return found


def place_of(function, binary, known):
    if "libdiffaccel" in binary and function in known:
        return known[function]
    return next(place for pattern, place in OTHERS if re.search(pattern, binary))


def program(folder):
    """The profiled program, linked with a copy of the library in use that has names but no line tables, on which some
    versions of valgrind give up."""
    library, target = pathlib.Path(folder) / "libdiffaccel.so.0", pathlib.Path(folder) / "steps"
    subprocess.run(["objcopy", "--strip-debug", os.environ["DIFFACCEL_LIBRARY"], str(library)], check=True)
    subprocess.run([native.compiler(), "-O2", "-g", f"-I{common.ROOT / 'include'}", str(native.NATIVE / "steps.c"), "-o",
                    str(target), str(library), f"-Wl,-rpath,{library.parent}"], check=True)
    return target


def callgrind(command, folder):
    """(function, binary) -> instructions."""
    out = pathlib.Path(folder) / "callgrind.out"
    subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "-q", *command], check=True,
                   stderr=subprocess.DEVNULL)
    text = subprocess.run(["callgrind_annotate", "--threshold=100", "--auto=no", str(out)], check=True,
                          capture_output=True, text=True).stdout
    counts = collections.Counter()
    for line in text.splitlines():
        found = re.match(r"\s*([\d,]+) \([ \d.]+%\)\s+\S*?:(.+?)(?: \[(.*)\])?$", line)
        if found:
            counts[found[2].removesuffix("'2"), found[3] or ""] += int(found[1].replace(",", ""))
    return counts


def perf(command, folder):
    """(function, binary) -> samples of processor time."""
    out = pathlib.Path(folder) / "perf.data"
    subprocess.run(["perf", "record", "-q", "-e", "cpu-clock:u", "-F", "4999", "-o", str(out), *command], check=True,
                   stderr=subprocess.DEVNULL)
    text = subprocess.run(["perf", "script", "-i", str(out), "-F", "ip,sym,dso"], check=True, capture_output=True,
                          text=True).stdout
    counts = collections.Counter()
    for line in text.splitlines():
        found = re.match(r"\s*[0-9a-f]+ (.+?) \((.*)\)$", line)
        if found:
            counts[found[1], found[2]] += 1
    return counts


def measure(args):
    """Place -> what one step costs there, and the functions outside the kernels that cost most."""
    known, profile = origins(), {"callgrind": callgrind, "perf": perf}[args.tool]
    with tempfile.TemporaryDirectory() as folder:
        runner = program(folder)
        counts = [profile([str(runner), str(args.model), str(args.batch), str(steps), str(args.threads)], folder)
                  for steps in (args.few, args.many)]
    counts[1].subtract(counts[0])
    places, functions = collections.Counter(), collections.Counter()
    for (function, binary), cost in counts[1].items():
        place = place_of(function, binary, known)
        places[place] += cost / (args.many - args.few)
        if place != KERNELS:
            functions[function] += cost / (args.many - args.few)
    return places, functions


def main():
    parser = common.arguments(__doc__.splitlines()[0], size=None, threads=1)
    parser.add_argument("--tool", choices=["callgrind", "perf"], default="callgrind")
    parser.add_argument("--model", type=pathlib.Path, default=common.ROOT / "Models" / "fashion-dit")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--few", type=int, help="steps of the shorter run")
    parser.add_argument("--many", type=int, help="steps of the longer run")
    args = parser.parse_args()
    args.few = args.few or {"callgrind": 2, "perf": 20}[args.tool]
    args.many = args.many or {"callgrind": 12, "perf": 1000}[args.tool]
    needed = "valgrind" if args.tool == "callgrind" else "perf"
    if not shutil.which(needed):
        raise SystemExit(f"{needed} is not installed")
    facts = common.machine()
    places, functions = measure(args)
    total = sum(places.values())
    unit = "instructions" if args.tool == "callgrind" else "samples of processor time"
    rows = [[place, f"{cost:,.0f}" if args.tool == "callgrind" else f"{cost:.3f}", f"{100 * cost / total:.2f} %"]
            for place, cost in places.most_common()]
    text = (f"{args.model.name}, batch {args.batch}, {args.threads} thread(s): {unit} per step, from runs of {args.few} and "
            f"{args.many} steps. Outside the kernels: **{100 * (1 - places[KERNELS] / total):.2f} %**.\n\n"
            + common.table(["", unit, "share"], rows) + "\n\nMost of it outside the kernels:\n\n"
            + common.table(["function", "share"], [[f"`{name[:90]}`", f"{100 * cost / total:.2f} %"]
                                                   for name, cost in functions.most_common(8)]))
    common.finish(f"Overhead of a step ({args.tool})", facts, text,
                  {"tool": args.tool, "batch": args.batch, "places": places, "functions": functions.most_common(40)}, args.json)


if __name__ == "__main__":
    main()
