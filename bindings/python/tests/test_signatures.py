"""_ffi.py against include/diffaccel.h: every function, every argument, every struct member."""

import ctypes
import re
import shutil
import subprocess

import pytest
from conftest import ROOT

from diffaccel import _ffi, errors

HEADER = ROOT / "include" / "diffaccel.h"
CODE = re.sub(r"/\*.*?\*/", " ", HEADER.read_text(), flags=re.S)
HANDLES = {"da_model", "da_plan", "da_session", "da_result", "da_trainer", "da_tokenizer", "da_event_source"}
SCALARS = {"int32_t": ctypes.c_int32, "uint32_t": ctypes.c_uint32, "int64_t": ctypes.c_int64,
           "uint64_t": ctypes.c_uint64, "uint8_t": ctypes.c_uint8, "size_t": ctypes.c_size_t, "double": ctypes.c_double, "float": ctypes.c_float}
STRUCTS = {"da_tensor": _ffi.Tensor, "da_model_options": _ffi.ModelOptions, "da_forward_options": _ffi.ForwardOptions,
           "da_session_options": _ffi.SessionOptions, "da_event": _ffi.Event,
           "da_trainer_options": _ffi.TrainerOptions, "da_training_event": _ffi.TrainingEvent}
CALLBACKS = {"da_event_callback": _ffi.EventCallback, "da_training_callback": _ffi.TrainingCallback,
             "da_log_callback": _ffi.LogCallback}


def declared():
    """name -> (result, [argument declarations]) for every function of the header."""
    found = {}
    for result, name, arguments in re.findall(r"^([\w ]+?[\s*]+)(da_\w+)\(([^;{]*)\);", CODE, flags=re.M):
        if "typedef" in result:
            continue
        arguments = [" ".join(a.split()) for a in arguments.split(",")]
        found[name] = (" ".join(result.split()), [] if arguments == ["void"] else arguments)
    return found


DECLARED = declared()


def expected(declaration, named=True):
    """The ctypes type of a C declaration such as `const da_event *event`."""
    text = declaration.replace("const ", "")
    kind, stars = re.match(r"(\w+)\s*(\**)", text).groups()
    if kind == "char":
        # Output buffers are void pointers: ctypes would copy what is passed as text.
        return ctypes.c_char_p if "const" in declaration or not named else ctypes.c_void_p
    if kind == "void":
        return ctypes.c_void_p
    base = SCALARS.get(kind) or STRUCTS.get(kind) or CALLBACKS.get(kind) or (ctypes.c_void_p if kind in HANDLES else None)
    assert base is not None, f"unknown type in {declaration!r}"
    for _ in stars:
        base = ctypes.POINTER(base)
    return base


def test_functions_are_the_headers():
    assert len(DECLARED) > 25
    assert set(_ffi.FUNCTIONS) == set(DECLARED)
    assert list(_ffi.FUNCTIONS) == list(DECLARED), "keep the header's order"


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_signature(name):
    result, arguments = DECLARED[name]
    given_result, given = _ffi.FUNCTIONS[name]
    assert given_result is expected(result, named=False)
    assert len(given) == len(arguments)
    for kind, declaration in zip(given, arguments):
        assert kind is expected(declaration), declaration


@pytest.mark.parametrize("name", sorted(_ffi.FUNCTIONS))
def test_library_exports(name):
    function = getattr(_ffi.lib, name)
    assert function.argtypes == _ffi.FUNCTIONS[name][1]


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_struct_members(name):
    body = re.search(rf"typedef struct {name} \{{(.*?)\}} {name};", CODE, flags=re.S).group(1)
    members = re.findall(r"(\w+)\s*(?:\[\w+\])?\s*;", body)
    assert [field[0] for field in STRUCTS[name]._fields_] == members


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_struct_layout(tmp_path):
    lines = []
    for name, struct in STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        lines += [f'printf("{name}.{f[0]} %zu\\n", offsetof({name}, {f[0]}));' for f in struct._fields_]
    source = "#include <stdio.h>\n#include <diffaccel.h>\nint main(void) {" + "".join(lines) + "return 0;}"
    (tmp_path / "layout.c").write_text(source)
    subprocess.run(["cc", "-I", HEADER.parent, "layout.c", "-o", "layout"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True).stdout
    ours = []
    for name, struct in STRUCTS.items():
        ours.append(f"{name} {ctypes.sizeof(struct)}")
        ours += [f"{name}.{f[0]} {getattr(struct, f[0]).offset}" for f in struct._fields_]
    assert printed.split("\n")[:-1] == ours


def test_constants():
    values = {name: int(value) for name, value in re.findall(r"#define (DA_\w+) \(?(-?\d+)\)?", CODE)}
    assert (values["DA_F32"], values["DA_U8"], values["DA_I64"]) == (_ffi.F32, _ffi.U8, _ffi.I64)
    assert values["DA_MAX_RANK"] == _ffi.MAX_RANK
    statuses = {n: v for n, v in values.items() if v < 0 or n == "DA_CANCELLED"}
    assert {kind.name: status for status, kind in errors._BY_STATUS.items()} == statuses


@pytest.mark.parametrize("status", range(-14, 4))
def test_status_names(status):
    name = _ffi.lib.da_status_name(status).decode()
    values = dict((int(v), n) for n, v in re.findall(r"#define (DA_\w+) \(?(-?\d+)\)?", CODE.split("typedef")[0]))
    assert name == values.get(status, "DA_UNKNOWN")


@pytest.mark.parametrize("status", range(-14, 2))
def test_errors_have_their_status(status):
    error = errors.error_for(status, "text")
    assert isinstance(error, errors.DiffAccelError) and error.status == status and str(error) == "text"
