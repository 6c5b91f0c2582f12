"""A diffusion model with a decoder: images, pixels and latents."""

import numpy as np
import pytest
from conftest import write_autoencoder
from test_sampling import FAST

import diffaccel


@pytest.fixture(scope="module")
def decoding(tiny_path, tmp_path_factory):
    return diffaccel.Model(tiny_path, decoder=write_autoencoder(tmp_path_factory.mktemp("models") / "vae"))


def test_decoder(decoding, tiny):
    with decoding.session() as session:
        stages = []
        result = session.sample(callback=lambda event: stages.append((event.stage, event.latents is None)), **FAST)
    assert result.images.shape == (2, 16, 16, 3) and result.pixels.shape == (2, 3, 16, 16)
    assert stages[:6] == [("denoise", False)] * 6 and set(stages[6:]) == {("decode", True)}
    with tiny.session() as plain:
        np.testing.assert_array_equal(result.latents, plain.sample(**FAST).latents)
    wanted = np.clip(result.pixels.transpose(0, 2, 3, 1) * 127.5 + 128, 0, 255)
    assert np.abs(wanted - result.images).max() <= 1


def test_decoder_alone(decoding, tmp_path):
    with decoding.session() as session, diffaccel.Model(write_autoencoder(tmp_path / "vae")) as autoencoder:
        result = session.sample(**FAST)
        pixels = autoencoder.forward(latents=result.latents)
    assert pixels.shape == result.pixels.shape
    # The forward takes the diffusion model's latents or the autoencoder's own; sampling rescales in between.
    scaled = diffaccel.Model(tmp_path / "vae").forward(latents=result.latents / np.float32(0.18215))
    assert np.allclose(pixels, result.pixels, atol=1e-4) or np.allclose(scaled, result.pixels, atol=1e-4)


def test_decoder_options(decoding):
    with decoding.session() as session:
        assert session.sample(decode=False, **FAST).names == ["latents"]
        whole = session.sample(tile="never", **FAST)
        np.testing.assert_array_equal(whole.images, session.sample(**FAST).images)
        assert session.sample(tile=8, **FAST).images.shape == whole.images.shape
        with pytest.raises(diffaccel.InvalidArgumentError):
            session.sample(tile=-2, **FAST)


def test_cancel_while_decoding(decoding):
    with decoding.session() as session:
        expected = session.sample(**FAST).images
        try:
            session.sample(callback=lambda event: event.stage == "decode", **FAST)
        except diffaccel.Cancelled:
            pass
        np.testing.assert_array_equal(session.sample(**FAST).images, expected)
