"""Prompts, tokenizers, sizes and updates that do not fit a pipeline: a status and words that say what to do."""

import json
import shutil

import numpy as np
import pytest
from conftest import write_safetensors
from stable_diffusion_cases import PROMPT
from stable_diffusion_refusals import SMALL, refusal
from tiny_pipelines import lora_file, tokenizer_files, write_part, write_pipeline

import diffaccel

# MARK: Tokenizers and prompts


def test_a_tokenizer_of_a_larger_vocabulary(tmp_path):
    folder = write_pipeline(tmp_path / "model", "sd")
    vocabulary = json.loads((folder / "tokenizer" / "vocab.json").read_text())
    for index in range(100):
        vocabulary[f"word{index}</w>"] = len(vocabulary)
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(diffaccel.IncompatibleError, match="tokenizer has .* tokens, text_encoder knows 522: take both from one checkpoint"):
        raise refusal(folder) or AssertionError("not refused")


@pytest.mark.parametrize("change", ["ids", "holes", "empty", "no bytes", "merges", "no end"])
def test_a_tokenizer_that_contradicts_itself(tmp_path, change):
    folder = write_pipeline(tmp_path / "model", "sd")
    vocabulary = json.loads((folder / "tokenizer" / "vocab.json").read_text())
    if change == "ids":
        vocabulary = {word: index + 10**6 for word, index in vocabulary.items()}
    elif change == "holes":
        vocabulary = {word: index * 3 for word, index in vocabulary.items()}
    elif change == "empty":
        vocabulary = {}
    elif change == "no bytes":
        vocabulary = dict(list(vocabulary.items())[300:])
    elif change == "no end":
        del vocabulary["<|endoftext|>"]
    else:
        (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\nq z\nno merge at all here\n")
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary))
    found = refusal(folder)
    assert found is not None and "tokenizer" in str(found) or change == "merges", found


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
@pytest.mark.parametrize("prompt", ["a" * 10**6, "cat " * 250_000, "🐈" * 250_000, "\n" * 10**6, "\u0301" * 10**6, "é" * 10**6, "'s" * 500_000])
def test_a_prompt_of_a_million_characters(tmp_path_factory, kind, prompt):
    folder = tmp_path_factory.getbasetemp() / f"long-{kind}"
    if not folder.exists():
        write_pipeline(folder, kind)
    found = refusal(folder, request={"prompt": prompt, "negative_prompt": prompt, "steps": 1})
    assert found is None or isinstance(found, diffaccel.InvalidArgumentError), found


def test_prompts_of_a_batch(tmp_path):
    folder = write_pipeline(tmp_path / "model", "sd")
    for request in ({"prompt": []}, {"prompt": [PROMPT] * 4097}, {"prompt": [PROMPT] * 3, "seeds": [1, 2]}, {"prompt": [PROMPT] * 2, "negative_prompt": ["a"] * 3},
                    {"images_per_prompt": 0}, {"images_per_prompt": 4097}, {"prompt": [PROMPT] * 100, "images_per_prompt": 100}, {"seeds": []},
                    {"seeds": [-1]}, {"prompt": None}, {"negative_prompt": "x", "prompt": None}):
        found = refusal(folder, request=request)
        assert isinstance(found, (diffaccel.InvalidArgumentError, diffaccel.ShapeError)), (request, found)


# MARK: Sizes


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
def test_sizes(tmp_path, kind):
    folder = write_pipeline(tmp_path / "model", kind)
    with diffaccel.Model(folder) as model, model.session(threads=1, memory_limit=2**24) as session:
        for height in (-8, 0, 1, 4, 8, 12, 31, 33, 64, 4096, 16384, 16388, 65536, 2**31, 2**62):
            for width in (8, 64, 65536):
                try:
                    result = session.sample(**{**SMALL, "height": height, "width": width, "steps": 1, "guidance": 1.0})
                    assert result.latents.shape[2:] == (height // 4, width // 4) and np.isfinite(result.latents).all()
                except (diffaccel.InvalidArgumentError, diffaccel.OverBudgetError, diffaccel.ShapeError) as error:
                    assert any(word in str(error) for word in ("height", "width", "limit", "memory")), error


def test_sizes_are_estimated(tmp_path):
    """The largest pictures are estimated without being made."""
    with diffaccel.Model(write_pipeline(tmp_path / "model", "sd")) as model, model.session(threads=1) as session:
        peaks = [session.estimate(**{**SMALL, "height": side, "width": side, "steps": 1})["bytes"]["peak"] for side in (8, 64, 1024, 8192, 16384)]
    assert peaks == sorted(peaks) and peaks[-1] > 16384**2 * 12


# MARK: Updates


@pytest.mark.parametrize("kohya", [False, True])
def test_lora_of_another_model(tmp_path, kohya):
    path = lora_file(tmp_path / "lora.safetensors", "sdxl", kohya=kohya)
    folder = write_pipeline(tmp_path / "model", "sd")
    with pytest.raises(diffaccel.DiffAccelError, match="lora.safetensors"):
        raise refusal(folder, {"lora": path}) or AssertionError("not refused")


def test_lora_files_that_are_none(tmp_path):
    folder = write_pipeline(tmp_path / "model", "sd")
    cases = {"empty": b"", "text": b"hello", "weights": (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()}
    for name, data in cases.items():
        (tmp_path / f"{name}.safetensors").write_bytes(data)
        found = refusal(folder, {"lora": tmp_path / f"{name}.safetensors"})
        assert found is not None and name in str(found), f"{name}: {found}"
    for lora in (tmp_path / "nowhere.safetensors", folder / "unet", tmp_path):
        assert refusal(folder, {"lora": lora}) is not None, lora
    good = lora_file(tmp_path / "good.safetensors", "sd")
    for scale in (0, -1, 1000):
        found = refusal(folder, {"lora": (good, scale)})
        assert found is None or isinstance(found, diffaccel.NotFiniteError)
    for scale in (1001, float("nan"), float("inf")):
        with pytest.raises((diffaccel.DiffAccelError, ValueError)):
            raise refusal(folder, {"lora": (good, scale)}) or AssertionError("not refused")
    part = {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight": np.zeros((2, 8), np.float32)}
    write_safetensors(tmp_path / "half.safetensors", part)
    with pytest.raises(diffaccel.FormatError, match="half.safetensors"):
        raise refusal(folder, {"lora": tmp_path / "half.safetensors"}) or AssertionError("not refused")


@pytest.mark.parametrize("settings, words", [
    ({"decoder": "nowhere"}, "nowhere"), ({"tokenizer": "nowhere"}, "nowhere"), ({"variant": "fp8"}, "fp8"), ({"variant": "../x"}, "variant"),
    ({"prediction_type": "sample"}, "prediction_type")])
def test_settings_that_fit_nothing(tmp_path, settings, words):
    found = refusal(write_pipeline(tmp_path / "model", "sd"), settings)
    assert found is not None and words in str(found), found


def test_a_decoder_of_other_latents(tmp_path):
    folder = write_pipeline(tmp_path / "model", "sd")
    with pytest.raises(diffaccel.IncompatibleError, match="16 latent channels"):
        raise refusal(folder, {"decoder": write_part(tmp_path / "other", "vae_sd3")}) or AssertionError("not refused")
    assert refusal(folder, {"decoder": write_part(tmp_path / "tiny", "taesd")}) is None


def test_tokenizer_files_are_those_of_the_folder(tmp_path):
    """A folder of one tokenizer serves a checkpoint that has none."""
    folder = write_pipeline(tmp_path / "model", "sd")
    shutil.rmtree(folder / "tokenizer")
    (tmp_path / "tokenizer").mkdir()
    for name, text in tokenizer_files("<|endoftext|>").items():
        (tmp_path / "tokenizer" / name).write_text(text)
    found = refusal(folder)
    assert found is not None and "setting \"tokenizer\"" in str(found)
    assert refusal(folder, {"tokenizer": tmp_path / "tokenizer"}) is None
