"""Learning accelerations: routers that skip layers, pruning that removes them, training that recovers.

    import diffaccel

    trainer = diffaccel.learn.router("model", data="train.safetensors", sampling_steps=20, steps=2000, progress=True)
    trainer.plan().save("router.json")

    trainer = diffaccel.learn.prune("model", data=(latents, labels), pattern="1:2", steps=1000)
    trainer.export("model-half")
    diffaccel.learn.finetune("model-half", data=(latents, labels), steps=1000, distillation="masked", teacher="model",
                             groups=[[1, 2]] * 6).export("model-half-tuned")

All settings are those of include/diffaccel.h, as keywords. `data` is a safetensors file with `latents` and `labels`, a pair of
`.npy` files or arrays, or a dict as the header describes. A trainer that was stopped (Ctrl-C, an exception of the callback) is attached to
the exception as `trainer`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from .errors import ShapeError
from .model import Model
from .plan import Plan
from .trainer import Trainer, TrainingEvent

__all__ = ["Trainer", "TrainingEvent", "estimate", "finetune", "prune", "router", "sweep", "trainer"]

_RUN = ("progress", "callback", "log", "log_every")
_MAKE = ("threads", "memory_limit", "conventions", "config")


def _data(data: Any, keep: list[Any]) -> dict[str, Any] | None:
    """`data` as the settings have it. Arrays go to a folder of their own that lives as long as what `keep` holds."""
    if data is None:
        return None
    if isinstance(data, Mapping):
        return {key: os.fspath(value) if hasattr(value, "__fspath__") else value for key, value in data.items()}
    if isinstance(data, (str, os.PathLike)):
        return {"path": os.fspath(data)}
    latents, labels = data
    folder: Path | None = None
    names = {}
    for name, value in (("latents", latents), ("labels", labels)):
        if isinstance(value, (str, os.PathLike)):
            names[name] = os.fspath(value)
            continue
        array = np.asarray(value)
        if name == "labels":
            array = array.astype(np.int64, casting="safe") if array.dtype.kind in "iu" else array
        elif array.dtype.kind == "f" and array.dtype.itemsize > 4:
            array = array.astype(np.float32)
        if array.ndim == 0 or (name == "labels" and array.dtype.kind not in "iu"):
            raise ShapeError(f"{name}: expected an array of {'integers' if name == 'labels' else 'samples'}")
        if folder is None:
            holder = tempfile.TemporaryDirectory(prefix="diffaccel-")
            keep.append(holder)
            folder = Path(holder.name)
        names[name] = str(folder / f"{name}.npy")
        np.save(names[name], np.ascontiguousarray(array), allow_pickle=False)
    return names


def _settings(method: str, data: Any, settings: Mapping[str, Any], keep: list[Any]) -> dict[str, Any]:
    found = {name: _plain(value) for name, value in settings.items() if value is not None}
    source = _data(data, keep)
    if source is not None:
        found["data"] = source
    return {**found, "method": method}


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def trainer(model: str | os.PathLike[str], method: str, data: Any = None, **settings: Any) -> Trainer:
    """A trainer that has made no step yet. `method` is "router", "prune" or "finetune"; `threads`, `memory_limit`, `conventions` and `config`
    are as for `Trainer`, everything else is a setting."""
    keep: list[Any] = []
    options = {name: settings.pop(name) for name in _MAKE if name in settings}
    made = Trainer(model, _settings(method, data, settings, keep), **options)
    made._keep = keep  # type: ignore[attr-defined]  # files of arrays go when the trainer does
    return made


def estimate(model: str | os.PathLike[str], method: str, data: Any = None, **settings: Any) -> dict[str, Any]:
    """The memory that `trainer` with these arguments would need, by a dry run."""
    keep: list[Any] = []
    options = {name: settings.pop(name) for name in _MAKE if name in settings}
    options.pop("memory_limit", None)
    return Trainer.estimate(model, _settings(method, data, settings, keep), **options)


def _learn(method: str, model: Any, data: Any, settings: dict[str, Any]) -> Trainer:
    run = {name: settings.pop(name) for name in _RUN if name in settings}
    made = trainer(model, method, data, **settings)
    try:
        made.run(**run)
    except BaseException as stopped:
        stopped.trainer = made  # type: ignore[attr-defined]
        raise
    return made


def router(
    model: str | os.PathLike[str], data: Any = None, *, sampling_steps: int = 20, steps: int = 20_000,
    progress: bool = False, callback: Callable[[TrainingEvent], Any] | None = None, **settings: Any,
) -> Trainer:
    """Learns a Learning-to-Cache router of a frozen DiT for so many sampling steps; `.plan()` of the result is the router.

    settings: l1 (price of computing a sub-layer), learning_rate, clamp, period, straight_through, threshold, batch, seed, label_dropout,
    trajectory ("data", or "own" with guidance and without need for data), cache_limit, recompute, state, save_every, resume; log and
    log_every as in `Trainer.run`; threads, memory_limit.
    """
    return _learn("router", model, data, {
        "sampling_steps": sampling_steps, "steps": steps, "progress": progress, "callback": callback, **settings})


def prune(
    model: str | os.PathLike[str], data: Any = None, *, progress: bool = False,
    callback: Callable[[TrainingEvent], Any] | None = None, **settings: Any,
) -> Trainer:
    """Decides which blocks of a DiT to keep; `.plan()` is the list, `.export(folder)` the pruned checkpoint.

    Learned (TinyFusion): pattern="1:2" or groups=[[kept, blocks], ...], update ("lora", "full", "gates"), rank, alpha, learning_rate, gate_rate,
    temperature, scaling, clip, average_decay, steps, batch, seed. By a rule: rule="index" (keep=[...]), "pairs", "similarity", "change",
    "sensitivity" or "random" with keep_count, steps (calibration batches), batch, calibration.
    """
    return _learn("prune", model, data, {"progress": progress, "callback": callback, **settings})


def finetune(
    model: str | os.PathLike[str], data: Any, *, steps: int = 100_000, progress: bool = False,
    callback: Callable[[TrainingEvent], Any] | None = None, **settings: Any,
) -> Trainer:
    """Trains the weights of a DiT, such as a pruned one; `.export(folder)` writes them.

    settings: learning_rate, warmup, weight_decay, clip, average_decay, batch, seed, label_dropout, start ("checkpoint", "scratch"), distillation
    ("none", "logits", "masked") with teacher, distillation_weight, ground_weight, feature_weight, masking, sigmas, layer_map or groups;
    dtype and averaged of exports.
    """
    return _learn("finetune", model, data, {"steps": steps, "progress": progress, "callback": callback, **settings})


def sweep(
    model: Model, router: Plan | Mapping[str, Any], thresholds: Sequence[float] = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9), *,
    threads: int = 0, **request: Any,
) -> list[dict[str, float]]:
    """What each threshold of a router gives: "removed" (share of sub-layers not computed), "ideal" (ratio of operations), "speedup" (by the clock,
    beside a full run of the same request) and "error" (root mean square difference of the final states from the full run's).

    request: as for `Session.sample`; steps must be the router's.
    """
    described = router.describe()["methods"][0] if isinstance(router, Plan) else dict(router)
    request = {"decode": False, **request}
    with model.session(threads=threads) as session:
        full = session.sample(**request)
        rows = []
        for threshold in thresholds:
            entry = {**{key: value for key, value in described.items() if key != "method"}, "threshold": threshold}
            with Plan(l2c=entry) as plan, model.session(plan=plan, threads=threads) as cached:
                plain = session.sample(**request)
                fast = cached.sample(**request)
            totals = fast.stats["totals"]
            sites = totals["computed"] + totals["reused"] + totals["skipped"]
            rows.append({
                "threshold": float(threshold), "removed": 1 - totals["computed"] / sites,
                "ideal": full.stats["totals"]["flops"] / totals["flops"],
                "speedup": plain.stats["seconds"] / fast.stats["seconds"],
                "error": float(np.sqrt(np.mean((fast.latents - full.latents) ** 2))),
            })
    return rows
