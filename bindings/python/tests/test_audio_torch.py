"""Sounds beside diffusers' own pipelines, where these are installed: the same folders, prompts and seeds."""

import json

import numpy as np
import pytest
from conftest import write_safetensors
from small_audio import CLAP, GPT2, LATENT, gpt2_tensors, write_audioldm, write_audioldm2

import diffaccel

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
load_file = pytest.importorskip("safetensors.torch").load_file

RUNS = {
    "plain": dict(prompt="a dog barks", steps=4, guidance=3.0, seconds=10 * LATENT),
    "odd": dict(prompt="rain", negative_prompt="a long loud noise", steps=3, guidance=2.0, seconds=7.3 * LATENT),
    "alone": dict(prompt="rain", steps=3, guidance=1.0, seconds=8 * LATENT),
    "several": dict(prompt=["a dog barks", "rain"], negative_prompt=["noise", ""], waveforms_per_prompt=2, steps=3, guidance=3.5,
                    seconds=6 * LATENT),
    "eta": dict(prompt="rain", steps=3, guidance=3.5, seconds=8 * LATENT, eta=1.0),
}
NAMES = dict(steps="num_inference_steps", guidance="guidance_scale", seconds="audio_length_in_s", waveforms_per_prompt="num_waveforms_per_prompt")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Each folder as both libraries open it."""
    root = tmp_path_factory.mktemp("beside")
    first, second = write_audioldm(root / "audioldm"), write_audioldm2(root / "audioldm2")
    # A model with a head: without one transformers 5 generates nothing.
    write_safetensors(second / "language_model" / "model.safetensors",
                      {**gpt2_tensors(GPT2, "transformer."), "transformer.wte.weight": np.zeros((50257, 12), np.float32)})
    index = json.loads((second / "model_index.json").read_text())
    (second / "model_index.json").write_text(json.dumps({**index, "language_model": ["transformers", "GPT2LMHeadModel"]}))
    return {"audioldm": (diffusers.AudioLDMPipeline, first), "audioldm2": (diffusers.AudioLDM2Pipeline, second)}


@pytest.mark.parametrize("kind", ["audioldm", "audioldm2"])
@pytest.mark.parametrize("name", RUNS)
def test_waveforms(pairs, kind, name):
    make, folder = pairs[kind]
    pipeline = opened(make, folder)
    pipeline.set_progress_bar_config(disable=True)
    arguments = {NAMES.get(key, key): value for key, value in RUNS[name].items()}
    expected = pipeline(**arguments, generator=torch.manual_seed(5), output_type="np").audios
    with diffaccel.Model(folder).session(threads=1) as session:
        found = session.sample(**RUNS[name], seed=5).audio
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-4)


def opened(make, folder):
    """The pipeline; the text tower of AudioLDM 2 within a whole model, whose tower for sounds nothing asks."""
    if make is diffusers.AudioLDMPipeline:
        return make.from_pretrained(folder)
    sounds = dict(depths=[1, 1], num_attention_heads=[1, 1], patch_embeds_hidden_size=4, hidden_size=8, spec_size=16, patch_size=2,
                  patch_stride=[2, 2], num_mel_bins=8, window_size=2, num_hidden_layers=2)
    whole = transformers.ClapModel(transformers.ClapConfig(text_config=CLAP, audio_config=sounds, projection_dim=CLAP["projection_dim"]))
    tower = {name: x for name, x in load_file(folder / "text_encoder" / "model.safetensors").items() if name.startswith("text_")}
    left = whole.load_state_dict(tower, strict=False).missing_keys
    assert not [name for name in left if name.startswith("text_") and "_ids" not in name]
    return make.from_pretrained(folder, text_encoder=whole.eval(), feature_extractor=transformers.ClapFeatureExtractor())
