"""`diffaccel sample` and the options of requests: what models declare is what the command line takes, explains and refuses."""

import json
import re
import subprocess

import numpy as np
import pytest
from conftest import ROOT, write_dit
from test_bundled_models import PAIR, PROGRAM
from test_command_line import call
from test_next_scale import write_var
from test_text import folder as llada  # noqa: F401 - a fixture

import diffaccel

pytestmark = pytest.mark.skipif(not PROGRAM.is_file(), reason="the command line is not built")

BUNDLED = ["fashion-dit", "fashion-dit-half", "fashion-var", "tiny-llada", "emoji-sd"]


@pytest.fixture(scope="module")
def var(tmp_path_factory):
    return write_var(tmp_path_factory.mktemp("models") / "var")


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A DiT whose classes have names, of which one holds a comma."""
    names = [f"class {index}" for index in range(9)] + ["bag, sack"]
    return write_dit(tmp_path_factory.mktemp("models") / "named", labels=names)


def flat(text):
    return re.sub(r"\s+", " ", text)


def texts(*arguments, **options):
    return json.loads(call("sample", *arguments, "--json", **options).stdout)["texts"]


def latents(*arguments):
    """The final states as bytes, behind the file's header."""
    done = subprocess.run([PROGRAM, "sample", *map(str, arguments), "--latents", "-", "--quiet"], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout[8 + int.from_bytes(done.stdout[:8], "little"):]


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("words", [["sample"], ["bench"], ["info"]])
def test_help_lists_what_the_model_declares(name, words):
    path = ROOT / "Models" / name
    shown = call(*words, path, *([] if words == ["info"] else ["--help"])).stdout
    general, table = shown.split(f"OPTIONS OF {path}:\n")
    table = flat(table) + " "
    form = json.loads(call("info", path, "--json").stdout)["request"]
    assert form == diffaccel.Model(path).request
    assert len(form["options"]) > 8
    for option in form["options"]:
        written = "--" + option["name"].replace("_", "-")
        entry = table[table.index(f"{written} {option['description']} ("):]
        if words != ["info"]:
            assert f" {written} " not in flat(general.split("USAGE:")[1]), "the program and the model take different options"
        if option["name"] == "labels":
            assert "all" in entry.split(")")[0]
        elif "default_text" in option:
            assert f"; default: {option['default_text']})" in entry, option
        elif "default" in option:
            stated = re.match(r".*?; default: (.*?)\) (--|TENSORS)", entry)[1]
            assert json.loads(stated) == option["default"], option
        for choice in option.get("enum", []):
            assert f'"{choice}"' in entry
    for tensor in form["tensors"]:
        assert f"{tensor['name']} {tensor['description']} ({tensor['dtype']} {tensor['shape']})" in table


def test_help_without_a_model():
    shown = flat(call("sample", "--help").stdout)
    assert "diffaccel sample MODEL --help lists them" in shown and "OPTIONS OF" not in shown
    assert flat(call("help", "sample").stdout) == shown
    assert "nowhere" in call("sample", "nowhere", "--help", code=1).stderr


@pytest.mark.parametrize("model, arguments, words", [
    ("dit", ["--stepz", "3"], "no option --stepz; did you mean --steps?"), ("dit", ["--stepz=3"], "did you mean --steps?"),
    ("dit", ["--labell", "3"], "did you mean --labels?"), ("dit", ["--quite"], "did you mean --quiet?"),
    ("var", ["--topk", "3"], "did you mean --top-k?"), ("var", ["--top-kk=3"], "did you mean --top-k?"),
    ("var", ["--smooth"], "this model takes --labels, --guidance, --top-k"), ("var", ["--steps", "3"], "no option --steps"),
    ("llada", ["--eta", "0.5"], "no option --eta; this model takes --prompt, --tokens"), ("llada", ["--top-k", "3"], "no option --top-k"),
    ("llada", ["--labels", "3"], "no option --labels"), ("dit", ["--prompt", "a shoe"], "no option --prompt"),
    ("dit", ["--noise", "x.npy"], "is a tensor [n, 4, 8, 8]"), ("dit", ["--model-option=stepz=3"], "did you mean --steps?"),
    ("dit", ["--steps"], "--steps needs a value"), ("llada", ["--prompt", "--steps", "3"], "--prompt needs a value"),
    ("dit", ["--steps", "many"], '--steps: expected an integer in 1...1000, found "many"'), ("dit", ["--steps="], "--steps: expected"),
    ("dit", ["--eta", "none"], "--eta: expected a number"), ("var", ["--more-smooth", "maybe"], "--more-smooth: expected true or false"),
    ("var", ["--top-k", "3,x"], "--top-k"), ("dit", ["--labels", "[3"], "JSON"), ("llada", ["--tokens", "[1,"], "JSON"),
    ("dit", ["--live"], "--live is for models that write text"), ("llada", ["--out", "x"], "--out is for models that make pictures"),
    ("llada", ["--latents", "x"], "--latents is for"), ("llada", ["--count", "2"], "--count"), ("llada", ["--batch", "2"], "--batch"),
    ("dit", ["--decode", "--labels", "1"], "--decode without a file to write"), ("dit", ["--", "x"], "Unexpected argument 'x'"),
])
def test_wrong_usage(tiny_path, var, llada, tmp_path, model, arguments, words):  # noqa: F811
    path = {"dit": tiny_path, "var": var, "llada": llada}[model]
    output = [] if model == "llada" else ["--latents", "x"]
    beside = ["--prompt", "hello"] if model == "llada" and "--prompt" not in arguments else []
    for json_flag in ([], ["--json"]):
        done = call("sample", path, *output, *beside, *json_flag, *arguments, code=64, cwd=tmp_path)
        told = json.loads(done.stderr)["error"]["message"] if json_flag else done.stderr
        if json_flag and "--" in arguments:
            continue
        assert words in told and done.stdout == "" and not list(tmp_path.iterdir())


def test_generate_is_sample(llada):  # noqa: F811
    assert "diffaccel sample MODEL --prompt" in call("generate", llada, "--prompt", "x", code=64).stderr


def test_lists_and_spellings(var):
    plain = latents(var, "--labels", 1, "--seed", 4, "--top-k", 5)
    for arguments in (["--top_k", 5], ["--top-k=5"], ["--top-k", "5,5,5,5"], ["--top-k", "[5,5, 5,5]"], ["--top-k", 5] * 4):
        assert latents(var, *arguments, "--seed=4", "--labels", 1) == plain, arguments
    assert latents(var, "--labels", 1, "--seed", 4, "--top-k", "5,5,5,1") != plain
    done = call("sample", var, "--labels", 1, "--top-k", "5,5", "--latents", "x", code=1)
    assert "top_k needs 1 value or 4" in done.stderr


def test_flags(var):
    off = latents(var, "--labels", 1)
    on = latents(var, "--more-smooth", "--labels", 1)
    assert on != off
    for words in (["--more-smooth=true"], ["--more-smooth", "true"], ["--more_smooth", "1"], ["--more-smooth=false", "--more-smooth"]):
        assert latents(var, *words, "--labels", 1) == on, words
    for words in (["--more-smooth=false"], ["--more-smooth", "false"], ["--more-smooth=0"], ["--more-smooth", "--more-smooth=0"]):
        assert latents(var, *words, "--labels", 1) == off, words


def test_labels(named):
    wanted = latents(named, "--labels", "3,9,0,1", "--steps", 2)
    for words in ("class 3,bag,0-1", "3,sack, 0,CLASS 1", '[3, "bag, sack", 0, "class 1"]', "[3,9,0,1]"):
        assert latents(named, "--labels", words, "--steps", 2) == wanted, words
    assert latents(named, "--labels", "bag, sack", "--steps", 1) == latents(named, "--labels", 9, "--steps", 1)
    everything = latents(named, "--steps", 1)
    assert latents(named, "--labels", "all", "--steps", 1) == everything == latents(named, "--labels", "0-9", "--steps", 1)
    assert latents(named, "--labels", "1,2", "--count", 2, "--steps", 1) == latents(named, "--labels", "1,1,2,2", "--steps", 1)
    expected = diffaccel.Model(named).session().sample(labels=[3, 9, 0, 1], steps=2).latents
    assert np.array_equal(np.frombuffer(wanted, np.float32), expected.ravel())
    for words in ("[3.5]", "[[1]]", '["clas 3"]', "99", "[true]"):
        assert call("sample", named, "--labels", words, "--latents", "x", code=1).stderr.startswith("diffaccel: "), words


def test_pictures_do_not_depend_on_the_batch(named):
    arguments = [named, "--count", 3, "--labels", "1,2", "--steps", 3, "--seed", 7]
    whole = latents(*arguments, "--batch", 0)
    assert all(latents(*arguments, "--batch", size) == whole for size in (1, 4))
    assert latents(*arguments[:-1], 8, "--batch", 4) != whole


def test_prompts_make_a_batch(llada):  # noqa: F811
    alone = [texts(llada, "--prompt", prompt, "--length", 4)[0] for prompt in ("hello", "there")]
    assert texts(llada, "--prompt", "hello", "--prompt", "there", "--length", 4) == alone
    assert texts(llada, "--prompt", "hello", "--prompt", "-", "--length", 4, input="there\n") == alone
    numbers = [",".join(map(str, diffaccel.Model(llada).tokenizer.encode(prompt))) for prompt in ("hello", "there")]
    assert texts(llada, "--tokens", numbers[0], "--tokens", numbers[1], "--length", 4) == alone
    assert texts(llada, "--tokens", f"[[{numbers[0]}], [{numbers[1]}]]", "--length", 4) == alone
    done = call("sample", llada, "--prompt", "hello", "--prompt", "there", "--length", 4, "--quiet")
    assert done.stdout == "\n".join(alone) + "\n" and done.stderr == ""


def test_prompts_are_taken_as_they_are(llada):  # noqa: F811
    session = diffaccel.Model(llada).session()
    for prompt in ("-- he said, steps=3", "-1", "---", "- x", "a,b", "[1, 2]", '["a", "b"]', '{"a": 1}', "a=b", "--x y", "0-9", " all "):
        expected = session.sample(prompt=prompt, length=4).sequences[0].tolist()
        for words in ([f"--prompt={prompt}"], ["--prompt", prompt]):
            done = call("sample", llada, *words, "--length", 4, "--json")
            assert json.loads(done.stdout)["sequences"] == [expected], words
    for prompt in ("--hello", "--steps", "--", "-h", "", "--json"):
        expected = session.sample(prompt=prompt, length=4).sequences[0].tolist()
        assert json.loads(call("sample", llada, f"--prompt={prompt}", "--length", 4, "--json").stdout)["sequences"] == [expected], prompt


def test_words_that_begin_with_dashes(tiny_path, tmp_path):
    for value in ("-1", "-0.5"):
        assert f"found {value}" in call("sample", tiny_path, "--labels", 1, "--guidance", value, "--latents", "x", code=1).stderr
    expected = latents(tiny_path, "--labels", 1, "--steps", 2)
    assert latents("--labels", 1, "--steps=2", tiny_path) == expected, "the model may come last"
    (tmp_path / "--model").symlink_to(tiny_path)
    done = subprocess.run([PROGRAM, "sample", "--labels", "1", "--steps", "2", "--latents", "-", "--", "--model"], capture_output=True,
                          cwd=tmp_path, check=True)
    assert done.stdout.endswith(expected)


def test_bench_takes_the_options_of_every_family(llada, tiny_path):  # noqa: F811
    for path, options, samples, steps in ((tiny_path, ["--labels", "1,2", "--steps", 3, "--eta", 0.5, "--sampler", "ddim"], 2, 3),
                                          (PAIR, ["--labels", 1, "--top-k", 3, "--plan", PAIR / "code.json"], 1, 6),
                                          (llada, ["--prompt", "a", "--prompt", "b", "--length", 4, "--plan", "dkv:decode:4"], 2, 4)):
        found = json.loads(call("bench", path, *options, "--repeat", 1, "--json").stdout)
        assert found["samples"] == samples and found["steps"] == steps
    assert "did you mean --steps?" in call("bench", tiny_path, "--stepz", 3, code=64).stderr
