"""U-Nets of every supported setting against diffusers: the same weights, one prediction."""

import json

import numpy as np
import pytest

import diffaccel

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

BASE = dict(
    sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=12, attention_head_dim=2,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
THREE = dict(
    block_out_channels=(8, 16, 24), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"))
SDXL = dict(
    THREE, attention_head_dim=(2, 4, 6), use_linear_projection=True, transformer_layers_per_block=(1, 2, 3),
    addition_embed_type="text_time", addition_time_embed_dim=6, projection_class_embeddings_input_dim=6 * 6 + 10)

CASES = {
    "sd1": {},
    "sd2": dict(use_linear_projection=True, attention_head_dim=(2, 4)),
    "sdxl": SDXL,
    "lcm": dict(time_cond_proj_dim=14),
    "lcm-sdxl": dict(SDXL, time_cond_proj_dim=10),
    "inpainting": dict(in_channels=9),
    "learned-variance": dict(out_channels=8),
    "layers": dict(THREE, layers_per_block=(1, 2, 3)),
    "asymmetric": dict(
        THREE, layers_per_block=2, use_linear_projection=True, transformer_layers_per_block=(1, [1, 2], [2, 1]),
        reverse_transformer_layers_per_block=([1, 2, 1], [1, 1, 2], 1)),
    "no-middle": dict(mid_block_type=None),
    "plain-middle": dict(mid_block_type="UNetMidBlock2D"),
    "sines-first": dict(flip_sin_to_cos=False, freq_shift=1),
    "padding-right": dict(downsample_padding=0),
    "kernels": dict(conv_in_kernel=5, conv_out_kernel=1),
    "time-width": dict(time_embedding_dim=20, norm_eps=1e-3),
    "swish": dict(act_fn="swish", cross_attention_dim=(12, 12)),
    "no-attention-level": dict(
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D")),
    "no-blocks": dict(THREE, transformer_layers_per_block=(1, 0, 1)),
}


def network(**changes):
    torch.manual_seed(3)
    unet = diffusers.UNet2DConditionModel(**{**BASE, **changes})
    # Norms that differ from channel to channel, biases that are not zero.
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return unet.eval()


def inputs(unet, batch=2, size=(8, 8), tokens=5):
    g, c = np.random.default_rng(5), unet.config
    given = dict(
        sample=g.standard_normal((batch, c.in_channels, *size), np.float32), timestep=np.linspace(3.5, 961, batch, dtype=np.float32),
        encoder_hidden_states=g.standard_normal((batch, tokens, 12), np.float32))
    if c.time_cond_proj_dim:
        given["timestep_cond"] = g.standard_normal((batch, c.time_cond_proj_dim), np.float32)
    if c.addition_embed_type:
        given["text_embeds"] = g.standard_normal((batch, 10), np.float32)
        given["time_ids"] = np.array([[512, 384, 0, 16, 640, 768], [64, 64, 8, 0, 96, 32]], np.float32)[:batch]
    return given


def expected(unet, given):
    given = {name: torch.from_numpy(value) for name, value in given.items()}
    added = {name: given.pop(name) for name in ("text_embeds", "time_ids") if name in given}
    with torch.no_grad():
        return unet(**given, added_cond_kwargs=added or None).sample.numpy()


def compare(folder, unet, **sizes):
    given = inputs(unet, **sizes)
    with diffaccel.Model(folder) as model:
        facts = model.description
        assert facts["family"] == "unet2d_condition" and facts["unknown_keys"] == []
        found = model.forward(**given)
    np.testing.assert_allclose(found, expected(unet, given), atol=5e-5, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_configurations(tmp_path, case):
    unet = network(**CASES[case])
    unet.save_pretrained(tmp_path)
    compare(tmp_path, unet)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("size", [(5, 7), (8, 6), (9, 4), (13, 11)])
def test_sizes(tmp_path, size, padding):
    """Sizes that levels do not halve evenly: what is enlarged meets its skip."""
    unet = network(**THREE, downsample_padding=padding)
    unet.save_pretrained(tmp_path)
    compare(tmp_path, unet, size=size, batch=1)


def test_fused_projections(tmp_path):
    unet = network(use_linear_projection=True)
    given = inputs(unet)
    plain = expected(unet, given)
    unet.fuse_qkv_projections()
    unet.save_pretrained(tmp_path)
    compare(tmp_path, unet)
    np.testing.assert_allclose(expected(unet, given), plain, atol=1e-5)


@pytest.mark.parametrize("linear", [False, True])
def test_projections_are_what_the_file_has(tmp_path, linear):
    """Linear layers where the config says convolutions, and the reverse."""
    unet = network(use_linear_projection=linear)
    unet.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["use_linear_projection"] = not linear
    (tmp_path / "config.json").write_text(json.dumps(config))
    compare(tmp_path, unet)


def test_guidance_is_told(tmp_path):
    """Without a condition an LCM computes as diffusers does."""
    unet = network(time_cond_proj_dim=14)
    unet.save_pretrained(tmp_path)
    given = inputs(unet)
    del given["timestep_cond"]
    with diffaccel.Model(tmp_path) as model:
        np.testing.assert_allclose(model.forward(**given), expected(unet, given), atol=5e-5)


def test_half_precision(tmp_path):
    unet = network(**SDXL)
    given = inputs(unet)
    plain = expected(unet, given)
    unet.to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    files = sorted(tmp_path.glob("*.safetensors"))
    files[0].rename(tmp_path / "diffusion_pytorch_model.safetensors")
    with diffaccel.Model(tmp_path) as model:
        np.testing.assert_allclose(model.forward(**given), plain, atol=0.02)
