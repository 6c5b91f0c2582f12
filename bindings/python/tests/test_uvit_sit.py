"""U-ViT and SiT as folders: samplers, guidance, plans, the command line."""

import json

import numpy as np
import pytest
from conftest import dit_tensors
from small_denoisers import SIT, UVIT, uvit_tensors, write_model, write_sit, write_uvit
from test_command_line import PROGRAM, call
from torch_files import save

import diffaccel
from diffaccel import convert

#: Network calls of 6 steps; dopri5 decides for itself.
FLOWS = {"euler": 6, "midpoint": 12, "heun2": 12, "heun3": 18, "rk4": 24, "sde_euler": 6, "sde_heun": 11, "dopri5": None}
REQUEST = dict(labels=[1, 2], seed=3)


without_program = pytest.mark.skipif(not PROGRAM.is_file(), reason="the command line is not built")


@pytest.fixture(scope="module")
def uvit(tmp_path_factory):
    return diffaccel.Model(write_uvit(tmp_path_factory.mktemp("uvit") / "model", extra={"labels": [f"class {i}" for i in range(10)]}))


@pytest.fixture(scope="module")
def sit(tmp_path_factory):
    return diffaccel.Model(write_sit(tmp_path_factory.mktemp("sit") / "model", path="Linear", prediction="velocity"))


def ran(result):
    return len(result.stats["steps"])


# ---- U-ViT ----


def test_uvit(uvit):
    facts = uvit.description
    assert facts["family"] == "uvit" and facts["input"] == [4, 8, 8] and facts["unknown_keys"] == []
    assert facts["sampler"] == "dpmpp_2s" and facts["samplers"] == ["dpmpp_2s"]
    with uvit.session(threads=2) as session:
        result = session.sample(steps=4, **REQUEST)
        assert ran(result) == 8 and result.stats["sampler"] == "dpmpp_2s", "two calls a step"
        assert result.latents.shape == (2, 4, 8, 8) and np.isfinite(result.latents).all()
        one = session.sample(steps=4, labels=["class 1", "CLASS 2"], seed=3, sampler="dpmpp_2s")
        assert np.array_equal(one.latents, result.latents)
        single = session.sample(steps=4, labels=[1], noise=diffaccel.random.randn((2, 4, 8, 8), 3)[:1])
        assert np.array_equal(single.latents[0], result.latents[0]), "a batch is its samples"
        for name in ("euler", "ddim", "dopri5"):
            with pytest.raises(diffaccel.InvalidArgumentError, match='expected one of "dpmpp_2s"'):
                session.sample(steps=4, sampler=name, **REQUEST)
        for wrong in (dict(eta=0.5), dict(spacing="leading")):
            with pytest.raises(diffaccel.InvalidArgumentError, match=f'no option "{next(iter(wrong))}"'):
                session.sample(steps=4, **REQUEST, **wrong)


def test_guidance_of_uvit(tmp_path, uvit):
    """The config's `cfg_scale` is the official s, the request's guidance 1 + s: c + s (c - u)."""
    assert uvit.description["guidance"] == pytest.approx(1.4)
    other = diffaccel.Model(write_uvit(tmp_path / "other", extra={"cfg_scale": 2}))
    assert other.description["guidance"] == pytest.approx(3)
    own, asked = uvit.session(), other.session()
    assert np.array_equal(own.sample(steps=2, **REQUEST).latents, asked.sample(steps=2, guidance=1.4, **REQUEST).latents)
    assert np.array_equal(own.sample(steps=2, guidance=3, **REQUEST).latents, asked.sample(steps=2, **REQUEST).latents)
    assert not np.array_equal(own.sample(steps=2, guidance=1, **REQUEST).latents, own.sample(steps=2, **REQUEST).latents)


def test_plans_of_uvit(uvit):
    plain = uvit.session().sample(steps=4, **REQUEST)
    result = uvit.session(plan="alternate").sample(steps=4, **REQUEST)
    totals = result.stats["totals"]
    # The first call of each step but the first takes what the last call of the step before made in 5 blocks of two sub-layers.
    assert totals["computed"] == 5 * 10 and totals["reused"] == 3 * 10
    assert np.isfinite(result.latents).all() and not np.array_equal(result.latents, plain.latents)
    assert np.array_equal(uvit.session(plan="none").sample(steps=4, **REQUEST).latents, plain.latents)
    # Skips join first and last, second and last but one: both stay, or neither.
    pruned = uvit.session(plan={"methods": [{"method": "depth", "keep": [0, 2, 4]}]})
    assert pruned.sample(steps=4, **REQUEST).stats["totals"]["skipped"] > 0
    with pytest.raises(diffaccel.IncompatibleError, match="skip connection"):
        uvit.session(plan="depth:1,2,4")


@pytest.mark.parametrize("settings", [dict(guidance=1.6), dict(guidance=1, recompute=True)])
def test_router_of_uvit_on_its_own_trajectory(uvit, settings):
    """Without data; a high penalty leaves nothing to compute where something may be reused."""
    options = dict(trajectory="own", sampling_steps=3, steps=40, batch=2, learning_rate=0.3, **settings)
    trainer = diffaccel.learn.router(uvit._path, l1=1e4, **options)
    assert trainer.describe()["removed"] == 1
    result = uvit.session(plan=trainer.plan()).sample(steps=3, **REQUEST)
    assert [step["reused"] for step in result.stats["steps"]] == [0, 0, 10, 0, 10, 0]
    free = diffaccel.learn.router(uvit._path, l1=0, threshold=0, **options)
    plain = uvit.session().sample(steps=3, **REQUEST)
    assert np.array_equal(uvit.session(plan=free.plan()).sample(steps=3, **REQUEST).latents, plain.latents)


@pytest.mark.parametrize("changes", [
    dict(num_classes=-1), dict(qkv_bias=True), dict(mlp_time_embed=True), dict(conv=True), dict(in_chans=3, patch_size=4),
], ids=lambda changes: next(iter(changes)))
def test_layouts_of_uvit(tmp_path, changes):
    """What the published configurations differ in."""
    model = diffaccel.Model(write_uvit(tmp_path / "model", **changes))
    request = dict(labels=[0, 0], seed=1) if "num_classes" in changes else REQUEST
    latents = model.session().sample(steps=2, **request).latents
    assert latents.shape == (2, changes.get("in_chans", 4), 8, 8) and np.isfinite(latents).all()


def test_configs_of_uvit(tmp_path):
    """The network's keys alone or under `model`; a wrong one is named."""
    tensors = uvit_tensors(UVIT)
    write_model(tmp_path / "nested", tensors, {"family": "uvit", "model": {**UVIT, "null_class": 10}, "cfg_scale": 0.7})
    assert diffaccel.Model(tmp_path / "nested").description["guidance"] == pytest.approx(1.7)
    write_model(tmp_path / "odd", tensors, {**UVIT, "depth": 5})
    with pytest.raises(diffaccel.FormatError, match="depth of 5"):
        diffaccel.Model(tmp_path / "odd")
    write_model(tmp_path / "scaled", tensors, {**UVIT, "qk_scale": 0.5})
    with pytest.raises(diffaccel.DiffAccelError, match="qk_scale"):
        diffaccel.Model(tmp_path / "scaled")


# ---- SiT ----


def test_sit(sit):
    facts = sit.description
    assert facts["family"] == "sit" and facts["sampler"] == "dopri5" and facts["unknown_keys"] == []
    assert sorted(facts["samplers"]) == sorted(FLOWS) and facts["guidance"] == 4 and facts["guidance_channels"] == 3


@pytest.mark.parametrize("name", FLOWS)
def test_samplers_of_sit(sit, name):
    with sit.session(threads=2) as session:
        result = session.sample(sampler=name, steps=6 if FLOWS[name] else 100, **REQUEST)
        assert result.stats["sampler"] == name and np.isfinite(result.latents).all()
        assert ran(result) == (FLOWS[name] or ran(result)) and ran(result) >= 6
        again = session.sample(sampler=name, steps=6 if FLOWS[name] else 100, **REQUEST)
        assert np.array_equal(again.latents, result.latents)
        calls = session.estimate(sampler=name, steps=6 if FLOWS[name] else 100, **REQUEST)["calls"]
        assert calls["exact"] == (name != "dopri5") and ran(result) <= calls["total"]
        assert ran(result) == calls["total"] or not calls["exact"]
        if name == "dopri5":
            assert np.array_equal(session.sample(steps=100, **REQUEST).latents, result.latents), "the model's own"


def test_solvers_of_sit_agree(sit):
    """All solve one equation, so fine steps of one come to what another finds."""
    def latents(**options):
        return sit.session().sample(guidance=1, **REQUEST, **options).latents

    exact = latents(steps=200)
    for name, steps in (("euler", 400), ("rk4", 20)):
        assert np.abs(latents(sampler=name, steps=steps) - exact).max() < 0.02 * np.abs(exact).max(), name


def test_requests_of_sit(sit):
    session = sit.session()
    with pytest.raises(diffaccel.InvalidArgumentError, match='expected one of "dopri5"'):
        session.sample(sampler="ddim", **REQUEST)
    with pytest.raises(diffaccel.InvalidArgumentError, match="2 steps or more"):
        session.sample(sampler="sde_euler", steps=1, **REQUEST)
    noise = np.zeros((5, 2, 4, 8, 8), np.float32)
    assert np.isfinite(session.sample(sampler="sde_euler", steps=6, step_noise=noise, **REQUEST).latents).all()
    all_channels = session.sample(sampler="euler", steps=3, guidance_channels="all", **REQUEST).latents
    assert not np.array_equal(all_channels, session.sample(sampler="euler", steps=3, **REQUEST).latents)


def test_plans_of_sit(sit):
    plain = sit.session().sample(sampler="euler", steps=4, **REQUEST)
    cached = sit.session(plan="alternate").sample(sampler="euler", steps=4, **REQUEST)
    totals = cached.stats["totals"]
    assert totals["computed"] == totals["reused"] == 4 * 4 and not np.array_equal(cached.latents, plain.latents)
    with pytest.raises(diffaccel.UnsupportedError, match="such as euler"):
        sit.session(plan="alternate").sample(steps=100, **REQUEST)
    grid = diffaccel.Plan.load("alternate").grid(sit, 4)
    assert grid.shape == (4, 8) and grid[::2].all() and not grid[1::2].any(), "shown with a sampler that takes it"
    with pytest.raises(diffaccel.DiffAccelError, match="allow more steps"):
        sit.session().sample(steps=2, **REQUEST)
    lists = diffaccel.Plan(depth={"keep": {"blocks": [0, 2]}})
    assert lists.describe()["methods"][0]["keep"] == {"blocks": [0, 2]}
    one = sit.session(plan=lists).sample(sampler="euler", steps=4, **REQUEST)
    assert np.array_equal(one.latents, sit.session(plan="depth:0,2").sample(sampler="euler", steps=4, **REQUEST).latents)
    with pytest.raises(diffaccel.IncompatibleError, match="blocks"):
        sit.session(plan=diffaccel.Plan(depth={"keep": {"layers": [0]}}))


@pytest.mark.parametrize("path", ["Linear", "GVP", "VP"])
@pytest.mark.parametrize("prediction", ["velocity", "score", "noise"])
def test_flows(tmp_path, path, prediction):
    model = diffaccel.Model(write_sit(tmp_path / "model", path=path, prediction=prediction))
    assert np.isfinite(model.session().sample(sampler="heun2", steps=3, **REQUEST).latents).all()


# ---- files of weights alone, as both are published ----


@pytest.mark.parametrize("changes", [{}, dict(num_classes=-1, conv=True), dict(qkv_bias=True, mlp_time_embed=True)])
def test_convert_uvit(tmp_path, changes):
    published, said = diffaccel.Model(write_uvit(tmp_path / "published", **changes)), []
    conditional = "num_classes" not in changes
    options = dict(null_class=True) if conditional else {}
    save(tmp_path / "nnet.pth", uvit_tensors({**UVIT, **changes}))
    assert convert.convert(tmp_path / "nnet.pth", tmp_path / "made", heads=4, say=said.append, **options) == "uvit" and not said
    with diffaccel.Model(tmp_path / "made") as made:
        assert made.description["unknown_keys"] == []
        request = dict(labels=[1 if conditional else 0], steps=2)
        assert np.array_equal(made.session().sample(**request).latents, published.session().sample(**request).latents)


def test_convert_asks_what_it_assumes(tmp_path, sit):
    said = []
    save(tmp_path / "nnet.pth", uvit_tensors({**UVIT, "in_chans": 3}))
    assert convert.convert(tmp_path / "nnet.pth", tmp_path / "pixels", heads=4, say=said.append) == "uvit"
    assert any("none of the 11 rows" in text for text in said) and any("pixels" in text for text in said)
    result = diffaccel.Model(tmp_path / "pixels").session().sample(labels=[1], steps=2)
    assert result.images.shape == (1, 8, 8, 3)
    with pytest.raises(convert.ConversionError, match="--heads"):
        convert.convert(tmp_path / "nnet.pth", tmp_path / "out")
    with pytest.raises(convert.ConversionError, match="--family"):
        convert.convert(tmp_path / "nnet.pth", tmp_path / "out", heads=4, family="sit")
    save(tmp_path / "sit.pt", {"ema": dit_tensors({**SIT, "frequency_embedding_size": 256})})
    assert convert.main([str(tmp_path / "sit.pt"), "--out", str(tmp_path / "sit"), "--family", "sit", "--heads", "4"]) == 0
    request = dict(steps=4, sampler="euler", **REQUEST)
    assert np.array_equal(
        diffaccel.Model(tmp_path / "sit").session().sample(**request).latents, sit.session().sample(**request).latents)
    said.clear()
    assert convert.convert(tmp_path / "sit.pt", tmp_path / "dit", heads=4, say=said.append) == "dit"
    assert any("--family sit" in text for text in said)


# ---- the command line ----


@without_program
@pytest.mark.parametrize("family, options", [
    ("uvit", ["--plan", "alternate"]), ("uvit", ["--sampler", "dpmpp_2s"]), ("uvit", ["--plan", "depth:0,2,4"]),
    ("sit", []), ("sit", ["--sampler", "heun2"]), ("sit", ["--sampler", "euler", "--plan", "alternate"]),
    ("sit", ["--sampler", "sde_heun"]), ("sit", ["--sampler", "rk4", "--plan", "depth:0,2"]),
])
def test_command_line(request, tmp_path, family, options):
    model = request.getfixturevalue(family)
    steps = 100 if family == "sit" and not options else 4
    file = tmp_path / "latents.safetensors"
    done = call("sample", model._path, "--labels", "1,2", "--steps", steps, "--seed", 3, *options, "--latents", file, "--json")
    words = dict(zip(options[::2], options[1::2]))
    with model.session(plan=words.get("--plan")) as session:
        expected = session.sample(steps=steps, sampler=words.get("--sampler"), **REQUEST)
    assert expected.stats["sampler"] in done.stdout
    latents = np.frombuffer(file.read_bytes()[-expected.latents.nbytes:], np.float32)
    assert np.array_equal(latents, expected.latents.ravel()), "the same in Python"


@without_program
def test_all_classes(uvit, tmp_path):
    """The row that stands for no class is none of them."""
    file = tmp_path / "latents.safetensors"
    call("sample", uvit._path, "--labels", "all", "--steps", 1, "--latents", file)
    latents = uvit.session().sample(labels=range(10), steps=1).latents
    assert np.array_equal(np.frombuffer(file.read_bytes()[-latents.nbytes:], np.float32), latents.ravel())
    assert file.stat().st_size < latents.nbytes * 1.1, "ten samples, not eleven"


@without_program
def test_information(uvit, sit):
    for model in (uvit, sit):
        assert json.loads(call("info", model._path, "--json").stdout)["samplers"] == model.description["samplers"]
