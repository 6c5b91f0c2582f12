"""A request on its way into the library: what is said becomes JSON, what is bulky a named tensor.

What an option may be is read from the model's description of its requests. The library checks names, ranges and missing options; here
is refused what JSON would carry as something else.
"""

from __future__ import annotations

import json
import math
from typing import Any, Iterable, Mapping

import numpy as np

from . import _arrays, _ffi, _pictures
from .errors import InvalidArgumentError, ShapeError

_KINDS = {"boolean": "True or False", "integer": "an integer", "number": "a number", "string": "a string"}


class Request:
    """The arguments of `da_session_run` that say what is wanted. The arrays live as long as this does."""

    def __init__(self, options: Mapping[str, Any], arrays: Mapping[str, _arrays.Array]) -> None:
        self._json = json.dumps(options, allow_nan=False).encode()
        self._arrays = dict(arrays)
        self._tensors = (_ffi.Tensor * len(arrays))(*(_arrays.describe(name, array) for name, array in arrays.items()))

    @property
    def arguments(self) -> tuple[Any, ...]:
        """JSON, its length, the tensors, their number."""
        return self._json, len(self._json), self._tensors, len(self._tensors)


class Form:
    """What requests to a model may say."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self._options: dict[str, dict[str, Any]] = {option["name"]: option for option in description.get("options", [])}
        self._tensors: dict[str, dict[str, Any]] = {tensor["name"]: tensor for tensor in description.get("tensors", [])}

    @property
    def _takes_tokens(self) -> bool:
        return "tokens" in self._tensors

    def request(self, given: Mapping[str, Any]) -> Request:
        """The request that says what is given; None is not. Raises TypeError, OverflowError, InvalidArgumentError and ShapeError."""
        options: dict[str, Any] = {}
        arrays: dict[str, _arrays.Array] = {}
        for name, value in given.items():
            if value is not None and name in self._tensors and name not in self._options:
                value = _converted(value, self._tensors[name])
            value = _array(value)
            if value is None:
                continue
            if name == "tokens" and name in self._tensors:
                arrays.update(_token_tensors(value, given.get("lengths") is not None))
            elif name in self._tensors and (name not in self._options or isinstance(value, np.ndarray)):
                arrays[name] = _tensor(value, self._tensors[name])
            elif name in self._options and isinstance(value, str) and "\0" in value:
                arrays[name] = np.frombuffer(_ffi.utf8(value, name), np.uint8)  # the library's JSON holds no NUL
            elif name in self._options:
                options[name] = _value(value, _types(self._options[name]), name, self._takes_tokens)
            elif isinstance(value, np.ndarray):
                arrays[name] = np.zeros(0, np.float32)  # unknown, whatever its value: the library says so, and what may have been meant
            else:
                options[name] = True
        return Request(options, arrays)


def _array(value: Any) -> Any:
    """`value`; arrays of other packages are numpy's, those of objects or texts lists, those of one number that number."""
    if not isinstance(value, np.ndarray) and hasattr(value, "__array__") and not np.isscalar(value):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value[()]
    return value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind in "OU" else value


def _converted(value: Any, spec: Mapping[str, Any]) -> Any:
    """`value`, of pictures and masks as the numbers that they are."""
    if _pictures.is_picture(spec):
        return _pictures.picture(value)
    return _pictures.mask(value) if _pictures.is_mask(spec) else value


def _tensor(value: Any, spec: Mapping[str, Any]) -> _arrays.Array:
    """`value` as the tensor that `spec` describes: a shape such as [n, 4, H, W], of which numbers must be met."""
    name = spec["name"]
    array = _arrays.floats(value, name) if spec["dtype"] == "f32" else _arrays.integers(value, name)
    axes = [axis.strip() for axis in spec["shape"].strip("[]").split(",")]
    if array.ndim != len(axes) or any(axis.isdigit() and int(axis) != extent for axis, extent in zip(axes, array.shape)):
        raise ShapeError(f"{name}: expected shape {spec['shape']}, found {list(array.shape)}")
    return array


def _token_tensors(value: Any, has_lengths: bool) -> dict[str, _arrays.Array]:
    """Token ids of one prompt, or of several with their lengths."""
    if has_lengths:
        return {"tokens": _tensor(value, {"name": "tokens", "dtype": "i64", "shape": "[sum of lengths]"})}
    if isinstance(value, np.ndarray):
        if value.ndim not in (1, 2):
            raise ShapeError(f"tokens: expected [length] or [prompts, length], found {list(value.shape)}")
        items = [value] if value.ndim == 1 else list(value)
    else:
        items = [_array(item) for item in _listed(value, "tokens")]
        if not items:
            raise InvalidArgumentError("tokens: at least one is needed; [[]] is one prompt without tokens")
        if any(isinstance(item, str) for item in items):
            raise TypeError("tokens must hold integers, not texts; prompt= takes texts")
        alone = sum(not isinstance(item, Iterable) for item in items)
        if 0 < alone < len(items):
            raise TypeError("tokens: either those of one prompt or a list of prompts, not both")
        items = [items] if alone else items
    prompts = [_arrays.integers(item if isinstance(item, np.ndarray) else _listed(item, "tokens"), "tokens") for item in items]
    for prompt in prompts:
        if prompt.ndim != 1:
            raise ShapeError(f"tokens: those of one prompt have one dimension, found shape {list(prompt.shape)}")
    if not prompts:
        raise InvalidArgumentError("tokens: at least one prompt is needed")
    return {"tokens": np.concatenate(prompts), "lengths": np.array([prompt.size for prompt in prompts], np.int64)}


def _types(option: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The types that a value may have, alternatives of alternatives among them."""
    return [one for part in option["anyOf"] for one in _types(part)] if "anyOf" in option else [option]


def _listed(value: Any, name: str) -> list[Any]:
    """The elements of `value`. Raises TypeError for what is no list of any kind."""
    if isinstance(value, (str, bytes, bytearray, memoryview, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list, not {type(value).__name__}{_hint(value, name)}")
    return list(value)


def _value(value: Any, types: list[Mapping[str, Any]], name: str, takes_tokens: bool) -> Any:
    """`value` as JSON of one of these types; `takes_tokens` is for a hint."""
    value = _array(value)
    kinds = {one["type"] for one in types}
    if isinstance(value, str) and "string" in kinds:
        _ffi.encode_text(value, name)
        return str(value)
    is_list = isinstance(value, Iterable) and not isinstance(value, (str, bytes, bytearray, memoryview, Mapping))
    if is_list and "array" in kinds:
        inner = [item for one in types if one["type"] == "array" for item in _types(one["items"])]
        return [_value(item, inner, name, takes_tokens) for item in value]
    if kinds == {"boolean"}:
        return bool(_arrays.flag(value, name))
    if is_list or isinstance(value, (bytes, bytearray, memoryview, Mapping)) or not kinds & {"integer", "number"}:
        words = " or ".join(words for kind, words in _KINDS.items() if kind in kinds)
        raise TypeError(f"{name} must be {words}, not {_shown(value)}{_hint(value, name, takes_tokens)}")
    if "number" not in kinds:
        return _arrays.integer(value, name, bits=64)
    number = _arrays.real(value, name)
    if not math.isfinite(number):
        raise InvalidArgumentError(f"{name} must be finite, not {number}")
    return number


def _shown(value: Any) -> str:
    try:
        return type(value).__name__ if isinstance(value, (bytes, bytearray, memoryview, Mapping)) else f"{value!r:.100}"
    except ValueError:  # numbers of thousands of digits have no repr
        return type(value).__name__


def _hint(value: Any, name: str, takes_tokens: bool = True) -> str:
    if isinstance(value, (bytes, bytearray)):
        return f"; {name}.decode() makes text of bytes"
    return "; tokens= takes token ids" if name == "prompt" and takes_tokens else ""
