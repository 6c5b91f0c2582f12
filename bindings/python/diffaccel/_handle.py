"""What models, plans, sessions and results have in common: a handle that is closed once."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any, TypeVar

from . import _ffi

Self = TypeVar("Self", bound="Handle")


class Handle:
    """An object of the library. Closing is optional: the garbage collector does it, in any order."""

    _close_function: Any = None

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._finalizer = weakref.finalize(self, _ffi.release, type(self)._close_function, handle)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._handle

    def close(self) -> None:
        """Releases the object. A second call does nothing; any other use afterwards raises InvalidHandleError."""
        handle, self._handle = self._handle, 0
        if handle and self._finalizer.detach() is not None:
            _ffi.check(type(self)._close_function, handle)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        # A handle means nothing in another process, and a copy of it would be closed twice.
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled; create it where it is used")


def new_handle(function: Any, *arguments: Any) -> int:
    """The handle a creating function puts into its last argument."""
    target = ctypes.c_void_p()
    _ffi.check(function, *arguments, ctypes.byref(target))
    return target.value or 0
