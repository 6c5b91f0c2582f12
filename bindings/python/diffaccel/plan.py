"""Plans: stacks of acceleration methods written down as data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Mapping, Union

import numpy as np
import numpy.typing as npt

from . import _arrays, _ffi
from ._handle import Handle, new_handle
from ._json import json_text, plain
from .errors import FileError, FormatError, InvalidArgumentError
from .model import Model

#: What an entry's router file may contribute; released files have many other keys.
_ROUTER_KEYS = ("logits", "threshold", "official_threshold")
_GRID_VALUES = {"1": 1, "0": 0, "-": -1}


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


#: What a plan may be given as.
PlanLike = Union["Plan", str, "os.PathLike[str]", Mapping[str, Any]]


class Plan(Handle):
    """A stack of methods, outermost first. `Plan()` is the plain model.

    Each keyword is a method with its settings:

        Plan(l2c={"logits": array of [steps, 2 * depth], "threshold": 0.1})     Learning-to-Cache, a learned router; "period" (2): one
                                                       step in `period` is a full one
        Plan(l2c={"router": "router.json"})            a released router file, or one written by diffaccel.convert
        Plan(l2c={"policy": "alternate"})              also "none", "interval" (with "interval"), "random" (with "ratio", "seed")
        Plan(depth={"keep": [0, 2, 5]})                depth pruning: the blocks that run
        Plan(code={"refiner": "path", "draft_scales": 8})   CoDe; without "refiner" the session needs a partner
        Plan(dkv={"variant": "decode", "refresh": 8})  caches keys and values of a language model; LLaDA: "decode", "greedy" (with
                                                       "window"), "prefix", "dual"; Dream: "decode", "prefill", "pd" (with "shift")
        Plan(deepcache={"interval": 3, "layers": 1})   U-Nets: deep features kept between full calls, one in `interval`; the last
                                                       `layers` layers of the way up are always computed
        Plan(**{"async": {"components": 2}})           (`async=` cannot be written: a keyword of Python) denoisers in components that work
                                                       at the same time, each on what the others gave in the call before: "components"
                                                       (2...4), "stride" (1, 2), "warm_up", "time_shift", "variant" ("paper",
                                                       "released"), "split" ("official", "balanced", "measured" or lists of modules),
                                                       "executor" ("sequential", "threads", "mpi"), "wire" ("f32", "bf16" between ranks)
        Plan(litefocus={"ratio": 0.1})                 sounds: sparse self-attention: a query sees its own frequency ("same_frequency")
                                                       and a random share of all tokens ("cross_frequency", "ratio"; "early_ratio" in
                                                       the first "early_steps") and all frequencies up to "window" time steps away (0: none);
                                                       "levels", "scope" ("official", "all"), "deduplicate", "keys" ("call",
                                                       "step", "run"), "seed"

    Simple ones have a word: `Plan.load("alternate")`, also "none", "interval:N", "random:RATIO[:SEED]", "depth:0,2,5-8",
    "deepcache:N[:LAYERS]", "async:COMPONENTS[:STRIDE[:WARM_UP]]", "litefocus[:RATIO]", "code[:DRAFT_SCALES]",
    "dkv:VARIANT[:REFRESH[:WINDOW]]"; `Model.session` takes the word itself.

    Raises FileError and FormatError for router files, FormatError and UnsupportedError for settings.
    """

    _close_function = _ffi.lib.da_plan_close

    def __init__(self, **methods: Mapping[str, Any]) -> None:
        entries = []
        for method, settings in methods.items():
            if not isinstance(settings, Mapping):
                raise TypeError(f"{method} must be a dict of settings, not {type(settings).__name__}")
            entries.append(_inlined({**plain(settings), "method": method}))
        try:
            text = json_text({"methods": entries}, "the plan")
        except InvalidArgumentError as error:
            raise FormatError(str(error)) from error
        super().__init__(self._parsed(text))

    @staticmethod
    def _parsed(text: str) -> int:
        data = _ffi.utf8(text, "the plan")
        return new_handle(_ffi.lib.da_plan_parse, data, len(data))

    @classmethod
    def _from_handle(cls, handle: int) -> Plan:
        plan = cls.__new__(cls)
        Handle.__init__(plan, handle)
        return plan

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Reads a plan, a released router file or, where there is no such file, a word such as "interval:3".

        Raises FileError, FormatError, UnsupportedError, InvalidArgumentError for a malformed word.
        """
        return cls._from_handle(new_handle(_ffi.lib.da_plan_load, _ffi.encode_path(path)))

    @classmethod
    def parse(cls, text: str | Mapping[str, Any]) -> Plan:
        """Reads a plan from JSON text, an equivalent dict, or a word; none may name files. Raises FormatError."""
        return cls._from_handle(cls._parsed(json_text(text, "the plan") if isinstance(text, Mapping) else text))

    @classmethod
    def of(cls, plan: PlanLike) -> Plan:
        """The plan that `plan` stands for: itself, the path of a file, a word, or a dict."""
        if isinstance(plan, Plan):
            return plan
        if isinstance(plan, Mapping):
            return cls.parse(plan)
        if isinstance(plan, (str, os.PathLike)):
            return cls.load(plan)
        raise TypeError(f"plan must be a Plan, a file's path, a word or a dict, not {type(plan).__name__}")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the plan as JSON, atomically. Raises FileError."""
        _ffi.check(_ffi.lib.da_plan_save, self._handle, _ffi.encode_path(path))

    def describe(self, model: Model | None = None, steps: int = 0) -> dict[str, Any]:
        """The plan as a dict; with a model, what the plan would do to it in `steps` steps (0: the default of `Session.sample`).

        Then the dict has "sites", "timesteps", "grid", "saved", "flops" and "baseline_flops"; of a plan that divides the network
        "components", each with "modules", "share" and what it "receives" of others in a call.
        Raises IncompatibleError when the plan does not fit the model.
        """
        handle = None if model is None else model._handle
        steps = _arrays.integer(steps, "steps")
        return _ffi.facts_of(_ffi.lib.da_plan_describe, self._handle, handle, steps)

    def grid(self, model: Model, steps: int = 0) -> npt.NDArray[np.int8]:
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
