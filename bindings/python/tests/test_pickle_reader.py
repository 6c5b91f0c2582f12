"""PyTorch's files that attack, break off or are none: content or a ConversionError, and nothing is run. No torch needed."""

import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from conftest import TINY, dit_tensors
from torch_files import Brain, View, archive, name, save, zip_of

from diffaccel import convert
from diffaccel.convert import ConversionError

CALLS = {
    "os.system": ("os", "system"), "posix.system": ("posix", "system"), "eval": ("__builtin__", "eval"), "getattr": ("builtins", "getattr"),
    "popen": ("subprocess", "Popen"), "import": ("importlib", "import_module"), "torch's loader": ("torch", "load"),
    "torch's hub": ("torch.hub", "load"), "a class of somebody": ("somebody.code", "run"), "numpy's": ("numpy.testing._private.utils", "runstring"),
}


@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_called(tmp_path, call):
    mark = tmp_path / "attacked"
    text = f"touch {mark}".encode()
    attack = name(*CALLS[call]) + b"(X" + len(text).to_bytes(4, "little") + text + b"tR"
    for code in (attack, b"}(X\x05\0\0\0model" + attack + b"u", attack + b"0}", b"](" + attack + b"e"):
        with pytest.raises(ConversionError, match="refused") as refusal:
            convert.load(archive(tmp_path / "x.pt", b"\x80\x02" + code + b"."))
        assert "weights_only" not in str(refusal.value)
    assert not mark.exists()


BROKEN = {
    "empty": b"", "no end": b"\x80\x02}", "stack": b"\x80\x02.", "memo": b"\x80\x02h\x05.", "old protocol": b"cos\nsystem\n(S'x'\ntR.",
    "build on a name": b"\x80\x02ctorch\nFloatStorage\n}b.", "cut text": b"\x80\x02X\xff\xff\xff\xffabc.",
    "huge bytes": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "huge integer": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "extension": b"\x80\x02\x82\x01.", "persistent text": b"\x80\x02Pabc\n.", "persistent": b"\x80\x02K\x01Q.",
    "mark": b"\x80\x02t.", "append to nothing": b"\x80\x02K\x01K\x02a.", "tuple of marks": b"\x80\x02((\x86.",
    "next buffer": b"\x80\x05\x97.", "dictionary of lists": b"\x80\x02}(]K\x01u.", "object": b"\x80\x02(cos\nsystem\no.",
}


@pytest.mark.parametrize("code", BROKEN)
def test_broken_pickles(tmp_path, code):
    with pytest.raises(ConversionError) as refusal:
        convert.convert(archive(tmp_path / "x.pt", BROKEN[code]), tmp_path / "out")
    assert str(tmp_path / "x.pt") in str(refusal.value)


def test_every_prefix_and_byte(tmp_path):
    """A pickle cut anywhere, or with any byte changed: content or a ConversionError, nothing else."""
    save(tmp_path / "x.pt", {"a": np.ones((2, 2), np.float32), "b": [1, 2.5, None, ("x", True)], "c": OrderedDict(d=Brain([1.5]))})
    with zipfile.ZipFile(tmp_path / "x.pt") as file:
        code = file.read("archive/data.pkl")
    changed = [code[:end] for end in range(len(code))]
    for position in range(len(code)):
        changed += [code[:position] + bytes([value]) + code[position + 1:] for value in (0, 40, 46, 82, 98, 255)]
    for number, variant in enumerate(changed):
        archive(tmp_path / "y.pt", variant, [b"\0" * 16, b"\0\0"])
        try:
            found = convert.load(tmp_path / "y.pt")
            for value in found.values() if isinstance(found, dict) else []:
                if hasattr(value, "values") and hasattr(value, "kind"):
                    value.values()
        except ConversionError:
            pass


@pytest.mark.parametrize("offset, shape, strides", [
    (0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 2), (3, 1)), (-1, (2,), (1,)), (0, (-2,), (1,)), (0, (2,), (-1,)),
    (0, (1 << 40, 1 << 40), (0, 0)), (0, (1 << 30,), (0,)), (0, (2, 2), (1,)), (1 << 60, (1,), (1,)),
])
def test_tensors_beyond_their_storage(tmp_path, offset, shape, strides):
    with pytest.raises(ConversionError):
        convert.load(save(tmp_path / "x.pt", {"a": View(np.zeros(4, np.float32), offset, shape, strides)}))


def test_archives_that_are_none(tmp_path):
    good = save(tmp_path / "x.pt", {"model": dit_tensors(TINY)})
    data = good.read_bytes()
    cases = {
        "cut": (data[:len(data) // 2], "fetch it again"), "damaged": (data[:3000] + bytes(2000) + data[5000:], "damaged"),
        "npz": (zip_of({"a.npy": b"x"}), "NumPy"), "around": (zip_of({"model.pt": data[:100]}), "unpack"),
        "other": (zip_of({"readme": b"x"}), "none of PyTorch's"),
        "program": (zip_of({"m/data.pkl": b"\x80\x02}.", "m/code/x.py": b""}), "TorchScript"),
        "storage missing": (zip_of({"m/data.pkl": data and save_pickle(tmp_path)}), "missing"),
    }
    for case, (content, part) in cases.items():
        (tmp_path / "y.pt").write_bytes(content)
        with pytest.raises(ConversionError, match=part):
            convert.convert(tmp_path / "y.pt", tmp_path / "out", heads=4)
    with pytest.raises(ConversionError, match="compressed"):
        convert.load(save(tmp_path / "z.pt", dit_tensors(TINY), compression=zipfile.ZIP_DEFLATED))


def save_pickle(tmp_path):
    """The description of a file without its storages."""
    with zipfile.ZipFile(tmp_path / "x.pt") as file:
        return file.read("archive/data.pkl")
