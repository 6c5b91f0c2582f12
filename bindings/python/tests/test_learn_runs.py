"""Learning: whatever interrupts a run, it goes on as if nothing had happened."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import PACKAGE
from learning_cases import KINDS, SMALL, settings_of, state_bytes

import diffaccel
from diffaccel import learn

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
