"""Gathers the pages of the site: what MkDocs reads, from the files of the repository.

Usage: stage.py PROGRAM SWIFT_REFERENCE OUTPUT
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import c_reference
import command_reference
import gallery
import dialects
from pages import ARTICLES, CATALOGUE, PAGES, ROOT

_LANGUAGES = {".h": "c", ".c": "c", ".swift": "swift", ".py": "python", ".sh": "sh", ".json": "json", ".mk": "make"}


class Site:
    """Pages that are written to `output`; files that they link to follow them."""

    def __init__(self, output, swift):
        self.output, self.swift = output, swift
        self.sources = {}  # source files that pages link to, by their pages
        self.pictures = set()
        self.tracked = set(subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True).stdout.split("\n"))

    def write(self, page, text):
        path = self.output / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def relative(self, page, target):
        return os.path.relpath(target, Path(page).parent)

    def target(self, source, page, link):
        """Where a link of the file `source`, which becomes `page`, goes in the site."""
        path, _, anchor = link.partition("#")
        found = os.path.normpath(Path(source).parent / path)
        if (ROOT / found).is_dir():
            found = f"{found}/README.md"
        if found in PAGES:
            to = PAGES[found]
        elif not (ROOT / found).is_file():
            raise SystemExit(f"{source}: dead link to {link}")
        elif found not in self.tracked:
            raise SystemExit(f"{source}: {link} is a file that is not in the repository")
        elif Path(found).suffix in (".png", ".jpg", ".svg"):
            self.pictures.add(found)
            to = f"pictures/{found}"
        else:
            to = "sources/" + found.replace("/", "-").replace(".", "-") + ".md"
            self.sources[to] = found
        return self.relative(page, to) + (f"#{anchor}" if anchor else "")

    def symbol(self, page, path):
        """The title of a Swift symbol, and its page where there is one."""
        title = re.sub(r"-[A-Za-z()\[\].]+$", "", path.split("/")[-1])
        modules = [""] if path.split("/")[0].startswith("Diff") and "/" in path else ["diffaccel/"]
        for module in [*modules, "diffacceleration/", "diffcheckpoint/", "diffmodels/", "difftensor/"]:
            address = f"documentation/{module}{path.lower()}"
            if (self.swift / address / "index.html").is_file():
                return title, self.relative(page, f"swift/{address}") + "/"
        return title, None

    def article(self, page, name):
        text = (ROOT / CATALOGUE / f"{name}.md").read_text()
        return dialects.title_of(text), self.relative(page, f"guide/{ARTICLES[name]}.md")

    def named(self, page, text):
        """Files and folders of the repository that a text names in code, such as `Packaging/README.md`, as links to their pages."""
        def change(match):
            name = match[1].rstrip("/")
            to = PAGES.get(name) or PAGES.get(f"{name}/README.md") or {"include/diffaccel.h": "reference/c.md"}.get(name)
            return f"[{match[0]}]({self.relative(page, to)})" if to and to != page else match[0]

        return re.sub(r"(?<![\[`])`([A-Za-z][A-Za-z0-9_./-]+)`(?![`\]])", change, text)

    def add(self, source, page):
        """A file of the repository as a page."""
        text = (ROOT / source).read_text()
        docc = source.startswith(CATALOGUE)

        def change(part):
            part = re.sub(r"^<!--.*?-->\n?", "", part, flags=re.M | re.S)
            if docc:
                part = dialects.from_docc(part, lambda name: self.article(page, name), lambda path: self.symbol(page, path))
                part = re.sub(r"^# `(.+)`$", r"# \1", part, flags=re.M)
                part = re.sub(r"^# \[`(.+?)`\]\(.*\)$", r"# \1", part, flags=re.M)
            else:
                part = dialects.linked(part, lambda link: self.target(source, page, link))
            return dialects.spaced(self.named(page, part))

        text = dialects.outside_of_code(dialects.deepened(text), change)
        if docc and page.startswith("reference/"):
            text = text.replace("\n## Overview\n", "\n[All symbols of the Swift modules](../swift/documentation/diffaccel/)\n\n## Overview\n", 1)
        self.write(page, text)

    def add_sources(self):
        for page, source in sorted(self.sources.items()):
            text = (ROOT / source).read_text()
            language = _LANGUAGES.get(Path(source).suffix, "text")
            self.write(page, f"# {source}\n\n~~~~{language}\n{text}\n~~~~\n")
        for picture in sorted(self.pictures):
            path = self.output / "pictures" / picture
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / picture, path)


def main():
    program, swift, output = Path(sys.argv[1]).resolve(), Path(sys.argv[2]), Path(sys.argv[3])
    shutil.rmtree(output, ignore_errors=True)
    site = Site(output, swift)
    for source, page in PAGES.items():
        site.add(source, page)
    site.write("reference/c.md", c_reference.page((ROOT / "include/diffaccel.h").read_text(), (ROOT / "Tests/CABI/exports.txt").read_text().split()))
    site.write("reference/command-line.md", command_reference.page(program, ROOT / "Models"))
    site.write("reference/python.md", (ROOT / "Documentation/python.md.in").read_text())
    site.write("gallery.md", gallery.page(program, ROOT / "Models", output / "made", site))
    shutil.copy(ROOT / "Documentation/style.css", output / "style.css")
    site.add_sources()
    # MkDocs looks at links to pages of its own only; those of DocC are put beside them afterwards, and checked with the finished site.
    shutil.copytree(swift, output / "swift", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
