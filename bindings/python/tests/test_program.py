"""`python -m diffaccel`: the command line as the package finds it; and what setup.py says without a library."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import PACKAGE
from test_command_line import PROGRAM

built = pytest.mark.skipif(not PROGRAM.is_file(), reason="the command line is not built")


def call(*arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "DIFFACCEL_CLI": str(PROGRAM), **variables}
    return subprocess.run([sys.executable, "-m", "diffaccel", *arguments], capture_output=True, text=True, env=environment)


@built
def test_it_is_the_program():
    done = call("--version")
    own = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
    assert (done.returncode, done.stdout) == (0, own.stdout)


@built
@pytest.mark.parametrize("arguments, code", [(["sample", "no-such-model"], 1), (["--no-such-option"], 64)])
def test_exit_codes_and_errors_are_the_program_s(arguments, code):
    done = call(*arguments)
    own = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, own.stdout, own.stderr)


def test_a_program_that_is_not_there(tmp_path):
    done = call("--version", DIFFACCEL_CLI=str(tmp_path / "none"))
    assert done.returncode == 1 and done.stderr.startswith(f"diffaccel: {tmp_path / 'none'}: No such file")


def test_sources_without_a_library_make_no_package(tmp_path):
    for name in ("setup.py", "pyproject.toml", "README.md", "diffaccel", "LICENSE", "THIRD-PARTY.txt"):
        source = PACKAGE / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DIFFACCEL_")}
    done = subprocess.run([sys.executable, "setup.py", "build_py"], capture_output=True, text=True, cwd=tmp_path, env=environment)
    if "No module named 'setuptools'" in done.stderr or "No module named 'wheel'" in done.stderr:
        pytest.skip("no setuptools here")
    assert done.returncode != 0 and "make build" in done.stderr and "DIFFACCEL_LIBRARY" in done.stderr
    assert not list(tmp_path.glob("build/**/*.py"))
