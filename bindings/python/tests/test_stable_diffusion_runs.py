"""How runs from prompts to pictures behave: batches, events, stops, broken weights, memory, guidance and plans."""

import contextlib
import threading

import numpy as np
import pytest
from conftest import write_safetensors
from stable_diffusion_cases import NEGATIVE, PROMPT
from tiny_pipelines import mask, picture, shapes, state, write_pipeline

import diffaccel

PLAIN = dict(prompt=PROMPT, negative_prompt=NEGATIVE, steps=4, seed=3, guidance=4.0, height=32, width=32)
KINDS = ["sd", "sd_inpaint", "lcm", "sdxl", "sd3"]


def needs(kind):
    """What a request to this kind of pipeline must have besides."""
    return {"image": picture(), "mask": mask()} if kind == "sd_inpaint" else {}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pipelines")
    return {kind: write_pipeline(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def models(folders):
    with contextlib.ExitStack() as stack:
        yield {kind: stack.enter_context(diffaccel.Model(folder)) for kind, folder in folders.items()}


# MARK: Batches


FLOWS = ["sd3"]    # which have no ancestral sampler


@pytest.mark.parametrize("kind, sampler", [(kind, None) for kind in KINDS] + [(kind, "euler_a") for kind in KINDS if kind not in FLOWS])
def test_a_batch_with_seeds_is_its_pictures(models, kind, sampler):
    prompts, seeds = [PROMPT, "cat", "the ring is red"], [4, 99, 2**40]
    plain = {**PLAIN, **needs(kind), "sampler": sampler, "seed": None, "negative_prompt": [NEGATIVE, "cat", ""]}
    with models[kind].session(threads=2) as session:
        batch = session.sample(**{**plain, "prompt": prompts, "seeds": seeds})
        for index, (prompt, seed) in enumerate(zip(prompts, seeds)):
            one = session.sample(**{**plain, "prompt": prompt, "seed": seed, "negative_prompt": plain["negative_prompt"][index]})
            assert np.array_equal(one.latents[0], batch.latents[index]), index
            assert np.array_equal(one.pixels[0], batch.pixels[index]), index


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
def test_a_batch_with_seeds_and_a_picture(models, kind):
    plain = {**PLAIN, "seed": None, "image": picture(), "strength": 0.6}
    with models[kind].session(threads=2) as session:
        batch = session.sample(**{**plain, "prompt": [PROMPT, "cat"], "seeds": [1, 2]})
        for index, prompt in enumerate([PROMPT, "cat"]):
            one = session.sample(**{**plain, "prompt": prompt, "seed": index + 1})
            assert np.array_equal(one.latents[0], batch.latents[index])


def test_threads_change_no_bit(models):
    results = []
    for threads in (1, 2, 3):
        with models["sd"].session(threads=threads) as session:
            results.append(session.sample(**PLAIN).pixels)
    assert all(np.array_equal(one, results[0]) for one in results)


# MARK: Events


@pytest.mark.parametrize("kind", KINDS)
def test_events(models, kind):
    events = []
    with models[kind].session(threads=2) as session:
        result = session.sample(callback=lambda event: events.append((event.stage, event.step, event.steps, event.fraction)), **{**PLAIN, **needs(kind)})
    stages = [stage for stage, *_ in events]
    assert stages == sorted(stages, key=["encode", "denoise", "decode"].index) and set(stages) == {"encode", "denoise", "decode"}
    fractions = [fraction for *_, fraction in events]
    assert all(a < b for a, b in zip(fractions, fractions[1:])) and 0 < fractions[0] and fractions[-1] == pytest.approx(1, abs=1e-6)
    denoise = [(step, steps) for stage, step, steps, _ in events if stage == "denoise"]
    assert [step for step, _ in denoise] == list(range(1, denoise[0][1] + 1)) and len({steps for _, steps in denoise}) == 1
    assert result.pixels.shape == (1, 3, 32, 32)


@pytest.mark.parametrize("kind", KINDS)
def test_previews(models, kind):
    plain = {**PLAIN, **needs(kind)}
    for previews, shape in (("none", None), ("linear", (1, 8, 8, 3)), ("decoder", (1, 32, 32, 3))):
        found = []
        with models[kind].session(threads=2) as session:
            result = session.sample(callback=lambda event: found.append(event.preview if event.stage == "denoise" else "-") and None,
                                    previews=previews, **plain)
            unseen = session.sample(**plain)
        found = [one for one in found if not isinstance(one, str)]
        assert len(found) >= 4 and all((one is None) == (shape is None) for one in found)
        assert shape is None or all(one.shape == shape and one.dtype == np.uint8 for one in found)
        assert np.array_equal(result.pixels, unseen.pixels), "looking changes nothing"
        if previews == "decoder" and kind != "lcm":
            assert np.abs(found[-1].astype(int) - result.images.astype(int)).max() <= 255


# MARK: Stops


@pytest.mark.parametrize("kind", KINDS)
def test_a_callback_stops_in_every_stage(models, kind):
    plain = {**PLAIN, **needs(kind)}
    with models[kind].session(threads=2) as session:
        expected = session.sample(**plain).pixels
        for stage in ("encode", "denoise", "decode"):
            with pytest.raises(diffaccel.Cancelled):
                session.sample(callback=lambda event: event.stage == stage, **plain)
        assert np.array_equal(session.sample(**plain).pixels, expected)


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
def test_cancel_at_any_moment(models, kind):
    """Stops from another thread at moments spread over the run, the encoders of texts and pictures included."""
    plain = {**PLAIN, "image": picture(), "strength": 0.8}
    with models[kind].session(threads=2) as session:
        expected = session.sample(**plain)
        seconds, stopped = expected.stats["seconds"] + expected.stats["encode_seconds"], 0
        for part in range(20):
            timer = threading.Timer(seconds * part / 20, session.cancel)
            timer.start()
            try:
                session.sample(**plain)
            except diffaccel.Cancelled:
                stopped += 1
            timer.join()
        assert np.array_equal(session.sample(**plain).pixels, expected.pixels)
    assert stopped > 0


# MARK: Broken weights


def broken(folder, sub, name, value=np.nan):
    """Puts `value` into one element of a tensor of the part in `sub`."""
    part = shapes()["pipelines"][folder.name]["parts"][sub]
    tensors = state(part)
    tensors[name].flat[tensors[name].size // 2] = value
    write_safetensors(folder / sub / shapes()["parts"][part]["file"], tensors)
    return folder


@pytest.mark.parametrize("kind, sub, name, words, more", [
    ("sd", "text_encoder", "text_model.encoder.layers.1.mlp.fc1.bias", "prompt.*text_encoder", {}),
    ("sdxl", "text_encoder_2", "text_model.encoder.layers.0.mlp.fc1.bias", "prompt.*text_encoder_2", {}),
    ("sd3", "text_encoder", "text_model.encoder.layers.0.mlp.fc1.bias", "prompt.*text_encoder", {}),
    ("sd", "unet", "mid_block.resnets.0.conv1.bias", "network.*step 1 of 5", {}),
    ("sdxl", "unet", "mid_block.resnets.0.conv1.bias", "network.*step 1 of 4", {}),
    ("sd3", "transformer", "transformer_blocks.1.attn.to_q.bias", "network.*step 1 of 4", {}),
    ("sd", "vae", "decoder.conv_out.bias", "decoder's picture 1 of 1", {}),
    ("sd", "vae", "encoder.conv_in.bias", "encoder's output.*encoder's weights", {"image": picture()}),
])
def test_broken_weights_name_their_stage(tmp_path, kind, sub, name, words, more):
    folder = broken(write_pipeline(tmp_path / kind, kind), sub, name)
    with diffaccel.Model(folder) as model, model.session(threads=2) as session:
        with pytest.raises(diffaccel.NotFiniteError, match=words):
            session.sample(**{**PLAIN, **more})


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["image", "mask", "noise", "prompt_embeds"])
def test_given_tensors_that_are_not_finite(models, name, value):
    given = {"image": picture(), "mask": mask(), "noise": np.zeros((1, 4, 8, 8), np.float32), "prompt_embeds": np.zeros((1, 16, 16), np.float32)}
    given[name].flat[7] = value
    request = {**PLAIN, name: given[name]}
    if name == "mask":
        request["image"] = given["image"]
    if name == "prompt_embeds":
        request["prompt"] = request["negative_prompt"] = None
    # An infinite picture is out of range before anybody looks at the rest.
    error = diffaccel.InvalidArgumentError if name == "image" and value == np.inf else diffaccel.NotFiniteError
    with models["sd"].session(threads=2) as session, pytest.raises(error, match=name):
        session.sample(**request)


# MARK: Memory


SIZES = [(64, 64), (128, 128), (256, 192), (512, 512)]


@pytest.mark.parametrize("kind, more, sizes", [
    ("sd", {}, SIZES + [(1024, 1024)]), ("sd", {"image": True}, SIZES[:4]), ("sd", {"previews": "decoder", "steps": 2}, SIZES[:4]), ("sd_inpaint", {"image": True}, SIZES[:3]),
    ("sdxl", {}, SIZES[:4]), ("sd3", {}, [(32, 32), (48, 48), (32, 80), (96, 96)]), ("sd", {"images_per_prompt": 3}, SIZES[:3]),
    ("sd", {"tile": 16}, SIZES[1:4]), ("sd", {"decode": False}, SIZES[:4])])
def test_a_limit_at_the_estimate_is_enough(models, kind, more, sizes):
    """The estimate's peak is what the limit must allow, and at most a tenth more than is used."""
    for height, width in sizes:
        request = {**PLAIN, "steps": 1, "height": height, "width": width, **more}
        if more.get("image"):
            request |= {"image": picture(height, width), "strength": 1.0, "mask": mask(height, width) if kind == "sd_inpaint" else None}
        with models[kind].session(threads=2) as session:
            peak = session.estimate(**request)["bytes"]["peak"]
        with models[kind].session(threads=2, memory_limit=peak) as session:
            used = session.sample(**request).stats["memory"]["peak"]
        assert peak * 0.9 <= used <= peak, (height, width, used / peak)


def test_a_limit_at_the_estimate_is_enough_for_a_step_with_previews(models):
    request = {**PLAIN, "steps": 1, "height": 64, "width": 64, "previews": "decoder"}
    with models["sd"].session(threads=2) as session:
        peak = session.estimate(**request)["bytes"]["peak"]
    with models["sd"].session(threads=2, memory_limit=peak) as session:
        session.sample(**request)


def test_too_small_a_limit_is_refused_before_the_run(models):
    request = {**PLAIN, "height": 256, "width": 256, "decode": False}
    with models["sd"].session(threads=2) as session:
        peak = session.estimate(**request)["bytes"]["peak"]
    events = []
    with models["sd"].session(threads=2, memory_limit=peak // 2) as session:
        with pytest.raises(diffaccel.OverBudgetError, match="limit"):
            session.sample(callback=lambda event: events.append(event.stage) and None, **request)
        assert not events
        assert np.isfinite(session.sample(**{**request, "height": 64, "width": 64}).latents).all()


# MARK: Guidance and plans


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
def test_ways_of_guidance_are_one(models, kind):
    found = []
    for way in ("batched", "lanes", "split"):
        with models[kind].session(threads=2) as session:
            found.append(session.sample(guidance_execution=way, **PLAIN).pixels)
    assert all(np.array_equal(one, found[0]) for one in found)


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
@pytest.mark.parametrize("plan", ["none", "interval:1", "random:0", "depth:0-{last}"])
def test_neutral_plans_are_the_baseline(models, kind, plan):
    plan = plan.format(last=1 if kind == "sd3" else 3)
    with models[kind].session(threads=2) as session:
        expected = session.sample(**PLAIN)
    with models[kind].session(plan, threads=2) as session:
        result = session.sample(**PLAIN)
    assert np.array_equal(result.pixels, expected.pixels)


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3", "lcm"])
@pytest.mark.parametrize("plan", ["alternate", "interval:3", "random:0.5"])
def test_plans_save(models, kind, plan):
    with models[kind].session(threads=2) as session:
        expected = session.sample(**{**PLAIN, "steps": 6})
    with models[kind].session(plan, threads=2) as session:
        estimate = session.estimate(**{**PLAIN, "steps": 6})
        result = session.sample(**{**PLAIN, "steps": 6})
        assert np.array_equal(result.pixels, session.sample(**{**PLAIN, "steps": 6}).pixels)
    assert np.isfinite(result.pixels).all() and not np.array_equal(result.pixels, expected.pixels)
    assert estimate["flops"]["total"] < estimate["flops"]["baseline"] and estimate["sites"]["reused"] > 0


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"])
def test_pruned_blocks_are_skipped(models, kind):
    with models[kind].session(threads=2) as session:
        expected = session.sample(**PLAIN)
    with models[kind].session("depth:0", threads=2) as session:
        result = session.sample(**PLAIN)
    assert not np.array_equal(result.pixels, expected.pixels) and np.isfinite(result.pixels).all()
    totals, whole = result.stats["totals"], expected.stats["totals"]
    assert totals["skipped"] > 0 and totals["skipped"] + totals["computed"] == whole["computed"] and totals["flops"] < whole["flops"]
