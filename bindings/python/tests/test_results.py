"""What comes out: pictures as files and for notebooks, texts, and what results say of themselves."""

import io
import struct
import zlib

import numpy as np
import pytest
from test_inputs import SAMPLE, Argument, var  # noqa: F401 - a fixture
from test_text import folder, llada  # noqa: F401 - fixtures

import diffaccel


def decoded(data):
    """The picture in a PNG file whose lines have no filter."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (size,), kind = struct.unpack(">I", data[at:at + 4]), data[at + 4:at + 8]
        chunks[kind] = data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + chunks[kind]) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0]
        at += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    channels = {0: 1, 2: 3}[colour]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * channels)
    assert depth == 8 and not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, channels)


def test_pictures_are_saved(var, tmp_path):  # noqa: F811
    result = var.session().sample(labels=[0, 1, 2], seed=3)
    result.save(tmp_path / "grid.png")
    sheet = decoded((tmp_path / "grid.png").read_bytes())
    assert sheet.shape == (14, 14, 3)
    for index, image in enumerate(result.images):
        y, x = 2 + index // 2 * 6, 2 + index % 2 * 6
        assert np.array_equal(sheet[y:y + 4, x:x + 4], image)
    assert (sheet[8:12, 8:12] == 255).all()
    result.save(tmp_path / "row.png", columns=3)
    assert decoded((tmp_path / "row.png").read_bytes()).shape == (8, 20, 3)
    single = var.session().sample(labels=[1])
    single.save(str(tmp_path / "one.PNG"))
    assert np.array_equal(decoded((tmp_path / "one.PNG").read_bytes()), single.images[0])
    assert np.array_equal(decoded(single._repr_png_()), single.images[0])
    with pytest.raises(diffaccel.FileError):
        result.save(tmp_path / "nowhere" / "x.png")
    with pytest.raises(Argument, match="columns"):
        result.save(tmp_path / "x.png", columns=0)
    single.close()
    assert single._repr_png_() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.png", "one.PNG", "row.png"]


def test_gray_pictures(fashion, tmp_path):
    result = fashion.session().sample(labels=["sneaker"], steps=2)
    result.save(tmp_path / "gray.png")
    assert np.array_equal(decoded((tmp_path / "gray.png").read_bytes()), result.images[0]) and result.images.shape[3] == 1


def test_pillow(fashion, var, tmp_path):  # noqa: F811
    image = pytest.importorskip("PIL.Image")
    gray, colour = fashion.session().sample(labels=[1, 2], steps=2), var.session().sample(labels=[1])
    assert [picture.mode for picture in gray.pil_images] == ["L", "L"] and colour.pil_images[0].mode == "RGB"
    assert np.array_equal(np.asarray(gray.pil_images[1]), gray.images[1, :, :, 0])
    assert np.array_equal(np.asarray(image.open(io.BytesIO(colour._repr_png_()))), colour.images[0])
    colour.save(tmp_path / "x.bmp")
    assert np.array_equal(np.asarray(image.open(tmp_path / "x.bmp")), colour.images[0])
    with pytest.raises(Argument, match=r"\.png"):
        colour.save(tmp_path / "x")


def test_nothing_to_show(session, tmp_path):
    result = session.sample(**SAMPLE)
    assert result.names == ["latents"] and result._repr_png_() is None and result._repr_html_() is None and str(result) == repr(result)
    for use in (lambda: result.images, lambda: result.pixels, lambda: result.tokens, lambda: result.save(tmp_path / "x.png"),
                lambda: result.pil_images, lambda: result.texts, lambda: result.sequences, lambda: result.save(tmp_path / "x.txt")):
        with pytest.raises(Argument, match="it has latents"):
            use()
    assert not list(tmp_path.iterdir())


def test_texts_are_shown_and_saved(llada, tmp_path):  # noqa: F811
    result = llada.session().sample(prompt=["hello", "h"], length=6)
    assert repr(result).startswith("<diffaccel.Result: 2 samples, 6 unmask steps") and str(result) == "\n".join(result.texts)
    result.save(tmp_path / "texts.txt")
    assert (tmp_path / "texts.txt").read_bytes().decode("utf-8") == "".join(text + "\n" for text in result.texts)
    with pytest.raises(Argument, match="latents.*tokens"):
        result.latents
    for use in (lambda: result.save(tmp_path / "x.png"), lambda: result.images, lambda: result.save(tmp_path / "y.txt", columns=2)):
        with pytest.raises(Argument, match="images|columns"):
            use()
    assert result._repr_png_() is None and result._repr_html_().count("<pre") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]
    result.close()
    assert "closed" in repr(result) and "closed" in str(result)


def test_results_of_every_kind_are_shown(session, var):  # noqa: F811
    assert "latents [1, 4, 8, 8]" in repr(session.sample(**SAMPLE)) and "images [1, 4, 4, 3]" in repr(var.session().sample(labels=[1]))
    assert session.sample(**SAMPLE).stats["tensors"] == {"latents": [1, 4, 8, 8]}
