"""Wrong settings, wrong data and wrong uses of trainers are exceptions that name what is wrong."""

import contextlib
import copy
import itertools
import json
import pickle

import numpy as np
import pytest
from conftest import write_autoencoder, write_dit
from learning_cases import SMALL, patterns

import diffaccel
from diffaccel import learn

Error = diffaccel.DiffAccelError
ROUTER = dict(sampling_steps=4, steps=2, **SMALL)


@pytest.fixture(scope="module")
def data():
    return patterns()


@pytest.mark.parametrize("method, change, error, words", [
    ("router", dict(nonsense=1), diffaccel.FormatError, "nonsense"),
    ("router", dict(pattern="1:2"), diffaccel.FormatError, "pattern"),
    ("router", dict(steps=0), Error, "steps"), ("router", dict(steps=1.5), Error, "steps"),
    ("router", dict(steps="many"), Error, "steps"), ("router", dict(steps=True), Error, "steps"),
    ("router", dict(steps=10**30), Error, None), ("router", dict(batch=0), Error, "batch"),
    ("router", dict(batch=-1), Error, "batch"), ("router", dict(seed=-1), Error, "seed"),
    ("router", dict(seed=2**63), Error, None), ("router", dict(sampling_steps=1), Error, "sampling_steps"),
    ("router", dict(sampling_steps=1001), Error, "sampling_steps"), ("router", dict(period=1), Error, "period"),
    ("router", dict(period=5), diffaccel.InvalidArgumentError, "period"),
    ("router", dict(l1=-1), Error, "l1"), ("router", dict(l1=float("nan")), diffaccel.InvalidArgumentError, None),
    ("router", dict(learning_rate=float("inf")), diffaccel.InvalidArgumentError, None),
    ("router", dict(trajectory="mine"), Error, "trajectory"), ("router", dict(threshold=2), Error, "threshold"),
    ("router", dict(label_dropout=1.5), Error, "label_dropout"), ("router", dict(recompute=2), Error, "recompute"),
    ("router", dict(guidance_channels=5, trajectory="own"), diffaccel.InvalidArgumentError, "channels"),
    ("router", dict(cache_limit=-1), Error, "cache_limit"), ("router", dict(save_every=0), Error, "save_every"),
    ("router", dict(resume="yes"), Error, "resume"), ("router", dict(state=""), Error, None),
    ("router", dict(state="bad\0name"), Error, None),
    ("prune", dict(), Error, "groups"), ("prune", dict(pattern="1:2"), Error, "pattern"),
    ("prune", dict(pattern="4:3"), Error, "pattern"), ("prune", dict(pattern="0:3"), Error, "pattern"),
    ("prune", dict(pattern="1:3:3"), Error, "pattern"), ("prune", dict(pattern=3), Error, "pattern"),
    ("prune", dict(groups=[]), Error, None), ("prune", dict(groups=[[1, 2]]), Error, None),
    ("prune", dict(groups=[[1, 2], [1, 2]]), Error, None), ("prune", dict(groups=[[2, 1], [1, 2]]), Error, None),
    ("prune", dict(groups=[[1, 2.5]]), Error, "groups"), ("prune", dict(groups="1:3"), Error, "groups"),
    ("prune", dict(groups=[[1, 3]], update="some"), Error, "update"), ("prune", dict(pattern="1:3", rank=0), Error, "rank"),
    ("prune", dict(pattern="1:3", temperature=0), Error, "temperature"),
    ("prune", dict(pattern="1:3", scaling=[1, 2, 3]), Error, "scaling"),
    ("prune", dict(rule="best"), Error, "rule"), ("prune", dict(rule="change", keep_count=4), Error, None),
    ("prune", dict(rule="change", keep_count=0), Error, "keep_count"), ("prune", dict(rule="index"), Error, "keep"),
    ("prune", dict(rule="index", keep=[3]), Error, "keep"), ("prune", dict(rule="index", keep=[]), Error, None),
    ("prune", dict(rule="change", pattern="1:3"), Error, "pattern"),
    ("finetune", dict(distillation="magic"), Error, "distillation"),
    ("finetune", dict(distillation="logits"), Error, "teacher"),
    ("finetune", dict(distillation="logits", teacher="/nowhere"), diffaccel.FileError, "nowhere"),
    ("finetune", dict(learning_rate=[1, 2, 3]), Error, "learning_rate"), ("finetune", dict(dtype="f8"), Error, "dtype"),
    ("finetune", dict(start="there"), Error, "start"), ("finetune", dict(average_decay=1.1), Error, "average_decay"),
    ("finetune", dict(clip=0), Error, "clip"),
    ("everything", dict(), Error, "method"), ("", dict(), Error, "method"),
])
def test_wrong_settings(tiny_path, data, method, change, error, words):
    base = ROUTER if method == "router" else dict(steps=2, **SMALL)
    for make in (learn.trainer, learn.estimate):
        if make is learn.estimate and {"state", "resume", "save_every"} & set(change):
            continue
        with pytest.raises(error, match=words):
            make(tiny_path, method, data, **{**base, **change})


@pytest.mark.parametrize("change, error", [
    (dict(threads=-1), Error), (dict(threads=257), Error), (dict(threads=1.5), TypeError), (dict(threads=2**40), OverflowError),
    (dict(memory_limit=-1), OverflowError), (dict(memory_limit="1G"), TypeError), (dict(conventions=3), TypeError),
    (dict(conventions="house"), Error), (dict(config="{"), Error), (dict(method=None), Error), (dict(log="x"), TypeError),
    (dict(progress=True), TypeError), (dict(l1={1, 2}), TypeError), (dict(l1=1j), TypeError),
])
def test_wrong_options(tiny_path, data, change, error):
    with pytest.raises(error):
        learn.trainer(tiny_path, **{"method": "router", "data": data, **ROUTER, **change})


STATES, LABELS = patterns(6)


@pytest.mark.parametrize("wrong, error", [
    (STATES, TypeError), ((STATES,), TypeError), ((STATES, LABELS, LABELS), TypeError), (3, TypeError), ({}, Error),
    ({"latents": STATES}, Error), ({"latents": STATES, "labels": LABELS, "extra": 1}, Error),
    ({"latents": STATES, "labels": LABELS, "factor": 0}, Error),
    ({"latents": STATES, "labels": LABELS, "factor": float("nan")}, Error),
    ((STATES, LABELS[:-1]), diffaccel.ShapeError), ((STATES[:0], LABELS[:0]), Error),
    ((STATES, LABELS.reshape(2, 3)), diffaccel.ShapeError), ((STATES, LABELS.astype(float)), TypeError),
    ((STATES, LABELS == 1), TypeError), ((STATES, [str(label) for label in LABELS]), TypeError),
    ((STATES, 1), diffaccel.ShapeError), ((STATES, LABELS + 6), diffaccel.InvalidArgumentError),
    ((STATES, LABELS - 1), diffaccel.InvalidArgumentError), ((STATES[0], LABELS), diffaccel.ShapeError),
    ((STATES[:, :3], LABELS), diffaccel.ShapeError), ((STATES[..., :4], LABELS), diffaccel.ShapeError),
    ((np.stack([STATES] * 3, 1), LABELS), diffaccel.ShapeError), ((STATES.astype(complex), LABELS), TypeError),
    ((STATES.astype(int), LABELS), TypeError), ((STATES.astype(object), LABELS), TypeError),
    ((list(STATES[:2]) + [STATES[0, :2]], LABELS[:3]), (ValueError, TypeError)),
    ("/nowhere.safetensors", diffaccel.FileError), (("/nowhere.npy", LABELS), diffaccel.FileError),
    ("", Error), ("bad\0name", (Error, ValueError)), (None, Error),
], ids=itertools.count())
def test_wrong_data(tiny_path, wrong, error):
    for make in (learn.trainer, learn.estimate):
        with pytest.raises(error):
            make(tiny_path, "router", wrong, **ROUTER)


def test_files_that_are_no_data(tiny_path, tmp_path):
    np.save(tmp_path / "labels.npy", LABELS)
    for name, content in {"text.npy": b"hello", "empty.npy": b"", "cut.npy": b"\x93NUMPY\x01\x00\x76\x00{", "a.safetensors": b"\0" * 64}.items():
        (tmp_path / name).write_bytes(content)
        data = tmp_path / name if name.endswith("safetensors") else (tmp_path / name, tmp_path / "labels.npy")
        with pytest.raises(Error):
            learn.trainer(tiny_path, "router", data, **ROUTER)
    np.save(tmp_path / "pickled.npy", np.array([{}, []], object), allow_pickle=True)
    with pytest.raises(Error):
        learn.trainer(tiny_path, "router", (tmp_path / "pickled.npy", tmp_path / "labels.npy"), **ROUTER)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_data_that_are_not_finite(tiny_path, value):
    states = STATES.copy()
    states[4, 1, 2, 3] = value
    with pytest.raises(diffaccel.NotFiniteError, match="sample 4") as caught:
        learn.router(tiny_path, (states, LABELS), sampling_steps=4, steps=50, batch=2)
    trainer = caught.value.trainer
    assert trainer.describe()["step"] < 3, "at the latest in the epoch's third batch"
    trainer.plan()


def test_losses_that_are_not_numbers(tiny_path, tmp_path):
    """Numbers that only the arithmetic makes infinite: no run begins with them, and the weights stay as they were."""
    data = (STATES * np.float32(1e36), LABELS)
    with pytest.raises(diffaccel.NotFiniteError, match="the first loss") as caught:
        learn.finetune(tiny_path, data, steps=200, batch=2, averaged=False)
    caught.value.trainer.export(tmp_path / "same")
    with diffaccel.Model(tiny_path).session() as one, diffaccel.Model(tmp_path / "same").session() as other:
        np.testing.assert_array_equal(one.sample(labels=[1], steps=2).latents, other.sample(labels=[1], steps=2).latents)
    for method, settings in (("router", dict(sampling_steps=4)), ("prune", dict(pattern="1:3"))):
        trainer = learn.trainer(tiny_path, method, data, steps=200, batch=2, **settings)
        # Their losses are of the network's outputs, which its norms keep finite: the run may end either way.
        with contextlib.suppress(diffaccel.NotFiniteError):
            trainer.run()
        trainer.plan()  # finite, or it could not be made


def test_losses_that_stop_being_numbers(tiny_path, tmp_path):
    """Such steps are left out, and many of them end the run."""
    events = []
    with pytest.raises(diffaccel.NotFiniteError, match="in 50 steps in a row"):
        learn.finetune(tiny_path, (STATES, LABELS), steps=200, batch=2, averaged=False, learning_rate=1000, callback=events.append,
                       log=tmp_path / "log", log_every=1)
    assert np.isfinite(events[0].loss) and len(events) == 50
    assert not any(np.isfinite(event.loss + event.gradient_norm) for event in events[1:])
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert all(line["loss"] is None or line["gradient_norm"] is None for line in lines[1:])


def test_models_that_cannot_learn(tmp_path, data):
    with pytest.raises(diffaccel.FileError):
        learn.trainer(tmp_path / "missing", "router", data, **ROUTER)
    with pytest.raises(diffaccel.UnsupportedError):
        learn.trainer(write_autoencoder(tmp_path / "vae"), "router", data, **ROUTER)
    with pytest.raises(diffaccel.UnsupportedError):
        # A table of ten rows for ten classes: none is left for "no class".
        path = write_dit(tmp_path / "plain", num_classes=9)
        config = json.loads((path / "config.json").read_text())
        config["model"].update(num_classes=10, class_dropout_prob=0.0)
        (path / "config.json").write_text(json.dumps(config))
        learn.trainer(path, "router", trajectory="own", guidance=2.0, **ROUTER)


def test_teacher_of_another_shape(tiny_path, tmp_path, data):
    teacher = write_dit(tmp_path / "teacher", input_size=4)
    with pytest.raises(Error):
        learn.finetune(tiny_path, data, steps=1, distillation="logits", teacher=teacher, **SMALL)


USES = {
    "run": lambda t: t.run(), "describe": lambda t: t.describe(), "evaluate": lambda t: t.evaluate(1),
    "save": lambda t: t.save("never-written"), "restore": lambda t: t.restore("never-read"), "plan": lambda t: t.plan(),
    "export": lambda t: t.export("never-made"), "cancel": lambda t: t.cancel(),
}


@pytest.mark.parametrize("use", USES)
def test_closed_trainers(tiny_path, data, use):
    trainer = learn.trainer(tiny_path, "router", data, **ROUTER)
    trainer.close()
    trainer.close()
    assert trainer.closed and "closed" in repr(trainer)
    with pytest.raises(diffaccel.InvalidHandleError):
        USES[use](trainer)


def test_closed_while_running(tiny_path, data):
    trainer = learn.trainer(tiny_path, "router", data, **{**ROUTER, "steps": 6})
    seen = []

    def close(event):
        seen.append(event.step)
        trainer.close()

    trainer.run(callback=close)
    assert seen == list(range(1, 7)) and trainer.closed, "a run that is going on ends normally"


def test_context_manager(tiny_path, data):
    with learn.router(tiny_path, data, **ROUTER) as trainer:
        plan = trainer.plan()
    assert trainer.closed and plan.describe()["methods"]


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_no_copies(tiny_path, data, way):
    with pytest.raises(TypeError, match="Trainer"):
        way(learn.trainer(tiny_path, "router", data, **ROUTER))


def test_counts(tiny_path, data):
    trainer = learn.trainer(tiny_path, "router", data, **ROUTER)
    trainer.run(0)
    assert trainer.describe()["step"] == 0, "no steps are none, not all that are left"
    for steps, error in ((-1, Error), (1.5, TypeError), (True, TypeError), (2**63, OverflowError)):
        with pytest.raises(error):
            trainer.run(steps)
    for batches, error in ((0, Error), (-1, Error), (100_001, Error), (1.5, TypeError), (2**31, OverflowError)):
        with pytest.raises(error):
            trainer.evaluate(batches)
    for every, error in ((0, ValueError), (1.5, TypeError)):
        with pytest.raises(error):
            trainer.run(log_every=every)
    trainer.run(10**9)
    assert trainer.describe()["step"] == 2, "there are only so many"
    trainer.run()
    assert trainer.describe()["step"] == 2


def test_files_that_cannot_be_written(tiny_path, data, tmp_path):
    trainer = learn.router(tiny_path, data, **ROUTER)
    for path in (tmp_path, tmp_path / "missing" / "state", ""):
        with pytest.raises(Error):
            trainer.save(path)
    with pytest.raises(ValueError):
        trainer.save("bad\0name")
    (tmp_path / "file").write_text("")
    pruner = learn.prune(tiny_path, rule="index", keep=[0])
    with pytest.raises(Error):
        pruner.export(tmp_path / "file")
    with pytest.raises(Error) as caught:
        learn.router(tiny_path, data, state=tmp_path / "missing" / "state", **ROUTER)
    assert isinstance(caught.value, (diffaccel.FileError, diffaccel.InvalidArgumentError))
