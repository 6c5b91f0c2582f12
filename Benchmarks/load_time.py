"""Opening DiT-XL/2 from a warm page cache: this library's da_model_open beside torch's load_file and load_state_dict.

Ours reads the file, checks it against the network and packs the matrices. torch is timed in two ways: weights copied into a
network that exists already, and the file's pages taken as the weights of a network made for them (assign=True), which reads
almost nothing yet: the first forward does. So both are also timed with one forward of the smallest work, batch 1.

    python Benchmarks/load_time.py --repeat 5 --json out/load.json
"""

import gc
import statistics

import numpy as np
import torch
from safetensors.torch import load_file

import common
import contenders
import random_dit


def warm(path):
    """Reads the file once, so that it is in the page cache."""
    size = 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 24):
            size += len(block)
    return size


class Loaders:
    """The contenders; each keeps nothing but what it must to be timed again."""

    def __init__(self, args):
        import diffaccel

        self.config = random_dit.configuration(args.size)
        self.inputs = contenders.Inputs(self.config, 1, args.seed)
        self.threads = args.threads
        self.official = random_dit.checkpoint(args.size, "official", args.dtype, seed=args.seed)
        self.diffusers = random_dit.checkpoint(args.size, "diffusers", args.dtype, seed=args.seed)
        self.open = diffaccel.Model
        self.network = random_dit.empty_network(self.config)
        self.network.to(random_dit.DTYPES[args.dtype]).to_empty(device="cpu")
        self.network.t_embedder.rate = random_dit.empty_network(self.config).t_embedder.rate
        for value in self.network.parameters():
            value.data.zero_()  # the memory exists before the clock starts

    def state(self):
        return load_file(str(self.official / "model.safetensors"))

    def torch_copied(self):
        self.network.load_state_dict(self.state())

    def torch_assigned(self):
        network = random_dit.empty_network(self.config)
        network.load_state_dict(self.state(), assign=True)
        return network

    def torch_forward(self):
        network = self.torch_assigned()
        contenders.torch_eager(network, self.inputs, self.threads)()

    def ours(self, folder):
        self.open(folder).close()

    def ours_forward(self):
        with self.open(self.official) as model:
            contenders.ours(model, self.inputs, self.threads)()

    def all(self, forwards):
        runs = {"DiffAccel, official layout": lambda: self.ours(self.official),
                "DiffAccel, diffusers layout": lambda: self.ours(self.diffusers),
                "torch, copied into the network": self.torch_copied,
                "torch, file's pages assigned": lambda: self.torch_assigned() and None}
        if forwards:
            runs.update({"DiffAccel, opened and one forward": self.ours_forward,
                         "torch, assigned and one forward": self.torch_forward})
        return {name: lambda run=run: (run(), gc.collect()) for name, run in runs.items()}


def main():
    parser = common.arguments(__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=random_dit.DTYPES, default="f32", help="element type of the checkpoint")
    parser.add_argument("--no-forward", action="store_true", help="leave out the runs with a forward")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    facts = common.machine(torch, np)
    loaders = Loaders(args)
    size = warm(loaders.official / "model.safetensors")
    warm(loaders.diffusers / "diffusion_pytorch_model.safetensors")
    with_forward = not args.no_forward and args.dtype == "f32"  # torch's network mixes no element types
    found = common.alternate(loaders.all(with_forward), args.repeat)
    seconds = {name: runs.seconds for name, runs in found.items()}
    rows = [[name, f"{statistics.median(values):.2f} s", common.spread(values),
             "" if "forward" in name else f"{size / statistics.median(values) / 1e9:.2f}"] for name, values in seconds.items()]
    text = (f"{size / 1e9:.2f} GB of {args.dtype} weights in the page cache, {args.repeat} alternating runs, {args.threads} "
            "threads.\n\n" + common.table(["", "median", "runs (s)", "GB/s"], rows))
    common.finish(f"Opening DiT-{args.size}/2", facts, text, {"bytes": size, "seconds": seconds}, args.json)


if __name__ == "__main__":
    main()
