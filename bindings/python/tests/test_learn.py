"""Learning: each method improves what it should, and whatever interrupts a run, it goes on as if nothing had happened."""

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import PACKAGE, ROOT, write_dit, write_safetensors

import diffaccel
from diffaccel import learn

COUNT = 24


def patterns(count=COUNT, seed=0, channels=4, side=8):
    """States whose class can be seen, so that there is something to learn."""
    g = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    shapes = np.random.default_rng(99).standard_normal((10, channels, side, side))
    states = shapes[labels] + 0.1 * g.standard_normal((count, channels, side, side))
    return states.astype(np.float32), labels


@pytest.fixture(scope="module")
def data():
    return patterns()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_dit(tmp_path_factory.mktemp("models") / "teacher", seed=5, depth=6)


SMALL = dict(batch=4, threads=2)
#: One training of each kind: method and settings.
KINDS = {
    "router": ("router", dict(sampling_steps=6, steps=6, learning_rate=0.05)),
    "router, straight through, period 3": ("router", dict(sampling_steps=7, steps=6, period=3, straight_through=0.5)),
    "router, own trajectory": ("router", dict(sampling_steps=6, steps=6, trajectory="own", guidance=2.0)),
    "router, recomputing": ("router", dict(sampling_steps=6, steps=6, recompute=True)),
    "gates, lora": ("prune", dict(pattern="1:3", steps=6, rank=2)),
    "gates, full": ("prune", dict(groups=[[1, 1], [1, 2]], steps=6, update="full")),
    "gates alone": ("prune", dict(pattern="2:3", steps=6, update="gates")),
    "rule": ("prune", dict(rule="similarity", keep_count=2, steps=4)),
    "sensitivity": ("prune", dict(rule="sensitivity", keep_count=2, steps=4)),
    "weights": ("finetune", dict(steps=6, learning_rate=1e-3, warmup=2)),
    "weights, outputs of a teacher": ("finetune", dict(steps=6, distillation="logits", teacher=True)),
    "weights, features of a teacher": ("finetune", dict(steps=6, distillation="masked", teacher=True, groups=[[1, 2]] * 3)),
}


def settings_of(kind, teacher):
    method, settings = KINDS[kind]
    if settings.get("teacher"):
        settings = {**settings, "teacher": teacher}
    return method, {**SMALL, **settings}


def state_bytes(trainer, path):
    trainer.save(path)
    return Path(path).read_bytes()


# ---- what is learned ----


def test_router_learns_to_skip(tiny_path, data):
    events = []
    trainer = learn.router(tiny_path, data, sampling_steps=6, steps=150, batch=4, learning_rate=0.1, l1=10.0, threshold=0.3,
                           callback=events.append)
    facts = trainer.describe()
    assert facts["method"] == "router" and facts["step"] == facts["steps"] == 150
    assert facts["removed"] == 1.0, "computing is too dear for any score to stay"
    assert [row["row"] for row in facts["rows"]] == [0, 2, 4], "rows of cached steps"
    assert events[-1].terms["removed"] == 1.0 and events[-1].terms["price"] < events[0].terms["price"]
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


def write_data(path, states, labels):
    write_safetensors(path, {"latents": states, "labels": labels.astype(np.int64)})


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


# ---- going on ----


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_is_never_having_stopped(tiny_path, teacher, data, tmp_path, kind):
    method, settings = settings_of(kind, teacher)
    whole = learn.trainer(tiny_path, method, data, **settings)
    whole.run()
    expected = state_bytes(whole, tmp_path / "whole")

    first = learn.trainer(tiny_path, method, data, **settings)
    first.run(2)
    first.save(tmp_path / "part")
    second = learn.trainer(tiny_path, method, data, **settings)
    second.restore(tmp_path / "part")
    assert second.describe()["step"] == 2
    second.run(1)
    assert second.describe()["step"] == 3
    second.run()
    assert state_bytes(second, tmp_path / "second") == expected
    assert second.evaluate(1) == whole.evaluate(1)

    # The same through the settings, as programs do that may be stopped at any time.
    state = tmp_path / "kept.safetensors"
    learn.trainer(tiny_path, method, data, state=state, save_every=2, **settings).run(3)
    third = learn.trainer(tiny_path, method, data, state=state, resume=True, **settings)
    assert third.describe()["step"] == 3
    third.run()
    assert state.read_bytes() == expected


@pytest.mark.parametrize("kind", ["router", "router, own trajectory", "gates, lora", "weights, features of a teacher"])
def test_threads_do_not_matter(tiny_path, teacher, data, tmp_path, kind):
    method, settings = settings_of(kind, teacher)
    found = []
    for threads in (1, 2):
        trainer = learn.trainer(tiny_path, method, data, **{**settings, "threads": threads})
        trainer.run()
        found.append(state_bytes(trainer, tmp_path / "state"))
    assert found[0] == found[1]


def test_recomputing_gives_the_same(tiny_path, data, tmp_path):
    found = [state_bytes(learn.finetune(tiny_path, data, steps=3, recompute=recompute, **SMALL), tmp_path / "state")
             for recompute in (False, True)]
    assert found[0] == found[1]


def test_more_steps_than_planned(tiny_path, data, tmp_path):
    """A router's training has no schedule, so a state may go on in a longer run."""
    settings = dict(sampling_steps=4, **SMALL)
    learn.router(tiny_path, data, steps=3, **settings).save(tmp_path / "short")
    longer = learn.trainer(tiny_path, "router", data, steps=5, **settings)
    longer.restore(tmp_path / "short")
    longer.run()
    whole = learn.router(tiny_path, data, steps=5, **settings)
    assert state_bytes(longer, tmp_path / "a") == state_bytes(whole, tmp_path / "b")


def test_a_state_of_another_training(tiny_path, data, tmp_path):
    first = learn.router(tiny_path, data, sampling_steps=4, steps=2, **SMALL)
    first.save(tmp_path / "state")
    other = learn.trainer(tiny_path, "router", data, sampling_steps=4, steps=2, l1=1e-3, **SMALL)
    before = state_bytes(other, tmp_path / "before")
    with pytest.raises(diffaccel.IncompatibleError, match="l1"):
        other.restore(tmp_path / "state")
    assert state_bytes(other, tmp_path / "after") == before, "a refused state changes nothing"
    with pytest.raises(diffaccel.IncompatibleError):
        learn.trainer(tiny_path, "finetune", data, steps=2, **SMALL).restore(tmp_path / "state")
    with pytest.raises(diffaccel.InvalidArgumentError, match="already"):
        learn.trainer(tiny_path, "router", data, sampling_steps=4, steps=2, state=tmp_path / "state", **SMALL)
    (tmp_path / "broken").write_bytes((tmp_path / "state").read_bytes()[:-4])
    for name in ("broken", "missing"):
        with pytest.raises(diffaccel.DiffAccelError):
            first.restore(tmp_path / name)
    assert first.describe()["step"] == 2


# ---- stopping ----


class Unusual(Exception):
    __slots__ = ()


@pytest.mark.parametrize("error", [Unusual, KeyboardInterrupt, SystemExit, MemoryError])
def test_callback_raises(tiny_path, data, error, tmp_path):
    def fail(event):
        if event.step == 2:
            raise error("from the callback")

    settings = dict(sampling_steps=4, steps=5, **SMALL)
    with pytest.raises(error) as caught:
        learn.router(tiny_path, data, callback=fail, **settings)
    trainer = caught.value.trainer
    assert trainer.describe()["step"] == 2
    trainer.run()
    assert state_bytes(trainer, tmp_path / "a") == state_bytes(learn.router(tiny_path, data, **settings), tmp_path / "b")


def test_callback_stops(tiny_path, data, tmp_path):
    state = tmp_path / "state"
    with pytest.raises(diffaccel.Cancelled) as caught:
        learn.finetune(tiny_path, data, steps=9, state=state, callback=lambda event: event.step == 3, **SMALL)
    assert caught.value.trainer.describe()["step"] == 3 and state.is_file(), "the state is written when a run is stopped"
    resumed = learn.trainer(tiny_path, "finetune", data, steps=9, state=state, resume=True, **SMALL)
    assert resumed.describe()["step"] == 3


def test_cancel_from_another_thread(tiny_path, data):
    trainer = learn.trainer(tiny_path, "router", data, sampling_steps=4, steps=100_000, **SMALL)
    started = threading.Event()

    def stop():
        started.wait(30)
        trainer.cancel()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(diffaccel.Cancelled):
        trainer.run(callback=lambda event: started.set())
    thread.join()
    steps = trainer.describe()["step"]
    assert 1 <= steps < 100_000
    trainer.run(2)
    assert trainer.describe()["step"] == steps + 2


def test_callback_uses_the_trainer(tiny_path, data):
    caught = []

    def use(event):
        for attempt in (trainer.run, trainer.describe, trainer.evaluate, trainer.plan):
            try:
                attempt()
            except diffaccel.DiffAccelError as error:
                caught.append(type(error))
        assert "at work" in repr(trainer)

    trainer = learn.trainer(tiny_path, "router", data, sampling_steps=4, steps=2, **SMALL)
    trainer.run(callback=use)
    assert caught == [diffaccel.BusyError] * 8
    assert "step 2 of 2" in repr(trainer)


def test_two_trainers_at_once(tiny_path, data, tmp_path):
    settings = dict(sampling_steps=4, steps=4, **SMALL)
    expected = state_bytes(learn.router(tiny_path, data, **settings), tmp_path / "expected")
    found = [None] * 3

    def work(index):
        found[index] = state_bytes(learn.router(tiny_path, data, **settings), tmp_path / str(index))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3


INTERRUPTED = """
import signal, sys, time
import numpy as np
import diffaccel
signal.signal(signal.SIGINT, signal.default_int_handler)
model, state, settings, what = sys.argv[1], sys.argv[2], eval(sys.argv[3]), sys.argv[4]
g = np.random.default_rng(0)
data = g.standard_normal((8, 4, 32, 32)).astype(np.float32), np.arange(8)
trainer = diffaccel.learn.trainer(model, data=data, batch=2, threads=2, **settings)
trainer.run(1)
print("ready", flush=True)
try:
    trainer.run() if what == "run" else trainer.evaluate(100_000)
except KeyboardInterrupt:
    print("interrupted", flush=True)
step = trainer.describe()["step"]
trainer.save(state + ".stopped")
whole = diffaccel.learn.trainer(model, data=data, batch=2, threads=2, **settings)
whole.run(step)
whole.save(state + ".whole")
print(step, open(state + ".stopped", "rb").read() == open(state + ".whole", "rb").read())
"""


@pytest.mark.parametrize("settings, what", [
    (dict(method="router", sampling_steps=20, steps=100_000), "run"),
    (dict(method="router", sampling_steps=20, steps=100_000, trajectory="own", guidance=2.0), "run"),
    (dict(method="prune", pattern="1:2", steps=100_000), "run"),
    (dict(method="finetune", steps=100_000), "run"),
    (dict(method="finetune", steps=100_000), "evaluate"),
], ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())))
def test_control_c(slow_path, tmp_path, settings, what):
    """Stops in the middle of a step, which then has not happened."""
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, slow_path, tmp_path / "state", repr(settings), what],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=dict(os.environ, PYTHONPATH=str(PACKAGE)))
    try:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(0.4)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    lines = output.split("\n")
    assert lines[0] == "interrupted", errors
    step, equal = lines[1].split()
    assert int(step) < 1000 and equal == "True"


# ---- telling ----


def test_log(tiny_path, data, tmp_path):
    log, events = tmp_path / "train.jsonl", []
    trainer = learn.trainer(tiny_path, "router", data, sampling_steps=4, steps=7, **SMALL)
    trainer.run(4, log=log, log_every=3, callback=events.append)
    trainer.run(log=log, log_every=3, callback=events.append)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6, 7], "every third, and the last one"
    for line, event in zip(lines, (events[2], events[5], events[6])):
        assert line["loss"] == event.loss and line["steps"] == event.steps == 7 and line["terms"] == event.terms
        np.testing.assert_allclose(line["confidences"], event.confidences, rtol=1e-6)
    assert [event.step for event in events] == list(range(1, 8))
    assert all(event.seconds >= 0 and event.gradient_norm >= 0 for event in events)


def test_log_that_cannot_be_written(tiny_path, data, tmp_path):
    with pytest.raises(OSError) as caught:
        learn.router(tiny_path, data, sampling_steps=4, steps=2, log=tmp_path / "missing" / "log", **SMALL)
    assert caught.value.trainer.describe()["step"] == 0


def test_progress(tiny_path, data, capsys):
    pytest.importorskip("tqdm")
    learn.router(tiny_path, data, sampling_steps=4, steps=3, progress=True, **SMALL)
    shown = capsys.readouterr().err
    assert "3/3" in shown and "loss=" in shown


def test_progress_without_tqdm(tiny_path, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert learn.router(tiny_path, data, sampling_steps=4, steps=2, progress=True, **SMALL).describe()["step"] == 2


# ---- memory ----


@pytest.mark.parametrize("kind", KINDS)
def test_estimate(tiny_path, teacher, data, kind):
    method, settings = settings_of(kind, teacher)
    estimate = learn.estimate(tiny_path, method, data, **settings)
    assert set(estimate["bytes"]) == {"weights", "learning", "workspace", "peak"}
    trainer = learn.trainer(tiny_path, method, data, **settings)
    trainer.run()
    peak = trainer.describe()["bytes"]["peak"]
    assert peak <= estimate["bytes"]["peak"] * 1.1, "an estimate that is too low lets a run fail in its middle"
    assert peak >= estimate["bytes"]["peak"] * 0.5, "an estimate that is far too high keeps people from running"
    with pytest.raises(diffaccel.OverBudgetError):
        learn.trainer(tiny_path, method, data, memory_limit=peak // 3, **settings).run()
    learn.trainer(tiny_path, method, data, memory_limit=estimate["bytes"]["peak"] * 11 // 10, **settings).run()


def test_recomputing_needs_less(slow_path):
    states, labels = patterns(4, side=32)
    plain, recomputing = (
        learn.estimate(slow_path, "finetune", (states, labels), batch=4, recompute=recompute)["bytes"]["workspace"]
        for recompute in (False, True))
    assert recomputing < 0.5 * plain


def test_trainers_are_collected(tiny_path, data):
    """Many trainers, none of them closed by hand."""
    import resource

    def make():
        learn.trainer(tiny_path, "finetune", data, steps=2, **SMALL).run()

    for _ in range(5):
        make()
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        make()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= descriptors, "data files are closed with their trainer"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "KiB"


def test_collected_in_a_cycle_while_another_runs(tiny_path, data):
    def litter(event):
        trainer = learn.trainer(tiny_path, "router", data, sampling_steps=4, steps=1, **SMALL)
        cycle = [trainer]
        cycle.append(cycle)
        del trainer, cycle
        gc.collect()

    assert learn.router(tiny_path, data, sampling_steps=4, steps=4, callback=litter, **SMALL).describe()["step"] == 4


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
