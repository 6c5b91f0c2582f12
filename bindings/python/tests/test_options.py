"""What requests may say: documented as the library declares it, for every family, in help, in types and in the models' descriptions."""

import inspect
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import PACKAGE, write_dit
from small_audio import LATENT, write_audioldm, write_audioldm2
from small_denoisers import write_sit, write_uvit
from small_diffusion import write_sd, write_sd3, write_sdxl
from small_mar import write_mar
from test_language_folders import CONFIG, weights, write_shards
from test_next_scale import write_var
from test_text import folder as llada  # noqa: F401 - a fixture

import diffaccel
from diffaccel.options import SampleOptions

NAMES = [f"class {index}" for index in range(10)]
KINDS = {"Images": ["dit", "uvit", "sit"], "Prompts": ["sd", "sdxl", "sd3"], "Sounds": ["audioldm", "audioldm2"],
         "Scale by scale": ["var"], "Token by token": ["mar"], "Texts": ["llada", "dream"]}


@pytest.fixture(scope="module")
def models(tmp_path_factory, llada):  # noqa: F811
    root = tmp_path_factory.mktemp("families")
    paths = {"dit": write_dit(root / "dit", labels=NAMES), "uvit": write_uvit(root / "uvit", extra={"labels": NAMES}),
             "sit": write_sit(root / "sit", labels=NAMES), "var": write_var(root / "var"), "llada": llada, "dream": root / "dream",
             "sd": write_sd(root / "sd"), "sdxl": write_sdxl(root / "sdxl"), "sd3": write_sd3(root / "sd3"),
             "mar": write_mar(root / "mar", extra={"labels": NAMES[:5]}),
             "audioldm": write_audioldm(root / "audioldm"), "audioldm2": write_audioldm2(root / "audioldm2")}
    config = json.loads((paths["var"] / "config.json").read_text())
    (paths["var"] / "config.json").write_text(json.dumps({**config, "labels": NAMES[:5]}))
    paths["dream"].mkdir()
    write_shards(paths["dream"], weights())
    (paths["dream"] / "config.json").write_text(json.dumps(CONFIG))
    return {family: diffaccel.Model(path) for family, path in paths.items()}


def asked_of(family, samples):
    """A small request for one sample or two."""
    if family in KINDS["Texts"]:
        return dict(tokens=[[3, 4], [5]][:samples], length=4)
    if family in KINDS["Prompts"]:
        return dict(prompt=["red apple", "a cat"][:samples], steps=4)
    if family in KINDS["Sounds"]:
        return dict(prompt=["rain", "a cat"][:samples], steps=4, seconds=8 * LATENT)
    return dict(labels=[1, 2][:samples]) | (dict(steps=4) if family in KINDS["Images"] else {})


def documented():
    """kind -> name -> summary, out of the docstring's tables."""
    tables, table, name = {}, {}, ""
    for line in inspect.getdoc(diffaccel.Session.sample).splitlines():
        if heading := re.fullmatch(r"([A-Z][\w ]+) \([\w, ]+\):", line):
            table = tables[heading[1]] = {}
        elif option := re.fullmatch(r"    (\w+): (.*)", line):
            name = option[1]
            assert name not in table, name
            table[name] = option[2]
        elif line.startswith("        ") and table:
            table[name] += " " + line.strip()
    return tables


def header_tables():
    """The same out of the tables in the C header."""
    header = (PACKAGE.parents[1] / "include" / "diffaccel.h").read_text()
    tables, table, name = {}, {}, ""
    comment = header[header.index("/* Requests: what is said is JSON"):]
    for line in comment[: comment.index("*/")].splitlines():
        if heading := re.fullmatch(r" \* ([A-Z][\w ]+) \([\w, ]+\):", line):
            table = tables[heading[1]] = {}
        elif option := re.fullmatch(r' \*   "(\w+)": (.*)', line):
            name = option[1]
            table[name] = option[2].strip()
        elif line.startswith(" *       ") and table:
            table[name] += " " + line[2:].strip()
    return tables


def test_the_header_has_the_same_tables():
    assert header_tables() == documented()


def declared(model):
    """name -> summary; what is an option as well as a tensor has the option's."""
    return {entry["name"]: entry["description"] for part in ("tensors", "options") for entry in model.request[part]}


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstring_has_what_the_library_declares(models, kind):
    table, known = documented()[kind], {}
    for family in KINDS[kind]:
        for name, summary in declared(models[family]).items():
            assert table.get(name) == summary, f"{family}: {name}"
            known[name] = summary
    assert list(table) == [name for name in table if name in known], "what no family has"
    assert len(table) == len(known)


def test_every_family_is_documented(models):
    assert list(documented()) == list(KINDS)
    heads = re.findall(r"^[A-Z][\w ]+ \(([\w, ]+)\):$", inspect.getdoc(diffaccel.Session.sample), flags=re.M)
    said = [family for head in heads for family in head.split(", ")]
    assert said == ["dit", "uvit", "sit", "stable_diffusion", "audioldm", "var", "mar", "llada", "illada", "dream"]
    parts = {"autoencoder_kl", "autoencoder_tiny", "sd3_transformer", "unet2d_condition", "vqvae", "clip_text", "clap_text", "t5_encoder",
             "speecht5_hifigan"}
    assert set(said) | parts == set(diffaccel.describe()["families"])
    for part in parts | {"stable_diffusion", "audioldm"}:
        assert f'"{part}"' in diffaccel.Model.__doc__ and re.search(rf"^(\w+, )*{part}(, \w+)*: ", inspect.getdoc(diffaccel.Model.forward), flags=re.M)


def test_types_and_signatures_have_every_option():
    known = {name for table in documented().values() for name in table}
    assert set(SampleOptions.__annotations__) == known
    for method, more in ((diffaccel.Session.sample, {"self", "progress", "callback"}), (diffaccel.Session.estimate, {"self"})):
        parameters = inspect.signature(method).parameters
        assert set(parameters) == known | more
        assert all(parameter.kind is parameter.KEYWORD_ONLY for name, parameter in parameters.items() if name != "self")


def test_the_description_of_requests(models):
    for family, model in models.items():
        request = model.request
        assert request == model.description["request"] and list(request) == ["options", "tensors"]
        for option in request["options"]:
            assert option["description"].endswith(".") and ("type" in option or "anyOf" in option), option["name"]
            assert sum(word in option for word in ("default", "default_text", "required")) == 1, f"{family}: {option['name']}"
        request["options"].clear()
        assert model.request["options"], "a copy: whoever changes it changes nothing"


def test_models_that_cannot_sample(tmp_path):
    codes = diffaccel.Model(write_var(tmp_path / "var") / "vae")
    assert codes.request == {}


def test_defaults_are_what_the_description_says(models):
    """Saying every default aloud changes nothing."""
    for family, model in models.items():
        asked = asked_of(family, 1) | (dict(sampler="euler") if family == "sit" else {})
        said = {option["name"]: option["default"] for option in model.request["options"]
                if "default" in option and option["name"] not in asked}
        assert len(said) >= 5
        with model.session(threads=1) as session:
            one, other = session.sample(**asked), session.sample(**asked, **said)
        assert one.names == other.names
        for name in one.names:
            assert np.array_equal(one.tensor(name), other.tensor(name)), f"{family}: {name}"


def test_one_way_for_every_family(models):
    """The same call and the same kind of result; events say what they are of."""
    for family, model in models.items():
        stages = []
        asked = asked_of(family, 2)
        with model.session() as session:
            result = session.sample(**asked, seed=1, callback=lambda event: stages.append(event.stage))
            assert session.estimate(**asked, seed=1)["flops"]["total"] > 0
        assert type(result) is diffaccel.Result and "2 samples" in repr(result)
        expected = "unmask" if family in (*KINDS["Texts"], "mar") else "scale" if family == "var" else "denoise"
        if family in KINDS["Prompts"] + KINDS["Sounds"]:
            assert stages.pop(0) == "encode"
        assert stages[0] == expected and set(stages) <= {expected, "decode"} | ({"vocode"} if family in KINDS["Sounds"] else set())


def test_help_needs_no_model():
    """And nothing breaks where docstrings are left out."""
    code = "import inspect, diffaccel; print('prompt' in inspect.signature(diffaccel.Session.sample).parameters)"
    for flags in ([], ["-OO"]):
        done = subprocess.run([sys.executable, *flags, "-c", code], cwd=PACKAGE, capture_output=True, text=True, check=True)
        assert done.stdout == "True\n"
