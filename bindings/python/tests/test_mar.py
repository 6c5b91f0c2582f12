"""MAR: sampling by tokens, requests, conversion of published files, the command line."""

import json

import numpy as np
import pytest
from small_mar import MAR, mar_tensors, write_mar
from test_command_line import PROGRAM, call
from torch_files import save

import diffaccel
from diffaccel import convert

TOKENS = MAR["side"] ** 2
without_program = pytest.mark.skipif(not PROGRAM.is_file(), reason="the command line is not built")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_mar(tmp_path_factory.mktemp("mar") / "model")


@pytest.fixture(scope="module")
def model(folder):
    return diffaccel.Model(folder)


def test_description(model):
    facts = model.description
    assert facts["family"] == "mar" and facts["input"] == [4, 3, 3] and facts["unknown_keys"] == []
    assert facts["config"]["tokens"] == TOKENS and facts["config"]["num_classes"] == 5 and facts["null_class"] == 5
    assert facts["guidance"] == 2 and facts["guidance_schedule"] == "linear" and facts["head_steps"] == "ddim10"
    assert facts["blocks"] == 7 and "decoder_blocks.2.mlp" in facts["sites"] and facts["flops"] > 0
    assert not any("heads" in text for text in facts["assumptions"])


def test_sampling_gives_images(model):
    seen = []

    def keep(event):
        if event.stage == "unmask":
            seen.append((event.timestep, event.latents, event.preview))

    result = model.session(threads=2).sample(labels=[0, 5, 2], seed=3, previews=True, callback=keep)
    assert [left for left, _, _ in seen] == [8, 6, 3, 0]
    assert result.latents.shape == (3, 4, 3, 3) and result.images.shape == (3, 6, 6, 3)
    np.testing.assert_array_equal(seen[-1][1], result.latents)
    np.testing.assert_array_equal(seen[-1][2], result.images)
    # What is not made yet is 0: one token of nine is there after the first step.
    assert ((seen[0][1] != 0).any(axis=1).sum(axis=(1, 2)) == 1).all()
    again = model.session(threads=1).sample(labels=[0, 5, 2], seed=3)
    np.testing.assert_array_equal(again.latents, result.latents)
    assert again.stats["totals"]["allocations_after_first_step"] == 0 and again.stats["sampler"] == "mar"


def test_orders_and_noise_may_be_given(model):
    g = np.random.default_rng(0)
    order = np.stack([g.permutation(TOKENS) for _ in range(2)])
    noise, steps = g.standard_normal((2, 4, 3, 3)), g.standard_normal((10, 2, 4, 3, 3))
    session = model.session()
    both = session.sample(labels=[1, 4], order=order, noise=noise, step_noise=steps, seed=1).latents
    np.testing.assert_array_equal(session.sample(labels=[1, 4], order=order, noise=noise, step_noise=steps, seed=8).latents, both)
    for index, label in enumerate((1, 4)):
        one = session.sample(labels=[label], order=order[index:index + 1], noise=noise[index:index + 1], step_noise=steps[:, index:index + 1])
        np.testing.assert_array_equal(one.latents[0], both[index])
    with pytest.raises(diffaccel.ShapeError, match="order"):
        session.sample(labels=[1, 4], order=order[:1])
    with pytest.raises(diffaccel.InvalidArgumentError, match="permutation"):
        session.sample(labels=[1, 4], order=np.zeros((2, TOKENS), np.int64))
    with pytest.raises(diffaccel.NotFiniteError, match="noise"):
        session.sample(labels=[1, 4], noise=noise * np.nan)


@pytest.mark.parametrize("wrong", [
    dict(steps=0), dict(guidance=-1.0), dict(guidance_schedule="cosine"), dict(temperature=-1.0), dict(head_steps="ddim300"),
    dict(head_steps=0), dict(order="random"), dict(labels=[6]), dict(sampler="ddim"), dict(eta=0.5)])
def test_requests_are_refused_by_name(model, wrong):
    with pytest.raises(diffaccel.InvalidArgumentError, match=next(iter(wrong)).removesuffix("s")):
        model.session().sample(**{"labels": [1], **wrong})


@pytest.mark.parametrize("extra, match", [
    (dict(encoder_num_heads=5), "encoder_num_heads"), (dict(img_size=512), "img_size"), (dict(norm_eps=1e-5), "norm_eps"),
    (dict(num_sampling_steps="fast"), "num_sampling_steps"), (dict(cfg_schedule="cosine"), "cfg_schedule"), (dict(qkv_bias=False), "qkv_bias"),
    (dict(diffloss_d=5), "res_blocks.2"), (dict(temperature=-1), "temperature")])
def test_configs_are_refused_by_name(tmp_path, extra, match):
    with pytest.raises(diffaccel.DiffAccelError, match=match):
        diffaccel.Model(write_mar(tmp_path / "model", vae=False, extra=extra))


def test_plans(model):
    plain = model.session().sample(labels=[1, 2], seed=3)
    lists = {"encoder_blocks": [0, 1], "decoder_blocks": [0, 1, 2]}
    same = model.session(plan={"method": "depth", "keep": lists}).sample(labels=[1, 2], seed=3)
    np.testing.assert_array_equal(same.latents, plain.latents)
    pruned = model.session(plan={"method": "depth", "keep": {"decoder_blocks": [0, 2]}}).sample(labels=[1, 2], seed=3)
    assert pruned.stats["totals"]["skipped"] > 0 and not np.array_equal(pruned.latents, plain.latents)
    for plan in ("alternate", "async:2", "depth:0"):
        with pytest.raises(diffaccel.IncompatibleError):
            model.session(plan=plan)


@pytest.mark.parametrize("layout", ["plain", "training"])
def test_conversion(tmp_path, model, layout):
    state = mar_tensors(MAR)
    other = mar_tensors(MAR, 9)
    content = state if layout == "plain" else {
        "model": other, "model_ema": state, "optimizer": {"state": {}}, "epoch": 399, "scaler": {"scale": 1.0}, "args": None}
    save(tmp_path / "checkpoint-last.pth", content)
    said = []
    assert convert.convert(tmp_path / "checkpoint-last.pth", tmp_path / "out", heads=3, say=said.append) == "mar"
    assert ("took \"model_ema\"" in "\n".join(said)) == (layout == "training")
    with diffaccel.Model(tmp_path / "out") as found:
        assert found.description["unknown_keys"] == [] and found.description["config"] == model.description["config"]
        given = dict(labels=[1, 3], seed=5, steps=4, guidance=2.0, head_steps="ddim10", decode=False)
        np.testing.assert_array_equal(found.session().sample(**given).latents, model.session().sample(**given).latents)


def test_conversion_of_the_autoencoder(tmp_path):
    """The published one by its shape: 16 channels at a sixteenth of the size, and its scale."""
    g, state = np.random.default_rng(0), {}

    def conv(name, out, inside, k=3):
        state[f"{name}.weight"], state[f"{name}.bias"] = (g.standard_normal((out, inside, k, k)) * 0.1).astype(np.float32), np.zeros(out, np.float32)

    def norm(name):
        state[f"{name}.weight"], state[f"{name}.bias"] = np.ones(32, np.float32), np.zeros(32, np.float32)

    def block(name):
        for part in "12":
            norm(f"{name}.norm{part}"), conv(f"{name}.conv{part}", 32, 32)

    def attention(name):
        norm(f"{name}.norm")
        for part in ("q", "k", "v", "proj_out"):
            conv(f"{name}.{part}", 32, 32, 1)

    conv("quant_conv", 32, 32, 1), conv("post_quant_conv", 16, 16, 1)
    for half, inside, out, level, layers in (("encoder", 3, 32, "down", 2), ("decoder", 16, 3, "up", 3)):
        conv(f"{half}.conv_in", 32, inside), norm(f"{half}.norm_out"), conv(f"{half}.conv_out", out, 32)
        block(f"{half}.mid.block_1"), attention(f"{half}.mid.attn_1"), block(f"{half}.mid.block_2")
        for index in range(5):
            for layer in range(layers):
                block(f"{half}.{level}.{index}.block.{layer}")
                if half == "encoder" and index == 4:
                    attention(f"{half}.{level}.{index}.attn.{layer}")
            if half == "encoder" and index < 4:
                conv(f"{half}.down.{index}.downsample.conv", 32, 32)
            if half == "decoder" and index:
                conv(f"{half}.up.{index}.upsample.conv", 32, 32)
    save(tmp_path / "kl16.ckpt", {"model": state})
    said = []
    assert convert.convert(tmp_path / "kl16.ckpt", tmp_path / "vae", say=said.append) == "autoencoder_kl"
    assert any("0.2325" in text for text in said)
    with diffaccel.Model(tmp_path / "vae") as model:
        assert model.description["scaling_factor"] == pytest.approx(0.2325) and model.description["encoder"]
        assert model.forward(latents=g.standard_normal((1, 16, 2, 2))).shape == (1, 3, 32, 32)
        assert model.forward(image=g.standard_normal((1, 3, 32, 32))).shape == (1, 32, 2, 2)


@without_program
def test_command_line(tmp_path, folder):
    facts = json.loads(call("info", folder, "--json").stdout)
    assert facts["family"] == "mar"
    call("sample", folder, "--labels", "1,4", "--steps", "3", "--guidance", "1.5", "--guidance-schedule", "constant", "--head-steps", "5",
         "--temperature", "0.9", "--order", "numpy", "--out", tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 0
    assert "head-steps" in call("sample", folder, "--help").stdout
    wrong = call("sample", folder, "--labels", "1", "--head-steps", "ddim300", "--out", tmp_path / "b.png", code=1)
    assert "head_steps" in wrong.stderr
