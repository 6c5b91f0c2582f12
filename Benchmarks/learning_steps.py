"""One step of learning beside torch eager doing the same mathematics: a Learning-to-Cache router, TinyFusion's gates with LoRA, and all weights.

A DiT of a published size with random weights, f32, the official layout. Both make steps in turns, each over random batches of its own.
Peak memory is that of a process that makes three steps.

    python Benchmarks/learning_steps.py --size B --batch 8 --repeat 7 --json out/learning.json
"""

import json
import subprocess
import sys

import numpy as np

import common
from memory import resident

SETTINGS = {
    "router": {"sampling_steps": 20},
    "prune": {"pattern": "1:2"},
    "finetune": {},
}


def data(args):
    """A safetensors file of random latents and labels, written once."""
    path = common.CACHE / "learning-latents.safetensors"
    if not path.exists():
        from safetensors.numpy import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        g = np.random.default_rng(0)
        save_file({"latents": g.standard_normal((256, 4, 32, 32), dtype=np.float32),
                   "labels": g.integers(0, 1000, 256)}, str(path))
    return path


def ours(method, args):
    """A function that makes one step, and one that describes the trainer."""
    import diffaccel

    folder = args.folder
    if folder is None:
        import random_dit  # imports torch, which has no place in a process whose memory is ours

        folder = random_dit.checkpoint(args.size, "official", seed=args.seed)
    trainer = diffaccel.learn.trainer(folder, method, data(args), batch=args.batch, steps=100_000, threads=args.threads,
                                      recompute=args.recompute, **SETTINGS[method])
    return (lambda: trainer.run(1)), trainer


def theirs(method, args):
    """A function that makes one step in torch."""
    import torch

    import random_dit
    import torch_learning
    from safetensors.torch import load_file

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = random_dit.torch_network(args.size, seed=args.seed)
    kind = {"router": torch_learning.Router, "prune": lambda n: torch_learning.Pruning(n, 100_000),
            "finetune": torch_learning.Finetuning}[method]
    recipe = kind(network)
    tensors = load_file(str(data(args)))
    generator = torch.Generator().manual_seed(1)

    def step():
        chosen = torch.randperm(256, generator=generator)[: args.batch]
        recipe.step(tensors["latents"][chosen], tensors["labels"][chosen])

    return step


def memory(method, who, args):
    """Peak resident bytes of a process that makes three steps."""
    import random_dit

    command = [sys.executable, __file__, "--only", f"{who}:{method}", "--size", args.size, "--batch", str(args.batch),
               "--threads", str(args.threads), "--folder", str(random_dit.checkpoint(args.size, "official", seed=args.seed))]
    if args.recompute and who == "ours":
        command.append("--recompute")
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def measure_alone(args):
    who, method = args.only.split(":")
    step = ours(method, args)[0] if who == "ours" else theirs(method, args)
    for _ in range(3):
        step()
    print(json.dumps({"peak": resident()}))


def main():
    parser = common.arguments(__doc__.splitlines()[0], size="B", repeat=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--methods", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--recompute", action="store_true", help="ours: blocks keep their input only")
    parser.add_argument("--only", help="who:method, for the memory of one process (used by the script itself)")
    parser.add_argument("--folder", help="its checkpoint")
    args = parser.parse_args()
    if args.only:
        return measure_alone(args)
    import torch

    facts = common.machine(torch, np)
    figures, rows = {}, []
    for method in args.methods:
        step, trainer = ours(method, args)
        found = common.alternate({"ours": step, "torch": theirs(method, args)}, args.repeat)
        ratio = common.paired_ratio(found["torch"].seconds, found["ours"].seconds)
        processor = common.paired_ratio(found["torch"].processor, found["ours"].processor)
        del step, trainer
        peaks = {who: memory(method, who, args)["peak"] for who in ("ours", "torch")}
        figures[method] = {who: {"seconds": runs.seconds, "processor": runs.processor, "peak": peaks[who]}
                           for who, runs in found.items()} | {"ratio": ratio, "ratio_processor": processor}
        rows.append([method] + [f"{found[who].median:.2f} s ({common.spread(found[who].seconds)})" for who in ("ours", "torch")]
                    + [f"**{ratio:.2f}**", f"{processor:.2f}"] + [f"{peaks[who] / 1e6:,.0f} MB" for who in ("ours", "torch")])
    text = common.table(["step of", "DiffAccel", "torch eager", "torch / DiffAccel", "by processor time", "peak, DiffAccel",
                         "peak, torch"], rows)
    common.finish(f"Learning on DiT-{args.size}/2, batch {args.batch}, {args.threads} threads", facts, text, figures, args.json)


if __name__ == "__main__":
    main()
