"""Closed objects, arrays that outlive or do not, and garbage collection at bad moments."""

import copy
import ctypes
import gc
import itertools
import pickle
import random
import threading
import weakref

import numpy as np
import pytest

import diffaccel
from diffaccel import _ffi

FAST = dict(labels=[1, 2], steps=3, seed=3)


def make(tiny_path):
    model = diffaccel.Model(tiny_path)
    plan = diffaccel.Plan(l2c={"policy": "alternate"})
    session = model.session(plan=plan)
    return model, plan, session, session.sample(**FAST)


USES = {
    "describe a model": (0, lambda o: o.description), "forward": (0, lambda o: o.forward(
        x=np.zeros((1, 4, 8, 8)), t=[0], y=[0])), "new session": (0, lambda o: o.session()),
    "describe a plan": (1, lambda o: o.describe()), "save": (1, lambda o: o.save("never-written.json")),
    "stack": (1, lambda o: o + diffaccel.Plan()), "stack on": (1, lambda o: diffaccel.Plan() + o),
    "sample": (2, lambda o: o.sample(**FAST)), "estimate": (2, lambda o: o.estimate(**FAST)),
    "cancel": (2, lambda o: o.cancel()), "latents": (3, lambda o: o.latents), "images": (3, lambda o: o.images),
    "stats": (3, lambda o: o.stats),
}


@pytest.mark.parametrize("use", USES)
def test_closed_objects(tiny_path, use):
    index, action = USES[use]
    target = make(tiny_path)[index]
    target.close()
    target.close()
    assert target.closed and "closed" in repr(target)
    with pytest.raises(diffaccel.InvalidHandleError):
        action(target)


def test_closed_plan_is_not_the_plain_model(tiny):
    plan = diffaccel.Plan()
    plan.close()
    with pytest.raises(diffaccel.InvalidHandleError):
        tiny.session(plan=plan)


def test_context_managers(tiny_path):
    with diffaccel.Model(tiny_path) as model, diffaccel.Plan() as plan, model.session(plan) as session:
        with session.sample(**FAST) as result:
            latents = result.latents
    assert all(item.closed for item in (model, plan, session, result))
    assert np.isfinite(latents).all()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_closing_order(tiny_path, order):
    items = make(tiny_path)
    for index in order:
        items[index].close()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_collection_order(tiny_path, order):
    items = list(make(tiny_path))
    for index in order:
        items[index] = None
        gc.collect()


def test_session_outlives_model_and_plan(tiny_path):
    model, plan, session, result = make(tiny_path)
    expected = result.latents.copy()
    model.close()
    plan.close()
    assert np.array_equal(session.sample(**FAST).latents, expected)


def test_arrays_outlive_the_result(tiny_path):
    result = make(tiny_path)[3]
    view = result.latents[0, ::2, ::-1]
    expected = view.copy()
    result.close()
    del result
    gc.collect()
    for _ in range(20):
        make(tiny_path)
    assert np.array_equal(view, expected)


def test_arrays_are_read_only(session):
    latents = session.sample(**FAST).latents
    with pytest.raises(ValueError):
        latents[:] = 0
    assert latents.copy().flags.writeable


def test_memory_is_freed(session):
    result = session.sample(**FAST)
    owner = weakref.ref(result._owner)
    view = result.latents
    del result
    assert owner() is not None
    del view
    gc.collect()
    assert owner() is None


def test_inputs_freed_early(session):
    """Temporaries that only the request refers to."""
    expected = session.sample(**FAST, noise=diffaccel.randn((2, 4, 8, 8), 1)).latents

    def churn(event):
        gc.collect()
        for _ in range(10):
            np.full((2, 4, 8, 8), np.nan, np.float32)

    noise = diffaccel.randn((2, 4, 8, 8), 1).astype(np.float64)[:, ::-1][:, ::-1]
    assert np.array_equal(session.sample(**FAST, noise=noise, callback=churn).latents, expected)


def test_collection_does_not_hide_errors(tiny_path):
    """Handles that are closed between a failing call and its text would empty that text."""
    gc.set_threshold(1)
    try:
        for index in range(200):
            cycle = [diffaccel.Plan()]
            cycle.append(cycle)
            del cycle
            with pytest.raises(diffaccel.FormatError, match="never-heard-of"):
                diffaccel.Plan.parse('{"method": "never-heard-of"}')
    finally:
        gc.set_threshold(700, 10, 10)


def test_release_waits_for_the_call_under_way():
    closed = []
    plan = diffaccel.Plan()
    handle = plan._handle
    plan._finalizer.detach()

    def failing(*_):
        _ffi.release(lambda h: closed.append(h), handle)
        assert not closed
        return 0

    _ffi.call(failing)
    assert closed == [handle]
    _ffi.lib.da_plan_close(handle)


@pytest.mark.parametrize("action", [copy.copy, copy.deepcopy, pickle.dumps])
def test_no_copies(tiny_path, action):
    for item in make(tiny_path):
        with pytest.raises(TypeError):
            action(item)


def test_random_handles(tiny, session):
    draw = random.Random(1)
    real = [item._handle for item in (tiny, session)]
    text = [None, 0, ctypes.byref(ctypes.c_size_t())]
    for index in range(2000):
        handle = draw.getrandbits(64) if index % 2 else draw.choice(real) ^ (1 << draw.randrange(64))
        if handle in real:
            continue
        for function in ("da_model_close", "da_plan_close", "da_session_close", "da_result_close", "da_session_cancel"):
            assert getattr(_ffi.lib, function)(handle) == _ffi.DA_INVALID_HANDLE
        assert _ffi.lib.da_model_describe(handle, *text) == _ffi.DA_INVALID_HANDLE
        assert _ffi.lib.da_result_stats(handle, *text) == _ffi.DA_INVALID_HANDLE


def test_wrong_kinds(tiny_path):
    items = make(tiny_path)
    handles = [item._handle for item in items[:3]] + [items[3]._owner._handle]
    for index, kind in enumerate(("model", "plan", "session", "result")):
        for other, handle in enumerate(handles):
            if other != index:
                assert getattr(_ffi.lib, f"da_{kind}_close")(handle) == _ffi.DA_INVALID_HANDLE
    assert items[3].latents.shape == (2, 4, 8, 8)


def test_second_thread_is_told_busy(session):
    seen = []

    def other():
        try:
            session.sample(**FAST)
        except diffaccel.BusyError as error:
            seen.append(error)

    def start(event):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    session.sample(**FAST, callback=start)
    assert len(seen) == 3


def test_cancel_from_another_thread(slow_path):
    with diffaccel.Model(slow_path).session() as session:
        started = threading.Event()
        canceller = threading.Thread(target=lambda: (started.wait(30), session.cancel()))
        canceller.start()
        with pytest.raises(diffaccel.Cancelled):
            session.sample(labels=range(8), steps=1000, callback=lambda event: started.set())
        canceller.join()


def test_sampling_in_threads(tiny):
    expected, found = None, []
    with tiny.session(threads=1) as session:
        expected = session.sample(**FAST).latents

    def work():
        with tiny.session(threads=1) as session:
            for _ in range(5):
                found.append(session.sample(**FAST).latents)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 20 and all(np.array_equal(one, expected) for one in found)


def test_log(tmp_path):
    messages = []
    diffaccel.set_log(lambda level, text: messages.append((level, text)), "info")
    with pytest.raises(diffaccel.FileError):
        diffaccel.Model(tmp_path / "missing")
    diffaccel.set_log(None)
    with pytest.raises(ValueError):
        diffaccel.set_log(print, "loud")
    assert all(level in ("error", "warning", "info") for level, _ in messages)


def test_describe():
    facts = diffaccel.describe()
    assert facts["version"] == diffaccel.__version__ and "l2c" in facts["methods"] and "dit" in facts["families"]
    assert sorted(facts["plan_options"]) == sorted(facts["methods"]) and "router" in facts["training_options"]
    scales = next(option for option in facts["plan_options"]["code"] if option["name"] == "draft_scales")
    assert (scales["type"], scales["minimum"], scales["default"]) == ("integer", 1, 8)
