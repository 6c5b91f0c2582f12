"""Folders as other systems leave them: download caches, unfinished downloads, configs of other writers, other element types."""

import json
import os
import subprocess

import numpy as np
import pytest
from conftest import ROOT, TINY, dit_tensors, write_dit, write_safetensors

import diffaccel

GIVEN = dict(x=np.linspace(-1, 1, 512).reshape(2, 4, 8, 8), t=[10, 500], y=[1, 10])


def cached(folder, cache):
    """The folder as a hub's cache keeps it: links in snapshots to contents in blobs. Returns the snapshot."""
    snapshot, blobs = cache / "snapshots" / "0123abcd", cache / "blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        path.rename(blobs / f"{number:040x}")
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blobs / f"{number:040x}", link.parent))
    return snapshot


def test_download_caches(tmp_path, tiny):
    snapshot = cached(write_dit(tmp_path / "m"), tmp_path / "cache")
    with pytest.raises(diffaccel.FileError, match="follow_links"):
        diffaccel.Model(snapshot)
    with pytest.raises(diffaccel.FileError, match="snapshots.*follow_links"):
        diffaccel.Model(tmp_path / "cache")
    with diffaccel.Model(snapshot, follow_links=True) as model:
        np.testing.assert_array_equal(model.forward(**GIVEN), tiny.forward(**GIVEN))


@pytest.mark.parametrize("name, part", [
    ("model.safetensors.incomplete", "let the download finish"), ("model.safetensors.part", "let the download finish"),
    ("pytorch_model.bin", "python -m diffaccel.convert"), ("dit.ckpt", "python -m diffaccel.convert"),
    ("model.gguf", "it cannot be converted"), ("model.onnx", "it cannot be converted"), ("flax_model.msgpack", "it cannot be converted"),
    ("weights.zip", "unpack it"),
])
def test_what_stands_in_place_of_weights(tmp_path, name, part):
    (tmp_path / name).write_bytes(b"x" * 100)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(diffaccel.DiffAccelError, match=part):
        diffaccel.Model(tmp_path)


def config_text(change=lambda text: text, **members):
    return change(json.dumps({"family": "dit", "model": TINY, **members}))


@pytest.mark.parametrize("text", [
    "\ufeff" + config_text(), config_text(lambda text: text.replace('"depth": 3', '"depth": 3.0').replace('"num_heads": 4', '"num_heads": 4e0')),
    config_text(lambda text: text.replace('"learn_sigma": true', '"learn_sigma": 1')), config_text(other=[float("nan"), float("-inf")]),
    config_text(model_max_length=int(1e30)), config_text(clip=float("inf")), config_text(lambda text: text.replace("{", "{\r\n")),
])
def test_configs_of_other_writers(tmp_path, tiny, text):
    write_safetensors(tmp_path / "model.safetensors", dit_tensors(TINY))
    (tmp_path / "config.json").write_bytes(text.encode())
    with diffaccel.Model(tmp_path) as model:
        np.testing.assert_array_equal(model.forward(**GIVEN), tiny.forward(**GIVEN))


def test_configs_given_by_hand(tmp_path, tiny):
    """What json.load makes of such a file is as good as the file."""
    write_safetensors(tmp_path / "model.safetensors", dit_tensors(TINY))
    config = {"family": "dit", "model": {**TINY, "depth": 3.0, "learn_sigma": 1}, "clip": float("nan"), "length": int(1e30)}
    with diffaccel.Model(tmp_path, config=config) as model:
        np.testing.assert_array_equal(model.forward(**GIVEN), tiny.forward(**GIVEN))
    with pytest.raises(diffaccel.FormatError, match="cfg_scale.*NaN"):
        diffaccel.Model(tmp_path, config={**config, "cfg_scale": float("nan")})


@pytest.mark.parametrize("text, part", [
    (config_text(cfg_scale=float("nan")), "cfg_scale: expected a number in.*found NaN"),
    (config_text(cfg_scale=float("inf")), "cfg_scale: expected a number in.*infinite"),
    (config_text(lambda text: text.replace('"depth": 3', '"depth": 3.5')), "depth: expected an integer.*3.5"),
    (config_text(lambda text: text[:-1] + ",}"), "line 1, column [0-9]+: a comma before a closing bracket"),
    (config_text(lambda text: "{ // mine\n" + text[1:]), "line 1, column 3: a comment"),
    (config_text(lambda text: text.replace('"', "'")), "line 1, column 2: a single quote"),
    (config_text(lambda text: text.replace("true", "True")), "Python's True: JSON says true"),
    ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
])
def test_configs_that_are_refused(tmp_path, text, part):
    write_safetensors(tmp_path / "model.safetensors", dit_tensors(TINY))
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(diffaccel.DiffAccelError, match=part):
        diffaccel.Model(tmp_path)
    (tmp_path / "config.json").write_bytes(text.encode("utf-16"))
    with pytest.raises(diffaccel.FormatError, match="UTF-16.*save it as UTF-8"):
        diffaccel.Model(tmp_path)


def typed(path, tensors, kinds):
    """A safetensors file of arrays of bits under the names of their types."""
    import struct

    header, blob = {}, b""
    for name, array in tensors.items():
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": kinds.get(name, "F32"), "shape": list(array.shape), "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def test_element_types(tmp_path, tiny):
    """F64 is rounded to f32, types of eight bits are widened, integers that nobody asks for are left alone."""
    (tmp_path / "config.json").write_text(config_text())
    state, file = dit_tensors(TINY), tmp_path / "model.safetensors"
    expected = tiny.forward(**GIVEN)
    doubles = {name: value.astype(np.float64) for name, value in state.items()}
    typed(file, doubles, dict.fromkeys(doubles, "F64"))
    with diffaccel.Model(tmp_path) as model:
        np.testing.assert_array_equal(model.forward(**GIVEN), expected)
    mixed = {**state, "blocks.1.attn.qkv.weight": doubles["blocks.1.attn.qkv.weight"], "n_averaged": np.array(7), "mask": np.ones(3, bool)}
    typed(file, mixed, {"blocks.1.attn.qkv.weight": "F64", "n_averaged": "I64", "mask": "BOOL"})
    with diffaccel.Model(tmp_path) as model, diffaccel.Model(tmp_path, widen=True) as wide:
        np.testing.assert_array_equal(model.forward(**GIVEN), expected)
        np.testing.assert_array_equal(wide.forward(**GIVEN), expected)
    # Powers of two, which F8_E4M3 has: 2**e stands as (e + 7) << 3.
    name = "blocks.0.mlp.fc1.weight"
    exponents = np.random.default_rng(1).integers(-6, 0, state[name].shape)
    powers = {**state, name: (2.0**exponents).astype(np.float32)}
    typed(file, powers, {})
    with diffaccel.Model(tmp_path) as model:
        wanted = model.forward(**GIVEN)
    for kind, bits in (("F8_E4M3", (exponents + 7) << 3), ("F8_E5M2", (exponents + 15) << 2)):
        typed(file, {**state, name: bits.astype(np.uint8)}, {name: kind})
        with diffaccel.Model(tmp_path) as model:
            np.testing.assert_allclose(model.forward(**GIVEN), wanted, atol=1e-4)
    typed(file, {**state, name: np.zeros(state[name].shape, np.uint8)}, {name: "U8"})
    with pytest.raises(diffaccel.UnsupportedError, match="U8 cannot be weights.*quantised"):
        diffaccel.Model(tmp_path)
    doubles[name][0, 5] = 1e300
    typed(file, doubles, dict.fromkeys(doubles, "F64"))
    with pytest.raises(diffaccel.NotFiniteError, match="fc1.weight.*1e.300 at element 5 is beyond f32"):
        diffaccel.Model(tmp_path)


@pytest.mark.parametrize("rename, part", [
    (lambda name: "module." + name, 'prefix "module."'), (lambda name: "my.own." + name, 'prefix "my.own."'),
    (lambda name: name.replace("blocks.", "blocks._orig_mod.").replace("x_", "_orig_mod.x_").replace("final", "module.final"), "_orig_mod"),
])
def test_shared_prefixes_are_named(tmp_path, rename, part):
    (tmp_path / "config.json").write_text(config_text())
    write_safetensors(tmp_path / "model.safetensors", {rename(name): value for name, value in dit_tensors(TINY).items()})
    with pytest.raises(diffaccel.IncompatibleError) as refusal:
        diffaccel.Model(tmp_path)
    assert part in str(refusal.value) and "python -m diffaccel.convert" in str(refusal.value)


def test_command_line(tmp_path):
    """Links and partners by options of the command line."""
    program = ROOT / ".build" / "release" / "diffaccel-cli"
    if not program.is_file():
        pytest.skip("the command line is not built")
    snapshot = cached(write_dit(tmp_path / "m"), tmp_path / "cache")
    refused = subprocess.run([program, "info", snapshot], capture_output=True, text=True)
    assert refused.returncode != 0 and "--follow-links" in refused.stderr
    assert subprocess.run([program, "info", snapshot, "--follow-links"], capture_output=True).returncode == 0
    told = subprocess.run([program, "bench", snapshot, "--follow-links", "--partner", snapshot], capture_output=True, text=True)
    assert told.returncode != 0 and "--partner" in told.stderr
