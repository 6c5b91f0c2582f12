"""Original checkpoints of AudioLDM and AudioLDM 2: one file with all parts becomes a pipeline that sounds the same."""

import json
import re
import shutil

import numpy as np
import pytest
from conftest import write_safetensors
from small_audio import (CLAP, GPT2, PROJECTION, SHORT, T5, UNET1, UNET2, VAE, VOCODER, clap_tensors, gpt2_tensors, projection_tensors, t5_tensors,
                         unet_tensors, vocoder_tensors, write_audioldm, write_audioldm2)
from small_diffusion import vae_tensors

import diffaccel
from diffaccel import convert

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3",
          "conv_shortcut": "skip_connection"}
VAE_NAMES = [("mid_block.resnets.0", "mid.block_1"), ("mid_block.resnets.1", "mid.block_2"), ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
             ("mid_block.attentions.0.to_q", "mid.attn_1.q"), ("mid_block.attentions.0.to_k", "mid.attn_1.k"),
             ("mid_block.attentions.0.to_v", "mid.attn_1.v"), ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"),
             ("conv_norm_out", "norm_out"), ("conv_shortcut", "nin_shortcut"), ("downsamplers.0", "downsample"), ("upsamplers.0", "upsample")]


def original_unet(c):
    """The tensors of a tiny U-Net under the original names: layers 1, so that blocks come in twos."""
    stacks = len(c["cross_attention_dim"][0]) if isinstance(c["cross_attention_dim"][0], list) else 1
    ends = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_norm_out": "out.0", "conv_out": "out.2",
            "conv_in": "input_blocks.0.0", "class_embedding": "film_emb"}
    named = {}
    for name, value in unet_tensors(c).items():
        module, kind = name.rsplit(".", 1)
        if module in ends:
            named[f"{ends[module]}.{kind}"] = value
            continue
        way, rest = name.split(".", 1)
        level = "0"
        if way != "mid_block":
            level, rest = rest.split(".", 1)
        part, number, rest = rest.split(".", 2)
        number = int(number)
        layer, module = (number, 0) if part == "resnets" else (number // stacks, 1 + number % stacks)
        if part == "resnets":
            inner, kind = rest.rsplit(".", 1)
            rest = f"{RESNET[inner]}.{kind}"
        if way == "down_blocks":
            block = f"input_blocks.{1 + 2 * int(level) + layer}"
            if part == "downsamplers":
                block, module, rest = f"input_blocks.{2 + 2 * int(level)}", 0, rest.replace("conv.", "op.")
        elif way == "up_blocks":
            block = f"output_blocks.{2 * int(level) + layer}"
            if part == "upsamplers":
                block, module = f"output_blocks.{2 * int(level) + 1}", 1 + stacks
        else:
            block, module = "middle_block", (1 + stacks if part == "resnets" and number else module if part == "resnets" else 1 + number)
        named[f"{block}.{module}.{rest}"] = value
    return named


def original_vae():
    named = {}
    for name, value in vae_tensors(VAE).items():
        for new, old in VAE_NAMES:
            name = name.replace(new, old)
        name = re.sub(r"encoder\.down_blocks\.(\d+)\.resnets\.", r"encoder.down.\1.block.", name)
        name = re.sub(r"encoder\.down_blocks\.(\d+)\.", r"encoder.down.\1.", name)
        name = re.sub(r"decoder\.up_blocks\.(\d+)\.resnets\.", lambda m: f"decoder.up.{1 - int(m[1])}.block.", name)
        name = re.sub(r"decoder\.up_blocks\.(\d+)\.", lambda m: f"decoder.up.{1 - int(m[1])}.", name)
        squeezed = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name)
        named[name] = value[:, :, None, None] if squeezed else value
    return named


def original(kind):
    """A whole checkpoint."""
    unet = UNET2 if kind == "audioldm2" else UNET1
    state = {f"model.diffusion_model.{name}": value for name, value in original_unet(unet).items()}
    state |= {f"model_ema.{name.replace('.', '')}": value for name, value in original_unet(unet).items()}
    state |= {f"first_stage_model.{name}": value for name, value in original_vae().items()}
    for name, value in vocoder_tensors(VOCODER).items():
        if name not in ("mean", "scale"):
            name = name.replace("upsampler.", "ups.")
            if name.endswith(".weight"):
                # As directions and lengths, which is how they are trained.
                sizes = np.sqrt((value**2).sum((1, 2), keepdims=True))
                state[f"first_stage_model.vocoder.{name}_g"], state[f"first_stage_model.vocoder.{name}_v"] = sizes, 2 * value
            else:
                state[f"first_stage_model.vocoder.{name}"] = value
    state["scale_factor"] = np.array([VAE["scaling_factor"]], np.float32)
    clap = "clap.model." if kind == "audioldm2" else "cond_stage_model.model."
    for name, value in clap_tensors(CLAP).items():
        name = name.replace("text_model.", "text_branch.").replace("linear1", "0").replace("linear2", "2")
        state[clap + name] = value
    state[clap + "audio_branch.x"] = np.ones(3, np.float32)
    if kind == "audioldm2":
        state |= {f"cond_stage_models.0.model.{name}": value for name, value in gpt2_tensors(GPT2).items()}
        state |= {f"cond_stage_models.1.model.{name}": value for name, value in t5_tensors(T5).items()}
        w = projection_tensors(PROJECTION)
        for i, suffix in enumerate(("", "_1")):
            for part in ("weight", "bias"):
                state[f"cond_stage_models.0.input_sequence_embed_linear.{i}.{part}"] = w[f"projection{suffix}.{part}"]
        for old, new in (("start", "sos"), ("end", "eos")):
            state[f"cond_stage_models.0.{old}_of_sequence_tokens.weight"] = np.stack([w[f"{new}_embed"], w[f"{new}_embed_1"]])
    return state


@pytest.mark.parametrize("kind", ["audioldm", "audioldm2"])
def test_one_file_becomes_a_pipeline(tmp_path, kind):
    folder = (write_audioldm2 if kind == "audioldm2" else write_audioldm)(tmp_path / "parts")
    # Three heads in the text tower and the language model, whatever their width, and one in the small network.
    unet = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps({**unet, "attention_head_dim": 1}))
    write_safetensors(tmp_path / "whole.safetensors", original(kind))
    said = []
    made = convert.convert(tmp_path / "whole.safetensors", tmp_path / "made", heads=3, norm_groups=2, tokenizer=folder, upsample_rates=[5, 4],
                           say=said.append)
    assert made == "audioldm" and any("32 channels" in text for text in said)
    config = json.loads((tmp_path / "made" / "unet" / "config.json").read_text())
    # Groups are said once for all norms: those of the network differ here.
    (tmp_path / "made" / "unet" / "config.json").write_text(json.dumps({**config, "norm_num_groups": 4, "sample_size": 16}))
    t5 = tmp_path / "made" / "text_encoder_2" / "config.json"
    if t5.exists():
        t5.write_text(json.dumps({**json.loads(t5.read_text()), "relative_attention_max_distance": T5["relative_attention_max_distance"]}))
    for seconds in (SHORT["seconds"],):
        one, other = (diffaccel.Model(path).session().sample(prompt="rain", steps=3, seconds=seconds) for path in (folder, tmp_path / "made"))
        np.testing.assert_allclose(other.latents, one.latents, atol=1e-4)
        np.testing.assert_allclose(other.audio, one.audio, atol=1e-4)


def test_what_is_refused(tmp_path):
    folder = write_audioldm2(tmp_path / "parts")
    state = original("audioldm2")
    write_safetensors(tmp_path / "whole.safetensors", state)
    asked = dict(heads=3, norm_groups=2, tokenizer=folder, upsample_rates=[5, 4], say=lambda text: None)
    for change, words in ((dict(tokenizer=None), "--tokenizer"), (dict(upsample_rates=None), "--upsample-rates"), (dict(heads=None), "--heads"),
                          (dict(tokenizer=tmp_path), "tokenizer")):
        with pytest.raises(convert.ConversionError, match=words):
            convert.convert(tmp_path / "whole.safetensors", tmp_path / "made", **{**asked, **change})
    for name in ("model.diffusion_model.input_blocks.0.0.weight", "cond_stage_models.0.model.wpe.weight", "first_stage_model.decoder.conv_in.weight"):
        write_safetensors(tmp_path / "part.safetensors", {key: value for key, value in state.items() if key != name})
        with pytest.raises(convert.ConversionError):
            convert.convert(tmp_path / "part.safetensors", tmp_path / "made", **asked)
    (tmp_path / "made").mkdir()
    with pytest.raises(convert.ConversionError, match="there already"):
        convert.convert(tmp_path / "whole.safetensors", tmp_path / "made", **asked)
    shutil.rmtree(tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
