"""Stable Diffusion beside torch and OpenVINO: text encoders, the U-Net at the sizes of each generation, whole pictures, what policies save.

    python Benchmarks/stable_diffusion.py --parts text unet pictures policies --json out/stable_diffusion.json

Networks have the published sizes and random weights, written once as f16, and compute in f32 on the same number of threads; with
`--precision bf16` text encoders and the U-Net are computed in bf16 by this library and torch, and by OpenVINO as it does by default. Of SDXL one block of
each kind stands for all of them, as the whole network in three libraries at once would not fit: a resnet and a transformer of each level, counted
as often as there are. `pictures` are whole_pictures.py's contenders. The autoencoder's decoder is in convolution.py.
"""

import subprocess
import sys
import time

import numpy as np
import torch

import common
import convolution
import whole_pictures

PARTS = ["text", "unet", "pictures", "policies"]
#: Width, layers, heads, features of the MLP, activation; whose.
CLIP = {"CLIP ViT-L (SD 1)": (768, 12, 12, 3072, "quick_gelu"), "OpenCLIP ViT-H (SD 2)": (1024, 23, 16, 4096, "gelu"),
        "OpenCLIP bigG (SDXL)": (1280, 32, 20, 5120, "gelu")}
T5 = {"d_model": 2048, "d_ff": 5120, "d_kv": 64, "num_heads": 32, "num_layers": 4, "vocab_size": 32128, "feed_forward_proj": "gated-gelu"}
SD15 = convolution.UNET
SD21 = {"_class_name": "UNet2DConditionModel", "sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True, "block_out_channels": [320, 640, 1280, 1280]}
#: Level, channels, blocks of a transformer, and how many transformers SDXL has there.
SDXL_LEVELS = [(0, 320, 0, 0), (1, 640, 2, 5), (2, 1280, 10, 6)]
SETTINGS = ["interval:2", "interval:3", "alternate", "deepcache:2", "deepcache:3", "async:2:2"]


def contests(name, folder, inputs, module, given, loop, example=None):
    """The contest of the network in `folder` with torch's `module`; `inputs` are arrays by the library's names; `example` is for the converter."""
    import diffaccel

    tensors = tuple(map(torch.from_numpy, inputs.values()))
    with diffaccel.Model(folder, precision=given.precision) as model:
        found = convolution.contest(lambda: model.forward(threads=given.threads, **inputs), module, tensors, given, loop, example)
    print(*convolution.row(name, found), sep="  ", file=sys.stderr, flush=True)
    return found


def chosen(cases, given):
    """Those that --only asks for."""
    return [(name, case) for name, case in cases.items() if given.only in name]


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
    for name, (width, layers, heads, features, activation) in chosen(CLIP, given):
        config = CLIPTextConfig(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=features,
                                hidden_act=activation, eos_token_id=2)
        path = written(f"clip-{width}", lambda config=config: CLIPTextModel(config))
        encoder = CLIPTextModel.from_pretrained(path, torch_dtype=torch.float32).requires_grad_(False)
        ids = random.integers(0, 49406, (2, 77), dtype=np.int64)
        found[name] = contests(name, path, {"tokens": ids}, convolution.Wrapped(lambda m, x: m(x).last_hidden_state, encoder), given, loop)
    for name, config in chosen({"T5 encoder, 4 layers of width 2048, 256 tokens": T5}, given):
        path = written("t5-xxl-half-width", lambda config=config: T5EncoderModel(T5Config(**config)))
        encoder = T5EncoderModel.from_pretrained(path, torch_dtype=torch.float32).requires_grad_(False)
        ids = random.integers(0, 32000, (2, 256), dtype=np.int64)
        found[name] = contests(
            name, path, {"tokens": ids}, convolution.Wrapped(lambda m, x: m(x).last_hidden_state, encoder), given, loop)
    return found


def one_unet(name, config, folder, side, given, loop, random):
    from diffusers import UNet2DConditionModel

    predictor, folder = convolution.network(UNet2DConditionModel, config, folder)
    inputs = {"sample": random.standard_normal((given.batch, 4, side, side), dtype=np.float32),
              "timestep": np.full(given.batch, 500, np.float32),
              "encoder_hidden_states": random.standard_normal((given.batch, 77, config["cross_attention_dim"]), dtype=np.float32)}
    small, *others = map(torch.from_numpy, inputs.values())
    return contests(name, folder, inputs, convolution.predicting(predictor), given, loop, (small[:, :, :16, :16].contiguous(), *others))


def sdxl_level(channels, blocks):
    """A U-Net of one level, one layer each way: four or five resnets, three transformers or none."""
    return {"_class_name": "UNet2DConditionModel", "sample_size": 128, "cross_attention_dim": 2048, "use_linear_projection": True,
            "block_out_channels": [channels], "layers_per_block": 1, "attention_head_dim": channels // 64,
            "transformer_layers_per_block": max(1, blocks),
            "down_block_types": ["CrossAttnDownBlock2D" if blocks else "DownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D" if blocks else "UpBlock2D"],
            "mid_block_type": "UNetMidBlock2DCrossAttn" if blocks else "UNetMidBlock2D"}


def unet(given, loop, random):
    networks = {"SD 1.5, 512 px": (SD15, "sd15-unet", 64), "SD 2.1, 768 px": (SD21, "sd21-unet", 96)}
    for pixels in (512, 1024):
        for level, channels, blocks, _transformers in SDXL_LEVELS:
            networks[sdxl_name(pixels, level)] = (sdxl_level(channels, blocks), f"sdxl-level-{level}", pixels // 8 >> level)
    return {name: one_unet(name, *network, given, loop, random) for name, network in chosen(networks, given)}


def pictures(given, _loop, _random):
    """Seconds, processor time and peak bytes of whole pictures, each in a process of its own, taking turns: 20 steps, and 4 of LCM."""
    if not given.pipeline:
        print("pictures: left out, --pipeline names no folder", file=sys.stderr)
        return {}
    kinds = {f"{given.steps} DDIM steps": ["--steps", str(given.steps)], "4 LCM steps, TAESD": ["--steps", "4", "--lcm"]}
    found = {f"{name}, {kind}": {"seconds": [], "processor": [], "peak": []} for kind in kinds for name in whole_pictures.installed()}
    for _ in range(given.repeat):
        for kind, how in kinds.items():
            for name in whole_pictures.installed():
                command = [sys.executable, whole_pictures.__file__, name, given.pipeline, "--threads", str(given.threads),
                           "--pixels", str(given.pixels), *how]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f"{name}: {done.stderr[-2000:]}")
                figures = list(map(float, done.stdout.split()[-3:]))
                for key, value in zip(("seconds", "processor", "peak"), figures):
                    found[f"{name}, {kind}"][key].append(value)
                print(name, kind, *figures, file=sys.stderr, flush=True)
    return found


def policies(given, _loop, _random):
    """Processor time of the network's calls under each plan beside the plain model's, and the ratio of their operations."""
    import diffaccel

    if not given.pipeline:
        print("policies: left out, --pipeline names no folder", file=sys.stderr)
        return {}
    found = {}
    with diffaccel.Model(given.pipeline) as model:
        for plan in SETTINGS:
            def calls(plan):
                after = []
                with model.session(plan, threads=given.threads) as session:
                    stats = session.sample(
                        prompt="a castle", steps=given.steps, sampler="ddim", height=given.small, width=given.small, decode=False,
                        callback=lambda event: after.append(time.process_time()) if event.stage == "denoise" else None).stats
                # The first call is a whole one, and meets a cold memory.
                return after[-1] - after[0], sum(step["flops"] for step in stats["steps"][1:])

            pairs = [(calls(None), calls(plan)) for _ in range(given.repeat)]
            speed = float(np.median([plain[0] / ours[0] for plain, ours in pairs]))
            ideal = pairs[0][0][1] / pairs[0][1][1]
            found[plan] = {"speed": speed, "ideal": ideal, "reached": speed / ideal}
            print(plan, f"{speed:.3f} of {ideal:.3f}", file=sys.stderr, flush=True)
    return found


def sdxl_name(pixels, level):
    return f"SDXL, {pixels} px, level {level}"


def sdxl(found, pixels):
    """Milliseconds of all of SDXL's levels from those measured, for each library; None where one was left out."""
    total = dict.fromkeys(convolution.NAMES, 0.0)
    for level, _channels, _blocks, transformers in SDXL_LEVELS:
        if not (figures := found.get(sdxl_name(pixels, level))):
            return None
        for name in total:
            # What was measured has three transformers, or none, and as many resnets as SDXL's level without any.
            total[name] += convolution.milliseconds(figures, name) * (transformers / 3 if transformers else 1)
    return total


def main():
    parser = common.arguments(__doc__.split("\n")[0], size=None, repeat=3)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--only", default="", help="of text and unet, the networks whose names have this")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--small", type=int, default=256, help="side of the pictures that policies are measured on")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="of text and unet")
    parser.add_argument("--pipeline", help="folder of a whole Stable Diffusion 1 or 2")
    given = parser.parse_args()
    import openvino

    import native

    facts = common.machine(np, torch, openvino)
    torch.set_num_threads(given.threads)
    loop, random = native.Roofline(given.threads, 0.05, given.precision), np.random.default_rng(given.seed)
    figures, body = {}, f"Threads: {given.threads}, {given.precision}. Medians of {given.repeat} runs in turn.\n\n"
    for part, measure in (("text", text), ("unet", unet)):
        if part in given.parts:
            figures[part] = measure(given, loop, random)
            body += common.table(
                ["", "form", "DiffAccel, ms", "OpenVINO, ms", "torch, ms", "", "", "OpenVINO / DiffAccel", "torch / DiffAccel", "difference"],
                [convolution.row(name, found) for name, found in figures[part].items()]) + "\n"
            if part == "unet":
                for pixels in (512, 1024):
                    if not (total := sdxl(figures[part], pixels)):
                        continue
                    body += (f"SDXL at {pixels} px by its levels: OpenVINO / DiffAccel {total['openvino'] / total['ours']:.2f}, "
                             f"torch / DiffAccel {total['torch'] / total['ours']:.2f}.\n\n")
    if "pictures" in given.parts and (found := pictures(given, loop, random)):
        figures["pictures"] = found
        body += common.table([f"{given.pixels} px", "seconds", "processor time, s", "peak, GiB"], [
            [name, f"{np.median(one['seconds']):.1f}", f"{np.median(one['processor']):.1f}", f"{max(one['peak']) / 2**30:.2f}"]
            for name, one in found.items()]) + "\n"
    if "policies" in given.parts and (found := policies(given, loop, random)):
        figures["policies"] = found
        body += common.table(["plan", "speed-up", "by operations", "reached"], [
            [name, f"{one['speed']:.2f}", f"{one['ideal']:.2f}", f"{one['reached']:.1%}"] for name, one in found.items()]) + "\n"
    common.finish("Stable Diffusion", facts, body, figures, given.json)


if __name__ == "__main__":
    main()
