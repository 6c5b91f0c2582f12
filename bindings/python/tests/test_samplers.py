"""Samplers by name: each runs, is told apart, and takes the noise it says it draws."""

import numpy as np
import pytest

import diffaccel

#: Those of discrete schedules; the library's list has those of U-ViT and of flows behind them.
NAMES = diffaccel.describe()["samplers"][:19]
CALLS = {"pndm": 6 + 9, "heun": 11, "heun_karras": 11, "dpmpp_sde": 11, "dpmpp_sde_karras": 11}


def test_all_are_there(tiny):
    every = diffaccel.describe()["samplers"]
    assert NAMES == tiny.description["samplers"] and NAMES[:2] == ["ddim", "ddpm"] and len(every) == len(set(every)) == 27


@pytest.mark.parametrize("name", NAMES)
def test_a_sampler_by_its_name(session, name):
    fast = dict(labels=[1, 2], steps=6, seed=3, sampler=name, spacing=None)
    events = []
    result = session.sample(callback=lambda event: events.append((event.step, event.steps)), **fast)
    calls = CALLS.get(name, 6)
    assert np.isfinite(result.latents).all()
    assert result.stats["sampler"] == name and len(result.stats["steps"]) == calls
    assert events == [(call + 1, calls) for call in range(calls)]
    assert np.array_equal(session.sample(**fast).latents, result.latents)
    if name != "ddim":
        assert not np.array_equal(session.sample(**{**fast, "sampler": "ddim"}).latents, result.latents)


def test_noise_of_steps(session):
    """As many draws as the sampler makes: the error says how many."""
    for name, draws in [("ddim", 6), ("euler_a", 6), ("lcm", 5), ("dpmpp_sde", 10), ("dpmpp_2m_sde", 6), ("euler", 0)]:
        fast = dict(labels=[1], steps=6, seed=3, sampler=name, spacing=None)
        if draws:
            noise = np.zeros((draws, 1, 4, 8, 8), np.float32)
            assert np.isfinite(session.sample(step_noise=noise, **fast).latents).all()
        with pytest.raises(diffaccel.DiffAccelError, match=rf"step_noise.*\b{draws}\b"):
            session.sample(step_noise=np.zeros((draws + 1, 1, 4, 8, 8), np.float32), **fast)


def test_unknown_names_list_the_known(session):
    with pytest.raises(diffaccel.InvalidArgumentError, match="dpmpp_2m_karras"):
        session.sample(labels=[1], sampler="dpm_fast", spacing=None)
