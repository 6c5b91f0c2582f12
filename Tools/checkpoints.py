"""Writing and reading a model folder: `config.json` beside `model.safetensors`.

Every write goes to a temporary name first and is renamed, so a reader never sees half a file.
"""

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from dit_model import DiT
from uvit_model import UViT


def write_atomically(path, write):
    """Call `write(temporary path)` and rename the result to `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    write(temporary)
    temporary.chmod(0o644)
    os.replace(temporary, path)


def write_json(path, value):
    write_atomically(path, lambda p: p.write_text(json.dumps(value, indent=1) + "\n"))


def write_model(folder, config, state):
    """Store `state` as float16 and `config` as JSON."""
    half = {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in state.items()}
    folder = Path(folder)
    write_atomically(folder / "model.safetensors",
                     lambda p: save_file(half, p, metadata={"format": "pt"}))
    write_json(folder / "config.json", config)


def read_model(folder):
    """Return (DiT or U-ViT in float32 and evaluation mode, config)."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    model = {"dit": DiT, "uvit": UViT}[config["family"]](config["model"])
    state = load_file(folder / "model.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return model.eval(), config
