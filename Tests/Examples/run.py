"""Compiles and runs what the pages of the repository show, and the programs of bindings/c.

Usage: run.py BUILD_FOLDER

- C: whole programs are run, other blocks are compiled in a function that has the usual handles.
- Python: all blocks are compiled and go through mypy where it is installed; those that need nothing but the bundled models are run, page by page.
- Swift: all blocks are compiled, in functions that have a model and a session.
- Commands: those on bundled models are run with fewer steps; of the others every option has to exist.
- `make` targets that are named have to exist, links to lead somewhere, every variable of the environment to be in the list of the
  article Deploying.

Ends with "N passed, N failed".
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from blocks import CATALOGUE, ROOT, blocks, commands

C_PRELUDE = """#include <diffaccel.h>
#include <stdio.h>
#include <string.h>
void fragment(const char *request);
void fragment(const char *request) {
    da_model model; da_plan plan; da_session session; da_result result; da_tensor images = {.struct_size = sizeof images};
    (void)request; (void)model; (void)plan; (void)session; (void)result; (void)images;
    {
"""
PYTHON_PRELUDE = """import diffaccel
from typing import Any
def page(latents: Any, labels: Any, tokens: Any, model: diffaccel.Model, session: diffaccel.Session) -> None:
"""
#: What bundled model stands in for one that is elsewhere, to ask for its options.
STAND_INS = {"stable-diffusion-v1-5": "emoji-sd", "sd15.safetensors": "emoji-sd", "audioldm2-music": "tiny-audio",
             "LLaDA-8B-Instruct": "tiny-llada", "LLaDA-8B-Base": "tiny-llada", "drafter": "fashion-var"}
#: So that a minute is enough.
FEWER = [(r"--seconds \d+", "--seconds 1"), (r'"steps": 200', '"steps": 2')]


class Examples:
    """Checks that count themselves, in a folder with the models and the programs."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.passed = self.failed = 0
        (folder / "Models").symlink_to(ROOT / "Models")
        (folder / "Tools").symlink_to(ROOT / "Tools")
        (folder / "diffaccel").symlink_to(build / "diffaccel-cli")
        self.environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "DIFFACCEL_LIBRARY": str(build / "libdiffaccel.so"),
                            "PYTHONPATH": str(ROOT / "bindings/python")}

    def check(self, what, reason):
        """Counts one check; `reason` says why it failed, empty when it did not."""
        if reason:
            self.failed += 1
            print(f"FAILED: {what}\n    " + reason.strip().replace("\n", "\n    "))
        else:
            self.passed += 1

    def run(self, what, command, **options):
        folder = options.pop("cwd", self.folder)
        said = subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True, errors="replace", **options)
        self.check(what, (said.stderr + said.stdout)[-2000:] + f"\nexit code {said.returncode}" if said.returncode else "")

    # ---- C ----

    def compile_c(self, source, flags):
        """Compiles a file; `flags` say what becomes of it."""
        cc = os.environ.get("CC", "cc")
        self.run(f"{source.stem} is compiled", [cc, "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/include", str(source), *flags])

    def build_c(self, source, program):
        library = ["-L", str(self.build), "-ldiffaccel", "-lm", f"-Wl,-rpath,{self.build}"]
        self.compile_c(source, ["-o", str(program), *library])

    def c(self):
        programs = self.folder / "bindings/c"
        programs.mkdir(parents=True)
        for source in sorted((ROOT / "bindings/c").glob("*.c")):
            self.build_c(source, programs / source.stem)
        for block in blocks([ROOT / "bindings/c/README.md"]):
            if "./sample" in block.text:
                self.run("the commands of bindings/c/README.md", ["sh", "-ec", fewer(block.text)], cwd=programs, timeout=300)
        for block in blocks():
            if block.language != "c":
                continue
            source = self.folder / f"{block.page.stem}-{block.line}.c"
            if "int main" in block.text:
                source.write_text(block.text)
                self.build_c(source, source.with_suffix(""))
                self.run(f"{block.name} runs", [str(source.with_suffix(""))], timeout=120)
            else:
                source.write_text(C_PRELUDE + block.text + "    }\n}\n")
                self.compile_c(source, ["-fsyntax-only", "-Wno-shadow"])

    # ---- Python ----

    def python(self):
        pages = {}
        for block in blocks():
            if block.language == "python":
                pages.setdefault(block.page, []).append(block)
        for number, (page, own) in enumerate(pages.items()):
            for block in own:
                try:
                    compile(block.text, block.name, "exec")
                    self.check(f"{block.name} is Python", "")
                except SyntaxError as error:
                    self.check(f"{block.name} is Python", str(error))
            program = self.folder / f"page{number}.py"
            program.write_text("import diffaccel\n" + "\n".join(f"# {block.name}\n" + block.text for block in own if not block.is_elsewhere))
            if any(not block.is_elsewhere for block in own):
                self.run(f"the Python of {page.relative_to(ROOT)} runs", [sys.executable, str(program)], timeout=300)
            typed = self.folder / f"typed{number}.py"
            typed.write_text(PYTHON_PRELUDE + "".join(re.sub(r"^(?=.)", "    ", block.text, flags=re.M) for block in own))
        try:
            import mypy  # noqa: F401
        except ImportError:
            print("no mypy here: Python that is not run is not looked at any closer (make venv installs it)")
            return
        flags = ["--ignore-missing-imports", "--allow-redefinition", "--disable-error-code=name-defined", "--disable-error-code=used-before-def"]
        typed = map(str, sorted(self.folder.glob("typed*.py")))
        self.run("names and options in Python", [sys.executable, "-m", "mypy", *flags, *typed], timeout=300)

    # ---- Swift ----

    def swift(self):
        parts, own = [], [block for block in blocks() if block.language == "swift" and not block.is_quote]
        for number, block in enumerate(own):
            body = re.sub(r"^import \w+.*$", "", block.text, flags=re.M)
            place = f"#sourceLocation(file: \"{block.name.split(':')[0]}\", line: {block.line})\n"
            parts.append(f"@MainActor func block{number}(model: Model, session: Session) throws {{\n{place}{body}#sourceLocation()\n}}\n")
        source = self.folder / "Blocks.swift"
        source.write_text("import DiffAccel\n\n" + "\n".join(parts))
        maps = [word for path in sorted(self.build.glob("*.build/module.modulemap")) for word in ("-Xcc", f"-fmodule-map-file={path}")]
        swift = shutil.which(os.environ.get("SWIFT", "swift"))
        if not swift:
            self.check("Swift is compiled", "there is no swift: https://www.swift.org/install, version 6.3 or later")
            return
        compiler = str(Path(os.path.realpath(swift)).parent / "swiftc")
        flags = ["-typecheck", "-swift-version", "6", "-parse-as-library", "-suppress-warnings", "-I", str(self.build / "Modules"), *maps,
                 "-I", str(ROOT / "Sources/CJansson")]
        # What the article on methods speaks of.
        method = ROOT / "Tests/DiffAccelTests/ToyMethod.swift"
        self.run(f"{len(own)} blocks of Swift are compiled", [compiler, *flags, str(source), str(method)], timeout=300)

    # ---- commands ----

    def help_of(self, words):
        """What the command of `words` says of its options, and those of the model it names."""
        said = subprocess.run(words + ["--help"], cwd=self.folder, env=self.environment, capture_output=True, text=True)
        return said.stdout + said.stderr

    def command(self, block, words):
        options = [word.split("=")[0] for word in words if word.startswith("--")]
        inputs = [word for word in words[1:] if "/" in word and not word.startswith("-") and not re.search(r"\s", word)]
        files = ("--init-image", "--from", "--partner", "--teacher", "--data", "--lora", "--decoder")
        given = [after for word, after in zip(words, words[1:]) if word in files]
        readable = all((self.folder / path).exists() for path in [*inputs, *given]) and "…" not in words and "..." not in words
        if readable and any(word.startswith("Models/") for word in words) and not re.match(r"MODEL|sweep", words[1]):
            self.run(f"{block.name}: {' '.join(words)}", words, timeout=300, stdin=subprocess.DEVNULL)
            return
        stem = words[:3] if words[1] in ("plan", "learn") else words[:2]
        model = next((STAND_INS[word] for word in words if word in STAND_INS), None)
        if words[1] == "sample":
            some = [model] if model else ["emoji-sd", "fashion-dit", "tiny-audio", "tiny-llada", "fashion-var"]
            text = "".join(self.help_of([*stem, f"Models/{name}"]) for name in some)
        else:
            text = self.help_of(stem)
        unknown = [option for option in options if not re.search(rf"{option}\b", text) and option not in ("--help", "--executor")]
        self.check(f"{block.name}: options of {' '.join(words[:3])}", f"no option {', '.join(unknown)}" if unknown else "")

    def shell(self):
        # What earlier commands of a page leave for later ones.
        first = ["diffaccel", "sample", "Models/emoji-sd", "--prompt", "red apple", "--steps", "2", "--out", "apple.png", "--quiet"]
        subprocess.run(first, cwd=self.folder, env=self.environment, check=True)
        seen = set()
        for block in blocks():
            if block.language not in ("sh", ""):
                continue
            for words in commands(block):
                words = fewer_words(words)
                if words[0] != "diffaccel" or len(words) < 2 or tuple(words) in seen or words[1].isupper():
                    continue
                seen.add(tuple(words))
                self.command(block, words)

    # ---- names ----

    def names(self):
        made = (ROOT / "Makefile").read_text() + "".join(path.read_text() for path in ROOT.glob("*/*.mk"))
        for block in blocks():
            for words in commands(block) if block.language in ("sh", "") else ():
                if words[0] == "make" and len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1]):
                    self.check(f"{block.name}: make {words[1]}", "" if re.search(rf"^{words[1]}:", made, re.M) else "there is no such target")
        listed = (CATALOGUE / "Deploying.md").read_text()
        places = ["Sources", "Plugins", "bindings", "Tests", "Tools", "Benchmarks", "Packaging", "Makefile"]
        files = subprocess.run(["git", "-C", ROOT, "ls-files", *places], capture_output=True, text=True, check=True)
        found = set()
        for path in files.stdout.split("\n"):
            if path.endswith((".c", ".h", ".swift", ".py", ".sh", ".mk", "Makefile")):
                text = (ROOT / path).read_text()
                found |= set(re.findall(r"""(?:getenv\(|environ(?:ment)?(?:\.get\(|\[)|process_environment\[)\s*["'](DIFFACCEL_[A-Z_]+)""", text))
                found |= set(re.findall(r"\$\{?(DIFFACCEL_[A-Z_]+)", text))
        for name in sorted(found):
            self.check(f"{name} is in the list of Deploying.md", "" if f"`{name}`" in listed else "it is not")


    def links(self):
        """Relative links and DocC's, in every page that is in the repository."""
        tracked = subprocess.run(["git", "-C", ROOT, "ls-files", "*.md"], capture_output=True, text=True, check=True).stdout.split()
        for page in map(ROOT.joinpath, tracked):
            text = re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text(), flags=re.M | re.S)
            dead = [link for link in re.findall(r"\]\(([^()\s#]+)", text) if not re.match(r"[a-z]+:", link) and not (page.parent / link).exists()]
            dead += [name for name in re.findall(r"<doc:([A-Za-z]+)>", text) if not (CATALOGUE / f"{name}.md").is_file()]
            self.check(f"links of {page.relative_to(ROOT)}", "dead: " + ", ".join(dead) if dead else "")


def fewer(text):
    for pattern, replacement in FEWER:
        text = re.sub(pattern, replacement, text)
    return text


def fewer_words(words):
    """The words of a command with numbers that take less time; a router's steps stay, and so do those of texts, which are one for each token."""
    is_text = any("llada" in word.lower() for word in words)
    numbers = {"--seconds": "1", "--repeat": "1", **({} if is_text else {"--steps": "2"})}
    return [numbers.get(before, word) for before, word in zip(["", *words], words)]


def main():
    with tempfile.TemporaryDirectory() as folder:
        examples = Examples(Path(sys.argv[1]).resolve(), Path(folder))
        for part in ("links", "names", "c", "python", "swift", "shell"):
            begun = time.monotonic()
            getattr(examples, part)()
            print(f"{part}: {time.monotonic() - begun:.0f} s")
        print(f"{examples.passed} passed, {examples.failed} failed")
        sys.exit(bool(examples.failed))


if __name__ == "__main__":
    main()
