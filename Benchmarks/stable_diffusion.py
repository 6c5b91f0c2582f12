"""Stable Diffusion beside torch and OpenVINO: text encoders, the U-Net at the sizes of each generation, whole pictures, what policies save.

    python Benchmarks/stable_diffusion.py --parts text unet pictures policies --json out/stable_diffusion.json

Networks have the published sizes and random weights, written once as f16, and compute in f32 on the same number of threads. Of SDXL one block of
each kind stands for all of them, as the whole network in three libraries at once would not fit: a resnet and a transformer of each level, counted
as often as there are. `pictures` runs a whole pipeline in this library and in diffusers (eager torch), each in a process of its own for its peak
memory, and stable-diffusion.cpp where its Python package is installed. The autoencoder's decoder is in convolution.py.
"""

import os
import subprocess
import sys

import numpy as np
import torch

import common
import convolution

PARTS = ["text", "unet", "pictures", "policies"]
#: Width, layers, heads, features of the MLP, activation; whose.
CLIP = {"CLIP ViT-L (SD 1)": (768, 12, 12, 3072, "quick_gelu"), "OpenCLIP ViT-H (SD 2)": (1024, 23, 16, 4096, "gelu"),
        "OpenCLIP bigG (SDXL)": (1280, 32, 20, 5120, "gelu")}
T5 = {"d_model": 2048, "d_ff": 5120, "d_kv": 64, "num_heads": 32, "num_layers": 4, "vocab_size": 32128, "feed_forward_proj": "gated-gelu"}
SD15 = convolution.UNET
SD21 = {"_class_name": "UNet2DConditionModel", "sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True, "block_out_channels": [320, 640, 1280, 1280]}
#: Level, channels, transformer blocks, resnets and transformers of it in SDXL; the input of a resnet on the way up is not counted apart.
SDXL_LEVELS = [(0, 320, 0, 5, 0), (1, 640, 2, 5, 5), (2, 1280, 10, 7, 6)]
SETTINGS = ["interval:2", "interval:3", "alternate", "deepcache:2", "deepcache:3", "async:2:2"]


def contests(folder, inputs, module, given, loop, wanted=None):
    """The contest of the network in `folder` with torch's `module`; `inputs` are arrays by the library's names."""
    import diffaccel

    tensors = tuple(map(torch.from_numpy, inputs.values()))
    with diffaccel.Model(folder) as model:
        return convolution.contest(
            lambda: model.forward(threads=given.threads, outputs=wanted, **inputs) if wanted else
            model.forward(threads=given.threads, **inputs), module, tensors, given, loop)


def written(folder, make):
    """The folder in the cache, made by `make(path)` the first time."""
    path = common.CACHE / folder
    if not (path / "config.json").exists():
        torch.manual_seed(0)
        make().half().save_pretrained(path)
    return path


def text(given, loop, random):
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    found = {}
    for name, (width, layers, heads, features, activation) in CLIP.items():
        config = CLIPTextConfig(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=features,
                                hidden_act=activation, eos_token_id=2)
        path = written(f"clip-{width}", lambda config=config: CLIPTextModel(config))
        encoder = CLIPTextModel.from_pretrained(path, torch_dtype=torch.float32).requires_grad_(False)
        ids = random.integers(0, 49406, (2, 77), dtype=np.int64)
        found[name] = contests(path, {"tokens": ids}, convolution.Wrapped(lambda m, x: m(x).last_hidden_state, encoder), given, loop)
    path = written("t5-xxl-half-width", lambda: T5EncoderModel(T5Config(**T5)))
    encoder = T5EncoderModel.from_pretrained(path, torch_dtype=torch.float32).requires_grad_(False)
    ids = random.integers(0, 32000, (2, 256), dtype=np.int64)
    found["T5 encoder, 4 layers of width 2048, 256 tokens"] = contests(
        path, {"tokens": ids}, convolution.Wrapped(lambda m, x: m(x).last_hidden_state, encoder), given, loop)
    return found


def one_unet(name, config, side, given, loop, random):
    from diffusers import UNet2DConditionModel

    predictor, folder = convolution.network(UNet2DConditionModel, config, name)
    inputs = {"sample": random.standard_normal((given.batch, 4, side, side), dtype=np.float32),
              "timestep": np.full(given.batch, 500, np.float32),
              "encoder_hidden_states": random.standard_normal((given.batch, 77, config["cross_attention_dim"]), dtype=np.float32)}
    return contests(folder, inputs, convolution.predicting(predictor), given, loop)


def unet(given, loop, random):
    found = {"SD 1.5, 512 px": one_unet("sd15-unet", SD15, 64, given, loop, random),
             "SD 2.1, 768 px": one_unet("sd21-unet", SD21, 96, given, loop, random)}
    for pixels in (512, 1024):
        for level, channels, blocks, _resnets, _transformers in SDXL_LEVELS:
            # A U-Net of one level, one layer each way: four resnets, three transformers or none.
            config = {"_class_name": "UNet2DConditionModel", "sample_size": 128, "cross_attention_dim": 2048, "use_linear_projection": True,
                      "block_out_channels": [channels], "layers_per_block": 1, "attention_head_dim": channels // 64,
                      "transformer_layers_per_block": max(1, blocks),
                      "down_block_types": ["CrossAttnDownBlock2D" if blocks else "DownBlock2D"],
                      "up_block_types": ["CrossAttnUpBlock2D" if blocks else "UpBlock2D"],
                      "mid_block_type": "UNetMidBlock2DCrossAttn" if blocks else "UNetMidBlock2D"}
            found[f"SDXL, {pixels} px, level {level}"] = one_unet(
                f"sdxl-level-{level}", config, pixels // 8 >> level, given, loop, random)
    return found


OURS = """
import resource, sys, time, diffaccel
with diffaccel.Model(sys.argv[1], **({"text_encoders": "on_demand"} if sys.argv[5] == "on_demand" else {})) as model, model.session(threads=int(sys.argv[2])) as session:
    began = time.perf_counter()
    session.sample(prompt="a castle by the sea", steps=int(sys.argv[3]), height=int(sys.argv[4]), width=int(sys.argv[4]), seed=1)
    print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
DIFFUSERS = """
import resource, sys, time, torch
from diffusers import StableDiffusionPipeline
torch.set_num_threads(int(sys.argv[2]))
pipe = StableDiffusionPipeline.from_pretrained(sys.argv[1], torch_dtype=torch.float32, safety_checker=None)
pipe.set_progress_bar_config(disable=True)
began = time.perf_counter()
pipe("a castle by the sea", num_inference_steps=int(sys.argv[3]), height=int(sys.argv[4]), width=int(sys.argv[4]), generator=torch.Generator().manual_seed(1))
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def pictures(given, _loop, _random):
    """Seconds and peak bytes of whole pictures, each in a process of its own, taking turns."""
    if not given.pipeline:
        print("pictures: left out, --pipeline names no folder", file=sys.stderr)
        return {}
    runs = {"DiffAccel": (OURS, "resident"), "DiffAccel, text encoders on demand": (OURS, "on_demand"), "diffusers, torch": (DIFFUSERS, "")}
    found = {name: {"seconds": [], "peak": []} for name in runs}
    for _ in range(given.repeat):
        for name, (script, how) in runs.items():
            done = subprocess.run([sys.executable, "-c", script, given.pipeline, str(given.threads), str(given.steps), str(given.pixels), how],
                                  capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(common.ROOT / "bindings" / "python")})
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr[-2000:]}")
            seconds, peak = map(float, done.stdout.split())
            found[name]["seconds"].append(seconds)
            found[name]["peak"].append(peak)
    return found


def policies(given, _loop, _random):
    """Seconds of the network's calls under each plan beside the plain model's, and the ratio of their operations."""
    import diffaccel

    if not given.pipeline:
        print("policies: left out, --pipeline names no folder", file=sys.stderr)
        return {}
    found = {}
    with diffaccel.Model(given.pipeline) as model:
        for plan in SETTINGS:
            def calls(plan):
                with model.session(plan, threads=given.threads) as session:
                    stats = session.sample(prompt="a castle", steps=given.steps, sampler="ddim", height=given.small, width=given.small,
                                           decode=False).stats
                # The first call is a whole one, and meets a cold memory.
                return sum(step["seconds"] for step in stats["steps"][1:]), sum(step["flops"] for step in stats["steps"][1:])

            pairs = [(calls(None), calls(plan)) for _ in range(given.repeat)]
            speed = float(np.median([plain[0] / ours[0] for plain, ours in pairs]))
            ideal = pairs[0][0][1] / pairs[0][1][1]
            found[plan] = {"speed": speed, "ideal": ideal, "reached": speed / ideal}
    return found


def sdxl(found, pixels):
    """Seconds of SDXL's resnets and transformers by the levels measured, for each library."""
    total = dict.fromkeys(convolution.NAMES, 0.0)
    for level, _channels, blocks, _resnets, transformers in SDXL_LEVELS:
        figures = found[f"SDXL, {pixels} px, level {level}"]
        for name in total:
            # Three of its four resnets' work is a level's third; good enough for a ratio.
            total[name] += convolution.milliseconds(figures, name) * (max(1, transformers) / (3 if blocks else 1))
    return total


def main():
    parser = common.arguments(__doc__.split("\n")[0], size=None, repeat=3)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--small", type=int, default=256, help="side of the pictures that policies are measured on")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pipeline", help="folder of a whole Stable Diffusion 1 or 2")
    given = parser.parse_args()
    import openvino

    import native

    facts = common.machine(np, torch, openvino)
    torch.set_num_threads(given.threads)
    loop, random = native.Roofline(given.threads, 0.05), np.random.default_rng(given.seed)
    figures, body = {}, f"Threads: {given.threads}. Medians of {given.repeat} runs in turn.\n\n"
    for part, measure in (("text", text), ("unet", unet)):
        if part in given.parts:
            figures[part] = measure(given, loop, random)
            body += common.table(
                ["", "form", "DiffAccel, ms", "OpenVINO, ms", "torch, ms", "", "", "OpenVINO / DiffAccel", "torch / DiffAccel", "difference"],
                [convolution.row(name, found) for name, found in figures[part].items()]) + "\n"
            if part == "unet":
                for pixels in (512, 1024):
                    total = sdxl(figures[part], pixels)
                    body += (f"SDXL at {pixels} px by its levels: OpenVINO / DiffAccel {total['openvino'] / total['ours']:.2f}, "
                             f"torch / DiffAccel {total['torch'] / total['ours']:.2f}.\n\n")
    if "pictures" in given.parts and (found := pictures(given, loop, random)):
        figures["pictures"] = found
        body += common.table([f"{given.steps} steps, {given.pixels} px", "seconds", "peak, GiB"], [
            [name, f"{np.median(one['seconds']):.1f}", f"{max(one['peak']) / 2**30:.2f}"] for name, one in found.items()]) + "\n"
    if "policies" in given.parts and (found := policies(given, loop, random)):
        figures["policies"] = found
        body += common.table(["plan", "speed-up", "by operations", "reached"], [
            [name, f"{one['speed']:.2f}", f"{one['ideal']:.2f}", f"{one['reached']:.1%}"] for name, one in found.items()]) + "\n"
    common.finish("Stable Diffusion", facts, body, figures, given.json)


if __name__ == "__main__":
    main()
