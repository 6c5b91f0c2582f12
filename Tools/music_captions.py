"""Captions of music, and the two tokenizers made of them: RoBERTa's byte pairs for CLAP, T5's unigrams.

"a slow high melody on a flute", "fast drum loop", "low piano scale": words have synonyms, and what a caption does not say is open.
"""

import collections
import itertools
import json
import math
import random
import re
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from checkpoints import write_atomically, write_json

NAMES = {
    "piano": ["piano", "piano", "grand piano"], "guitar": ["guitar", "guitar", "acoustic guitar"], "bass guitar": ["bass guitar", "bass"],
    "violin": ["violin"], "string ensemble": ["strings", "string ensemble"], "flute": ["flute"], "trumpet": ["trumpet"],
    "organ": ["organ", "church organ"], "music box": ["music box"], "glockenspiel": ["glockenspiel"], "choir": ["choir"],
    "drums": ["drums", "drum kit"],
}  # fmt: skip
WORDS = {
    "slow": ["slow", "slow", "calm"], "fast": ["fast", "fast", "quick"], "low": ["low", "low", "deep"], "high": ["high"],
    "melody": ["melody", "melody", "tune"], "scale": ["scale"], "arpeggio": ["arpeggio", "broken chord"],
}  # fmt: skip
FORMS = ["a {what} on a {name}", "a {what} on the {name}", "{name} playing a {what}", "{name} {what}"]
LOOPS = ["{tempo} drum loop", "a {tempo} drum loop", "{tempo} {name}", "{name} playing a {tempo} beat", "a {tempo} beat on the {name}"]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'\"-,.!?:;()&"
MERGES = 256  # of RoBERTa's vocabulary, at most
SPACE, LETTER = "\u2581", -12.0
LENGTH = 32  # tokens of a prompt with both ends


def caption(about, chance, full=False):
    """One of the ways to ask for this clip; `full` leaves nothing out."""
    def word(key, share):
        return chance.choice(WORDS[about[key]]) if full or chance.random() < share else ""

    tempo, name = word("tempo", 0.75), chance.choice(NAMES[about["instrument"]])
    if about["instrument"] == "drums":
        text = chance.choice(LOOPS).format(tempo=tempo, name=name)
    else:
        register, pattern = word("register", 0.5), word("pattern", 0.75)
        if not (tempo or register or pattern) and chance.random() < 0.5:
            text = name
        elif not full and chance.random() < 0.15:
            text = f"{tempo} {register} {name}"
        else:
            form = chance.choice(FORMS)
            text = form.format(what=f"{register} {pattern or 'solo'}", name=name)
            text = f"{tempo} {text}" if form == FORMS[3] else text.replace("a ", f"a {tempo} ", 1)
    return with_articles(re.sub(" +", " ", text).strip())


def with_articles(text):
    return re.sub(r"\ba (?=[aeiou])", "an ", re.sub(r"\b(a|the) (drums|strings)\b", r"the \2", text))


def examples():
    """Many captions of everything, to make tokenizers of."""
    from music_data import INSTRUMENTS, PATTERNS, REGISTERS, TEMPI

    chance = random.Random(1)
    for instrument, tempo, register, pattern in itertools.product(INSTRUMENTS, TEMPI, REGISTERS, PATTERNS):
        about = {"instrument": instrument, "tempo": tempo, "register": register, "pattern": pattern}
        for _ in range(10):
            yield caption(about, chance)


def train_tokenizers(folder):
    """`tokenizer` and `tokenizer_2` in `folder`, as transformers reads them."""
    folder, texts = Path(folder), list(examples())
    write_roberta(folder / "tokenizer", texts)
    write_t5(folder / "tokenizer_2", texts)


def write_roberta(folder, texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=260 + MERGES, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), special_tokens=first, show_progress=False))
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    vocabulary["<mask>"] = len(vocabulary)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    write_json(folder / "vocab.json", vocabulary)
    write_atomically(folder / "merges.txt", lambda path: path.write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", {
        "add_prefix_space": False, "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "errors": "replace", "mask_token": "<mask>",
        "model_max_length": LENGTH, "pad_token": "<pad>", "sep_token": "</s>", "tokenizer_class": "RobertaTokenizer", "unk_token": "<unk>"})


def write_t5(folder, texts):
    special, extra = ["<pad>", "</s>", "<unk>"], [f"<extra_id_{number}>" for number in range(99, -1, -1)]
    space = pre_tokenizers.Metaspace(prepend_scheme="always")
    # Whole words as often as they are used; letters, with which anything else can be spelled, at a price.
    words = collections.Counter(SPACE + word for text in texts for word in text.split())
    total = words.total()
    vocabulary = [[token, 0.0] for token in special] + [[SPACE, LETTER]] + [[letter, LETTER] for letter in LETTERS]
    vocabulary += [[word, math.log(count / total)] for word, count in sorted(words.items())]
    vocabulary += [[token, 0.0] for token in extra]
    tokenizer = Tokenizer(models.Unigram([tuple(entry) for entry in vocabulary], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), space])
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens([*special, *extra])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    write_atomically(folder / "tokenizer.json", lambda path: path.write_text(tokenizer.to_str(), encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", {
        "additional_special_tokens": extra[::-1], "eos_token": "</s>", "extra_ids": 100, "model_max_length": LENGTH, "pad_token": "<pad>",
        "tokenizer_class": "T5Tokenizer", "unk_token": "<unk>"})
