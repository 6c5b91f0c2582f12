"""The same as `test_stable_diffusion.py` with diffusers beside the library: what is recorded is what it makes today, and requests that are
not recorded."""

import sys

import numpy as np
import pytest
from conftest import ROOT
from stable_diffusion_cases import CASES, NEGATIVE, PROMPT, Case, differences, sampled
from tiny_pipelines import DATA, mask, picture

for package in ("torch", "diffusers", "transformers", "safetensors"):
    pytest.importorskip(package)
sys.path.insert(0, str(ROOT / "Tools" / "fixtures"))
import stable_diffusion as fixtures  # noqa: E402 - of the repository: an error where it is not there

SD, IMAGE, PAINT = "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"
LIVE = [
    Case("long prompt", "sd", SD, {"prompt": "the cat " * 40, "negative_prompt": NEGATIVE, "seed": 2**40 + 3}),
    Case("empty prompt", "sd", SD, {"prompt": "", "sampler": "ddim", "steps": 3}),
    Case("odd words", "sd", SD, {"prompt": "Ünïcode  \n CATS, 12% & 猫 🐈!", "sampler": "euler", "steps": 3}),
    Case("negative for each", "sd", SD, {"prompt": [PROMPT, "red"], "negative_prompt": [NEGATIVE, "ring"], "steps": 3}),
    Case("wide", "sd", SD, {"height": 24, "width": 72, "steps": 3}),
    Case("many steps", "sd", SD, {"steps": 23, "sampler": "dpmpp_2m", "guidance": 2.0}),
    Case("odd strength", "sd", IMAGE, {"image": picture(24, 40), "height": 24, "width": 40, "strength": 0.37, "steps": 17, "guidance": 2.0}),
    Case("mask of strength 0.5", "sd", PAINT, {"image": picture(), "mask": mask(), "strength": 0.5, "steps": 9, "sampler": "dpmpp_2m_sde"}),
    Case("lcm steps", "lcm", "LatentConsistencyModelPipeline", {"steps": 7, "guidance": 3.0, "seeds": [7, 8], "prompt": [PROMPT, "cat"]}),
    Case("lcm image of 22 steps", "lcm", "LatentConsistencyModelImg2ImgPipeline", {
        "steps": 22, "guidance": 1.5, "image": picture(), "strength": 0.6}),
    Case("xl batch", "sdxl", "StableDiffusionXLPipeline", {"prompt": [PROMPT, "cat"], "prompt_2": ["red", "ring"], "steps": 3, "crop": [3, 5]}),
    Case("sd3 clip_skip", "sd3", "StableDiffusion3Pipeline", {"clip_skip": 1, "steps": 3, "images_per_prompt": 2, "width": 48}),
    Case("sd3 steps of a picture", "sd3", "StableDiffusion3Img2ImgPipeline", {"image": picture(), "strength": 0.45, "steps": 11}),
]


@pytest.mark.parametrize("case", LIVE, ids=lambda case: case.name)
def test_equals_diffusers(tmp_path, case):
    latents, pixels = fixtures.recorded(case, tmp_path / "theirs", tmp_path)
    worst = differences(case, sampled(case, tmp_path / "ours", tmp_path), latents, pixels)
    assert max(worst.values()) < 1e-3, worst


@pytest.mark.parametrize("name", ["plain", "image euler_a", "nine channels", "lcm", "lora peft", "xl mask", "sd3 mask"])
def test_what_is_recorded_is_what_diffusers_makes(tmp_path, name):
    latents, _ = fixtures.recorded(CASES[name], tmp_path / "theirs", tmp_path)
    with np.load(DATA / "stable_diffusion.npz") as file:
        assert np.abs(latents - file[f"{name}/latents"]).max() < 5e-4
