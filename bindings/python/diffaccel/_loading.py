"""Finding libdiffaccel.so, and saying in one sentence why it cannot be loaded."""

from __future__ import annotations

import ctypes
import os
import re
import struct
import sys
from pathlib import Path

LIBRARY = "libdiffaccel.so"
INSTALLED = LIBRARY + ".0"  # with the number of the interface: what is there without the files for developers
_MACHINES = {3: "x86 (32 bits)", 40: "ARM (32 bits)", 62: "x86-64", 183: "AArch64", 243: "RISC-V"}


def load() -> ctypes.CDLL:
    """The library: $DIFFACCEL_LIBRARY, the package's, the repository's build folder, what the system's loader finds. Raises ImportError."""
    package = Path(__file__).resolve().parent
    chosen = os.environ.get("DIFFACCEL_LIBRARY")
    if chosen:
        return _opened(chosen, f"$DIFFACCEL_LIBRARY names {chosen}")
    for path in (package / LIBRARY, package.parents[2] / ".build" / "release" / LIBRARY):
        if path.is_file():
            return _opened(str(path), str(path))
    return _opened(INSTALLED, INSTALLED)


def _opened(path: str, what: str) -> ctypes.CDLL:
    if _is_cut(path):
        # The loader would not notice, and the first page that is not there would end the process.
        raise ImportError(f"{what}: the file is cut short: copy or build it again", name="diffaccel", path=path)
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(f"{what}: {_reason(path, str(error))}", name="diffaccel", path=path) from error


def _reason(path: str, said: str) -> str:
    """Why the loader did not take the file at `path`, of which it `said` something, and what to do."""
    repair = "build it (make build), install it (make install), or name it in $DIFFACCEL_LIBRARY"
    lacking = re.match(r"([^\s/:]+\.so[.\d]*): cannot open shared object file: No such file", said)
    if lacking and lacking[1] != os.path.basename(path):
        return f"it needs {lacking[1]}, which is not installed here: install it (make deps does), or build the library on this system"
    if path == INSTALLED or not os.path.exists(path):
        return f"there is no such file: {repair}"
    if os.path.isdir(path):
        return "is a folder; name the file in it"
    try:
        machine, own = _machine(path), _machine(sys.executable)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if machine is None:
        return f"is no shared library ({said}): {repair}"
    if own is not None and machine != own:
        names = [_MACHINES.get(kind, f"machine {kind}") for kind in (machine, own)]
        return f"is made for {names[0]}, this Python runs on {names[1]}: build it here (make build)"
    return f"{said}: {repair}"


def _is_cut(path: str) -> bool:
    """Whether an ELF file of 64 bits ends before the table of its sections, which is last."""
    try:
        with open(path, "rb") as file:
            start = file.read(64)
            if len(start) < 64 or start[:6] != b"\x7fELF\x02\x01":
                return False
            table, size, count = struct.unpack_from("<Q", start, 40)[0], *struct.unpack_from("<HH", start, 58)
            return bool(file.seek(0, os.SEEK_END) < table + size * count)
    except OSError:
        return False  # the loader says why


def _machine(path: str) -> int | None:
    """The processor of an ELF file; None of other files."""
    with open(path, "rb") as file:
        start = file.read(20)
    return int.from_bytes(start[18:20], "little" if start[5] == 1 else "big") if len(start) == 20 and start[:4] == b"\x7fELF" else None


def bind(lib: ctypes.CDLL, functions: dict[str, tuple[object, list[object]]]) -> None:
    """Gives every function its types. Raises ImportError for a library that lacks one."""
    for name, (result, arguments) in functions.items():
        try:
            function = getattr(lib, name)
        except AttributeError:
            raise ImportError(
                f"{lib._name} is of another version than this package: it has no {name}; install both from one version",
                name="diffaccel", path=lib._name) from None
        function.restype, function.argtypes = result, arguments
