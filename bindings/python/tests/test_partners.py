"""What is opened beside a model is opened like it: a plan's refiner, files beside a plan, a trainer's teacher and VQ-VAE."""

import json
import subprocess

import numpy as np
import pytest
from conftest import ROOT
from test_next_scale import CODES, SIDES, TOKENS, var_tensors, write_safetensors, write_var
from test_published_files import cached

import diffaccel

ASKED = dict(labels=[0, 3], seed=2)
CODE = {"method": "code", "draft_scales": 1}
PROGRAM = ROOT / ".build" / "release" / "diffaccel-cli"


@pytest.fixture
def pair(tmp_path):
    """A drafter with a plan and its refiner beside it, and the tokens that they give."""
    folder = write_var(tmp_path / "pair")
    write_var(folder / "refiner", codes=False, seed=8)
    (folder / "plan.json").write_text(json.dumps({**CODE, "refiner": "refiner"}))
    with diffaccel.Model(folder) as model:
        expected = model.session(plan=diffaccel.Plan.load(folder / "plan.json")).sample(**ASKED).tokens
        assert not np.array_equal(expected, model.session().sample(**ASKED).tokens)
    return folder, expected


def test_refiner_in_a_download_cache(pair, tmp_path):
    folder, expected = pair
    snapshot = cached(folder, tmp_path / "cache")
    plan = diffaccel.Plan.load(snapshot / "plan.json")
    with diffaccel.Model(snapshot, follow_links=True) as model:
        np.testing.assert_array_equal(model.session(plan=plan).sample(**ASKED).tokens, expected)
    write_safetensors(tmp_path / "a.safetensors", var_tensors())
    with diffaccel.Model(tmp_path / "a.safetensors", config={"family": "var", "patch_nums": SIDES}, decoder=snapshot / "vae",
                         follow_links=True) as alone:
        alone.session(plan=plan)
    with pytest.raises(diffaccel.FileError, match="follow_links"):
        diffaccel.Model(tmp_path / "a.safetensors", config={"family": "var", "patch_nums": SIDES}, decoder=snapshot / "vae")


def test_weights_of_the_refiner(pair):
    folder, _ = pair
    plan = diffaccel.Plan.load(folder / "plan.json")
    with diffaccel.Model(folder, weights="int8") as model:
        small = model.session(plan=plan).estimate(**ASKED)["bytes"]["weights"] - model.description["bytes"]
    with diffaccel.Model(folder) as model:
        assert 0 < small < model.session(plan=plan).estimate(**ASKED)["bytes"]["weights"] - model.description["bytes"]


def test_router_beside_a_plan_in_a_download_cache(tmp_path, tiny):
    folder = tmp_path / "plans"
    folder.mkdir()
    logits = np.linspace(-2, 2, 36).reshape(6, 6).tolist()
    (folder / "router.json").write_text(json.dumps({"logits": logits}))
    (folder / "plan.json").write_text(json.dumps({"method": "l2c", "router": "router.json", "threshold": 0.3}))
    expected = diffaccel.Plan.load(folder / "plan.json").grid(tiny, 6)
    snapshot = cached(folder, tmp_path / "cache")
    np.testing.assert_array_equal(diffaccel.Plan.load(snapshot / "plan.json").grid(tiny, 6), expected)
    # A link that leads elsewhere than the plan is not followed.
    (tmp_path / "other.json").write_text(json.dumps({"logits": logits}))
    (snapshot / "router.json").unlink()
    (snapshot / "router.json").symlink_to(tmp_path / "other.json")
    with pytest.raises(diffaccel.FileError, match="cp -rL"):
        diffaccel.Plan.load(snapshot / "plan.json")


def test_teacher_and_vqvae_in_download_caches(pair, tmp_path):
    folder, _ = pair
    student = write_var(tmp_path / "student", codes=False)
    snapshot = cached(folder, tmp_path / "cache")
    rng = np.random.default_rng(0)
    data = (rng.integers(0, CODES, (4, TOKENS)), rng.integers(0, 3, 4))
    settings = dict(role="refiner", draft_scales=1, steps=1, batch=2)
    for beside in (dict(teacher=snapshot), dict(teacher=snapshot, vae=snapshot / "vae")):
        with pytest.raises(diffaccel.FileError, match="follow_links"):
            diffaccel.learn.specialise(student, data, **settings, **beside)
        diffaccel.learn.specialise(student, data, **settings, **beside, follow_links=True)


@pytest.mark.skipif(not PROGRAM.is_file(), reason="the command line is not built")
def test_command_line(pair, tmp_path):
    folder, _ = pair
    snapshot = cached(folder, tmp_path / "cache")
    (tmp_path / "code.json").write_text(json.dumps(CODE))

    def sample(*arguments):
        done = subprocess.run([PROGRAM, "sample", snapshot, "--labels", "0,3", "--quiet", *map(str, arguments)], capture_output=True, text=True,
                              cwd=tmp_path)
        return done.returncode, done.stderr

    plan = ("--plan", tmp_path / "code.json", "--out", tmp_path / "a.png")
    assert sample("--follow-links", *plan)[0] != 0  # names no refiner
    code, told = sample("--follow-links", "--partner", snapshot / "refiner", *plan)
    assert code == 0, told
    assert sample("--follow-links", "--plan", snapshot / "plan.json", "--out", tmp_path / "b.png")[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    code, told = sample("--partner", snapshot / "refiner", *plan)
    assert code != 0 and "--follow-links" in told
    code, told = sample("--follow-links", "--partner", snapshot / "refiner", "--out", tmp_path / "c.png")
    assert code != 0 and "partner" in told
    write_safetensors(tmp_path / "a.safetensors", var_tensors())
    (tmp_path / "a.json").write_text(json.dumps({"family": "var", "patch_nums": SIDES}))
    for extra, wanted in (((), False), (("--config", tmp_path / "a.json"), True)):
        done = subprocess.run([PROGRAM, "info", tmp_path / "a.safetensors", *extra], capture_output=True, text=True)
        assert (done.returncode == 0) == wanted and (wanted or "--config" in done.stderr)
