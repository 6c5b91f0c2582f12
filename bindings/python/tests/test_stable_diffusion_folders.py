"""Folders of pipelines that are not what they should be: a status and words that say what to do."""

import json
import shutil

import numpy as np
import pytest
from conftest import write_safetensors
from stable_diffusion_refusals import edit, refusal
from tiny_pipelines import shapes, state, write_part, write_pipeline

import diffaccel

# MARK: Parts of other checkpoints


WRONG_PARTS = [
    ("sd", "text_encoder", "clip_pooled", None, None),
    ("sd", "unet", "unet_xl", diffaccel.DiffAccelError, "text_embeds|take all parts|width"),
    ("sd", "unet", "mmdit", diffaccel.DiffAccelError, "unet/config.json"),
    ("sd", "vae", "vae_sd3", diffaccel.IncompatibleError, "16 latent channels, the network makes 4"),
    ("sd", "vae", "clip", diffaccel.DiffAccelError, "vae"),
    ("sd", "text_encoder", "vae", diffaccel.DiffAccelError, "text_encoder"),
    ("sdxl", "text_encoder_2", "clip", diffaccel.IncompatibleError, "text_encoder_2 has no text_projection.*WithProjection"),
    ("sdxl", "unet", "unet", diffaccel.DiffAccelError, "take all parts from one checkpoint"),
    ("sd3", "transformer", "unet", diffaccel.DiffAccelError, "transformer/config.json"),
    ("sd3", "vae", "vae", diffaccel.IncompatibleError, "4 latent channels, the network makes 16"),
    ("sd3", "text_encoder", "clip", diffaccel.IncompatibleError, "text_encoder has no text_projection.*WithProjection"),
]


@pytest.mark.parametrize("kind, sub, other, error, words", WRONG_PARTS)
def test_a_part_of_another_checkpoint(tmp_path, kind, sub, other, error, words):
    folder = write_pipeline(tmp_path / "model", kind)
    shutil.rmtree(folder / sub)
    write_part(folder / sub, other)
    found = refusal(folder)
    if error is None:
        assert found is None, "a projection that is not used is no fault"
    else:
        with pytest.raises(error, match=words):
            raise found or AssertionError("not refused")


# MARK: What is missing


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
def test_parts_missing_one_by_one(tmp_path, kind):
    """Without a network there are no pictures; what a prompt or pixels need is asked for by its name where it is needed."""
    for sub in [*shapes()["pipelines"][kind]["parts"], "scheduler"]:
        folder = write_pipeline(tmp_path / "model", kind)
        shutil.rmtree(folder / sub)
        found = refusal(folder)
        if sub in ("scheduler", "vae"):
            assert found is None, f"{sub}: {found}"
        else:
            assert found is not None and sub.split("_2")[0] in str(found).replace("text encoder", "text_encoder"), f"{sub}: {found}"


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
def test_files_missing_one_by_one(tmp_path, kind):
    folder = write_pipeline(tmp_path / "model", kind)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    for file in files:
        write_pipeline(folder, kind)
        (folder / file).unlink()
        found = refusal(folder)
        if found is None:
            assert file.name in ("special_tokens_map.json", "tokenizer_config.json", "scheduler_config.json"), file
        else:
            # A tokenizer is named by the encoder that it is for.
            named = file.parent.name.replace("tokenizer", "text_encoder")
            assert named in str(found) or file.name == "model_index.json", f"{file}: {found}"


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, 0.5, 0.9, -1])
def test_cut_weights(tmp_path, kind, size):
    folder = write_pipeline(tmp_path / "model", kind)
    for sub, part in shapes()["pipelines"][kind]["parts"].items():
        if sub.startswith("tokenizer"):
            continue
        path = folder / sub / shapes()["parts"][part]["file"]
        whole = path.read_bytes()
        keep = int(len(whole) * size) if isinstance(size, float) else size if size >= 0 else len(whole) - 1
        path.write_bytes(whole[:keep])
        found = refusal(folder)
        assert isinstance(found, (diffaccel.FormatError, diffaccel.FileError)) and path.name in str(found), f"{sub}: {found}"
        path.write_bytes(whole)
    assert refusal(folder) is None


@pytest.mark.parametrize("sub, part", [("unet", "unet"), ("vae", "vae"), ("text_encoder", "clip")])
def test_tensors_missing_or_of_another_shape(tmp_path, sub, part):
    folder = write_pipeline(tmp_path / "model", "sd")
    tensors = state(part)
    for name in list(tensors)[::7]:
        for change in ("gone", "transposed", "longer"):
            changed = dict(tensors)
            if change == "gone":
                del changed[name]
            elif change == "longer":
                changed[name] = np.concatenate([changed[name], changed[name][:1]])
            elif changed[name].ndim < 2 or changed[name].shape[0] == changed[name].shape[1]:
                continue
            else:
                changed[name] = np.ascontiguousarray(np.swapaxes(changed[name], 0, 1))
            write_safetensors(folder / sub / shapes()["parts"][part]["file"], changed)
            found = refusal(folder)
            assert found is not None and name in str(found), f"{name} {change}: {found}"


# MARK: Indices and configurations


@pytest.mark.parametrize("name", [
    "StableDiffusionControlNetPipeline", "StableDiffusionUpscalePipeline", "StableDiffusionLatentUpscalePipeline", "StableDiffusionXLControlNetPipeline",
    "KandinskyV22Pipeline", "FluxPipeline", "PixArtSigmaPipeline", "StableCascadeDecoderPipeline", "StableDiffusionInstructPix2PixPipeline",
    "StableDiffusionDepth2ImgPipeline", "IFPipeline", "AltDiffusionPipeline", "", "x" * 10000, "stablediffusionpipeline", "StableDiffusionPipeline\0"])
def test_pipelines_that_are_not_supported(tmp_path, name):
    folder = write_pipeline(tmp_path / "model", "sd")
    edit(folder / "model_index.json", _class_name=name)
    found = refusal(folder)
    assert found is not None and len(str(found)) < 2000, found
    if name.isalnum() and len(name) < 100:
        assert name in str(found) and "StableDiffusionPipeline" in str(found), found


@pytest.mark.parametrize("value", [None, ..., 3, [], {}, True])
def test_class_names_that_are_none(tmp_path, value):
    folder = write_pipeline(tmp_path / "model", "sd")
    edit(folder / "model_index.json", _class_name=value)
    assert refusal(folder) is not None


def test_refiner(tmp_path):
    """SDXL's refiner has one text encoder and is told an aesthetic score."""
    folder = write_pipeline(tmp_path / "model", "sdxl")
    shutil.rmtree(folder / "text_encoder"), shutil.rmtree(folder / "tokenizer")
    edit(folder / "model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline", requires_aesthetics_score=True, text_encoder=[None, None],
         tokenizer=[None, None])
    found = refusal(folder)
    assert found is not None and "aesthetic" in str(found), found


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
def test_members_of_the_index_that_are_null(tmp_path, kind):
    parts = shapes()["pipelines"][kind]["parts"]
    for sub in [*parts, "scheduler"]:
        for value in (None, [None, None], [], "x", 7, ["diffusers"], {"a": [1]}):
            folder = write_pipeline(tmp_path / "model", kind)
            edit(folder / "model_index.json", **{sub: value})
            found = refusal(folder)
            assert found is None or len(str(found)) > 20


def test_index_that_is_none(tmp_path):
    for text in ("", "[]", "null", "{", '{"_class_name"}', "\0" * 100, "[" * 100000, '"StableDiffusionPipeline"'):
        folder = write_pipeline(tmp_path / "model", "sd")
        (folder / "model_index.json").write_text(text)
        assert refusal(folder) is not None


@pytest.mark.parametrize("name, error", [
    ("UNetScheduler", diffaccel.UnsupportedError), ("FlowMatchEulerDiscreteScheduler", diffaccel.UnsupportedError), ("", diffaccel.DiffAccelError),
    ("KarrasVeScheduler", diffaccel.UnsupportedError), ("CMStochasticIterativeScheduler", diffaccel.UnsupportedError)])
def test_scheduler_of_another_class(tmp_path, name, error):
    folder = write_pipeline(tmp_path / "model", "sd")
    edit(folder / "scheduler" / "scheduler_config.json", _class_name=name)
    with pytest.raises(error, match="scheduler"):
        raise refusal(folder) or AssertionError("not refused")


def test_flow_scheduler_of_another_class(tmp_path):
    folder = write_pipeline(tmp_path / "model", "sd3")
    edit(folder / "scheduler" / "scheduler_config.json", _class_name="DDIMScheduler")
    with pytest.raises(diffaccel.UnsupportedError, match="scheduler.*DDIMScheduler"):
        raise refusal(folder) or AssertionError("not refused")


def test_settings_of_a_tokenizer_are_honoured_known_or_told(tmp_path):
    """Every key of tokenizer_config.json: one that nobody knows is told, those that mean something else here are refused by name."""
    folder = write_pipeline(tmp_path / "model", "sdxl")
    path = folder / "tokenizer_2" / "tokenizer_config.json"
    published = {
        "add_prefix_space": False, "added_tokens_decoder": {"521": {"content": "<|endoftext|>", "lstrip": False, "normalized": False, "rstrip": False,
                                                                   "single_word": False, "special": True}},
        "additional_special_tokens": [], "clean_up_tokenization_spaces": True, "do_lower_case": True, "errors": "replace", "backend": "tokenizers",
        "name_or_path": "openai/clip", "special_tokens_map_file": "x", "tokenizer_class": "CLIPTokenizer", "extra_special_tokens": {},
        "use_fast": True, "padding_side": "right", "truncation_side": "right", "unk_token": {"content": "<|endoftext|>", "lstrip": False,
                                                                                              "normalized": True, "rstrip": False, "single_word": False}}
    edit(path, **published)
    with diffaccel.Model(folder) as model:
        assert model.description["unknown_keys"] == []
    edit(path, surprise=1, model_max_length=9)
    with diffaccel.Model(folder) as model:
        assert model.description["unknown_keys"] == ["tokenizer_2/tokenizer_config.json: surprise"]
    for key, value in {"padding_side": "left", "truncation_side": "left", "split_special_tokens": True, "do_lower_case": False,
                       "add_prefix_space": True, "model_max_length": 0, "added_tokens_decoder": {"x": {}}, "eos_token": 7,
                       "sp_model_kwargs": {"enable_sampling": True}}.items():
        before = path.read_text()
        edit(path, **{key: value})
        found = refusal(folder)
        assert found is not None and (key in str(found) or key == "eos_token"), f"{key}: {found}"
        path.write_text(before)


NUMBERS = [-1, 0, 1, 3, 2**16, 2**31, 2**53, 2**63 - 1, 0.5, 1e300, "8", None, [], {}, True]


@pytest.mark.parametrize("kind, sub", [("sd", "unet"), ("sdxl", "unet"), ("sd3", "transformer"), ("sd", "vae"), ("sd", "text_encoder")])
def test_numbers_of_configurations(tmp_path, kind, sub):
    """Each member of each configuration with numbers that contradict the weights: a refusal, or a picture, and never the process's end."""
    folder = write_pipeline(tmp_path / "model", kind)
    path = folder / sub / "config.json"
    config = json.loads(path.read_text())
    for name, value in config.items():
        if name.startswith("_") or isinstance(value, str):
            continue
        changes = NUMBERS[:: 2 if not isinstance(value, list) else 5]
        if isinstance(value, list):
            changes = [*changes, value[:-1], value + value, [2**40] * len(value), [0] * len(value), [None] * len(value)]
        for change in changes:
            path.write_text(json.dumps({**config, name: change}))
            refusal(folder)
    path.write_text(json.dumps(config))
    assert refusal(folder) is None
