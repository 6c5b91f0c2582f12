"""Specialised fine-tuning: a drafter learns codes, a refiner a teacher's distribution, and both work together afterwards."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, write_safetensors
from test_next_scale import CLASSES, CODES, TOKENS, var_tensors, write_var

import diffaccel
from diffaccel import learn

COUNT = 12
SMALL = dict(batch=4, threads=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("specialise")
    write_var(root / "var")
    write_var(root / "refiner", codes=False, width=16, depth=1, seed=3)
    return root


@pytest.fixture(scope="module")
def data():
    """Codes that belong to their class, so that there is something to learn."""
    g = np.random.default_rng(0)
    labels = np.arange(COUNT) % CLASSES
    patterns = g.integers(0, CODES, (CLASSES, TOKENS))
    noise = g.random((COUNT, TOKENS)) < 0.1
    return np.where(noise, g.integers(0, CODES, (COUNT, TOKENS)), patterns[labels]), labels


def role_of(folder, role, **changes):
    """Folder and settings of a training of this role."""
    settings = dict(role=role, draft_scales=2, steps=6, learning_rate=1e-3, **SMALL)
    if role == "refiner":
        settings["teacher"] = folder / "var"
    return folder / ("var" if role == "drafter" else "refiner"), {**settings, **changes}


def state_bytes(trainer, path):
    trainer.save(path)
    return Path(path).read_bytes()


@pytest.mark.parametrize("role, term", [("drafter", "ce"), ("refiner", "kl")])
def test_losses_fall(folder, data, role, term):
    events = []
    model, settings = role_of(folder, role, steps=80, learning_rate=3e-3, label_dropout=0.0, batch=COUNT)
    trainer = learn.trainer(model, "specialise", data, **settings)
    before = trainer.evaluate(1)
    trainer.run(callback=events.append)
    after = trainer.evaluate(1)
    assert after["loss"] < 0.6 * before["loss"] and after["loss"] == after[term]
    assert set(events[0].terms) == ({"ce"} if role == "drafter" else {"ce", "kl"})
    assert events[0].loss == pytest.approx(events[0].terms[term]) and events[-1].loss < events[0].loss
    facts = trainer.describe()
    assert facts["method"] == "specialise" and facts["role"] == role and facts["draft_scales"] == 2


@pytest.mark.parametrize("form", ["arrays", "lists", "int32", "files", "safetensors", "dict"])
def test_data_in_every_form(folder, data, tmp_path, form):
    tokens, labels = data
    model, settings = role_of(folder, "drafter", steps=2)
    expected = state_bytes(learn.trainer(model, "specialise", data, **settings), tmp_path / "start")
    np.save(tmp_path / "x.npy", tokens)
    np.save(tmp_path / "y.npy", labels)
    write_safetensors(tmp_path / "both.safetensors", {"tokens": tokens.astype(np.int64), "labels": labels.astype(np.int64)})
    source = {
        "arrays": data, "lists": (tokens.tolist(), labels.tolist()), "int32": (tokens.astype(np.int32), labels.astype(np.uint8)),
        "files": (tmp_path / "x.npy", tmp_path / "y.npy"), "safetensors": tmp_path / "both.safetensors",
        "dict": {"tokens": tokens, "labels": tmp_path / "y.npy"},
    }[form]
    whole = learn.specialise(model, data, **settings)
    trainer = learn.specialise(model, source, **settings)
    found = state_bytes(trainer, tmp_path / "state")
    assert found == state_bytes(whole, tmp_path / "whole") and found != expected


def test_pictures_are_their_codes(folder, data, tmp_path):
    """A run on pictures is the run on the codes that the VQ-VAE gives them."""
    pictures = np.random.default_rng(1).uniform(-1, 1, (COUNT, 3, 4, 4)).astype(np.float32)
    labels = data[1]
    with diffaccel.Model(folder / "var" / "vae") as codes:
        tokens = codes.forward(image=pictures).astype(np.int64)
    model, settings = role_of(folder, "drafter", steps=3, draft_scales=3)
    found = [state_bytes(learn.specialise(model, (x, labels), **settings), tmp_path / "state")
             for x in (tokens, pictures)]
    assert found[0] == found[1]
    levels = np.random.default_rng(2).integers(0, 256, pictures.shape, np.uint8)
    as_bytes, as_floats = (
        learn.trainer(model, "specialise", (x, labels), **settings).evaluate(1)["loss"]
        for x in (levels, levels.astype(np.float32) / np.float32(127.5) - 1))
    assert as_bytes == pytest.approx(as_floats, rel=1e-5)


@pytest.mark.parametrize("role", ["drafter", "refiner"])
def test_going_on_is_never_having_stopped(folder, data, tmp_path, role):
    model, settings = role_of(folder, role)
    whole = learn.specialise(model, data, **settings)
    expected = state_bytes(whole, tmp_path / "whole")
    state = tmp_path / "kept.safetensors"
    learn.trainer(model, "specialise", data, state=state, save_every=2, **settings).run(3)
    again = learn.trainer(model, "specialise", data, state=state, resume=True, **settings)
    assert again.describe()["step"] == 3
    again.run()
    assert state.read_bytes() == expected and again.evaluate(1) == whole.evaluate(1)
    one = learn.specialise(model, data, **{**settings, "threads": 1, "recompute": True})
    assert state_bytes(one, tmp_path / "one") == expected, "neither threads nor recomputing change a bit"
    with pytest.raises(diffaccel.IncompatibleError, match="draft_scales"):
        learn.trainer(model, "specialise", data, state=state, resume=True, **{**settings, "draft_scales": 1})


def test_pairs_work_together(folder, data, tmp_path):
    for role in ("drafter", "refiner"):
        model, settings = role_of(folder, role)
        trainer = learn.specialise(model, data, **settings)
        trainer.export(tmp_path / role)
        with pytest.raises(diffaccel.UnsupportedError):
            trainer.plan()
    assert (tmp_path / "drafter" / "vae").is_dir() and not (tmp_path / "refiner" / "vae").exists()
    note = json.loads((tmp_path / "refiner" / "config.json").read_text())["specialised"]
    assert note == {"role": "refiner", "draft_scales": 2, "steps": 6}
    (tmp_path / "code.json").write_text(json.dumps({"method": "code", "refiner": "refiner", "draft_scales": 2}))
    with diffaccel.Model(tmp_path / "drafter") as model:
        plan = diffaccel.Plan.load(tmp_path / "code.json")
        result = model.session(plan=plan).sample(labels=[0, 3], seed=1)
        assert result.images.shape == (2, 4, 4, 3) and result.tokens.shape == (2, TOKENS)
        assert (result.tokens != diffaccel.Model(folder / "var").session().sample(labels=[0, 3], seed=1).tokens).any()
    # What was exported is trained further, and by itself.
    further = learn.specialise(tmp_path / "drafter", data, role="drafter", draft_scales=4, steps=1, **SMALL)
    assert further.describe()["step"] == 1


def test_exports_hold_what_was_learned(folder, data, tmp_path):
    model, settings = role_of(folder, "refiner", averaged=False, learning_rate=1e-2, weight_decay=0.0)
    learn.specialise(model, data, **settings).export(tmp_path / "out")
    before = var_tensors(width=16, depth=1, seed=3)
    raw = (tmp_path / "out" / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    start = 8 + int.from_bytes(raw[:8], "little")
    assert set(header) - {"__metadata__"} == set(before)
    for name, old in before.items():
        first, last = header[name]["data_offsets"]
        new = np.frombuffer(raw[start + first : start + last], np.float32).reshape(header[name]["shape"])
        assert new.shape == old.shape
        moved = np.abs(new - old).max() > 1e-3
        assert moved == (not name.endswith("zero_k_bias")), name


def test_estimates_hold(folder, data):
    model, settings = role_of(folder, "refiner")
    need = learn.estimate(model, "specialise", data, **settings)["bytes"]["peak"]
    trainer = learn.specialise(model, data, memory_limit=int(need * 1.1), **settings)
    assert trainer.describe()["bytes"]["peak"] <= need * 1.1
    with pytest.raises(diffaccel.OverBudgetError):
        learn.specialise(model, data, memory_limit=need // 3, **settings)


@pytest.mark.parametrize("changes, error, text", [
    (dict(role="boss"), diffaccel.FormatError, "role"), (dict(draft_scales=0), diffaccel.FormatError, "draft_scales"),
    (dict(draft_scales=9), diffaccel.InvalidArgumentError, "draft_scales"),
    (dict(alpha=0.5), diffaccel.FormatError, "alpha"), (dict(teacher="x"), diffaccel.FormatError, "teacher"),
    (dict(label_smoothing=2), diffaccel.FormatError, "label_smoothing"),
    (dict(nonsense=1), diffaccel.FormatError, "nonsense"),
])
def test_bad_settings(folder, data, changes, error, text):
    model, settings = role_of(folder, "drafter")
    with pytest.raises(error, match=text):
        learn.specialise(model, data, **{**settings, **changes})


def test_bad_data(folder, data, tiny_path):
    tokens, labels = data
    model, settings = role_of(folder, "drafter")
    wrong = tokens.copy()
    wrong[5, 7] = CODES
    with pytest.raises(diffaccel.InvalidArgumentError, match=f"sample 5: token {CODES} at position 7") as caught:
        learn.specialise(model, (wrong, labels), **settings)
    assert caught.value.trainer.describe()["step"] < 6
    for bad, error in [((tokens[:, :9], labels), diffaccel.ShapeError), ((tokens, labels[:5]), diffaccel.ShapeError),
                       ((tokens, labels + 9), diffaccel.InvalidArgumentError), ((tokens[0], labels), diffaccel.ShapeError),
                       ((tokens / 2, labels), TypeError), ((np.full((COUNT, 3, 4, 4), np.nan), labels), diffaccel.NotFiniteError),
                       ((np.zeros((COUNT, 3, 8, 8)), labels), diffaccel.ShapeError), (7, TypeError)]:
        with pytest.raises(error):
            learn.specialise(model, bad, **settings)
    with pytest.raises(diffaccel.UnsupportedError, match="dit"):
        learn.specialise(tiny_path, data, **settings)
    with pytest.raises(diffaccel.UnsupportedError, match="var"):
        learn.router(model)


def test_command_line(folder, data, tmp_path):
    tool = Path(os.environ.get("DIFFACCEL_CLI", ROOT / ".build" / "release" / "diffaccel-cli"))
    if not tool.exists():
        pytest.skip("no command line was built")
    np.save(tmp_path / "x.npy", data[0])
    np.save(tmp_path / "y.npy", data[1])
    run = subprocess.run(
        [tool, "learn", "specialise", folder / "refiner", "--role", "refiner", "--draft-scales", "2", "--teacher", folder / "var",
         "--tokens", tmp_path / "x.npy", "--labels", tmp_path / "y.npy", "--steps", "3", "--batch", "4", "--json", "--log-every", "1",
         "--evaluate", "1", "--out", tmp_path / "out"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line["step"] for line in lines[:3]] == [1, 2, 3] and lines[-1]["evaluation"]["kl"] > 0
    assert (tmp_path / "out" / "model.safetensors").exists()
    refused = subprocess.run([tool, "learn", "specialise", folder / "var", "--role", "drafter", "--draft-scales", "2", "--tokens", "x",
                              "--out", tmp_path / "no"], capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0 and "--labels" in refused.stderr
