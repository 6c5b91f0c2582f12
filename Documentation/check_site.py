"""Follows every link, anchor, picture, sound, script and style inside a finished site.

Usage: check_site.py FOLDER

Ends with the number of pages and links, or with every dead one. Addresses of other servers are only looked at: a page may link to them, and fetch
nothing from them.
"""

import re
import sys
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

#: Attributes that a browser fetches at once; those of links it follows when asked.
_FETCHED = {("img", "src"), ("script", "src"), ("audio", "src"), ("source", "src"), ("video", "src"), ("iframe", "src")}
_LINKS = {("a", "href"), ("link", "href")}
_ADDRESS = re.compile(r"^https?://[A-Za-z0-9.-]+(:\d+)?(/[^\s<>\"]*)?$")


class Page(HTMLParser):
    """Names and links of a page."""

    def __init__(self, path):
        super().__init__()
        self.names, self.links = set(), []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        for name in ("id", "name"):
            if values.get(name):
                self.names.add(values[name])
        for attribute, value in attributes:
            if value is None or (tag, attribute) not in _FETCHED | _LINKS:
                continue
            fetched = (tag, attribute) in _FETCHED or tag == "link" and values.get("rel") != "canonical"
            self.links.append((value, fetched))


def dead(path, link, fetched, root, pages):
    """Why `link` on the page at `path` leads nowhere; None when it does not."""
    if link.startswith(("mailto:", "data:", "javascript:")):
        return None
    if re.match(r"[a-z]+:|//", link):
        if fetched:
            return "is fetched from elsewhere"
        return None if _ADDRESS.match(link) else "is no address"
    place, _, anchor = link.partition("#")
    place = urllib.parse.unquote(place.partition("?")[0])
    if place.startswith("/"):
        return "begins at the server's root"
    target = (path.parent / place).resolve() if place else path
    if target.is_dir():
        target /= "index.html"
    if root not in target.parents or not target.is_file():
        return "leads nowhere"
    if anchor and target.suffix == ".html" and "swift" not in target.relative_to(root).parts[:1]:
        if target not in pages:
            pages[target] = Page(target)
        if urllib.parse.unquote(anchor) not in pages[target].names:
            return "has no such anchor"
    return None


def main():
    root = Path(sys.argv[1]).resolve()
    pages, faults, count = {}, [], 0
    files = sorted(root.rglob("*.html"))
    for path in files:
        pages[path] = pages.get(path) or Page(path)
        for link, fetched in pages[path].links:
            # The page for addresses that are not there has no place of its own.
            if path.name == "404.html":
                continue
            count += 1
            if reason := dead(path, link, fetched, root, pages):
                faults.append(f"{path.relative_to(root)}: {link} {reason}")
    for style in root.rglob("*.css"):
        for address in re.findall(r"url\(['\"]?(https?:|//)[^)]*\)|@import", style.read_text()):
            faults.append(f"{style.relative_to(root)}: fetches from elsewhere ({address})")
    if not files:
        faults.append(f"no pages in {root}")
    print("\n".join(faults) or f"{len(files)} pages, {count} links, none dead")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
