#!/usr/bin/env python3
"""Whole generations of a diffusion language model beside diffuse-cpp, the C++ program that has a cache too.

diffuse-cpp is in no package: build it with the ggml its repository names, and give its folder. Its checkpoint is made by its own
converter from the same random weights (f16) and its own quantiser (q8_0). It knows no blocks, so the sequence is one block for both, and
as many places are revealed in each pass. Its cache feeds the masked places and those revealed in the pass before, whatever became of
the others' surroundings: what dKV-Cache-Decode without a refresh feeds. Each of its runs is a process; what it says of its own seconds
counts, without loading.

    cmake -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build     in diffuse-cpp's folder
    python Benchmarks/diffuse_cpp.py --diffuse-cpp FOLDER --layers 2 --prompt 64 --length 64 --json out/diffuse_cpp.json
"""

import pathlib
import re
import statistics
import subprocess
import sys

import numpy as np

import common
import language_model

import diffaccel  # noqa: E402 - found through common

TYPES = ("f16", "q8_0")


def checkpoint(program, folder, dtype):
    """The weights of `folder` as diffuse-cpp wants them, written once."""
    wide = folder / "diffuse-f16.gguf"
    path = folder / f"diffuse-{dtype}.gguf"
    if not wide.exists():
        subprocess.run([sys.executable, program / "tools" / "convert-llada.py", "--input", folder, "--output", wide, "--type", "f16"],
                       check=True, stdout=subprocess.DEVNULL)
    if not path.exists():
        subprocess.run([program / "build" / "diffuse-quantize", wide, path, dtype], check=True, capture_output=True)
    return path


def theirs(program, path, prompt, options, cached):
    """One of its generations: seconds, query positions."""
    command = [program / "build" / "diffuse-cli", "-m", path, "--tokens", ",".join(map(str, prompt)), "-n", options.length,
               "-s", options.steps, "-t", options.threads, "--schedule", "linear", "--remasking", "low_confidence"]
    done = subprocess.run([*map(str, command), *([] if cached else ["--no-cache"])], check=True, capture_output=True, text=True)
    total = re.search(r"TOTAL:\s+([0-9.]+) ms", done.stderr)
    queries = re.findall(r"active=(\d+)/", done.stderr)
    if not total or len(queries) != options.steps:
        raise SystemExit(f"diffuse-cpp says something else than expected:\n{done.stderr[-2000:]}")
    return {"seconds": float(total.group(1)) / 1e3, "query_rows": sum(map(int, queries))}


def ours(model, plan, prompt, options):
    """One generation of the library."""
    session = model.session(plan=diffaccel.Plan(dkv=plan) if plan else None, threads=options.threads)
    stats = session.sample(tokens=prompt, length=options.length, steps=options.steps, block_length=options.length).stats
    session.close()
    return {"seconds": stats["seconds"], "query_rows": sum(step["query_rows"] for step in stats["steps"])}


def difference(program, path, model, sequence, threads, scratch):
    """Of its logits from the library's in bf16, relative to the largest."""
    subprocess.run([program / "build" / "dump-logits", "-m", path, "--tokens", ",".join(map(str, sequence)), "-o", scratch,
                    "-t", str(threads)], check=True, capture_output=True)
    wanted = model.forward("logits", tokens=sequence)[0]
    found = np.fromfile(scratch, np.float32, offset=8).reshape(wanted.shape)
    scratch.unlink()
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def main():
    parser = common.arguments(__doc__.splitlines()[0], size=None, repeat=1)
    parser.add_argument("--diffuse-cpp", type=pathlib.Path, required=True, help="its folder, built in build")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="sizes that run in seconds")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--steps", type=int, default=64)
    options = parser.parse_args()
    program = options.diffuse_cpp.resolve()
    sizes = language_model.SMALL if options.small else language_model.SIZES
    folder = language_model.write(common.CACHE / f"llada-{'small' if options.small else '8b'}-{options.layers}", sizes, options.layers)
    facts = common.machine(np)
    prompt = np.random.default_rng(1).integers(0, sizes["vocab_size"] - 200, options.prompt)
    sequence = np.concatenate([prompt, np.full(options.length, sizes["embedding_size"] - 128)])
    models = {weights: diffaccel.Model(folder, weights=weights) for weights in ("stored", "int8")}
    cache = {"variant": "decode", "refresh": options.steps}
    contenders, apart = {}, {}
    for weights, model in models.items():
        for name, plan in (("plain", None), ("decode, no refresh", cache)):
            contenders[f"DiffAccel {weights.replace('stored', 'bf16')}, {name}"] = lambda m=model, p=plan: ours(m, p, prompt, options)
    for dtype in TYPES:
        path = checkpoint(program, folder, dtype)
        for name, cached in (("plain", False), ("cache", True)):
            contenders[f"diffuse-cpp {dtype}, {name}"] = lambda p=path, c=cached: theirs(program, p, prompt, options, c)
        apart[f"diffuse-cpp {dtype}, plain"] = difference(program, path, models["stored"], sequence, options.threads,
                                                         folder / "diffuse-logits.bin")
    figures = {name: [] for name in contenders}
    for turn in range(options.repeat):
        for name in (list(contenders) if turn % 2 == 0 else list(reversed(contenders))):
            figures[name].append(contenders[name]())
    seconds = {name: [run["seconds"] for run in runs] for name, runs in figures.items()}
    first = next(iter(contenders))
    rows = [[name, f"{statistics.median(seconds[name]):.1f}", common.spread(seconds[name]), runs[0]["query_rows"],
             f"{options.length / statistics.median(seconds[name]):.2f}", f"{common.paired_ratio(seconds[first], seconds[name]):.2f}",
             f"{apart[name]:.1e}" if name in apart else ""] for name, runs in figures.items()]
    # Plain beside plain, cache beside cache.
    ratios = {f"{other} / {own}": common.paired_ratio(seconds[other], seconds[own])
              for other in contenders if other.startswith("diffuse") for own in contenders if own.startswith("DiffAccel")
              if other.endswith("plain") == own.endswith("plain")}
    introduction = (f"Prompt of {options.prompt}, {options.length} tokens in {options.steps} passes, one block, {options.layers} layers, "
                    f"{options.threads} threads.\n\n")
    text = common.table(["", "seconds", "runs", "query rows", "tokens/s", "times as fast as plain bf16", "difference of logits"], rows)
    common.finish("Beside diffuse-cpp", facts,
                  introduction + text + "\n\n" + "\n".join(f"- {name} = **{value:.2f}**" for name, value in ratios.items()),
                  {"runs": figures, "ratios": ratios, "differences": apart}, options.json)


if __name__ == "__main__":
    main()
