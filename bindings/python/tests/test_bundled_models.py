"""The trained pair and the trained language model of the repository, through the package and the command line."""

import json
import os
import pty
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

import diffaccel

PROGRAM = Path(os.environ.get("DIFFACCEL_CLI", ROOT / ".build" / "release" / "diffaccel-cli"))
PAIR, LANGUAGE = ROOT / "Models" / "fashion-var", ROOT / "Models" / "tiny-llada"
UVIT, EMOJI = ROOT / "Models" / "fashion-uvit", ROOT / "Models" / "emoji-sd"
MUSIC = ROOT / "Models" / "tiny-audio"
needs_program = pytest.mark.skipif(not PROGRAM.is_file(), reason="the command line is not built")


@pytest.fixture(scope="module")
def drafter():
    return diffaccel.Model(PAIR)


@pytest.fixture(scope="module")
def llada():
    return diffaccel.Model(LANGUAGE)


def test_pair_draws_what_is_asked_for(drafter):
    """Mean pictures of some classes by the pair: trousers are a narrow column, bags wide, sneakers low."""
    plan = diffaccel.Plan.load(PAIR / "code.json")
    names = ["Trouser", "Bag", "Sneaker"]
    labels = [name for name in names for _ in range(8)]
    result = drafter.session(plan=plan, threads=2).sample(labels=labels, seed=3)
    means = result.images[..., 0].reshape(3, 8, 32, 32).astype(float).mean(1)
    trouser, bag, sneaker = means
    assert trouser[:, 10:22].sum() > 0.75 * trouser.sum()
    assert bag.mean(0)[6:26].min() > 40, "nearly as wide as the picture"
    assert sneaker[16:].sum() > 1.4 * sneaker[:16].sum()


@pytest.mark.parametrize("split", [1, 3, 5])
def test_specialised_pair_collaborates(drafter, split):
    """The specialised networks are ordinary ones: their own split and any other, with either partner."""
    folder = PAIR / "specialised-4"
    drafts, refiner = diffaccel.Model(folder / "drafter"), diffaccel.Model(folder / "refiner")
    plan = diffaccel.Plan(code={"draft_scales": split})
    own = drafts.session(plan=plan, partner=refiner).sample(labels=[1, 8], seed=1)
    mixed = drafter.session(plan=plan, partner=refiner).sample(labels=[1, 8], seed=1)
    counts = np.cumsum([1, 4, 9, 16, 36, 64])
    assert own.images.shape == mixed.images.shape == (2, 32, 32, 3)
    assert own.tensor("tokens").size == 2 * counts[-1]


@pytest.mark.parametrize("evaluations", [20, 50])
def test_uvit_draws_what_is_asked_for_under_its_routers(evaluations):
    model, names = diffaccel.Model(UVIT), ["Trouser", "Bag", "Sneaker"]
    request = dict(labels=[name for name in names for _ in range(8)], steps=evaluations // 2, seed=3)
    plain = model.session(threads=2).sample(**request)
    plan = diffaccel.Plan.load(UVIT / f"plan-dpm{evaluations}.json")
    cached = model.session(plan=plan, threads=2).sample(**request)
    assert 2 * cached.stats["totals"]["reused"] > 0.3 * plain.stats["totals"]["computed"]
    for result in (plain, cached):
        trouser, bag, sneaker = result.images[..., 0].reshape(3, 8, 28, 28).astype(float).mean(1)
        assert trouser[:, 8:20].sum() > 0.75 * trouser.sum()
        assert bag.mean(0)[5:23].min() > 40, "nearly as wide as the picture"
        assert sneaker[14:].sum() > 1.4 * sneaker[:14].sum()
    pixels = np.abs(cached.images.astype(float) - plain.images).mean()
    assert 0 < pixels < 8, "the same pictures, nearly"


def test_pipeline_draws_the_same_under_its_router():
    """The router was learned on the pipeline's own samples, for its own number of steps."""
    model = diffaccel.Model(EMOJI)
    plan = diffaccel.Plan.load(EMOJI / "plan-ddim20.json")
    prompts = ["red apple", "octopus", "crown", "a pink elephant"]
    request = dict(prompt=prompts, guidance=5.0, seeds=list(range(len(prompts))), decode=False)
    cached = model.session(plan=plan, threads=2).sample(**request)
    assert len(cached.stats["steps"]) == 20, "as many as it was learned for"
    reused = [step["reused"] for step in cached.stats["steps"]]
    assert not any(reused[0::2]) and all(reused[1::2])
    plain = model.session(threads=2).sample(**request, steps=20)
    error = lambda other: np.sqrt(np.mean((other.latents - plain.latents) ** 2)) / plain.latents.std()  # noqa: E731
    entry = plan.describe()["methods"][0]
    random = model.session(plan=diffaccel.Plan(l2c={**entry, "policy": "random", "seed": 7}), threads=2).sample(**request)
    assert 0 < error(cached) < 0.3 and error(cached) < error(random), (error(cached), error(random))


@pytest.mark.parametrize("plan", [None, "litefocus"])
def test_music_is_what_is_asked_for(plan):
    """A bass guitar sounds low, a glockenspiel high, and both are to be heard."""
    request = dict(steps=8, guidance=3.0, seconds=2.56, seeds=[1, 2, 3, 4])
    result = diffaccel.Model(MUSIC).session(plan=plan, threads=2).sample(
        prompt=["a slow low melody on a bass guitar", "bass guitar", "a fast high melody on a glockenspiel", "glockenspiel"], **request)
    assert result.audio.shape == (4, 40960) and result.sample_rate == 16000 and result.tensor("mel").shape == (4, 256, 64)
    assert np.isfinite(result.audio).all() and np.abs(result.audio).max() <= 1
    loudness = np.sqrt(np.mean(result.audio**2, axis=1))
    assert loudness.min() > 0.003, loudness
    power = np.abs(np.fft.rfft(result.audio)) ** 2
    middle = power @ np.fft.rfftfreq(40960, 1 / 16000) / power.sum(1)
    assert middle[:2].max() < 700 < 1500 < middle[2:].min(), middle


@needs_program
def test_pair_on_the_command_line(tmp_path):
    done = subprocess.run([PROGRAM, "sample", PAIR, "--labels", "0,9", "--plan", PAIR / "code.json", "--out", tmp_path / "grid.png",
                           "--json"], capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout) and (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_language_model_knows_its_book(llada):
    """What is certain in the book is certain to the model: greedy continuations of a few beginnings use its words."""
    session = llada.session(threads=2)
    text = session.sample(prompt="And the LORD spake unto", length=4, block_length=4).text
    assert text.startswith(" Moses"), text
    assert session.sample(prompt="Jesus answered and said unto", length=2).text.split()[0].strip(",") in {"him", "them", "her", "the"}


def test_caches_change_little(llada):
    prompt = "And it came to pass, when the king heard"
    plain = llada.session(threads=2).sample(prompt=prompt, length=32, block_length=16)
    for plan in ({"variant": "decode", "refresh": 4}, {"variant": "prefix"}, {"variant": "dual"}):
        cached = llada.session(plan=diffaccel.Plan(dkv=plan), threads=2).sample(prompt=prompt, length=32, block_length=16)
        rows = [sum(step["query_rows"] for step in result.stats["steps"]) for result in (plain, cached)]
        assert rows[1] < 0.85 * rows[0], plan
        assert cached.text.strip(), plan


@needs_program
def test_live_view_in_a_terminal():
    """Places fill up on the second screen while the text goes to standard output; without a terminal nothing is drawn."""
    command = [PROGRAM, "sample", LANGUAGE, "--prompt", "In the beginning God", "--length", "16", "--live"]
    leader, follower = pty.openpty()
    shown = bytearray()

    def watch():
        try:
            while part := os.read(leader, 65536):
                shown.extend(part)
        except OSError:
            pass  # the other end is closed

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, timeout=120, check=True)
    os.close(follower)
    watcher.join()
    os.close(leader)
    screens = shown.decode().split("\x1b[H\x1b[J")
    assert screens[0].startswith("\x1b[?1049h") and "\x1b[?1049l" in screens[-1]
    masks = [screen.count("░") for screen in screens[1:]]
    assert masks == sorted(masks, reverse=True) and masks[0] == 15 and masks[-1] == 0, masks
    assert all("pass" in screen for screen in screens[1:])
    quiet = subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert quiet.stdout == done.stdout and b"\x1b" not in quiet.stderr
