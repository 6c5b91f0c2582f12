"""The surfaces beside one another: C, Swift, Python and the command line, with all defaults, give the same bits for every kind of model.

A default that stands in two places is a defect sooner or later: whatever a caller does not say goes to the library unsaid.
"""

import inspect
import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TINY, dit_tensors, write_autoencoder, write_dit, write_safetensors
from small_diffusion import write_sd, write_sd3
from test_command_line import PROGRAM
from test_language_folders import CONFIG, weights, write_shards
from test_next_scale import write_var
from test_text import folder as llada  # noqa: F401 - a fixture

import diffaccel
import diffaccel.training_files
from diffaccel import _ffi

SWIFT = Path(os.environ.get("DIFFACCEL_SURFACE", ROOT / ".build" / "release" / "surface-defaults"))


def write_diffusers_dit(folder):
    """The tiny DiT under the names of diffusers."""
    own, c = dit_tensors(TINY, seed=4), TINY
    state = {}

    def put(name, source, rows=slice(None)):
        for part in ("weight", "bias"):
            state[f"{name}.{part}"] = own[f"{source}.{part}"][rows]

    put("pos_embed.proj", "x_embedder.proj")
    put("proj_out_1", "final_layer.adaLN_modulation.1")
    put("proj_out_2", "final_layer.linear")
    for i in range(c["depth"]):
        here, width = f"transformer_blocks.{i}", c["hidden_size"]
        put(f"{here}.norm1.emb.timestep_embedder.linear_1", "t_embedder.mlp.0")
        put(f"{here}.norm1.emb.timestep_embedder.linear_2", "t_embedder.mlp.2")
        state[f"{here}.norm1.emb.class_embedder.embedding_table.weight"] = own["y_embedder.embedding_table.weight"]
        put(f"{here}.norm1.linear", f"blocks.{i}.adaLN_modulation.1")
        for part, name in enumerate(("to_q", "to_k", "to_v")):
            put(f"{here}.attn1.{name}", f"blocks.{i}.attn.qkv", slice(part * width, (part + 1) * width))
        put(f"{here}.attn1.to_out.0", f"blocks.{i}.attn.proj")
        put(f"{here}.ff.net.0.proj", f"blocks.{i}.mlp.fc1")
        put(f"{here}.ff.net.2", f"blocks.{i}.mlp.fc2")
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", state)
    (folder / "config.json").write_text(json.dumps({
        "_class_name": "DiTTransformer2DModel", "num_attention_heads": 4, "attention_head_dim": 12, "in_channels": 4, "out_channels": 8,
        "num_layers": 3, "sample_size": 8, "patch_size": 2, "num_embeds_ada_norm": 10, "activation_fn": "gelu-approximate",
        "attention_bias": True, "norm_type": "ada_norm_zero", "norm_elementwise_affine": False, "norm_eps": 1e-5}))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory, llada):  # noqa: F811
    root = tmp_path_factory.mktemp("kinds")
    write_autoencoder(write_dit(root / "dit") / "vae")
    write_diffusers_dit(root / "diffusers")
    write_autoencoder(root / "autoencoder")
    write_var(root / "var")
    write_var(root / "refiner", codes=False, width=16, depth=1, seed=3)
    (root / "code.json").write_text(json.dumps({"method": "code", "refiner": "refiner", "draft_scales": 2}))
    g = np.random.default_rng(2)
    (root / "router.json").write_text(json.dumps({
        "method": "l2c", "logits": g.standard_normal((20, 6)).round(3).tolist(), "threshold": 0.5}))
    (root / "dream").mkdir()
    write_shards(root / "dream", weights())
    (root / "dream" / "config.json").write_text(json.dumps(CONFIG))
    (root / "llada").symlink_to(llada)
    write_sd(root / "sd"), write_sd3(root / "sd3")
    return root


@pytest.fixture(scope="module")
def c_program(tmp_path_factory):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    program = tmp_path_factory.mktemp("c") / "defaults"
    subprocess.run([compiler, ROOT / "Tests" / "Surfaces" / "defaults.c", "-I", ROOT / "include", "-o", program,
                    _ffi.lib._name, f"-Wl,-rpath,{Path(_ffi.lib._name).parent}"], check=True)
    return program


#: what: (way, model, conventions, plan, labels or tokens)
CASES = {
    "dit": ("sample", "dit", "", "", [3, 5]), "dit as diffusers": ("sample", "dit", "diffusers", "", [3, 5]),
    "dit, a rule": ("sample", "dit", "", "interval:3", [3]), "dit, a router": ("sample", "dit", "", "router.json", [3]),
    "diffusers": ("sample", "diffusers", "", "", [1, 2]), "diffusers as diffusers": ("sample", "diffusers", "diffusers", "", [1, 2]),
    "autoencoder": ("latents", "autoencoder", "", "", []), "var": ("sample", "var", "", "", [0, 3]),
    "code": ("sample", "var", "", "code.json", [0, 3]), "llada": ("generate", "llada", "", "", [259, 32]),
    "llada, cached": ("generate", "llada", "", "dkv:decode", [259, 32]), "dream": ("generate", "dream", "", "", [7, 30]),
    "dream, cached": ("generate", "dream", "", "dkv:decode", [7, 30]),
    "sd": ("draw", "sd", "", "", [*b"red apple"]), "sd, deep features kept": ("draw", "sd", "", "deepcache:3", [*b"a cat"]),
    "sd3": ("draw", "sd3", "", "", [*b"red apple"]),
}


def lines(program, arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    return {name: bytes.fromhex(value) for name, value in found.items() if name != "description"}, found.get("description")


def python(way, path, conventions, plan, numbers):
    model = diffaccel.Model(path, conventions=conventions or None)
    if way == "latents":
        latents = (np.arange(256) % 8 + 1).reshape(1, 4, 8, 8) / 8
        return {"image": model.forward(latents=latents).tobytes()}
    session = model.session(plan=plan or None)
    name = {"generate": "tokens", "sample": "labels", "draw": "prompt"}[way]
    result = session.sample(**{name: bytes(numbers).decode() if way == "draw" else numbers})
    return {name: result.tensor(name).tobytes() for name in ("latents", "images", "tokens") if name in result.names}


def command_line(way, path, conventions, plan, numbers, folder):
    options = [path, *(["--plan", plan] if plan else []), *(["--conventions", conventions] if conventions else [])]
    text = ",".join(map(str, numbers))
    if way == "generate":
        done = subprocess.run([PROGRAM, "sample", *options, "--tokens", text, "--json"], capture_output=True, text=True, check=True)
        return {"tokens": np.array(json.loads(done.stdout)["tokens"], np.int64).tobytes()}
    file = folder / "latents.safetensors"
    asked = ["--prompt", bytes(numbers).decode()] if way == "draw" else ["--labels", text]
    subprocess.run([PROGRAM, "sample", *options, *asked, "--latents", file, "--quiet"], check=True)
    data = file.read_bytes()
    return {"latents": data[8 + struct.unpack("<Q", data[:8])[0]:]}


@pytest.mark.parametrize("case", CASES)
def test_all_defaults(models, c_program, tmp_path, case):
    way, name, conventions, plan, numbers = CASES[case]
    path, plan = models / name, str(models / plan) if plan.endswith(".json") else plan
    expected = python(way, path, conventions, plan, numbers)
    arguments = [way, path, conventions, plan, *numbers]
    assert expected and lines(c_program, arguments)[0] == expected, "C"
    if SWIFT.is_file():
        found, description = lines(SWIFT, arguments)
        assert found == expected, "Swift"
        assert way == "latents" or re.match(r"\d+ [\w-]+ steps, \d+\.\d\d s: .*(tokens|latents) \[\d+", description)
    if PROGRAM.is_file() and way != "latents":
        for tensor, value in command_line(*[way, path, conventions, plan, numbers], tmp_path).items():
            assert value == expected[tensor], f"command line: {tensor}"


def test_conventions_decide_the_spacing(models):
    """What made this test: Python's own default overrode the model's."""
    session = diffaccel.Model(models / "dit", conventions="diffusers").session()
    unset, leading, even = (session.sample(labels=[3], steps=7, spacing=spacing).latents for spacing in (None, "leading", "even"))
    assert np.array_equal(unset, leading) and not np.array_equal(unset, even)


def test_python_states_no_default():
    """None, False where a thing is asked for, and what has no other value: nothing that the library would decide."""
    from diffaccel import learn

    for method in (diffaccel.Session.sample, diffaccel.Session.estimate):
        for name, parameter in inspect.signature(method).parameters.items():
            if name != "self":
                assert parameter.default is (False if name == "progress" else None), name
    for method in (learn.router, learn.prune, learn.finetune, learn.specialise):
        for name, parameter in inspect.signature(method).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                assert parameter.default in (None, False), name


def test_thresholds_of_sweeps():
    """Not the library's: both surfaces measure for themselves."""
    if not PROGRAM.is_file():
        pytest.skip("the command line is not built")
    parameters = inspect.signature(diffaccel.learn.sweep).parameters
    shown = subprocess.run([PROGRAM, "plan", "sweep", "--help"], capture_output=True, text=True, check=True).stdout
    assert ",".join(map(str, parameters["thresholds"].default)) in re.sub(r"\s+", "", shown)
    assert re.search(rf"Measured turns\. \(default: {parameters['repeat'].default}\)", shown)


def test_documents_name_everything():
    """The header, Python's Plan and the command line's help know every method and family that the library has."""
    facts = diffaccel.describe()
    header = (ROOT / "include" / "diffaccel.h").read_text()
    for method in facts["methods"]:
        assert f'"method": "{method}"' in header and f"{method}=" in diffaccel.Plan.__doc__, method
    for family in facts["families"]:
        assert f'"{family}"' in header.split("da_model_options;")[0].split("family;")[1].split("*/")[0], family
    variants = ("decode", "greedy", "prefill", "pd", "prefix", "dual")
    for variant in variants:
        assert f'"{variant}"' in header and f'"{variant}"' in diffaccel.Plan.__doc__, variant
    words = re.findall(r"Simple plans have a word.*?\*/", header, flags=re.S)[0]
    for form in ("none", "alternate", "interval:N", "random:RATIO[:SEED]", "dkv:VARIANT[:REFRESH[:WINDOW]]", "code[:DRAFT_SCALES]",
                 "deepcache:N[:LAYERS]"):
        assert form in words and form in re.sub(r"\s+", " ", diffaccel.Plan.__doc__), form
        if PROGRAM.is_file():
            shown = subprocess.run([PROGRAM, "sample", "--help"], capture_output=True, text=True, check=True).stdout
            assert form in shown


def test_numbers_of_the_version():
    """One number in the library; what is packaged beside it says the same."""
    facts = diffaccel.describe()
    assert facts["abi"] == _ffi.lib.da_abi_version() and facts["version"] == diffaccel.__version__
    assert f'version = "{facts["version"]}"' in (ROOT / "bindings" / "python" / "pyproject.toml").read_text()
    if PROGRAM.is_file():
        assert facts["version"] in subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout


#: Defaults of learning that the header, the documentation and the command line's help state in words: the numbers are read out of them.
STATED = {
    "router": ["sampling_steps", "period", "l1", "learning_rate", "clamp", "threshold"],
    "prune": ["rank", "learning_rate", "gate_rate", "temperature", "scaling", "clip", "average_decay"],
    "finetune": ["warmup", "weight_decay", "clip", "average_decay", "distillation_weight", "ground_weight", "feature_weight", "sigmas"],
}


@pytest.mark.parametrize("method", STATED)
def test_stated_defaults_of_learning(tiny_path, data, tmp_path, method):
    settings = {"pattern": "1:3"} if method == "prune" else {}
    diffaccel.learn.trainer(tiny_path, method, data, **settings).save(tmp_path / "state")
    used = diffaccel.training_files.read_state(tmp_path / "state")["settings"]
    header = (ROOT / "include" / "diffaccel.h").read_text()
    words = re.sub(r"\s*\n \*\s*", " ", header[header.index(" * router: \"sampling_steps\""):header.index("/* Options of da_trainer_create")])
    part = words[words.index({"router": "router:", "prune": "prune, learned:", "finetune": "finetune:"}[method]):]
    for name in STATED[method]:
        stated = re.search(rf'"{name}" \((\[[^\]]*\]|[-+.\de]+)', part)
        assert stated and json.loads(stated[1]) == pytest.approx(used[name]), name
    assert '"label_dropout" (0.1)' in header and used["label_dropout"] == 0.1 and used["seed"] == "0"
    if PROGRAM.is_file():
        shown = re.sub(r"\s+", " ", subprocess.run([PROGRAM, "learn", method, "--help"], capture_output=True, text=True, check=True).stdout)
        for name in STATED[method]:
            found = re.search(rf"--{name.replace('_', '-')} <[^>]*> [^<]*?\(default: ([-+.\de]+)\)", shown)
            assert not found or float(found[1]) == pytest.approx(used[name]), name
