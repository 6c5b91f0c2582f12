"""Settings, plans and configurations as JSON text."""

from __future__ import annotations

import json
import os
from typing import Any, Mapping

import numpy as np

from .errors import InvalidArgumentError


def plain(value: Any) -> Any:
    """`value` with numpy arrays and numbers, and paths, turned into lists, numbers and texts that json can write."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"names must be strings, not {key!r:.100}")
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def json_text(value: Any, what: str, allow_nan: bool = False) -> str:
    """`value` as JSON. Raises InvalidArgumentError for numbers that are not finite unless `allow_nan`, TypeError for what JSON cannot
    hold."""
    try:
        return json.dumps(plain(value), allow_nan=allow_nan)
    except ValueError as error:
        raise InvalidArgumentError(f"{what}: {error}") from error
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from error
