"""Copies the built libdiffaccel.so into the package, when there is one to copy."""

import os
import shutil
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

LIBRARY = "libdiffaccel.so"
HERE = Path(__file__).resolve().parent


def built_library():
    """The library to ship: $DIFFACCEL_LIBRARY, else the repository's release build; None when neither exists."""
    candidates = [HERE.parent.parent / ".build" / "release" / LIBRARY]
    if os.environ.get("DIFFACCEL_LIBRARY"):
        candidates.insert(0, Path(os.environ["DIFFACCEL_LIBRARY"]))
    return next((path for path in candidates if path.is_file()), None)


class BuildWithLibrary(build_py):
    """Adds the library to the build folder, never to the sources: those stay as they are in the repository."""

    def run(self):
        super().run()
        if getattr(self, "editable_mode", False):
            return  # an editable install finds the library in the repository's build folder
        source = built_library()
        if source is None:
            self.announce(f"{LIBRARY} not found: the package will look for it on the system", level=3)
            return
        target = Path(self.build_lib) / "diffaccel" / LIBRARY
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


class MaybeBinary(Distribution):
    """A wheel that holds the library belongs to one platform."""

    def has_ext_modules(self):
        return built_library() is not None


setup(cmdclass={"build_py": BuildWithLibrary}, distclass=MaybeBinary)
