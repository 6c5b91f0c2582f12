"""What prompts and labels may be given as."""

from __future__ import annotations

import difflib
import string
from typing import Any, Callable, Iterable, Mapping, Sequence, Union

import numpy as np
import numpy.typing as npt

from . import _arrays
from .errors import InvalidArgumentError, ShapeError

#: One class or several: numbers, or names of the model's classes.
Labels = Union[int, str, Sequence[Union[int, str]], "npt.NDArray[Any]"]
#: One text or its tokens.
Prompt = Union[str, Sequence[int], "npt.NDArray[Any]"]
#: One prompt or several, of any lengths.
Prompts = Union[Prompt, Sequence[Prompt]]


def _listed(value: Any, name: str) -> list[Any]:
    """The elements of `value`. Raises TypeError for what is no list of any kind."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name} must be text or integers, not {type(value).__name__}; {name}.decode() makes text of bytes")
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be text, integers or a list of such, not {type(value).__name__}")
    return list(value)


def _array(value: Any) -> Any:
    """`value`, arrays of other packages as numpy's, and those of objects or of texts as lists."""
    if not isinstance(value, np.ndarray) and hasattr(value, "__array__") and not np.isscalar(value):
        value = np.asarray(value)
    return value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind in "OU" else value


def _is_number(item: Any) -> bool:
    """Whether `item` stands alone: it may be no token, but it is no prompt."""
    return not isinstance(item, Iterable) or (isinstance(item, np.ndarray) and item.ndim == 0)


def token_lists(prompt: Any, encode: Callable[[str], npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
    """The tokens of each prompt; texts are encoded. Raises TypeError for bytes and mixtures, InvalidArgumentError for no prompt."""
    prompt = _array(prompt)
    if isinstance(prompt, str):
        return [encode(prompt)]
    if isinstance(prompt, np.ndarray):
        if prompt.ndim not in (1, 2):
            raise ShapeError(f"prompt: expected tokens [length] or [prompts, length], found shape {prompt.shape}")
        items = [prompt] if prompt.ndim == 1 else list(prompt)
    else:
        items = [_array(item) for item in _listed(prompt, "prompt")]
        if not items:
            raise InvalidArgumentError("prompt: at least one is needed; [[]] is one without tokens")
        tokens = sum(_is_number(item) for item in items)
        if tokens:
            if tokens < len(items):
                raise TypeError("prompt: either tokens or a list of prompts, not both")
            items = [items]
    lists = []
    for item in items:
        if isinstance(item, str):
            lists.append(encode(item))
            continue
        ids = _arrays.integers(item if isinstance(item, np.ndarray) else _listed(item, "prompt"), "prompt")
        if ids.ndim != 1:
            raise ShapeError(f"prompt: tokens of one text have one dimension, found shape {ids.shape}")
        lists.append(ids)
    return lists


_LOWER_CASE = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def _trimmed(name: str) -> str:
    return name.strip(" ")


def _folded(name: str) -> str:
    """Without regard to the case of ASCII letters, as the library compares names."""
    return _trimmed(name).translate(_LOWER_CASE)


def class_index(name: str, names: Sequence[str]) -> int:
    """The class called `name`: by all its names as one text or by any of them, which commas separate, and if there is none, without
    regard to case. Raises InvalidArgumentError for a name that none has, or several."""
    for form in (_trimmed, _folded):
        word = form(name)
        if not word:
            break
        whole = [index for index, names_of in enumerate(names) if form(names_of) == word]
        found = whole or [index for index, names_of in enumerate(names) if word in map(form, names_of.split(","))]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidArgumentError(
                f"labels: {name!r} names the classes {' and '.join(map(str, found))}: use one of the numbers")
    if not names:
        raise InvalidArgumentError(f"labels: the model has no names for its classes, so there is no class {name!r}: use numbers")
    known = {_folded(one): one.strip() for names_of in names for one in (*names_of.split(","), names_of)}
    near = difflib.get_close_matches(_folded(name), known, 1)
    hint = f"; did you mean {known[near[0]]!r}?" if near else ""
    raise InvalidArgumentError(f"labels: the model has no class {name!r}{hint} ({len(names)} names, such as {'; '.join(names[:10])})")


def class_indices(labels: Any, names: Callable[[], Sequence[str]]) -> npt.NDArray[np.int64]:
    """Indices of `labels`, which may hold names. Raises InvalidArgumentError for unknown names and for none, ShapeError, TypeError."""
    labels = _array(labels)
    if isinstance(labels, str) or (np.isscalar(labels) and not isinstance(labels, bytes)):
        labels = [labels]
    elif isinstance(labels, np.ndarray):
        labels = labels.reshape(1) if labels.ndim == 0 else labels
    else:
        labels = _listed(labels, "labels")
    if not isinstance(labels, np.ndarray) and any(isinstance(label, str) for label in labels):
        known = names()
        labels = [class_index(label, known) if isinstance(label, str) else label for label in labels]
    indices = _arrays.integers(labels, "labels")
    if indices.ndim != 1:
        raise ShapeError(f"labels: expected one dimension, found shape {indices.shape}")
    if indices.size == 0:
        raise InvalidArgumentError("labels: one class index for each sample is needed")
    return indices
