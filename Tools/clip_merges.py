"""Writes CLIP's merges as pairs of token ids, Sources/CTokenizerData/clip_merges.inc.

    python Tools/clip_merges.py OPEN_CLIP/bpe_simple_vocab_16e6.txt.gz

The list is OpenAI's (CLIP, MIT licence); the Python package open_clip_torch ships it. Tokens of CLIP's vocabulary are the 256 bytes, the
256 bytes at the end of a word, what each merge makes of two earlier tokens, and the start and the end of a text: so the pairs are all there
is to say, and 16 bits hold an id.
"""

import argparse
import gzip
from pathlib import Path

MERGES = 49152 - 256 - 2
PAIRS_PER_LINE = 200


def alphabet() -> list[str]:
    """The bytes in the order of their ids: visible ones first, each as itself."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) for byte in visible] + [chr(256 + i) for i in range(len(rest))]


def pairs(lines: list[str]) -> list[tuple[int, int]]:
    letters = alphabet()
    ids = {token: i for i, token in enumerate(letters + [letter + "</w>" for letter in letters])}
    out = []
    for line in lines:
        left, right = line.split()
        out.append((ids[left], ids[right]))
        ids[left + right] = len(ids)
    assert len(ids) == 512 + len(lines), "a merge that makes a token twice"
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("list", type=Path, help="bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.open(parser.parse_args().list).read().decode().split("\n")
    found = pairs(lines[1 : MERGES + 1])
    assert len(found) == MERGES
    rows = []
    for start in range(0, len(found), PAIRS_PER_LINE):
        rows.append(",".join(f"{a},{b}" for a, b in found[start : start + PAIRS_PER_LINE]) + ",")
    target = Path(__file__).parent.parent / "Sources/CTokenizerData/clip_merges.inc"
    target.write_text("/* Written by Tools/clip_merges.py: two token ids a merge, best merge first. */\n" + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
