"""Train the autoencoder of tiny-audio (diffusers' AutoencoderKL, factor 4, one channel to eight) on the mel spectrograms of music_data.py.

    python Tools/train_music_vae.py --seed 1 --minutes 12

Pieces of 2.56 seconds; absolute error of the spectrogram and of its differences between neighbours at three scales, and a small
Kullback-Leibler term.  Resumable; limited by --steps or --minutes.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from autoencoders import public, reconstruction
from checkpoints import write_atomically, write_json
from music_data import TRAINED, load, to_float
from music_mel import HOP, log_mel
from muon import with_adam
from training import Training, arguments, begin

FRAMES = 256
CONFIG = {
    "_class_name": "AutoencoderKL", "in_channels": 1, "out_channels": 1, "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3, "block_out_channels": [32, 48, 64], "layers_per_block": 1, "act_fn": "silu",
    "latent_channels": 8, "norm_num_groups": 8, "sample_size": 1024, "scaling_factor": 1.0, "mid_block_add_attention": False,
}  # fmt: skip; no attention, which would have to serve pieces as well as minutes


def pieces(audio, count, frames, generator):
    """Sounds [count, frames * HOP] from anywhere in the clips."""
    which = torch.randint(len(audio), (count,), generator=generator).tolist()
    begins = torch.randint(audio.shape[1] - frames * HOP + 1, (count,), generator=generator).tolist()
    return to_float(torch.stack([audio[i, b : b + frames * HOP] for i, b in zip(which, begins)]))


@torch.no_grad()
def encode(model, audio, batch=4):
    """Means of the latents [n, 8, frames / 4, 16] of int16 [n, samples], not scaled."""
    return torch.cat([model.encode(log_mel(to_float(chunk)).unsqueeze(1)).latent_dist.mean for chunk in audio.split(batch)])


def write(folder, state, audio):
    """The folder as diffusers reads it, in float16; `scaling_factor` is one over the latents' deviation."""
    model = AutoencoderKL.from_config(CONFIG).eval()
    model.load_state_dict(state)
    config = {**public(model.config), "scaling_factor": round(1 / float(encode(model, audio[: TRAINED : TRAINED // 36, : FRAMES * HOP]).std()), 5)}
    half = {name: value.detach().half().contiguous() for name, value in state.items()}
    write_atomically(Path(folder) / "diffusion_pytorch_model.safetensors", lambda path: save_file(half, path, metadata={"format": "pt"}))
    write_json(Path(folder) / "config.json", config)


def main():
    p = arguments(__doc__, "Models/tiny-audio/vae", steps=8000, batch=12, lr=2e-3)
    p.add_argument("--ema", type=float, default=0.99)
    p.add_argument("--kl", type=float, default=1e-2, help="weight of the divergence, a mean over the latents' elements")
    p.add_argument("--full-precision", action="store_true", help="no bfloat16, for processors without it")
    options = p.parse_args()
    begin(options)
    audio = load()["audio"]
    model = AutoencoderKL.from_config(CONFIG)
    with torch.no_grad():  # the mean of the spectrograms, which are far from zero
        model.decoder.conv_out.bias.fill_(float(log_mel(pieces(audio, 64, FRAMES, torch.Generator().manual_seed(0))).mean()))
    parts = [model.encoder.down_blocks, model.encoder.mid_block, model.decoder.mid_block, model.decoder.up_blocks]
    optimisers = with_adam(model, torch.nn.ModuleList(parts), options.lr, 0.01, kernels=True)
    training = Training(options, model, optimisers, clip=1.0, warmup=50, ema=options.ema)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, from step {training.step}", flush=True)

    def loss_of_step(generator):
        x = log_mel(pieces(audio[:TRAINED], options.batch, FRAMES, generator)).unsqueeze(1)
        return reconstruction(model, x, generator, options.kl, not options.full_precision)

    training.run(loss_of_step, lambda weights: write(options.out, weights, audio))


if __name__ == "__main__":
    main()
