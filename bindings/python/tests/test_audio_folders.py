"""Folders of AudioLDM and AudioLDM 2: forms of their files, parts that are not there, what is refused."""

import json
import shutil

import numpy as np
import pytest
from conftest import write_safetensors
from small_audio import CLAP, GPT2, gpt2_tensors, projection_tensors, sampled, write_audioldm2

import diffaccel


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_audioldm2(tmp_path_factory.mktemp("sounds") / "audioldm2")


@pytest.fixture(scope="module")
def plain(whole):
    return sampled(diffaccel.Model(whole), prompt="rain").audio


@pytest.fixture
def copy(whole, tmp_path):
    return lambda: shutil.copytree(whole, tmp_path / "copy")


def rewrite(path, **members):
    config = {**json.loads(path.read_text()), **members}
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not ...}))


def test_without_text_encoders(copy):
    """Parts may be absent: requests then bring what they would have made."""
    folder = copy()
    for part in ("text_encoder", "text_encoder_2", "language_model", "projection_model", "tokenizer", "tokenizer_2"):
        shutil.rmtree(folder / part)
    model = diffaccel.Model(folder)
    assert model.description["text_encoders"] == [] and not model.description["reads_texts"]
    told = dict(prompt_embeds=np.ones((1, 3, 20), np.float32), generated_prompt_embeds=np.ones((1, 8, 12), np.float32))
    assert sampled(model, **told, guidance=1).audio.size
    with pytest.raises(diffaccel.UnsupportedError, match="text_encoder.*prompt_embeds and generated_prompt_embeds"):
        sampled(model, prompt="rain")
    with pytest.raises(diffaccel.UnsupportedError, match="negative"):
        sampled(model, **told)
    with pytest.raises(diffaccel.UnsupportedError, match="projection_model"):
        sampled(model, prompt_embeds=told["prompt_embeds"], clap_embeds=np.ones((1, 10), np.float32), guidance=1)


def test_models_of_speech(copy):
    """Their phoneme encoder is not run: it is refused by name where it is needed."""
    folder = copy()
    shutil.rmtree(folder / "text_encoder_2"), shutil.rmtree(folder / "tokenizer_2")
    (folder / "text_encoder_2").mkdir()
    (folder / "text_encoder_2" / "config.json").write_text(json.dumps(dict(architectures=["VitsModel"], model_type="vits")))
    write_safetensors(folder / "text_encoder_2" / "model.safetensors", {"text_encoder.x": np.ones(3, np.float32)})
    rewrite(folder / "model_index.json", text_encoder_2=["transformers", "VitsModel"], tokenizer_2=["transformers", "VitsTokenizer"])
    model = diffaccel.Model(folder)
    assert "text_encoder_2" in model.description["unused_parts"] and not model.description["reads_texts"]
    with pytest.raises(diffaccel.UnsupportedError, match="VitsModel.*phonemes"):
        sampled(model, prompt="hello")
    told = dict(prompt_embeds=np.ones((1, 3, 20), np.float32), clap_embeds=np.ones((1, 10), np.float32))
    assert sampled(model, **told, guidance=1).audio.size


def test_forms_of_the_language_model(copy, plain):
    folder = copy()
    write_safetensors(folder / "language_model" / "model.safetensors",
                      {**gpt2_tensors(GPT2, "transformer."), "lm_head.weight": np.ones((5, 12), np.float32)})
    rewrite(folder / "language_model" / "config.json", architectures=["GPT2LMHeadModel"], max_new_tokens=...)
    (folder / "language_model" / "generation_config.json").write_text(json.dumps(dict(max_new_tokens=8)))
    same = diffaccel.Model(folder)
    assert np.array_equal(sampled(same, prompt="rain").audio, plain)
    (folder / "language_model" / "generation_config.json").write_text(json.dumps(dict(max_new_tokens=5)))
    fewer = diffaccel.Model(folder)
    assert np.array_equal(sampled(fewer, prompt="rain").audio, sampled(same, prompt="rain", max_new_tokens=5).audio)


@pytest.mark.parametrize("path, members, words", [
    ("model_index.json", dict(_class_name="AudioLDM3Pipeline"), "AudioLDM2Pipeline"),
    ("model_index.json", dict(_class_name="AudioLDMPipeline"), "model_index.json"),
    ("unet/config.json", dict(act_fn="mish"), "act_fn"), ("unet/config.json", dict(norm_num_groups=3), "."),
    ("vae/config.json", dict(latent_channels=5), "."), ("vocoder/config.json", dict(model_in_dim=7), "."),
    ("vocoder/config.json", dict(upsample_rates=[0, 4]), "upsample_rates"), ("vocoder/config.json", dict(sampling_rate=0), "sampling_rate"),
    ("vocoder/config.json", dict(upsample_kernel_sizes=[16]), "upsample_kernel_sizes"),
    ("text_encoder/config.json", dict(text_config=dict(CLAP, hidden_act="gelu_10")), "hidden_act"),
    ("text_encoder/config.json", dict(text_config=dict(CLAP, position_embedding_type="relative_key")), "position_embedding_type"),
    ("text_encoder/config.json", dict(text_config=dict(CLAP, num_hidden_layers=4000)), "layers"),
    ("text_encoder/config.json", dict(text_config=dict(CLAP, max_position_embeddings=2)), "positions"),
    ("text_encoder/config.json", dict(text_config=dict(CLAP, vocab_size=100)), "."),
    ("text_encoder/config.json", dict(text_config=7), "text_config"), ("text_encoder/config.json", dict(projection_dim=11), "."),
    ("text_encoder_2/config.json", dict(d_model=24), "."), ("projection_model/config.json", dict(text_encoder_dim=11), "."),
    ("projection_model/config.json", dict(_class_name="Other"), "_class_name"),
    ("projection_model/config.json", dict(use_learned_position_embedding=False), "max_seq_length"),
    ("language_model/config.json", dict(n_head=5), "heads"), ("language_model/config.json", dict(n_layer=4000), "blocks"),
    ("language_model/config.json", dict(activation_function="snake"), "activation_function"),
    ("language_model/config.json", dict(add_cross_attention=True), "add_cross_attention"),
    ("language_model/config.json", dict(max_new_tokens=0), "max_new_tokens"),
    ("scheduler/scheduler_config.json", dict(beta_start=2.0), "."), ("scheduler/scheduler_config.json", dict(thresholding=True), "thresholding"),
    ("tokenizer/tokenizer_config.json", dict(pad_token="[PAD]"), "pad_token"), ("tokenizer/tokenizer_config.json", dict(mask_token="<m>"), "mask_token"),
    ("tokenizer/tokenizer_config.json", dict(padding_side="left"), "padding_side"),
])
def test_hostile_folders(copy, path, members, words):
    folder = copy()
    rewrite(folder / path, **members)
    with pytest.raises(diffaccel.DiffAccelError, match=words):
        diffaccel.Model(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "vocoder"])
def test_folders_without_a_part(copy, part):
    folder = copy()
    shutil.rmtree(folder / part)
    with pytest.raises(diffaccel.FileError, match=part):
        diffaccel.Model(folder)


def test_a_checkpoint_without_a_scheduler(copy, plain):
    folder = copy()
    shutil.rmtree(folder / "scheduler")
    model = diffaccel.Model(folder)
    assert any("scheduler" in text for text in model.description["assumptions"])
    assert np.array_equal(sampled(model, prompt="rain").audio, plain)


def test_numbers_that_are_not_finite(copy):
    folder = copy()
    tensors = gpt2_tensors(GPT2)
    tensors["h.1.mlp.c_proj.bias"][0] = np.nan
    write_safetensors(folder / "language_model" / "model.safetensors", tensors)
    with pytest.raises(diffaccel.NotFiniteError, match="language model"):
        sampled(diffaccel.Model(folder), prompt="rain")


def test_a_learned_position_table(copy):
    """The states of a text must then be as long as the table."""
    folder = copy()
    config = dict(json.loads((folder / "projection_model" / "config.json").read_text()), use_learned_position_embedding=True, max_seq_length=6)
    (folder / "projection_model" / "config.json").write_text(json.dumps(config))
    tensors = projection_tensors(config)
    tensors["learnable_positional_embedding"] = np.random.default_rng(1).standard_normal((1, 20, 6)).astype(np.float32)
    write_safetensors(folder / "projection_model" / "diffusion_pytorch_model.safetensors", tensors)
    model = diffaccel.Model(folder)
    told = dict(prompt_embeds=np.ones((1, 6, 20), np.float32), clap_embeds=np.ones((1, 10), np.float32), guidance=1)
    assert sampled(model, **told).audio.size
    with pytest.raises(diffaccel.ShapeError, match="positions"):
        sampled(model, **{**told, "prompt_embeds": np.ones((1, 5, 20), np.float32)})
