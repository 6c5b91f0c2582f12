"""One forward pass of DiT at a published size: this library and torch eager, side by side.

Both run the same random weights (official layout, written once to a scratch folder) on the same input, alternating, with the
same number of threads; the medians and their ratio are what counts on a shared machine. Outputs are compared too.

    python Benchmarks/dit_forward.py --size XL --repeat 5
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import torch
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bindings" / "python"), str(ROOT / "Tools")]

import diffaccel  # noqa: E402
from dit_model import DiT  # noqa: E402

SIZES = {"S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}


def configuration(size, latent, patch):
    depth, width, heads = SIZES[size]
    return {"input_size": latent, "patch_size": patch, "in_channels": 4, "hidden_size": width, "depth": depth,
            "num_heads": heads, "num_classes": 1000, "mlp_ratio": 4.0, "learn_sigma": True,
            "frequency_embedding_size": 256, "class_dropout_prob": 0.1}


def build(config, seed):
    """A torch DiT with random weights of every kind (a fresh one has zero gates, which would hide errors)."""
    torch.manual_seed(seed)
    network = DiT(config)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "adaLN" in name or "final_layer" in name:
                value.normal_(0, 0.02)
    return network.eval()


def write(network, config, folder):
    (folder / "config.json").write_text(json.dumps({"family": "dit", "model": config}))
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, str(folder / "model.safetensors"))


def alternate(contenders, repeat):
    """Seconds per run of each contender, taking turns; one warm-up each."""
    for run in contenders.values():
        run()
    seconds = {name: [] for name in contenders}
    for _ in range(repeat):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="XL")
    parser.add_argument("--latent", type=int, default=32)
    parser.add_argument("--patch", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    config = configuration(args.size, args.latent, args.patch)
    network = build(config, args.seed)
    with tempfile.TemporaryDirectory() as name:
        write(network, config, pathlib.Path(name))
        model = diffaccel.Model(name)

    generator = np.random.default_rng(args.seed)
    x = generator.standard_normal((args.batch, 4, args.latent, args.latent), dtype=np.float32)
    t = np.full(args.batch, 500, dtype=np.float32)
    y = np.arange(args.batch, dtype=np.int64)
    inputs = (torch.from_numpy(x), torch.from_numpy(t), torch.from_numpy(y))

    def ours():
        return model.forward(x=x, t=t, y=y, threads=args.threads)

    def eager():
        with torch.inference_mode():
            return network(*inputs).numpy()

    difference = np.abs(ours() - eager()).max() / np.abs(eager()).max()
    seconds = alternate({"diffaccel": ours, "torch": eager}, args.repeat)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    gigaflop = model.description["flops"] * args.batch / 1e9
    print(f"DiT-{args.size}/{args.patch}, latent {args.latent}, batch {args.batch}, {args.threads} threads, "
          f"{gigaflop:.1f} GFLOP, torch {torch.__version__}, largest relative difference {difference:.1e}")
    for name, values in seconds.items():
        runs = " ".join(f"{value:.2f}" for value in values)
        print(f"  {name:10s} median {medians[name]:7.3f} s  {gigaflop / medians[name]:6.1f} GFLOP/s   ({runs})")
    print(f"  torch / diffaccel = {medians['torch'] / medians['diffaccel']:.2f}")


if __name__ == "__main__":
    main()
