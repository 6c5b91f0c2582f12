"""Models that draw a picture scale by scale: VAR, its VQ-VAE, and CoDe."""

import json

import numpy as np
import pytest
from conftest import write_safetensors

import diffaccel

SIDES = [1, 2, 3, 4]
TOKENS, CODES, CHANNELS, CLASSES = 30, 24, 4, 5


def _random(g, shapes):
    tensors = {}
    for name, shape in shapes.items():
        scale = 0.2 if len(shape) == 1 else 1.0 if "emb" in name or "pos_" in name else 0.8 / np.sqrt(np.prod(shape[1:]))
        tensors[name] = (g.standard_normal(shape) * scale).astype(np.float32)
        if "norm" in name and name.endswith("weight") and len(shape) == 1:
            tensors[name] += 1
    return tensors


def var_tensors(width=32, depth=2, seed=0):
    """Random weights of a VAR under official names."""
    d = width
    shapes = {"pos_start": (1, 1, d), "pos_1LC": (1, TOKENS, d), "lvl_embed.weight": (len(SIDES), d),
              "class_emb.weight": (CLASSES + 1, d), "word_embed.weight": (d, CHANNELS), "word_embed.bias": (d,),
              "head_nm.ada_lin.1.weight": (2 * d, d), "head_nm.ada_lin.1.bias": (2 * d,),
              "head.weight": (CODES, d), "head.bias": (CODES,)}
    for i in range(depth):
        block = f"blocks.{i}"
        shapes |= {f"{block}.attn.mat_qkv.weight": (3 * d, d), f"{block}.attn.scale_mul_1H11": (1, 2, 1, 1)}
        shapes |= {f"{block}.attn.{bias}": (d,) for bias in ("q_bias", "zero_k_bias", "v_bias")}
        for layer, out, inside in (("attn.proj", d, d), ("ffn.fc1", 4 * d, d), ("ffn.fc2", d, 4 * d), ("ada_lin.1", 6 * d, d)):
            shapes |= {f"{block}.{layer}.weight": (out, inside), f"{block}.{layer}.bias": (out,)}
    return _random(np.random.default_rng(seed), shapes)


def vqvae_tensors():
    """Random weights of a VQ-VAE of one level, decoder and encoder."""
    shapes = {"quantize.embedding.weight": (CODES, CHANNELS)}

    def conv(name, inside, out, kernel=3):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, inside, kernel, kernel), (out,)

    def norm(name):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (32,)

    def block(name):
        for part in "12":
            norm(f"{name}.norm{part}"), conv(f"{name}.conv{part}", 32, 32)

    def attention(name):
        norm(f"{name}.norm"), conv(f"{name}.qkv", 32, 96, 1), conv(f"{name}.proj_out", 32, 32, 1)

    for index in range(4):
        conv(f"quantize.quant_resi.qresi_ls.{index}", CHANNELS, CHANNELS)
    conv("quant_conv", CHANNELS, CHANNELS), conv("post_quant_conv", CHANNELS, CHANNELS)
    for half, inside, out, layers, level in (("encoder", 3, CHANNELS, 1, "down.0"), ("decoder", CHANNELS, 3, 2, "up.0")):
        conv(f"{half}.conv_in", inside, 32), norm(f"{half}.norm_out"), conv(f"{half}.conv_out", 32, out)
        block(f"{half}.mid.block_1"), attention(f"{half}.mid.attn_1"), block(f"{half}.mid.block_2")
        for layer in range(layers):
            block(f"{half}.{level}.block.{layer}"), attention(f"{half}.{level}.attn.{layer}")
    return _random(np.random.default_rng(5), shapes)


def write_var(folder, codes=True, **changes):
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", var_tensors(**changes))
    (folder / "config.json").write_text(json.dumps({"family": "var", "patch_nums": SIDES, "top_k": 12, "top_p": 0.9}))
    if codes:
        (folder / "vae").mkdir()
        write_safetensors(folder / "vae" / "model.safetensors", vqvae_tensors())
        (folder / "vae" / "config.json").write_text(json.dumps({"family": "vqvae", "patch_nums": SIDES}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("scales")
    write_var(root / "var")
    write_var(root / "refiner", codes=False, width=16, depth=1, seed=3)
    (root / "code.json").write_text(json.dumps({"method": "code", "refiner": "refiner", "draft_scales": 2}))
    return root


@pytest.fixture(scope="module")
def model(folder):
    return diffaccel.Model(folder / "var")


def test_sampling_gives_images_and_tokens(model):
    assert model.family == "var" and model.description["config"]["patch_nums"] == SIDES
    scales = []

    def keep(event):
        if event.stage == "scale":
            scales.append((event.timestep, event.network, event.preview, event.latents))

    result = model.session().sample(labels=[0, 5, 2], seed=3, previews=True, callback=keep)
    assert result.images.shape == (3, 4, 4, 3) and result.images.dtype == np.uint8
    assert result.tokens.shape == (3, TOKENS) and result.tokens.dtype == np.int64
    assert result.tokens.min() >= 0 and result.tokens.max() < CODES
    assert [scale[:2] for scale in scales] == [(side, 0) for side in SIDES]
    np.testing.assert_array_equal(scales[-1][2], result.images)
    np.testing.assert_array_equal(scales[-1][3], result.latents)
    again = model.session().sample(labels=[0, 5, 2], seed=3)
    np.testing.assert_array_equal(again.tokens, result.tokens)


def test_settings_per_scale(model):
    session = model.session()
    greedy = session.sample(labels=[1], top_k=1, seed=1).tokens
    np.testing.assert_array_equal(session.sample(labels=[1], top_k=[1, 1, 1, 1], seed=2).tokens, greedy)
    uniforms = np.random.default_rng(0).random((2, TOKENS), np.float32)
    both = session.sample(labels=[1, 4], uniforms=uniforms).tokens
    for index, label in enumerate((1, 4)):
        np.testing.assert_array_equal(session.sample(labels=[label], uniforms=uniforms[index : index + 1]).tokens[0], both[index])
    hot = session.sample(labels=[1, 4], uniforms=uniforms, temperature=[1, 1.5, 2, 3], top_p=0, guidance=0).tokens
    assert (hot != both).any()
    assert session.sample(labels=[1], more_smooth=True).images.shape == (1, 4, 4, 3)
    for mistake in (dict(top_k=[1, 2]), dict(top_p=2), dict(temperature=0)):
        with pytest.raises(diffaccel.InvalidArgumentError):
            session.sample(labels=[1], **mistake)
    with pytest.raises(diffaccel.ShapeError):
        session.sample(labels=[1], uniforms=uniforms)
    with pytest.raises(diffaccel.InvalidArgumentError, match='no tensor "noise"'):
        session.sample(labels=[1], noise=np.zeros((1, CHANNELS, 4, 4), np.float32))


def test_a_known_picture_is_kept(model):
    g = np.random.default_rng(4)
    image = g.uniform(-1, 1, (1, 3, 4, 4)).astype(np.float32)
    session = model.session()
    asked = dict(labels=[2], image=image, seed=1)
    whole = session.sample(mask=np.ones((1, 4, 4)), **asked)
    half = np.zeros((1, 4, 4), np.float32)
    half[:, :, :2] = 1
    part = session.sample(mask=half, **asked)
    np.testing.assert_array_equal(part.latents[..., :2], whole.latents[..., :2])
    assert (part.latents[..., 2:] != whole.latents[..., 2:]).any()
    free = session.sample(mask=np.zeros((1, 4, 4)), **asked)
    np.testing.assert_array_equal(free.tokens, session.sample(labels=[2], seed=1).tokens)
    with pytest.raises(diffaccel.InvalidArgumentError):
        session.sample(labels=[2], mask=half)
    with pytest.raises(diffaccel.ShapeError):
        session.sample(labels=[2, 3], image=image, mask=half)


def test_code(folder, model):
    plain = model.session().sample(labels=[0, 3], seed=2)
    from_file = model.session(diffaccel.Plan.load(folder / "code.json")).sample(labels=[0, 3], seed=2)
    refiner = diffaccel.Model(folder / "refiner")
    plan = diffaccel.Plan(code={"draft_scales": 2})
    given = model.session(plan, partner=refiner).sample(labels=[0, 3], seed=2)
    named = diffaccel.Plan(code={"draft_scales": 2, "refiner": str(folder / "refiner")})
    np.testing.assert_array_equal(given.tokens, from_file.tokens)
    np.testing.assert_array_equal(model.session(named).sample(labels=[0, 3], seed=2).tokens, from_file.tokens)
    np.testing.assert_array_equal(given.tokens[:, :5], plain.tokens[:, :5])
    own = model.session(plan, partner=model).sample(labels=[0, 3], seed=2)
    np.testing.assert_array_equal(own.tokens, plain.tokens)
    np.testing.assert_array_equal(own.latents, plain.latents)
    facts = named.describe(model, 1)
    assert facts["networks"] == [0, 0, 1, 1] and facts["flops"] < facts["baseline_flops"]
    with pytest.raises(diffaccel.IncompatibleError):
        model.session(diffaccel.Plan(code={"draft_scales": 4}), partner=refiner)
    with pytest.raises(diffaccel.InvalidArgumentError):
        model.session(plan)
    with pytest.raises(diffaccel.UnsupportedError):
        refiner.session()


def test_pictures_and_tokens(folder):
    with diffaccel.Model(folder / "var" / "vae") as codes:
        image = np.random.default_rng(1).uniform(-1, 1, (2, 3, 4, 4)).astype(np.float32)
        tokens = codes.forward(image=image)
        assert tokens.shape == (2, TOKENS) and (tokens == np.round(tokens)).all()
        rebuilt = codes.forward(tokens=tokens.astype(np.int64).ravel())
        np.testing.assert_array_equal(rebuilt, codes.forward(outputs="image", image=image))
        assert list(codes.forward(outputs=["image"], image=image)) == ["image"]


def test_conversion(folder, model, tmp_path):
    torch = pytest.importorskip("torch")
    from diffaccel import convert

    state = {name: torch.from_numpy(value) for name, value in var_tensors().items()}
    state["lvl_1L"] = torch.tensor([[level for level, side in enumerate(SIDES) for _ in range(side * side)]])
    state["attn_bias_for_masking"] = torch.zeros(1, 1, TOKENS, TOKENS)
    codes = {name: torch.from_numpy(value) for name, value in vqvae_tensors().items()}
    codes["quantize.ema_vocab_hit_SV"] = torch.zeros(4, CODES)
    torch.save({"trainer": {"var_wo_ddp": state}}, tmp_path / "var.pth")
    torch.save(codes, tmp_path / "vae.pth")
    assert convert.convert(tmp_path / "var.pth", tmp_path / "out") == "var"
    assert convert.convert(tmp_path / "vae.pth", tmp_path / "out" / "vae") == "vqvae"
    with diffaccel.Model(tmp_path / "out") as converted:
        asked = dict(labels=[0, 3], seed=2, top_k=12, top_p=0.9)
        expected = model.session().sample(**asked)
        np.testing.assert_array_equal(converted.session().sample(**asked).tokens, expected.tokens)
