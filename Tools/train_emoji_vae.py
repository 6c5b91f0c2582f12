"""Train the autoencoder of emoji-sd (diffusers' AutoencoderKL, factor 4, four channels) on the pictures of emoji_data.py.

    python Tools/train_emoji_vae.py --seed 1 --minutes 25
    python Tools/train_emoji_vae.py --seed 1 --minutes 60 --decoder-only

Loss: absolute error of the picture and of its differences between neighbours at three scales, which keeps edges crisp, and a small
Kullback-Leibler term.  Some pictures of a batch have their colours exchanged or are shifted or mirrored, so that latents of pictures that
do not exist decode too.  Resumable; limited by --steps or --minutes.  `--decoder-only` starts from the folder's weights and leaves the latents,
and `scaling_factor`, as they are: the U-Net may be trained beside it.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from autoencoders import public, reconstruction
from checkpoints import write_atomically, write_json
from emoji_data import load, to_float
from muon import with_adam
from training import Training, arguments, begin

CONFIG = {
    "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3, "block_out_channels": [32, 64, 96], "layers_per_block": 1, "act_fn": "silu",
    "latent_channels": 4, "norm_num_groups": 8, "sample_size": 64, "scaling_factor": 1.0,
}  # fmt: skip


def varied(images, share, generator):
    """Floats [n,3,64,64] of bytes; the first `share` of them changed, all in one way."""
    x, count = to_float(images), round(share * len(images))
    dy, dx = torch.randint(-6, 7, (2,), generator=generator).tolist()
    some = F.pad(x[:count, torch.randperm(3, generator=generator)], (6, 6, 6, 6), value=1)
    some = some[:, :, 6 + dy : 6 + dy + x.shape[2], 6 + dx : 6 + dx + x.shape[3]]
    if torch.rand((), generator=generator) < 0.5:
        some = some.flip(3)
    return torch.cat([some, x[count:]])


@torch.no_grad()
def encode(model, images, batch=64):
    """Means of the latents, not scaled."""
    return torch.cat([model.encode(to_float(chunk)).latent_dist.mean for chunk in images.split(batch)])


def write(folder, state, images):
    """The folder as diffusers reads it, in float16; `scaling_factor` is one over the latents' deviation."""
    model = AutoencoderKL.from_config(CONFIG).eval()
    model.load_state_dict(state)
    config = {**public(model.config), "scaling_factor": round(1 / float(encode(model, images[::5]).std()), 5)}
    half = {name: value.detach().half().contiguous() for name, value in state.items()}
    write_atomically(Path(folder) / "diffusion_pytorch_model.safetensors", lambda path: save_file(half, path, metadata={"format": "pt"}))
    write_json(Path(folder) / "config.json", config)


def main():
    p = arguments(__doc__, "Models/emoji-sd/vae", steps=8000, batch=32, lr=2e-3)
    p.add_argument("--ema", type=float, default=0.998)
    p.add_argument("--kl", type=float, default=3e-3, help="weight of the divergence, a mean over the latents' elements")
    p.add_argument("--varied", type=float, default=0.25, help="share of a batch with other colours or places")
    p.add_argument("--decoder-only", action="store_true", help="keep the latents as they are and go on with what becomes of them")
    p.add_argument("--full-precision", action="store_true", help="no bfloat16, for processors without it")
    options = p.parse_args()
    begin(options)
    images = load()["images"]
    model = AutoencoderKL.from_config(CONFIG)
    encoder, decoder = model.encoder, model.decoder
    parts = [encoder.down_blocks, encoder.mid_block, decoder.mid_block, decoder.up_blocks]
    if options.decoder_only:
        model = AutoencoderKL.from_pretrained(options.out, torch_dtype=torch.float32)
        parts = [model.decoder.mid_block, model.decoder.up_blocks]
        model.encoder.requires_grad_(False)
        model.quant_conv.requires_grad_(False)
        options.state = options.state.replace(".pt", "-decoder.pt")
    inner = torch.nn.ModuleList(parts)
    optimisers = with_adam(model, inner, options.lr, 0.01, kernels=True)
    training = Training(options, model, optimisers, clip=1.0, warmup=50, ema=options.ema)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, from step {training.step}", flush=True)

    def loss_of_step(generator):
        x = varied(images[torch.randint(len(images), (options.batch,), generator=generator)], options.varied, generator)
        return reconstruction(model, x, generator, options.kl, not options.full_precision)

    training.run(loss_of_step, lambda weights: write(options.out, weights, images))


if __name__ == "__main__":
    main()
