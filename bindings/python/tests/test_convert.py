"""Published .pt files to folders and plans."""

import argparse
import json
import os
import sys

import numpy as np
import pytest
from conftest import TINY, autoencoder_tensors, dit_tensors

import diffaccel
from diffaccel import convert

torch = pytest.importorskip("torch")
LOGITS = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)


def tensors(seed=0):
    return {name: torch.from_numpy(value) for name, value in dit_tensors(TINY, seed).items()}


@pytest.mark.parametrize("layout", ["plain", "ema", "module"])
@pytest.mark.parametrize("dtype", [None, "f32", "f16", "bf16"])
def test_dit(tmp_path, tiny, layout, dtype):
    state = tensors()
    content = {
        "plain": state,
        "ema": {"model": tensors(9), "ema": state, "opt": {"state": {}}, "args": argparse.Namespace(model="DiT", lr=1e-4)},
        "module": {"ema": {f"module.{name}": value for name, value in state.items()}},
    }[layout]
    torch.save(content, tmp_path / "dit.pt")
    assert convert.convert(tmp_path / "dit.pt", tmp_path / "out", heads=4, dtype=dtype) == "dit"
    assert sorted(os.listdir(tmp_path / "out")) == ["config.json", "model.safetensors"]
    g = np.random.default_rng(0)
    given = dict(x=g.standard_normal((2, 4, 8, 8)), t=[10, 500], y=[1, 10])
    with diffaccel.Model(tmp_path / "out") as model:
        assert model.description["config"] == tiny.description["config"]
        found, expected = model.forward(**given), tiny.forward(**given)
    if dtype in (None, "f32"):
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, atol=0.1)


def test_heads_are_asked_for(tmp_path, capsys):
    torch.save(tensors(), tmp_path / "dit.pt")
    arguments = [str(tmp_path / "dit.pt"), "--out", str(tmp_path / "out")]
    assert convert.main(arguments) == 1 and "--heads" in capsys.readouterr().err
    assert convert.main([*arguments, "--heads", "4"]) == 0


@pytest.mark.parametrize("layout, threshold", [("dit", 0.1), ("uvit", 0.9)])
def test_router(tmp_path, tiny, layout, threshold):
    rows = {f"{i}.prob": torch.nn.Parameter(torch.from_numpy(row)) for i, row in enumerate(LOGITS)}
    content = rows if layout == "uvit" else {"routers": rows, "opt": {"state": {}}, "args": argparse.Namespace(ste=1)}
    torch.save(content, tmp_path / "router.pt")
    assert convert.convert(tmp_path / "router.pt", tmp_path / "deep" / "plan.json") == "router"
    plan = diffaccel.Plan.load(tmp_path / "deep" / "plan.json")
    entry = plan.describe()["methods"][0]
    assert entry["threshold"] == threshold
    np.testing.assert_array_equal(np.array(entry["logits"], np.float32), LOGITS)
    wanted = diffaccel.Plan(l2c={"logits": LOGITS, "threshold": threshold})
    np.testing.assert_array_equal(plan.grid(tiny, 6), wanted.grid(tiny, 6))


def test_autoencoder(tmp_path):
    found = []
    for original in (True, False):
        state = {name: torch.from_numpy(value) for name, value in autoencoder_tensors(original).items()}
        folder = tmp_path / f"vae{original}"
        content = {"state_dict": {**state, "loss.logvar": torch.zeros(1)}} if original else state
        torch.save(content, tmp_path / "vae.pth")
        assert convert.convert(tmp_path / "vae.pth", folder) == "autoencoder_kl"
        config = json.loads((folder / "config.json").read_text())
        assert config["block_out_channels"] == [8, 16] and config["layers_per_block"] == 2
        config["norm_num_groups"] = 4  # cannot be told from shapes; every published one has 32
        (folder / "config.json").write_text(json.dumps(config))
        with diffaccel.Model(folder) as model:
            found.append(model.forward(latents=diffaccel.randn((2, 4, 4, 4), 3)))
    assert found[0].shape == (2, 3, 8, 8)
    np.testing.assert_array_equal(*found)


def test_nothing_is_executed(tmp_path, capsys):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/attacked",)

    torch.save({"ema": Attack()}, tmp_path / "bad.pt")
    assert convert.main([str(tmp_path / "bad.pt"), "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "attacked").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [
    {}, [], 3, {"a": torch.zeros(2)}, {"1.prob": torch.zeros(2)}, {"0.prob": torch.zeros(2), "1.prob": torch.zeros(3)},
    {"x_embedder.proj.weight": torch.zeros(384, 4, 2, 2)}, {"ema": {}}, {"decoder.conv_in.weight": torch.zeros(8, 4, 3, 3)},
])
def test_other_files(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(convert.ConversionError):
        convert.convert(tmp_path / "other.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_file(tmp_path):
    with pytest.raises(convert.ConversionError):
        convert.convert(tmp_path / "missing.pt", tmp_path / "out")


def test_without_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(convert.ConversionError, match="pip install torch"):
        convert.load(tmp_path / "x.pt")
