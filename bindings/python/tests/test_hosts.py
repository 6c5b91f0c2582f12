"""Hosts with more in them than this package: a second copy of the library beside numpy and torch, and many forks."""

import shutil
from pathlib import Path

import pytest
from conftest import PACKAGE
from diffaccel import _ffi

TWO_COPIES = """
import importlib, os, sys, threading
{imports}
import numpy as np

def package(name, library):
    os.environ["DIFFACCEL_LIBRARY"] = library
    return importlib.import_module(name)

path, *libraries = sys.argv[1:]
packages = [package(name, library) for name, library in zip(("first", "second"), libraries)]
assert [p._ffi.lib._name for p in packages] == libraries, "the packages share a library"
np.linalg.svd(np.random.rand(200, 200))
{work}
sessions = [p.Model(path).session(threads=2) for p in packages]
expected = sessions[0].sample(labels=[1, 2], steps=3, seed=5).latents
for mine, other in ((0, 1), (1, 0)):
    assert packages[mine]._ffi.lib.da_session_cancel(sessions[other]._handle) == -8, "a handle of the other copy is taken"
    assert packages[mine]._ffi.lib.da_session_cancel(sessions[mine]._handle) == 0

equal = []
def sample(session):
    for _ in range(10):
        equal.append(np.array_equal(session.sample(labels=[1, 2], steps=3, seed=5).latents, expected))
threads = [threading.Thread(target=sample, args=[session]) for session in sessions]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert equal == [True] * 20, equal
print("equal")
"""


@pytest.mark.parametrize("beside", ["numpy", "torch"])
def test_two_copies(run_python, tiny_path, tmp_path, beside):
    imports = work = ""
    if beside == "torch":
        pytest.importorskip("torch", reason="torch is not installed: two copies of the library beside it were not tried")
        imports, work = "import torch", "torch.randn(300, 300) @ torch.randn(300, 300)"
    name = _ffi.lib._name
    if not Path(name).is_file():
        pytest.skip(f"{name} was found by the system's loader: no file to copy")
    # A package of its own for each: a host whose plugins bring everything with them.
    for package in ("first", "second"):
        shutil.copytree(PACKAGE / "diffaccel", tmp_path / package)
    copy = shutil.copy(name, tmp_path / "a-second-copy.so")
    done = run_python(TWO_COPIES.format(imports=imports, work=work), tiny_path, name, copy)
    assert done.stdout == "equal\n", done.stderr


FORKS = """
import os, signal, sys, threading
import diffaccel
model = diffaccel.Model(sys.argv[1])
busy = model.session(threads=2)
running = threading.Event()
def work():
    try:
        busy.sample(labels=[0], steps=1000, callback=lambda event: running.set())
    except diffaccel.Cancelled:
        pass
thread = threading.Thread(target=work)
thread.start()
assert running.wait(60)
tiny = diffaccel.Model(sys.argv[2])
expected = tiny.session(threads=2).sample(labels=[1], steps=2).latents.tobytes()
well = 0
for _ in range(50):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that hangs is a failure, not a test without end
        with tiny.session(threads=2) as own:
            same = own.sample(labels=[1], steps=2).latents.tobytes() == expected
        os._exit(0 if same else 1)
    well += os.waitpid(child, 0)[1] == 0
assert thread.is_alive(), "the parent's run ended before the forks did"
busy.cancel()
thread.join()
print(well)
"""


def test_fifty_forks_while_sampling(run_python, slow_path, tiny_path):
    assert run_python(FORKS, slow_path, tiny_path, timeout=300).stdout == "50\n"
