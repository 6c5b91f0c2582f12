"""Pictures from prompts beside those of diffusers 0.42.1, which `Tools/fixtures/stable_diffusion.py` recorded: latents, and some pictures."""

import numpy as np
import pytest
from stable_diffusion_cases import CASES, NEGATIVE, PROMPT, differences, sampled
from tiny_pipelines import DATA, lora_file, picture, write_pipeline

import diffaccel


@pytest.fixture(scope="module")
def recorded():
    with np.load(DATA / "stable_diffusion.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", CASES)
def test_equals_diffusers(recorded, tmp_path, name):
    pixels = recorded.get(f"{name}/pixels")
    result = sampled(CASES[name], tmp_path / "model", tmp_path)
    worst = differences(CASES[name], result, recorded[f"{name}/latents"], None if pixels is None else pixels / 65535)
    assert max(worst.values()) < 1e-3, worst


def test_all_is_recorded(recorded):
    assert {key.split("/")[0] for key in recorded} == set(CASES)
    assert {f"{name}/pixels" for name, case in CASES.items() if case.pixels} == {key for key in recorded if key.endswith("/pixels")}


def test_cases_differ(recorded):
    """A test of the tests: what an option changes can be seen at their tolerance."""
    plain = recorded["plain/latents"]
    for name in ("clip_skip", "sampler ddim", "lora peft"):
        assert np.abs(recorded[f"{name}/latents"] - plain).max() > 0.1
    pairs = [("image ddim", "image of strength 1 ddim"), ("mask ddim", "all of mask ddim"), ("lora peft", "lora kohya"), ("xl image", "xl image sizes")]
    for one, other in pairs:
        assert np.abs(recorded[f"{one}/latents"] - recorded[f"{other}/latents"]).max() > 0.1


def test_kohya_and_peft_names_are_the_same(tmp_path):
    """The same update under both names: kohya's says alpha 1 of rank 2, half of PEFT's."""
    folder, results = write_pipeline(tmp_path / "model", "sd"), []
    for kohya, scale in ((False, 0.5), (True, 1.0)):
        path = lora_file(tmp_path / f"{kohya}.safetensors", "sd", kohya=kohya)
        with diffaccel.Model(folder, lora=(path, scale)) as model, model.session(threads=2) as session:
            results.append(session.sample(prompt=PROMPT, steps=2, height=32, width=32).latents)
    assert np.array_equal(*results)


def test_embeddings_instead_of_text(tmp_path):
    """States that a text encoder made, here those of a folder of its own, give the picture of the text."""
    folder = write_pipeline(tmp_path / "model", "sd")
    with diffaccel.Model(folder) as model, model.session(threads=2) as session:
        plain = dict(steps=3, seed=4, height=32, width=32)
        states = np.random.default_rng(0).standard_normal((2, 16, 16)).astype(np.float32)
        both = session.sample(prompt_embeds=states, negative_prompt_embeds=states[::-1], **{**plain, "seeds": [1, 2], "seed": None})
        for index in range(2):
            one = session.sample(prompt_embeds=states[index:index + 1], negative_prompt_embeds=states[1 - index:2 - index],
                                 **{**plain, "seed": index + 1})
            assert np.array_equal(one.latents[0], both.latents[index])
        with pytest.raises(diffaccel.InvalidArgumentError, match="both"):
            session.sample(prompt=PROMPT, prompt_embeds=states, **plain)


def test_latents_in_and_out(tmp_path):
    """A picture that was encoded and one given as the latents it was encoded to."""
    folder = write_pipeline(tmp_path / "model", "sd")
    with diffaccel.Model(folder) as model, model.session(threads=2) as session:
        plain = dict(prompt=PROMPT, steps=4, seed=4, strength=0.5, sampler="ddim")
        made = session.sample(prompt=PROMPT, steps=2, height=32, width=32)
        again = session.sample(image_latents=made.latents, **plain)
        assert again.latents.shape == made.latents.shape and np.isfinite(again.latents).all()
        noise = np.random.default_rng(1).standard_normal(made.latents.shape).astype(np.float32)
        first = session.sample(image_latents=made.latents, noise=noise, **plain)
        assert not np.array_equal(first.latents, again.latents)
        assert np.array_equal(first.latents, session.sample(image_latents=made.latents, noise=noise, **{**plain, "seed": 9}).latents)


def test_no_step_is_left(tmp_path):
    with diffaccel.Model(write_pipeline(tmp_path / "model", "sd")) as model, model.session() as session:
        with pytest.raises(diffaccel.InvalidArgumentError, match="less than one step.*more of either"):
            session.sample(prompt=PROMPT, image=picture(), steps=4, strength=0.2)
        with pytest.raises(diffaccel.InvalidArgumentError, match="begins with an image"):
            session.sample(prompt=PROMPT, steps=4, strength=0.5)
    with diffaccel.Model(write_pipeline(tmp_path / "model", "lcm")) as model, model.session() as session:
        with pytest.raises(diffaccel.InvalidArgumentError, match="more strength or fewer steps"):
            session.sample(prompt=PROMPT, image=picture(), steps=4, strength=0.05)


def test_every_sampler_is_compared(tmp_path):
    """Samplers of the library are either in the table of diffusers' schedulers or have other draws."""
    from stable_diffusion_cases import OTHER_DRAWS, SCHEDULERS

    for name in ("sd", "sd3"):
        with diffaccel.Model(write_pipeline(tmp_path / name, name)) as model:
            assert set(model.description["samplers"]) <= set(SCHEDULERS) | OTHER_DRAWS


def test_prompts_fall_back(tmp_path):
    """The second encoder's empty text is the first one's."""
    with diffaccel.Model(write_pipeline(tmp_path / "model", "sdxl")) as model, model.session(threads=2) as session:
        plain = dict(prompt=PROMPT, negative_prompt=NEGATIVE, steps=2, seed=1, height=32, width=32)
        expected = session.sample(**plain).latents
        assert np.array_equal(session.sample(prompt_2="", negative_prompt_2="", **plain).latents, expected)
        assert np.array_equal(session.sample(prompt_2=PROMPT, negative_prompt_2=NEGATIVE, **plain).latents, expected)
        assert not np.array_equal(session.sample(prompt_2="cat", **plain).latents, expected)


