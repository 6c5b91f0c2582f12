"""Opening models and evaluating the raw network."""

import json
import threading

import numpy as np
import pytest
from conftest import TINY, dit_tensors, write_dit, write_safetensors

import diffaccel


def inputs(n=2, seed=0):
    g = np.random.default_rng(seed)
    return dict(x=g.standard_normal((n, 4, 8, 8)).astype(np.float32), t=g.integers(0, 1000, n).astype(np.float32),
                y=g.integers(0, 11, n))


def reference(w, x, t, y, heads=4, patch=2):
    """A DiT in numpy, in float64."""
    def linear(name, v):
        return v @ w[f"{name}.weight"].astype(float).T + w[f"{name}.bias"]

    def norm(v):
        return (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + 1e-6)

    def silu(v):
        return v / (1 + np.exp(-v))

    n, c, side, _ = x.shape
    g = side // patch
    patches = x.reshape(n, c, g, patch, g, patch).transpose(0, 2, 4, 1, 3, 5).reshape(n, g * g, -1).astype(float)
    h = patches @ w["x_embedder.proj.weight"].reshape(-1, patches.shape[-1]).astype(float).T
    h = h + w["x_embedder.proj.bias"] + w["pos_embed"]
    # The angles are float32 in the published code.
    angles = (t[:, None] * np.exp(np.float32(-np.log(10000)) * np.arange(128, dtype=np.float32) / 128)).astype(float)
    time = linear("t_embedder.mlp.2", silu(linear("t_embedder.mlp.0", np.concatenate([np.cos(angles), np.sin(angles)], 1))))
    cond = silu(time + w["y_embedder.embedding_table.weight"][y])
    d = h.shape[-1]
    for i in range(3):
        b = f"blocks.{i}"
        s1, k1, g1, s2, k2, g2 = np.split(linear(f"{b}.adaLN_modulation.1", cond)[:, None], 6, -1)
        qkv = linear(f"{b}.attn.qkv", norm(h) * (1 + k1) + s1).reshape(n, g * g, 3, heads, d // heads)
        q, k, v = qkv.transpose(2, 0, 3, 1, 4)
        scores = q @ k.swapaxes(-1, -2) / np.sqrt(d // heads)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        a = (weights / weights.sum(-1, keepdims=True)) @ v
        h = h + g1 * linear(f"{b}.attn.proj", a.swapaxes(1, 2).reshape(n, g * g, d))
        m = linear(f"{b}.mlp.fc1", norm(h) * (1 + k2) + s2)
        m = 0.5 * m * (1 + np.tanh(np.sqrt(2 / np.pi) * (m + 0.044715 * m**3)))
        h = h + g2 * linear(f"{b}.mlp.fc2", m)
    shift, scale = np.split(linear("final_layer.adaLN_modulation.1", cond)[:, None], 2, -1)
    out = linear("final_layer.linear", norm(h) * (1 + scale) + shift)
    return out.reshape(n, g, g, patch, patch, -1).transpose(0, 5, 1, 3, 2, 4).reshape(n, -1, side, side)


def test_forward_equals_numpy(tiny):
    given = inputs(3)
    found = tiny.forward(**given)
    assert found.dtype == np.float32 and found.shape == (3, 8, 8, 8)
    np.testing.assert_allclose(found, reference(dit_tensors(TINY), **given), atol=3e-5, rtol=1e-4)


def test_description(tiny):
    facts = tiny.description
    assert facts["family"] == tiny.family == "dit"
    assert facts["parameters"] == tiny.parameters == sum(v.size for v in dit_tensors(TINY).values())
    assert tiny.input_shape == (4, 8, 8)
    assert tiny.labels[3] == "class 3"
    assert len(facts["sites"]) == 6 and facts["flops"] > 1e6
    assert "dit" in repr(tiny)


def test_config_given_by_hand(tmp_path, tiny):
    write_safetensors(tmp_path / "w.safetensors", dit_tensors(TINY))
    for config in (TINY, json.dumps(TINY)):
        with diffaccel.Model(tmp_path / "w.safetensors", family="dit", config=config) as model:
            np.testing.assert_array_equal(model.forward(**inputs()), tiny.forward(**inputs()))


def test_conventions_differ(tiny_path, tiny):
    with diffaccel.Model(tiny_path, conventions="diffusers") as model:
        assert not np.array_equal(model.forward(**inputs()), tiny.forward(**inputs()))


def test_half_precision_weights(tmp_path, tiny):
    halves = {name: value.astype(np.float16) for name, value in dit_tensors(TINY).items()}
    folder = write_dit(tmp_path / "half")
    write_safetensors(folder / "model.safetensors", halves)
    rounded = {name: value.astype(np.float32) for name, value in halves.items()}
    for widen in (False, True):
        with diffaccel.Model(folder, widen=widen) as model:
            assert model.description["bytes"] < tiny.description["bytes"] or widen
            np.testing.assert_allclose(model.forward(**inputs()), reference(rounded, **inputs()), atol=3e-5, rtol=1e-4)


def test_weight_types(tmp_path, tiny):
    folder = write_dit(tmp_path / "typed")
    with diffaccel.Model(folder, weights="int8") as model:
        assert model.description["weights"] == "int8" and tiny.description["weights"] == "stored"
        assert model.description["bytes"] < 0.7 * tiny.description["bytes"]
        near, exact = model.forward(**inputs()), tiny.forward(**inputs())
        assert 0 < np.abs(near - exact).max() < 0.1 * np.abs(exact).max()
        assert np.array_equal(near, model.forward(threads=1, **inputs()))
    with diffaccel.Model(folder, weights="f32", widen=True) as model:
        assert np.array_equal(model.forward(**inputs()), tiny.forward(**inputs()))


def test_outputs_by_name(tiny):
    assert np.array_equal(tiny.forward(outputs="out", **inputs()), tiny.forward(**inputs()))
    with pytest.raises(diffaccel.InvalidArgumentError):
        tiny.forward(outputs=["nothing"], **inputs())


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads(tiny, threads):
    np.testing.assert_allclose(tiny.forward(threads=threads, **inputs()), tiny.forward(**inputs()), atol=2e-6)


STRIDES = {
    "fortran": np.asfortranarray,
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "negative": lambda a: a[..., ::-1].copy()[..., ::-1],
    "float64": lambda a: a.astype(np.float64),
    "big endian": lambda a: a.astype(">f4"),
    "unaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape),
    "read-only": lambda a: np.frombuffer(a.tobytes(), np.float32).reshape(a.shape),
    "nested lists": lambda a: a.tolist(),
    "masked": lambda a: np.ma.array(a),
}


@pytest.mark.parametrize("form", STRIDES)
def test_forward_takes_any_layout(tiny, form):
    given = inputs()
    expected = tiny.forward(**given)
    given["x"] = STRIDES[form](given["x"])
    np.testing.assert_array_equal(tiny.forward(**given), expected)


@pytest.mark.parametrize("kind", ["int8", "int32", "uint16", ">i8", "uint64"])
def test_forward_takes_any_integer(tiny, kind):
    given = inputs()
    expected = tiny.forward(**given)
    given["y"] = given["y"].astype(kind)
    np.testing.assert_array_equal(tiny.forward(**given), expected)


@pytest.mark.parametrize("change, error", [
    (dict(x=np.zeros((2, 3, 8, 8))), diffaccel.ShapeError), (dict(x=np.zeros((2, 4, 8))), diffaccel.ShapeError),
    (dict(x=np.zeros((0, 4, 8, 8))), diffaccel.DiffAccelError), (dict(t=np.zeros(3)), diffaccel.ShapeError),
    (dict(t=np.zeros((2, 1))), diffaccel.ShapeError), (dict(y=[0]), diffaccel.ShapeError),
    (dict(y=[0, 99]), diffaccel.DiffAccelError), (dict(y=[0, -1]), diffaccel.DiffAccelError),
    (dict(y=[0.0, 1.0]), TypeError), (dict(y=np.array([0, 2**63], np.uint64)), OverflowError), (dict(y=[0, 2**70]), OverflowError),
    (dict(x=np.zeros((2, 4, 8, 8), complex)), TypeError), (dict(x="text"), TypeError), (dict(x=None), TypeError),
    (dict(x=np.zeros((1,) * 9)), diffaccel.ShapeError), (dict(z=np.zeros(2)), diffaccel.InvalidArgumentError),
    (dict(threads=-1), diffaccel.InvalidArgumentError), (dict(threads=257), diffaccel.InvalidArgumentError),
    (dict(threads=2**40), OverflowError), (dict(threads=1.5), TypeError), (dict(memory_limit=-1), OverflowError),
    (dict(memory_limit=1000), diffaccel.OverBudgetError),
])
def test_forward_refuses(tiny, change, error):
    with pytest.raises(error):
        tiny.forward(**{**inputs(), **change})
    assert tiny.forward(**inputs()).shape == (2, 8, 8, 8)


def test_missing_input(tiny):
    with pytest.raises(diffaccel.InvalidArgumentError, match="y"):
        tiny.forward(x=inputs()["x"], t=inputs()["t"])
    with pytest.raises(diffaccel.InvalidArgumentError):
        tiny.forward()


@pytest.mark.parametrize("keywords, error", [
    (dict(path="no/such/folder"), diffaccel.FileError), (dict(family="nonsense"), diffaccel.DiffAccelError),
    (dict(config="{"), diffaccel.FormatError), (dict(conventions="mine"), diffaccel.InvalidArgumentError),
    (dict(decoder="no/such/folder"), diffaccel.FileError), (dict(memory_limit=1000), diffaccel.OverBudgetError),
    (dict(path="a\0b"), ValueError), (dict(family=3), TypeError), (dict(widen=2), TypeError), (dict(path=3), TypeError),
    (dict(config={"family": "dit", "hidden_size": 48, "depth": float("nan")}), diffaccel.FormatError), (dict(weights="int4"), diffaccel.InvalidArgumentError),
    (dict(weights=8), TypeError), (dict(weights="int8", widen=True), diffaccel.InvalidArgumentError),
])
def test_open_refuses(tiny_path, keywords, error):
    with pytest.raises(error):
        diffaccel.Model(**{"path": tiny_path, **keywords})


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "short", "pickle", "empty", "garbage"])
def test_broken_checkpoints(tmp_path, damage):
    folder, tensors = write_dit(tmp_path / "broken"), dit_tensors(TINY)
    file = folder / "model.safetensors"
    if damage == "missing":
        del tensors["blocks.1.mlp.fc2.bias"]
    elif damage == "extra":
        tensors["blocks.7.mlp.fc2.bias"] = np.zeros(48, np.float32)
    elif damage == "shape":
        tensors["blocks.1.mlp.fc2.bias"] = np.zeros(47, np.float32)
    write_safetensors(file, tensors)
    if damage == "short":
        file.write_bytes(file.read_bytes()[:-4])
    elif damage in ("pickle", "empty", "garbage"):
        file.write_bytes({"pickle": b"\x80\x02}q\0." * 10, "empty": b"", "garbage": b"x" * 5000}[damage])
    with pytest.raises(diffaccel.DiffAccelError) as caught:
        diffaccel.Model(folder)
    if damage in ("missing", "shape"):
        assert "blocks.1.mlp.fc2.bias" in str(caught.value)


def test_two_threads_share_a_model(tiny):
    expected, found = tiny.forward(threads=1, **inputs()), []
    workers = [threading.Thread(target=lambda: found.append(tiny.forward(threads=1, **inputs()))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4 and all(np.array_equal(expected, one) for one in found)


def test_forward_keeps_nan_where_it_is(tiny):
    given = inputs()
    given["x"][1] = np.nan
    try:
        found = tiny.forward(**given)
    except diffaccel.NotFiniteError:
        return
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).any()
