"""Stable Diffusion as single files and with LoRA files, beside the same networks in folders and in diffusers."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import diffaccel

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "Tools" / "fixtures"))
PROMPT = "a photo of a cat"
SIZE = 64


def clip_files(folder):
    """CLIP's vocab.json and merges.txt, from the pairs that the library brings along."""
    numbers = (ROOT / "Sources/CTokenizerData/clip_merges.inc").read_text().split("*/", 1)[1]
    ids = [int(number) for number in re.findall(r"\d+", numbers)]
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    tokens = [chr(byte) for byte in visible] + [chr(256 + i) for i in range(256 - len(visible))]
    tokens += [token + "</w>" for token in tokens]
    merges = ["#version: 0.2"]
    for left, right in zip(ids[::2], ids[1::2]):
        merges.append(f"{tokens[left]} {tokens[right]}")
        tokens.append(tokens[left] + tokens[right])
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(merges) + "\n")


def tokenizer(folder, pad="<|endoftext|>"):
    clip_files(folder)
    return transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token=pad, model_max_length=77)


def text_encoder(kind, act="quick_gelu", width=64):
    config = transformers.CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1, max_position_embeddings=77,
        projection_dim=width, hidden_act=act, bos_token_id=0, eos_token_id=2)  # fmt: skip
    return kind(config).eval()


def autoencoder(scaling, channels=4, **more):
    return diffusers.AutoencoderKL(
        block_out_channels=[32, 64], layers_per_block=1, down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=channels, norm_num_groups=32, scaling_factor=scaling, sample_size=SIZE, **more).eval()  # fmt: skip


def unet(**more):
    sizes = dict(
        block_out_channels=[32, 64], layers_per_block=1, down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"], cross_attention_dim=64, attention_head_dim=8, norm_num_groups=32, sample_size=32)  # fmt: skip
    return diffusers.UNet2DConditionModel(**(sizes | more)).eval()


def beta_scheduler(kind, **more):
    return kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, **more)


def sd1(folder):
    return diffusers.StableDiffusionPipeline(
        vae=autoencoder(0.18215), text_encoder=text_encoder(transformers.CLIPTextModel), tokenizer=tokenizer(folder), unet=unet(),
        scheduler=beta_scheduler(diffusers.PNDMScheduler, skip_prk_steps=True, set_alpha_to_one=False), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False)  # fmt: skip


def sd2(folder):
    scheduler = beta_scheduler(
        diffusers.DDIMScheduler, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction")  # fmt: skip
    return diffusers.StableDiffusionPipeline(
        vae=autoencoder(0.18215), text_encoder=text_encoder(transformers.CLIPTextModel, "gelu"), tokenizer=tokenizer(folder, "!"),
        unet=unet(block_out_channels=[64, 128], use_linear_projection=True, attention_head_dim=[1, 2]), scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)  # fmt: skip


def sdxl(folder):
    network = unet(
        block_out_channels=[64, 64, 128], down_block_types=["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2,
        up_block_types=["CrossAttnUpBlock2D"] * 2 + ["UpBlock2D"], transformer_layers_per_block=[1, 1, 2], use_linear_projection=True,
        attention_head_dim=[1, 1, 2], cross_attention_dim=128, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64 + 6 * 8)  # fmt: skip
    return diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(0.13025), text_encoder=text_encoder(transformers.CLIPTextModel), tokenizer=tokenizer(folder / "1"),
        text_encoder_2=text_encoder(transformers.CLIPTextModelWithProjection, "gelu"), tokenizer_2=tokenizer(folder / "2", "!"),
        unet=network, scheduler=beta_scheduler(diffusers.EulerDiscreteScheduler, timestep_spacing="leading"), add_watermarker=False)  # fmt: skip


def sd3(folder):
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=32, num_layers=3, attention_head_dim=64, num_attention_heads=1, joint_attention_dim=160, caption_projection_dim=64,
        pooled_projection_dim=128, pos_embed_max_size=24).eval()  # fmt: skip
    first = text_encoder(transformers.CLIPTextModelWithProjection)
    # Published files are read as if CLIP-L's pooled state were not projected; in the published folders this is so.
    first.text_projection.weight.data = torch.eye(64)
    return diffusers.StableDiffusion3Pipeline(
        vae=autoencoder(1.5305, 16, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False), transformer=transformer,
        text_encoder=first, tokenizer=tokenizer(folder / "1"),
        text_encoder_2=text_encoder(transformers.CLIPTextModelWithProjection, "gelu"), tokenizer_2=tokenizer(folder / "2", "!"),
        text_encoder_3=None, tokenizer_3=None, scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))  # fmt: skip


KINDS = {"sd1": sd1, "sd2": sd2, "sdxl": sdxl, "sd3": sd3}


@pytest.fixture(scope="module", params=list(KINDS))
def pair(request, tmp_path_factory):
    """A pipeline, the folder and the single file of it."""
    from original_files import original
    from safetensors.torch import save_file

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp(request.param)
    pipe = KINDS[request.param](folder / "words")
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder / "pipeline")
    parts = {name: part for name, part in pipe.components.items() if hasattr(part, "state_dict")}
    save_file(original(parts), folder / "model.safetensors")
    return pipe, folder, request.param


def sampled(model, **more):
    request = dict(prompt=PROMPT, negative_prompt="", steps=4, guidance=4.0, seed=5, height=SIZE, width=SIZE) | more
    return np.asarray(model.session().sample(**request).latents)


def by_diffusers(pipe, **more):
    generator = torch.Generator().manual_seed(5)
    request = dict(prompt=PROMPT, negative_prompt="", num_inference_steps=4, guidance_scale=4.0, height=SIZE, width=SIZE) | more
    with torch.no_grad():
        return pipe(generator=generator, output_type="latent", **request).images.numpy()


def test_a_single_file_is_the_folder(pair):
    pipe, folder, _ = pair
    whole = diffaccel.Model(folder / "pipeline")
    single = diffaccel.Model(folder / "model.safetensors")
    latents = sampled(single)
    assert np.array_equal(latents, sampled(whole))
    expected = by_diffusers(pipe)
    assert np.abs(latents - expected).max() <= 2e-3 * max(1, np.abs(expected).max())


def lora_file(pipe, style, path):
    import lora_names
    from safetensors.torch import save_file

    file = lora_names.File(11)
    networks = {name: part for name, part in pipe.components.items() if hasattr(part, "state_dict")}
    getattr(lora_names, style)(networks, file)
    save_file(file.tensors, path)


def test_merged_loras_are_those_of_diffusers(pair, tmp_path):
    pytest.importorskip("peft")
    pipe, folder, kind = pair
    path = tmp_path / "lora.safetensors"
    lora_file(pipe, {"sdxl": "kohya_xl", "sd3": "sd3"}.get(kind, "kohya"), path)
    latents = {}
    for source in ("pipeline", "model.safetensors"):
        model = diffaccel.Model(folder / source, lora=(path, 0.6))
        latents[source] = sampled(model)
    assert np.array_equal(latents["pipeline"], latents["model.safetensors"])
    plain = by_diffusers(pipe)
    pipe.load_lora_weights(str(path))
    pipe.fuse_lora(lora_scale=0.6)
    try:
        expected = by_diffusers(pipe)
    finally:
        pipe.unfuse_lora()
        pipe.unload_lora_weights()
    difference = np.abs(latents["pipeline"] - expected).max()
    assert difference <= 2e-3 * max(1, np.abs(expected).max())
    assert np.abs(plain - expected).max() > 10 * difference


def test_a_lora_for_another_model_is_refused(pair, tmp_path):
    pipe, folder, kind = pair
    from safetensors.torch import save_file

    name = "lora_unet_down_blocks_9_attentions_0_transformer_blocks_0_attn2_to_k"
    save_file({f"{name}.lora_up.weight": torch.zeros(4, 1), f"{name}.lora_down.weight": torch.zeros(1, 2048)}, tmp_path / "a.safetensors")
    with pytest.raises(diffaccel.DiffAccelError, match="looks like a LoRA for Stable Diffusion XL"):
        diffaccel.Model(folder / "pipeline", lora=tmp_path / "a.safetensors")
