#!/usr/bin/env python3
"""Fails for words in the library's Swift sources that end the process when something is not as expected.

    lint.py [FOLDER...]    the sources under FOLDER (default: Sources, without the command line)

The library throws instead. What must stay is listed in lint-allowed.txt with its reason.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = Path(__file__).with_name("lint-allowed.txt")
# Programs of their own: they may end themselves.
EXEMPT = ("Sources/diffaccel-cli/",)

RULES = (
    # Behind a name, a bracket or another operator of that kind; "!=" and "!==" and a prefix "!" are none.
    (re.compile(r"(?<=[\w)\]}>?`])!(?!=)"), "force unwrapping or an implicitly unwrapped type"),
    (re.compile(r"\btry!"), "try!"),
    (re.compile(r"\bas!"), "as!"),
    (re.compile(r"\b(fatalError|precondition|preconditionFailure|assert|assertionFailure)\s*\("), "an assertion"),
    (re.compile(r"\b(abort|exit|_exit|raise|kill)\s*\("), "a call that ends the process"),
    (re.compile(r"\bunowned\b"), "unowned, which traps when the object is gone"),
    (re.compile(r"\bunsafe(Bit|Down)[cC]ast\b"), "an unchecked cast"),
    (re.compile(r"\buniqueKeysWithValues\b"), "uniqueKeysWithValues, which traps for a key that is there twice"),
    (re.compile(r"\.randomElement\(\)!|\.first!|\.last!"), "force unwrapping"),
)


def code(text):
    """`text` with comments and the letters of string literals blanked; code in interpolations stays."""
    out, stack, position = [], ["code"], 0
    while position < len(text):
        here, rest = stack[-1], text[position : position + 3]
        if here in ("string", "block"):
            closing = '"""' if here == "block" else '"'
            if rest.startswith("\\("):
                stack.append("interpolation")
                out.append("( ")
                position += 2
                continue
            if rest.startswith("\\"):
                out.append("  ")
                position += 2
                continue
            if text.startswith(closing, position):
                stack.pop()
                out.append(closing)
                position += len(closing)
                continue
            out.append("\n" if text[position] == "\n" else " ")
            position += 1
            continue
        if rest.startswith("//"):
            position = text.find("\n", position) if "\n" in text[position:] else len(text)
            continue
        if rest.startswith("/*"):
            end = text.find("*/", position)
            end = len(text) if end < 0 else end + 2
            out.append("\n" * text.count("\n", position, end))
            position = end
            continue
        if rest.startswith('"'):
            block = rest == '"""'
            stack.append("block" if block else "string")
            out.append(rest if block else '"')
            position += 3 if block else 1
            continue
        if here in ("interpolation", "nested") and text[position] in "()":
            if text[position] == "(":
                stack.append("nested")
            else:
                stack.pop()
        out.append(text[position])
        position += 1
    return "".join(out)


def allowances():
    """{(file, line of code without spaces at its ends)} that may stay."""
    allowed = set()
    for line in ALLOWED.read_text().splitlines() if ALLOWED.exists() else []:
        if line and not line.startswith("#"):
            file, text, reason = (part.strip() for part in line.split(" | "))
            if not reason:
                raise SystemExit(f"lint: no reason for {file}: {text}")
            allowed.add((file, text))
    return allowed


def complaints(file, text, allowed=frozenset()):
    found, lines = [], text.splitlines()
    for number, line in enumerate(code(text).splitlines(), 1):
        for pattern, what in RULES:
            if pattern.search(line) and (file, lines[number - 1].strip()) not in allowed:
                found.append(f"{file}:{number}: {what}: {lines[number - 1].strip()}")
                break
    return found


def self_test():
    """Each rule sees what it is for, and nothing in strings, comments or other operators."""
    bad = ("let a = b!", "x[0]!.y", "try! f()", "a as! B", "fatalError()", "precondition(a)", "assert(a)", "var a: Int!",
           "unowned let a", 'let s = "\\(a!)"', "exit(1)", "Dictionary(uniqueKeysWithValues: a)")  # fmt: skip
    good = ("if a != b {}", "if !a {}", "a !== b", "// a!", '"a! \\(b) try!"', "/* as! */ a", "f(!a, !b)", "let asserted = 1")
    for line in bad:
        if not complaints("", line):
            raise SystemExit(f"lint: its own test failed: did not see {line}")
    for line in good:
        if complaints("", line):
            raise SystemExit(f"lint: its own test failed: complained of {line}")


def main():
    self_test()
    files = [path for folder in sys.argv[1:] or ["Sources"] for path in sorted(Path(ROOT, folder).rglob("*.swift"))]
    names = [(str(path.relative_to(ROOT)), path) for path in files]
    names = [(name, path) for name, path in names if not name.startswith(EXEMPT)]
    allowed, found = allowances(), []
    for name, path in names:
        found += complaints(name, path.read_text(), allowed)
    print("\n".join(found + [f"lint: {len(names)} Swift files, {len(found)} complaints"]))
    return 1 if found or not names else 0


if __name__ == "__main__":
    sys.exit(main())
