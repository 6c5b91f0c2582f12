"""Train a VAR of fashion-var on the tokens of its VQ-VAE: the drafter, the refiner, or either specialised for CoDe.

  python Tools/train_var.py --out Models/fashion-var --depth 6 --width 192 --heads 3
  python Tools/train_var.py --out Models/fashion-var/refiner --depth 3 --width 128 --heads 2 --bare
  python Tools/train_var.py --out specialised/drafter --from Models/fashion-var --draft-scales 4
  python Tools/train_var.py --out specialised/refiner --from Models/fashion-var/refiner --bare --draft-scales 4 \\
      --teacher Models/fashion-var

With --draft-scales N a drafter learns cross-entropy on its first N scales only, and a model with --teacher the teacher's whole
distribution on the others (the roles of the CoDe paper).  Resumable; limited by --steps or --minutes.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from checkpoints import write_atomically, write_json, write_model
from fashion_data import DEFAULT_DATA, LABELS, load_split
from train_vqvae import CONFIG, SIDES, pictures
from var_model import VAR, VQVAE


def load_codes(folder):
    """The VQ-VAE in evaluation mode."""
    codes = VQVAE(CONFIG, SIDES).eval().requires_grad_(False)
    codes.load_state_dict({name: value.float() for name, value in load_file(Path(folder) / "model.safetensors").items()})
    return codes


def load_var(folder):
    """A trained VAR and its sizes."""
    config = json.loads((Path(folder) / "config.json").read_text())["model"]
    network = VAR(config)
    network.load_state_dict({name: value.float() for name, value in load_file(Path(folder) / "model.safetensors").items()})
    return network, config


@torch.inference_mode()
def tokenise(codes, images, batch=500):
    """Tokens of all pictures, [n, all scales], as int16."""
    parts = []
    for start in range(0, len(images), batch):
        tokens, _ = codes.quantize.encode(codes.features(pictures(images[start : start + batch])))
        parts.append(torch.cat(tokens, 1).to(torch.int16))
    return torch.cat(parts)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default=DEFAULT_DATA)
    p.add_argument("--codes", default="Models/fashion-var/vae")
    p.add_argument("--out", default="Models/fashion-var")
    p.add_argument("--state", help="resumable state (default: beside .cache/fashion-var, named after --out)")
    p.add_argument("--depth", type=int, default=6)
    p.add_argument("--width", type=int, default=192)
    p.add_argument("--heads", type=int, default=3)
    p.add_argument("--bare", action="store_true", help="a refiner: sampled with another model's VQ-VAE")
    p.add_argument("--from", dest="start", help="folder of a trained model to go on from")
    p.add_argument("--teacher", help="folder of the model whose distribution is learned on the refined scales")
    p.add_argument("--draft-scales", type=int, default=0, help="N of CoDe; 0: all scales count")
    p.add_argument("--steps", type=int, default=8000)
    p.add_argument("--minutes", type=float, default=math.inf)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--dropout", type=float, default=0.1, help="share of labels replaced by none")
    p.add_argument("--ema", type=float, default=0.999)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--pictures", type=int, default=0, help="only so many training pictures: to try the script; 0: all")
    options = p.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    state_path = Path(options.state or f".cache/fashion-var/{options.out.replace('/', '-')}.pt")
    images, labels = load_split("train", options.data)
    if options.pictures:
        images, labels = images[: options.pictures], labels[: options.pictures]
    codes = load_codes(options.codes)
    tokens = tokenise(codes, images)
    counts = [side * side for side in SIDES]
    drafted = sum(counts[: options.draft_scales])
    config = {"depth": options.depth, "embed_dim": options.width, "num_heads": options.heads, "num_classes": len(LABELS),
              "vocab_size": CONFIG["vocab_size"], "z_channels": CONFIG["z_channels"], "patch_nums": SIDES,
              "shared_aln": False, "attn_l2_norm": True}
    network = VAR(config)
    if options.start:
        network, config = load_var(options.start)
    teacher = load_var(options.teacher)[0].eval().requires_grad_(False) if options.teacher else None
    decayed = [p for p in network.parameters() if p.dim() == 2]
    others = [p for p in network.parameters() if p.dim() != 2]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
                                  lr=options.lr, betas=(0.9, 0.95))
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    step, seconds = 0, 0.0
    if state_path.exists():
        saved = torch.load(state_path)
        network.load_state_dict(saved["network"]), optimiser.load_state_dict(saved["optimiser"])
        average, step, seconds = saved["average"], saved["step"], saved["seconds"]

    def save():
        whole = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "average": average, "step": step,
                 "seconds": seconds}
        write_atomically(state_path, lambda path: torch.save(whole, path))
        described = {"family": "var", "name": Path(options.out).name, "model": config, "labels": LABELS,
                     "sampling": {"cfg": 2.0, "top_k": 0, "top_p": 0.95}}
        write_model(options.out, described, average)
        write_json(state_path.with_suffix(".json"), {**vars(options), "step": step, "minutes": seconds / 60})

    clock, kept = time.monotonic(), time.monotonic()
    while max(step / options.steps, seconds / 60 / options.minutes) < 1:
        progress = max(step / options.steps, seconds / 60 / options.minutes)
        for group in optimiser.param_groups:
            group["lr"] = options.lr * min(1, (step + 1) / 200) * max(0.02, 0.5 * (1 + math.cos(math.pi * progress)))
        g = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        pick = torch.randint(len(images), (options.batch,), generator=g)
        target = tokens[pick].long()
        dropped = torch.rand(options.batch, generator=g) < options.dropout
        y = torch.where(dropped, torch.full_like(labels[pick], len(LABELS)), labels[pick])
        with torch.no_grad():
            views, _ = codes.quantize.teacher_codes(target.split(counts, 1))
        if teacher is not None:
            logits = network(views, y)[:, drafted:]
            with torch.no_grad():
                wanted = teacher(views, y)[:, drafted:]
            loss = F.kl_div(logits.log_softmax(-1).flatten(0, 1), wanted.softmax(-1).flatten(0, 1), reduction="batchmean")
        else:
            seen = drafted or sum(counts)
            loss = F.cross_entropy(network(views, y, seen).flatten(0, 1), target[:, :seen].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        step += 1
        decay = min(options.ema, (1 + step) / (10 + step))
        current = network.state_dict()
        torch._foreach_lerp_(list(average.values()), [current[name] for name in average], 1 - decay)
        now = time.monotonic()
        seconds, clock = seconds + now - clock, now
        if step % 50 == 0:
            print(f"step {step}  loss {float(loss.detach()):.4f}  {seconds / 60:.1f} min", flush=True)
        if now - kept > 300:
            kept = now
            save()
    save()


if __name__ == "__main__":
    main()
