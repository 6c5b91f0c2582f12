"""A reader of pickles that calls nothing: it makes numbers, texts, plain containers, and records of everything else.

Python's own reader imports what a file names and calls it, which is how files attack. This one knows what PyTorch writes for
tensors, and keeps any other object as a Record that nothing acts on. A file that names a function of Python's own library, or asks
for a call of anything unknown, is refused.
"""

from __future__ import annotations

import struct
from typing import Any, Callable

from ._conversion import ConversionError


class Global:
    """A name in a module, as a file has it; nothing is imported."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}"


class Record:
    """An object of a class that is not known here: its class and what belongs to it."""

    def __init__(self, kind: Global, arguments: tuple[Any, ...] = ()) -> None:
        self.kind, self.arguments = kind, arguments
        self.state: Any = None


#: Containers of Python's library that are plain data.
_CONTAINERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda *items: dict(*items),
    "collections.defaultdict": lambda *_: {},
    "collections.Counter": lambda *items: dict(*items),
    "builtins.dict": lambda *items: dict(*items),
    "builtins.list": lambda *items: list(*items),
    "builtins.tuple": lambda *items: tuple(*items),
    "builtins.set": lambda *items: list(*items),
    "builtins.frozenset": lambda *items: list(*items),
    "builtins.bytearray": lambda *_: b"",
    "builtins.complex": lambda *parts: complex(*parts),
    "torch.Size": lambda *items: tuple(*items),
}
#: Calls that training scripts leave in their files and that are kept as records.
_HARMLESS = {
    "argparse.Namespace", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "datetime.datetime",
    "datetime.timedelta", "datetime.date", "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "types.SimpleNamespace",
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct", "numpy.dtype", "numpy.ndarray", "_codecs.encode", "torch.device",
    "torch.torch_version.TorchVersion", "copyreg._reconstructor", "copy_reg._reconstructor", "builtins.object",
    "typing.Any", "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._C._cuda_getCurrentRawStream", "enum.Enum",
}
#: Modules whose names are refused unless they stand above: Python's own library and what runs with it.
_MODULES = {
    "__builtin__", "__main__", "_io", "_posixsubprocess", "ast", "asyncio", "bdb", "builtins", "cProfile", "code", "codecs",
    "codeop", "commands", "compileall", "copyreg", "copy_reg", "ctypes", "dill", "distutils", "doctest", "ensurepip", "fileinput",
    "ftplib", "functools", "gc", "glob", "http", "idlelib", "imp", "importlib", "inspect", "io", "itertools", "joblib", "lib2to3",
    "linecache", "logging", "mailcap", "marshal", "multiprocessing", "nt", "operator", "os", "pdb", "pickle", "pip", "pkgutil",
    "platform", "popen2", "posix", "posixpath", "profile", "pstats", "pty", "py_compile", "pydoc", "runpy", "select", "shelve",
    "shutil", "signal", "site", "smtplib", "socket", "sqlite3", "ssl", "subprocess", "sys", "tarfile", "tempfile", "test",
    "threading", "timeit", "trace", "types", "unittest", "urllib", "urllib2", "venv", "webbrowser", "xmlrpc", "zipapp",
    "zipfile", "zipimport", "cloudpickle", "setuptools", "_codecs", "pathlib", "datetime", "typing", "enum",
}
_MARK = object()
_LIMIT = 50_000_000  # items of all kinds


class PickleReader:
    """Reads one pickle of protocol 2 to 5.

    data: the bytes.
    persistent: makes what a persistent id, such as that of a storage, stands for.
    rebuild: makes a tensor of a call of PyTorch's that is no plain container's; NotImplemented when it does not know it.
    """

    def __init__(self, data: bytes, persistent: Callable[[Any], Any], rebuild: Callable[[str, tuple[Any, ...]], Any]) -> None:
        self._data, self._at = data, 0
        self._persistent, self._rebuild = persistent, rebuild
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._items = 0

    def read(self) -> Any:
        """The object. Raises ConversionError for what is no such pickle and for what is refused."""
        try:
            return self._run()
        except (IndexError, struct.error, UnicodeDecodeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ConversionError(f"the pickle in it is damaged at byte {self._at}: {error}") from None

    # -- the machine ----------------------------------------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > len(self._data):
            raise ConversionError(f"the pickle in it ends at byte {len(self._data)}, in the middle of an item")
        part, self._at = self._data[self._at:end], end
        return part

    def _number(self, form: str) -> int:
        return int(struct.unpack("<" + form, self._take(struct.calcsize("<" + form)))[0])

    def _line(self) -> str:
        end = self._data.index(b"\n", self._at)
        return self._take(end + 1 - self._at)[:-1].decode("utf-8")

    def _pop_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _contain(self, make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        # Copies of copies must not grow beyond what the file itself could say.
        self._items += sum(len(item) for item in arguments if isinstance(item, (list, dict, tuple, str, bytes)))
        self._push(None)
        self._stack.pop()
        return make(*arguments)

    def _push(self, value: Any) -> None:
        self._items += 1
        if self._items > _LIMIT:
            raise ConversionError(f"the pickle in it has more than {_LIMIT} items")
        self._stack.append(value)

    def _run(self) -> Any:
        while True:
            code = self._take(1)
            if code == b".":
                return self._stack.pop()
            simple = _SIMPLE.get(code)
            if simple is not None:
                self._push(simple(self))
                continue
            action = _ACTIONS.get(code)
            if action is None:
                kind = "a protocol older than 2" if code in b"ILFSVgpdliocPCT(" else f"an operation {code!r}"
                raise ConversionError(f"the pickle in it uses {kind}, which PyTorch does not write; it is refused")
            action(self)

    # -- containers -----------------------------------------------------------------------------------------------------------

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Record):
            return
        if not isinstance(target, list):
            raise ConversionError("the pickle in it appends to what is no list")
        target.extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Record):
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise ConversionError("the pickle in it sets items of what is no dictionary")
        for key, value in zip(items[::2], items[1::2]):
            # Some training files have keys such as callbacks. Hashing nested tuples could take forever.
            simple = isinstance(key, (str, int, float, bool, type(None)))
            target[key if simple else f"<{type(key).__name__} {id(key)}>"] = value

    # -- objects --------------------------------------------------------------------------------------------------------------

    def _named(self, module: str, name: str) -> Global:
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        found = Global(module, name)
        known = found.full in _CONTAINERS or found.full in _HARMLESS
        if not known and (module.split(".")[0] in _MODULES or not module or "." in name):
            raise ConversionError(f"the file names {found.full}, which no checkpoint needs: it is refused, and nothing in it was run")
        return found

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise ConversionError("the pickle in it calls what is no name")
        container = _CONTAINERS.get(function.full)
        if container is not None:
            return self._contain(container, arguments)
        made = self._rebuild(function.full, arguments)
        if made is not NotImplemented:
            return made
        if function.full in _HARMLESS:
            return Record(function, arguments)
        raise ConversionError(
            f"the file asks to call {function.full}: it is refused, and nothing in it was run; save the state dict alone "
            "(model.state_dict()), or as safetensors")

    def _new(self, kind: Any, arguments: Any) -> Any:
        if not isinstance(kind, Global) or not isinstance(arguments, tuple):
            raise ConversionError("the pickle in it makes an object of what is no class")
        container = _CONTAINERS.get(kind.full)
        return self._contain(container, arguments) if container is not None else Record(kind, arguments)

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        # What an OrderedDict carries beside its items (_metadata) belongs to modules, not to tensors.
        if isinstance(target, Record):
            target.state = state
        elif isinstance(target, Global):
            raise ConversionError(f"the pickle in it changes {target.full}: it is refused")

    def _reduce(self) -> None:
        arguments = self._stack.pop()
        self._push(self._call(self._stack.pop(), arguments))

    def _new_object(self) -> None:
        arguments = self._stack.pop()
        self._push(self._new(self._stack.pop(), arguments))

    def _new_object_with_names(self) -> None:
        self._stack.pop()
        self._new_object()

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ConversionError("the pickle in it names something by what is no text")
        self._push(self._named(module, name))

    def _tuple(self, count: int) -> None:
        if count > len(self._stack) or any(item is _MARK for item in self._stack[-count:]):
            raise ConversionError("the pickle in it has too few items for a tuple")
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._push(items)

    def _global(self) -> Global:
        module = self._line()
        return self._named(module, self._line())


def _long(reader: PickleReader, form: str) -> int:
    size = reader._number(form)
    if size > 1024:
        raise ConversionError(f"the pickle in it has an integer of {size} bytes")
    return int.from_bytes(reader._take(size), "little", signed=True)


#: Operations that push one value.
_SIMPLE: dict[bytes, Callable[[PickleReader], Any]] = {
    b"N": lambda r: None, b"\x88": lambda r: True, b"\x89": lambda r: False,
    b"J": lambda r: r._number("i"), b"K": lambda r: r._number("B"), b"M": lambda r: r._number("H"),
    b"\x8a": lambda r: _long(r, "B"), b"\x8b": lambda r: _long(r, "I"),
    b"G": lambda r: struct.unpack(">d", r._take(8))[0],
    b"X": lambda r: r._take(r._number("I")).decode("utf-8", "surrogatepass"),
    b"\x8c": lambda r: r._take(r._number("B")).decode("utf-8", "surrogatepass"),
    b"\x8d": lambda r: r._take(r._number("Q")).decode("utf-8", "surrogatepass"),
    b"U": lambda r: r._take(r._number("B")).decode("latin-1"), b"T": lambda r: r._take(r._number("I")).decode("latin-1"),
    b"C": lambda r: r._take(r._number("B")), b"B": lambda r: r._take(r._number("I")), b"\x8e": lambda r: r._take(r._number("Q")),
    b"\x96": lambda r: r._take(r._number("Q")),
    b")": lambda r: (), b"}": lambda r: {}, b"]": lambda r: [], b"\x8f": lambda r: [], b"(": lambda r: _MARK,
    b"t": lambda r: tuple(r._pop_mark()), b"\x91": lambda r: r._pop_mark(), b"2": lambda r: r._stack[-1],
    b"h": lambda r: r._memo[r._number("B")], b"j": lambda r: r._memo[r._number("I")],
    b"c": lambda r: r._global(), b"Q": lambda r: r._persistent(r._stack.pop()),
}
#: The others.
_ACTIONS: dict[bytes, Callable[[PickleReader], Any]] = {
    b"\x80": lambda r: r._number("B"), b"\x95": lambda r: r._number("Q"),
    b"q": lambda r: r._memo.__setitem__(r._number("B"), r._stack[-1]),
    b"r": lambda r: r._memo.__setitem__(r._number("I"), r._stack[-1]),
    b"\x94": lambda r: r._memo.__setitem__(len(r._memo), r._stack[-1]),
    b"0": lambda r: r._stack.pop(), b"1": lambda r: r._pop_mark(),
    b"\x85": lambda r: r._tuple(1), b"\x86": lambda r: r._tuple(2), b"\x87": lambda r: r._tuple(3),
    b"a": lambda r: r._extend([r._stack.pop()]), b"e": lambda r: r._extend(r._pop_mark()),
    b"\x90": lambda r: r._extend(r._pop_mark()),
    b"s": lambda r: r._set([r._stack.pop(), r._stack.pop()][::-1]), b"u": lambda r: r._set(r._pop_mark()),
    b"R": lambda r: r._reduce(), b"\x81": lambda r: r._new_object(), b"\x92": lambda r: r._new_object_with_names(),
    b"b": lambda r: r._build(), b"\x93": lambda r: r._stack_global(),
}
