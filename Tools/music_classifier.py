"""A small classifier of the instrument's family and of the tempo of music, whose features the Fréchet distance compares.

It hears 10.24 seconds of 16 kHz and is trained on the clips that tiny-audio is trained on, in some minutes on a CPU: with noise, other loudness,
bins left out and blurred partials, and half of them without their phases, so that it does not take a rough tone for another instrument or tempo.  It is
cached, never committed.
What is printed is the share of right families and tempi of the clips that are held out, as they are and without their phases.

    judge = load_or_train()
    families, tempi, features = describe(judge, sounds)  # sounds: float [n, 163840] in -1...1; or windows(one long sound)
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from judging import arguments, cached, fit
from music_data import FAMILIES, SAMPLES, TEMPI, TRAINED, load, to_float
from music_mel import HOP, WINDOW, log_mel

CACHE = ".cache/music/classifier.pt"
QUIET = -7.0  # what is softer than this, the logarithm of a magnitude, is not heard


class Classifier(nn.Module):
    """Five convolutions of stride 2 over time and frequency, an average over time; `features` is the 64-vector before the logits."""

    def __init__(self):
        super().__init__()
        widths = [1, 16, 32, 48, 64, 64]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 5 if a == 1 else 3, stride=2, padding=2 if a == 1 else 1) for a, b in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.dense = nn.Linear(64 * 2 * 2, 64)
        self.family, self.tempo = nn.Linear(64, len(FAMILIES)), nn.Linear(64, len(TEMPI))

    def features(self, mel):
        """Of log mel spectrograms [n, frames, 64]."""
        x = (mel.clamp(min=QUIET).unsqueeze(1) + 4) / 3
        for convolution, norm in zip(self.convolutions, self.norms):
            x = F.relu(norm(convolution(x)))
        x = torch.cat([x.mean(2), x.std(2)], 1).flatten(1)
        return F.relu(self.dense(F.dropout(x, 0.3, self.training)))

    def forward(self, mel):
        x = F.dropout(self.features(mel), 0.2, self.training)
        return self.family(x), self.tempo(x)


@torch.inference_mode()
def describe(model, sounds, batch=25):
    """(families, tempi, features) of sounds [n, SAMPLES], float in -1...1: places in FAMILIES [n] and in TEMPI [n], and [n, 64]."""
    features = torch.cat([model.features(log_mel(chunk)) for chunk in loud(sounds).split(batch)])
    return model.family(features).argmax(1), model.tempo(features).argmax(1), features


def loud(sounds):
    """All as loud at their loudest as the clips are."""
    return sounds / sounds.abs().amax(1, keepdim=True).clamp(min=1e-3) * 0.5


def windows(sound):
    """The whole windows of 10.24 seconds, one after another, of a sound [samples]: [n, SAMPLES]."""
    count = len(sound) // SAMPLES
    return sound[: count * SAMPLES].view(count, SAMPLES)


def without_phases(sounds, generator):
    """Sounds whose spectra have the magnitudes they had, frame by frame, and phases by chance."""
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(sounds, WINDOW, HOP, window=window, return_complex=True).abs()
    turn = torch.polar(torch.ones(()), 2 * math.pi * torch.rand(spectrum.shape, generator=generator))
    return torch.istft(spectrum * turn, WINDOW, HOP, window=window, length=sounds.shape[1])


def targets(clips):
    return torch.tensor([[FAMILIES.index(about["family"]), TEMPI.index(about["tempo"])] for about in clips["about"]])


def varied(mel, generator):
    """With partials that run into one another more or less, with noise, louder or softer, and with some bins and moments silenced."""
    count = len(mel)
    mel = torch.lerp(mel, F.avg_pool2d(mel, (3, 5), stride=1, padding=(1, 2), count_include_pad=False), torch.rand(count, 1, 1, generator=generator))
    mel = mel + 0.4 * torch.rand(count, 1, 1, generator=generator) * torch.randn(mel.shape, generator=generator)
    mel = mel + 0.6 * (torch.rand(count, 1, 1, generator=generator) - 0.5)
    for row in mel:
        low, begin = int(torch.randint(60, (), generator=generator)), int(torch.randint(mel.shape[1] - 32, (), generator=generator))
        row[:, low : low + 4] = QUIET
        row[begin : begin + 32] = QUIET
    return mel


def train(clips, seed, steps=700, batch=32):
    """Half of the examples are clips as they are, half the same without their phases."""
    generator = torch.Generator().manual_seed(seed)
    mel = []
    for chunk in to_float(clips["audio"][:TRAINED]).split(50):
        mel.append(torch.stack([log_mel(loud(x)).half() for x in (chunk, without_phases(chunk, generator))], 1).flatten(0, 1))
    mel, labels = torch.cat(mel), targets(clips)[:TRAINED].repeat_interleave(2, 0)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Classifier()

    def loss_of(pick):
        family, tempo = model(varied(mel[pick].float(), generator))
        return F.cross_entropy(family, labels[pick, 0], label_smoothing=0.05) + F.cross_entropy(tempo, labels[pick, 1], label_smoothing=0.05)

    return fit(model, loss_of, len(mel), steps, batch, generator, every=50)


def load_or_train(clips=None, cache=CACHE, seed=1):
    """The cached classifier; trained and cached first when there is none."""
    return cached(cache, Classifier, lambda: train(clips or load(), seed))


def accuracy(model, clips, change=lambda sounds: sounds):
    """Shares of the clips held out whose family, and whose tempo, is recognised."""
    family, tempo, _ = describe(model, torch.cat([change(chunk) for chunk in to_float(clips["audio"][TRAINED:]).split(50)]))
    labels = targets(clips)[TRAINED:]
    return float((family == labels[:, 0]).float().mean()), float((tempo == labels[:, 1]).float().mean())


def main():
    options = arguments(__doc__, CACHE)
    clips = load()
    model, generator = load_or_train(clips, options.cache, options.seed), torch.Generator().manual_seed(0)
    for name, change in (("as they are", lambda x: x), ("without phases", lambda x: without_phases(x, generator))):
        family, tempo = accuracy(model, clips, change)
        print(f"clips held out, {name}: {100 * family:.1f} % in the right one of {len(FAMILIES)} families, {100 * tempo:.1f} % of the right tempo")


if __name__ == "__main__":
    main()
