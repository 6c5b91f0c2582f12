"""Files that torch itself wrote, to folders and plans; test_convert.py has those that need no torch."""

import argparse
import json
import os
import sys

import numpy as np
import pytest
from conftest import TINY, autoencoder_tensors, dit_tensors

import diffaccel
from diffaccel import convert
from diffaccel._conversion import FileTensor

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
        with pytest.raises(convert.ConversionError, match="--norm-groups"):  # shapes do not tell
            convert.convert(tmp_path / "vae.pth", folder)
        assert not folder.exists()
        assert convert.convert(tmp_path / "vae.pth", folder, norm_groups=4) == "autoencoder_kl"
        config = json.loads((folder / "config.json").read_text())
        assert config["block_out_channels"] == [8, 16] and config["layers_per_block"] == 2
        with diffaccel.Model(folder) as model:
            found.append(model.forward(latents=diffaccel.randn((2, 4, 4, 4), 3)))
    assert found[0].shape == (2, 3, 8, 8)
    np.testing.assert_array_equal(*found)


def test_nothing_is_executed(tmp_path, capsys):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/attacked",)

    for old in (False, True):
        torch.save({"ema": Attack()}, tmp_path / "bad.pt", _use_new_zipfile_serialization=not old)
        assert convert.main([str(tmp_path / "bad.pt"), "--out", str(tmp_path / "out")]) == 1
        assert not (tmp_path / "attacked").exists() and not (tmp_path / "out").exists()
        told = capsys.readouterr().err
        assert "posix.system" in told and "weights_only" not in told and "safe_globals" not in told


@pytest.mark.parametrize("content", [
    {}, [], 3, {"a": torch.zeros(2)}, {"1.prob": torch.zeros(2)}, {"0.prob": torch.zeros(2), "1.prob": torch.zeros(3)},
    {"x_embedder.proj.weight": torch.zeros(384, 4, 2, 2)}, {"ema": {}}, {"decoder.conv_in.weight": torch.zeros(8, 4, 3, 3)},
])
def test_other_files(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(convert.ConversionError):
        convert.convert(tmp_path / "other.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_rounding_is_that_of_torch(dtype):
    bits = np.random.default_rng(3).integers(0, 2**32, 100_000, np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values) & (np.abs(values) < 60000)]
    ties = np.float32(1) + np.arange(64, dtype=np.float32) * np.float32(2**-9)
    values = np.concatenate([values, ties])
    tensor = FileTensor("F32", values.shape, lambda: values)
    wanted = torch.from_numpy(values.copy()).to({"f16": torch.float16, "bf16": torch.bfloat16}[dtype])
    assert tensor.stored({"f16": "F16", "bf16": "BF16"}[dtype], "x") == wanted.view(torch.uint8).numpy().tobytes()


def test_types_and_views(tmp_path):
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    saved = {
        "transposed": base.t(), "part": base[1:3, ::2], "empty": torch.zeros(0, 3), "scalar": torch.tensor(2.5),
        "bf16": base.to(torch.bfloat16), "f64": base.double(), "f8": base.to(torch.float8_e4m3fn), "f8b": base.to(torch.float8_e5m2),
        "half": base.half(), "parameter": torch.nn.Parameter(base), "expanded": torch.ones(1).expand(3),
    }
    torch.save(saved, tmp_path / "x.pt")
    found = convert.load(tmp_path / "x.pt")
    for name, tensor in saved.items():
        np.testing.assert_array_equal(found[name].values(), tensor.detach().to(torch.float64).numpy(), name)


def test_what_training_scripts_leave_beside_weights(tmp_path, monkeypatch):
    import collections
    import datetime
    import pathlib

    class Callback:
        def __init__(self):
            self.best = 3

    Callback.__module__, Callback.__qualname__ = "lightning_like", "Callback"
    monkeypatch.setitem(sys.modules, "lightning_like", argparse.Namespace(Callback=Callback))
    content = {
        "ema": tensors(), "best": np.float64(0.5), "losses": np.arange(3.0), "folder": pathlib.PurePosixPath("a"),
        "time": datetime.datetime(2024, 1, 1), "counts": collections.Counter("aab"), "size": torch.Size([1, 2]), "type": torch.float16,
        "device": torch.device("cpu"), "callbacks": {Callback: {"a": 1}, "object": Callback()}, "rng": torch.get_rng_state(),
        "optimizer": torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))]).state_dict(), "set": {1, 2}, "complex": 1j,
    }
    torch.save(content, tmp_path / "x.pt")
    assert convert.convert(tmp_path / "x.pt", tmp_path / "out", heads=4) == "dit"


def test_whole_modules_and_programs_are_named(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(convert.ConversionError, match="state_dict"):
        convert.convert(tmp_path / "module.pt", tmp_path / "out")


def test_averages(tmp_path, tiny):
    """torch's AveragedModel, and lists of averages as torch_ema and diffusers keep them."""
    state = tensors()
    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, value in state.items():
                self.register_parameter(name.replace(".", "_"), torch.nn.Parameter(value))

    averaged = torch.optim.swa_utils.AveragedModel(Network())
    flat = averaged.state_dict()
    assert "n_averaged" in flat
    named = {"module." + name: flat["module." + name.replace(".", "_")] for name in state} | {"n_averaged": flat["n_averaged"]}
    torch.save({"ema_model": named, "model": tensors(4)}, tmp_path / "a.pt")
    lists = {"model": tensors(4), "ema": {"decay": 0.999, "num_updates": 5, "shadow_params": list(state.values())}}
    torch.save(lists, tmp_path / "b.pt")
    for source in ("a.pt", "b.pt"):
        convert.convert(tmp_path / source, tmp_path / source[0], heads=4)
        with diffaccel.Model(tmp_path / source[0]) as model:
            given = dict(x=np.ones((1, 4, 8, 8), np.float32), t=[3], y=[1])
            np.testing.assert_array_equal(model.forward(**given), tiny.forward(**given))


def test_old_files(tmp_path, tiny, monkeypatch):
    torch.save({"ema": tensors()}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert convert.convert(tmp_path / "old.pt", tmp_path / "out", heads=4) == "dit"
    with diffaccel.Model(tmp_path / "out") as model:
        given = dict(x=np.ones((1, 4, 8, 8), np.float32), t=[3], y=[1])
        np.testing.assert_array_equal(model.forward(**given), tiny.forward(**given))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(convert.ConversionError, match="before version 1.6.*pip install torch"):
        convert.load(tmp_path / "old.pt")
