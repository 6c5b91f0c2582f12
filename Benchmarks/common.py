"""What the benchmarks share: taking turns, medians, a description of the machine, Markdown tables and JSON."""

import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bindings" / "python"), str(ROOT / "Tools")]
os.environ.setdefault("DIFFACCEL_LIBRARY", str(ROOT / ".build" / "release" / "libdiffaccel.so"))

#: Where checkpoints and other large files are written once and found again.
CACHE = pathlib.Path(os.environ.get("DIFFACCEL_BENCHMARK_CACHE", ROOT / ".cache" / "benchmarks"))


def arguments(description, size="XL", repeat=5, threads=2):
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--repeat", type=int, default=repeat, help="runs of each contender")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures there")
    if size:
        parser.add_argument("--size", default=size, help="S, B, L or XL")
        parser.add_argument("--seed", type=int, default=0, help="of weights and inputs")
    return parser


def cpu():
    """The processor's name as the system tells it."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1).strip() if found else platform.machine()


def cache_bytes(level):
    """Bytes of the first core's cache of that level; 0 when the system does not tell."""
    for folder in pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if int((folder / "level").read_text()) == level and "nstr" not in (folder / "type").read_text():
                size = (folder / "size").read_text().strip()
                return int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20}[size[-1]]
        except (OSError, ValueError, KeyError):
            continue
    return 0


def machine(*modules):
    """Facts about the machine and the versions of the library and the given modules."""
    import diffaccel

    described = diffaccel.describe()
    versions = {"diffaccel": described["version"], "python": platform.python_version()}
    versions.update({module.__name__: module.__version__ for module in modules})
    return {"cpu": cpu(), "cores": len(os.sched_getaffinity(0)), "isa": described["isa"],
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": f"{platform.system()} {platform.release()}", "load_before": os.getloadavg()[0],
            "date": time.strftime("%Y-%m-%d"), "versions": versions}


def sentence(facts):
    """The machine in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (f"{facts['cpu']}, {facts['cores']} cores ({facts['isa']}), {facts['memory_gb']} GB, {facts['system']}; "
            f"{versions}; load before the run {facts['load_before']:.1f}; {facts['date']}")


def alternate(contenders, repeat, beside=None, settle=0.05):
    """Seconds of each run of each contender, taking turns so that a slow minute strikes all of them.

    Everyone runs once unmeasured first. `beside`, when given, is called between any two runs; its values come back as
    the second result, for each contender a list of (before, after).
    """
    for run in contenders.values():
        run()
    seconds = {name: [] for name in contenders}
    around = {name: [] for name in contenders}
    for round_number in range(repeat):
        before = beside() if beside else None
        # The order turns from round to round: nobody always runs behind the same neighbour.
        names = list(contenders)
        names = names[round_number % len(names):] + names[: round_number % len(names)]
        for name in names:
            time.sleep(settle)  # threads of the one before, which may still be spinning, go to sleep
            start = time.perf_counter()
            contenders[name]()
            seconds[name].append(time.perf_counter() - start)
            after = beside() if beside else None
            around[name].append((before, after))
            before = after
    return seconds, around


def paired_ratio(numerator, denominator):
    """Median over the rounds of numerator / denominator: both of a round met about the same machine."""
    return statistics.median(a / b for a, b in zip(numerator, denominator))


def spread(values):
    """Smallest and largest, as text."""
    return f"{min(values):.3g}...{max(values):.3g}"


def table(header, rows):
    """A Markdown table."""
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines)


def finish(title, facts, text, figures, path):
    """Prints the report and writes the figures."""
    print(f"## {title}\n\n{sentence(facts)}\n\n{text}\n", flush=True)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"title": title, "machine": facts, "figures": figures}, indent=1) + "\n")
