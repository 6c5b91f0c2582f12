"""Published and trained checkpoints to folders, without torch: what is taken, what is said, and what is refused."""

import json
import os
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
from conftest import TINY, dit_tensors, write_safetensors
from torch_files import Brain, View, save

import diffaccel
from diffaccel import convert
from diffaccel.convert import ConversionError

GIVEN = dict(x=np.linspace(-1, 1, 512).reshape(2, 4, 8, 8), t=[10, 500], y=[1, 10])


def converted(source, out, **options):
    """The result of a forward pass, and what was said."""
    said = []
    assert convert.convert(source, out, heads=4, say=said.append, **options) == "dit"
    with diffaccel.Model(out) as model:
        assert model.description["unknown_keys"] == [], "what is written is what the library reads"
        return model.forward(**GIVEN), "\n".join(said)


@pytest.fixture
def expected(tiny):
    return tiny.forward(**GIVEN)


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


def wrapped(state, word):
    """The word behind the block's number, as compiled or checkpointed blocks have it."""
    return {key.replace("blocks.1.", f"blocks.1.{word}."): value for key, value in state.items()}


STATE, OTHER = dit_tensors(TINY), dit_tensors(TINY, 9)
LAYOUTS = {
    "plain": STATE,
    "ordered": OrderedDict(STATE),
    "ema first": {"model": OTHER, "ema": STATE, "opt": {"state": {}, "param_groups": [{"lr": 1e-4, "params": [0, 1]}]}},
    "model_ema": {"model": OTHER, "model_ema": STATE},
    "ema_model": {"ema_model": {**prefixed(STATE, "module."), "n_averaged": np.array(7)}, "model": OTHER},
    "state_dict": {"epoch": 3, "state_dict": STATE, "loss": 0.5},
    "model": {"model": STATE}, "module": {"module": STATE}, "net": {"net": STATE}, "params": {"params": STATE},
    "params_ema": {"params": OTHER, "params_ema": STATE}, "generator": {"generator": STATE}, "g_ema": {"g": OTHER, "g_ema": STATE},
    "student": {"student": STATE, "teacher": OTHER}, "deep": {"trainer": {"model": {"state_dict": STATE}}},
    "lightning": {"state_dict": prefixed(STATE, "model."), "pytorch-lightning_version": "2.1", "global_step": 9, "loops": {}},
    "distributed": {"ema": prefixed(STATE, "module.")}, "compiled": prefixed(STATE, "_orig_mod."),
    "compiled and distributed": prefixed(STATE, "module._orig_mod."), "compiled blocks": wrapped(STATE, "_orig_mod"),
    "checkpointed blocks": wrapped(STATE, "_checkpoint_wrapped_module"), "accelerate": prefixed(STATE, "model.module."),
    "any prefix": prefixed(STATE, "my.own.net."),
    "twins": {**prefixed(OTHER, "model."), **prefixed(STATE, "ema."), "ema.decay": np.array(0.99, np.float32), "ema.num_updates": np.array(4)},
    "counters": {**STATE, "num_updates": np.array(5), "decay": np.array(0.9, np.float32), "step": np.array(3)},
    "average list": {"model": OTHER, "ema": {"decay": 0.99, "shadow_params": list(STATE.values())}},
    "plain list": {"state_dict": OTHER, "ema_params": list(STATE.values())},
    "in a list": [STATE],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, expected, layout):
    found, _ = converted(save(tmp_path / "x.pt", LAYOUTS[layout]), tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["config.json", "model.safetensors"]
    np.testing.assert_array_equal(found, expected)


def test_what_is_taken_can_be_chosen(tmp_path, expected):
    source = save(tmp_path / "x.pt", {"model": STATE, "ema": OTHER})
    _, said = converted(source, tmp_path / "a")
    assert 'took "ema"' in said and "--take" in said
    np.testing.assert_array_equal(converted(source, tmp_path / "b", take="model")[0], expected)
    twins = save(tmp_path / "y.pt", LAYOUTS["twins"])
    _, said = converted(twins, tmp_path / "c")
    assert 'prefix "ema."' in said and '"model."' in said
    assert not np.array_equal(converted(twins, tmp_path / "d", take="model")[0], expected)
    with pytest.raises(ConversionError, match="--take other"):
        converted(source, tmp_path / "e", take="other")


def test_null_class(tmp_path):
    source = save(tmp_path / "x.pt", STATE)
    _, said = converted(source, tmp_path / "a")
    assert "last of the 11 rows" in said and "--no-null-class" in said
    assert json.loads((tmp_path / "a" / "config.json").read_text())["model"]["num_classes"] == 10
    assert convert.main([str(source), "--out", str(tmp_path / "b"), "--heads", "4", "--no-null-class"]) == 0
    with diffaccel.Model(tmp_path / "b") as model:
        assert model.description["config"]["num_classes"] == 11 and model.description["null_class"] is None
    with pytest.warns(UserWarning, match="last of the 11 rows"):
        convert.convert(source, tmp_path / "warned", heads=4)
    _, said = converted(source, tmp_path / "c", null_class=True)
    assert "class table" not in said
    table = "y_embedder.embedding_table.weight"
    one = save(tmp_path / "one.pt", {**STATE, table: STATE[table][:1]})
    for null_class in (None, True):
        with pytest.raises(ConversionError, match="class"):
            convert.convert(one, tmp_path / "d", heads=4, null_class=null_class)
    assert not (tmp_path / "d").exists()
    assert convert.convert(one, tmp_path / "d", heads=4, null_class=False) == "dit"


@pytest.mark.parametrize("value, dtype, part", [
    (1e6, "f16", "blocks.1.mlp.fc1.bias: 1e.06 is beyond F16"), (float("nan"), None, "blocks.1.mlp.fc1.bias: 1 elements are NaN"),
    (float("inf"), "bf16", "NaN or infinite"), (3.4e38, "bf16", "beyond BF16"),
])
def test_ranges(tmp_path, value, dtype, part):
    bias = STATE["blocks.1.mlp.fc1.bias"].copy()
    bias[3] = value
    source = save(tmp_path / "x.pt", {**STATE, "blocks.1.mlp.fc1.bias": bias})
    with pytest.raises(ConversionError, match=part):
        convert.convert(source, tmp_path / "out", heads=4, dtype=dtype)
    assert sorted(os.listdir(tmp_path)) == ["x.pt"]


def test_element_types(tmp_path, expected):
    halves = {key: value.astype(np.float16) for key, value in STATE.items()}
    doubles = {key: value.astype(np.float64) for key, value in STATE.items()}
    brains = {key: Brain(value) for key, value in STATE.items()}
    np.testing.assert_array_equal(converted(save(tmp_path / "f64.pt", doubles), tmp_path / "f64")[0], expected)
    np.testing.assert_array_equal(converted(save(tmp_path / "big.pt", STATE, big=True), tmp_path / "big")[0], expected)
    for kind, state in (("f16", halves), ("bf16", brains)):
        found, _ = converted(save(tmp_path / f"{kind}.pt", state), tmp_path / kind)
        np.testing.assert_allclose(found, expected, atol=0.1)
        wide, _ = converted(tmp_path / f"{kind}.pt", tmp_path / f"{kind}w", dtype="f32")
        np.testing.assert_array_equal(wide, found)


def test_views_share_a_storage(tmp_path, expected):
    base = np.concatenate([value.ravel() for value in STATE.values()])
    state, at = {}, 0
    for key, value in STATE.items():
        state[key] = View(base, at, value.shape, [s // 4 for s in value.strides])
        at += value.size
    weight = np.ascontiguousarray(STATE["final_layer.linear.weight"].T)
    state["final_layer.linear.weight"] = View(weight, 0, weight.shape[::-1], (1, weight.shape[1]))
    source = save(tmp_path / "x.pt", state)
    np.testing.assert_array_equal(converted(source, tmp_path / "out")[0], expected)


def test_low_rank_updates_are_asked_about(tmp_path, expected):
    lora = {"blocks.0.attn.qkv.lora_A.weight": np.zeros((2, 48), np.float32), "blocks.0.attn.qkv.lora_B.weight": np.zeros((144, 2), np.float32)}
    source = save(tmp_path / "x.pt", {**STATE, **lora})
    with pytest.raises(ConversionError, match="merge"):
        convert.convert(source, tmp_path / "out", heads=4)
    np.testing.assert_array_equal(converted(source, tmp_path / "out", drop=["*lora*"])[0], expected)


def test_what_does_not_open_is_not_written(tmp_path, capsys):
    missing = {key: value for key, value in STATE.items() if key != "blocks.2.attn.proj.bias"}
    strange = {**STATE, "blocks.0.extra.weight": np.zeros(3, np.float32)}
    for state, part in ((missing, "blocks.2.attn.proj.bias"), (strange, "blocks.0.extra.weight")):
        source = save(tmp_path / "x.pt", state)
        assert convert.main([str(source), "--out", str(tmp_path / "deep" / "out"), "--heads", "4"]) == 1
        assert part in capsys.readouterr().err and sorted(os.listdir(tmp_path)) == ["x.pt"]
    converted(source, tmp_path / "out", drop=["*.extra.*"])
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    with pytest.raises(ConversionError):
        convert.convert(save(tmp_path / "x.pt", missing), tmp_path / "out", heads=4)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before
    assert sorted(os.listdir(tmp_path / "out")) == ["config.json", "model.safetensors"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConversionError, match="a model becomes a folder"):
        convert.convert(save(tmp_path / "x.pt", STATE), tmp_path / "file", heads=4)


def test_safetensors_are_mended(tmp_path, expected):
    write_safetensors(tmp_path / "x.safetensors", prefixed(STATE, "module."))
    (tmp_path / "config.json").write_text(json.dumps({"family": "dit", "model": TINY}))
    with pytest.raises(diffaccel.DiffAccelError) as refusal:
        diffaccel.Model(tmp_path)
    assert 'prefix "module."' in str(refusal.value) and "python -m diffaccel.convert" in str(refusal.value)
    # The advice as it stands, with the folder to write.
    advice = str(refusal.value).split("python -m diffaccel.convert ")[1].split(" --out")[0]
    np.testing.assert_array_equal(converted(advice, tmp_path / "out")[0], expected)


def test_router(tmp_path, tiny):
    logits = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)
    rows = {f"{index}.prob": row.copy() for index, row in enumerate(logits)}
    assert convert.convert(save(tmp_path / "r.pt", {"routers": rows}), tmp_path / "deep" / "plan.json") == "router"
    entry = diffaccel.Plan.load(tmp_path / "deep" / "plan.json").describe()["methods"][0]
    np.testing.assert_array_equal(np.array(entry["logits"], np.float32), logits)
    rows["3.prob"][2] = np.nan
    for content in ({"routers": rows}, {"0.prob": 1.5}, {"0.prob": np.zeros(2, np.float32), "2.prob": np.zeros(2, np.float32)}):
        with pytest.raises(ConversionError):
            convert.convert(save(tmp_path / "r.pt", content), tmp_path / "bad.json")
        assert not (tmp_path / "bad.json").exists()


@pytest.mark.parametrize("content, part", [
    (b"", "an empty file"), (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git-lfs pointer.*git lfs pull"),
    (b"<!DOCTYPE html><html>", "an HTML page"), (b"<?xml version='1.0'?><Error/>", "an XML"), (b'{"error": "x"}', "a JSON text"),
    (b"Entry not found", 'a text ."Entry not found"'), (bytes(4096), "zeros"), (b"GGUF\3\0\0\0" + bytes(40), "GGUF file; it cannot be converted"),
    (b"\x1f\x8b\x08\0" + bytes(30), "gzip"), (b"\x89HDF\r\n\x1a\n" + bytes(30), "HDF5"), (b"\x93NUMPY\1\0" + bytes(30), "NumPy"),
    (b"a" * 257 + b"ustar\0" + bytes(250), "tar archive.*save it again"), (b"\x08\x07\x12\x07pytorch" + bytes(30), "ONNX"), (b"\xff\xfe\xfd" * 9, "none of PyTorch's files"),
    (b"\x40\0\0\0\0\0\0\0{" + bytes(10), "no whole safetensors"),
])
def test_other_files_are_named(tmp_path, content, part):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ConversionError, match=part):
        convert.convert(tmp_path / "x.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [{}, [], 3, None, "x", {"a": np.zeros(2, np.float32)}, {"ema": {}}, {"model": [1, 2]}])
def test_files_without_a_network(tmp_path, content):
    with pytest.raises(ConversionError):
        convert.convert(save(tmp_path / "x.pt", content), tmp_path / "out")
    with pytest.raises(ConversionError, match="No such file"):
        convert.convert(tmp_path / "missing.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_torch_is_not_imported(tmp_path):
    source = save(tmp_path / "x.pt", {"ema": STATE})
    code = "import sys; sys.modules['torch'] = None; from diffaccel.convert import main; sys.exit(main(sys.argv[1:]))"
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(diffaccel.__file__)))
    done = subprocess.run([sys.executable, "-c", code, str(source), "--out", str(tmp_path / "out"), "--heads", "4"], env=environment,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip().endswith(": dit"), done.stderr
