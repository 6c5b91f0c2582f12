"""Blocks of code in the pages of the repository."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "Sources/DiffAccel/Documentation.docc"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(CATALOGUE.glob("*.md")), *sorted(ROOT.glob("bindings/*/README.md")),
         *sorted(ROOT.glob("Models/*/README.md")), ROOT / "Packaging/README.md"]

#: Checkpoints and files that pages speak of and the repository does not have: blocks that name one are compiled, not run.
ELSEWHERE = re.compile(
    r"stable-diffusion-v1|sd15|audioldm2-|LLaDA-8B|var-d\d\d|taesd|train\.safetensors|codes\.safetensors|import diffusers|learn\.|\bmpirun\b|\"model")


@dataclass
class Block:
    """A block of code: its page, the line that it begins in, its language, its text, and whether it is quoted from a file that is compiled."""

    page: Path
    line: int
    language: str
    text: str
    is_quote: bool

    @property
    def name(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_elsewhere(self):
        return bool(ELSEWHERE.search(self.text))


def blocks(pages=PAGES):
    """All blocks between fences, in order; indented fences (in lists) without their margin."""
    for page in pages:
        language, margin, lines, begun, quoted = None, 0, [], 0, False
        for number, line in enumerate(page.read_text().split("\n"), 1):
            fence = re.match(r"( *)```([a-z]*)\s*$", line)
            if fence and language is None:
                language, margin, lines, begun = fence[2], len(fence[1]), [], number + 1
            elif fence:
                yield Block(page, begun, language, "\n".join(lines) + "\n", quoted)
                language, quoted = None, False
            elif language is not None:
                lines.append(line[margin:])
            elif line.strip():
                quoted = line.startswith("<!-- quotes ")


def commands(block):
    """The commands of a block of the shell, one a line, as words; what comes after a pipe or a comment is left out."""
    for line in re.sub(r"\\\n\s*", " ", block.text).split("\n"):
        try:
            words = shlex.split(line.split(" | ")[0], comments=True)
        except ValueError:
            continue
        if words and words[0] == "taskset":
            words = words[3:]
        if words:
            yield words
