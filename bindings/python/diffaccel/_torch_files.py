"""PyTorch's files: the zip archives of today, without torch; those before version 1.6 through torch, where it is installed."""

from __future__ import annotations

import importlib
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ._conversion import ARRAYS, ConversionError, FileTensor
from ._pickle_reader import Global, PickleReader

_PICKLE_BYTES = 256 << 20
#: Storage classes and element types by the names that files have for them.
_KINDS = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16", "Char": "I8",
    "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "C64",
}
_DTYPES = {
    "float64": "F64", "double": "F64", "float32": "F32", "float": "F32", "float16": "F16", "half": "F16", "bfloat16": "BF16",
    "int64": "I64", "long": "I64", "int32": "I32", "int": "I32", "int16": "I16", "short": "I16", "int8": "I8", "uint8": "U8",
    "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL", "complex64": "C64", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}


class _Storage:
    """Numbers of one type that several tensors may share: a member of the archive."""

    def __init__(self, archive: TorchArchive, key: str, kind: str | None) -> None:
        self.archive, self.key, self.kind = archive, key, kind

    def elements(self, kind: str) -> np.ndarray:
        """All of it as elements of type `kind`, in the file's byte order brought to little-endian."""
        data = self.archive.member(f"data/{self.key}")
        form = np.dtype(ARRAYS[kind])
        if len(data) % form.itemsize:
            raise ConversionError(f"the storage {self.key} of {len(data)} bytes holds no whole number of {kind} elements")
        if self.archive.is_big_endian and form.itemsize > 1:
            return np.frombuffer(data, form.newbyteorder(">")).astype(form)
        return np.frombuffer(data, form)

    def tensor(self, kind: str | None, offset: Any, shape: Any, strides: Any) -> FileTensor:
        """A view of it. Raises ConversionError unless all its elements lie within."""
        if kind is None:
            raise ConversionError("a tensor of an unknown element type")
        numbers = (offset, *shape, *strides)
        if not all(isinstance(number, int) and 0 <= number < 1 << 48 for number in numbers) or len(shape) != len(strides):
            raise ConversionError(f"a tensor of shape {shape} and strides {strides} at {offset} is none")
        form = np.dtype(ARRAYS[kind])
        held = self.archive.size(f"data/{self.key}") // form.itemsize
        last = offset + sum((extent - 1) * stride for extent, stride in zip(shape, strides))
        if 0 not in shape and last >= held:
            raise ConversionError(f"a tensor of shape {shape} reaches beyond its storage of {held} elements")
        # Strides of 0 could make a few bytes stand for more than any memory holds.
        if int(np.prod(shape, dtype=object)) > max(held, 1) * 64:
            raise ConversionError(f"a tensor of shape {shape} over a storage of {held} elements")

        def read() -> np.ndarray:
            if 0 in shape:
                return np.zeros(shape, form)
            flat = self.elements(kind)[offset:]
            return np.lib.stride_tricks.as_strided(flat, shape, [stride * form.itemsize for stride in strides], writeable=False)

        return FileTensor(kind, tuple(shape), read)


class TorchArchive:
    """A file of torch.save: a zip archive of a pickle and, beside it, the storages of its tensors."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._kept: tuple[str, bytes] | None = None
        try:
            self._zip = zipfile.ZipFile(path)
            members = self._zip.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ConversionError(f"{path}: a zip archive that is damaged or cut off ({error}); fetch it again") from None
        pickles = [info.filename for info in members if info.filename.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ConversionError(self._not_torch([info.filename for info in members]))
        self._prefix = pickles[0][:-len("data.pkl")]
        self._members = {info.filename: info for info in members}
        if any(name.startswith(f"{self._prefix}code/") for name in self._members):
            raise ConversionError(f"{path}: a TorchScript program, not tensors: save the model's state_dict() instead")
        order = f"{self._prefix}byteorder"
        self.is_big_endian = order in self._members and self.member("byteorder").strip() == b"big"

    def _not_torch(self, names: list[str]) -> str:
        if any(name.endswith(".npy") for name in names):
            return f"{self.path}: a NumPy archive (.npz), which cannot be converted; take the model's .pt or .safetensors file"
        inside = [name for name in names if name.endswith((".pt", ".pth", ".bin", ".ckpt", ".safetensors"))]
        if inside:
            return f"{self.path}: a zip archive around {inside[0]}: unpack it first"
        return f"{self.path}: a zip archive, but none of PyTorch's (it holds {', '.join(names[:3]) or 'nothing'})"

    def size(self, name: str) -> int:
        """Bytes of a member. Raises ConversionError when it is not there or is compressed, which PyTorch's never are."""
        info = self._members.get(self._prefix + name)
        if info is None:
            raise ConversionError(f"{self.path}: {name} is missing in the archive; fetch the file again")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ConversionError(f"{self.path}: {name} is compressed or locked: unpack the archive and pack it without (zip -0)")
        return info.file_size

    def member(self, name: str) -> bytes:
        """The contents of a member; the last one is kept, since tensors may share it."""
        if self._kept is not None and self._kept[0] == name:
            return self._kept[1]
        size = self.size(name)
        try:
            data = self._zip.read(self._prefix + name)
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
            raise ConversionError(f"{self.path}: {name} is damaged ({error}); fetch the file again") from None
        if len(data) != size:
            raise ConversionError(f"{self.path}: {name} is cut off; fetch the file again")
        self._kept = (name, data)
        return data

    def content(self) -> Any:
        """What was saved: containers, numbers, texts and FileTensors; other objects as Records."""
        if self.size("data.pkl") > _PICKLE_BYTES:
            raise ConversionError(f"{self.path}: a description of {self.size('data.pkl')} bytes; at most {_PICKLE_BYTES} are read")
        try:
            return PickleReader(self.member("data.pkl"), self._storage, self._rebuilt).read()
        except ConversionError as error:
            raise ConversionError(f"{self.path}: {error}") from None

    def _storage(self, identity: Any) -> _Storage:
        if not isinstance(identity, tuple) or len(identity) < 3 or identity[0] != "storage":
            raise ConversionError("an object outside of the file")
        kind, key = identity[1], identity[2]
        if not isinstance(kind, Global) or not isinstance(key, str) or not re.fullmatch(r"[\w.-]{1,200}", key):
            raise ConversionError("a storage without type or name")
        name = kind.name[:-len("Storage")] if kind.name.endswith("Storage") else kind.name
        return _Storage(self, key, _KINDS.get(name))

    def _rebuilt(self, function: str, arguments: tuple[Any, ...]) -> Any:
        if function in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            storage, offset, shape, strides = arguments[:4]
            return _view(storage, None, offset, shape, strides)
        if function == "torch._utils._rebuild_tensor_v3":
            storage, offset, shape, strides = arguments[:4]
            return _view(storage, arguments[6], offset, shape, strides)
        if function in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            return arguments[0]
        if function == "torch._tensor._rebuild_from_type_v2":
            inner, _, inside = arguments[:3]
            if isinstance(inner, Global) and isinstance(inside, tuple) and inner.full != function:
                return self._rebuilt(inner.full, inside)
        return NotImplemented


def _view(storage: Any, dtype: Any, offset: Any, shape: Any, strides: Any) -> FileTensor:
    if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ConversionError("a tensor without storage")
    kind = _DTYPES.get(dtype.name) if isinstance(dtype, Global) else storage.kind
    return storage.tensor(kind, offset, shape, strides)


def load_old(path: str | os.PathLike[str]) -> Any:
    """Reads a file of PyTorch before 1.6, a pickle, with torch and only as far as torch holds it for safe."""
    try:
        torch: Any = importlib.import_module("torch")  # has types only where it is installed
    except ImportError:
        raise ConversionError(
            f"{path}: a file of PyTorch before version 1.6, which takes torch to read: pip install torch (newer files do not)"
        ) from None
    import argparse

    try:
        # Training scripts store their arguments; a Namespace is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds
        raise ConversionError(f"{path}: {_told(str(error))}") from None
    return _from_torch(content, torch)


def _told(text: str) -> str:
    """torch's reason without its advice, which is to switch the safety off."""
    named = re.search(r"GLOBAL ([\w.]+)|Unsupported (?:class|global|operand) ([\w.]+)", text, re.IGNORECASE)
    if named:
        return (
            f"the file names {named.group(1) or named.group(2)}, which no checkpoint needs: it is refused, and nothing in it was run; "
            "save the state dict alone (model.state_dict())")
    return "damaged, or no checkpoint: torch cannot read it safely; fetch the file again"


def _from_torch(value: Any, torch: Any) -> Any:
    if isinstance(value, torch.Tensor):
        kind = _DTYPES.get(str(value.dtype).replace("torch.", ""), "C64")

        def read() -> np.ndarray:
            flat = value.detach().cpu().contiguous().reshape(-1)
            array: np.ndarray = flat.view(torch.uint8).numpy().view(ARRAYS[kind])
            return array.reshape(tuple(value.shape))

        return FileTensor(kind, tuple(value.shape), read)
    if isinstance(value, dict):
        return {key: _from_torch(item, torch) for key, item in value.items()}
    return [_from_torch(item, torch) for item in value] if isinstance(value, (list, tuple)) else value
