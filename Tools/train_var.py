"""Train a VAR of fashion-var on the tokens of its VQ-VAE: the drafter, the refiner, or either specialised for CoDe.

  python Tools/train_var.py --out Models/fashion-var --depth 6 --width 128 --heads 4
  python Tools/train_var.py --out Models/fashion-var/refiner --depth 3 --width 96 --heads 3
  python Tools/train_var.py --out specialised/drafter --from Models/fashion-var --draft-scales 4
  python Tools/train_var.py --out specialised/refiner --from Models/fashion-var/refiner --draft-scales 4 \\
      --teacher Models/fashion-var

With --draft-scales N a drafter learns cross-entropy on its first N scales only, and a model with --teacher the teacher's whole
distribution on the others (the roles of the CoDe paper).  Resumable; limited by --steps or --minutes.
"""

import hashlib
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from checkpoints import write_atomically, write_model
from fashion_data import DEFAULT_DATA, LABELS, load_split
from muon import with_adam
from training import Training, arguments, begin
from train_vqvae import CONFIG, SIDES, pictures
from var_model import VAR
from vqvae_model import VQVAE


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


def kept_tokens(codes, images, options):
    """`tokenise`, once for each VQ-VAE and number of pictures: it takes minutes, and every network of the pair wants it."""
    digest = hashlib.sha256((Path(options.codes) / "model.safetensors").read_bytes()).hexdigest()[:12]
    path = Path(options.state).with_name(f"tokens-{len(images)}-{digest}.pt")
    if not path.exists():
        write_atomically(path, lambda partial: torch.save(tokenise(codes, images), partial))
    return torch.load(path)


def main():
    p = arguments(__doc__, "Models/fashion-var", steps=8000, batch=64, lr=1e-3)
    p.add_argument("--data", default=DEFAULT_DATA)
    p.add_argument("--codes", default="Models/fashion-var/vae")
    p.add_argument("--depth", type=int, default=6)
    p.add_argument("--width", type=int, default=128)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--from", dest="start", help="folder of a trained model to continue from")
    p.add_argument("--teacher", help="folder of the model whose distribution is learned on the refined scales")
    p.add_argument("--draft-scales", type=int, default=0, help="N of CoDe; 0: all scales count")
    p.add_argument("--dropout", type=float, default=0.1, help="share of labels replaced by none")
    p.add_argument("--ema", type=float, default=0.999)
    p.add_argument("--pictures", type=int, default=0, help="use only this many training images, to try the script; 0: all")
    options = p.parse_args()
    begin(options)
    images, labels = load_split("train", options.data)
    if options.pictures:
        images, labels = images[: options.pictures], labels[: options.pictures]
    codes = load_codes(options.codes)
    tokens = kept_tokens(codes, images, options)
    counts = [side * side for side in SIDES]
    drafted = sum(counts[: options.draft_scales])
    config = {"depth": options.depth, "embed_dim": options.width, "num_heads": options.heads, "num_classes": len(LABELS),
              "vocab_size": CONFIG["vocab_size"], "z_channels": CONFIG["z_channels"], "patch_nums": SIDES,
              "shared_aln": False, "attn_l2_norm": True}
    network = VAR(config)
    if options.start:
        network, config = load_var(options.start)
    teacher = load_var(options.teacher)[0].eval().requires_grad_(False) if options.teacher else None
    training = Training(options, network, with_adam(network, network.blocks, options.lr, 0.05), clip=2.0, warmup=100, floor=0.02,
                        ema=options.ema)

    def loss_of_step(generator):
        pick = torch.randint(len(images), (options.batch,), generator=generator)
        target = tokens[pick].long()
        dropped = torch.rand(options.batch, generator=generator) < options.dropout
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
        return loss, {"loss": loss.detach()}

    described = {"family": "var", "name": Path(options.out).name, "model": config, "labels": LABELS,
                 "sampling": {"cfg": 2.0, "top_k": 0, "top_p": 0.95}}
    training.run(loss_of_step, lambda weights: write_model(options.out, described, weights))


if __name__ == "__main__":
    main()
