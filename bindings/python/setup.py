"""Puts what was built from the Swift sources into the package: libdiffaccel.so and the command line.

$DIFFACCEL_LIBRARY and $DIFFACCEL_CLI name the two files; else they are taken from the repository's release build. $DIFFACCEL_SYSTEM_LIBRARY=1
asks for a package without them, which uses the library installed on the system.
"""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # before setuptools 70.1
    from wheel.bdist_wheel import bdist_wheel

BUILD = Path(__file__).resolve().parent.parent.parent / ".build" / "release"
WITHOUT = os.environ.get("DIFFACCEL_SYSTEM_LIBRARY") == "1"
REMEDY = """%s: not found. A package without it would be of no use. Do one of these:
  - in a clone of the repository, with a Swift 6.3 toolchain: make build && pip install ./bindings/python  (or: make wheel)
  - install a wheel, which needs no toolchain
  - name the files: DIFFACCEL_LIBRARY=/path/to/libdiffaccel.so DIFFACCEL_CLI=/path/to/diffaccel
  - where the library is installed on the system (make install, a Debian package): DIFFACCEL_SYSTEM_LIBRARY=1"""


def built(variable, name):
    """The file that `variable` names, else `name` of the release build."""
    path = Path(os.environ.get(variable) or BUILD / name)
    if not path.is_file():
        raise SetupError(REMEDY % path)
    return path


def files():
    """Where the files are, by what they are called in the package."""
    if WITHOUT:
        return {}
    library = built("DIFFACCEL_LIBRARY", "libdiffaccel.so")
    if os.environ.get("DIFFACCEL_LIBRARY") and not os.environ.get("DIFFACCEL_CLI"):
        beside = library.with_name("diffaccel-cli")
        return {"libdiffaccel.so": library, **({"bin/diffaccel": beside} if beside.is_file() else {})}
    return {"libdiffaccel.so": library, "bin/diffaccel": built("DIFFACCEL_CLI", "diffaccel-cli")}


def stripped(source, target):
    """Copies without debug information, where there is a tool that takes it out."""
    target.parent.mkdir(parents=True, exist_ok=True)
    tool = shutil.which("strip")
    if tool is None or subprocess.run([tool, "-o", target, source]).returncode != 0:
        shutil.copyfile(source, target)
    target.chmod(0o755)


class BuildWithLibrary(build_py):
    """Adds the files to the build folder, never to the sources: those stay as they are in the repository."""

    def run(self):
        editable = getattr(self, "editable_mode", False)  # finds them in the repository's build folder
        found = {} if editable else files()
        super().run()
        for name, source in found.items():
            stripped(source, Path(self.build_lib) / "diffaccel" / name)


class Binary(Distribution):
    """Has files that belong to one kind of system, though none of them is compiled here."""

    def has_ext_modules(self):
        return not WITHOUT


class PlatformWheel(bdist_wheel):
    """For every Python 3, on systems whose C library is as new as the files ask for."""

    def get_tag(self):
        if WITHOUT:
            return super().get_tag()
        needed = {int(minor) for path in files().values() for minor in re.findall(rb"GLIBC_2\.(\d+)\0", path.read_bytes())}
        system, _, machine = sysconfig.get_platform().partition("-")
        if system != "linux" or not needed:
            return "py3", "none", super().get_tag()[2]
        return "py3", "none", f"manylinux_2_{max(needed)}_{machine.replace('-', '_')}"


setup(distclass=Binary, cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel})
