"""Tiny models that the tests write themselves, and the model that comes with the repository."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parents[1]
sys.path.insert(0, str(PACKAGE))

import diffaccel  # noqa: E402
from diffaccel import _ffi  # noqa: E402

# The name that programs linked with the library ask the loader for.
SONAME = Path(_ffi.lib._name).with_name("libdiffaccel.so.0")
if SONAME.parent != Path(".") and not SONAME.exists():
    SONAME.symlink_to("libdiffaccel.so")

# Of the Swift runtime, which the library takes no notice of.
SWIFT_VARIABLES = dict(SWIFT_BACKTRACE="enable=yes,warnings=enabled,output-to=stderr", SWIFT_DEBUG_HELP="YES",
                       SWIFT_DETERMINISTIC_HASHING="perhaps", SWIFT_DEBUG_ENABLE_MALLOC_SCRIBBLE="YES")
TINY = dict(input_size=8, patch_size=2, hidden_size=48, depth=3, num_heads=4, num_classes=10, mlp_ratio=4.0,
            class_dropout_prob=0.1, in_channels=4, learn_sigma=True, frequency_embedding_size=256)
_NAMES = {"float32": "F32", "float16": "F16", "int64": "I64"}


def write_safetensors(path, tensors):
    """The format in ten lines, so that the library's reader is tested against something else than itself."""
    header, blob = {}, b""
    for name, array in tensors.items():
        data = np.ascontiguousarray(array).tobytes()
        header[name] = dict(dtype=_NAMES[array.dtype.name], shape=list(array.shape),
                            data_offsets=[len(blob), len(blob) + len(data)])
        blob += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + blob)


def dit_tensors(c, seed=0):
    """Random weights of a DiT with configuration `c`, small enough that sampling stays finite."""
    g = np.random.default_rng(seed)
    d, p = c["hidden_size"], c["patch_size"]
    hidden, out = int(d * c["mlp_ratio"]), p * p * c["in_channels"] * (2 if c["learn_sigma"] else 1)
    shapes = {"x_embedder.proj": (d, c["in_channels"], p, p), "t_embedder.mlp.0": (d, c["frequency_embedding_size"]),
              "t_embedder.mlp.2": (d, d), "final_layer.linear": (out, d), "final_layer.adaLN_modulation.1": (2 * d, d)}
    for i in range(c["depth"]):
        shapes |= {f"blocks.{i}.attn.qkv": (3 * d, d), f"blocks.{i}.attn.proj": (d, d),
                   f"blocks.{i}.mlp.fc1": (hidden, d), f"blocks.{i}.mlp.fc2": (d, hidden),
                   f"blocks.{i}.adaLN_modulation.1": (6 * d, d)}
    tensors = {}
    for name, shape in shapes.items():
        scale = 0.7 / np.sqrt(np.prod(shape[1:]))
        tensors[f"{name}.weight"] = (g.standard_normal(shape) * scale).astype(np.float32)
        tensors[f"{name}.bias"] = (g.standard_normal(shape[0]) * 0.02).astype(np.float32)
    table = (c["num_classes"] + 1, d)
    tensors["y_embedder.embedding_table.weight"] = (g.standard_normal(table) * 0.5).astype(np.float32)
    tokens = (c["input_size"] // p) ** 2
    tensors["pos_embed"] = (g.standard_normal((1, tokens, d)) * 0.3).astype(np.float32)
    return tensors


def write_dit(folder, seed=0, labels=None, **changes):
    """Writes a random DiT as a model folder and returns the folder."""
    config = {**TINY, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", dit_tensors(config, seed))
    whole = {"family": "dit", "model": config}
    if labels:
        whole["labels"] = labels
    (folder / "config.json").write_text(json.dumps(whole))
    return folder


def autoencoder_tensors(original=False):
    """A tiny KL autoencoder's decoder in either naming."""
    g = np.random.default_rng(0)
    widths, state = [8, 16], {}

    def conv(name, out, inside, k=3):
        state[f"{name}.weight"] = (g.standard_normal((out, inside, k, k)) * 0.1).astype(np.float32)
        state[f"{name}.bias"] = np.zeros(out, np.float32)

    def norm(name, width):
        state[f"{name}.weight"], state[f"{name}.bias"] = np.ones(width, np.float32), np.zeros(width, np.float32)

    def block(name, inside, out):
        norm(f"{name}.norm1", inside), conv(f"{name}.conv1", out, inside)
        norm(f"{name}.norm2", out), conv(f"{name}.conv2", out, out)
        if inside != out:
            conv(f"{name}.{'nin_shortcut' if original else 'conv_shortcut'}", out, inside, 1)

    middle = ("mid.block_1", "mid.attn_1", "mid.block_2") if original else (
        "mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1")
    conv("post_quant_conv", 4, 4, 1), conv("decoder.conv_in", 16, 4)
    block(f"decoder.{middle[0]}", 16, 16), block(f"decoder.{middle[2]}", 16, 16)
    attention = f"decoder.{middle[1]}"
    norm(f"{attention}.{'norm' if original else 'group_norm'}", 16)
    for part in ("q", "k", "v", "proj_out") if original else ("to_q", "to_k", "to_v", "to_out.0"):
        conv(f"{attention}.{part}", 16, 16, 1)
        if not original:
            state[f"{attention}.{part}.weight"] = state[f"{attention}.{part}.weight"][:, :, 0, 0]
    inside = 16
    for step, width in enumerate(widths[::-1]):
        level = f"up.{1 - step}" if original else f"up_blocks.{step}"
        for index in range(3):
            block(f"decoder.{level}.{'block' if original else 'resnets'}.{index}", inside if index == 0 else width, width)
        inside = width
        if step == 0:
            conv(f"decoder.{level}.{'upsample.conv' if original else 'upsamplers.0.conv'}", width, width)
    norm(f"decoder.{'norm_out' if original else 'conv_norm_out'}", 8), conv("decoder.conv_out", 3, 8)
    return state


def write_autoencoder(folder):
    """Writes a tiny random autoencoder of factor 2 and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", autoencoder_tensors())
    config = {"_class_name": "AutoencoderKL", "block_out_channels": [8, 16], "norm_num_groups": 4, "layers_per_block": 2,
              "latent_channels": 4, "use_quant_conv": False}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    return write_dit(tmp_path_factory.mktemp("models") / "tiny", labels=[f"class {i}" for i in range(10)])


@pytest.fixture(scope="session")
def slow_path(tmp_path_factory):
    """A model of which a thousand steps last minutes."""
    return write_dit(tmp_path_factory.mktemp("models") / "slow", input_size=32, hidden_size=256, depth=8)


@pytest.fixture(scope="session")
def tiny(tiny_path):
    return diffaccel.Model(tiny_path)


@pytest.fixture
def session(tiny):
    with tiny.session(threads=2) as session:
        yield session


@pytest.fixture(scope="session")
def fashion():
    path = ROOT / "Models" / "fashion-dit"
    if not (path / "model.safetensors").is_file():
        pytest.skip("the bundled model is not there")
    return diffaccel.Model(path)


@pytest.fixture
def run_python(tmp_path):
    """Runs Python code in a process of its own that finds this package."""

    def run(code, *arguments, timeout=120, check=True):
        environment = dict(os.environ, PYTHONPATH=str(PACKAGE), **SWIFT_VARIABLES)
        done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=environment, cwd=tmp_path,
                              capture_output=True, text=True, timeout=timeout)
        if check:
            assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="module")
def data():
    """What trainers learn from: states and labels."""
    from learning_cases import patterns

    return patterns()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Path of a network that is deeper than the tiny one."""
    return write_dit(tmp_path_factory.mktemp("models") / "teacher", seed=5, depth=6)
