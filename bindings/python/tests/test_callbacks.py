"""Callbacks: what their events tell, stopping, raising and sampling inside one, and progress bars."""

import threading

import numpy as np
import pytest
from test_sampling import FAST

import diffaccel


def test_callback(session):
    events, read = [], []

    def keep(event):
        events.append(event)
        read.append((event.timestep, event.sites_computed, event.sites_reused, event.sites_skipped, event.network, event.preview))
        assert event.flops > 0 and event.names == ["latents"] and event.texts == []
        assert event.latents is event.tensor("latents") and event.latents.flags.writeable
        with pytest.raises(diffaccel.InvalidArgumentError, match="nonsense.*latents"):
            event.tensor("nonsense")

    result = session.sample(callback=keep, **FAST)
    assert [event.step for event in events] == [1, 2, 3, 4, 5, 6]
    assert all(event.stage == "denoise" and event.steps == 6 for event in events)
    assert read == [(timestep, 6, 0, 0, 0, None) for timestep in (999, 799, 599, 400, 200, 0)]
    np.testing.assert_array_equal(events[-1].latents, result.latents)
    assert all(a.seconds <= b.seconds and a.fraction < b.fraction for a, b in zip(events, events[1:]))
    assert 0 < events[0].fraction and events[-1].fraction <= 1 and "denoise 6 of 6" in repr(events[-1])


def test_events_end_with_their_callback(session):
    events = []
    session.sample(callback=events.append, **FAST)
    for use in (lambda event: event.latents, lambda event: event.tensor("latents"), lambda event: event.timestep, lambda event: event.names):
        with pytest.raises(diffaccel.InvalidHandleError, match="callback has returned"):
            use(events[0])
    assert events[0].step == 1 and events[0].seconds > 0


def test_events_in_other_threads(session):
    """Whoever the callback gives the event to reads all of it or is told that it is over."""
    read, late, workers = [], [], []

    def look(event):
        for _ in range(50):
            try:
                read.append((event.step, event.latents.copy(), event.timestep))
            except diffaccel.InvalidHandleError as error:
                late.append(error)

    def start(event):
        for _ in range(4):
            workers.append(threading.Thread(target=look, args=[event]))
            workers[-1].start()

    steps = {}
    session.sample(callback=lambda event: steps.update({event.step: event.latents}), **FAST)
    session.sample(callback=start, **FAST)
    for worker in workers:
        worker.join()
    assert len(read) + len(late) == 4 * 6 * 50 and all(np.array_equal(latents, steps[step]) for step, latents, _ in read)


@pytest.mark.parametrize("step", range(1, 7))
def test_callback_cancels(tiny, session, step):
    with pytest.raises(diffaccel.Cancelled):
        session.sample(callback=lambda event: event.step == step, **FAST)
    with tiny.session(threads=2) as fresh:
        assert np.array_equal(session.sample(**FAST).latents, fresh.sample(**FAST).latents)


class Unusual(Exception):
    pass


@pytest.mark.parametrize("error", [Unusual, KeyboardInterrupt, SystemExit, MemoryError])
def test_callback_raises(session, error):
    def fail(event):
        raise error("from the callback")

    with pytest.raises(error):
        session.sample(callback=fail, **FAST)
    assert session.sample(**FAST).latents.shape == (2, 4, 8, 8)


def test_callback_uses_the_same_session(session):
    caught = []

    def again(event):
        for attempt in (lambda: session.sample(**FAST), lambda: session.estimate(**FAST)):
            try:
                attempt()
            except diffaccel.DiffAccelError as error:
                caught.append(type(error))

    session.sample(callback=again, **FAST)
    assert caught.count(diffaccel.BusyError) >= 6, "an estimate may be answered, a second run may not"


def test_callback_uses_another_session(tiny, session):
    expected, found = session.sample(**FAST).latents.copy(), []
    with tiny.session() as other:
        session.sample(callback=lambda event: found.append(other.sample(**FAST).latents) and None, **FAST)
    assert len(found) == 6 and all(np.array_equal(one, expected) for one in found)


def test_progress(session, capsys):
    pytest.importorskip("tqdm")
    session.sample(progress=True, **FAST)
    assert "6/6" in capsys.readouterr().err


def test_progress_without_tqdm(session, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    assert session.sample(progress=True, **FAST).latents.shape == (2, 4, 8, 8)
