"""Parts of Stable Diffusion pipelines against diffusers: tiny networks of random sizes and settings, made and evaluated there."""

import numpy as np
import pytest
from conftest import diffaccel

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")


def noise(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def randomise(network, seed):
    """Weights of every kind, norms and gates that start at zero or one in training included."""
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in sorted(network.named_parameters()):
            values = random.standard_normal(parameter.shape, dtype=np.float32)
            scale = 0.3 if parameter.ndim == 1 else 1 / np.sqrt(np.prod(parameter.shape[1:]))
            base = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
            parameter.copy_(torch.from_numpy(values * np.float32(scale) + np.float32(base)))
    return network.eval()


def opened(network, path, **options):
    network.save_pretrained(path)
    return diffaccel.Model(path, **options)


def close(found, expected, tolerance=2e-5):
    expected = expected.numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * max(1, np.abs(expected).max())


TRANSFORMERS = {
    "medium": dict(),
    "large": dict(qk_norm="rms_norm", num_layers=2, num_attention_heads=4),
    "3.5 medium": dict(qk_norm="rms_norm", dual_attention_layers=(0, 1), num_layers=4),
    "last dual": dict(dual_attention_layers=(2,)),
    "one block": dict(num_layers=1, patch_size=1, pos_embed_max_size=16),
    "odd": dict(in_channels=3, out_channels=5, attention_head_dim=20, num_attention_heads=1, patch_size=4, sample_size=16),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(tmp_path, name):
    settings = dict(sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=3, attention_head_dim=12,
                    num_attention_heads=2, joint_attention_dim=20, pooled_projection_dim=9, pos_embed_max_size=10)
    settings.update(TRANSFORMERS[name])
    settings["caption_projection_dim"] = settings["attention_head_dim"] * settings["num_attention_heads"]
    network = randomise(diffusers.SD3Transformer2DModel(**settings), 5)
    inputs = dict(hidden_states=noise(1, 2, settings["in_channels"], 12, 8), encoder_hidden_states=noise(2, 2, 7, 20),
                  pooled_projections=noise(3, 2, 9), timestep=torch.tensor([999.5, 31.25]))
    with torch.no_grad():
        expected = network(**inputs).sample
    model = opened(network, tmp_path)
    assert model.family == "sd3_transformer"
    close(model.forward(**{key: value.numpy() for key, value in inputs.items()}), expected, 1e-4)


TINY = {
    "taesd": dict(),
    "taesd3": dict(latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609),
    "other levels": dict(encoder_block_out_channels=(6,), decoder_block_out_channels=(6,), num_encoder_blocks=(2,),
                         num_decoder_blocks=(2,)),
}


@pytest.mark.parametrize("name", TINY)
def test_tiny_autoencoders(tmp_path, name):
    settings = dict(encoder_block_out_channels=(10, 10, 10), decoder_block_out_channels=(12, 12, 12), num_encoder_blocks=(1, 0, 2),
                    num_decoder_blocks=(2, 1, 1))
    settings.update(TINY[name])
    network = randomise(diffusers.AutoencoderTiny(**settings), 6)
    scale, shift = network.config.scaling_factor, network.config.shift_factor
    factor = 2 ** (len(settings["num_decoder_blocks"]) - 1)
    latents, image = noise(1, 2, network.config.latent_channels, 5, 3), noise(2, 1, 3, 3 * factor, 5 * factor)
    with torch.no_grad():
        decoded = network.decode(latents / scale + shift).sample
        encoded = (network.encode(image).latents - shift) * scale
    model = opened(network, tmp_path)
    assert model.family == "autoencoder_tiny"
    close(model.forward(latents=latents.numpy()), decoded)
    close(model.forward(image=image.numpy()), encoded)


LARGE = {
    "stable diffusion": dict(),
    "stable diffusion 3": dict(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=1.5305,
                               shift_factor=0.0609),
    "half the convolutions": dict(use_quant_conv=False),
    "without attention": dict(mid_block_add_attention=False, force_upcast=False),
    "statistics": dict(latents_mean=[0.5, -1, 2, 0], latents_std=[2, 0.5, 1, 3], scaling_factor=0.5),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_autoencoders(tmp_path, name):
    settings = dict(block_out_channels=(8, 12, 16), layers_per_block=1, norm_num_groups=4, latent_channels=4,
                    down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3)
    settings.update(LARGE[name])
    network = randomise(diffusers.AutoencoderKL(**settings), 7)
    config = network.config
    latents, image = noise(1, 1, config.latent_channels, 5, 3), noise(2, 1, 3, 12, 20)
    own = latents / config.scaling_factor + (config.shift_factor or 0)
    if config.latents_mean:
        mean, deviation = (torch.tensor(values).view(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std))
        own = latents * deviation / config.scaling_factor + mean
    with torch.no_grad():
        decoded, distribution = network.decode(own).sample, network.encode(image).latent_dist
    model = opened(network, tmp_path)
    close(model.forward(latents=latents.numpy()), decoded)
    close(model.forward(image=image.numpy()), torch.cat([distribution.mean, distribution.logvar], 1))
