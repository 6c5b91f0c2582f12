#!/usr/bin/env python3
"""Asynchronous denoising over a network of 1 and 10 Gbit/s: time of a call as a model foretells it, and as it is measured.

Ranks run in network namespaces (async_network.sh; root, Open MPI, `make mpi`). Twice:
- components that only wait, of the sizes and times of Stable Diffusion 2.1 at 512 x 512 on nodes of a given speed, so that 2, 3 and 4 nodes
  can be shown by a machine with fewer processors (`rank-exercise network`);
- a model (--model FOLDER), two ranks of one thread each, against one process of one thread.

Two models. By the formula a call takes as long as the slowest of: a component; the bytes over the busiest node's link; any ring of components
of which each waits for what the one before it made a call earlier: the mean, over the ring, of the time until a message is ready, its bytes by
the bandwidth and the latency, both as plain messages between two of the nodes see them. The simulation follows every message of every call.
"""

import argparse
import itertools
import json
import math
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build" / "release"
MIB = 1 << 20
#: Stable Diffusion 2.1 at 512 x 512, guidance in one batch: shares of the components of the published splits, and what crosses between them:
#: (from, to, MiB, when it is ready as a share of the sender's time).
SPLITS = {
    2: ([0.487, 0.513],
        [(0, 1, 10, 0), (0, 1, 10, .14), (0, 1, 10, .275), (0, 1, 2.5, .28), (0, 1, 5, .36), (0, 1, 5, .45), (0, 1, 2.5, 1)]),
    3: ([0.311, 0.444, 0.246],
        [(0, 2, 10, 0), (0, 2, 10, .216), (0, 2, 10, .43), (0, 1, 2.5, .44), (0, 1, 5, .565), (0, 1, 5, .703), (0, 1, 1.25, .711),
         (0, 1, 2.5, .828), (0, 1, 2.5, .96), (0, 1, .625, .967), (0, 1, .625, .98), (0, 1, .625, 1), (1, 2, 20, 1)]),
    4: ([0.222, 0.325, 0.248, 0.205],
        [(0, 3, 10, 0), (0, 3, 10, .303), (0, 2, 10, .607), (0, 2, 2.5, .617), (0, 2, 5, .79), (0, 2, 5, .98), (0, 1, 1.25, 1),
         (1, 2, 10, 1), (2, 3, 10, 1)]),
}
#: Multiply-adds of one sample in one call, and bytes of a prediction for both halves of the guidance.
MACS, PREDICTION = 402.13e9, 128 * 1024


def step(seconds, shares, transfers, prediction, bandwidth, latency):
    """Seconds of a call after the warm-up. `transfers` are (from, to, bytes, when)."""
    nodes = range(len(shares))
    spread = prediction * (len(shares) - 1)
    # The prediction leaves the last component, once to every other.
    messages = [*transfers, *((nodes[-1], node, spread, 1) for node in nodes[:-1])]
    link = max(max(sum(t[2] for t in transfers if t[side] == node) for side in (0, 1)) for node in nodes) + spread
    delays = {}
    for a, b, size, when in messages:
        ready = when * shares[a] * seconds + size / bandwidth + latency
        delays[a, b] = max(delays.get((a, b), 0), ready)
    rings = (ring for length in nodes[1:] for ring in itertools.permutations(nodes, length + 1))
    waited = (sum(delays.get(pair, -math.inf) for pair in zip(ring, ring[1:] + ring[:1])) / len(ring) for ring in rings)
    return max(max(shares) * seconds, link / bandwidth, *waited)


def simulated(seconds, shares, transfers, prediction, bandwidth, latency, calls=30):
    """Seconds of a call after the warm-up, message by message: a node sends one at a time and receives one at a time."""
    count = len(shares)
    free = [0.0] * count
    tensors, predicted = [0.0] * count, [0.0] * count
    sending, receiving = [0.0] * count, [0.0] * count
    ends = []
    for _ in range(calls):
        starts = [max(free[node], tensors[node], predicted[node]) for node in range(count)]
        free = [start + share * seconds for start, share in zip(starts, shares)]
        messages = [(starts[a] + when * shares[a] * seconds, a, b, size, tensors) for a, b, size, when in transfers]
        messages += [(free[-1], count - 1, node, prediction, predicted) for node in range(count - 1)]
        for ready, a, b, size, arrivals in sorted(messages, key=lambda message: message[:4]):
            end = max(ready, sending[a], receiving[b]) + size / bandwidth
            sending[a] = receiving[b] = end
            arrivals[b] = max(arrivals[b], end + latency)
        ends.append(max(*predicted[:-1], free[-1]))
    half = calls // 2
    return (ends[-1] - ends[half]) / (calls - 1 - half)


def run(nodes, rate, delay, command):
    """The output of `command` on as many nodes."""
    environment = dict(os.environ, DIFFACCEL_MPI_PLUGIN=str(BUILD / "libdiffaccel_mpi.so"))
    # Through a file: mpirun's daemons may keep a pipe open for longer than the run.
    with tempfile.TemporaryFile("w+") as file:
        done = subprocess.run(
            [str(ROOT / "Benchmarks" / "async_network.sh"), str(nodes), str(rate), str(delay), *map(str, command)],
            env=environment, stdout=file, stderr=subprocess.STDOUT, timeout=900, check=False)
        file.seek(0)
        output = file.read()
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{output}")
    return output


def number(name, output):
    return float(re.search(rf"^{name} ([0-9.e+-]+)$", output, re.M).group(1))


def waiting_components(options, report):
    """Components that only wait."""
    for rate in options.rates:
        for nodes in options.nodes:
            shares, crossing = SPLITS[nodes]
            seconds = 4 * MACS / (options.tflops * 1e12)
            transfers = [(a, b, int(size * MIB), when) for a, b, size, when in crossing]
            text = ",".join(f"{a}>{b}:{size}@{when}" for a, b, size, when in transfers)
            output = run(nodes, rate, options.delay, [
                BUILD / "rank-exercise", "network", options.calls, ":".join(str(share * seconds) for share in shares), text, PREDICTION])
            bandwidth, latency, measured = (number(name, output) for name in ("bandwidth", "latency", "call"))
            foretold = [model(seconds, shares, transfers, PREDICTION, bandwidth, latency) for model in (step, simulated)]
            report(f"{nodes} nodes of {options.tflops} TFLOP/s, waiting", rate, output, bandwidth, latency, seconds, foretold, measured)


def sampled(output):
    """Seconds of each call of a run of `diffaccel sample --json`."""
    statistics = json.loads(output[output.index("{"):])["statistics"]
    return [row["seconds"] for row in statistics["steps"]], statistics


def middle(values):
    """The median."""
    return sorted(values)[len(values) // 2]


def real_model(options, report):
    """A model on two nodes of one thread each."""
    cli = BUILD / "diffaccel-cli"
    command = [cli, "sample", options.model, "--prompt", "red apple", "--steps", options.steps, "--sampler", "ddim", "--threads", 1, "--json",
               "--seed", 1, *options.extra, "--latents", pathlib.Path(tempfile.gettempdir()) / "async_network.safetensors"]
    alone = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout
    whole, statistics = sampled(alone)
    seconds, operations = middle(whole), statistics["steps"][-1]["flops"]
    for rate in options.rates:
        probe = run(2, rate, options.delay, [BUILD / "rank-exercise", "network", 1, "0.01:0.01", "0>1:1024@1", 1024])
        bandwidth, latency = number("bandwidth", probe), number("latency", probe)
        output = run(2, rate, options.delay, [*command, "--plan", "async:2", "--executor", "mpi"])
        calls, statistics = sampled(output)
        measured = middle(calls[2:])
        # Rank 0 has the first component; the last call leaves it out.
        share = middle([step["flops"] for step in statistics["steps"][2:-1]]) / operations
        shares = [share, 1 - share]
        sent = [rank["sent"] / len(calls) for rank in statistics["ranks"]]
        transfers = [(0, 1, sent[0], .5), (1, 0, sent[1], .5)]
        foretold = [model(seconds, shares, transfers, 0, bandwidth, latency) for model in (step, simulated)]
        report(f"{pathlib.Path(options.model).name}, 2 ranks of one thread", rate, output, bandwidth, latency, seconds, foretold, measured)


def eight_nodes(options, figures):
    """What 8 nodes would give: halves of the guidance on two groups of four components each."""
    shares, crossing = SPLITS[4]
    seconds = 4 * MACS / (options.tflops * 1e12)
    for rate in options.rates:
        known = [figure for figure in figures if figure["rate"] == rate]
        bandwidth, latency = (sum(figure[name] for figure in known) / len(known) for name in ("bandwidth", "latency"))
        half = [(a, b, size * MIB / 2, when) for a, b, size, when in crossing]
        # Each group has one row of two, and the halves of the prediction are exchanged.
        call = step(seconds / 2, shares, half, PREDICTION / 2, bandwidth, latency) + PREDICTION / 2 / bandwidth + latency
        total = seconds / 2 + 49 * call
        print(f"8 nodes of {options.tflops} TFLOP/s at {rate} Mbit/s, guidance split over 2 x 4 components, 50 calls: "
              f"{call:.3f} s a call instead of {seconds:.3f}, {50 * seconds / total:.1f} x in all (foretold)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tflops", type=float, default=1, help="of a node that only waits (1)")
    parser.add_argument("--calls", type=int, default=8, help="of components that only wait (8)")
    parser.add_argument("--nodes", type=lambda text: [int(word) for word in text.split(",") if word], default=[2, 3, 4],
                        help="of which components only wait (2,3,4); an empty list: none")
    parser.add_argument("--rates", type=lambda text: [int(word) for word in text.split(",")], default=[1000, 10000], help="Mbit/s")
    parser.add_argument("--delay", type=float, default=0.1, help="milliseconds, where the kernel has netem (0.1)")
    parser.add_argument("--model", type=lambda text: pathlib.Path(text).resolve(), help="a pipeline, for a run that computes")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", type=pathlib.Path, help="write all figures there")
    parser.add_argument("extra", nargs="*", help="further options of diffaccel sample, after --")
    options = parser.parse_args()
    figures = []

    def report(name, rate, output, bandwidth, latency, seconds, foretold, measured):
        if not figures:
            print(f"{output.splitlines()[0]}; {platform.machine()}, {os.cpu_count()} processors\n")
            print("| run | Mbit/s | messages: MB/s, ms | call on one node, s | by the formula, s | simulated, s | measured, s "
                  "| measured / formula | / simulated | speed-up of a call |")
            print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        print(f"| {name} | {rate} | {bandwidth / 1e6:.0f}, {latency * 1e3:.2f} | {seconds:.3f} | {foretold[0]:.3f} | {foretold[1]:.3f} "
              f"| {measured:.3f} | {measured / foretold[0]:.2f} | {measured / foretold[1]:.2f} | {seconds / measured:.2f} |", flush=True)
        figures.append({"name": name, "rate": rate, "bandwidth": bandwidth, "latency": latency, "seconds": seconds, "foretold": foretold,
                        "measured": measured})

    if options.nodes:
        waiting_components(options, report)
    if options.model:
        real_model(options, report)
    print()
    if options.nodes:
        eight_nodes(options, figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
