"""What is asked of the tiny pipelines, once for the library and once for diffusers."""

from dataclasses import dataclass, field

from tiny_pipelines import mask, picture

#: Samplers that diffusers has, as a scheduler class and its settings.
SCHEDULERS = {
    "ddim": ("DDIMScheduler", {}), "ddpm": ("DDPMScheduler", {}), "pndm": ("PNDMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}), "euler_karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}), "heun_karras": ("HeunDiscreteScheduler", {"use_karras_sigmas": True}),
    "lms": ("LMSDiscreteScheduler", {}), "lms_karras": ("LMSDiscreteScheduler", {"use_karras_sigmas": True}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_2m_sde_karras": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {}), "unipc_karras": ("UniPCMultistepScheduler", {"use_karras_sigmas": True}),
    "lcm": ("LCMScheduler", {}),
    "flow_euler": ("FlowMatchEulerDiscreteScheduler", {}), "flow_heun": ("FlowMatchHeunDiscreteScheduler", {}),
}
#: Samplers whose draws are not torch's: diffusers takes them from torchsde's Brownian tree.
OTHER_DRAWS = {"dpmpp_sde", "dpmpp_sde_karras"}

PROMPT = "the red cat is sitting on a chair"
NEGATIVE = "blurry thing"


@dataclass
class Case:
    """One request. `pipeline` is a folder of `data/stable_diffusion.json`, `theirs` the class of diffusers, `ask` the library's options."""

    name: str
    pipeline: str
    theirs: str
    ask: dict
    #: Settings of the folder's scheduler that differ.
    scheduler: dict = field(default_factory=dict)
    #: "peft" or "kohya", and its scale.
    lora: tuple = ()
    #: A part that decodes in the autoencoder's place.
    decoder: str = ""
    #: Whether the picture is compared beside the latents.
    pixels: bool = False

    def request(self):
        """The library's options, all of them."""
        return {"prompt": PROMPT, "steps": 6, "seed": 11, "guidance": 5.0, "height": 32, "width": 32, **self.ask} if (
            "seeds" not in self.ask) else {"prompt": PROMPT, "steps": 6, "guidance": 5.0, "height": 32, "width": 32, **self.ask}


def _cases():
    sd, image, paint = "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"
    xl, three = "StableDiffusionXL", "StableDiffusion3"
    yield Case("plain", "sd", sd, {"negative_prompt": NEGATIVE}, pixels=True)
    yield Case("unguided", "sd", sd, {"guidance": 1.0, "width": 40})
    yield Case("clip_skip", "sd", sd, {"clip_skip": 1, "negative_prompt": NEGATIVE})
    yield Case("rescale", "sd", sd, {"guidance_rescale": 0.7, "sampler": "ddim"})
    yield Case("several", "sd", sd, {"prompt": [PROMPT, "cat"], "images_per_prompt": 2, "sampler": "euler_a", "steps": 3})
    yield Case("seeds", "sd", sd, {"prompt": [PROMPT, "cat"], "seeds": [5, 6], "sampler": "euler_a"})
    yield Case("eta", "sd", sd, {"sampler": "ddim", "eta": 0.7})
    for name in SCHEDULERS:
        if not name.startswith("flow"):
            yield Case(f"sampler {name}", "sd", sd, {"sampler": name, "negative_prompt": NEGATIVE})
            yield Case(f"image {name}", "sd", image, {"sampler": name, "image": picture(), "strength": 0.6})
            yield Case(f"mask {name}", "sd", paint, {"sampler": name, "image": picture(), "mask": mask(), "strength": 0.85})
            yield Case(f"all of mask {name}", "sd", paint, {"sampler": name, "image": picture(), "mask": mask(), "strength": 1.0})
    yield Case("v zero snr", "sd", sd, {"sampler": "ddim", "guidance_rescale": 0.7},
               {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
                "timestep_spacing": "trailing", "set_alpha_to_one": False, "clip_sample": False})
    yield Case("v euler", "sd", sd, {"sampler": "euler"}, {"prediction_type": "v_prediction"})
    yield Case("v of the folder", "sd", sd, {}, {"prediction_type": "v_prediction"})
    for sampler in ("ddim", "euler_a", "pndm", "dpmpp_2m_sde"):
        yield Case(f"image of strength 1 {sampler}", "sd", image, {"sampler": sampler, "image": picture(), "strength": 1.0})
    yield Case("image unguided", "sd", image, {"image": picture(), "strength": 0.5, "guidance": 1.0, "sampler": "ddim"}, pixels=True)
    yield Case("image several", "sd", image, {"prompt": [PROMPT, "cat"], "images_per_prompt": 2, "image": picture(), "sampler": "euler_a"})
    yield Case("images", "sd", image, {"prompt": [PROMPT, "cat"], "image": picture(count=2), "sampler": "euler_a"})
    yield Case("image seeds", "sd", image, {"prompt": [PROMPT, "cat"], "seeds": [3, 4], "image": picture(), "sampler": "euler_a"})
    yield Case("nine channels", "sd_inpaint", paint, {"image": picture(), "mask": mask(), "negative_prompt": NEGATIVE}, pixels=True)
    yield Case("nine channels weaker", "sd_inpaint", paint, {"image": picture(), "mask": mask(), "strength": 0.7, "sampler": "ddim"})
    yield Case("nine channels draws", "sd_inpaint", paint, {"image": picture(), "mask": mask(), "strength": 0.7, "sampler": "euler_a"})
    yield Case("nine channels seeds", "sd_inpaint", paint, {
        "prompt": [PROMPT, "cat"], "image": picture(count=2), "mask": mask(), "seeds": [8, 9], "sampler": "euler_a"})
    yield Case("nine channels unguided", "sd_inpaint", paint, {"image": picture(), "mask": mask(), "guidance": 1.0})
    yield Case("lcm", "lcm", "LatentConsistencyModelPipeline", {"steps": 4, "guidance": 8.5}, pixels=True)
    yield Case("lcm one step", "lcm", "LatentConsistencyModelPipeline", {"steps": 1, "guidance": 8.5})
    yield Case("lcm image", "lcm", "LatentConsistencyModelImg2ImgPipeline", {
        "steps": 4, "guidance": 8.5, "image": picture(), "strength": 0.5})
    yield Case("lcm image strong", "lcm", "LatentConsistencyModelImg2ImgPipeline", {
        "steps": 3, "guidance": 4.0, "image": picture(), "strength": 0.9})
    yield Case("lora peft", "sd", sd, {"sampler": "ddim"}, lora=("peft", 0.8))
    yield Case("lora kohya", "sd", sd, {"sampler": "ddim"}, lora=("kohya", 1.0))
    yield Case("lora lcm", "sd", sd, {"sampler": "lcm", "steps": 4, "guidance": 1.0}, lora=("kohya", 1.0), pixels=True)
    yield Case("lora lcm guided", "sd", sd, {"sampler": "lcm", "steps": 4, "guidance": 1.8}, lora=("peft", 1.0))
    yield Case("lora lcm image", "sd", image, {"sampler": "lcm", "steps": 4, "guidance": 1.0, "image": picture(), "strength": 0.7},
               lora=("peft", 1.0))
    yield Case("tiny decoder", "sd", sd, {"sampler": "ddim", "steps": 3}, decoder="taesd", pixels=True)
    yield Case("tiny encoder", "sd", image, {"sampler": "euler_a", "image": picture(), "strength": 0.6}, decoder="taesd", pixels=True)
    yield Case("xl", "sdxl", f"{xl}Pipeline", {"negative_prompt": NEGATIVE}, pixels=True)
    yield Case("xl image", "sdxl", f"{xl}Img2ImgPipeline", {"image": picture(), "strength": 0.55})
    yield Case("xl image sizes", "sdxl", f"{xl}Img2ImgPipeline", {
        "image": picture(), "strength": 0.55, "original_size": [40, 36], "crop": [2, 4], "target_size": [24, 28],
        "negative_original_size": [30, 36], "negative_target_size": [20, 22]})
    yield Case("xl mask", "sdxl", f"{xl}InpaintPipeline", {"image": picture(), "mask": mask(), "strength": 0.8})
    yield Case("xl mask draws", "sdxl", f"{xl}InpaintPipeline", {"image": picture(), "mask": mask(), "strength": 1.0, "sampler": "euler_a"})
    yield Case("xl nine channels", "sdxl_inpaint", f"{xl}InpaintPipeline", {"image": picture(), "mask": mask(), "strength": 0.9})
    yield Case("sd3", "sd3", f"{three}Pipeline", {"negative_prompt": NEGATIVE}, pixels=True)
    for strength in (0.3, 0.6, 0.75, 1.0):
        yield Case(f"sd3 image {strength}", "sd3", f"{three}Img2ImgPipeline", {"image": picture(), "strength": strength})
    yield Case("sd3 mask", "sd3", f"{three}InpaintPipeline", {"image": picture(), "mask": mask(), "strength": 0.7})
    yield Case("sd3 all of mask", "sd3", f"{three}InpaintPipeline", {"image": picture(), "mask": mask(), "strength": 1.0})
    yield Case("sd3 heun", "sd3", f"{three}Pipeline", {"sampler": "flow_heun", "steps": 4})
    yield Case("sd3 heun image", "sd3", f"{three}Img2ImgPipeline", {"sampler": "flow_heun", "steps": 5, "image": picture(), "strength": 0.5})
    yield Case("sd3 seeds", "sd3", f"{three}Pipeline", {"prompt": [PROMPT, "cat"], "seeds": [1, 2]})


CASES = {case.name: case for case in _cases()}


def differences(case, result, latents, pixels):
    """How far a result is from recorded latents, and from the recorded picture in 0 ... 1 where there is one."""
    import numpy as np

    worst = {"latents": float(np.abs(result.latents - latents).max())}
    assert result.latents.shape == latents.shape
    if pixels is not None:
        worst["pixels"] = float(np.abs(np.clip(result.pixels / 2 + 0.5, 0, 1) - pixels).max())
    return worst


def sampled(case, folder, files):
    """What the library makes of a case; `files` is a folder for LoRA files and decoders."""
    import diffaccel
    from tiny_pipelines import lora_file, write_part, write_pipeline

    write_pipeline(folder, case.pipeline, case.scheduler)
    settings = {}
    if case.lora:
        kohya = case.lora[0] == "kohya"
        settings["lora"] = (lora_file(files / "lora.safetensors", case.pipeline, kohya=kohya, text=not kohya), case.lora[1])
    if case.decoder:
        settings["decoder"] = str(write_part(files / case.decoder, case.decoder))
    with diffaccel.Model(folder, **settings) as model, model.session(threads=2) as session:
        return session.sample(**case.request())
