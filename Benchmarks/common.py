"""What the benchmarks share: taking turns, medians, a description of the machine, Markdown tables and JSON."""

import argparse
import dataclasses
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

if not pathlib.Path(os.environ["DIFFACCEL_LIBRARY"]).exists():
    raise SystemExit(f"{os.environ['DIFFACCEL_LIBRARY']} is missing: make first, or set DIFFACCEL_LIBRARY")

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


def busy_seconds():
    """(clock, processor time of the whole machine, processor time of this process and its children), in seconds."""
    tick = os.sysconf("SC_CLK_TCK")
    fields = [int(value) for value in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _waiting, irq, softirq, steal = fields[:8]
    own = os.times()
    return (time.monotonic(), (user + nice + system + irq + softirq + steal) / tick,
            own.user + own.system + own.children_user + own.children_system)


def neighbours(since):
    """Processors that others (other programs, other machines on the same host) kept busy on average since then."""
    clock, machine_busy, own = (now - then for now, then in zip(busy_seconds(), since))
    return max(0.0, (machine_busy - own) / clock) if clock > 0 else 0.0


def machine(*modules):
    """Facts about the machine and the versions of the library and the given modules."""
    import diffaccel

    described = diffaccel.describe()
    versions = {"diffaccel": described["version"], "python": platform.python_version()}
    versions.update({module.__name__: module.__version__ for module in modules})
    return {"cpu": cpu(), "cores": len(os.sched_getaffinity(0)), "isa": described["isa"],
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": f"{platform.system()} {platform.release()}", "busy_at_start": busy_seconds(),
            "date": time.strftime("%Y-%m-%d"), "versions": versions}


def sentence(facts):
    """The machine in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (f"{facts['cpu']}, {facts['cores']} cores ({facts['isa']}), {facts['memory_gb']} GB, {facts['system']}; "
            f"{versions}; {facts['date']}. Others kept {facts['others_busy']:.2f} cores busy meanwhile.")


@dataclasses.dataclass
class Runs:
    """One contender's runs: seconds by the clock, seconds of processor time of all threads, and what `beside` gave before and
    after each."""

    seconds: list = dataclasses.field(default_factory=list)
    processor: list = dataclasses.field(default_factory=list)
    around: list = dataclasses.field(default_factory=list)

    @property
    def median(self):
        return statistics.median(self.seconds)


def alternate(contenders, repeat, beside=None, settle=0.05):
    """The `Runs` of each contender, taking turns so that a slow minute strikes all of them.

    Everyone runs once unmeasured first. `beside`, when given, is called between any two runs.
    """
    for run in contenders.values():
        run()
    found = {name: Runs() for name in contenders}
    names = list(contenders)
    for turn in range(repeat):
        before = beside() if beside else None
        # The order rotates from round to round, so that no candidate always runs after the same one.
        for name in names[turn % len(names):] + names[: turn % len(names)]:
            time.sleep(settle)  # threads of the one before, which may still be spinning, go to sleep
            processor, start = time.process_time(), time.perf_counter()
            contenders[name]()
            found[name].seconds.append(time.perf_counter() - start)
            found[name].processor.append(time.process_time() - processor)
            after = beside() if beside else None
            found[name].around.append((before, after))
            before = after
    return found


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
    facts["others_busy"] = round(neighbours(facts.pop("busy_at_start")), 3)
    print(f"## {title}\n\n{sentence(facts)}\n\n{text}\n", flush=True)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"title": title, "machine": facts, "figures": figures}, indent=1) + "\n")
