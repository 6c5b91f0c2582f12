#!/usr/bin/env python3
"""Compares the library's tokenizer with the `tokenizers` package, on vocabularies trained here.

    pip install tokenizers
    Tests/Tokenizers/compare.py .build/release/diffaccel-cli [--lines 10000]

Each vocabulary is trained on half of the text: mixed lines of many scripts, emoji, runs of spaces, line feeds, code, and bytes that are
no UTF-8 (replaced). Every line must give the same tokens, and the tokens the same text.
"""
import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
GPT4 = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")

# Ranges of code points, a few scripts each; some combine, some have no upper case, some lie outside the first plane.
SCRIPTS = [
    (0x61, 0x7A), (0x41, 0x5A), (0x30, 0x39), (0xC0, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x620, 0x64A),
    (0x660, 0x669), (0x905, 0x939), (0x93E, 0x94D), (0xE01, 0xE3A), (0x1100, 0x11FF), (0x3041, 0x3096), (0x30A1, 0x30FA),
    (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x300, 0x341), (0x1F300, 0x1F64F), (0x2150, 0x218B), (0x20A0, 0x20BF), (0x2200, 0x22FF),
    (0x10330, 0x1034A), (0x1D400, 0x1D7FF), (0xFF10, 0xFF5A), (0x2000, 0x200D), (0x1E00, 0x1EFF),
]
WORDS = ("the of and to in that it's I'll don't we've you're SHE'S he'd I'M def return x_1 == 3.14 0x7f <div> // TODO: http://a.b/c?d=e "
         "Größe naïve e\u0301te\u0301 ﬁn Å K ſ ’s 日本語 中文 한국어 русский עברית العربية हिन्दी ไทย 👩‍👩‍👧 🏳️‍🌈 ½ ² ①").split(" ")


def line(rng):
    parts = []
    for _ in range(rng.randint(0, 24)):
        kind = rng.random()
        if kind < 0.5:
            parts.append(rng.choice(WORDS))
        elif kind < 0.75:
            low, high = rng.choice(SCRIPTS)
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 9))))
        elif kind < 0.8:
            parts.append(rng.choice([" ", "\t", "\u00a0", "\u3000", "\r\n", "\n"]) * rng.randint(1, 30))
        elif kind < 0.85:
            parts.append(bytes(rng.randrange(256) for _ in range(rng.randint(1, 6))).decode("utf-8", errors="replace"))
        elif kind < 0.9:
            parts.append(str(rng.randint(0, 10**rng.randint(1, 12))))
        elif kind < 0.95:
            parts.append("".join(rng.choice("!?.,;:-_()[]{}<>|/\\\"'`~@#$%^&*+=") for _ in range(rng.randint(1, 8))))
        else:
            parts.append(rng.choice(["<|endoftext|>", "<|mask|>", "<|im_start|>", "<tool>", "<|end", "  <|pad|>  "]))
        if rng.random() < 0.8:
            parts.append(" ")
    return "".join(parts).replace("\0", "")  # JSON with NULs is not read


def trained(name, lines):
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    byte_level = lambda **options: pre_tokenizers.ByteLevel(add_prefix_space=False, **options)
    if name == "gpt2":
        tokenizer.pre_tokenizer = byte_level(use_regex=True)
    elif name == "prefix":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    else:
        pattern = {"qwen": QWEN, "gpt4": GPT4}[name]
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated" if name == "qwen" else "removed", invert=name != "qwen")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level(use_regex=False)])
    if name == "qwen":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=3000, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|im_start|>"])
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens([AddedToken("<|mask|>", special=True), AddedToken("<|pad|>", lstrip=True, rstrip=True, special=True)])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=True, single_word=name == "gpt2")])
    if name == "gpt4":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))])
    return tokenizer


def ours(cli, path, lines, *flags):
    run = subprocess.run(
        [cli, "tokenize", path, *([] if "--decode" in flags else ["--allow-control"]), *flags], input="".join(json.dumps(l) + "\n" for l in lines).encode(), capture_output=True)
    if run.returncode:
        sys.exit(run.stderr.decode())
    return [json.loads(l) for l in run.stdout.decode().split("\n") if l]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cli")
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    lines = [line(rng) for _ in range(arguments.lines)] + ["", " ", " " * 10_000, "a" * 20_000, "\n" * 5000, "e\u0301" * 3000]
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ["gpt2", "prefix", "qwen", "gpt4"]:
            reference = trained(name, lines[: len(lines) // 2])
            path = str(Path(folder) / f"{name}.json")
            reference.save(path)
            for special in [False, True]:
                want = [e.ids for e in reference.encode_batch(lines, add_special_tokens=special)]
                got = ours(arguments.cli, path, lines, "--json-lines", *(["--special"] if special else []))
                wrong = [i for i in range(len(lines)) if got[i] != want[i]]
                for i in wrong[:3]:
                    print(f"{name}: {lines[i]!r:.200}\n  ours   {got[i][:40]}\n  theirs {want[i][:40]}")
                print(f"{name}, special {special}: {len(lines) - len(wrong)} of {len(lines)} lines have the same tokens")
                failures += len(wrong)
            texts = ours(arguments.cli, path, want, "--decode")
            back = [reference.decode(ids) for ids in want]
            wrong = [i for i in range(len(lines)) if texts[i] != back[i]]
            for i in wrong[:3]:
                print(f"{name}: {want[i][:40]}\n  ours   {texts[i]!r:.200}\n  theirs {back[i]!r:.200}")
            print(f"{name}, decoded: {len(lines) - len(wrong)} of {len(lines)} texts are the same")
            failures += len(wrong)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
