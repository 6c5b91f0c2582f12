"""Folders as others publish them, converted: language models' .bin files, the DiT of diffusers, whole pipelines. No torch needed."""

import json
import shutil

import numpy as np
import pytest
from conftest import TINY, dit_tensors, write_autoencoder, write_safetensors
from test_language_folders import CONFIG, weights, write_file, write_one_file
from torch_files import Brain, save

import diffaccel
from diffaccel import convert
from diffaccel.convert import ConversionError

TOKENS = np.array([3, 17, 22, 9, 41, 5, 7])


def floats(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.fixture
def language(tmp_path):
    """A folder in safetensors, and what it gives."""
    folder = tmp_path / "published"
    folder.mkdir()
    write_file(folder / "model.safetensors", weights(), "BF16")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    with diffaccel.Model(folder) as model:
        return model.forward(outputs="logits", tokens=TOKENS)


@pytest.mark.parametrize("layout", ["one", "shards", "inner", "prefix", "file"])
def test_language_models(tmp_path, language, layout):
    folder, state = tmp_path / "bin", {name: Brain(floats(bits)) for name, bits in weights().items()}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_one_file(folder)
    if layout == "shards":
        names, homes = sorted(state), {}
        for number in range(3):
            file = f"pytorch_model-{number + 1:05d}-of-00003.bin"
            save(folder / file, {name: state[name] for name in names[number::3]})
            homes |= {name: file for name in names[number::3]}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": homes}))
    else:
        if layout == "inner":  # AutoModel without its head is the network below "model."
            state = {name.removeprefix("model."): value for name, value in state.items()}
        if layout == "prefix":
            state = {"module." + name: value for name, value in state.items()}
        save(folder / "pytorch_model.bin", state)
    with pytest.raises(diffaccel.UnsupportedError) as refusal:
        diffaccel.Model(folder)
    assert f"python -m diffaccel.convert {folder} --out FOLDER" in str(refusal.value)
    source = folder / "pytorch_model.bin" if layout == "file" else folder
    assert convert.main([str(source), "--out", str(tmp_path / "out")]) == 0
    with diffaccel.Model(tmp_path / "out") as model:
        np.testing.assert_array_equal(model.forward(outputs="logits", tokens=TOKENS), language)
        assert model.tokenizer is not None


def test_advice_about_shards_is_true(tmp_path, language):
    """Both refusals of an index name it as what is to be converted."""
    folder, state = tmp_path / "shards", {name: floats(bits) for name, bits in weights().items()}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    names = sorted(state)
    for kind in ("safetensors", "bin"):
        homes = {}
        for number in range(2):
            file, part = f"part-{number}.{kind}", {f"net.{name}": state[name] for name in names[number::2]}
            write_safetensors(folder / file, part) if kind == "safetensors" else save(folder / file, part)
            homes |= dict.fromkeys(part, file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
        with pytest.raises(diffaccel.DiffAccelError) as refusal:
            diffaccel.Model(folder)
        advice = str(refusal.value).split("python -m diffaccel.convert ")[1].split(" --out")[0]
        assert advice.endswith("model.safetensors.index.json")
        assert convert.convert(advice, tmp_path / kind) == "dream"
        with diffaccel.Model(tmp_path / kind) as model:
            np.testing.assert_allclose(model.forward(outputs="logits", tokens=TOKENS), language, atol=1e-4)


def test_incomplete_shards(tmp_path):
    folder, state = tmp_path / "bin", {name: Brain(floats(bits)) for name, bits in weights().items()}
    folder.mkdir()
    save(folder / "a.bin", {name: state[name] for name in sorted(state)[:5]})
    homes = {name: "a.bin" for name in sorted(state)[:5]}
    for more, part in (({"x.weight": "b.bin"}, "b.bin: missing"), ({"x.weight": "a.bin"}, "not in the files it names: x.weight"),
                       ({"x.weight": "../a.bin"}, "no list")):
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": homes | more}))
        with pytest.raises(ConversionError, match=part):
            convert.convert(folder, tmp_path / "out")
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": homes}))
    with pytest.raises(ConversionError, match="config.json"):
        convert.convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def diffusers_state():
    """The tiny DiT by the names of diffusers, with an embedder in every block."""
    official, state = dit_tensors({**TINY, "mlp_ratio": 4.0}), {}
    renamed = {"x_embedder.proj": "pos_embed.proj", "final_layer.linear": "proj_out_2", "final_layer.adaLN_modulation.1": "proj_out_1"}
    for kind in ("weight", "bias"):
        for old, new in renamed.items():
            state[f"{new}.{kind}"] = official[f"{old}.{kind}"]
        for block in range(TINY["depth"]):
            old, new = f"blocks.{block}", f"transformer_blocks.{block}"
            for name, part in zip("qkv", np.split(official[f"{old}.attn.qkv.{kind}"], 3)):
                state[f"{new}.attn1.to_{name}.{kind}"] = part.copy()
            state[f"{new}.attn1.to_out.0.{kind}"] = official[f"{old}.attn.proj.{kind}"]
            state[f"{new}.ff.net.0.proj.{kind}"], state[f"{new}.ff.net.2.{kind}"] = (official[f"{old}.mlp.fc{i}.{kind}"] for i in (1, 2))
            state[f"{new}.norm1.linear.{kind}"] = official[f"{old}.adaLN_modulation.1.{kind}"]
            for number, layer in ((0, "linear_1"), (2, "linear_2")):
                state[f"{new}.norm1.emb.timestep_embedder.{layer}.{kind}"] = official[f"t_embedder.mlp.{number}.{kind}"]
    for block in range(TINY["depth"]):
        state[f"transformer_blocks.{block}.norm1.emb.class_embedder.embedding_table.weight"] = official["y_embedder.embedding_table.weight"]
    return state


DIFFUSERS = {"_class_name": "DiTTransformer2DModel", "num_attention_heads": 4, "attention_head_dim": 12, "in_channels": 4,
             "out_channels": 8, "num_layers": 3, "sample_size": 8, "patch_size": 2, "num_embeds_ada_norm": 10,
             "activation_fn": "gelu-approximate", "norm_type": "ada_norm_zero", "norm_elementwise_affine": False}


def test_diffusers(tmp_path):
    published, folder = tmp_path / "published", tmp_path / "bin"
    for made in (published, folder):
        made.mkdir()
        (made / "config.json").write_text(json.dumps(DIFFUSERS))
    write_safetensors(published / "diffusion_pytorch_model.safetensors", diffusers_state())
    save(folder / "diffusion_pytorch_model.bin", diffusers_state())
    given = dict(x=np.ones((1, 4, 8, 8), np.float32), t=[30], y=[2])
    with diffaccel.Model(published) as model:
        expected = model.forward(**given)
    assert convert.convert(folder, tmp_path / "out") == "dit"
    with diffaccel.Model(tmp_path / "out") as model:
        np.testing.assert_array_equal(model.forward(**given), expected)
    shutil.copy(folder / "diffusion_pytorch_model.bin", tmp_path / "alone.bin")
    with pytest.raises(ConversionError, match="config.json"):
        convert.convert(tmp_path / "alone.bin", tmp_path / "alone")


def test_pipelines(tmp_path):
    source = tmp_path / "pipeline"
    (source / "transformer").mkdir(parents=True)
    (source / "transformer" / "config.json").write_text(json.dumps(DIFFUSERS))
    save(source / "transformer" / "diffusion_pytorch_model.bin", diffusers_state())
    write_autoencoder(source / "vae")
    (source / "scheduler").mkdir()
    (source / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": "DDIMScheduler"}))
    (source / "model_index.json").write_text(json.dumps({"_class_name": "DiTPipeline"}))
    assert convert.convert(source, tmp_path / "out") == "pipeline"
    with diffaccel.Model(tmp_path / "out") as model:
        assert model.description["decoder"] == "autoencoder_kl"
    assert (tmp_path / "out" / "scheduler" / "scheduler_config.json").is_file()
    (source / "vae" / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ConversionError, match="git-lfs"):
        convert.convert(source, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pipeline"]
