"""Plans: stacks of acceleration methods written down as data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from . import _arrays, _ffi
from ._handle import Handle, new_handle
from .errors import FileError, FormatError
from .model import Model

#: What an entry's router file may contribute; released files carry much else.
_ROUTER_KEYS = ("logits", "threshold", "official_threshold")
_GRID_VALUES = {"1": 1, "0": 0, "-": -1}


def _plain(value: Any) -> Any:
    """`value` with numpy arrays and numbers, and paths, turned into lists, numbers and texts that json can write."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _inlined(entry: dict[str, Any]) -> dict[str, Any]:
    """`entry` with the file its "router" names put in its place: plans handed over as text may not name files."""
    if "router" not in entry:
        return entry
    name = Path(entry["router"])
    try:
        with open(name, encoding="utf-8") as file:
            router = json.load(file)
    except OSError as error:
        raise FileError(f"{name}: {error.strerror}") from error
    except ValueError as error:
        raise FormatError(f"{name}: {error}") from error
    if not isinstance(router, dict) or "logits" not in router:
        raise FormatError(f"{name}: expected an object with \"logits\"")
    found = {key: router[key] for key in _ROUTER_KEYS if key in router}
    threshold = found.pop("official_threshold", None)
    if threshold is not None:
        found.setdefault("threshold", threshold)
    return {**found, **{key: value for key, value in entry.items() if key != "router"}}


class Plan(Handle):
    """A stack of methods, outermost first. `Plan()` is the plain model.

    Each keyword is a method with its settings. For Learning-to-Cache:

        Plan(l2c={"logits": array of [steps, 2 * depth], "threshold": 0.1})
        Plan(l2c={"router": "router.json"})            a released router file, or one written by diffaccel.convert
        Plan(code={"refiner": "path", "draft_scales": 8})   CoDe; without "refiner" the session is given a partner
        Plan(l2c={"policy": "alternate"})              also "none", "interval" (with "interval"), "random" (with "ratio", "seed")

    Raises FileError and FormatError for router files, FormatError and UnsupportedError for settings.
    """

    _close_function = _ffi.lib.da_plan_close

    def __init__(self, **methods: Mapping[str, Any]) -> None:
        entries = []
        for method, settings in methods.items():
            if not isinstance(settings, Mapping):
                raise TypeError(f"{method} must be a dict of settings, not {type(settings).__name__}")
            entries.append(_inlined({**_plain(settings), "method": method}))
        try:
            text = json.dumps({"methods": entries}, allow_nan=False)
        except ValueError as error:
            raise FormatError(f"the plan holds numbers that are not finite: {error}") from error
        super().__init__(self._parsed(text))

    @staticmethod
    def _parsed(text: str) -> int:
        data = text.encode("utf-8")
        return new_handle(_ffi.lib.da_plan_parse, data, len(data))

    @classmethod
    def _from_handle(cls, handle: int) -> Plan:
        plan = cls.__new__(cls)
        Handle.__init__(plan, handle)
        return plan

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Reads a plan or a released router file. Raises FileError, FormatError, UnsupportedError."""
        return cls._from_handle(new_handle(_ffi.lib.da_plan_load, _ffi.encode_path(path)))

    @classmethod
    def parse(cls, text: str | Mapping[str, Any]) -> Plan:
        """Reads a plan from JSON text or the dict it would give; neither may name files. Raises FormatError."""
        return cls._from_handle(cls._parsed(text if isinstance(text, str) else json.dumps(_plain(text))))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the plan as JSON, atomically. Raises FileError."""
        _ffi.check(_ffi.lib.da_plan_save, self._handle, _ffi.encode_path(path))

    def describe(self, model: Model | None = None, steps: int = 0) -> dict[str, Any]:
        """The plan as a dict; with a model, what the plan would do to it in so many steps.

        Then the dict has "sites", "timesteps", "grid", "saved", "flops" and "baseline_flops".
        Raises IncompatibleError when the plan does not fit the model.
        """
        handle = None if model is None else model._handle
        steps = _arrays.integer(steps, "steps")
        return json.loads(_ffi.text_of(_ffi.lib.da_plan_describe, self._handle, handle, steps))

    def grid(self, model: Model, steps: int) -> np.ndarray:
        """What happens at each step and site: int8 [steps, sites]; 1 computed, 0 reused, -1 not needed.

        Steps run from the noisiest; sites are in the order of `describe(model, steps)["sites"]`.
        """
        rows = self.describe(model, steps)["grid"]
        return np.array([[_GRID_VALUES[mark] for mark in row] for row in rows], np.int8)

    def __add__(self, other: Plan) -> Plan:
        """The methods of this plan, then those of the other one."""
        if not isinstance(other, Plan):
            return NotImplemented
        return self._from_handle(new_handle(_ffi.lib.da_plan_stack, self._handle, other._handle))

    def __repr__(self) -> str:
        if self.closed:
            return "<diffaccel.Plan closed>"
        methods = [entry.get("method", "?") for entry in self.describe().get("methods", [])]
        return f"<diffaccel.Plan: {' + '.join(methods) or 'plain model'}>"
