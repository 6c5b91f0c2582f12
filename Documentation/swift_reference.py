"""The reference of the Swift modules: symbol graphs of what was built, through DocC, as pages that work under any path of a server.

Usage: swift_reference.py BUILD_FOLDER OUTPUT

Any warning of DocC (a link in a comment to a symbol that is not there) is an error.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pages import CATALOGUE, ROOT

MODULES = ["DiffAccel", "DiffAcceleration", "DiffTraining", "DiffSampling", "DiffModels", "DiffCheckpoint", "DiffTensor"]
BASE = "BASE-PATH"


def tool(name):
    """A tool of the Swift toolchain, which is on the PATH or beside `swift`."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(os.path.realpath(shutil.which("swift") or "")).parent))
    if not found:
        raise SystemExit(f"make docs needs {name} of the Swift toolchain (6.3 or later, https://www.swift.org/install)")
    return found


def extract(build, folder):
    """Symbol graphs of the modules in a build folder."""
    target = subprocess.run([tool("swift"), "-print-target-info"], capture_output=True, text=True, check=True).stdout
    triple = re.search(r'"unversionedTriple": "(.+?)"', target)[1]
    maps = [word for path in sorted(build.glob("*.build/module.modulemap")) for word in ("-Xcc", f"-fmodule-map-file={path}")]
    for module in MODULES:
        subprocess.run([tool("swift-symbolgraph-extract"), "-module-name", module, "-target", triple, "-I", build / "Modules", *maps,
                        "-I", ROOT / "Sources/CJansson", "-minimum-access-level", "public", "-skip-inherited-docs", "-skip-synthesized-members",
                        "-output-dir", folder], check=True)


def relocate(page, root):
    """Addresses of a page that begin at the server's root as ones relative to it."""
    up = "../" * len(page.relative_to(root).parent.parts) or "./"
    text = page.read_text()
    text = text.replace(f'var baseUrl = "/{BASE}/"', f'var baseUrl = new URL("{up}", location.href).pathname')
    page.write_text(text.replace(f'"/{BASE}/', f'"{up}'))


def main():
    build, output = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(output, ignore_errors=True)
    with tempfile.TemporaryDirectory() as graphs:
        extract(build, graphs)
        said = subprocess.run(
            [tool("docc"), "convert", ROOT / CATALOGUE, "--additional-symbol-graph-dir", graphs, "--output-dir", output, "--warnings-as-errors",
             "--fallback-display-name", "DiffAccel", "--fallback-bundle-identifier", "diffaccel", "--hosting-base-path", BASE],
            capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(said.stderr + said.stdout)
    for page in output.rglob("*.html"):
        relocate(page, output)


if __name__ == "__main__":
    main()
