"""Language models' folders as they are published: weights in bf16 and in shards, tokenizers as one file or as three."""

import json
import struct

import numpy as np
import pytest
from test_text import byte_alphabet

import diffaccel

WIDTH, HEADS, KV, MLP, LAYERS, VOCABULARY = 32, 4, 2, 48, 2, 300
HEAD = WIDTH // HEADS
CONFIG = {
    "model_type": "Dream", "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": KV, "intermediate_size": MLP, "vocab_size": VOCABULARY, "rope_theta": 1e6, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False, "mask_token_id": VOCABULARY - 1, "eos_token_id": VOCABULARY - 2, "max_position_embeddings": 256,
}
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ hello", "Ġ Ġ"]


def bf16(values):
    """The upper halves of floats, rounded to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def weights(seed=3):
    """All tensors as bf16 bits."""
    rng, shapes = np.random.default_rng(seed), {}
    shapes["model.embed_tokens.weight"] = shapes["lm_head.weight"] = (VOCABULARY, WIDTH)
    shapes["model.norm.weight"] = (WIDTH,)
    for layer in range(LAYERS):
        p = f"model.layers.{layer}"
        shapes[f"{p}.input_layernorm.weight"] = shapes[f"{p}.post_attention_layernorm.weight"] = (WIDTH,)
        for name, rows in (("q_proj", WIDTH), ("k_proj", KV * HEAD), ("v_proj", KV * HEAD)):
            shapes[f"{p}.self_attn.{name}.weight"], shapes[f"{p}.self_attn.{name}.bias"] = (rows, WIDTH), (rows,)
        shapes[f"{p}.self_attn.o_proj.weight"] = (WIDTH, WIDTH)
        shapes[f"{p}.mlp.gate_proj.weight"] = shapes[f"{p}.mlp.up_proj.weight"] = (MLP, WIDTH)
        shapes[f"{p}.mlp.down_proj.weight"] = (WIDTH, MLP)
    return {name: bf16(rng.standard_normal(shape) * (0.4 if len(shape) > 1 else 0.1) + ("norm" in name))
            for name, shape in shapes.items()}


def write_file(path, tensors, dtype):
    header, blob = {}, b""
    for name, bits in tensors.items():
        data = bits.tobytes() if dtype == "BF16" else (bits.astype(np.uint32) << 16).view(np.float32).tobytes()
        header[name] = {"dtype": dtype, "shape": list(bits.shape), "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def write_shards(folder, tensors, count=3):
    names, index = sorted(tensors), {}
    for shard in range(count):
        file = f"model-{shard + 1:05d}-of-{count:05d}.safetensors"
        mine = names[shard::count]
        write_file(folder / file, {name: tensors[name] for name in mine}, "BF16")
        index |= {name: file for name in mine}
    size = sum(2 * bits.size for bits in tensors.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": index}))


def added(token, content):
    return {"id": token, "content": content, "special": True, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}


def vocabulary():
    known = {letter: byte for byte, letter in enumerate(byte_alphabet())}
    return known | {merge.replace(" ", ""): 256 + place for place, merge in enumerate(MERGES)}


def write_one_file(folder):
    (folder / "tokenizer.json").write_text(json.dumps({
        "normalizer": {"type": "NFC"}, "model": {"type": "BPE", "vocab": vocabulary(), "merges": MERGES},
        "added_tokens": [added(298, "<|endoftext|>"), added(299, "<|mask|>")],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]},
        "decoder": {"type": "ByteLevel"}}))


def write_three_files(folder):
    (folder / "vocab.json").write_text(json.dumps(vocabulary()))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{merge}\n" for merge in MERGES))
    entries = {"298": added(298, "<|endoftext|>"), "299": added(299, "<|mask|>")}
    for entry in entries.values():
        entry.pop("id")
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": entries, "tokenizer_class": "Qwen2Tokenizer"}))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One model in two forms: a file of f32 and one tokenizer file; shards of bf16 and three tokenizer files."""
    whole, sharded = (tmp_path_factory.mktemp("dream") / name for name in ("whole", "sharded"))
    for folder in (whole, sharded):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(CONFIG))
    write_file(whole / "model.safetensors", weights(), "F32")
    write_shards(sharded, weights())
    write_one_file(whole)
    write_three_files(sharded)
    return whole, sharded


TEXTS = ["", "hello hello  hello", "It's 2026: naïve cafe\u0301s \N{SNOWMAN}\n\n  x_1 == 3.14", "<|mask|>hello<|endoftext|> hello", "\r\n\t  "]


@pytest.mark.parametrize("text", TEXTS)
def test_tokenizer_as_one_file_or_three(folders, text):
    one, three = (diffaccel.Model(folder).tokenizer for folder in folders)
    tokens = one.encode(text)
    assert three.encode(text).tolist() == tokens.tolist()
    assert three.decode(tokens, skip_special=False) == one.decode(tokens, skip_special=False)
    assert three.decode(tokens) == one.decode(tokens)


@pytest.mark.parametrize("plan", [None, {"variant": "decode", "refresh": 4}, {"variant": "pd", "refresh": 4}, {"variant": "prefill"}])
def test_bf16_shards_give_the_same_texts(folders, plan):
    results = []
    for folder, options in ((folders[0], {}), (folders[1], {}), (folders[1], {"widen": True})):
        model = diffaccel.Model(folder, **options)
        assert model.family == "dream"
        session = model.session(plan=diffaccel.Plan(dkv=plan) if plan else None)
        results.append(session.sample(prompt=["hello", "x y z"], length=12, order="entropy"))
    assert results[0].tokens.tolist() == results[1].tokens.tolist() == results[2].tokens.tolist()
    assert results[0].texts == results[1].texts


def test_weights_stay_as_stored(folders):
    whole, sharded, wide = diffaccel.Model(folders[0]), diffaccel.Model(folders[1]), diffaccel.Model(folders[1], widen=True)
    assert sharded.description["bytes"] < 0.62 * whole.description["bytes"], "bf16 stays bf16"
    assert wide.description["bytes"] == whole.description["bytes"]


def damaged(folder, tmp_path, change):
    """A copy of `folder` with `change` made to it."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    change(copy)
    return copy


@pytest.mark.parametrize("name, text, word", [
    ("merges.txt", "#version\nh e\nh\n", "line 3"), ("merges.txt", "a b c\n", "line 1"), ("merges.txt", "h zz\n", "zz"),
    ("vocab.json", "[]", "vocab.json"), ("vocab.json", '{"a": 0, "b": 0}', "id 0"), ("vocab.json", '{"a": -1}', "vocab.json"),
    ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": "<x>"}}}', "x"),
])
def test_bad_tokenizer_files_name_the_place(folders, tmp_path, name, text, word):
    copy = damaged(folders[1], tmp_path, lambda folder: (folder / name).write_text(text))
    model = diffaccel.Model(copy)  # the network itself is fine
    with pytest.raises(diffaccel.DiffAccelError, match=word):
        model.tokenizer


def test_missing_shards_and_no_tokenizer(folders, tmp_path):
    copy = damaged(folders[1], tmp_path, lambda folder: [(folder / name).unlink() for name in ("vocab.json", "merges.txt")])
    with pytest.raises(diffaccel.UnsupportedError, match="vocab.json"):
        diffaccel.Model(copy).tokenizer
    (copy / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(diffaccel.DiffAccelError, match="00002"):
        diffaccel.Model(copy)
