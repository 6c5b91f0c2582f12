"""What the trainings of latent diffusion share: noise at times of a scheduler, and the error of the velocity that a network predicts."""

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler


class VelocityLoss:
    """On the betas of a scheduler's config; remembers a running average of its values."""

    def __init__(self, schedule):
        cumulative = DDIMScheduler(**schedule).alphas_cumprod
        self.alphas, self.sigmas = cumulative.sqrt(), (1 - cumulative).sqrt()
        self.average = 0.0

    def __call__(self, clean, generator, predict):
        """Of `clean` [n, …], for the velocities that `predict(noisy, time)` gives."""
        count, times = len(clean), len(self.alphas)
        # One time from each of `count` equal slices of the process: still uniform, less variance.
        slices = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
        time = (slices * times / count).long().clamp(max=times - 1)
        noise = torch.randn(clean.shape, generator=generator)
        alpha, sigma = self.alphas[time].view(-1, 1, 1, 1), self.sigmas[time].view(-1, 1, 1, 1)
        loss = F.mse_loss(predict(alpha * clean + sigma * noise, time).float(), alpha * noise - sigma * clean)
        plain = float(loss.detach())
        self.average = plain if self.average == 0 else 0.99 * self.average + 0.01 * plain
        return loss, {"loss": loss.detach(), "average": self.average}
