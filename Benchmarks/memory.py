"""Peak resident memory of sampling with DiT-XL/2, one sample with guidance: this library and torch, f32 and bf16 weights.

Each contender runs in a fresh process, which reports its VmHWM (all resident pages, those of mapped files included) at the
start, with its libraries imported, and at the end. Beside ours stands what the library's estimate promised.

    python Benchmarks/memory.py --json out/memory.json
"""

import json
import os
import subprocess
import sys

import common

LABELS = [207]


def resident():
    """The process's peak resident bytes so far."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def child_ours(folder, args, plan):
    import diffaccel

    imported = resident()
    model = diffaccel.Model(folder)
    loaded = resident()
    session = model.session(diffaccel.Plan(l2c=plan) if plan else None, threads=args.threads)
    request = {"steps": args.steps, "labels": LABELS, "guidance": args.guidance, "seed": args.seed}
    estimate = session.estimate(**request)["bytes"]
    memory = session.sample(**request, decode=False).stats["memory"]
    return {"imported": imported, "loaded": loaded, "estimate": estimate["weights"] + estimate["peak"],
            "estimate_parts": estimate, "statistics": memory}


def child_torch(folder, args, _plan):
    import random_dit
    import torch
    from dit_diffusion import ddim_sample, linear_schedule
    from safetensors.torch import load_file

    torch.set_num_threads(args.threads)
    random_dit.empty_network(random_dit.configuration("S", latent=2))  # torch imports more when it first meets "meta"
    imported = resident()
    # The way that takes least: the file's pages become the weights.
    network = random_dit.empty_network(random_dit.configuration(args.size))
    network.load_state_dict(load_file(os.path.join(folder, "model.safetensors")), assign=True)
    loaded = resident()
    dtype = network.x_embedder.proj.weight.dtype

    def forward(x, t, y):
        return network(x.to(dtype), t, y).float()

    forward.null_class = network.null_class
    if dtype != torch.float32:  # the network's own time features are f32
        network.t_embedder.forward = lambda t: half_time(network, t, dtype)
    noise = torch.randn(len(LABELS), 4, 32, 32, generator=torch.Generator().manual_seed(args.seed))
    schedule = linear_schedule({"beta_start": 1e-4, "beta_end": 0.02, "train_steps": 1000})
    ddim_sample(forward, schedule, torch.tensor(LABELS), args.steps, args.guidance, noise)
    return {"imported": imported, "loaded": loaded}


def half_time(network, t, dtype):
    """The time network with its sines in f32 and its layers in `dtype`."""
    import torch

    angle = t[:, None].float() * network.t_embedder.rate
    return network.t_embedder.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1).to(dtype))


#: name: (child, layout, element type of the checkpoint, plan, what the table calls it)
CONTENDERS = {
    "ours-f32": (child_ours, "diffusers", "f32", None, "DiffAccel, f32"),
    "ours-f32-cached": (child_ours, "diffusers", "f32", {"policy": "alternate"}, "DiffAccel, f32, every output kept"),
    "ours-bf16": (child_ours, "diffusers", "bf16", None, "DiffAccel, bf16 weights"),
    "torch-f32": (child_torch, "official", "f32", None, "torch eager, f32"),
    "torch-bf16": (child_torch, "official", "bf16", None, "torch eager, bf16 weights and arithmetic"),
}


def measure(name, folder, argv):
    """The child's report. A child of its own: a peak, once reached, stays with its process."""
    command = [sys.executable, os.path.abspath(__file__), *argv, "--child", name, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main():
    parser = common.arguments(__doc__.splitlines()[0], repeat=1)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--child", choices=CONTENDERS, help="run this contender here (used by the script itself)")
    parser.add_argument("--folder", help="its checkpoint")
    args = parser.parse_args()
    if args.child:
        child, _, _, plan, _ = CONTENDERS[args.child]
        found = child(args.folder, args, plan)
        print(json.dumps({**found, "peak": resident()}))
        return

    import random_dit
    import torch

    facts = common.machine(torch)
    argv = ["--threads", str(args.threads), "--size", args.size, "--seed", str(args.seed), "--steps", str(args.steps),
            "--guidance", str(args.guidance)]
    found = {}
    for name in args.only:
        _, layout, dtype, _, _ = CONTENDERS[name]
        folder = random_dit.checkpoint(args.size, layout, dtype, seed=args.seed)
        found[name] = measure(name, folder, argv)
    rows = []
    for name, figures in found.items():
        mb = {key: f"{figures[key] / 1e6:,.0f}" if key in figures else "" for key in ("imported", "loaded", "peak", "estimate")}
        grown = figures["peak"] - figures["imported"]
        beside = f"{grown / figures['estimate']:.3f}" if "estimate" in figures else ""
        rows.append([CONTENDERS[name][-1], mb["imported"], mb["loaded"], f"**{mb['peak']}**", f"{grown / 1e6:,.0f}",
                     mb["estimate"], beside])
    text = (f"One sample with guidance {args.guidance}, {args.steps} DDIM steps, {args.threads} threads; MB of 10^6 bytes.\n\n"
            + common.table(["", "libraries imported", "after loading", "peak", "peak less libraries", "library's estimate",
                            "grown / estimate"], rows))
    common.finish(f"Peak resident memory, DiT-{args.size}/2", facts, text, found, args.json)


if __name__ == "__main__":
    main()
