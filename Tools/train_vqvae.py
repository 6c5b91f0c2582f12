"""Train the multi-scale VQ-VAE of fashion-var: gray 28 x 28 pictures, padded to 32 x 32 with three equal channels.

Loss: squared error of the picture, commitment and codebook terms as published (no discriminator: these pictures are simple).  Codes
that nothing chose for a while are moved to features of the current batch.  Resumable; limited by --steps or --minutes.
"""

import torch
import torch.nn.functional as F

from checkpoints import write_model
from fashion_data import DEFAULT_DATA, load_split, to_unit_range
from training import Training, arguments, begin
from vqvae_model import VQVAE

SIDES = [1, 2, 3, 4, 6, 8]
CONFIG = {"vocab_size": 512, "z_channels": 16, "ch": 32, "ch_mult": [1, 1, 2], "num_res_blocks": 1,
          "quant_resi": 0.5, "share_quant_resi": 4, "using_znorm": False}


def pictures(images):
    """Bytes [n,28,28] as float [n,3,32,32] in -1...1."""
    return F.pad(to_unit_range(images), (2, 2, 2, 2), value=-1).expand(-1, 3, -1, -1)


def losses(model, x, usage):
    """Error of the picture, and of the codes; counts in `usage` which codes were chosen."""
    f = model.features(x)
    rest, state, code_error = f.detach(), torch.zeros_like(f), 0
    for scale in range(len(SIDES)):
        tokens = model.quantize.nearest(model.quantize.view(rest, scale))
        usage.index_add_(0, tokens.flatten(), torch.ones(tokens.numel()))
        added = model.quantize.contribution(tokens, scale)
        state, rest = state + added, rest - added.detach()
        code_error = code_error + F.mse_loss(state, f.detach()) + 0.25 * F.mse_loss(f, state.detach())
    straight = f + (state - f).detach()
    return F.mse_loss(model.decode(straight), x), code_error / len(SIDES), f


def revive(model, usage, f):
    """Moves codes that nothing chose to features of this batch."""
    dead = (usage == 0).nonzero().flatten()
    rows = f.detach().permute(0, 2, 3, 1).reshape(-1, f.shape[1])
    if len(dead):
        pick = torch.randint(len(rows), (len(dead),))
        with torch.no_grad():
            model.quantize.embedding.weight[dead] = rows[pick] * torch.rand(len(dead), 1)
    usage.zero_()


def main():
    p = arguments(__doc__, "Models/fashion-var/vae", steps=6000, batch=64, lr=1e-3)
    p.add_argument("--data", default=DEFAULT_DATA)
    options = p.parse_args()
    begin(options)
    images, _ = load_split("train", options.data)
    model = VQVAE(CONFIG, SIDES)
    torch.nn.init.normal_(model.quantize.embedding.weight, std=0.5)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.95), weight_decay=0.01)
    training = Training(options, model, [optimiser], clip=1.0, warmup=100)
    usage = torch.zeros(CONFIG["vocab_size"])

    def loss_of_step(generator):
        x = pictures(images[torch.randint(len(images), (options.batch,), generator=generator)])
        picture, codes, f = losses(model, x, usage)
        if training.step % 100 == 99 and training.progress < 0.7:
            revive(model, usage, f)
        return picture + codes, {"picture": picture.detach(), "codes": codes.detach()}

    training.run(loss_of_step, lambda weights: write_model(
        options.out, {"family": "vqvae", "model": {**CONFIG, "patch_nums": SIDES}}, weights))


if __name__ == "__main__":
    main()
