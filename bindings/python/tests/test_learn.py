"""Learning: each method improves what it should, from data in every form, and gives plans and checkpoints that work."""

import json
import tempfile

import numpy as np
import pytest
from conftest import ROOT
from learning_cases import SMALL, patterns, state_bytes, write_data

import diffaccel
from diffaccel import learn

# ---- what is learned ----


def test_router_learns_to_skip(tiny_path, data):
    events = []
    trainer = learn.router(tiny_path, data, sampling_steps=6, steps=150, batch=4, learning_rate=0.1, l1=10.0, threshold=0.3,
                           callback=events.append)
    facts = trainer.describe()
    assert facts["method"] == "router" and facts["step"] == facts["steps"] == 150
    assert facts["removed"] == 1.0, "computing is too dear for any score to stay"
    assert [row["row"] for row in facts["rows"]] == [0, 2, 4], "rows of cached steps"
    assert events[-1].terms["removed"] == 1.0 and events[-1].terms["l1_penalty"] < events[0].terms["l1_penalty"]
    assert events[0].confidences.shape == (6,) and events[0].confidences.dtype == np.float32


@pytest.mark.parametrize("source", [dict(trajectory="data"), dict(trajectory="own", guidance=1.5)])
def test_router_learns_to_be_exact(tiny_path, data, source):
    settings = dict(sampling_steps=6, steps=100, batch=4, learning_rate=0.1, l1=0.0, threshold=0.5, **source)
    trainer = learn.trainer(tiny_path, "router", data, **settings)
    before = trainer.evaluate(2)
    trainer.run()
    after = trainer.evaluate(2)
    assert after["error"] < 0.5 * before["error"] and after["removed"] < before["removed"]
    assert trainer.evaluate(2) == after, "no chance in an evaluation"


def test_router_without_data(tiny_path):
    trainer = learn.router(tiny_path, sampling_steps=4, steps=3, batch=2, trajectory="own", guidance=2.0)
    assert trainer.describe()["step"] == 3
    with pytest.raises(diffaccel.UnsupportedError):
        trainer.evaluate(1)


def test_gates_become_sure(tiny_path, data):
    events = []
    trainer = learn.prune(tiny_path, data, pattern="1:3", steps=100, batch=4, gate_rate=0.002, average_decay=0.5, rank=2,
                          callback=events.append)
    facts = trainer.describe()
    assert len(facts["keep"]) == 1 and len(facts["confidences"]) == 1 and len(facts["probabilities"][0]) == 3
    assert facts["confidences"][0] > 0.9 > 0.5 > events[0].confidences[0]
    assert sum(facts["probabilities"][0]) == pytest.approx(1, abs=1e-5)
    losses = trainer.evaluate(2)
    assert set(losses) == {"loss", "loss_all_blocks"} and all(np.isfinite(list(losses.values())))


@pytest.mark.parametrize("rule", ["pairs", "similarity", "change", "sensitivity", "random", "index"])
def test_rules(tiny_path, data, rule, tmp_path):
    wanted = dict(keep=[0, 2]) if rule == "index" else dict(keep_count=2)
    measures = rule in ("similarity", "change", "sensitivity")
    trainer = learn.prune(tiny_path, data if measures else None, rule=rule, batch=4, **wanted,
                          **(dict(steps=2) if measures else {}))
    facts = trainer.describe()
    keep = facts["keep"]
    assert facts["rule"] == rule and len(keep) == 2 and keep == sorted(set(keep)) and set(keep) <= {0, 1, 2}
    if measures:
        assert len(facts[dict(similarity="similarity", change="change", sensitivity="loss_without")[rule]]) == 3
    assert trainer.plan().describe()["methods"][0]["keep"] == keep


def test_weights_learn(tiny_path, data):
    events = []
    trainer = learn.trainer(tiny_path, "finetune", data, steps=120, batch=8, learning_rate=2e-3, label_dropout=0)
    before = trainer.evaluate(4)["loss"]
    trainer.run(callback=events.append)
    after = trainer.evaluate(4)["loss"]
    assert after < 0.8 * before
    losses = np.array([event.loss for event in events])
    assert losses[-20:].mean() < losses[:20].mean()
    assert events[0].learning_rate == pytest.approx(2e-3) and set(events[0].terms) == {"mse", "vb"}
    assert events[0].loss == pytest.approx(sum(events[0].terms.values()), rel=1e-6)


def test_teacher_is_followed(tiny_path, teacher, data):
    events = []
    learn.finetune(tiny_path, data, steps=60, batch=4, learning_rate=2e-3, distillation="masked", teacher=teacher,
                   groups=[[1, 2]] * 3, callback=events.append)
    kd = np.array([event.terms["kd"] for event in events])
    assert kd[-10:].mean() < kd[:10].mean() and "features" in events[0].terms


def test_from_scratch(tiny_path, data):
    trainer = learn.trainer(tiny_path, "finetune", data, steps=2, batch=4, start="scratch")
    # The last projection is zero, so the network says nothing and the noise is all error.
    assert trainer.evaluate(8)["loss"] == pytest.approx(1, rel=0.4)


# ---- data ----


def test_data_in_every_form(tiny_path, data, tmp_path):
    states, labels = data
    np.save(tmp_path / "states.npy", states)
    np.save(tmp_path / "labels.npy", labels)
    write_data(tmp_path / "train.safetensors", states, labels)
    torch = None
    try:
        import torch  # noqa: F811
    except ImportError:
        pass
    forms = [
        (states, labels), [states, labels.tolist()], (states.astype(np.float64), labels.astype(np.uint8)),
        (states[::-1][::-1], labels), tmp_path / "train.safetensors", str(tmp_path / "train.safetensors"),
        (tmp_path / "states.npy", str(tmp_path / "labels.npy")), (tmp_path / "states.npy", labels),
        {"path": tmp_path / "train.safetensors"}, {"latents": states, "labels": labels},
        {"latents": tmp_path / "states.npy", "labels": labels}, {"latents": states * 4, "labels": labels, "factor": 0.25},
    ]
    if torch is not None:
        forms.append((torch.from_numpy(states), torch.from_numpy(labels)))
    found = [state_bytes(learn.router(tiny_path, form, sampling_steps=4, steps=2, **SMALL), tmp_path / "state")
             for form in forms]
    assert [one == found[0] for one in found] == [True] * len(forms)


def test_twins_bytes_and_halves(tiny_path, data):
    states, labels = data
    learn.router(tiny_path, (np.stack([states, states[..., ::-1]], 1), labels), sampling_steps=4, steps=2, **SMALL)
    learn.router(tiny_path, (states.astype(np.float16), labels), sampling_steps=4, steps=2, **SMALL)
    pixels = np.random.default_rng(0).integers(0, 256, states.shape, np.uint8)
    as_bytes, as_floats = (
        learn.trainer(tiny_path, "finetune", (x, labels), batch=4, steps=1).evaluate(1)["loss"]
        for x in (pixels, pixels.astype(np.float32) / np.float32(127.5) - 1))
    assert as_bytes == pytest.approx(as_floats, rel=1e-5)


def test_fewer_samples_than_a_batch(tiny_path):
    trainer = learn.router(tiny_path, patterns(3), sampling_steps=4, steps=2, batch=5)
    assert trainer.describe()["step"] == 2


def test_no_file_stays(tiny_path, data, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    trainer = learn.trainer(tiny_path, "router", data, sampling_steps=4, steps=3, **SMALL)
    assert list(tmp_path.iterdir()) == [], "the library keeps the files open, nobody needs their names"
    learn.estimate(tiny_path, "router", data, sampling_steps=4, **SMALL)
    with pytest.raises(diffaccel.FormatError):
        learn.trainer(tiny_path, "router", data, nonsense=1)
    assert list(tmp_path.iterdir()) == []
    trainer.run()
    assert trainer.describe()["step"] == 3


# ---- what comes out ----


def test_router_as_a_plan(tiny_path, data, tmp_path):
    trainer = learn.router(tiny_path, data, sampling_steps=6, steps=20, batch=4, learning_rate=0.2, threshold=0.5)
    plan = trainer.plan()
    plan.save(tmp_path / "router.json")
    model = diffaccel.Model(tiny_path)
    with model.session(plan=plan) as session, model.session(plan=diffaccel.Plan.load(tmp_path / "router.json")) as loaded:
        result = session.sample(labels=[1, 2], steps=6)
        np.testing.assert_array_equal(result.latents, loaded.sample(labels=[1, 2], steps=6).latents)
    totals = result.stats["totals"]
    rows = {row["row"]: row["kept"] for row in trainer.describe()["rows"]}
    # Each step of the two samples: full steps compute all 6 sub-layers, cached ones what their row keeps.
    assert totals["computed"] == sum(rows.get(row, 6) for row in range(6))
    with pytest.raises(diffaccel.UnsupportedError):
        trainer.export(tmp_path / "nothing")


def test_cache_limit(tiny_path, data):
    model = diffaccel.Model(tiny_path)
    kept = 16 * 48 * 4  # bytes of one sub-layer's output: tokens, width, float32
    for columns in (0, 1, 3):
        plan = learn.router(tiny_path, data, sampling_steps=4, steps=40, batch=4, l1=10.0, learning_rate=0.2,
                            cache_limit=columns * kept).plan()
        grid = plan.grid(model, 4)
        assert ((grid == 0).any(axis=0)).sum() == columns


def test_pruned_checkpoint(tiny_path, data, tmp_path):
    trainer = learn.prune(tiny_path, data, rule="change", keep_count=2, steps=2, batch=4)
    trainer.export(tmp_path / "pruned")
    keep = trainer.describe()["keep"]
    config = json.loads((tmp_path / "pruned" / "config.json").read_text())
    assert config["model"]["depth"] == 2 and config["pruned_from"]["keep"] == keep
    pruned, whole = diffaccel.Model(tmp_path / "pruned"), diffaccel.Model(tiny_path)
    with pruned.session() as short, whole.session(plan=trainer.plan()) as planned:
        np.testing.assert_array_equal(short.sample(labels=[3], steps=4).latents, planned.sample(labels=[3], steps=4).latents)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "stored"])
def test_trained_checkpoint(tiny_path, data, tmp_path, dtype):
    trainer = learn.finetune(tiny_path, data, steps=8, learning_rate=1e-3, average_decay=0.5, dtype=dtype, **SMALL)
    trainer.export(tmp_path / "tuned")
    tuned, original = diffaccel.Model(tmp_path / "tuned"), diffaccel.Model(tiny_path)
    with tuned.session() as one, original.session() as other:
        a, b = one.sample(labels=[3], steps=4).latents, other.sample(labels=[3], steps=4).latents
    assert np.isfinite(a).all() and not np.array_equal(a, b)
    # It can be trained again, and learned from.
    again = learn.trainer(tmp_path / "tuned", "finetune", data, steps=1, **SMALL)
    loss, before = again.evaluate(2)["loss"], learn.trainer(tiny_path, "finetune", data, steps=1, **SMALL).evaluate(2)["loss"]
    assert loss < before
    with pytest.raises(diffaccel.UnsupportedError):
        trainer.plan()


def test_averaged_or_last(tiny_path, data, tmp_path):
    for averaged in (True, False):
        trainer = learn.finetune(tiny_path, data, steps=4, learning_rate=1e-2, average_decay=1.0, averaged=averaged, **SMALL)
        trainer.export(tmp_path / str(averaged))
    with diffaccel.Model(tiny_path).session() as session:
        expected = session.sample(labels=[3], steps=3).latents
    with diffaccel.Model(tmp_path / "True").session() as session:
        np.testing.assert_array_equal(session.sample(labels=[3], steps=3).latents, expected, "an average that never moves")
    with diffaccel.Model(tmp_path / "False").session() as session:
        assert not np.array_equal(session.sample(labels=[3], steps=3).latents, expected)


def test_sweep(tiny, tiny_path, data):
    plan = learn.router(tiny_path, data, sampling_steps=6, steps=10, batch=4).plan()
    rows = learn.sweep(tiny, plan, (0.0, 0.5, 1.0), labels=[1, 2])
    assert [row["threshold"] for row in rows] == [0, 0.5, 1]
    assert rows[0]["removed"] == 0 and rows[0]["error"] == 0 and rows[0]["ideal"] == pytest.approx(1)
    assert rows[2]["removed"] == pytest.approx(0.5), "no score is above 1: all sub-layers of every second step"
    assert 0 < rows[1]["removed"] < 0.5 and 0 < rows[1]["error"] and rows[2]["ideal"] > rows[1]["ideal"] > 1
    assert all(row["speedup"] > 0 for row in rows)
    assert learn.sweep(tiny, plan.describe()["methods"][0], (0.5,), labels=[1, 2], repeat=2)[0]["error"] == rows[1]["error"]
    with pytest.raises(diffaccel.InvalidArgumentError):
        learn.sweep(tiny, diffaccel.Plan(l2c={"policy": "alternate"}), labels=[1])


def test_bundled_model(fashion, tmp_path):
    """From noise alone: the model that comes with the repository gets a router that saves work and keeps its pictures."""
    path = ROOT / "Models" / "fashion-dit"
    estimate = learn.estimate(path, "router", sampling_steps=10, trajectory="own", batch=4)
    assert estimate["bytes"]["peak"] < 1 << 30
    trainer = learn.router(path, sampling_steps=10, steps=5, batch=4, trajectory="own", guidance=2.0, learning_rate=0.05)
    with fashion.session(plan=trainer.plan()) as session:
        assert session.sample(labels=[1], steps=10).images.shape == (1, 28, 28, 1)
