"""Opens every page of the site in a headless Chromium, narrow and wide.

Usage: look.py SITE SCREENSHOTS

Fails on a page that is wider than the screen, that lacks a picture or that reports an error; screenshots are kept for looking at.
"""

import functools
import http.server
import shutil
import sys
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTHS = {"narrow": 390, "wide": 1400}
#: Of the Swift reference, which has thousands of pages of one kind.
SWIFT = ["swift/documentation/diffaccel/", "swift/documentation/diffaccel/model/"]

_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_BROKEN = "[...document.images].filter(i => i.complete && !i.naturalWidth && i.src).map(i => i.src)"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def main():
    site, output = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    shutil.rmtree(output, ignore_errors=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pages = [str(page.relative_to(site)) for page in sorted(site.rglob("*.html")) if page.relative_to(site).parts[0] not in ("swift", "404.html")]
    faults = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for kind, width in WIDTHS.items():
            context = browser.new_context(viewport={"width": width, "height": 900})
            view = context.new_page()
            view.on("pageerror", lambda error: faults.append(f"{view.url}: {error}"))
            for page in pages + SWIFT:
                answer = view.goto(f"http://127.0.0.1:{server.server_port}/{page}", wait_until="networkidle")
                if not answer or not answer.ok:
                    faults.append(f"{page}: not served")
                if (excess := view.evaluate(_OVERFLOW)) > 0:
                    faults.append(f"{page} ({kind}): {excess} pixels wider than the screen")
                faults += [f"{page}: no picture {address}" for address in view.evaluate(_BROKEN)]
                shot = output / kind / (page.removesuffix(".html").strip("/").replace("/", "-") + ".png")
                shot.parent.mkdir(parents=True, exist_ok=True)
                view.screenshot(path=shot, full_page=False)
            context.close()
        browser.close()
    print("\n".join(faults) or f"{len(pages) + len(SWIFT)} pages, narrow and wide, fit; screenshots in {output}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
