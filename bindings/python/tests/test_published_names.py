"""The texts by which Tests/DiffModelsTests knows published layouts are what diffusers, PEFT and open_clip say today."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / "Tools" / "fixtures"
TEXTS = ROOT / "Tests" / "DiffModelsTests"


def written(program, folder):
    subprocess.run([sys.executable, program, str(folder)], cwd=TOOLS, check=True, capture_output=True, timeout=600)
    return {path.name: path.read_text() for path in folder.glob("*.txt")}


def committed(name):
    return {path.name: path.read_text() for path in (TEXTS / name).glob("*.txt")}


def test_single_files_are_converted_so(tmp_path):
    pytest.importorskip("diffusers")
    assert written("original_layout.py", tmp_path) == committed("OriginalLayouts")


def test_lora_files_change_these_layers(tmp_path):
    pytest.importorskip("peft")
    pytest.importorskip("diffusers")
    assert written("lora_names.py", tmp_path) == committed("LoRANames")


def test_clip_merges_are_the_published_ones():
    tokenizer = pytest.importorskip("open_clip.tokenizer")
    numbers = (ROOT / "Sources/CTokenizerData/clip_merges.inc").read_text().split("*/", 1)[1]
    ids = [int(number) for number in re.findall(r"\d+", numbers)]
    tokens = list(tokenizer.bytes_to_unicode().values())
    tokens += [token + "</w>" for token in tokens]
    merges = []
    for left, right in zip(ids[::2], ids[1::2]):
        merges.append(f"{tokens[left]} {tokens[right]}")
        tokens.append(tokens[left] + tokens[right])
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    published = gzip.open(tokenizer.default_bpe()).read().decode("utf-8").split("\n")
    assert merges == published[1 : 49152 - 256 - 2 + 1]
    theirs = tokenizer.SimpleTokenizer().encoder
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    assert {names.get(token, token): number for token, number in theirs.items()} == {token: i for i, token in enumerate(tokens)}
