"""Sampling: what comes out, and that equal requests give equal bits."""

import numpy as np
import pytest

import diffaccel

FAST = dict(labels=[1, 2], steps=6, seed=3)


def test_result(session):
    result = session.sample(**FAST)
    assert result.latents.shape == (2, 4, 8, 8) and result.latents.dtype == np.float32
    assert np.isfinite(result.latents).all()
    assert result.names == ["latents"], "a latent model without a decoder has no images"
    with pytest.raises(diffaccel.InvalidArgumentError, match="images.*latents"):
        result.images
    stats = result.stats
    assert stats["sampler"] == "ddim" and len(stats["steps"]) == 6 and stats["totals"]["computed"] == 36
    assert [step["timestep"] for step in stats["steps"]] == [999, 799, 599, 400, 200, 0]
    assert "2 samples" in repr(result)
    with pytest.raises(diffaccel.InvalidArgumentError, match="latents"):
        result.tensor("nonsense")


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize("options", [
    {}, dict(guidance=4.0), dict(guidance=1.0), dict(guidance=3.0, guidance_channels="all"), dict(spacing="leading"),
    dict(spacing="leading", steps_offset=1), dict(spacing="strided", steps=20), dict(spacing="3,2,1", steps=6),
    dict(spacing="3,2,1", steps=None), dict(steps=1), dict(seed=2**63 - 1),
])
def test_repeats_bit_for_bit(tiny, sampler, options):
    request = {**FAST, "sampler": sampler, **options}
    with tiny.session(threads=2) as first, tiny.session(threads=2) as second:
        one = first.sample(**request).latents
        assert np.isfinite(one).all()
        assert np.array_equal(one, first.sample(**request).latents)
        assert np.array_equal(one, second.sample(**request).latents)


def test_eta(session):
    assert not np.array_equal(session.sample(eta=0.5, **FAST).latents, session.sample(**FAST).latents)


def test_seeds_differ(session):
    assert not np.array_equal(session.sample(labels=1, steps=2, seed=0).latents, session.sample(labels=1, steps=2, seed=1).latents)


def test_batch_equals_singles(session):
    noise = diffaccel.randn((3, 4, 8, 8), seed=5)
    whole = session.sample(labels=[4, 5, 6], steps=6, noise=noise, guidance=2.0).latents
    for index, label in enumerate([4, 5, 6]):
        single = session.sample(labels=[label], steps=6, noise=noise[index : index + 1], guidance=2.0).latents
        np.testing.assert_array_equal(single[0], whole[index])


@pytest.mark.parametrize("settings", [None, {"policy": "none"}, {"logits": np.full((6, 6), 9.0), "threshold": 0.1},
                                      {"policy": "interval", "interval": 1}])
def test_neutral_plan_equals_no_plan(tiny, settings):
    plan = diffaccel.Plan() if settings is None else diffaccel.Plan(l2c=settings)
    with tiny.session() as plain, tiny.session(plan=plan) as planned:
        assert np.array_equal(plain.sample(**FAST).latents, planned.sample(**FAST).latents)


def test_plan_reuses(tiny):
    with tiny.session(plan=diffaccel.Plan(l2c={"policy": "alternate"})) as session:
        result = session.sample(**FAST)
    assert result.stats["totals"]["reused"] == 18
    with tiny.session() as session:
        assert not np.array_equal(result.latents, session.sample(**FAST).latents)


def test_noise_given_equals_noise_drawn(session):
    drawn = session.sample(**FAST).latents
    given = session.sample(**{**FAST, "seed": 99}, noise=diffaccel.randn((2, 4, 8, 8), seed=3)).latents
    np.testing.assert_array_equal(drawn, given)


def test_step_noise(session):
    noise = dict(noise=diffaccel.randn((2, 4, 8, 8), seed=1), step_noise=diffaccel.randn((6, 2, 4, 8, 8), seed=2))
    one = session.sample(sampler="ddpm", **{**FAST, "seed": 1}, **noise).latents
    assert np.array_equal(one, session.sample(sampler="ddpm", **{**FAST, "seed": 2}, **noise).latents)


def test_labels_by_name(session):
    by_index = session.sample(labels=[3, 7], steps=2).latents
    assert np.array_equal(by_index, session.sample(labels=["class 3", 7], steps=2).latents)
    assert np.array_equal(session.sample(labels=3, steps=2).latents, session.sample(labels="class 3", steps=2).latents)
    with pytest.raises(diffaccel.InvalidArgumentError, match="class 77"):
        session.sample(labels="class 77")


def test_estimate(tiny, session):
    estimate = session.estimate(**FAST)
    assert estimate["bytes"]["peak"] > 0 and estimate["sites"]["computed"] == 36
    stats = session.sample(**FAST).stats
    assert stats["memory"]["peak"] <= estimate["bytes"]["peak"] * 1.1
    with tiny.session(memory_limit=estimate["bytes"]["peak"] // 4) as small:
        with pytest.raises(diffaccel.OverBudgetError):
            small.sample(**FAST)
    with tiny.session(memory_limit=estimate["bytes"]["peak"] * 11 // 10, threads=2) as enough:
        assert np.array_equal(enough.sample(**FAST).latents, session.sample(**FAST).latents)


@pytest.mark.parametrize("change, error", [
    (dict(steps=0), diffaccel.DiffAccelError), (dict(steps=-1), diffaccel.DiffAccelError),
    (dict(steps=1001), diffaccel.DiffAccelError), (dict(steps=2**31), diffaccel.InvalidArgumentError),
    (dict(steps=2**63), OverflowError), (dict(steps=1.5), TypeError),
    (dict(steps=True), TypeError), (dict(labels=[]), diffaccel.InvalidArgumentError),
    (dict(labels=[10.5]), TypeError), (dict(labels=[[1, 2]]), TypeError),
    (dict(labels=[99]), diffaccel.DiffAccelError), (dict(labels=[-1]), diffaccel.DiffAccelError),
    (dict(labels=np.zeros(4097, int)), diffaccel.InvalidArgumentError),
    (dict(labels=None), (TypeError, diffaccel.DiffAccelError)),
    (dict(sampler="eular"), diffaccel.DiffAccelError), (dict(sampler=None, spacing="x"), diffaccel.DiffAccelError),
    (dict(sampler=3), TypeError), (dict(spacing="1,2,nine"), diffaccel.DiffAccelError),
    (dict(spacing="10,20"), diffaccel.DiffAccelError), (dict(spacing="9" * 4000), diffaccel.DiffAccelError),
    (dict(eta=-0.1), diffaccel.DiffAccelError), (dict(eta=1.1), diffaccel.DiffAccelError),
    (dict(eta=float("nan")), diffaccel.DiffAccelError), (dict(eta="x"), ValueError),
    (dict(guidance=float("inf")), diffaccel.DiffAccelError), (dict(guidance_channels=5), diffaccel.DiffAccelError),
    (dict(guidance_channels=-2), diffaccel.DiffAccelError), (dict(tile=-2), diffaccel.DiffAccelError),
    (dict(decode=2), TypeError), (dict(seed=-1), diffaccel.InvalidArgumentError), (dict(seed=2**63), OverflowError),
    (dict(seed=1.0), TypeError), (dict(noise=np.zeros((2, 4, 8))), diffaccel.ShapeError),
    (dict(noise=np.zeros((2, 8, 8, 4))), diffaccel.ShapeError), (dict(noise=np.zeros((2, 4, 8, 8), complex)), TypeError),
    (dict(step_noise=np.zeros((5, 2, 4, 8, 8)), sampler="ddpm"), diffaccel.ShapeError),
    (dict(step_noise=np.zeros(3)), diffaccel.ShapeError), (dict(steps_offset=-5, spacing="leading"), diffaccel.DiffAccelError),
    (dict(noise=np.full((2, 4, 8, 8), np.nan)), diffaccel.NotFiniteError),
])
def test_refused_requests(session, change, error):
    with pytest.raises(error):
        session.sample(**{**FAST, **change})
    assert session.sample(**FAST).latents.shape == (2, 4, 8, 8)


def test_bundled_model(fashion):
    with fashion.session() as session:
        result = session.sample(labels=["Sneaker", "Bag"], steps=10)
    assert result.images.shape == (2, 28, 28, 1) and result.images.dtype == np.uint8
    assert result.pixels.shape == (2, 1, 28, 28)
    np.testing.assert_array_equal(result.pixels, result.latents)
    wanted = np.clip(result.pixels[:, 0] * 127.5 + 128, 0, 255).astype(int)
    assert np.abs(wanted - result.images[..., 0].astype(int)).max() <= 1
    assert result.images.std() > 20, "a trained model draws something"


def test_bundled_model_with_plan(fashion):
    plan = diffaccel.Plan(l2c={"policy": "interval", "interval": 2})
    with fashion.session() as plain, fashion.session(plan=plan) as planned:
        a, b = (s.sample(labels=range(10), steps=20).pixels for s in (plain, planned))
    assert not np.array_equal(a, b) and np.abs(a - b).mean() < 0.2
