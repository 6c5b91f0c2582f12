"""What the trainings of autoencoders share: the loss of a reconstruction, and what their config.json holds."""

import json

import torch
import torch.nn.functional as F


def picture_loss(y, x):
    """Absolute error, and that of the differences between neighbours at three scales."""
    loss = F.l1_loss(y, x)
    for _ in range(3):
        error = y - x
        loss = loss + 0.5 * (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean())
        y, x = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
    return loss


def reconstruction(model, x, generator, kl_weight, half):
    """Loss and figures of `x` by way of a sample of its latents; `half`: in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        latents = model.encode(x).latent_dist
        y = model.decode(latents.sample(generator)).sample
    picture = picture_loss(y.float(), x)
    kl = latents.kl().mean() / latents.mean[0].numel()
    return picture + kl_weight * kl, {"picture": picture.detach(), "error": F.l1_loss(y.detach(), x), "kl": kl.detach()}


def public(config):
    """What a model's config.json holds."""
    kept = {name: value for name, value in config.items() if not name.startswith("_")}
    return {"_class_name": "AutoencoderKL" if "latent_channels" in kept else "UNet2DConditionModel", **json.loads(json.dumps(kept))}
