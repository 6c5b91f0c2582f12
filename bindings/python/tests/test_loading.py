"""A library that cannot be loaded is an ImportError that says why and what to do; never a trace of ctypes alone."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from diffaccel import _ffi

LIBRARY = Path(_ffi.lib._name)


def compiled(folder, name, source, *arguments):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    (folder / f"{name}.c").write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", folder / f"{name}.c", "-o", folder / name, *arguments], check=True)
    return folder / name


def foreign(folder):
    """A library's header of another processor."""
    data = bytearray(LIBRARY.read_bytes())
    data[18:20] = struct.pack("<H", 183 if data[18] == 62 else 62)
    (folder / "foreign.so").write_bytes(data)
    return folder / "foreign.so"


def text(folder):
    (folder / "text.so").write_text("version https://git-lfs.github.com/spec/v1\n")
    return folder / "text.so"


def empty(folder):
    (folder / "empty.so").write_bytes(b"")
    return folder / "empty.so"


def cut(folder):
    (folder / "cut.so").write_bytes(LIBRARY.read_bytes()[:100_000])
    return folder / "cut.so"


def orphan(folder):
    compiled(folder, "libwanted.so", "int wanted(void) { return 1; }", "-Wl,-soname,libwanted.so")
    made = compiled(folder, "orphan.so", "int wanted(void); int use(void) { return wanted(); }", f"-L{folder}", "-lwanted")
    (folder / "libwanted.so").unlink()
    return made


def other(folder):
    return compiled(folder, "other.so", "int something_else(void) { return 1; }")


@pytest.mark.parametrize("make, words", [
    (lambda folder: folder / "nowhere.so", "there is no such file"), (lambda folder: folder, "is a folder"), (text, "is no shared library"),
    (empty, "is no shared library"), (cut, "cut short"), (foreign, "is made for"), (orphan, "needs libwanted.so"),
    (other, "another version than this package"),
])
def test_reasons(run_python, tmp_path, monkeypatch, make, words):
    path = make(tmp_path)
    monkeypatch.setenv("DIFFACCEL_LIBRARY", str(path))
    done = run_python("import diffaccel", check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("ImportError: ") and words in last and str(path) in last
    code = "try:\n    import diffaccel\nexcept ImportError as error:\n    print(error.name, error.path)"
    assert run_python(code).stdout == f"diffaccel {path}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="names of Linux")
def test_nothing_is_found(run_python, tmp_path, monkeypatch):
    monkeypatch.delenv("DIFFACCEL_LIBRARY", raising=False)
    code = """
import pathlib, shutil, sys
import importlib.util
spec = importlib.util.find_spec("diffaccel")
shutil.copytree(pathlib.Path(spec.origin).parent, "deep/er/still/diffaccel", ignore=shutil.ignore_patterns("*.so"))
sys.path.insert(0, "deep/er/still")
try:
    import diffaccel
except ImportError as error:
    print(error)
else:
    print("found")
"""
    said = run_python(code).stdout
    assert "make build" in said and "DIFFACCEL_LIBRARY" in said or said == "found\n", said
