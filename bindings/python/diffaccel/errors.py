"""One exception for each error status of the library, with the library's own text."""

from __future__ import annotations


class DiffAccelError(Exception):
    """Base of everything the library reports. `status` is the C status, `name` its name, such as "DA_IO"."""

    status: int = 0
    name: str = "DA_UNKNOWN"


class Cancelled(DiffAccelError):
    """The run was stopped by `Session.cancel`, `Trainer.cancel` or by a callback that returned true."""

    status, name = 1, "DA_CANCELLED"


class InvalidArgumentError(DiffAccelError, ValueError):
    """An argument or option is out of its documented range."""

    status, name = -1, "DA_INVALID_ARGUMENT"


class FileError(DiffAccelError, OSError):
    """A file cannot be opened, read or written."""

    status, name = -2, "DA_IO"


class FormatError(DiffAccelError, ValueError):
    """A file or JSON text is not what it should be."""

    status, name = -3, "DA_FORMAT"


class UnsupportedError(DiffAccelError, NotImplementedError):
    """Known, but not available: a format, an option, a combination."""

    status, name = -4, "DA_UNSUPPORTED"


class ShapeError(DiffAccelError, ValueError):
    """An array has the wrong shape or element type."""

    status, name = -5, "DA_SHAPE"


class OutOfMemoryError(DiffAccelError, MemoryError):
    """The system gave no memory."""

    status, name = -6, "DA_NO_MEMORY"


class OverBudgetError(DiffAccelError, MemoryError):
    """The memory limit given to the model or session would be passed."""

    status, name = -7, "DA_OVER_BUDGET"


class InvalidHandleError(DiffAccelError, ValueError):
    """The object was closed."""

    status, name = -8, "DA_INVALID_HANDLE"


class BusyError(DiffAccelError, RuntimeError):
    """Another thread, or the caller's own callback, is using the session."""

    status, name = -9, "DA_BUSY"


class IncompatibleError(DiffAccelError, ValueError):
    """A plan does not fit the model, the request or itself."""

    status, name = -10, "DA_INCOMPATIBLE"


class NotFiniteError(DiffAccelError, ArithmeticError):
    """NaN or infinity where finite numbers are needed."""

    status, name = -11, "DA_NOT_FINITE"


class InternalError(DiffAccelError, RuntimeError):
    """A defect of the library: please report it."""

    status, name = -12, "DA_INTERNAL"


_BY_STATUS = {
    kind.status: kind
    for kind in (Cancelled, InvalidArgumentError, FileError, FormatError, UnsupportedError, ShapeError,
                 OutOfMemoryError, OverBudgetError, InvalidHandleError, BusyError, IncompatibleError,
                 NotFiniteError, InternalError)
}


def error_for(status: int, text: str) -> DiffAccelError:
    """The exception of a C status. Unknown numbers, of a newer library, become a plain DiffAccelError."""
    kind = _BY_STATUS.get(status, DiffAccelError)
    error = kind(text or kind.name)
    if kind is DiffAccelError:
        error.status = status
    return error
