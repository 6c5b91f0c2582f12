"""Pictures from prompts: what requests may bring, what results carry, and how a model may be opened."""

import struct
import zlib

import numpy as np
import pytest
from small_diffusion import write_sd
from test_inputs import Argument
from test_results import decoded

import diffaccel

SIDE = 32
ASKED = dict(prompt="red apple", steps=4, sampler="ddim", seed=3)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_sd(tmp_path_factory.mktemp("diffusion") / "small, sd")


@pytest.fixture(scope="module")
def model(path):
    return diffaccel.Model(path)


@pytest.fixture
def session(model):
    with model.session(threads=2) as session:
        yield session


def texts_of(data):
    """The texts in a PNG file by keyword."""
    texts, at = {}, 8
    while at < len(data):
        (size,), kind = struct.unpack(">I", data[at:at + 4]), data[at + 4:at + 8]
        body = data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0]
        if kind in (b"tEXt", b"iTXt"):
            keyword, _, text = body.partition(b"\0")
            texts[keyword.decode()] = text.decode("latin-1") if kind == b"tEXt" else text[4:].decode("utf-8")
        at += 12 + size
    return texts


def picture(seed=0, shape=(SIDE, SIDE, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def floats(bytes_):
    return (bytes_.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)


def test_a_prompt_makes_a_picture(model, session):
    stages = []
    result = session.sample(**ASKED, callback=lambda event: stages.append((event.stage, event.step, event.steps)))
    assert result.images.shape == (1, SIDE, SIDE, 3) and result.latents.shape == (1, 4, 4, 4) and result.images.std() > 0
    assert stages == [("encode", 1, 1), *(("denoise", i, 4) for i in (1, 2, 3, 4)), ("decode", 1, 1)]
    assert model.family == "stable_diffusion" and model.description["kind"] == "sd"
    other = session.sample(**{**ASKED, "prompt": "a cat"})
    assert not np.array_equal(result.latents, other.latents), "the prompt says nothing"
    assert np.array_equal(result.latents, session.sample(**ASKED, negative_prompt="").latents)
    assert not np.array_equal(result.latents, session.sample(**ASKED, negative_prompt="blue").latents)


def test_batches_with_a_seed_each(session):
    asked = dict(steps=3, sampler="euler_a", negative_prompt=["", "blue", ""])
    both = session.sample(prompt=["red", "a cat", "x"], seeds=[5, 6, 7], **asked)
    for row, (prompt, negative, seed) in enumerate([("red", "", 5), ("a cat", "blue", 6), ("x", "", 7)]):
        alone = session.sample(prompt=prompt, seeds=[seed], **{**asked, "negative_prompt": negative})
        np.testing.assert_allclose(alone.latents[0], both.latents[row], atol=1e-5)
    twice = session.sample(prompt=np.array(["red", "a cat"]), images_per_prompt=2, seeds=[1, 2, 3, 4], steps=2)
    assert twice.images.shape[0] == 4 and not np.array_equal(twice.images[0], twice.images[1])
    for seeds in ([1, 2], [1] * 5):
        with pytest.raises(Argument, match="seeds"):
            session.sample(prompt=["red", "a cat"], images_per_prompt=2, seeds=seeds, steps=2)


@pytest.mark.parametrize("size", [(8, 8), (64, 32), (40, 48)])
def test_sizes(session, size):
    height, width = size
    assert session.sample(**ASKED, height=height, width=width).images.shape == (1, height, width, 3)


@pytest.mark.parametrize("sizes, words", [
    (dict(height=20), "height must be a multiple of"), (dict(width=7), "width"), (dict(height=0), "height"), (dict(width=65536), "width"),
    (dict(height=-8), "height"),
])
def test_sizes_that_are_none(session, sizes, words):
    with pytest.raises(Argument, match=words):
        session.sample(**ASKED, **sizes)


def test_pictures_as_people_have_them(session):
    """One picture however it is given; and what a request begins with matters."""
    bytes_ = picture()
    expected = session.sample(**ASKED, image=floats(bytes_)[None], strength=0.5)
    for given in (floats(bytes_), bytes_, bytes_[None], [bytes_], floats(bytes_).astype(np.float64), floats(bytes_)[:, ::-1][:, ::-1]):
        result = session.sample(**ASKED, image=given, strength=0.5)
        np.testing.assert_allclose(result.latents, expected.latents, atol=1e-5)
    assert not np.array_equal(expected.latents, session.sample(**ASKED, image=picture(1), strength=0.5).latents)
    gray = picture(shape=(SIDE, SIDE))
    np.testing.assert_array_equal(
        session.sample(**ASKED, image=gray).latents, session.sample(**ASKED, image=np.stack([gray] * 3, -1)).latents)
    clear = np.concatenate([bytes_, np.full((SIDE, SIDE, 1), 255, np.uint8)], -1)
    np.testing.assert_allclose(session.sample(**ASKED, image=clear, strength=0.5).latents, expected.latents, atol=1e-5)
    hidden = np.concatenate([bytes_, np.zeros((SIDE, SIDE, 1), np.uint8)], -1)
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    np.testing.assert_array_equal(session.sample(**ASKED, image=hidden).latents, session.sample(**ASKED, image=white).latents)
    larger = picture(shape=(64, SIDE, 3))
    assert session.sample(**ASKED, image=larger).images.shape == (1, 64, SIDE, 3), "the size is the picture's"


def test_pictures_of_pillow(session):
    image = pytest.importorskip("PIL.Image")
    bytes_ = picture()
    expected = session.sample(**ASKED, image=bytes_)
    for given in (image.fromarray(bytes_), [image.fromarray(bytes_)], image.fromarray(bytes_).convert("RGBA")):
        np.testing.assert_array_equal(session.sample(**ASKED, image=given).latents, expected.latents)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, 16:] = 255
    expected = session.sample(**ASKED, image=bytes_, mask=mask)
    for given in (image.fromarray(mask), image.fromarray(mask).convert("RGB"), image.fromarray(mask).convert("1")):
        np.testing.assert_array_equal(session.sample(**ASKED, image=bytes_, mask=given).latents, expected.latents)
    with pytest.raises(diffaccel.ShapeError, match="alike"):
        session.sample(prompt=["a", "b"], steps=2, image=[image.fromarray(bytes_), image.fromarray(bytes_).resize((16, 16))])


def test_masks(session):
    """Where the mask is black the picture stays, whichever way it is said."""
    bytes_, where = picture(), np.zeros((SIDE, SIDE), bool)
    where[:, 16:] = True
    expected = session.sample(**ASKED, image=bytes_, mask=where)
    plain = session.sample(**ASKED, image=bytes_, mask=np.zeros((SIDE, SIDE)))
    np.testing.assert_array_equal(expected.latents[..., :2], plain.latents[..., :2])
    assert not np.allclose(expected.latents[..., 2:], plain.latents[..., 2:])
    forms = [where.astype(np.float32), where[None], where[None, None].astype(float), where.astype(np.uint8) * 255, where.astype(np.uint8),
             (where.astype(np.uint8) * 255)[None], (where.astype(np.uint8) * 255)[..., None], np.stack([where.astype(np.uint8) * 255] * 3, -1),
             [where.astype(np.uint8) * 255]]
    for given in forms:
        np.testing.assert_array_equal(session.sample(**ASKED, image=bytes_, mask=given).latents, expected.latents)


@pytest.mark.parametrize("given, error, words", [
    (dict(image=np.zeros((SIDE, SIDE, 3))), diffaccel.ShapeError, r"\[n, 3, H, W\]"), (dict(image=np.zeros((4, SIDE, SIDE))), diffaccel.ShapeError, "image"),
    (dict(image=np.zeros((SIDE, SIDE, 3), np.int64)), TypeError, "uint8"), (dict(image=b"PNG"), TypeError, "image"),
    (dict(image="x.png"), TypeError, "image"), (dict(image=picture(shape=(SIDE, SIDE, 2))), diffaccel.ShapeError, "bytes"),
    (dict(image=np.full((3, SIDE, SIDE), 255.0)), Argument, "uint8"), (dict(image=picture(shape=(20, 20, 3))), Argument, "multiple"),
    (dict(image=picture(), height=64), diffaccel.ShapeError, "scale it"), (dict(image=picture(shape=(2, SIDE, SIDE, 3))), diffaccel.ShapeError, "2 of"),
    (dict(image=[picture(), picture(shape=(8, 8, 3))]), diffaccel.ShapeError, "alike"), (dict(strength=0.5), Argument, "strength"),
    (dict(mask=np.ones((SIDE, SIDE))), diffaccel.DiffAccelError, "mask"), (dict(image=picture(), mask=np.ones((8, 8))), diffaccel.ShapeError, "mask"),
    (dict(image=picture(), mask=np.ones((1, 3, SIDE, SIDE))), diffaccel.ShapeError, "mask"), (dict(image=picture(), mask="x"), TypeError, "mask"),
    (dict(image=picture(), strength=1.5), Argument, "strength"), (dict(image=picture(), strength=0.1), Argument, "less than one step"),
    (dict(image=np.full((3, SIDE, SIDE), np.nan)), diffaccel.NotFiniteError, "image"), (dict(image=[]), diffaccel.ShapeError, "image"),
])
def test_pictures_that_are_none(session, given, error, words):
    with pytest.raises(error, match=words):
        session.sample(**ASKED, **given)


def test_prompts_or_embeddings(session):
    states = np.random.default_rng(0).standard_normal((1, 16, 12)).astype(np.float32)
    asked = dict(steps=2, guidance=1)
    assert session.sample(prompt_embeds=states, **asked).images.shape == (1, SIDE, SIDE, 3)
    for given, error, words in [
        (dict(), Argument, "prompt or prompt_embeds"), (dict(prompt="a", prompt_embeds=states), Argument, "both"),
        (dict(prompt_embeds=states[..., :8]), diffaccel.ShapeError, "12"), (dict(prompt=7), TypeError, "prompt must be a string"),
        (dict(prompt=[1, 2]), TypeError, "prompt"), (dict(prompt=["a", "b"], negative_prompt=["x"] * 3), Argument, "negative_prompt"),
        (dict(prompt="a", tokens=[1]), Argument, "tokens"), (dict(prompt="a", labels=[1]), Argument, "labels"),
    ]:
        with pytest.raises(error, match=words) as raised:
            session.sample(**given, **asked)
        assert "tokens=" not in str(raised.value)


def test_what_a_picture_was_made_with(session, tmp_path):
    result = session.sample(prompt="red apple, ripe", negative_prompt="blue", steps=6, guidance=7, seed=42, height=16, width=24)
    assert result.parameters == [
        'red apple, ripe\nNegative prompt: blue\nSteps: 6, Sampler: PLMS, CFG scale: 7, Seed: 42, Size: 24x16, Model: "small, sd", '
        f"Version: DiffAccel {diffaccel.__version__}"]
    result.save(tmp_path / "one.png")
    assert texts_of((tmp_path / "one.png").read_bytes()) == {"parameters": result.parameters[0]}
    assert texts_of(result._repr_png_()) == {"parameters": result.parameters[0]}
    several = session.sample(prompt=["ein grüner Apfel", "日本"], images_per_prompt=2, seed=1, steps=3, sampler="dpmpp_2m_karras", image=picture(),
                             strength=0.75, clip_skip=1)
    lines = several.parameters
    assert [line.split("\n")[0] for line in lines] == ["ein grüner Apfel"] * 2 + ["日本"] * 2 and "Negative" not in lines[0]
    for index, line in enumerate(lines):
        assert "Steps: 3, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 1, Size: 32x32, " in line
        assert "Denoising strength: 0.75, Clip skip: 2, " in line and line.endswith(f"Batch size: 4, Batch pos: {index}")
    several.save(tmp_path / "several.png")
    assert texts_of((tmp_path / "several.png").read_bytes()) == {"parameters": lines[0]}
    several.save(tmp_path / "third.png", index=2)
    assert texts_of((tmp_path / "third.png").read_bytes()) == {"parameters": lines[2]}
    assert np.array_equal(decoded((tmp_path / "third.png").read_bytes()), several.images[2])
    for index in (-1, 4):
        with pytest.raises(Argument, match="index"):
            several.save(tmp_path / "x.png", index=index)
    japanese = session.sample(prompt="日本", steps=2, seeds=[9])
    assert texts_of(japanese._repr_png_())["parameters"].startswith("日本\nSteps: 2, ") and "Batch" not in japanese.parameters[0]
    pillow = pytest.importorskip("PIL.Image")
    assert pillow.open(tmp_path / "one.png").text == {"parameters": result.parameters[0]}
    assert [image.info["parameters"] for image in several.pil_images] == lines
    noise = np.zeros((1, 4, 4, 4), np.float32)
    assert "Seed" not in session.sample(prompt="a", steps=2, noise=noise).parameters[0]
    long = session.sample(prompt="a" * 100_000, steps=2).parameters[0]
    assert 1000 < len(long) < 5000


def test_others_have_no_parameters(tiny):
    assert tiny.session().sample(labels=[1], steps=2).parameters == []


def test_previews(session):
    shapes = []
    session.sample(**ASKED, previews="linear", callback=lambda event: shapes.append(None if event.preview is None else event.preview.shape))
    session.sample(**ASKED, previews="decoder", callback=lambda event: shapes.append(None if event.preview is None else event.preview.shape))
    assert shapes == [None, *[(1, 4, 4, 3)] * 4, None] + [None, *[(1, SIDE, SIDE, 3)] * 4, None]
    with pytest.raises(Argument, match="previews"):
        session.sample(**ASKED, previews="all")
