#!/usr/bin/env python3
"""Counts what can end the process in each function of libdiffaccel.so and compares it with expected.txt.

    census.py FOLDER            check the library in FOLDER, a build folder such as .build/release
    census.py FOLDER --update   write expected.txt anew; new functions get the reason "unexamined", which fails the check
    census.py FOLDER --lines M  where in the source the checks of target M come from (needs llvm-symbolizer)
    census.py FOLDER --report   print all, compare nothing
"""

import argparse
import platform
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import disassembly
import names

EXPECTED = Path(__file__).with_name("expected.txt")
# What meets outside values first has no such instruction at all, whatever the list says.
NONE_ALLOWED = ("CKernels", "CRanks", "DiffCheckpoint", "CBoundary", "DiffAccelC")
UNEXAMINED = "unexamined"
# Standard-library code: each further type it is specialised for adds the same checks once more.
SPECIALISED = "specialised"


def count(folder):
    """{(target, function): Counter of kinds} of the library in `folder`."""
    library = Path(folder, "libdiffaccel.so")
    homes = disassembly.emitters(folder)
    code = disassembly.code_symbols(library)
    # A stripped library, or one of another build, would pass any census.
    if sum(symbol in code for symbol in homes) < 1000:
        raise SystemExit(f"trap census: {library} has none of the functions of the objects beside it: stripped?")
    found = disassembly.traps(library)
    name = names.Namer(found, homes)
    counts = {}
    for symbol, kinds in found.items():
        if function := name(symbol):
            counts.setdefault(function, Counter()).update(kinds)
    return counts


def read_expected():
    """({(target, function): (count, reason)}, {reason: text}) as committed."""
    functions, reasons = {}, {UNEXAMINED: "not looked at yet"}
    for line in EXPECTED.read_text().splitlines() if EXPECTED.exists() else []:
        if line.startswith("@"):
            reason, _, text = line[1:].partition(" ")
            reasons[reason] = text.strip()
        elif line and not line.startswith("#"):
            target, number, reason, function = line.split(None, 3)
            functions[target, function] = int(number), reason
    return functions, reasons


def update(counts):
    functions, reasons = read_expected()
    lines = [line for line in EXPECTED.read_text().splitlines() if line[:1] in "#@" or not line] if EXPECTED.exists() else []
    while lines and not lines[-1]:
        lines.pop()
    rows = [""]
    for (target, function), kinds in sorted(counts.items()):
        reason = functions.get((target, function), (0, UNEXAMINED))[1]
        rows.append(f"{target:16} {sum(kinds.values()):4} {reason:10} {function}")
    EXPECTED.write_text("\n".join(lines + rows) + "\n")


def compare(counts):
    """The lines that say what is wrong."""
    functions, reasons = read_expected()
    wrong = [
        f"{target}: {function}: {describe(kinds)}; there must be none in {target}"
        for (target, function), kinds in sorted(counts.items())
        if target in NONE_ALLOWED
    ]
    if not comparable():
        print("trap census: expected.txt is of another machine or compiler; checked here: only the targets that must have none")
        return wrong
    fewer = 0
    for (target, function), kinds in sorted(counts.items()):
        number, reason = functions.get((target, function), (0, None))
        if target in NONE_ALLOWED:
            continue
        if reason is None:
            wrong.append(f"{target}: {function}: {describe(kinds)}; not in expected.txt")
        elif sum(kinds.values()) > number and target != SPECIALISED:
            wrong.append(f"{target}: {function}: {describe(kinds)}; expected.txt has {number}")
        elif reason == UNEXAMINED or reason not in reasons:
            wrong.append(f"{target}: {function}: expected.txt gives no reason ({reason})")
        fewer += sum(kinds.values()) < number
    gone = len(functions.keys() - counts.keys())
    if fewer or gone:
        print(f"trap census: better than expected.txt: {fewer} functions have fewer, {gone} have none; --update writes it")
    return wrong


def comparable():
    """Whether expected.txt is of this kind of machine and this version of the compiler, which decides what is inlined where."""
    version = re.search(r"Swift (\d+\.\d+(\.\d+)?)", EXPECTED.read_text().partition("\n")[0])
    compiler = subprocess.run(["swift", "--version"], check=True, capture_output=True, text=True).stdout
    return platform.machine() in ("x86_64", "AMD64") and version is not None and f"Swift version {version[1]} " in compiler


def describe(kinds):
    return ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))


def lines_of(folder, target):
    """Prints the source lines that each check of `target` was inlined from."""
    library = Path(folder, "libdiffaccel.so")
    places = {}
    found = disassembly.traps(library, places)
    name = names.Namer(found, disassembly.emitters(folder))
    chosen = sorted((name(symbol), address) for symbol, addresses in places.items() for address in addresses if name(symbol))
    chosen = [(function, address) for (module, function), address in chosen if module == target]
    text = subprocess.run(
        ["llvm-symbolizer", "-e", str(library), "--inlines", "--functions=none", "--basenames"],
        input="\n".join(hex(address) for _, address in chosen), check=True, capture_output=True, text=True,
    ).stdout
    for (function, _), block in zip(chosen, text.strip().split("\n\n")):
        frames = [frame.rsplit(":", 1)[0] for frame in block.splitlines()]
        own = [frame for frame in frames if not frame.endswith(":0")]
        print(f"{function}: {' <- '.join(own or frames[-1:])}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--lines", metavar="TARGET")
    arguments = parser.parse_args()
    if arguments.lines:
        lines_of(arguments.folder, arguments.lines)
        return 0
    counts = count(arguments.folder)
    if arguments.report:
        for (target, function), kinds in sorted(counts.items()):
            print(f"{target}: {function}: {describe(kinds)}")
        return 0
    if arguments.update:
        update(counts)
    wrong = compare(counts)
    print("\n".join(wrong[:60]))
    total = sum(sum(kinds.values()) for kinds in counts.values())
    print(f"trap census: {len(counts)} functions with {total} checks that end the process, {len(wrong)} complaints")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
