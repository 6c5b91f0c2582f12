"""The command line's streams: output that cannot be written, results on standard output, texts and plans on standard input, errors."""

import json
import os
import shutil
import subprocess

import pytest
from conftest import ROOT
from test_command_line import PROGRAM, call
from test_next_scale import write_var
from test_text import folder as llada  # noqa: F401 - a fixture

import diffaccel

pytestmark = pytest.mark.skipif(not PROGRAM.is_file(), reason="the command line is not built")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A model with pictures."""
    return write_var(tmp_path_factory.mktemp("models") / "var")


@pytest.fixture
def printing(tiny_path, pictures, llada, tmp_path):  # noqa: F811
    """Arguments of every command that prints."""
    (tmp_path / "router.json").write_text(json.dumps({"method": "l2c", "logits": [[1, -1] * 3] * 4, "threshold": 0.5}))
    sampling = ["--labels", 1, "--steps", 2, "--repeat", 1]
    return {
        "help": ["--help"], "help of a command": ["help", "sample"], "version": ["--version"], "library": ["info"],
        "library as JSON": ["info", "--json"], "model": ["info", tiny_path, "--sites"], "model as JSON": ["info", tiny_path, "--json"],
        "sample": ["sample", pictures, "--labels", 1, "--out", tmp_path / "x.png"],
        "sample as JSON": ["sample", pictures, "--labels", 1, "--out", tmp_path / "x.png", "--json"],
        "estimate": ["sample", tiny_path, "--labels", 1, "--estimate", "--latents", tmp_path / "x"],
        "grid of a plan": ["plan", "show", "alternate", "--model", tiny_path], "bench": ["bench", tiny_path, *sampling],
        "sweep": ["plan", "sweep", tmp_path / "router.json", "--model", tiny_path, "--labels", 1, "--thresholds", 0.5, "--repeat", 1],
        "text": ["sample", llada, "--prompt", "hello", "--length", 4, "--quiet"],
        "text as JSON": ["sample", llada, "--tokens", "1,2", "--length", 4, "--json"],
        "tokens": ["tokenize", llada],
        "learn": ["learn", "router", tiny_path, "--trajectory", "own", "--steps", 1, "--batch", 1, "--sampling-steps", 2,
                  "--out", tmp_path / "r.json"],
        "learn as JSON": ["learn", "router", tiny_path, "--trajectory", "own", "--steps", 1, "--batch", 1, "--sampling-steps", 2,
                          "--out", tmp_path / "r.json", "--json"],
        "estimate of learning": ["learn", "router", tiny_path, "--trajectory", "own", "--out", tmp_path / "r.json", "--estimate"],
        "plan": ["plan", "make", "--policy", "alternate", "--out", "-"], "picture": ["sample", pictures, "--labels", 1, "--out", "-"],
        "latents": ["sample", tiny_path, "--labels", 1, "--steps", 1, "--latents", "-"],
    }


def run(arguments, stdout):
    return subprocess.run([PROGRAM, *map(str, arguments)], input=b"hello\n", stdout=stdout, stderr=subprocess.PIPE, timeout=120)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_what_cannot_be_written_is_a_failure(printing):
    for what, arguments in printing.items():
        with open("/dev/full", "wb") as full:
            done = run(arguments, full)
        assert done.returncode == 1 and b"standard output" in done.stderr, what
        if "--json" in arguments:
            assert json.loads(done.stderr.splitlines()[-1])["error"]["name"] == "DA_IO", what


def test_a_reader_that_went_away_is_a_failure(printing):
    for what, arguments in printing.items():
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = run(arguments, writing)
        finally:
            os.close(writing)
        assert done.returncode == 1 and b"standard output" in done.stderr, what


def test_closed_output(printing, tmp_path):
    for what, arguments in printing.items():
        command = " ".join(f"'{argument}'" for argument in [PROGRAM, *arguments])
        done = subprocess.run(["sh", "-c", f"echo hello | {command} >&-"], stderr=subprocess.PIPE, timeout=120)
        assert done.returncode == 1 and b"standard output" in done.stderr, what
    # What is opened later must not take the place of the closed stream.
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    json.loads((tmp_path / "r.json").read_text())


def test_closed_input_and_errors(llada, tiny_path, tmp_path):  # noqa: F811
    for arguments in (["tokenize", llada], ["sample", llada, "--prompt", "-"]):
        done = subprocess.run(["sh", "-c", f"{PROGRAM} {' '.join(map(str, arguments))} <&-"], capture_output=True, text=True)
        assert done.returncode == 1 and "standard input" in done.stderr
    call("sample", tiny_path, "--labels", 1, "--steps", 1, "--latents", tmp_path / "x", stdin=subprocess.DEVNULL)
    done = subprocess.run(["sh", "-c", f"{PROGRAM} sample nowhere 2>&-"], capture_output=True)
    assert done.returncode == 1


def bytes_of(*arguments, text=b"", code=0):
    done = subprocess.run([PROGRAM, *map(str, arguments)], input=text, capture_output=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done


def test_results_on_standard_output(pictures, tiny_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (["sample", pictures, "--labels", "1,2", "--out"], ["sample", tiny_path, "--labels", 1, "--steps", 2, "--latents"],
                      ["plan", "make", "--policy", "interval", "--interval", 3, "--out"],
                      ["plan", "show", "alternate", "--model", tiny_path, "--steps", 4, "--png"],
                      ["learn", "router", tiny_path, "--trajectory", "own", "--steps", 1, "--batch", 1, "--sampling-steps", 2, "--out"]):
        shown = bytes_of(*arguments, "-")
        call(*arguments, "file")
        assert shown.stdout == (tmp_path / "file").read_bytes() and not (tmp_path / "-").exists(), arguments
    quiet = bytes_of("sample", pictures, "--labels", "1,2", "--out", "-", "--quiet")
    assert quiet.stderr == b"" and quiet.stdout[:4] == b"\x89PNG"
    call("sample", pictures, "--labels", "1,2", "--out", "./-")
    assert (tmp_path / "-").read_bytes() == quiet.stdout
    log = bytes_of("learn", "router", tiny_path, "--trajectory", "own", "--steps", 2, "--batch", 1, "--sampling-steps", 2,
                   "--log", "-", "--log-every", 1, "--out", "r.json").stdout
    assert [json.loads(line)["step"] for line in log.splitlines()] == [1, 2]


@pytest.mark.parametrize("arguments", [
    ["--out", "-", "--latents", "-"], ["--out", "-", "--json"], ["--latents", "-", "--json"], ["--individual", "-"],
])
def test_one_result_on_standard_output(pictures, arguments, tmp_path):
    done = call("sample", pictures, "--labels", 1, *arguments, code=1, cwd=tmp_path)
    assert done.stdout == "" and "standard output" in done.stderr and not list(tmp_path.iterdir())


def test_folders_and_states_are_no_streams(tiny_path, tmp_path):
    for arguments in (["learn", "prune", tiny_path, "--rule", "index", "--keep", "0", "--out", "-"],
                      ["learn", "router", tiny_path, "--trajectory", "own", "--state", "-", "--out", "r.json"],
                      ["learn", "router", tiny_path, "--trajectory", "own", "--log", "-", "--out", "-"]):
        assert "standard output" in call(*arguments, code=1, cwd=tmp_path).stderr and not list(tmp_path.iterdir())


def test_texts_on_standard_input(llada):  # noqa: F811
    said = ["sample", llada, "--length", 4, "--quiet"]
    expected = call(*said, "--prompt", "hello\nthere").stdout
    for text in (b"hello\nthere", b"hello\nthere\n", b"hello\nthere\r\n"):
        assert bytes_of(*said, "--prompt", "-", text=text).stdout.decode() == expected
    assert b"once" in bytes_of(*said, "--prompt", "-", "--prompt", "-", text=b"a", code=1).stderr
    assert b"once" in bytes_of(*said, "--prompt", "-", "--plan", "-", text=b"none", code=1).stderr
    assert b"UTF-8" in bytes_of(*said, "--prompt", "-", text=b"a\xff", code=1).stderr


@pytest.mark.parametrize("plan", [b'{"method": "l2c", "policy": "interval", "interval": 3}', b"interval:3"])
def test_plans_on_standard_input(tiny_path, plan):
    shown = bytes_of("plan", "show", "-", "--model", tiny_path, "--steps", 6, text=plan).stdout.decode()
    assert shown == call("plan", "show", "interval:3", "--model", tiny_path, "--steps", 6).stdout


@pytest.mark.parametrize("line, arguments", [
    ("3", ["--json-lines"]), ('{"a": 1}', ["--json-lines"]), ("[1", ["--json-lines"]), ('"a"', ["--decode"]), ("[1, 2.5]", ["--decode"]),
    ('["1"]', ["--decode"]), ("x", ["--decode"]),
])
def test_lines_that_are_no_tokens(llada, line, arguments):  # noqa: F811
    done = bytes_of("tokenize", llada, *arguments, text=f'{line}\n'.encode(), code=1)
    assert b"line 1" in done.stderr and done.stdout == b""


def test_words_and_slips(tiny_path, llada, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    sample = ["sample", tiny_path, "--labels", 1, "--steps", 4, "--latents", "x"]
    for typo, meant in (("altrenate", "alternate"), ("intervall:3", "interval"), ("rendom:0.5", "random")):
        done = call(*sample, "--plan", typo, code=1)
        assert "no such file" in done.stderr and f'did you mean "{meant}"' in done.stderr
    assert "did you mean" not in call(*sample, "--plan", "plans/mine.json", code=1).stderr
    assert 'did you mean "greedy"' in call("sample", llada, "--tokens", "1", "--plan", "dkv:gredy", code=1).stderr
    assert 'did you mean "class 3"' in call(*sample[:2], "--labels", "clas 3", "--latents", "x", code=1).stderr
    diffaccel.Plan.load("interval:2").save("alternate")
    call(*sample, "--plan", "alternate")
    mine = (tmp_path / "x").read_bytes()
    call(*sample, "--plan", "interval:2")
    assert (tmp_path / "x").read_bytes() == mine, "a file of that name comes first"
    for wrong in ("1,,2", "1,x", ""):
        assert "--tokens" in call("sample", llada, "--tokens", wrong, code=64).stderr


@pytest.mark.parametrize("arguments, code, name", [
    (["sample", "nowhere", "--json"], 1, "DA_IO"), (["info", "nowhere", "--json"], 1, "DA_IO"),
    (["sample", "MODEL", "--labels", "99", "--latents", "x", "--json"], 1, "DA_INVALID_ARGUMENT"),
    (["plan", "show", "altrenate", "--model", "MODEL", "--json"], 1, "DA_IO"),
    (["sample", "MODEL", "--json", "--plan", "dkv:decode", "--labels", "1", "--latents", "x"], 1, "DA_INCOMPATIBLE"),
    (["learn", "router", "MODEL", "--json", "--trajectory", "mine", "--out", "x"], 1, ""), (["sample", "--json"], 64, "USAGE"),
    (["sample", "MODEL", "--json", "--labell", "3"], 64, "USAGE"), (["bench", "MODEL", "--json", "--repeat", "0"], 64, "USAGE"),
    (["sample", "MODEL", "--json", "--steps", "many"], 64, "USAGE"),
])
def test_errors_as_json(tiny_path, tmp_path, arguments, code, name):
    done = call(*[tiny_path if argument == "MODEL" else argument for argument in arguments], code=code, cwd=tmp_path)
    told = json.loads(done.stderr)
    assert done.stdout == "" and done.stderr.count("\n") == 1 and told["exit_code"] == code
    assert told["error"]["message"] and told["error"]["name"].startswith(name)
    assert ("status" in told["error"]) == (code == 1)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_without_proc(tiny_path, tmp_path):
    """Swift reads a program's arguments from /proc; the program has them all the same."""
    inside = f"umount -l /proc && exec {PROGRAM} sample {tiny_path} --labels 1 --steps 2 --latents {tmp_path / 'x'} --quiet"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", inside], capture_output=True, text=True)
    if "unshare" in done.stderr or "umount" in done.stderr:
        pytest.skip("no mount namespaces here")
    assert done.returncode == 0 and done.stdout == "" and (tmp_path / "x").is_file()


@pytest.mark.parametrize("arguments", [
    ["--length", "99999999999999"], ["--length=-1"], ["--steps", "99999999999999"], ["--guidance=-2"], ["--block-length=-3"],
    ["--threads", "99999999999"], ["--threads=-1"], ["--temperature", "nan"], ["--seeds", "1,2"],
])
def test_numbers_out_of_range(llada, arguments):  # noqa: F811
    done = call("sample", llada, "--tokens", "1,2", *arguments, code=1)
    assert done.stderr.startswith("diffaccel: ") and done.stdout == ""


@pytest.mark.parametrize("arguments", [["--seed", "-1"], ["--seed", "3.9"], ["--length", "3.9"], ["--seeds", "1,x"], ["--length", "1e3"]])
def test_what_is_no_number(llada, arguments):  # noqa: F811
    assert subprocess.run([PROGRAM, "sample", llada, "--tokens", "1", *arguments], capture_output=True).returncode in (1, 64)


def test_all_decoding_options_are_python_s(llada):  # noqa: F811
    model = diffaccel.Model(llada)
    shown = json.loads(call("sample", llada, "--tokens", "1,2", "--tokens", "3", "--length", 8, "--temperature", 0.9, "--seeds", "4,9",
                            "--end-last", "--block-length", 4, "--json").stdout)
    result = model.session().sample(tokens=[[1, 2], [3]], length=8, temperature=0.9, seeds=[4, 9], end_last=True, block_length=4)
    assert shown["tokens"] == result.tokens.tolist()


def test_exit_codes_are_documented():
    shown = call("--help").stdout
    assert "Exit codes" in shown and all(code in shown for code in ("64", "130", "standard error"))
    assert "exit codes" in (ROOT / "Sources/DiffAccel/Documentation.docc/CommandLine.md").read_text().lower()
