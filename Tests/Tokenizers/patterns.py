#!/usr/bin/env python3
"""Compares how patterns cut texts with the `tokenizers` package, which runs them with Oniguruma.

    pip install tokenizers
    Tests/Tokenizers/patterns.py .build/release/diffaccel-cli [--patterns 400] [--seed 1]

First a list of patterns that are easily read in another way; then patterns made at random of everything the library reads, on texts
made for them. A pattern that Oniguruma refuses must be refused. One that it reads must cut every text the same way, or be refused as
unsupported: never for what stands in `SUPPORTED`, and of the random ones never, since they are made of what is supported.
"""
import argparse
import json
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tokenizers import Regex, normalizers, pre_tokenizers

BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]

# Read by the library, and in more than one way by others.
SUPPORTED = [
    r"\p{N}{1,3}+", r"\p{N}{1,3}", r"\p{N}{1,3}?", r"\p{N}{2,3}?", r"\p{N}{2}?", r"\p{N}{2}??", r"\p{N}{3,1}", r"\p{N}{3,1}?2", r"\d{,2}",
    r"\d{2,}", r"\d{2,}?", r"\d{2}+", r"\d{1,2}{2}", r"\d{2}{1,2}?", r"a{x}", r"a{,}", r"{", r"a{ 1}", r"a{1 }", r"a{0}", r"^", r"$", r"^a",
    r"a$", r"^\s*", r"\s*$", r"\n^", r"\n$", r"$\n", r"\A", r"\z", r"\Z", r"\Aa", r".\Z", r"\Z\n", r"a\z", r"\b", r"\B", r"\ba", r"a\b",
    r"(?=[A-Z])", r"(?![A-Z])", r"(?<=a)b", r"(?<!a)b", r"(?<=a+)b", r"(?<!a|bc)d", r"(?<=\b)a", r"(?<=(a))b", r"(?<=^|,)a",
    r"", r"()", r"a||b", r"a|", r"|a", r"(?:)*", r"(?:a?)*?b", r"(a*)*b", r"(?:a|b??)*", r"(?:a*)+", r"(?:a|)+", r"(?:|a)+", r"a**", r"a+++",
    r"a*+a", r"a?+a", r"a++a", r"a?+?", r"a*??", r"a+?b", r"(?>a*)ab", r"(?>a|ab)c", r"(a|ab)(c|bcd)(d*)", r"(?i:a)", r"(?i)a(?-i)b",
    r"a(?i)b|c", r"(?i-i:a)", r"(?mi:.a)", r"(?m:.)", r".", r"(?x: a b ) ", r"(?x)a +", r"(?x)a #c", r"(?x:[a b])", r"(?#abc)a", r"a(?#x)+",
    r"(?i:ß)", r"(?i:ss)", r"(?i:[ß])", r"(?i:[^ß])", r"(?i:st)", r"(?i:ffi)", r"(?i:s)", r"(?i:k)", r"(?i:[k])", r"(?i:[^k])", r"(?i:ı)",
    r"(?i:i)", r"(?i:İ)", r"(?i:σ)", r"(?i:ς+)", r"(?i:\x{345})", r"(?i:ΐ)", r"(?i:ﬃx)", r"(?i:\p{Lu})", r"(?i:[\p{Lu}])", r"(?i:[[^a]])",
    r"(?i:[^a])", r"(?i:[a-z&&[^k]])", r"(?i:Ꭰ)", r"(?i:ꭰ)", r"(?i:ᲀ)", r"(?i:ẞ)", r"(?i:ŉ)", r"(?i:ᾳ)", r"(?i:[ᾳ])", r"(?i:'s|'t|'re|'ve)",
    r"(?<=(?i:ss))a", r"[a&&]", r"[&&a]", r"[^a&&b]", r"[a&&b&&c]", r"[a-z&&[^aeiou]]+", r"[[a-c][x-z]]", r"[^[a-c]x]", r"[\p{L}&&\p{ASCII}]",
    r"[[:alpha:]]+", r"[[:^alpha:]]", r"[:alpha:]", r"[]a]", r"[^]a]", r"[]-a]", r"[a-]", r"[-a]", r"[--a]", r"[!--]", r"[a-c-e]", r"[a-c--e]",
    r"[a-c-[e]]", r"[\w-]", r"[a\]b]", r"[\[]", r"[a-z]]", r"a]", r"a}", r"[\b]", r"[\R]", r"[\X]", r"[\B\A\z\Z]", r"[.^$*]", r"\R", r"\R+", r"\N",
    r"\O", r"\h", r"\H", r"[\h]", r"[\H]", r"\e", r"\a", r"\f", r"\v", r"\t", r"\x41", r"\x4", r"\x{e9}", r"\x{1F600}", r"\u00e9", r"[\x41-\x43]",
    r"[\x{e0}-\x{ff}]", r"\q", r"\i", r"\Q", r"\-", r"\/", r"\é", r"a\ b", r"\p", r"\pL", r"\kx", r"\p{^L}", r"\P{^L}", r"\P{L}", r"[\P{L}]",
    r"\p{letter}", r"\p{Uppercase_Letter}", r"\p{uppercase letter}", r"\p{LC}", r"\p{Any}", r"\p{Assigned}", r"\p{Alphabetic}", r"\p{White_Space}",
    r"\p{Alnum}", r"\p{Alpha}", r"\p{Blank}", r"\p{Cntrl}", r"\p{Digit}", r"\p{Graph}", r"\p{Lower}", r"\p{Print}", r"\p{Space}", r"\p{Upper}",
    r"\p{XDigit}", r"\p{Word}", r"\p{ASCII}", r"\p{Punctuation}", r"\p{Lowercase}", r"\p{Uppercase}", r"\p{L}\p{M}*", r"(?'n'a)", r"(?<n>a)b",
    r"(?!)", r"(?=)", r"(?:(?=a)a|b)+", r"\s+(?!\S)|\s+", r" ?[^\s\p{L}\p{N}]++[\r\n]*", r"[^\r\n\p{L}\p{N}]?+\p{L}+", r"'(?i:[sdmt]|ll|ve|re)",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))", r"(?<!\d)\d{1,2}(?!\d)", r"[^\S\n]+|\n", r"\w+(?:[-']\w+)*", r"\b(?:\d+|[a-z]+)\b",
]
# Oniguruma refuses these, or reads them and the library says that it does not.
REFUSED = [
    "(", ")", "[", "[]", "[^]", "[a", "[[a]", "*", "+a", "a|*", "a{3}{3}{3}{3}{3}", "a{100001}", "\\", r"\p{", r"\p{}", r"\p{Nothing}", r"[z-a]",
    r"[a-\d]", r"[\d-a]", r"[[:alpha:]-z]", r"[[:foo:]]", r"[[:Alpha:]]", r"(?=a)*", r"^*", r"\b*", r"(?:^)+", r"(?P<a>b)", r"(?s:.)", r"(?<1>a)",
    r"(?<>a)", r"(?", r"(?:", r"(?i", r"\xe9", r"\u41", r"(?<!(a))b", r"(?<=(?=a)b)a", r"(a)\1", r"\X", r"\K", r"\G", r"\y", r"(?~a)", r"(?(1)a)",
    r"(*FAIL)", r"(?<=a|\R)b", r"\k<n>", r"\g<n>", r"\cA", r"\o{101}", r"\012", r"\x{41 42}", r"\p{InBasicLatin}", r"(?W:a)", r"(?y{g}:a)",
]
TEXTS = [
    "", "a", "aa\n", "aaa ab abb\nb", "12345 1234567 1 22 333", "fooBarBaz ABC aBcD", "a\r\nb\rc\n\n d\x0b\x0c\x85e\u2028f", "a{x} a{,} { } a]b a-b&&c [a^$*.",
    "ßssSSẞſs ﬅﬆstST ﬃffi ﬀ ŉʼn ΐΐ ᾳαι İi̇ıIi K kK σςΣ Ꭰꭰ ᲀвВ \u0345ιΙ", "hello, it's don'T I'LL WE'RE  x", "éÉ e\u0301 ñ 中文字 ひらがな カタカナ 한국어 русский ٣٤ ½² Ⅷ ⓐ",
    "  \t \u00a0\u3000x  \n  \n", "_-'\"/\\ \x07\x1b\x00\x08\x7f qiQpLkx 😀👩\u200d👧 \u200c\u1c89\ua7cb\U00011f5b\U00010940",
]
ATOMS = [
    "a", "b", "s", "ß", " ", "1", "é", ".", r"\s", r"\S", r"\d", r"\D", r"\w", r"\W", r"\h", r"\H", r"\R", r"\N", r"\O", r"\p{L}", r"\p{N}", r"\p{Lu}",
    r"\P{L}", r"\p{^N}", r"\n", r"[ab]", r"[^ab]", r"[a-z]", r"[^\s\p{L}]", r"[[:upper:]]", r"[\p{L}&&[^aeiou]]", r"[^a-z&&[^s]]", r"[\w-]", r"[\r\n]",
    r"\x{e9}", r"'", "ff", "K", "中",
]
ANCHORS = ["^", "$", r"\A", r"\z", r"\Z", r"\b", r"\B"]
QUANTIFIERS = ["*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{1,}", "{,2}", "{2}?", "{1,2}?", "{1,2}+", "{2,1}", "{0,1}", "{0}"]


def pattern(rng, depth=0):
    """A pattern out of everything that is read."""
    branches = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        parts = []
        for _ in range(rng.choice([0, 1, 1, 2, 2, 3])):
            kind = rng.random()
            if depth < 3 and kind < 0.25:
                inner = pattern(rng, depth + 1)
                open_ = rng.choice(["(?:", "(?:", "(?>", "(?i:", "(", "(?m:"])
                part = open_ + inner + ")"
                # Counts of what may be empty end early or not in Oniguruma, by the size of what is repeated: not compared.
                if rng.random() < 0.45:
                    part += rng.choice(QUANTIFIERS[:9])
                parts.append(part)
                continue
            elif depth < 3 and kind < 0.32:
                parts.append(rng.choice(["(?=", "(?!"]) + pattern(rng, depth + 1) + ")")
                continue
            elif kind < 0.37:
                parts.append(rng.choice(["(?<=", "(?<!"]) + "".join(rng.choice([atom for atom in ATOMS if atom != r"\R"]) for _ in range(rng.randint(1, 2))) + ")")
                continue
            elif kind < 0.45:
                parts.append(rng.choice(ANCHORS))
                continue
            else:
                part = rng.choice(ATOMS)
            if rng.random() < 0.45:
                part += rng.choice(QUANTIFIERS)
                if rng.random() < 0.1:
                    part = f"(?:{part}){rng.choice(QUANTIFIERS[:9])}"
            parts.append(part)
        branches.append("".join(parts))
    return "|".join(branches)


def text(rng):
    return "".join(rng.choice("aabbsSßABkK11234 \n\r\t'.-_é中ﬀfſ٣\u0301\u2028😀x") for _ in range(rng.randint(0, 40)))


def reference(pattern, behavior, invert, texts):
    """Words of each text; None where Oniguruma does not read the pattern, and for a text where it gives up."""
    try:
        split = pre_tokenizers.Split(Regex(pattern), behavior.lower() if "M" not in behavior else {
            "MergedWithPrevious": "merged_with_previous", "MergedWithNext": "merged_with_next"}[behavior], invert=invert)
    except Exception:  # noqa: BLE001 - whatever the package raises
        return None
    words = []
    for text in texts:
        try:
            words.append([word for word, _ in split.pre_tokenize_str(text)])
        except BaseException as error:  # noqa: BLE001 - the package panics where Oniguruma stops
            if isinstance(error, KeyboardInterrupt):
                raise
            words.append(None)
    return words


def alphabet():
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(256 + hidden.index(byte) if byte in hidden else byte): byte for byte in range(256)}


class Library:
    """The command line, with one tokenizer file a pattern."""

    def __init__(self, cli, folder):
        self.cli, self.folder, self.model = cli, Path(folder), {"type": "BPE", "vocab": alphabet(), "merges": []}

    def words(self, name, pattern, behavior, invert, texts, normalizer=None):
        """Words of each text, or what the library said."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({
            "model": self.model, "added_tokens": [], "normalizer": normalizer, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}}))
        # JSON with NULs is not read.
        lines = "".join(json.dumps(text) + "\n" for text in texts).encode()
        run = subprocess.run([self.cli, "tokenize", str(path), "--json-lines", "--words"], input=lines, capture_output=True)
        path.unlink()
        if run.returncode:
            return run.stderr.decode()
        return [json.loads(line) for line in run.stdout.decode().split("\n") if line]


def check(library, job):
    """What is wrong with one pattern; nothing when all is well."""
    name, pattern, behavior, invert, texts, must = job
    want = reference(pattern, behavior, invert, texts)
    got = library.words(name, pattern, behavior, invert, texts)
    shown = f"{pattern!r} {behavior}{' inverted' if invert else ''}"
    if isinstance(got, str):
        if "pattern" not in got or "signal" in got:
            return f"{shown}: {got}"
        return f"{shown}: refused: {got}" if must and want is not None else None
    if must is False:
        return f"{shown}: read, should be refused"
    if want is None:
        return f"{shown}: read, Oniguruma refuses it"
    for text, ours, theirs in zip(texts, got, want):
        if theirs is not None and ours != theirs:
            return f"{shown} on {text!r}\n  ours   {ours}\n  theirs {theirs}"
    return None


def every_character(library):
    """Every character by its categories, its words and its composition: the same version of Unicode."""
    ranges = [range(1, 0xD800), range(0xE000, 0x18000), range(0x1B000, 0x20000), range(0x2A600, 0x2B000), range(0x323A0, 0x323C0), range(0xE0000, 0xE0200)]
    characters = [chr(code) for codes in ranges for code in codes]
    failures = []
    text = "".join(characters)
    sets = ["L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc",
            "Sk", "So", "Z", "Zs", "Cc", "Cf", "Cn", "Alpha", "Lower", "Upper", "Word", "Space", "Graph", "Print", "Punct", "Alnum"]
    for name in sets:
        pattern = rf"\p{{{name}}}+"
        want = reference(pattern, "Isolated", False, [text])
        if library.words("set", pattern, "Isolated", False, [text]) != want:
            failures.append(f"\\p{{{name}}}: not the same characters")
    # Each character behind a letter and between marks of the highest and lowest class; but few of the many that never compose.
    combining = [c for code, c in ((ord(c), c) for c in characters) if not 0x3400 <= code < 0xA640 and not 0xE000 <= code < 0xF900
                 and not 0x18000 <= code < 0x1D000 and (code % 29 == 0 or not 0xAC00 <= code < 0xD7A4) and c not in "\n\r"]
    lines = [f"{c} x\u0345{c} x{c}\u0334 A{c}\u1100\u1161{c}" for c in combining]
    nfc = normalizers.NFC()
    want = [nfc.normalize_str(line) for line in lines]
    got = ["".join(words) for words in library.words("nfc", "(?!)", "Isolated", False, lines, {"type": "NFC"})]
    wrong = [(ours, theirs) for ours, theirs in zip(got, want) if ours != theirs]
    if wrong or len(got) != len(want):
        failures.append(f"NFC: {len(wrong)} of {len(want)} lines differ, first {wrong[:3]!a}")
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cli")
    parser.add_argument("--patterns", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    texts = [text.replace("\x00", "") for text in TEXTS]
    jobs = [(f"list{n}", p, b, i, texts, True) for n, p in enumerate(SUPPORTED) for b, i in [("Isolated", False)]]
    jobs += [(f"how{n}{b}{i}", p, b, i, texts, True) for n, p in enumerate([r"\s", r"\b", r"a?", r"(?=[A-Z])", r"\w+"]) for b in BEHAVIORS for i in [False, True]]
    jobs += [(f"bad{n}", p, "Isolated", False, ["a"], False) for n, p in enumerate(REFUSED)]
    for number in range(arguments.patterns):
        jobs.append((f"made{number}", pattern(rng), rng.choice(BEHAVIORS), rng.random() < 0.2, [text(rng) for _ in range(12)] + texts[2:5], None))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        library = Library(arguments.cli, folder)
        failures = [failure for failure in pool.map(lambda job: check(library, job), jobs) if failure]
        failures += every_character(library)
    for failure in failures[:40]:
        print(failure)
    print(f"patterns: {len(jobs)} compared, {len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
