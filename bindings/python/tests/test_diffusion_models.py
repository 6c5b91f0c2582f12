"""How pipelines of Stable Diffusion may be opened, and networks of other kinds than the plain one."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import write_autoencoder, write_safetensors
from small_diffusion import UNET, write_sd, write_sdxl
from test_diffusion import ASKED, SIDE, model, path, picture  # noqa: F401 - fixtures among them
from test_inputs import Argument

import diffaccel


def lora(folder, scale=0.5, name="down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"):
    g, width = np.random.default_rng(0), UNET["block_out_channels"][0]
    file = folder / "lora.safetensors"
    write_safetensors(file, {f"unet.{name}.lora_A.weight": (g.standard_normal((2, width)) * scale).astype(np.float32),
                             f"unet.{name}.lora_B.weight": (g.standard_normal((width, 2)) * scale).astype(np.float32)})
    return file


def test_low_rank_updates(path, model, tmp_path):
    file, plain = lora(tmp_path), model.session().sample(**ASKED).latents

    def latents(given):
        return diffaccel.Model(path, lora=given).session().sample(**ASKED).latents

    whole = latents(file)
    assert not np.array_equal(whole, plain)
    np.testing.assert_array_equal(latents((str(file), 1.0)), whole)
    np.testing.assert_array_equal(latents([file]), whole)
    np.testing.assert_array_equal(latents((file, 0)), plain)
    np.testing.assert_array_equal(latents([]), plain)
    np.testing.assert_allclose(latents([(file, 0.5), (file, 0.5)]), whole, rtol=1e-4, atol=1e-4)
    assert not np.allclose(latents((file, 0.5)), whole, rtol=1e-3, atol=1e-3)
    with pytest.raises(diffaccel.DiffAccelError, match="lora|nowhere"):
        latents(tmp_path / "nowhere.safetensors")
    with pytest.raises(diffaccel.DiffAccelError, match="to_x"):
        latents(lora(tmp_path, name="down_blocks.0.attentions.0.to_x"))


def test_text_encoders_on_demand(path, model):
    sparing = diffaccel.Model(path, text_encoders="on_demand")
    np.testing.assert_array_equal(sparing.session().sample(**ASKED).latents, model.session().sample(**ASKED).latents)
    with pytest.raises(Argument, match="text_encoders"):
        diffaccel.Model(path, text_encoders="never")


def test_how_convolutions_are_computed(path, model):
    expected = model.session().sample(**ASKED).pixels
    for method in ("direct", "winograd", "auto"):
        opened = diffaccel.Model(path, convolution=method)
        np.testing.assert_allclose(opened.session().sample(**ASKED).pixels, expected, atol=1e-3)
        assert opened.description["convolution"] == method
        told = opened.description["convolutions"]
        forms = [layer["form"] for layer in told["layers"]]
        assert told["forms"] == {form: forms.count(form) for form in ("direct", "F(2,3)", "F(4,3)")}
        assert all(("because" in layer) == (layer["form"] == "direct") for layer in told["layers"])
        # The encoder of pictures, which this request does not need, is in neither.
        counted = opened.session().estimate(prompt="a", height=opened.description["side"], width=opened.description["side"])
        assert counted["convolutions"] == told["forms"]
        if method == "direct":
            assert set(forms) == {"direct"}
    with pytest.raises(Argument, match="convolution"):
        diffaccel.Model(path, convolution="fast")


def test_precision(path, model):
    expected = model.session().sample(**ASKED).latents
    plain = diffaccel.Model(path, precision="f32")
    assert plain.description["precision"] == model.description["precision"] == "f32"
    np.testing.assert_array_equal(plain.session().sample(**ASKED).latents, expected)
    chosen = diffaccel.Model(path, precision="auto")
    result = chosen.session().sample(**ASKED)
    assert result.stats["precision"] == chosen.description["precision"]
    if chosen.description["precision"] == "bf16":
        assert not np.array_equal(result.latents, expected)
        # Random networks repeat an error in every step.
        assert np.abs(result.latents - expected).max() < 0.1 * np.abs(expected).max()
    with pytest.raises(diffaccel.UnsupportedError, match="bf16"):
        diffaccel.Model(path, precision="int8")
    with pytest.raises(Argument, match="precision"):
        diffaccel.Model(path, precision="double")


def test_precision_without_the_instructions(path):
    """With kernels that have no bf16, "bf16" is refused with what to do, and "auto" is f32."""
    program = f"""
import diffaccel
assert diffaccel.Model({str(path)!r}, precision="auto").description["precision"] == "f32"
try:
    diffaccel.Model({str(path)!r}, precision="bf16")
except diffaccel.UnsupportedError as error:
    assert "AVX512_BF16" in str(error) and "auto" in str(error), error
else:
    raise SystemExit("not refused")
"""
    paths = os.pathsep.join(filter(None, [str(pathlib.Path(diffaccel.__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "DIFFACCEL_ISA": "base", "PYTHONPATH": paths})


def test_variants(tmp_path, model):
    folder = write_sd(tmp_path / "both")
    for file in ("text_encoder/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"):
        whole = folder / f"{file}.safetensors"
        whole.rename(folder / f"{file}.fp16.safetensors")
    np.testing.assert_array_equal(
        diffaccel.Model(folder, variant="fp16").session().sample(**ASKED).latents, model.session().sample(**ASKED).latents)
    with pytest.raises(diffaccel.DiffAccelError, match="bf16"):
        diffaccel.Model(folder, variant="bf16")


def test_tokenizers_elsewhere(tmp_path, model):
    folder = write_sd(tmp_path / "whole")
    (folder / "tokenizer").rename(tmp_path / "tokenizer")
    with pytest.raises(diffaccel.DiffAccelError, match="tokenizer"):
        diffaccel.Model(folder)
    opened = diffaccel.Model(folder, tokenizer=tmp_path / "tokenizer")
    np.testing.assert_array_equal(opened.session().sample(**ASKED).latents, model.session().sample(**ASKED).latents)


def test_settings_are_for_pipelines(tiny_path, path, tmp_path):
    for name, value in dict(lora=tmp_path / "x", text_encoders="on_demand", tokenizer=tmp_path, prediction_type="epsilon").items():
        with pytest.raises(diffaccel.UnsupportedError, match="pipelines of prompts"):
            diffaccel.Model(tiny_path, **{name: value})
    with pytest.raises(Argument, match="prediction_type"):
        diffaccel.Model(path, prediction_type="noise")


def test_networks_that_are_shown_the_mask(tmp_path):
    painter = diffaccel.Model(write_sd(tmp_path / "painter", in_channels=9))
    assert painter.description["inpainting"] is True
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:16] = 255
    assert painter.session().sample(**ASKED, image=picture(), mask=mask).images.shape == (1, SIDE, SIDE, 3)
    with pytest.raises(diffaccel.DiffAccelError, match="mask"):
        painter.session().sample(**ASKED)


def test_sizes_that_a_network_is_told(tmp_path):
    session = diffaccel.Model(write_sdxl(tmp_path / "xl")).session()
    plain = session.sample(**ASKED)
    np.testing.assert_array_equal(session.sample(**ASKED, original_size=[SIDE, SIDE], crop=(0, 0), target_size=np.array([SIDE, SIDE])).latents, plain.latents)
    assert not np.array_equal(session.sample(**ASKED, crop=[8, 0]).latents, plain.latents)
    assert not np.array_equal(session.sample(**ASKED, prompt_2="a cat").latents, plain.latents)
    with pytest.raises(Argument, match="crop"):
        session.sample(**ASKED, crop=[8])


def test_another_autoencoder(path, tmp_path):
    other = diffaccel.Model(path, decoder=write_autoencoder(tmp_path / "factor 2"))
    with pytest.raises(diffaccel.UnsupportedError, match="encode"):
        other.session().sample(**ASKED, image=picture(shape=(8, 8, 3)))
    assert other.session().sample(**ASKED).images.shape == (1, 8, 8, 3)
