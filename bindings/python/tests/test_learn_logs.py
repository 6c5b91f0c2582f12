"""Learning: what a run tells while it goes on, and what it takes of memory."""

import gc
import json
import os
import sys

import numpy as np
import pytest
from learning_cases import KINDS, SMALL, patterns, settings_of

import diffaccel
from diffaccel import learn

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
