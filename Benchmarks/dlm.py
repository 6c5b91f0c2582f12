#!/usr/bin/env python3
"""Diffusion language models: plain decoding and every cache on random weights of LLaDA-8B's sizes, beside torch, OpenVINO and llama.cpp.

The library makes whole generations, in bf16 and in int8 weights. The others make plain passes over the same sequence, for as many rows
as the library's plain passes want on average; their seconds count times the number of passes. All have the same weights (torch in
whichever of bf16 and f32 is faster here, OpenVINO in f32, llama.cpp in 16 and 8 bits) and threads, and take turns. Random weights
say nothing about texts; they say what a pass costs. "Ideal" is the ratio of operations; "with weights read" the same when no pass is
faster than reading all matrices once. A model of one layer less makes every generation too: what the last layer cost gives the seconds
at the published depth, whose ratio to plain decoding stands beside that of the query rows. A last table has passes of few rows, which are
bound by reading the weights: bytes a second of the matrices against what a loop reads (native/roofline.c) before each of them.

    python Benchmarks/dlm.py --layers 2 --repeat 1 --threads 2 --json out/dlm.json      20 GB of memory; an hour
    python Benchmarks/dlm.py --small --prompt 60 --length 32 --block 8 --steps 16       a try, in a minute
"""

import functools
import importlib
import statistics
import time

import numpy as np

import common
import language_model
import native

import diffaccel  # noqa: E402 - found through common

PLANS = {
    "plain": None,
    "decode, refresh 8": {"variant": "decode", "refresh": 8},
    "greedy, refresh 2, window 4": {"variant": "greedy", "refresh": 2, "window": 4},
    "prefix": {"variant": "prefix"},
    "dual": {"variant": "dual"},
}
TYPES = {"stored": "bf16", "int8": "int8"}
#: Which plans run with which weights.
OURS = [("stored", plan) for plan in PLANS] + [("int8", "plain"), ("int8", "dual")]
FEW = (1, 8, 24)
OTHERS = ["torch", "openvino", "llama.cpp"]
PACKAGES = {"llama.cpp": "xllamacpp"}


def ours_name(weights, plan):
    return f"DiffAccel {TYPES[weights]}, {plan}"


def generation(model, plan, prompt, options):
    """Runs a generation; gives what the report needs of its statistics."""
    entry = PLANS[plan]
    session = model.session(plan=diffaccel.Plan(dkv=entry) if entry else None, threads=options.threads)
    result = session.sample(tokens=prompt, order="random" if plan.startswith("greedy") else "low_confidence", length=options.length,
                            steps=options.steps, block_length=options.block)
    stats = result.stats
    session.close()
    return {"seconds": stats["seconds"], "flops": stats["totals"]["flops"], "memory": stats["memory"],
            "query_rows": sum(step["query_rows"] for step in stats["steps"]),
            "head_rows": sum(step["head_rows"] for step in stats["steps"]),
            "flops_of_steps": [step["flops"] for step in stats["steps"]]}


def passes(run, tokens, rows, count):
    """Seconds of one plain pass of another contender, the choice of tokens and their confidences included."""
    import torch

    began = time.perf_counter()
    for _ in range(count):
        logits = torch.from_numpy(run(tokens, rows))
        torch.softmax(logits, -1).max(-1)
    return (time.perf_counter() - began) / count


def others(options, folder, sizes, tokens, rows):
    """The other contenders by name."""
    import language_contenders as contenders

    found = {}
    if "torch" in options.only or "openvino" in options.only:
        torch_run = contenders.torch_eager(folder, sizes, options.layers, options.threads, tokens, rows)
        trials = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in torch_run.trials.items())
        print(f"torch, one pass: {trials}", flush=True)
        if "openvino" in options.only:
            wide = torch_run if torch_run.name == "f32" else contenders.torch_eager(
                folder, sizes, options.layers, options.threads, tokens, rows, ["f32"])
            found["OpenVINO f32, plain"] = contenders.openvino(wide.network, options.threads, tokens, rows)
        if "torch" in options.only:
            found[f"torch {torch_run.name}, plain"] = torch_run
    if "llama.cpp" in options.only:
        found.update({f"llama.cpp {dtype}, plain": run for dtype, run in contenders.llama_cpp(
            folder, sizes, options.layers, options.threads, tokens, rows).items()})
    return found


def differences(model, runs, tokens, rows):
    """Of each contender's logits from the library's, relative to the largest."""
    wanted = model.forward("logits", tokens=tokens)[0][rows]
    return {name: float(np.abs(run(tokens, rows) - wanted).max() / np.abs(wanted).max()) for name, run in runs.items()}


def side_by_side(options, models, shallow, runs, tokens, rows, prompt):
    """Figures of all contenders by name, one list entry a round; "shallow" are the seconds with a layer less."""
    names = {ours_name(*key): key for key in OURS if key[0] in models}
    figures = {name: [] for name in [*names, *runs]}
    for turn in range(options.repeat):
        for name in (list(figures) if turn % 2 == 0 else list(reversed(figures))):
            if name in names:
                weights, plan = names[name]
                figures[name].append(generation(models[weights], plan, prompt, options)
                                     | {"shallow": generation(shallow[weights], plan, prompt, options)["seconds"]})
            else:
                seconds = passes(runs[name], tokens, rows, options.passes)
                figures[name].append({"seconds": seconds * options.steps})
    return figures


def few_rows(options, models, runs, sizes):
    """Seconds of passes over few rows by (contender, rows), and the rates at which the machine read beside them."""
    def forward(model, tokens, rows):
        return model.forward("logits", tokens=tokens, threads=options.threads)[0][rows]

    contenders = {f"DiffAccel {TYPES[weights]}": functools.partial(forward, model) for weights, model in models.items()}
    contenders.update({name.removesuffix(", plain"): run for name, run in runs.items() if not name.startswith("OpenVINO")})
    roofline, array = native.Roofline(options.threads), np.ones(1 << 27, np.float32)
    found, reads = {}, []
    for _ in range(max(5, options.repeat)):
        for count in FEW:
            tokens, rows = np.arange(1, count + 1), np.arange(count)
            for name, run in contenders.items():
                reads.append(roofline.read(array))
                began = time.perf_counter()
                run(tokens, rows)
                found.setdefault((name, count), []).append(time.perf_counter() - began)
    return found, reads


def reachable(options, sizes, name, own, plain, read):
    """How many times as fast as plain decoding a plan could be here: its operations at the rate of plain passes, but no pass faster than
    reading all matrices once."""
    block, head = language_model.matrix_elements(sizes)
    seconds = statistics.median(run["seconds"] for run in plain)
    least = (block * options.layers + head) * (1 if "int8" in name else 2) / read
    return seconds / sum(max(flops * seconds / plain[0]["flops"], least) for flops in own[0]["flops_of_steps"])


def deep(options, own):
    """Median seconds of a generation at the published depth: every further layer takes what the last one took."""
    layer = statistics.median(run["seconds"] - run["shallow"] for run in own)
    return statistics.median(run["seconds"] for run in own) + (language_model.LAYERS - options.layers) * layer


def deep_report(options, figures, plain):
    """The table of seconds at the published depth."""
    rows = []
    for name, own in figures.items():
        if "shallow" not in own[0]:
            continue
        base = deep(options, figures[ours_name("int8" if "int8" in name else "stored", "plain")])
        ratio = plain[0]["query_rows"] / own[0]["query_rows"]
        layer = 1e3 * statistics.median(run["seconds"] - run["shallow"] for run in own) / options.steps
        rows.append([name, f"{layer:.1f}", f"{deep(options, own):.0f}", f"{base / deep(options, own):.2f}", f"{ratio:.2f}",
                     f"{100 * base / deep(options, own) / ratio:.0f} %"])
    return (f"With {language_model.LAYERS} layers:\n\n" + common.table(
        ["", "ms per layer and pass", "seconds", "times as fast as plain", "by query rows", "of it"], rows))


def report(options, sizes, figures, apart, read):
    """The first table, and the ratios below it."""
    plain = figures[ours_name("stored", "plain")]
    rows = []
    for name, own in figures.items():
        seconds = statistics.median(run["seconds"] for run in own)
        ratio = common.paired_ratio([run["seconds"] for run in plain], [run["seconds"] for run in own])
        flops = own[0].get("flops", plain[0]["flops"])
        ideal = plain[0]["flops"] / flops
        rows.append([name, f"{seconds:.2f}", common.spread([run["seconds"] for run in own]), f"{options.length / seconds:.2f}",
                     own[0].get("query_rows", plain[0]["query_rows"]), f"{ideal:.2f}",
                     f"{reachable(options, sizes, name, own, plain, read):.2f}" if "flops_of_steps" in own[0] else "",
                     f"{ratio:.2f}", f"{100 * ratio / ideal:.0f} %" if ideal > 1 else "", f"{flops / seconds / 1e9:.0f}",
                     f"{apart[name]:.1e}" if name in apart else ""])
    text = common.table(["", "seconds", "runs", "tokens/s", "query rows", "ideal", "with weights read",
                         "times as fast as plain bf16", "of ideal", "GFLOP/s", "difference of logits"], rows)
    seconds = {name: [run["seconds"] for run in own] for name, own in figures.items()}
    ratios = {f"{name} / {other}": common.paired_ratio(seconds[name], seconds[other])
              for name in figures if not name.startswith("DiffAccel") for other in figures if other.startswith("DiffAccel")}
    listed = "\n".join(f"- {name} = **{value:.2f}**" for name, value in ratios.items())
    return f"{text}\n\n{deep_report(options, figures, plain)}\n\n{listed}", ratios


def few_report(found, reads, sizes, options):
    block, head = language_model.matrix_elements(sizes)
    elements, read = block * options.layers + head, statistics.median(reads)
    rows = []
    for (name, count), seconds in found.items():
        size = 1 if "int8" in name or "q8_0" in name else 2 if "16" in name else 4
        rate = elements * size / statistics.median(seconds)
        rows.append([name, count, f"{1e3 * statistics.median(seconds):.2f}", common.spread([1e3 * s for s in seconds]),
                     f"{rate / 1e9:.1f}", f"{100 * rate / read:.0f} %"])
    return (f"Passes of few rows, all of them through the head. The loop read {common.spread([r / 1e9 for r in reads])} GB/s, "
            f"median {read / 1e9:.1f}.\n\n"
            + common.table(["", "rows", "ms", "runs", "GB/s of matrices", "of what the loop reads"], rows))


def main():
    parser = common.arguments(__doc__.splitlines()[0], size=None, repeat=3)
    parser.add_argument("--layers", type=int, default=2, help="2 or more")
    parser.add_argument("--small", action="store_true", help="sizes that run in seconds")
    parser.add_argument("--prompt", type=int, default=500)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--passes", type=int, default=2, help="of each other contender in a round")
    parser.add_argument("--only", nargs="*", choices=OTHERS, default=OTHERS,
                        help="other contenders (none: the library alone)")
    options = parser.parse_args()
    if options.layers < 2:
        parser.error("--layers: 2 or more, as every generation is made with one layer less too")
    sizes = language_model.SMALL if options.small else language_model.SIZES
    name = f"llada-{'small' if options.small else '8b'}"
    folder, shallow = (language_model.write(common.CACHE / f"{name}-{layers}", sizes, layers)
                       for layers in (options.layers, options.layers - 1))
    facts = common.machine(np, *map(importlib.import_module, (PACKAGES.get(name, name) for name in options.only)))
    models = {}
    for weights in TYPES:
        began = time.time()
        models[weights] = diffaccel.Model(folder, weights=weights)
        size = models[weights].description["bytes"] / 1e9
        print(f"{folder.name}, {TYPES[weights]}: opened in {time.time() - began:.1f} s, {size:.2f} GB", flush=True)
    prompt = np.random.default_rng(1).integers(0, sizes["vocab_size"] - 200, options.prompt)
    first = generation(models["stored"], "plain", prompt, options)
    tokens = np.concatenate([prompt, np.full(options.length, sizes["embedding_size"] - 128)])
    rows = options.prompt + np.arange(max(1, round(first["head_rows"] / options.steps)))
    runs = others(options, folder, sizes, tokens, rows)
    apart = differences(models["stored"], runs, tokens, rows)
    int8 = {ours_name("int8", "plain"): lambda tokens, rows: models["int8"].forward("logits", tokens=tokens)[0][rows]}
    apart.update(differences(models["stored"], int8, tokens, rows))
    figures = side_by_side(options, models, {weights: diffaccel.Model(shallow, weights=weights) for weights in TYPES}, runs, tokens,
                           rows, prompt)
    found, reads = few_rows(options, models, runs, sizes)
    text, ratios = report(options, sizes, figures, apart, statistics.median(reads))
    introduction = (f"Prompt of {options.prompt}, {options.length} tokens in {options.steps} passes, blocks of {options.block}, "
                    f"{options.layers} layers, {options.threads} threads; {len(rows)} rows of a pass of the others are wanted.\n\n")
    common.finish(f"A diffusion language model of LLaDA's {'layout' if options.small else 'sizes'}", facts,
                  introduction + text + "\n\n" + few_report(found, reads, sizes, options),
                  {"runs": figures, "ratios": ratios, "differences": apart, "read": reads,
                   "few": [{"contender": name, "rows": count, "seconds": seconds} for (name, count), seconds in found.items()]},
                  options.json)


if __name__ == "__main__":
    main()
