"""Denoisers in components that work on what the others gave in the call before."""

import os
import subprocess
import sys

import numpy as np
import pytest

import diffaccel

from conftest import PACKAGE, ROOT

EMOJI = ROOT / "Models" / "emoji-sd"


@pytest.fixture(scope="module")
def model():
    with diffaccel.Model(EMOJI) as opened:
        yield opened


def entry(**settings):
    return diffaccel.Plan(**{"async": settings})


def latents(model, plan=None, threads=2, **request):
    with model.session(plan, threads=threads) as session:
        return session.sample(prompt="red apple", steps=16, seed=3, decode=False, **request).latents


def test_executors_have_the_same_bits(model):
    for settings in ({"components": 2}, {"components": 3, "stride": 2, "warm_up": 3}):
        expected = latents(model, entry(**settings))
        assert np.array_equal(latents(model, entry(executor="threads", **settings), threads=3), expected)
        for execution in ("lanes", "split"):
            assert np.array_equal(latents(model, entry(**settings), guidance_execution=execution), expected)
        assert not np.array_equal(latents(model), expected)


def test_whole_evaluations_are_the_plain_model(model):
    assert np.array_equal(latents(model, entry(components=2, warm_up=16)), latents(model))


def test_a_word_is_the_plan_that_it_writes_out(model):
    assert np.array_equal(latents(model, "async:3:2:5"), latents(model, entry(components=3, stride=2, warm_up=5)))


def test_longer_warm_ups_are_closer(model):
    plain = latents(model)
    errors = [np.abs(latents(model, f"async:2:1:{warm_up}") - plain).mean() for warm_up in (1, 6, 12)]
    assert errors == sorted(errors, reverse=True) and errors[-1] > 0


def test_stride_two_saves_operations(model):
    def flops(plan):
        with model.session(plan) as session:
            return session.sample(prompt="red apple", steps=16, decode=False).stats["totals"]["flops"]

    assert flops("async:2:2") < 0.85 * flops(None)
    assert flops(entry(components=2, stride=2, variant="released")) < 0.6 * flops(None)


def test_previews_tell_the_components(model):
    preview = diffaccel.Plan.load("async:3").describe(model)
    shares = [component["share"] for component in preview["components"]]
    assert len(shares) == 3 and sum(shares) == pytest.approx(1) and max(shares) < 0.5
    modules = [name for component in preview["components"] for name in component["modules"]]
    assert modules[0] == "conv_in" and modules[-1] == "conv_out" and len(set(modules)) == len(modules)
    assert preview["components"][1]["receives"][0]["from"] == 0
    listed = entry(components=3, split=[component["modules"] for component in preview["components"]])
    assert np.array_equal(latents(model, listed), latents(model, entry(components=3, split="balanced")))
    assert "components" not in diffaccel.Plan.load("alternate").describe(model)


def test_what_cannot_be_is_refused_by_name(model):
    for settings, word in (({"components": 5}, "components"), ({"split": "official"}, "balanced"), ({"strides": 2}, "did you mean"),
                           ({"split": [["conv_in"], ["conv_out"]]}, "in no component"), ({"executor": "gpu"}, "executor")):
        with pytest.raises(diffaccel.DiffAccelError, match=word):
            model.session(entry(**settings))
    with pytest.raises(diffaccel.DiffAccelError, match="do not stack"):
        model.session(diffaccel.Plan(**{"async": {"components": 2}, "deepcache": {"interval": 2}}))


SCRIPT = """
import diffaccel, sys
try:
    with diffaccel.Model(sys.argv[1]) as model, model.session(diffaccel.Plan(**{"async": {"components": 2, "executor": "mpi"}})) as session:
        session.sample(prompt="red apple", steps=16)
except diffaccel.UnsupportedError as error:
    print(error)
"""


def test_without_the_plug_in_the_remedy_is_named():
    found = subprocess.run([sys.executable, "-c", SCRIPT, str(EMOJI)], capture_output=True, text=True, timeout=120,
                           env={**os.environ, "PYTHONPATH": str(PACKAGE), "DIFFACCEL_MPI_PLUGIN": "/nonexistent/libdiffaccel_mpi.so"})
    assert found.returncode == 0, found.stderr
    assert "libdiffaccel_mpi.so" in found.stdout and "make mpi" in found.stdout
