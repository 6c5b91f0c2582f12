"""`diffaccel` with a model that draws what prompts say: pictures in and out, batches, and what files carry."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from small_diffusion import write_sd
from test_command_line import PROGRAM, call
from test_diffusion import SIDE, picture, texts_of

import diffaccel
from diffaccel import _ffi, _png

pytestmark = pytest.mark.skipif(not PROGRAM.is_file(), reason="the command line is not built")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_sd(tmp_path_factory.mktemp("prompts") / "sd")


@pytest.fixture(scope="module")
def session(path):
    return diffaccel.Model(path).session()


def sample(path, *arguments, out):
    call("sample", path, *arguments, "--quiet", "--out", out)
    return out.read_bytes()


def pixels(data):
    """The picture of a PNG file, by Pillow: lines have filters."""
    image = pytest.importorskip("PIL.Image")
    return np.asarray(image.open(io.BytesIO(data)))


def write_png(path, array):
    path.write_bytes(_png.encoded(array))
    return path


def test_a_picture(path, session, tmp_path):
    data = sample(path, "--prompt", "red apple", "--steps", 4, "--seed", 7, out=tmp_path / "apple.png")
    expected = session.sample(prompt="red apple", steps=4, seed=7)
    np.testing.assert_array_equal(pixels(data), expected.images[0])
    assert texts_of(data) == {"parameters": expected.parameters[0]}
    shown = call("info", tmp_path / "apple.png").stdout
    assert "red apple" in shown and "Sampler" in shown and "PLMS" in shown
    facts = json.loads(call("info", tmp_path / "apple.png", "--json").stdout)
    assert facts["prompt"] == "red apple" and facts["settings"]["Seed"] == "7" and facts["settings"]["Size"] == "32x32"


def test_batches_do_not_matter(path, tmp_path):
    """Each picture has its own seed and can be made again alone, from what its file says."""
    asked = ["--prompt", "red apple", "--prompt", "a cat", "--negative-prompt", "blue", "--count", 2, "--steps", 3, "--sampler", "euler_a",
             "--seed", 5, "--quiet"]
    for batch in (1, 2, 3, 0):
        call("sample", path, *asked, "--batch", batch, "--individual", tmp_path / f"{batch}")
    names = sorted(file.name for file in (tmp_path / "0").iterdir())
    assert names == ["0000-seed5.png", "0001-seed6.png", "0002-seed7.png", "0003-seed8.png"]
    for name in names:
        files = [(tmp_path / f"{batch}" / name).read_bytes() for batch in (1, 2, 3, 0)]
        assert len({pixels(data).tobytes() for data in files}) == 1, name
        assert len({texts_of(data)["parameters"] for data in files}) == 1 and "Batch" not in texts_of(files[0])["parameters"]
        again = sample(path, "--from", tmp_path / "0" / name, out=tmp_path / "again.png")
        np.testing.assert_array_equal(pixels(again), pixels(files[0]))
        assert texts_of(again) == texts_of(files[0])


def test_grids(path, tmp_path):
    data = sample(path, "--prompt", "a", "--prompt", "b", "--images-per-prompt", 3, "--steps", 2, out=tmp_path / "grid.png")
    assert pixels(data).shape == (2 + 2 * (SIDE + 2), 2 + 3 * (SIDE + 2), 3), "a row for each prompt"
    assert texts_of(data)["parameters"].startswith("a\n")
    done = call("sample", path, "--prompt", "a", "--count", 2, "--images-per-prompt", 2, code=64)
    assert "--count and --images-per-prompt" in done.stderr


def test_sizes(path, session, tmp_path):
    data = sample(path, "--prompt", "a", "--steps", 2, "--size", "24x40", out=tmp_path / "x.png")
    np.testing.assert_array_equal(pixels(data), session.sample(prompt="a", steps=2, width=24, height=40).images[0])
    for size, code, words in [("24", 64, "size"), ("0x8", 64, "size"), ("24x41", 1, "multiple"), ("65536x8", 1, "width"), ("8x-8", 64, "size")]:
        assert words in call("sample", path, "--prompt", "a", "--size", size, code=code).stderr
    assert "--width and --height" in call("sample", path, "--prompt", "a", "--size", "24x40", "--width", 24, code=64).stderr


def test_a_picture_to_begin_with(path, session, tmp_path):
    start = picture(shape=(SIDE, SIDE, 3))
    file = write_png(tmp_path / "start.png", start)
    asked = ["--prompt", "a cat", "--steps", 6, "--sampler", "ddim"]
    data = sample(path, *asked, "--init-image", file, "--strength", 0.5, out=tmp_path / "x.png")
    expected = session.sample(prompt="a cat", steps=6, sampler="ddim", image=start, strength=0.5)
    assert np.abs(pixels(data).astype(int) - expected.images[0]).max() <= 1
    assert "Denoising strength: 0.5" in texts_of(data)["parameters"]
    hole = np.zeros((SIDE, SIDE, 1), np.uint8)
    hole[:, 16:] = 255
    small = write_png(tmp_path / "hole.png", hole[::2, ::2])
    data = sample(path, *asked, "--init-image", file, "--mask", small, out=tmp_path / "y.png")
    expected = session.sample(prompt="a cat", steps=6, sampler="ddim", image=start, mask=hole[..., 0])
    assert np.abs(pixels(data).astype(int) - expected.images[0]).max() <= 1
    scaled = sample(path, *asked, "--init-image", file, "--size", "48x40", out=tmp_path / "z.png")
    assert pixels(scaled).shape == (40, 48, 3)
    flat = write_png(tmp_path / "flat.png", np.full((20, 50, 3), 70, np.uint8))
    data = sample(path, *asked, "--init-image", flat, "--size", "32x32", out=tmp_path / "f.png")
    expected = session.sample(prompt="a cat", steps=6, sampler="ddim", image=np.full((SIDE, SIDE, 3), 70, np.uint8))
    assert np.abs(pixels(data).astype(int) - expected.images[0]).max() <= 1, "scaling changes a flat picture"


def test_files_that_are_no_pictures(path, tiny_path, tmp_path):
    odd = write_png(tmp_path / "odd.png", np.zeros((20, 50, 3), np.uint8))
    good = write_png(tmp_path / "good.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    (tmp_path / "text.png").write_bytes(b"hello")
    whole = good.read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:60])
    (tmp_path / "bad.png").write_bytes(whole[:60] + bytes(len(whole) - 60))
    cases = [
        (["--init-image", odd], 1, "--size 48x24 scales it"), (["--init-image", tmp_path / "text.png"], 1, "not a PNG"),
        (["--init-image", tmp_path / "cut.png"], 1, "cannot be read"), (["--init-image", tmp_path / "bad.png"], 1, "cannot be read"),
        (["--init-image", tmp_path / "none.png"], 1, "none.png"), (["--init-image", tmp_path], 1, "directory"), (["--mask", good], 64, "--init-image"),
        (["--init-image", good, "--mask", tmp_path / "text.png"], 1, "not a PNG"), (["--from", good], 1, "parameters"),
        (["--from", tmp_path / "text.png"], 1, "not a PNG"), (["--init-image", good, "--strength", 2], 1, "strength"),
    ]
    for arguments, code, words in cases:
        done = call("sample", path, "--prompt", "a", *arguments, "--out", tmp_path / "out.png", code=code)
        assert words in done.stderr and not (tmp_path / "out.png").exists(), arguments
    assert "Stable Diffusion" in call("sample", tiny_path, "--labels", 1, "--init-image", good, code=64).stderr
    assert "parameters" in call("info", good, code=1).stderr and "PNG" in call("info", tmp_path / "text.png", code=1).stderr


def test_pictures_of_other_programs(path, tmp_path):
    """Parameters as the field's tools write them: several lines, names in quotation marks, settings that mean nothing here."""
    image, info = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.PngImagePlugin").PngInfo()
    text = ('a red apple,\non a table: "ripe"\nNegative prompt: blue,\nugly\nSteps: 4, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 11, Size: 24x16, '
            'Model hash: abc, Model: "x, y", Clip skip: 2, Lora hashes: "a: 1, b: 2", Version: v1.6')
    info.add_text("parameters", text)
    image.fromarray(picture()).save(tmp_path / "theirs.png", pnginfo=info)
    data = sample(path, "--from", tmp_path / "theirs.png", out=tmp_path / "ours.png")
    said = texts_of(data)["parameters"]
    assert said.startswith('a red apple,\non a table: "ripe"\nNegative prompt: blue,\nugly\nSteps: 4, Sampler: DPM++ 2M, Schedule type: Karras, '
                           "CFG scale: 6.5, Seed: 11, Size: 24x16, Model: sd, Clip skip: 2, ")
    data = sample(path, "--from", tmp_path / "theirs.png", "--prompt", "a cat", "--steps", 2, "--size", "8x8", "--sampler", "ddim", out=tmp_path / "ours.png")
    assert texts_of(data)["parameters"].startswith("a cat\nSteps: 2, Sampler: DDIM, CFG scale: 6.5, Seed: 11, Size: 8x8, ")
    info = type(info)()
    info.add_itxt("parameters", "日本\nSteps: 3, Sampler: Unheard of, Seed: 1")
    image.fromarray(picture()).save(tmp_path / "theirs.png", pnginfo=info)
    assert "Unheard of" in call("sample", path, "--from", tmp_path / "theirs.png", code=1).stderr
    data = sample(path, "--from", tmp_path / "theirs.png", "--sampler", "euler", out=tmp_path / "ours.png")
    assert texts_of(data)["parameters"].startswith("日本\nSteps: 3, Sampler: Euler, ")


def test_json_and_latents(path, session, tmp_path):
    done = call("sample", path, "--prompt", "a", "--prompt", "b", "--steps", 3, "--seed", 4, "--json", "--out", tmp_path / "x.png")
    facts = json.loads(done.stdout)
    assert facts["statistics"]["parameters"][1].startswith("b\nSteps: 3, ") and "labels" not in facts and facts["files"] == [str(tmp_path / "x.png")]
    file = tmp_path / "latents.safetensors"
    call("sample", path, "--prompt", "a", "--steps", 3, "--seed", 4, "--latents", file, "--quiet")
    data = file.read_bytes()
    found = np.frombuffer(data[8 + int.from_bytes(data[:8], "little"):], np.float32)
    np.testing.assert_array_equal(found, session.sample(prompt="a", steps=3, seed=4, decode=False).latents.ravel())
    estimate = json.loads(call("sample", path, "--prompt", "a", "--steps", 3, "--estimate", "--json").stdout)
    assert estimate["bytes"]["peak"] > 0
    done = subprocess.run([PROGRAM, "sample", str(path), "--prompt", "-", "--steps", "2", "--out", "-"], input=b"red apple", capture_output=True, check=True)
    np.testing.assert_array_equal(pixels(done.stdout), session.sample(prompt="red apple", steps=2).images[0])


@pytest.mark.parametrize("plan", ["alternate", "interval:3", "deepcache:2", "random:0.5"])
def test_other_commands(path, tmp_path, plan):
    shown = call("plan", "show", plan, "--model", path, "--steps", 6, "--png", tmp_path / "plan.png").stdout
    assert "saved" in shown and (tmp_path / "plan.png").is_file()
    facts = json.loads(call("bench", path, "--prompt", "a cat", "--steps", 4, "--sampler", "ddim", "--plan", plan, "--repeat", 1, "--json").stdout)
    assert [row["plan"] for row in facts["plans"]] == ["plain", plan.replace(":", "-")] and facts["plans"][1]["ideal"] > 1


def test_sweep(path, tmp_path):
    shown = json.loads(call("plan", "show", "none", "--model", path, "--steps", 4, "--json").stdout)
    g = np.random.default_rng(0)
    logits = g.standard_normal((4, len(shown["grid"][0]))).tolist()
    (tmp_path / "router.json").write_text(json.dumps({"method": "l2c", "logits": logits, "threshold": 0.5}))
    asked = ["--model", path, "--prompt", "a cat", "--thresholds", "0.2,0.8", "--repeat", 1, "--json"]
    assert "euler" in call("plan", "sweep", tmp_path / "router.json", *asked, code=1).stderr, "PNDM makes one call more than steps"
    facts = json.loads(call("plan", "sweep", tmp_path / "router.json", "--sampler", "ddim", *asked).stdout)
    assert facts["samples"] == 1 and [row["threshold"] for row in facts["rows"]] == [0.2, 0.8]


def test_the_demo(path, tmp_path):
    facts = json.loads(call("demo", "--model", path, "--prompt", "a cat", "--prompt", "red", "--count", 3, "--steps", 4, "--out", tmp_path, "--json").stdout)
    assert facts["samples"] == 6 and [row["plan"] for row in facts["plans"]][0] == "plain"
    assert decoded_size(tmp_path / "prompts-plain.png") == (2 + 2 * (2 * SIDE + 2), 2 + 3 * (2 * SIDE + 2))
    assert "classes" in call("demo", "--model", ROOT / "Models" / "fashion-dit", "--prompt", "a", "--out", tmp_path, code=1).stderr


def decoded_size(file: Path):
    return pixels(file.read_bytes()).shape[:2]


def test_the_c_example(path, session, tmp_path):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    program = tmp_path / "draw"
    subprocess.run([compiler, ROOT / "bindings" / "c" / "draw.c", "-I", ROOT / "include", "-o", program, _ffi.lib._name,
                    f"-Wl,-rpath,{Path(_ffi.lib._name).parent}"], check=True)
    prompt = 'a "red" apple\\'
    done = subprocess.run([program, path, prompt, tmp_path / "x.ppm", "--steps", "3", "--seed", "2", "--negative", "blue", "--width", "24"],
                          capture_output=True, text=True, check=True)
    assert [stage in done.stderr for stage in ("encode", "denoise", "decode")] == [True] * 3
    expected = session.sample(prompt=prompt, negative_prompt="blue", steps=3, seed=2, width=24)
    assert (tmp_path / "x.ppm").read_bytes() == b"P6\n24 32\n255\n" + expected.images[0].tobytes()
    done = subprocess.run([program, path, "a", tmp_path / "y.ppm", "--height", "20"], capture_output=True, text=True)
    assert done.returncode == 1 and "multiple" in done.stderr and not (tmp_path / "y.ppm").exists()
