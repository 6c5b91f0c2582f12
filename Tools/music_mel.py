"""AudioLDM's log mel spectrogram in torch: 64 bins of 16 kHz sound, a frame every 160 samples.

Slaney's mel scale and normalisation, magnitudes, a window of 1024 samples, reflected at both ends so that n samples give n / 160 frames.
"""

import functools

import torch
import torch.nn.functional as F

RATE, WINDOW, HOP, BINS = 16000, 1024, 160, 64
FLOOR = 1e-5


def hertz(mel):
    """Linear to 1000 Hz (15 mel), logarithmic above."""
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * 0.06875177742094912))


@functools.lru_cache
def filters(lowest=0.0, highest=RATE / 2):
    """Triangles of unit area [BINS, WINDOW / 2 + 1]."""
    def mel(frequency):
        return frequency * 3 / 200 if frequency < 1000 else 15 + torch.tensor(frequency / 1000).log().item() / 0.06875177742094912

    edges = hertz(torch.linspace(mel(lowest), mel(highest), BINS + 2, dtype=torch.float64))
    frequencies = torch.linspace(0, RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return (torch.minimum(rising, falling).clamp(min=0) * (2 / (edges[2:] - edges[:-2]))[:, None]).float()


def magnitudes(sound, window=WINDOW, hop=HOP):
    """Of sound [n, samples] in -1...1: [n, window / 2 + 1, samples / hop]."""
    pad = (window - hop) // 2
    sound = F.pad(sound.unsqueeze(1), (pad, window - hop - pad), mode="reflect").squeeze(1)
    spectrum = torch.stft(sound, window, hop, window=torch.hann_window(window), center=False, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()


def log_mel(sound):
    """Of sound [n, samples] in -1...1: [n, samples / HOP, BINS], the natural logarithm."""
    return (filters() @ magnitudes(sound)).clamp(min=FLOOR).log().mT
