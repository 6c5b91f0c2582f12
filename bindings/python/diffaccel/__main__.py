"""The command line, `diffaccel` or `python -m diffaccel`: the program that stands in the package, or in the repository's build folder."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def program() -> str | None:
    """The program's path: $DIFFACCEL_CLI, the package's, the repository's build, one installed on the system that is not this script."""
    package = Path(__file__).resolve().parent
    chosen = os.environ.get("DIFFACCEL_CLI")
    if chosen:
        return chosen
    for path in (package / "bin" / "diffaccel", package.parents[2] / ".build" / "release" / "diffaccel-cli"):
        if path.is_file():
            return str(path)
    scripts = os.path.realpath(os.path.dirname(sys.executable)), os.path.realpath(os.path.dirname(sys.argv[0]))
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if os.path.realpath(folder) not in scripts]
    return shutil.which("diffaccel", path=os.pathsep.join(folders))


def main() -> None:
    """Becomes the program, with its arguments; its exit code is the process's."""
    path = program()
    if path is None:
        sys.exit("diffaccel: this package was installed without the command line: install a wheel, or build it (make build)")
    try:
        os.execv(path, ["diffaccel", *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"diffaccel: {path}: {error.strerror}")


if __name__ == "__main__":
    main()
