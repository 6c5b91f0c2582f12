"""`diffaccel learn` and `diffaccel plan sweep` as a person or a script calls them."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from learning_cases import patterns, write_data

import diffaccel

PROGRAM = Path(os.environ.get("DIFFACCEL_CLI", ROOT / ".build" / "release" / "diffaccel-cli"))
pytestmark = pytest.mark.skipif(not PROGRAM.is_file(), reason="the command line is not built")


def call(*arguments, code=0, **options):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    states, labels = patterns()
    write_data(folder / "train.safetensors", states, labels)
    np.save(folder / "states.npy", states)
    np.save(folder / "labels.npy", labels)
    return folder


@pytest.fixture
def router(tiny_path, data):
    """Arguments that learn a router quickly; outputs are missing."""
    return ["learn", "router", tiny_path, "--data", data / "train.safetensors", "--sampling-steps", 4, "--batch", 4, "--threads", 2]


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_router(router, tiny_path, data, tmp_path):
    done = call(*router, "--steps", 4, "--log", tmp_path / "log", "--log-every", 2, "--evaluate", 1, "--out", tmp_path / "router.json",
                "--l1", 0.01, "--threshold", 0.4, "--seed", 5, "--set", "clamp=2", "--set", "label_dropout=0")
    assert "removed" in done.stdout and "error" in done.stdout and str(tmp_path / "router.json") in done.stdout
    assert done.stderr == "", "no bar where nobody watches"
    assert [event["step"] for event in lines_of((tmp_path / "log").read_text())] == [2, 4]
    trainer = diffaccel.learn.router(tiny_path, data / "train.safetensors", sampling_steps=4, batch=4, steps=4, l1=0.01,
                                     threshold=0.4, seed=5, clamp=2, label_dropout=0)
    assert diffaccel.Plan.load(tmp_path / "router.json").describe() == trainer.plan().describe(), "Python learns the same"


def test_json_lines(router, tmp_path):
    done = call(*router, "--steps", 5, "--json", "--log-every", 2, "--out", tmp_path / "router.json")
    *events, outcome = lines_of(done.stdout)
    assert [event["step"] for event in events] == [2, 4, 5] and done.stderr == ""
    assert outcome["method"] == "router" and outcome["written"] == [str(tmp_path / "router.json")] and "removed" in outcome


def test_npy_files(router, data, tmp_path):
    numpy = [item for item in router if item not in ("--data", data / "train.safetensors")]
    for name, arguments in (("a", router), ("b", [*numpy, "--latents", data / "states.npy", "--labels", data / "labels.npy"])):
        call(*arguments, "--steps", 2, "--out", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_own_trajectory_needs_no_data(tiny_path, tmp_path):
    call("learn", "router", tiny_path, "--trajectory", "own", "--guidance", 2, "--steps", 2, "--batch", 2, "--sampling-steps", 4,
         "--cache-limit", "4K", "--out", tmp_path / "router.json")
    assert (tmp_path / "router.json").is_file()


def test_resume(router, tmp_path):
    call(*router, "--steps", 6, "--state", tmp_path / "whole", "--out", tmp_path / "whole.json")
    call(*router, "--steps", 3, "--state", tmp_path / "part", "--out", tmp_path / "part.json")
    refused = call(*router, "--steps", 6, "--state", tmp_path / "part", "--out", tmp_path / "part.json", code=1)
    assert "resume" in refused.stderr
    call(*router, "--steps", 6, "--state", tmp_path / "part", "--resume", "--out", tmp_path / "part.json")
    assert (tmp_path / "part").read_bytes() == (tmp_path / "whole").read_bytes()
    assert (tmp_path / "part.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    changed = call(*router, "--steps", 6, "--l1", 1, "--state", tmp_path / "part", "--resume", "--out", tmp_path / "x", code=1)
    assert "l1" in changed.stderr


@pytest.mark.parametrize("named", [True, False])
def test_control_c(router, tmp_path, named):
    state = tmp_path / ("state" if named else "router.state.safetensors")
    arguments = [*router, "--steps", 1_000_000, "--log", tmp_path / "log", "--log-every", 1, "--out", tmp_path / "router.json"]
    process = subprocess.Popen([PROGRAM, *map(str, arguments), *(["--state", str(state)] if named else [])],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "log").is_file() or len((tmp_path / "log").read_text().splitlines()) < 3:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and output == ""
    step = int(re.search(r"stopped after step (\d+) of 1000000", errors).group(1))
    assert "--resume" in errors and str(state) in errors and state.is_file() and not (tmp_path / "router.json").exists()
    # Going on as it says: two more steps, equal to never having stopped.
    call(*router, "--steps", step + 2, "--state", state, "--resume", "--out", tmp_path / "a.json")
    call(*router, "--steps", step + 2, "--out", tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_prune_and_finetune(tiny_path, data, tmp_path):
    common = ["--data", data / "train.safetensors", "--batch", 4, "--steps", 2]
    done = call("learn", "prune", tiny_path, *common, "--groups", "1:1,1:2", "--set", "rank=2", "--out", tmp_path / "pruned",
                "--out-plan", tmp_path / "keep.json")
    assert "blocks kept" in done.stdout
    keep = diffaccel.Plan.load(tmp_path / "keep.json").describe()["methods"][0]["keep"]
    assert len(keep) == 2 and diffaccel.Model(tmp_path / "pruned").description["config"]["depth"] == 2
    call("learn", "finetune", tmp_path / "pruned", *common, "--distillation", "masked", "--teacher", tiny_path,
         "--groups", "1:1,1:2", "--out", tmp_path / "tuned", "--learning-rate", 1e-3, "--dtype", "f16", "--recompute")
    with diffaccel.Model(tmp_path / "tuned").session() as session:
        assert np.isfinite(session.sample(labels=[1], steps=2).latents).all()


def test_prune_by_rule(tiny_path, data, tmp_path):
    done = call("learn", "prune", tiny_path, "--data", data / "train.safetensors", "--batch", 4, "--rule", "similarity",
                "--keep-count", 2, "--out-plan", tmp_path / "keep.json", "--json")
    assert len(lines_of(done.stdout)[-1]["keep"]) == 2
    call("learn", "prune", tiny_path, "--rule", "index", "--keep", "0,2", "--out", tmp_path / "pruned")
    assert json.loads((tmp_path / "pruned" / "config.json").read_text())["pruned_from"]["keep"] == [0, 2]


def test_estimate(router, tiny_path, data):
    assert "together" in call(*router, "--estimate").stdout
    found = json.loads(call(*router, "--estimate", "--json").stdout)
    assert found == diffaccel.learn.estimate(tiny_path, "router", data / "train.safetensors", sampling_steps=4, batch=4, threads=2)


def test_sweep(router, tiny_path, tmp_path):
    call(*router, "--steps", 2, "--out", tmp_path / "router.json")
    sweep = ["plan", "sweep", tmp_path / "router.json", "--model", tiny_path, "--labels", "1,2", "--thresholds", "0,0.5,1"]
    table = call(*sweep).stdout
    assert len(table.splitlines()) == 4 and "speed-up" in table
    found = json.loads(call(*sweep, "--json", "--out", tmp_path / "sweep.json", "--repeat", 2).stdout)
    assert found == json.loads((tmp_path / "sweep.json").read_text()) and found["steps"] == 4
    with diffaccel.Model(tiny_path) as model:
        rows = diffaccel.learn.sweep(model, diffaccel.Plan.load(tmp_path / "router.json"), (0, 0.5, 1), labels=[1, 2])
    for one, other in zip(found["rows"], rows):
        for name in ("threshold", "removed", "ideal", "error"):
            assert one[name] == pytest.approx(other[name], rel=1e-5, abs=1e-7), name
    assert found["rows"][0]["error"] == 0 and found["rows"][2]["removed"] == pytest.approx(0.5)
    assert "no learned router" in call("plan", "sweep", "alternate", "--model", tiny_path, code=1).stderr


@pytest.mark.parametrize("arguments, words", [
    (["--out", "x", "--labels", "y"], "--latents"), (["--out", "x", "--data", "a", "--latents", "b", "--labels", "c"], "choose"),
    ([], "--out"), (["--out", "x", "--resume"], "--state"), (["--out", "x", "--set", "novalue"], "name=value"),
    (["--out", "x", "--set", "=3"], "name=value"), (["--out", "x", "--log-every", "0"], "--log-every"),
    (["--out", "x", "--evaluate", "-1"], "evaluate"), (["--out", "x", "--factor", "2"], "--factor"),
    (["--out", "x", "--memory-limit", "much"], "memory-limit"),
])
def test_wrong_usage(tiny_path, arguments, words):
    assert words in call("learn", "router", tiny_path, *arguments, code=64).stderr


@pytest.mark.parametrize("arguments, words", [
    (["--set", "nonsense=1"], "nonsense"), (["--set", "steps=[]"], "steps"), (["--trajectory", "mine"], "trajectory"),
    (["--memory-limit", "1K"], ""), (["--log", "/nowhere/log"], "nowhere"), (["--state", "/nowhere/state"], "nowhere"),
    (["--set", "data=null"], "data"),
])
def test_failures(router, tmp_path, arguments, words):
    done = call(*router, "--steps", 1, "--out", tmp_path / "router.json", *arguments, code=1)
    assert done.stderr.startswith("diffaccel: ") and words in done.stderr and not (tmp_path / "router.json").exists()


def test_the_model_is_not_overwritten(tiny_path, data):
    before = (tiny_path / "model.safetensors").read_bytes()
    done = call("learn", "prune", tiny_path, "--rule", "index", "--keep", "0", "--out", f"{tiny_path}/", code=1)
    assert "another folder" in done.stderr and (tiny_path / "model.safetensors").read_bytes() == before


def test_help():
    for words in (["learn"], ["learn", "router"], ["learn", "prune"], ["learn", "finetune"], ["plan", "sweep"]):
        assert "USAGE" in call(*words, "--help").stdout
