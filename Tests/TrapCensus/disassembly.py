"""Reading a library: its functions, the instructions in them that kill the process, and where they came from."""

import re
import shutil
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

# The library's own targets, bottom up: a copy emitted in several objects belongs to the lowest of them.
OWN = (
    "CKernels",
    "CRanks",
    "DiffTensor",
    "DiffCheckpoint",
    "DiffModels",
    "DiffSampling",
    "DiffAcceleration",
    "DiffTraining",
    "DiffAccel",
    "CBoundary",
    "DiffAccelC",
)

HEADER = re.compile(r"^[0-9a-f]+ <(.+)>:$")
# x86-64: ud1 and ud2; int3 is handled apart, for the linker pads with it. AArch64: brk and udf.
TRAP = re.compile(r"\t(ud1|ud2|ud2a|ud2b|udf|brk)\b")
BREAK = re.compile(r"\tint3\b")
# What the linker's padding stands behind: an instruction that does not come back, or another int3.
LEAVES = re.compile(r"\t(jmp|jmpq|ret|retq|call|callq|ud1|ud2|int3)\b")
CALL = re.compile(r"\t(?:call|callq|jmp|jmpq|bl|b)\s+(?:0x)?[0-9a-f]+ <([^+>]+)>")
FLAGS = re.compile(r"\t(?:mov|movl)\s+\$0x([0-9a-f]+),%r8d|\t(?:mov|movz)\s+[wx]4, #(0x[0-9a-f]+|\d+)")

# Functions that end the process whenever they are called, or end it for some arguments (casts that must succeed, accesses
# that must be exclusive). swift_deletedMethodError is none of them: it fills vtable slots of methods that the optimiser found
# to be never called. Retain counts and allocation failures inside swift_retain and swift_allocObject are the language's own and
# are there in every Swift function; no argument from outside decides about them.
DEADLY = (
    (re.compile(r"assertionFailure|fatalErrorMessage|fatalErroryy|10fatalError|preconditionFailure"), "assertion"),
    (re.compile(r"^swift_(unexpectedError|errorInMain)"), "unexpected error"),
    (re.compile(r"^swift_(beginAccess|.*[eE]xclusiv)"), "exclusive access"),
    (re.compile(r"^swift_dynamicCast.*Unconditional|swift_dynamicCastFailure"), "cast"),
    (re.compile(r"swift_abort|swift_unownedRetainStrong$|swift_unownedCheck"), "abort"),
    (re.compile(r"^(abort|_?exit|_Exit|quick_exit|raise|__assert_fail|_ZSt9terminatev)(@|$)"), "abort"),
    (re.compile(r"_diagnoseUnexpected|_DICTIONARY_VIOLATES|_SET_VIOLATES|_unexpectedNil|invalidIndex"), "assertion"),
)


def deadly(callee, recent):
    """The kind of process-ending function that `callee` is, or None; `recent` are the instructions before the call."""
    if callee.startswith("swift_dynamicCast@") or callee == "swift_dynamicCast":
        # Bit 0 of the fifth argument: the cast must succeed. A flag that is not a constant counts.
        for line in reversed(recent):
            if flags := FLAGS.search(line):
                return "cast" if int(flags[1] or flags[2], 16 if flags[1] else 0) & 1 else None
        return "cast"
    return next((kind for pattern, kind in DEADLY if pattern.search(callee)), None)


def traps(library, places=None):
    """{symbol: Counter of kinds} of `library`; `places` is given the addresses of each symbol's."""
    sizes, behind = code_symbols(library), {}
    found = defaultdict(dict)
    for symbol, address, kind in hits(disassemble(library)):
        # Several objects may have a function of the same name that is private to each.
        start, size = max((place for place in sizes.get(symbol, ()) if place[0] <= address), default=(0, 0))
        if size and address >= start + size:
            # Behind a symbol's end stands code without one: what the compiler keeps private to an object.
            behind[address] = symbol, kind
        else:
            found[symbol][address] = kind
    for address, name in debug_names(library, behind).items():
        symbol, kind = behind[address]
        found[name or symbol][address] = kind
    if places is not None:
        places.update({symbol: sorted(addresses) for symbol, addresses in found.items()})
    return {symbol: Counter(addresses.values()) for symbol, addresses in found.items()}


def hits(lines):
    """From the lines of a disassembly: (symbol, address, kind) of all that ends the process."""
    symbol, before, recent = None, "", []
    for line in lines:
        if header := HEADER.match(line):
            symbol, before, recent = header[1], "", []
            continue
        if symbol is None or "\t" not in line:
            continue
        kind = None
        if TRAP.search(line) or (BREAK.search(line) and not LEAVES.search(before)):
            kind = "trap"
        elif (call := CALL.search(line)) and call[1] != symbol:  # a jump inside the function carries its own name
            kind = deadly(call[1], recent)
        if kind:
            yield symbol, int(line.partition(":")[0], 16), kind
        before = line
        recent = recent[-24:] + [line]


def disassemble(library, tool=None):
    """The lines of the disassembly of `library`, by `tool` or by what is on the PATH."""
    tool = tool or shutil.which("objdump") or shutil.which("llvm-objdump")
    if tool is None:
        raise SystemExit("census: neither objdump nor llvm-objdump is on the PATH")
    process = subprocess.Popen(
        [tool, "-d", "--no-show-raw-insn", str(library)], stdout=subprocess.PIPE, text=True, errors="replace"
    )
    yield from process.stdout
    if process.wait() != 0:
        raise SystemExit(f"census: {tool} failed on {library}")


def emitters(folder):
    """{symbol: [targets whose objects define it]} for the library's own targets."""
    homes = defaultdict(list)
    for module in OWN:
        objects = sorted(str(path) for path in Path(folder, f"{module}.build").glob("**/*.o"))
        if not objects:
            raise SystemExit(f"trap census: no objects of {module} in {folder}: build the library first")
        listing = subprocess.run(["nm", "--defined-only", *objects], check=True, capture_output=True, text=True).stdout
        for line in listing.splitlines():
            fields = line.split()
            if len(fields) == 3 and fields[1] in "tTwWV" and module not in homes[fields[2]]:
                homes[fields[2]].append(module)
    return homes


def code_symbols(library):
    """{name: [(address, size)]} of all functions in `library`."""
    listing = subprocess.run(["nm", "-S", "--defined-only", str(library)], check=True, capture_output=True, text=True).stdout
    rows = [fields for fields in map(str.split, listing.splitlines()) if len(fields) == 4 and fields[2] in "tTwW"]
    found = defaultdict(list)
    for address, size, _, name in rows:
        found[name].append((int(address, 16), int(size, 16)))
    return found


def debug_names(library, addresses):
    """{address: symbol or None} by the debug information: the outermost frame is the function that was compiled."""
    if not addresses:
        return {}
    text = subprocess.run(
        ["addr2line", "-a", "-i", "-f", "-e", str(library)], input="\n".join(map(hex, addresses)), check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    found, address = {}, None
    for line in text.splitlines():
        if line.startswith("0x"):
            address = int(line, 16)
            found[address] = None
        elif line[:1] not in "?/" and ":" not in line:
            found[address] = line
    return found
