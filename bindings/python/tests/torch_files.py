"""Files as torch.save writes them, made without torch, and such as nobody should open."""

import io
import struct
import zipfile
from collections import OrderedDict

import numpy as np

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage",
            "int32": "IntStorage", "uint8": "ByteStorage", "bool": "BoolStorage"}


class Raw:
    """Pickle operations as they are."""

    def __init__(self, code):
        self.code = code


class Brain:
    """A tensor of bf16 from f32 values."""

    def __init__(self, values):
        self.values = np.asarray(values, np.float32)


class View:
    """A tensor that is a view of an array: offset, shape and strides in elements."""

    def __init__(self, base, offset, shape, strides):
        self.base, self.offset, self.shape, self.strides = base, offset, shape, strides


def name(module, word):
    return f"c{module}\n{word}\n".encode()


class Writer:
    """Pickles of protocol 2 with the storages they name."""

    def __init__(self, big=False):
        self.storages, self.keys, self.kept, self.big = [], {}, [], big

    def storage(self, array, kind):
        if id(array) not in self.keys:
            self.keys[id(array)] = str(len(self.storages))
            data = np.ascontiguousarray(array)
            self.storages.append((data.astype(data.dtype.newbyteorder(">")) if self.big else data).tobytes())
            self.kept.append(array)  # so that no other array gets its address
        return (b"((X\x07\0\0\0storage" + name("torch", kind) + self.code(self.keys[id(array)]) + self.code("cpu")
                + self.code(int(np.asarray(array).size)) + b"tQ")[1:]

    def tensor(self, array, kind, offset, shape, strides):
        return (name("torch._utils", "_rebuild_tensor_v2") + b"(" + self.storage(array, kind) + self.code(offset)
                + self.code(tuple(shape)) + self.code(tuple(strides)) + b"\x89" + name("collections", "OrderedDict") + b")R" + b"tR")

    def code(self, value):
        if isinstance(value, Raw):
            return value.code
        if isinstance(value, Brain):
            bits = (value.values.view(np.uint32) >> 16).astype(np.uint16)
            return self.tensor(bits, "BFloat16Storage", 0, bits.shape, [s // 2 for s in bits.strides])
        if isinstance(value, View):
            return self.tensor(value.base, STORAGES[value.base.dtype.name], value.offset, value.shape, value.strides)
        if isinstance(value, np.ndarray):
            strides = [s // value.itemsize for s in np.ascontiguousarray(value).strides][:value.ndim]
            return self.tensor(value, STORAGES[value.dtype.name], 0, value.shape, strides)
        if value is None:
            return b"N"
        if isinstance(value, bool):
            return b"\x88" if value else b"\x89"
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value) if -2**31 <= value < 2**31 else b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, str):
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        if isinstance(value, (tuple, list)):
            items = b"".join(self.code(item) for item in value)
            return b"(" + items + b"t" if isinstance(value, tuple) else b"](" + items + b"e"
        if isinstance(value, dict):
            start = name("collections", "OrderedDict") + b")R" if isinstance(value, OrderedDict) else b"}"
            return start + b"(" + b"".join(self.code(key) + self.code(item) for key, item in value.items()) + b"u"
        raise TypeError(type(value))


def archive(path, pickle, storages=(), big=False, extra=(), compression=zipfile.ZIP_STORED, prefix="archive"):
    """Writes the zip archive around a pickle."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(f"{prefix}/data.pkl", pickle)
        file.writestr(f"{prefix}/byteorder", "big" if big else "little")
        for key, data in enumerate(storages):
            file.writestr(f"{prefix}/data/{key}", data)
        file.writestr(f"{prefix}/version", "3\n")
        for member, data in extra:
            file.writestr(member, data)
    return path


def save(path, value, big=False, **options):
    """torch.save(value, path) for dictionaries, lists, plain values, arrays, Brain and View."""
    writer = Writer(big)
    return archive(path, b"\x80\x02" + writer.code(value) + b".", writer.storages, big, **options)


def zip_of(members):
    """A zip archive in memory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for member, data in members.items():
            file.writestr(member, data)
    return buffer.getvalue()
