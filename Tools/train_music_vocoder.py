"""Train the vocoder of tiny-audio (transformers' SpeechT5HifiGan, 64 mel bins to 16 kHz) on the sounds of music_data.py.

    python Tools/train_music_vocoder.py --seed 1 --minutes 45
    python Tools/train_music_vocoder.py --seed 1 --minutes 95 --decoded 0.25

Loss: spectra of four resolutions, linear and logarithmic, and the mel spectrogram.  `--decoded` gives that share of a batch the spectrograms that
the autoencoder makes of the true ones, which are what it is to play later.  Resumable; limited by --steps or --minutes.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from checkpoints import write_atomically, write_json
from music_data import TRAINED, load
from music_mel import BINS, HOP, RATE, log_mel, magnitudes
from muon import Muon
from train_music_vae import pieces
from training import Training, arguments, begin

CONFIG = {
    "model_in_dim": BINS, "sampling_rate": RATE, "upsample_initial_channel": 192, "upsample_rates": [5, 4, 2, 2, 2],
    "upsample_kernel_sizes": [16, 16, 8, 4, 4], "resblock_kernel_sizes": [3, 7], "resblock_dilation_sizes": [[1, 3], [1, 3]],
    "leaky_relu_slope": 0.1, "normalize_before": True, "initializer_range": 0.01,
}  # fmt: skip
FRAMES, MARGIN = 64, 8
RESOLUTIONS = (128, 512, 1024, 2048)


def sound_loss(y, x):
    """Of sounds [n, samples]; and its parts."""
    spectra, mel = 0, F.l1_loss(log_mel(y), log_mel(x))
    for window in RESOLUTIONS:
        a, b = magnitudes(y, window, window // 4), magnitudes(x, window, window // 4)
        spectra = spectra + (a - b).norm() / b.norm() + F.l1_loss((a + 1e-2).log(), (b + 1e-2).log())
    spectra = spectra / len(RESOLUTIONS)
    return 0.5 * spectra + 2 * mel, {"spectra": spectra.detach(), "mel": mel.detach()}


def build():
    """The network, initialised as torch does: the config's deviation is much too small to learn from."""
    model = SpeechT5HifiGan(SpeechT5HifiGanConfig(**CONFIG))
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv1d, torch.nn.ConvTranspose1d)):
            module.reset_parameters()
    return model


def optimisers(model, rate):
    """Muon for the kernels between the outer layers, AdamW for everything else."""
    kernels = [p for p in model.resblocks.parameters() if p.dim() == 3]
    chosen = {id(p) for p in kernels}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [Muon(kernels, lr=rate, weight_decay=0.0), torch.optim.AdamW(others, lr=rate, betas=(0.8, 0.95), weight_decay=0.0)]


def write(folder, state):
    """The folder as transformers reads it, in float16."""
    half = {name: value.detach().half().contiguous() for name, value in state.items()}
    write_atomically(Path(folder) / "model.safetensors", lambda path: save_file(half, path, metadata={"format": "pt"}))
    write_json(Path(folder) / "config.json", {"architectures": ["SpeechT5HifiGan"], "model_type": "speecht5_hifigan", **CONFIG})


def main():
    p = arguments(__doc__, "Models/tiny-audio/vocoder", steps=100000, batch=8, lr=2e-3)
    p.add_argument("--ema", type=float, default=0.99)
    p.add_argument("--decoded", type=float, default=0.0, help="share of a batch whose spectrograms went through the autoencoder")
    p.add_argument("--full-precision", action="store_true", help="no bfloat16, for processors without it")
    p.add_argument("--vae", default="Models/tiny-audio/vae")
    options = p.parse_args()
    begin(options)
    audio = load()["audio"][:TRAINED]
    model = build()
    with torch.no_grad():
        mel = log_mel(pieces(audio, 256, FRAMES, torch.Generator().manual_seed(0))).flatten(0, 1)
        model.mean.copy_(mel.mean(0))
        model.scale.copy_(mel.std(0))
    autoencoder = AutoencoderKL.from_pretrained(options.vae, torch_dtype=torch.float32) if options.decoded else None
    training = Training(options, model, optimisers(model, options.lr), clip=10.0, warmup=100, ema=options.ema)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, from step {training.step}", flush=True)

    def loss_of_step(generator):
        x = pieces(audio, options.batch, FRAMES + 2 * MARGIN, generator)
        with torch.no_grad():
            mel = log_mel(x)
            some = round(options.decoded * options.batch)
            if some:
                latents = autoencoder.encode(mel[:some].unsqueeze(1)).latent_dist.mean
                mel = torch.cat([autoencoder.decode(latents).sample.squeeze(1), mel[some:]])
        with torch.autocast("cpu", torch.bfloat16, enabled=not options.full_precision):
            y = model(mel)[:, : x.shape[1]].float()
        inner = slice(MARGIN * HOP, -MARGIN * HOP)
        return sound_loss(y[:, inner], x[:, inner])

    training.run(loss_of_step, lambda weights: write(options.out, weights))


if __name__ == "__main__":
    main()
