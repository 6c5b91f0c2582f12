"""Captions of emoji and the CLIP-style tokenizer made of them.

A caption is a name, a name with keywords, keywords alone, or a colour and the name of a repainted picture; now and then after "a".
"""

import json
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from checkpoints import write_atomically, write_json
from emoji_data import COLOURS

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
VOCABULARY = 2048
LENGTH = 24  # tokens of a prompt with both ends


def train_tokenizer(pictures, folder):
    """Writes vocab.json and merges.txt as CLIP's are: the bytes, the bytes that end a word, the merges, and the two ends last."""
    texts = []
    for names, keywords in zip(pictures["names"], pictures["keywords"]):
        texts += names * 4 + keywords
    texts += [f"a {colour} {word}" for colour in COLOURS for word in ("an", "the", "of", "with")] * 20
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WORDS), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY + 512, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = [*alphabet, *(byte + "</w>" for byte in alphabet)]
    merges, known = [], set(vocabulary)
    for merge in tokenizer_merges(tokenizer):
        if len(vocabulary) < VOCABULARY - 2 and "".join(merge) not in known:
            known.add("".join(merge))
            vocabulary.append("".join(merge))
            merges.append(" ".join(merge))
    vocabulary += [START, END]
    folder = Path(folder)
    write_json(folder / "vocab.json", {token: index for index, token in enumerate(vocabulary)})
    write_atomically(folder / "merges.txt", lambda path: path.write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8"))
    write_json(folder / "special_tokens_map.json", {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END})
    write_json(folder / "tokenizer_config.json", {
        "add_prefix_space": False, "bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END, "do_lower_case": True,
        "errors": "replace", "model_max_length": LENGTH, "tokenizer_class": "CLIPTokenizer"})


def tokenizer_merges(tokenizer):
    """Pairs in the order in which they were found."""
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]


def encode(tokenizer, texts):
    """Identifiers [n, LENGTH], padded with the end."""
    return tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt").input_ids


def choose(options, generator):
    return options[int(torch.randint(len(options), (), generator=generator))]


def caption(names, keywords, generator):
    """One of the ways to ask for a picture: its name in 70 of 100 cases."""
    name, way = choose(names, generator), float(torch.rand((), generator=generator))
    if way < 0.7 or not keywords:
        return name
    if way < 0.8:
        return article(name)
    some = [keywords[index] for index in torch.randperm(len(keywords), generator=generator)[:3]]
    return f"{name}, {', '.join(some[:2])}" if way < 0.9 else " ".join(some)


def article(name):
    return ("an " if name[0] in "aeiou" else "a ") + name
