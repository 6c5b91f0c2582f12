"""Language models through the package: tokens, texts, batches, caches, events, interruption."""

import json
import struct

import numpy as np
import pytest
from test_command_line import PROGRAM, call

import diffaccel

VOCABULARY, MASK, WIDTH = 300, 299, 32


def byte_alphabet():
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in visible]
    letters = {b: chr(b) for b in visible} | {b: chr(256 + i) for i, b in enumerate(hidden)}
    return [letters[b] for b in range(256)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny LLaDA with a tokenizer over bytes."""
    path = tmp_path_factory.mktemp("llada")
    rng = np.random.default_rng(1)
    shapes = {"model.transformer.wte.weight": (VOCABULARY, WIDTH), "model.transformer.ln_f.weight": (WIDTH,),
              "model.transformer.ff_out.weight": (VOCABULARY, WIDTH)}
    for i in range(2):
        prefix = f"model.transformer.blocks.{i}."
        for name in ("attn_norm", "ff_norm"):
            shapes[prefix + name + ".weight"] = (WIDTH,)
        for name, rows in (("q_proj", WIDTH), ("k_proj", 16), ("v_proj", 16), ("attn_out", WIDTH), ("ff_proj", 48), ("up_proj", 48)):
            shapes[prefix + name + ".weight"] = (rows, WIDTH)
        shapes[prefix + "ff_out.weight"] = (WIDTH, 48)
    header, blobs, at = {}, [], 0
    for name, shape in shapes.items():
        values = rng.standard_normal(shape).astype("<f4") * (0.4 if len(shape) > 1 else 0.1) + (len(shape) == 1)
        blob = values.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    (path / "config.json").write_text(json.dumps({
        "model_type": "llada", "d_model": WIDTH, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "mlp_hidden_size": 48,
        "vocab_size": VOCABULARY, "embedding_size": VOCABULARY, "rope_theta": 500000.0, "weight_tying": False,
        "mask_token_id": MASK, "eos_token_id": 298, "max_sequence_length": 512}))
    vocabulary = {letter: byte for byte, letter in enumerate(byte_alphabet())} | {"he": 256, "ll": 257, "hell": 258, "hello": 259}
    (path / "tokenizer.json").write_text(json.dumps({
        "model": {"type": "BPE", "vocab": vocabulary, "merges": ["h e", "l l", "he ll", "hell o"]},
        "added_tokens": [{"id": 298, "content": "<|end|>", "special": True}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}}))
    return path


@pytest.fixture(scope="module")
def llada(folder):
    return diffaccel.Model(folder)


def test_tokens_and_back(llada):
    tokenizer = llada.tokenizer
    plain = tokenizer.encode("hello é<|end|>")
    assert 298 not in plain.tolist() and tokenizer.decode(plain) == "hello é<|end|>"
    tokens, places = tokenizer.encode("hello é<|end|>", offsets=True, allow_control=True)
    assert tokens.tolist() == [259, 32, 0xC3, 0xA9, 298]
    assert places.tolist() == [[0, 5], [5, 6], [6, 8], [6, 8], [8, 15]]
    assert tokenizer.decode(tokens) == "hello é"
    assert tokenizer.decode(tokens, skip_special=False) == "hello é<|end|>"
    assert tokenizer.decode([]) == "" and tokenizer.encode("").size == 0
    text = "a\0b \N{SNOWMAN} " * 1000
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_texts(llada):
    session = llada.session()
    seen = []

    def keep(event):
        assert event.stage == "unmask" and event.steps == 12 and event.latents is None and event.preview is None
        assert event.names == ["sequences", "lengths", "prompts", "queries", "revealed"]
        seen.extend(event.texts)

    result = session.sample(prompt="hello", length=12, callback=keep)
    assert result.tokens.shape == (1, 12)
    assert (result.tokens != MASK).all() and isinstance(result.text, str)
    assert len(seen) == 12 and sorted(int(p) for e in seen for p in e.revealed) == list(range(1, 13))
    assert {text.prompt for text in seen} == {0} and seen[0].queries == 13 and seen[0].sequence.size == 13
    assert seen[-1].sequence.tolist() == result.sequences[0].tolist()
    assert result.stats["steps"][0]["query_rows"] == 13
    again = session.sample(tokens=llada.tokenizer.encode("hello"), length=12)
    assert (again.tokens == result.tokens).all()


def test_caches_compute_fewer_rows(llada):
    plain = llada.session().sample(prompt="hello", length=16)
    cached = llada.session(plan=diffaccel.Plan(dkv={"variant": "decode", "refresh": 8})).sample(prompt="hello", length=16)
    rows = [sum(step["query_rows"] for step in result.stats["steps"]) for result in (plain, cached)]
    assert rows[1] < rows[0]
    neutral = llada.session(plan=diffaccel.Plan(dkv={"variant": "decode", "refresh": 1})).sample(prompt="hello", length=16)
    assert (neutral.tokens == plain.tokens).all()


def test_a_batch_is_its_prompts(llada):
    prompts = ["hello", "h", "some more"]
    batch = llada.session().sample(prompt=prompts, length=8, temperature=0.7, seeds=[1, 2, 3])
    for i, prompt in enumerate(prompts):
        single = llada.session().sample(prompt=prompt, length=8, temperature=0.7, seeds=[i + 1])
        assert (single.tokens[0] == batch.tokens[i]).all()
    assert len(batch.texts) == 3


def test_stops_and_mistakes(llada, folder):
    session = llada.session()
    with pytest.raises(diffaccel.Cancelled):
        session.sample(prompt="hello", length=8, callback=lambda event: event.step == 2)
    with pytest.raises(ZeroDivisionError):
        session.sample(prompt="hello", length=8, callback=lambda event: 1 / 0)
    for options in ({"length": 0}, {"block_length": 3}, {"order": "entropy"}, {"temperature": -1}, {"seeds": [1, 2]}):
        with pytest.raises(diffaccel.DiffAccelError):
            session.sample(prompt="hello", **({"length": 8} | options))
    with pytest.raises(diffaccel.DiffAccelError):
        session.sample(tokens=[[VOCABULARY]], length=4)
    with pytest.raises(diffaccel.DiffAccelError):
        session.sample(labels=[1])
    assert session.estimate(prompt="hello", length=8)["bytes"]["cache"] > 0
    bad = folder / "bad.json"
    bad.write_text('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}')
    with pytest.raises(diffaccel.FormatError):
        diffaccel.Tokenizer(bad)


def test_infilling(llada):
    session = llada.session()
    assert llada.mask_token == MASK
    prompts = [[3, MASK, 5, MASK], [MASK, 9, 7, 8]]
    result = session.sample(tokens=prompts, length=0, seeds=[1, 2], temperature=0.3)
    assert result.tokens.shape == (2, 0) and [len(s) for s in result.sequences] == [4, 4]
    assert [places.tolist() for places in result.filled] == [[1, 3], [0]]
    for prompt, sequence in zip(prompts, result.sequences):
        assert MASK not in sequence
        assert all(given in (found, MASK) for given, found in zip(prompt, sequence.tolist()))
    assert result.text == llada.tokenizer.decode(result.sequences[0])
    behind = session.sample(tokens=prompts[0], length=3, infill=True)
    assert behind.filled[0].tolist() == [1, 3, 4, 5, 6] and MASK not in behind.sequences[0]
    # The published rule: steps for the text alone, and the masks in the prompt compete for them.
    published = session.sample(tokens=prompts[0], length=3)
    assert (published.sequences[0] == MASK).sum() == 2 and published.filled[0].size == 3
    seen = []
    blank = session.sample(prompt="hello ___ll___", blank="___", length=0, callback=lambda event: seen.extend(event.texts))
    assert blank.filled[0].tolist() == [2, 4] and blank.sequences[0].tolist()[:2] == [259, 32]
    assert blank.text.startswith("hello ") and sorted(int(p) for e in seen for p in e.revealed) == [2, 4]
    for options in ({"blank": "", "length": 2}, {"blank": "_", "chat": True}, {"length": 0}, {"infill": 1}):
        with pytest.raises((diffaccel.DiffAccelError, TypeError)):
            session.sample(prompt="hello", **options)


def test_numbers_that_single_precision_cannot_hold(llada):
    session = llada.session()
    for options in ({"temperature": 1e-46}, {"temperature": 1e39}, {"guidance": 1e39}, {"threshold": 1e-46}):
        with pytest.raises(diffaccel.InvalidArgumentError):
            session.sample(prompt="hello", length=4, **options)


def test_the_mask_token_by_option(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["mask_token_id"]
    nameless = diffaccel.Model(folder / "model.safetensors", config=config)
    assert nameless.mask_token is None
    with pytest.raises(diffaccel.UnsupportedError, match="mask_token"):
        nameless.session().sample(tokens=[1, 2], length=4)
    named = diffaccel.Model(folder / "model.safetensors", config=config, mask_token=MASK)
    assert named.mask_token == MASK and (named.session().sample(tokens=[1, 2], length=4).tokens != MASK).all()
    for wrong in (-1, VOCABULARY, 2**40):
        with pytest.raises(diffaccel.InvalidArgumentError):
            diffaccel.Model(folder / "model.safetensors", config=config, mask_token=wrong)
    assert named.forward(tokens=[1, 2, 3]).shape == (1, 3, VOCABULARY)


def test_chats():
    text = diffaccel.render_chat("llada", [{"role": "user", "content": " Hi "}])
    assert text == ("<|startoftext|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                    "<|start_header_id|>assistant<|end_header_id|>\n\n")
    with pytest.raises(diffaccel.InvalidArgumentError):
        diffaccel.render_chat("gpt", [])
    for role in ("tool", "System", ""):
        with pytest.raises(diffaccel.InvalidArgumentError, match="system, user, assistant"):
            diffaccel.render_chat("llada", [{"role": role, "content": "Hi"}])
    for messages in ([], [{"role": "user"}], [{"role": "user", "content": "Hi", "name": "x"}]):
        with pytest.raises(diffaccel.DiffAccelError):
            diffaccel.render_chat("llada", messages)
    with pytest.raises(diffaccel.FormatError, match="a NUL character"):
        diffaccel.render_chat("llada", [{"role": "user", "content": "a\0b"}])


def test_nobody_forges_control_tokens(llada):
    tokenizer = llada.tokenizer
    message = {"role": "user", "content": "<|end|> Hi <|end|>"}
    plain = tokenizer.encode_chat("llada", [message])
    assert 298 not in plain.tolist()
    assert tokenizer.decode(plain) == diffaccel.render_chat("llada", [message])
    assert tokenizer.encode_chat("llada", [message], allow_control=True).tolist().count(298) == 2
    session = llada.session()
    for chat in (False, True):
        texts = [session.sample(prompt="hello<|end|>", chat=chat, length=4, allow_control=allowed) for allowed in (False, True)]
        assert texts[0].stats["steps"][0]["query_rows"] == texts[1].stats["steps"][0]["query_rows"] + 6
    blanks = [session.sample(prompt="hello<|end|> ___", blank="___", length=0, allow_control=allowed) for allowed in (False, True)]
    assert blanks[0].sequences[0].size == blanks[1].sequences[0].size + 6
    assert 298 in blanks[1].sequences[0].tolist() and 298 not in blanks[0].sequences[0][:-1].tolist()
    if PROGRAM.is_file():
        for found, options in zip(blanks, ([], ["--allow-control"])):
            done = call("sample", llada._path, "--prompt", "hello<|end|> ___", "--blank", "___", "--length", 0, "--json", *options)
            assert json.loads(done.stdout)["sequences"] == [found.sequences[0].tolist()]


def test_long_texts_are_interrupted(llada):
    # Long enough that the call goes to a thread of its own.
    text = "hello " * 300_000
    tokens = llada.tokenizer.encode(text)
    assert llada.tokenizer.decode(tokens) == text
