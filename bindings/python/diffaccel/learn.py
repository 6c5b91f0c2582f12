"""Training of accelerations: routers that skip layers, pruning that removes them, fine-tuning that recovers or specialises.

    import diffaccel

    trainer = diffaccel.learn.router("model", data="train.safetensors", sampling_steps=20, steps=2000, progress=True)
    trainer.plan().save("router.json")

    trainer = diffaccel.learn.prune("model", data=(latents, labels), pattern="1:2", steps=1000)
    trainer.export("model-half")
    diffaccel.learn.finetune("model-half", data=(latents, labels), steps=1000, distillation="masked", teacher="model",
                             groups=[[1, 2]] * 6).export("model-half-tuned")

    diffaccel.learn.specialise("var-d16", data=(tokens, labels), role="refiner", draft_scales=8, teacher="var-d30",
                               steps=3000).export("refiner")

All settings are those of include/diffaccel.h, as keywords; None is the default. `data` is a safetensors file with `latents` and
`labels`, a pair of `.npy` files or arrays, or a dict {"latents", "labels", "factor"} or {"path", "factor"}: latents [N,C,h,w], or
[N,2,C,h,w] with horizontally flipped copies, labels N integers. `specialise` takes "tokens" (integers [N, tokens of all scales]) or "images"
([N,3,H,W], floating-point numbers in -1...1 or bytes) in place of "latents". Arrays are written to a temporary file that the trainer
reads batch by batch and that is unlinked once the trainer exists.

All trainings take `state` (a file that the state is written to every `save_every` (100) steps, at the end and when stopped), `resume` (True:
resumes from that file if it exists) and, except for pruning by a rule, `recompute` (True: blocks are computed again in the backward pass
instead of keeping their activations). `diffaccel.describe()["training_options"]` has every option with its type, range and default.

When a run ends early - Ctrl-C, an exception of the callback, any error of the library - the exception's `trainer` is the trainer,
which is left after its last whole step: `save` it, inspect it, or continue with `run`.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from . import _arrays
from .errors import InvalidArgumentError, ShapeError
from .model import Model
from .plan import Plan, PlanLike
from .trainer import Trainer, TrainingEvent

__all__ = ["Trainer", "TrainingEvent", "estimate", "finetune", "prune", "router", "specialise", "sweep", "trainer"]

_RUN = ("progress", "callback", "log", "log_every")
_MAKE = ("threads", "memory_limit", "conventions", "config", "follow_links")


#: Shapes of what is learned from, by the number of axes.
_SHAPES = {"labels": {1: "N integers"}, "tokens": {2: "[N, tokens]"}, "images": {4: "[N,3,H,W]"},
           "latents": {4: "[N,C,h,w]", 5: "[N,2,C,h,w]"}}


def _array(name: str, value: Any) -> npt.NDArray[Any]:
    """`value` as an array that the library reads: integers as int64, states of a type that data files may have."""
    array = _arrays.integers(value, name) if name == "labels" else _arrays.as_array(value, name)
    if name in ("labels", "tokens"):
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must be integers, not {array.dtype}")
    elif array.dtype != np.uint8 and array.dtype.kind != "f":
        raise TypeError(f"{name} must be floating-point numbers or bytes, not {array.dtype}")
    if array.ndim not in _SHAPES[name]:
        raise ShapeError(f"{name}: expected {' or '.join(_SHAPES[name].values())}, found shape {array.shape}")
    return array if array.dtype == np.float16 or array.dtype.kind in "iu" else array.astype(np.float32, copy=False)


def _kind(method: str, value: Any) -> str:
    """What the first one of a pair is: files of a specialisation hold codes, arrays what their number of axes says."""
    if method != "specialise":
        return "latents"
    return "tokens" if isinstance(value, (str, os.PathLike)) or np.ndim(value) != 4 else "images"


@contextmanager
def _source(method: str, data: Any) -> Iterator[dict[str, Any] | None]:
    """`data` as the settings have it. Files that were written for arrays exist inside the block only: the library keeps them open."""
    if data is None:
        yield None
    elif isinstance(data, (str, os.PathLike)):
        yield {"path": os.fspath(data)}
    else:
        if not isinstance(data, Mapping):
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise TypeError("data must be a path, a pair (states, labels), or a dict")
            data = dict(zip((_kind(method, data[0]), "labels"), data))
        arrays = {name: _array(name, data[name]) for name in _SHAPES
                  if name in data and not isinstance(data[name], (str, os.PathLike))}
        with tempfile.TemporaryDirectory(prefix="diffaccel-") as folder:
            files = {name: Path(folder) / f"{name}.npy" for name in arrays}
            for name, array in arrays.items():
                np.save(files[name], np.ascontiguousarray(array), allow_pickle=False)
            yield {**data, **files}


def _settings(method: str, source: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in settings.items() if value is not None}
    for name in ("method", *_RUN):
        if name in found:
            raise TypeError(f"{name!r} is not a setting of a trainer")
    return {**found, **({} if source is None else {"data": source}), "method": method}


def _split(settings: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Takes the arguments of these names out of `settings`."""
    return {name: settings.pop(name) for name in names if name in settings}


def trainer(model: str | os.PathLike[str], method: str, data: Any = None, **settings: Any) -> Trainer:
    """A trainer that has made no step yet. `method` is "router", "prune", "finetune" or "specialise"; `threads`, `memory_limit`, `conventions`,
    `config` and `follow_links` are as for `Trainer`, everything else is a setting."""
    options = _split(settings, _MAKE)
    with _source(method, data) as source:
        return Trainer(model, _settings(method, source, settings), **options)


def estimate(model: str | os.PathLike[str], method: str, data: Any = None, **settings: Any) -> dict[str, Any]:
    """The memory that `trainer` with these arguments would need, found by a dry run."""
    options = _split(settings, _MAKE)
    options.pop("memory_limit", None)
    # A state that is there already is no matter for an estimate.
    _split(settings, ("state", "resume", "save_every"))
    with _source(method, data) as source:
        return Trainer.estimate(model, _settings(method, source, settings), **options)


def _learn(method: str, model: Any, data: Any, settings: dict[str, Any]) -> Trainer:
    run = _split(settings, _RUN)
    made = trainer(model, method, data, **settings)
    try:
        made.run(**run)
    except BaseException as stopped:
        try:
            stopped.trainer = made  # type: ignore[attr-defined]
        except AttributeError:
            pass  # an exception of the callback's own without room for attributes
        raise
    return made


def router(
    model: str | os.PathLike[str], data: Any = None, *, sampling_steps: int | None = None, steps: int | None = None,
    progress: bool = False, callback: Callable[[TrainingEvent], Any] | None = None, **settings: Any,
) -> Trainer:
    """Learns a Learning-to-Cache router of a frozen DiT, U-ViT or U-Net for `sampling_steps` steps; `.plan()` of the result is the router.

    settings: l1 (l1 penalty on computing a sub-layer), learning_rate, clamp, period, straight_through, threshold, batch, seed, label_dropout,
    trajectory ("data", or "own" with guidance and guidance_channels, and without need for data), cache_limit, recompute, state, save_every, resume; log and
    log_every as in `Trainer.run`; threads, memory_limit. Of a U-Net (a pipeline's folder, or its unet), whose labels are numbers of prompts: prompts (a safetensors file with
    prompt_embeds [P,t,D], and negative_prompt_embeds [1,t,D] for no prompt; of SDXL pooled_prompt_embeds and time_ids too).
    """
    return _learn("router", model, data, {
        "sampling_steps": sampling_steps, "steps": steps, "progress": progress, "callback": callback, **settings})


def prune(
    model: str | os.PathLike[str], data: Any = None, *, progress: bool = False,
    callback: Callable[[TrainingEvent], Any] | None = None, **settings: Any,
) -> Trainer:
    """Decides which blocks of a DiT to keep; `.plan()` is the list, `.export(folder)` the pruned checkpoint.

    Learned (TinyFusion): pattern="1:2" or groups=[[kept, blocks], ...], update ("lora", "full", "gates"), rank, alpha, learning_rate, gate_rate,
    temperature, scaling, clip, average_decay, steps, batch, seed, label_dropout. By a rule: rule="index" (keep=[...]), "pairs", "similarity", "change",
    "sensitivity" or "random" with keep_count, steps (calibration batches), batch, calibration.
    """
    return _learn("prune", model, data, {"progress": progress, "callback": callback, **settings})


def finetune(
    model: str | os.PathLike[str], data: Any, *, steps: int | None = None, progress: bool = False,
    callback: Callable[[TrainingEvent], Any] | None = None, **settings: Any,
) -> Trainer:
    """Trains the weights of a DiT, such as a pruned one; `.export(folder)` writes them.

    settings: learning_rate, warmup, weight_decay, clip, average_decay, batch, seed, label_dropout, start ("checkpoint", "scratch"), distillation
    ("none", "logits", "masked") with teacher, distillation_weight, ground_weight, feature_weight, masking, sigmas, layer_map or groups;
    dtype and averaged of exports.
    """
    return _learn("finetune", model, data, {"steps": steps, "progress": progress, "callback": callback, **settings})


def specialise(
    model: str | os.PathLike[str], data: Any, *, role: str, draft_scales: int, steps: int | None = None, progress: bool = False,
    callback: Callable[[TrainingEvent], Any] | None = None, **settings: Any,
) -> Trainer:
    """Fine-tunes a VAR for its role in collaborative decoding, where a drafter makes the first `draft_scales` scales and a refiner
    the others; `.export(folder)` writes it.

    role: "drafter" learns the codes of the first scales, which are all it sees; "refiner" learns the distribution of `teacher`, the
    folder of another VAR, on the other scales. data: (tokens, labels), (images, labels), a safetensors file with such tensors, or a
    dict; images are encoded by the VQ-VAE again each time.
    settings: for a refiner alpha (1: weight of the divergence, cross-entropy has the rest) and temperature (1); label_smoothing,
    learning_rate, warmup, weight_decay, clip, average_decay, batch, seed, label_dropout, recompute; vae (folder of the VQ-VAE where
    neither model nor teacher has one); dtype and averaged of exports; state, save_every, resume; log and log_every as in
    `Trainer.run`; threads, memory_limit.
    """
    return _learn("specialise", model, data, {
        "role": role, "draft_scales": draft_scales, "steps": steps, "progress": progress, "callback": callback, **settings})


def sweep(
    model: Model, router: PlanLike, thresholds: Sequence[float] = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9), *,
    threads: int = 0, repeat: int = 3, **request: Any,
) -> list[dict[str, float]]:
    """What each threshold of a router gives, one dict per threshold: "threshold", "removed" (share of all sub-layers that are not computed),
    "ideal" (ratio of the arithmetic), "speedup" (in time, against full runs of the same request that alternate with it; medians
    of `repeat` runs of both) and "error" (root mean square difference of the final states from the full run's).

    request: as for `Session.sample`; steps are the router's. Raises InvalidArgumentError for a plan without a learned router.
    """
    turns = _arrays.integer(repeat, "repeat")
    if turns < 1:
        raise InvalidArgumentError(f"repeat must be at least 1, found {turns}")
    described = dict(router) if isinstance(router, Mapping) and "logits" in router else next(
        (entry for entry in Plan.of(router).describe()["methods"] if "logits" in entry), {})
    if "logits" not in described:
        raise InvalidArgumentError("a sweep needs a plan with a learned router")
    entry = {key: value for key, value in described.items() if key not in ("method", "policy", "seed")}
    request = {"decode": False, "steps": len(entry["logits"]), **request}
    rows = []
    with model.session(threads=threads) as plain:
        full = plain.sample(**request)
        for threshold in thresholds:
            with Plan(l2c={**entry, "threshold": _arrays.real(threshold, "thresholds")}) as plan, model.session(plan=plan, threads=threads) as cached:
                fast = cached.sample(**request)
                seconds = np.array([[session.sample(**request).stats["seconds"] for session in (plain, cached)]
                                    for _ in range(turns)])
            totals = fast.stats["totals"]
            sites = totals["computed"] + totals["reused"] + totals["skipped"]
            slow, quick = np.median(seconds, axis=0)
            rows.append({
                "threshold": float(threshold), "removed": 1 - totals["computed"] / sites,
                "ideal": full.stats["totals"]["flops"] / totals["flops"], "speedup": float(slow / quick),
                "error": float(np.sqrt(np.mean((fast.latents - full.latents) ** 2))),
            })
    return rows
