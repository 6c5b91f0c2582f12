"""One picture from a pipeline's folder by one program, in a process of its own: prints the seconds of sampling and the peak of its memory.

    python Benchmarks/whole_pictures.py CONTENDER FOLDER --pixels 512 --steps 20 [--lcm]

stable_diffusion.py runs it for every contender in turn. Loading, converting and compiling are not in the seconds, text encoders and decoder are.
With --lcm the sampler is LCM without guidance, and TAESD decodes, for those that know it.
"""

import argparse
import importlib.util
import resource
import sys
import time

import numpy as np

import common

PROMPT = "a castle by the sea"
#: TAESD in its published sizes.
TINY = {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "encoder_block_out_channels": [64] * 4, "decoder_block_out_channels": [64] * 4}


def taesd():
    """The folder of a TAESD of random weights, made the first time."""
    path = common.CACHE / "taesd"
    if not (path / "config.json").exists():
        import torch
        from diffusers import AutoencoderTiny

        torch.manual_seed(0)
        AutoencoderTiny(**TINY).half().save_pretrained(path)
    return path


def ours(given, **options):
    import diffaccel

    model = diffaccel.Model(given.folder, decoder=taesd() if given.lcm else None, **options)
    session = model.session(threads=given.threads)
    sampler = {"sampler": "lcm", "guidance": 1.0} if given.lcm else {"sampler": "ddim"}
    return lambda: session.sample(prompt=PROMPT, steps=given.steps, height=given.pixels, width=given.pixels, seed=1, **sampler)


def pipeline(given):
    """The pipeline of diffusers in f32."""
    import torch
    from diffusers import AutoencoderTiny, DDIMScheduler, LCMScheduler, StableDiffusionPipeline

    torch.set_num_threads(given.threads)
    facts = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False, "set_alpha_to_one": False}
    scheduler = (LCMScheduler if given.lcm else DDIMScheduler)(**facts)
    tiny = {"vae": AutoencoderTiny.from_pretrained(taesd(), torch_dtype=torch.float32)} if given.lcm else {}
    made = StableDiffusionPipeline.from_pretrained(given.folder, torch_dtype=torch.float32, safety_checker=None, scheduler=scheduler, **tiny)
    made.set_progress_bar_config(disable=True)
    return made


def diffusers(given):
    made = pipeline(given)
    return lambda: made(PROMPT, num_inference_steps=given.steps, height=given.pixels, width=given.pixels,
                        guidance_scale=1.0 if given.lcm else 7.5)


def openvino(given):
    """The same pipeline, its U-Net and its decoder as OpenVINO compiles them (f32)."""
    import torch
    from convolution import Wrapped, compiled, predicting

    made, rows, side = pipeline(given), 1 if given.lcm else 2, given.pixels // 8
    unet, decoder = made.unet, Wrapped(lambda vae, latents: vae.decode(latents, return_dict=False)[0], made.vae)
    latents, states = torch.zeros(rows, 4, side, side), torch.zeros(rows, 77, unet.config.cross_attention_dim)
    network = compiled(predicting(unet), (latents, torch.zeros(rows), states), given.threads)
    picture = compiled(decoder, (latents[:1],), given.threads)
    unet.forward = lambda sample, time, encoder_hidden_states, **_: (
        torch.from_numpy(network(sample.numpy(), np.full(rows, float(time), np.float32), encoder_hidden_states.numpy())),)
    made.vae.decode = lambda latents, **_: (torch.from_numpy(picture(latents.numpy())),)
    return lambda: made(PROMPT, num_inference_steps=given.steps, height=given.pixels, width=given.pixels,
                        guidance_scale=1.0 if given.lcm else 7.5)


def stable_diffusion_cpp(given):
    """stable-diffusion.cpp, from a single file in the original layout, with direct convolutions, which are its faster ones on processors."""
    from stable_diffusion_cpp import StableDiffusion

    engine = StableDiffusion(model_path=str(original(given)), n_threads=given.threads, wtype="f16", verbose=False, diffusion_conv_direct=True,
                             vae_conv_direct=True)
    return lambda: engine.generate_image(prompt=PROMPT, sample_steps=given.steps, height=given.pixels, width=given.pixels, seed=1,
                                         sample_method="lcm" if given.lcm else "ddim_trailing", cfg_scale=1.0 if given.lcm else 7.5)


def original(given):
    """The pipeline as a single file of f16, written the first time."""
    path = common.CACHE / "original.safetensors"
    if not path.exists():
        from safetensors.torch import save_file

        sys.path.insert(0, str(common.ROOT / "Tools" / "fixtures"))
        from original_files import original as tensors

        parts = pipeline(given).components
        save_file(tensors({name: part.half() for name, part in parts.items() if hasattr(part, "state_dict")}), path)
    return path


CONTENDERS = {
    "DiffAccel": ours,
    "DiffAccel, text encoders on demand": lambda given: ours(given, text_encoders="on_demand"),
    "diffusers, OpenVINO f32": openvino,
    "diffusers, torch eager": diffusers,
    "stable-diffusion.cpp": stable_diffusion_cpp,
}


def installed():
    """The contenders whose packages are there."""
    needs = {"diffusers, OpenVINO f32": "openvino", "diffusers, torch eager": "diffusers", "stable-diffusion.cpp": "stable_diffusion_cpp"}
    return [name for name in CONTENDERS if name not in needs or importlib.util.find_spec(needs[name])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--lcm", action="store_true", help="LCM without guidance, decoded by TAESD")
    given = parser.parse_args()
    run = CONTENDERS[given.contender](given)
    began, processor = time.perf_counter(), time.process_time()
    run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(time.perf_counter() - began, time.process_time() - processor, peak, flush=True)


if __name__ == "__main__":
    main()
