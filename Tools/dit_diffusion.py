"""Gaussian diffusion for DiT: the linear schedule, the training loss and the DDIM sampler.

The network predicts noise (epsilon) and, in its second half of channels, where the reverse variance
lies between its lower and upper bound ("learned range").  The loss is the usual pair: mean squared
error on epsilon, plus the variational bound with epsilon detached so that it trains the variance only.
"""

import math

import torch


class Schedule:
    """Tables of one (possibly respaced) process, in float64; `timesteps` are what the network is told."""

    def __init__(self, betas, timesteps):
        alphas_bar = torch.cumprod(1 - betas, 0)
        previous = torch.cat([torch.ones(1, dtype=torch.float64), alphas_bar[:-1]])
        variance = betas * (1 - previous) / (1 - alphas_bar)
        lower = torch.cat([variance[1:2], variance[1:]]) if len(betas) > 1 else betas
        self.betas, self.timesteps = betas, timesteps
        self.alphas_bar, self.previous = alphas_bar, previous
        self.log_lower, self.log_upper = lower.log(), betas.log()
        self.mean_clean = betas * previous.sqrt() / (1 - alphas_bar)
        self.mean_noisy = (1 - previous) * (1 - betas).sqrt() / (1 - alphas_bar)


def linear_schedule(config):
    """The training process of config.json's "diffusion" dictionary."""
    count = config["train_steps"]
    betas = torch.linspace(config["beta_start"], config["beta_end"], count, dtype=torch.float64)
    return Schedule(betas, list(range(count)))


def respace(schedule, steps):
    """Keep `steps` timesteps: equal strides accumulated in float64, rounded half to even."""
    total = len(schedule.betas)
    stride = 1.0 if steps <= 1 else (total - 1) / (steps - 1)
    position, kept = 0.0, []
    for _ in range(steps):
        kept.append(round(position))
        position += stride
    bars = schedule.alphas_bar[kept]
    previous = torch.cat([torch.ones(1, dtype=torch.float64), bars[:-1]])
    return Schedule(1 - bars / previous, kept)


def _gather(table, t):
    return table.float()[t].view(-1, 1, 1, 1)


def _mean(x):
    return x.flatten(1).mean(1)


def _normal_cdf(x):
    """tanh approximation of the standard normal distribution function."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def _byte_likelihood(x, mean, log_scale):
    """log p of an image whose values are 256 bins over [-1,1] under a Gaussian (open outer bins)."""
    inverse = torch.exp(-log_scale)
    upper = _normal_cdf(inverse * (x - mean + 1 / 255))
    lower = _normal_cdf(inverse * (x - mean - 1 / 255))
    inside = (upper - lower).clamp(min=1e-12).log()
    first, last = upper.clamp(min=1e-12).log(), (1 - lower).clamp(min=1e-12).log()
    return torch.where(x < -0.999, first, torch.where(x > 0.999, last, inside))


def variational_bound(schedule, clean, noisy, t, epsilon, v):
    """One term of the bound, in bits per dimension: KL between posteriors, likelihood at t = 0."""
    bar = _gather(schedule.alphas_bar, t)
    predicted = (noisy - (1 - bar).sqrt() * epsilon) / bar.sqrt()
    k_clean, k_noisy = _gather(schedule.mean_clean, t), _gather(schedule.mean_noisy, t)
    true_mean, mean = k_clean * clean + k_noisy * noisy, k_clean * predicted + k_noisy * noisy
    lower, upper = _gather(schedule.log_lower, t), _gather(schedule.log_upper, t)
    log_variance = lower + (v + 1) / 2 * (upper - lower)
    kl = 0.5 * (log_variance - lower - 1 + torch.exp(lower - log_variance)
                + (true_mean - mean) ** 2 * torch.exp(-log_variance))
    nll = -_byte_likelihood(clean, mean, 0.5 * log_variance)
    return torch.where(t == 0, _mean(nll), _mean(kl)) / math.log(2)


def training_loss(model, schedule, clean, t, y, noise, gamma=None):
    """Return (loss, mean epsilon error).  `gamma` caps the weight of low-noise steps (min-SNR):
    their error hardly changes the picture, and a short training run has better uses for its capacity."""
    bar = _gather(schedule.alphas_bar, t)
    noisy = bar.sqrt() * clean + (1 - bar).sqrt() * noise
    epsilon, v = model(noisy, t, y).chunk(2, dim=1)
    error = _mean((epsilon - noise) ** 2)
    weight = 1.0
    if gamma:
        ratio = (bar / (1 - bar)).flatten()
        weight = ratio.clamp(max=gamma) / ratio
    bound = variational_bound(schedule, clean, noisy, t, epsilon.detach(), v)
    return (weight * error + bound).mean(), error.detach().mean()


@torch.inference_mode()
def ddim_sample(model, schedule, labels, steps, scale, noise):
    """Deterministic DDIM (eta 0) with classifier-free guidance on every epsilon channel."""
    spaced = respace(schedule, steps)
    channels, x = noise.shape[1], noise
    null = torch.full_like(labels, model.null_class)
    for index in reversed(range(steps)):
        t = torch.full_like(labels, spaced.timesteps[index])
        if scale == 1:
            epsilon = model(x, t, labels)[:, :channels]
        else:
            both = model(torch.cat([x, x]), torch.cat([t, t]), torch.cat([labels, null]))
            conditional, free = both[:, :channels].chunk(2)
            epsilon = free + scale * (conditional - free)
        bar, previous = float(spaced.alphas_bar[index]), float(spaced.previous[index])
        clean = (x - math.sqrt(1 - bar) * epsilon) / math.sqrt(bar)
        x = math.sqrt(previous) * clean + math.sqrt(1 - previous) * epsilon
    return x
