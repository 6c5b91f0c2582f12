"""Tokens of prompts as transformers makes them: CLIP's published vocabulary, T5's pieces from both of their files."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest

import diffaccel

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

START, END = "<|startoftext|>", "<|endoftext|>"
# Ranges of code points: letters with and without case, marks, digits, symbols, white space, what lies outside the first plane.
RANGES = [(0x20, 0x7E), (0x41, 0x7A), (0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x620, 0x64A),
          (0x905, 0x94D), (0xE01, 0xE3A), (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2150, 0x218B), (0x3000, 0x30FF),
          (0x4E00, 0x4FFF), (0xAC00, 0xAFFF), (0xFB00, 0xFB06), (0xFF01, 0xFF9F), (0x1F300, 0x1F64F), (0x9, 0xD), (0x85, 0x85)]
WORDS = ["a photo of", "Kitten", "don't", "it's WE'LL", "3.14", "8k!!!", "naïve", "e\u0301te\u0301", "ΣΑΣ", "İstanbul", "(masterpiece:1.2)", "\u00a0", "  ",
         "\n", START, END, "</s>", "<extra_id_3>", "<|EndOfText|>", "ﬁn", "Å", "½", "日本語", "한국어", "👩‍👩‍👧", "____", "\r\n", "\t", "▁", "…", "™"]


def texts(count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        parts = []
        for _ in range(rng.randint(0, 14)):
            if rng.random() < 0.6:
                parts.append(rng.choice(WORDS))
            else:
                low, high = rng.choice(RANGES)
                parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6))))
            if rng.random() < 0.6:
                parts.append(" ")
        yield "".join(parts)


def clip_files(folder, vocabulary, merges, **config):
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(tokenizer_class="CLIPTokenizer", model_max_length=77) | config))
    return folder


def published_clip():
    """The vocabulary that comes with open_clip, in the order in which it is published; nothing without that package."""
    file = Path(pytest.importorskip("open_clip").__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    merges = gzip.open(file).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in visible]
    letters = [chr(byte) for byte in visible] + [chr(256 + n) for n in range(len(others))]
    tokens = letters + [letter + "</w>" for letter in letters] + [merge.replace(" ", "") for merge in merges] + [START, END]
    return {token: number for number, token in enumerate(tokens)}, merges


def small_clip():
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=700, special_tokens=[], end_of_word_suffix="</w>",
                                             initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    model = tokenizers.Tokenizer(tokenizers.models.BPE(end_of_word_suffix="</w>"))
    model.normalizer = tokenizers.normalizers.Lowercase()
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.train_from_iterator(texts(500, 1), trainer)
    trained = json.loads(model.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in trained["merges"]]
    vocabulary = dict(trained["vocab"])
    for letter in sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()):
        for token in (letter, letter + "</w>"):
            vocabulary.setdefault(token, len(vocabulary))
    for token in (START, END):
        vocabulary[token] = len(vocabulary)
    return vocabulary, merges


@pytest.mark.parametrize("files", [small_clip, published_clip])
@pytest.mark.parametrize("config", [{}, {"pad_token": "!"}, {"bos_token": {"__type": "AddedToken", "content": START, "normalized": True}}])
def test_clip(tmp_path, files, config):
    vocabulary, merges = files()
    folder = clip_files(tmp_path / "clip", vocabulary, merges, **config)
    published = transformers.CLIPTokenizer.from_pretrained(folder)
    own = diffaccel.Tokenizer(folder)
    for text in texts(1500, 2):
        text = text.replace("\0", "")
        expected = published(text)["input_ids"]
        found = own.encode(text, add_special=True, allow_control=True)
        assert found.tolist() == expected, repr(text)
        assert own.decode(found) == published.decode(expected, skip_special_tokens=True), repr(text)
    # The same from one file.
    published.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    one = diffaccel.Tokenizer(tmp_path / "tokenizer.json")
    for text in texts(200, 3):
        assert np.array_equal(one.encode(text, True, allow_control=True), own.encode(text, True, allow_control=True)), repr(text)


def fields(message):
    """Numbers and contents of a protobuf message's fields."""
    def varint(at):
        value = shift = 0
        while True:
            byte = message[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value, at

    at = 0
    while at < len(message):
        tag, at = varint(at)
        if tag & 7 == 2:
            size, at = varint(at)
        else:
            size = {0: varint(at)[1] - at, 1: 8, 5: 4}[tag & 7]
        yield tag >> 3, message[at : at + size]
        at += size


def test_pieces(tmp_path):
    """T5's two files: a spiece.model, trained here, and the tokenizer.json that transformers makes of it."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = tmp_path / "t5"
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for text in texts(3000, 4) if text.strip()]), model_prefix=str(folder / "spiece"),
        vocab_size=4500, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 100}))
    whole = (folder / "spiece.model").read_bytes()
    table = dict(fields(dict(fields(whole))[3]))[2]
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    pieces = [(model.id_to_piece(number), model.get_score(number)) for number in range(len(model))]
    pieces += [(f"<extra_id_{number}>", 0.0) for number in reversed(range(100))]
    published = transformers.T5Tokenizer(vocab=pieces, _spm_precompiled_charsmap=table, extra_ids=100)
    published.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    own, one = diffaccel.Tokenizer(folder), diffaccel.Tokenizer(tmp_path / "tokenizer.json")
    for text in texts(3000, 5):
        expected = published(text)["input_ids"]
        for tokenizer in (own, one):
            assert tokenizer.encode(text, add_special=True, allow_control=True).tolist() == expected, repr(text)
            assert tokenizer.decode(expected) == published.decode(expected, skip_special_tokens=True), repr(text)


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
@pytest.mark.parametrize("byte_fallback", [False, True])
def test_layouts(tmp_path, scheme, byte_fallback):
    """Every kind of stage that files of pieces have, in the tokenizers package and here."""
    rng = random.Random(6)
    letters = sorted({letter for text in texts(400, 7) for letter in text if letter > " "})[::2]
    pieces = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -2.0}
    for letter in letters:
        pieces.setdefault(letter, -rng.uniform(3, 9))
    for word in "a photo of kitten don it s we ll quality nai ve".split():
        for piece in (word, "▁" + word, word[:2]):
            pieces.setdefault(piece, -rng.uniform(2, 6))
    if byte_fallback:
        for byte in range(256):
            pieces.setdefault(f"<0x{byte:02X}>", 0.0)
    normalizers, pre, decoders = tokenizers.normalizers, tokenizers.pre_tokenizers, tokenizers.decoders
    model = tokenizers.Tokenizer(tokenizers.models.Unigram(list(pieces.items()), 2, byte_fallback))
    model.normalizer = normalizers.Sequence([
        normalizers.NFC(), normalizers.Lowercase(), normalizers.Strip(left=False, right=True),
        normalizers.Replace(tokenizers.Regex(" {2,}"), "▁"), normalizers.Replace("…", "..."), normalizers.Prepend("a")])
    model.pre_tokenizer = pre.Metaspace("▁", scheme, split=scheme != "never")
    model.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace("▁", scheme)])
    model.add_special_tokens(["</s>", tokenizers.AddedToken("<extra_id_3>", lstrip=True, rstrip=True)])
    model.post_processor = tokenizers.processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    model.save(str(tmp_path / "tokenizer.json"))
    own = diffaccel.Tokenizer(tmp_path / "tokenizer.json")
    for text in texts(1000, 8):
        encoding = model.encode(text)
        found = own.encode(text, add_special=True, allow_control=True)
        assert found.tolist() == encoding.ids, repr(text)
        assert own.decode(found) == model.decode(encoding.ids), repr(text)
