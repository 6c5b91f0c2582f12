#!/usr/bin/env python3
"""Diffusion language models: plain decoding and every cache on random weights of LLaDA-8B's sizes, with as many layers as fit.

Per contender: seconds, rows fed, the ideal speed-up (ratio of operations of all passes, as the library counts them) and the measured
one. Random weights say nothing about texts; they say what a pass costs.
"""

import json
import statistics
import struct
import time

import numpy as np

import common

import diffaccel  # noqa: E402 - found through common

SIZES = dict(d_model=4096, n_heads=32, n_kv_heads=32, mlp_hidden_size=12288, vocab_size=126464, embedding_size=126464)
SMALL = dict(d_model=512, n_heads=8, n_kv_heads=8, mlp_hidden_size=1536, vocab_size=8192, embedding_size=8192)
PLANS = {
    "plain": None,
    "decode, refresh 8": {"variant": "decode", "refresh": 8},
    "greedy, refresh 2, window 4": {"variant": "greedy", "refresh": 2, "window": 4},
    "prefix": {"variant": "prefix"},
    "dual": {"variant": "dual"},
}


def write(folder, sizes, layers, seed=0):
    """A LLaDA of random bf16 weights, written once."""
    if (folder / "config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    d, kv = sizes["d_model"], sizes["n_kv_heads"] * sizes["d_model"] // sizes["n_heads"]
    mlp, vocabulary = sizes["mlp_hidden_size"], sizes["embedding_size"]
    shapes = {"model.transformer.wte.weight": (vocabulary, d), "model.transformer.ln_f.weight": (d,),
              "model.transformer.ff_out.weight": (vocabulary, d)}
    for i in range(layers):
        p = f"model.transformer.blocks.{i}."
        for name, shape in (("attn_norm", (d,)), ("ff_norm", (d,)), ("q_proj", (d, d)), ("k_proj", (kv, d)), ("v_proj", (kv, d)),
                            ("attn_out", (d, d)), ("ff_proj", (mlp, d)), ("up_proj", (mlp, d)), ("ff_out", (d, mlp))):
            shapes[f"{p}{name}.weight"] = shape
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(seed)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            scale = 1.0 / np.sqrt(shape[-1]) if len(shape) > 1 else 0.1
            for start in range(0, int(np.prod(shape)), 1 << 24):
                count = min(1 << 24, int(np.prod(shape)) - start)
                values = rng.standard_normal(count, np.float32) * scale + (len(shape) == 1)
                file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())
    config = dict(sizes, model_type="llada", n_layers=layers, rope_theta=500000.0, rms_norm_eps=1e-5, weight_tying=False,
                  mask_token_id=vocabulary - 128, max_sequence_length=4096)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def main():
    parser = common.arguments(__doc__.splitlines()[0], size=None, repeat=3)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--small", action="store_true", help="sizes that run in seconds")
    parser.add_argument("--prompt", type=int, default=500)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--steps", type=int, default=64)
    options = parser.parse_args()
    sizes = SMALL if options.small else SIZES
    name = f"llada-{'small' if options.small else '8b'}-{options.layers}"
    began = time.time()
    model = diffaccel.Model(write(common.CACHE / name, sizes, options.layers))
    print(f"{name}: opened in {time.time() - began:.1f} s, {model.description['bytes'] / 1e9:.2f} GB in memory")
    prompt = np.random.default_rng(1).integers(0, sizes["vocab_size"] - 200, options.prompt)
    request = dict(length=options.length, steps=options.steps, block_length=options.block)
    runs = {plan: [] for plan in PLANS}
    for turn in range(options.repeat):
        for plan in (list(PLANS) if turn % 2 == 0 else list(reversed(PLANS))):
            entry = PLANS[plan]
            session = model.session(plan=diffaccel.Plan(dkv=entry) if entry else None, threads=options.threads)
            order = "random" if plan.startswith("greedy") else "low_confidence"
            result = session.generate(prompt, order=order, **request)
            stats = result.stats
            runs[plan].append({"seconds": stats["seconds"], "flops": stats["totals"]["flops"],
                               "fed": sum(step["fed"] for step in stats["steps"]), "memory": stats["memory"]})
            session.close()
    plain = runs["plain"]
    print(f"\nprompt {options.prompt}, generates {options.length} in {options.steps} passes, blocks of {options.block}, "
          f"{options.threads} threads, {common.cpu()}\n")
    print("| plan | seconds | tokens/s | rows fed | ideal | measured | of ideal | GFLOP/s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for plan, own in runs.items():
        seconds = statistics.median(run["seconds"] for run in own)
        ideal = plain[0]["flops"] / own[0]["flops"]
        measured = statistics.median(a["seconds"] / b["seconds"] for a, b in zip(plain, own))
        print(f"| {plan} | {seconds:.2f} | {options.length / seconds:.2f} | {own[0]['fed']} | {ideal:.2f}x | {measured:.2f}x | "
              f"{100 * measured / ideal:.0f} % | {own[0]['flops'] / seconds / 1e9:.0f} |")
    if options.json:
        options.json.write_text(json.dumps({"options": {k: str(v) for k, v in vars(options).items()}, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
