#!/usr/bin/env python3
"""Counts stack accesses in the innermost loops of the kernels that have multiply-adds, and compares them with expected.txt.

    census.py             check; each instruction set is compiled for itself, whatever this machine is
    census.py --update    write expected.txt anew; new loops get the reason "unexamined", which fails the check
    census.py --report    print all, compare nothing
    census.py --sources FOLDER    kernels of another folder than Sources/CKernels (Tests/Canary)

Needs the Swift toolchain's clang and llvm-objdump, and the C library's headers.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "TrapCensus"))

import disassembly  # noqa: E402
from loops import Instruction, innermost  # noqa: E402

EXPECTED = HERE / "expected.txt"
UNEXAMINED = "unexamined"
# An instruction set, the file of its kernels, its target.
SETS = (
    ("base", "kernels_base.c", "x86_64-linux-gnu"),
    ("avx2", "kernels_avx2.c", "x86_64-linux-gnu"),
    ("avx512", "kernels_avx512.c", "x86_64-linux-gnu"),
    ("bf16", "pairs_avx512.c", "x86_64-linux-gnu"),
    ("neon", "kernels_neon.c", "aarch64-linux-gnu"),
)
# As SwiftPM compiles a release: Package.swift and its own flags.
FLAGS = "-O2 -O3 -std=c17 -fvisibility=hidden -fPIC -fno-omit-frame-pointer -fblocks -w".split()

FUSED = re.compile(r"^(vf(n?m(add|sub))|vfm(addsub|subadd)|vpdp|vdpbf16|vpmadd|pmadd|fml[as]|fn?m(add|sub)|[su]?mla|mls|[su]dot|[su]mlal|bfdot|bfmmla)")
# Where there is no such instruction: products and sums of whole registers.
PRODUCT = re.compile(r"^mulp[sd]$")
SUM = re.compile(r"^(add|sub)p[sd]$")
# An operand in memory: (base, index) of x86, [base] of AArch64.
MEMORY = re.compile(r"\((%\w+)[,)]|\[(\w+)[,\]]")
STACK = {"%rsp", "%rbp", "sp", "x29"}
# Where an address of the stack is put into another register.
DERIVED = re.compile(r"^(?:lea[ql]?\s+[-\w]*\((%r[sb]p)[^)]*\), (%\w+)|mov[ql]?\s+(%rsp), (%\w+)|(?:add|sub|mov)\s+(\w+), (sp|x29)\b.*)$")


def tool(name):
    swift = shutil.which("swift")
    beside = Path(swift).resolve().with_name(name) if swift else None
    found = str(beside) if beside and beside.exists() else shutil.which(name)
    if found is None:
        raise SystemExit(f"spill census: no {name} beside swift or on the PATH")
    return found


def compile_set(sources, source, target, place):
    """The object of a file of kernels, compiled for `target`."""
    output = Path(place, source).with_suffix(".o")
    # Headers of this machine, or those that Debian has for compiling for another one.
    folders = [f"/usr/{target}/include", "/usr/include", f"/usr/include/{target}"]
    arch, other = target.split("-")[0], not Path(folders[2]).is_dir()
    if other and not Path(folders[0]).is_dir():
        package = "libc6-dev-" + {"aarch64": "arm64", "x86_64": "amd64"}[arch] + "-cross"
        raise SystemExit(f"spill census: no headers for {target}: apt-get install {package}, or make deps")
    includes = [flag for folder in (folders[:1] if other else folders[1:]) for flag in ("-isystem", folder)]
    command = [tool("clang"), f"--target={target}", "-nostdlibinc", *FLAGS, *includes, "-c", str(Path(sources, source)), "-o", str(output)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"spill census: {source} does not compile for {arch}:\n{result.stderr}")
    return output


def functions(path):
    """(name, instructions) of each function in an object."""
    name, instructions = None, []
    for line in disassembly.disassemble(path, tool("llvm-objdump")):
        if header := disassembly.HEADER.match(line):
            if instructions:
                yield name, instructions
            name, instructions = header[1], []
        elif name and (fields := re.match(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*?)(?:\s*#.*|\s*//.*)?$", line)):
            instructions.append(Instruction(int(fields[1], 16), fields[2], fields[3].strip()))
    if instructions:
        yield name, instructions


def stack_registers(instructions, loop):
    """The registers that hold addresses of the stack in `loop`: its own two, and what was last set to such an address before."""
    first, known = loop[0].address, {}
    for instruction in instructions:
        if instruction.address >= first:
            break
        if derived := DERIVED.match(f"{instruction.name}\t{instruction.operands}"):
            known[derived[2] or derived[4] or derived[5]] = True
        elif written := re.search(r"(%r\w+)$|^(x\d+),", instruction.operands):
            known.pop(written[1] or written[2], None)
    return STACK | set(known)


def spills(instructions, loop):
    """(multiply-adds, stack accesses) of a loop."""
    names = Counter()
    for instruction in loop:
        for kind, pattern in (("fused", FUSED), ("product", PRODUCT), ("sum", SUM)):
            names[kind] += bool(pattern.match(instruction.name))
    products = names["fused"] + min(names["product"], names["sum"])
    if not products:
        return 0, 0
    registers = stack_registers(instructions, loop)
    accesses = 0
    for instruction in loop:
        if instruction.name.startswith(("lea", "nop")):
            continue
        accesses += any((found[1] or found[2]) in registers for found in MEMORY.finditer(instruction.operands))
    return products, accesses


def count(sources):
    """{(set, function): (loops, multiply-adds, stack accesses)} of the innermost loops that have both."""
    counts = {}

    def one(entry):
        isa, source, target = entry
        with tempfile.TemporaryDirectory() as place:
            seen = 0
            for function, instructions in functions(compile_set(sources, source, target, place)):
                for loop in innermost(instructions):
                    products, accesses = spills(instructions, loop)
                    seen += products > 0
                    if products and accesses:
                        loops, before, sum_ = counts.get((isa, function), (0, 0, 0))
                        counts[isa, function] = loops + 1, before + products, sum_ + accesses
            # Without any such loop the census would pass whatever is there.
            if seen < 20:
                raise SystemExit(f"spill census: only {seen} loops with multiply-adds in {source}")
            return isa, seen

    with ThreadPoolExecutor() as threads:
        totals = dict(threads.map(one, SETS))
    return counts, totals


def read_expected():
    """({(set, function): (accesses, reason)}, {reason: text}) as committed."""
    expected, reasons = {}, {UNEXAMINED: "not looked at yet"}
    for line in EXPECTED.read_text().splitlines() if EXPECTED.exists() else []:
        if line.startswith("@"):
            reason, _, text = line[1:].partition(" ")
            reasons[reason] = text.strip()
        elif line and not line.startswith("#"):
            isa, accesses, _, reason, function = line.split(None, 4)
            expected[isa, function] = int(accesses), reason
    return expected, reasons


def compiler():
    first = subprocess.run([tool("clang"), "--version"], check=True, capture_output=True, text=True).stdout.partition("\n")[0]
    return re.sub(r"\s*\(.*?/llvm-project\S*\s*(\w{0,10})\w*\)", r" \1", first)


def update(counts):
    expected, _ = read_expected()
    old = EXPECTED.read_text().splitlines() if EXPECTED.exists() else ["# ", "# See README.md."]
    lines = [line for line in old if line[:1] in ("#", "@") or not line]
    lines[0] = f"# Stack accesses beside multiply-adds in innermost loops, per function, by {compiler()}: set, accesses, multiply-adds, reason, function."
    while lines and not lines[-1]:
        lines.pop()
    rows = [""] if counts else []
    for (isa, function), (_, products, accesses) in sorted(counts.items()):
        reason = expected.get((isa, function), (0, UNEXAMINED))[1]
        rows.append(f"{isa:8} {accesses:4} {products:4} {reason:11} {function}")
    EXPECTED.write_text("\n".join(lines + rows) + "\n")


def compare(counts):
    """The lines that say what is wrong."""
    expected, reasons = read_expected()
    same = EXPECTED.exists() and f"by {compiler()}:" in EXPECTED.read_text().partition("\n")[0]
    wrong = []
    for (isa, function), (loops, products, accesses) in sorted(counts.items()):
        number, reason = expected.get((isa, function), (0, None))
        found = f"{isa}: {function}: {accesses} stack accesses beside {products} multiply-adds in {loops} innermost loop(s)"
        if reason is None:
            wrong.append(f"{found}; not in expected.txt")
        elif accesses > number:
            wrong.append(f"{found}; expected.txt has {number}")
        elif reason == UNEXAMINED or reason not in reasons:
            wrong.append(f"{found}; expected.txt gives no reason ({reason})")
    if not same:
        print(f"spill census: expected.txt is of another compiler than {compiler()}; what differs is told, and is no failure:")
        print("\n".join(wrong))
        return []
    fewer = sum(counts.get(key, (0, 0, 0))[2] < number for key, (number, _) in expected.items())
    if fewer:
        print(f"spill census: better than expected.txt: {fewer} functions have fewer; --update writes it")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--sources", default=ROOT / "Sources" / "CKernels")
    arguments = parser.parse_args()
    counts, totals = count(arguments.sources)
    if arguments.report:
        for (isa, function), (loops, products, accesses) in sorted(counts.items()):
            print(f"{isa}: {function}: {accesses} stack accesses beside {products} multiply-adds in {loops} innermost loop(s)")
        return 0
    if arguments.update:
        update(counts)
    wrong = compare(counts)
    print("\n".join(wrong))
    loops = ", ".join(f"{isa} {number}" for isa, number in totals.items())
    print(f"spill census: innermost loops with multiply-adds: {loops}; {len(counts)} functions spill in them, {len(wrong)} complaints")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
