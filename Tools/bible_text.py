"""The King James Version of 1611 as training text, and a byte-level BPE tokenizer made of it.

Debian ships the text as `bible-kjv-text` and the program that prints it as `bible-kjv`; the text's copyright has expired.  Every
twentieth chapter is held out.
"""

import json
import re
import subprocess
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

# What LLaDA's own tokenizer splits text with (numbers digit by digit).
PATTERN = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
END, MASK = "<|endoftext|>", "<|mdm_mask|>"
HELD_OUT = 20


def chapters():
    """Every chapter's verses, in order, as one text with a verse a line."""
    try:
        printed = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise SystemExit("the program `bible` is missing: apt-get install bible-kjv") from None
    found, place = [], None
    for line in printed.splitlines():
        chapter, verse, text = re.fullmatch(r"(.+?\d*:|.+?\d+:)(\d+) (.*)", line.strip()).groups()
        if chapter != place:
            found.append([])
            place = chapter
        found[-1].append(text)
    return ["\n".join(verses) for verses in found]


def splits():
    """Chapters to train on, and those held out."""
    whole = chapters()
    return ([c for i, c in enumerate(whole) if i % HELD_OUT != HELD_OUT - 1],
            [c for i, c in enumerate(whole) if i % HELD_OUT == HELD_OUT - 1])


def train_tokenizer(texts, size, path):
    """A byte-level BPE tokenizer with `size` tokens in all, the two special ones last; written as tokenizer.json."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size - 2, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != size - 2:
        raise SystemExit(f"the text gives {tokenizer.get_vocab_size()} tokens, wanted {size - 2}")
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in (END, MASK)])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # One line: indented, the merges alone take ten thousand.
    Path(path).write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
    return tokenizer
