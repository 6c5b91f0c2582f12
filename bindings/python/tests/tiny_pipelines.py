"""Tiny Stable Diffusion pipelines, written as folders. Weights follow from names, so that only shapes are stored (`data/stable_diffusion.json`).

`Tools/fixtures/stable_diffusion.py` writes that file and records what diffusers makes of these folders. Nothing here needs torch.
"""

import functools
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
from conftest import write_safetensors

DATA = Path(__file__).resolve().parent / "data"
_MERGES = ["t h", "th e</w>", "c a", "ca t</w>", "i n", "in g</w>", "r e", "re d</w>"]


@functools.cache
def shapes():
    """Parts by name: {"config", "file", "tensors": {name: shape}}, and pipelines: {"model_index", "parts": {folder: part}}."""
    stored = json.loads((DATA / "stable_diffusion.json").read_text())
    for entry in stored["parts"].values():
        if "like" in entry:
            entry["tensors"] = {**stored["parts"][entry["like"]]["tensors"], **entry["tensors"]}
    return stored


def values(name, shape, seed=0):
    """Numbers that `name` and `seed` decide, the same on every machine: a hash of counters (splitmix64), uniform with variance 1 / inputs."""
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = (np.arange(count, dtype=np.uint64) + np.uint64(zlib.crc32(f"{seed}/{name}".encode()) << 20)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    uniform = (2 * ((z >> np.uint64(11)).astype(np.float64) / 2**53) - 1) * 3**0.5
    if len(shape) > 1:
        scale = 0.5 if "embedding" in name and "linear" not in name else 1 / np.prod(shape[1:]) ** 0.5
        return (uniform * scale).reshape(shape).astype(np.float32)
    return (1 + 0.1 * uniform if name.endswith("weight") else 0.1 * uniform).reshape(shape).astype(np.float32)


def state(part, seed=0):
    """All tensors of the part called `part`."""
    return {name: values(f"{part}/{name}", shape, seed) for name, shape in shapes()["parts"][part]["tensors"].items()}


def tokenizer_files(pad):
    """vocab.json and merges.txt of a byte vocabulary with a few merges, padded with `pad`, by the names of their files."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in plain}
    for extra, byte in enumerate(byte for byte in range(256) if byte not in letters):
        letters[byte] = chr(256 + extra)
    alphabet = [letters[byte] for byte in [*plain, *sorted(set(range(256)) - set(plain))]]
    words = alphabet + [letter + "</w>" for letter in alphabet] + [merge.replace(" ", "") for merge in _MERGES]
    words += ["<|startoftext|>", "<|endoftext|>"]
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 16, "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
              "unk_token": "<|endoftext|>", "pad_token": pad}
    special = {name: config[name] for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    return {"vocab.json": json.dumps({word: index for index, word in enumerate(words)}),
            "merges.txt": "#version: 0.2\n" + "\n".join(_MERGES) + "\n",
            "tokenizer_config.json": json.dumps(config), "special_tokens_map.json": json.dumps(special)}


def write_part(folder, part, **changes):
    """Writes the part called `part` as `folder`; `changes` are of its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = shapes()["parts"][part]
    (folder / "config.json").write_text(json.dumps({**entry["config"], **changes}))
    write_safetensors(folder / entry["file"], state(part))
    return folder


def write_pipeline(folder, name, scheduler=None):
    """Writes the pipeline called `name` as `folder`; `scheduler` changes settings of its scheduler."""
    shutil.rmtree(folder, ignore_errors=True)
    entry = shapes()["pipelines"][name]
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(entry["model_index"]))
    for sub, part in entry["parts"].items():
        if sub.startswith("tokenizer"):
            (folder / sub).mkdir()
            for file, text in tokenizer_files(part).items():
                (folder / sub / file).write_text(text)
        else:
            write_part(folder / sub, part)
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({**entry["scheduler"], **(scheduler or {})}))
    return folder


def picture(height=32, width=32, count=1):
    """A picture [count, 3, H, W] in -1 ... 1 with edges and slopes."""
    y, x = np.mgrid[0:height, 0:width] / 16
    one = np.stack([np.sin(3 * x + y), np.cos(2 * y), np.where((x - 1) ** 2 + (y - 1) ** 2 < 0.4, 0.9, -0.7)])
    return np.stack([np.clip(one * (1 - 0.2 * index), -1, 1) for index in range(count)]).astype(np.float32)


def mask(height=32, width=32):
    """[1, 1, H, W]: 1 in a frame that does not lie on the grid of latents."""
    out = np.zeros((1, 1, height, width), np.float32)
    out[:, :, 6:23, 9:30] = 1
    return out


def lora_file(path, pipeline, kohya=False, prefix="text_model.", text=True, rank=2, scale=0.5, seed=7):
    """Writes updates of attention, a feed-forward, a convolution and, with `text`, the text encoder, under the names of PEFT or of kohya's
    scripts. `prefix` begins the text encoder's modules."""
    parts, tensors = shapes()["pipelines"][pipeline]["parts"], {}
    ends = ("attn1.to_q", "attn2.to_v", "attn2.to_out.0", "ff.net.2", "resnets.0.conv1", "q_proj", "mlp.fc1")
    for part in ("unet", "text_encoder")[:2 if text else 1]:
        for name, shape in shapes()["parts"][parts[part]]["tensors"].items():
            module, kind = name.rsplit(".", 1)
            if kind != "weight" or not module.endswith(ends):
                continue
            module = module.replace("text_model.", prefix)
            down, up = (rank, *shape[1:]), (shape[0], rank) + (1,) * (len(shape) - 2)
            down, up = values(f"{name}.down", down, seed), scale * values(f"{name}.up", up, seed)
            if kohya:
                layer = f"lora_{'te' if part == 'text_encoder' else part}_{module.replace('.', '_')}"
                tensors |= {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up,
                            f"{layer}.alpha": np.array(1.0, np.float32)}
            else:
                tensors |= {f"{part}.{module}.lora_A.weight": down, f"{part}.{module}.lora_B.weight": up}
    write_safetensors(path, tensors)
    return path
