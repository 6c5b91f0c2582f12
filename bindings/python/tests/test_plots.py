"""Pictures are written, show something, and change with what they show."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import PACKAGE
from learning_cases import SMALL, patterns

import diffaccel
from diffaccel import learn, plots

matplotlib = pytest.importorskip("matplotlib")


def pixels(figure):
    """The figure as it would be saved, [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def shows_something(figure):
    image = pixels(figure)
    ink = (image < 250).any(-1)
    assert 0.01 < ink.mean() < 0.95, f"{ink.mean():.1%} of the picture is inked"
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20
    # Nothing is cut off: the border stays clean.
    assert not np.concatenate([ink[:2].ravel(), ink[-2:].ravel(), ink[:, :2].ravel(), ink[:, -2:].ravel()]).any()
    return image


@pytest.fixture(scope="module")
def made(tiny_path, tmp_path_factory):
    """Logs, a plan, a state and a sweep of real, tiny trainings."""
    folder = tmp_path_factory.mktemp("plots")
    trainer = learn.router(tiny_path, patterns(), sampling_steps=8, steps=60, learning_rate=0.1, l1=1e-2, log=folder / "router.jsonl",
                           log_every=1, state=folder / "state", threshold=0.3, **SMALL)
    trainer.plan().save(folder / "router.json")
    learn.prune(tiny_path, patterns(), groups=[[1, 1], [1, 2]], steps=30, gate_rate=0.05, log=folder / "gates.jsonl", log_every=1,
                         **SMALL)
    ranking = learn.prune(tiny_path, patterns(), rule="similarity", keep_count=2, steps=2, batch=4)
    (folder / "rule.json").write_text(json.dumps(ranking.describe()))
    with diffaccel.Model(tiny_path) as model:
        (folder / "sweep.json").write_text(json.dumps(learn.sweep(model, trainer.plan(), labels=[1, 2])))
    return folder


def test_every_picture(made):
    log = plots.read_log(made / "router.jsonl")
    images = [
        shows_something(figure) for figure in (
            plots.loss(log), plots.loss(log, smoothing=0), plots.loss(log[:1]), plots.router(plots.read_router(made / "router.json")),
            plots.router_history(log), plots.gates(plots.read_log(made / "gates.jsonl")),
            plots.blocks(json.loads((made / "rule.json").read_text())),
            plots.sweep(json.loads((made / "sweep.json").read_text())))
    ]
    assert len({image.tobytes() for image in images}) == len(images)


def test_threshold_is_seen(made):
    found = plots.read_router(made / "router.json")
    assert found["threshold"] == pytest.approx(0.3) and found["logits"].shape == (8, 6)
    assert pixels(plots.router(found)).tobytes() != pixels(plots.router({**found, "threshold": 0.9})).tobytes()


def test_state_is_the_plan(made):
    state = plots.read_state(made / "state")
    assert state["method"] == "router" and state["step"] == 60
    np.testing.assert_allclose(state["tensors"]["logits"].reshape(8, 6), plots.read_router(made / "router.json")["logits"], rtol=1e-6)


def test_command(made, tmp_path, capsys):
    assert plots.main(["--log", str(made / "router.jsonl"), "--state", str(made / "state"), "--sweep", str(made / "sweep.json"),
                       "--out", str(tmp_path / "deep" / "folder")]) == 0
    names = {"loss.png", "router.png", "router-history.png", "sweep.png"}
    assert {path.name for path in (tmp_path / "deep" / "folder").iterdir()} == names
    assert len(capsys.readouterr().out.splitlines()) == 4
    for path in (tmp_path / "deep" / "folder").iterdir():
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 5000
    assert plots.main(["--log", str(made / "gates.jsonl"), "--describe", str(made / "rule.json"), "--out", str(tmp_path / "b")]) == 0
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"loss.png", "gates.png", "blocks.png"}


def test_module_is_a_program(made, tmp_path, run_python):
    done = subprocess.run([sys.executable, "-m", "diffaccel.plots", "--plan", made / "router.json", "--out", tmp_path],
                          capture_output=True, text=True, cwd=PACKAGE)
    assert done.returncode == 0 and (tmp_path / "router.png").is_file(), done.stderr
    assert "RuntimeWarning" not in done.stderr


def test_wrong_files(made, tmp_path, capsys):
    (tmp_path / "empty").write_text("")
    (tmp_path / "text").write_text("hello\n" * 9)
    (tmp_path / "json").write_text('{"methods": [{"method": "l2c", "policy": "alternate"}]}')
    for name in ("empty", "text", "json", "missing"):
        for option in ("--log", "--plan", "--state", "--sweep", "--describe"):
            assert plots.main([option, str(tmp_path / name), "--out", str(tmp_path / "out")]) == 1, (option, name)
            assert "diffaccel.plots: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        plots.main([])


def test_log_of_a_resumed_run(tmp_path):
    lines = [dict(step=step, steps=9, loss=float(step), gradient_norm=1, terms={}) for step in (1, 2, 3, 2, 3, 4)]
    lines[3]["loss"] = 20.0
    (tmp_path / "log").write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 5, "lo')
    log = plots.read_log(tmp_path / "log")
    assert [event["step"] for event in log] == [1, 2, 3, 4] and log[1]["loss"] == 20


def test_losses_that_are_not_numbers():
    log = [dict(step=step, steps=9, loss=loss, gradient_norm=1.0) for step, loss in enumerate([1.0, None, float("nan"), 0.5], 1)]
    shows_something(plots.loss(log))


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="plot"):
        plots.loss([dict(step=1, loss=1.0)])
