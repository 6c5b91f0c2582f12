#!/usr/bin/env python3
"""The header's promises each name the tests that prove them; here it is checked that the tests exist and are run.

In the header's first comment a promise ends in brackets: [SUITE/FILE: test, test; SUITE/FILE; ...], below Tests/. A C test must
be called by its program, and the program be one that run.sh runs; a Swift one must be marked as a test.
"""

import re
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
HEADER = TESTS.parent / "include" / "diffaccel.h"
PROMISES = 10


def promises(header):
    """Pairs of a promise's number and its proofs' text."""
    comment = re.sub(r"\n \*", "\n", header.split("*/")[0])
    items = re.split(r"\n\s+(\d+)\. ", comment.split("Conventions")[0])[1:]
    for number, text in zip(items[::2], items[1::2]):
        found = re.search(r"\[([^\]]*)\]\s*$", text)
        yield int(number), " ".join(found.group(1).split()) if found else ""


def problem(proof, run):
    """What is wrong with one 'SUITE/FILE: test, test', or None."""
    name, _, tests = proof.partition(":")
    path = next((p for p in (TESTS / (name + s) for s in ("", ".c", ".swift")) if p.is_file()), None)
    if path is None:
        return f"there is no Tests/{name}"
    text = path.read_text()
    if path.suffix == ".c" and not re.search(rf"\b{path.stem}\b", run):
        return f"run.sh does not run {path.stem}"
    for test in (t.strip() for t in tests.split(",") if t.strip()):
        if path.suffix == ".swift":
            there = re.search(rf"@Test\b[^@]*?\bfunc {test}\(", text)
        else:
            there = len(re.findall(rf"\b{test}\b", text)) >= 2 and re.search(rf"^static \w+ {test}\(", text, re.M)
        if not there:
            return f"Tests/{name} has no test {test}"
    return None


def problems(header):
    run = re.search(r'^all="([^"]*)"', (TESTS / "CABI" / "run.sh").read_text(), re.M).group(1)
    proved = dict(promises(header))
    if sorted(proved) != list(range(1, PROMISES + 1)):
        yield f"the header has promises {sorted(proved)}, expected 1 to {PROMISES}"
    for number, proofs in sorted(proved.items()):
        if not proofs:
            yield f"promise {number} names no test"
        for proof in filter(None, (p.strip() for p in proofs.split(";"))):
            wrong = problem(proof, run)
            if wrong:
                yield f"promise {number}: {wrong}"


def main():
    header = HEADER.read_text()
    found = list(problems(header))
    for line in found:
        print(line, file=sys.stderr)
    # That this check can fail: a test, a file and a proof that are not there.
    for before, after in [("test_handles", "test_hands"), ("CABI/files", "CABI/piles"), (" *      [CABI/layout; CABI/abi.sh; CABI/misuse_structs: test_earlier_sizes]\n", "")]:
        if before not in header or not list(problems(header.replace(before, after))):
            print(f"not noticed: {before!r} replaced by {after!r}", file=sys.stderr)
            found.append(before)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
