"""Pictures of what was learned, with matplotlib (pip install diffaccel[plot]).

    python -m diffaccel.plots --log train.jsonl --plan router.json --sweep sweep.json --out plots

    figure = diffaccel.plots.loss(diffaccel.plots.read_log("train.jsonl"))
    figure.savefig("loss.png")

Logs are those of `Trainer.run(log=...)` and of `diffaccel learn --log`. Each function gives a matplotlib Figure and touches no
global state of matplotlib; no window is opened.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from ._plot_style import ACCENT, FAINT, INK, SECOND, blank, dress, values_of
from ._router_plots import router, router_history, sweep
from .training_files import read_log, read_router, read_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]

__all__ = ["blocks", "gates", "loss", "main", "read_log", "read_router", "read_state", "router", "router_history", "sweep"]

# ---- what is plotted ----


def _router_of_state(state: Mapping[str, Any]) -> dict[str, Any]:
    settings = state["settings"]
    return {"logits": state["tensors"]["logits"].reshape(settings["sampling_steps"], -1),
            "threshold": settings["threshold"], "period": settings["period"]}


def _smoothed(values: np.ndarray, smoothing: float) -> np.ndarray:
    """Exponential moving average without the pull towards the start."""
    mean, weight, out = 0.0, 0.0, np.empty(len(values))
    for index, value in enumerate(values):
        if math.isfinite(value):
            mean, weight = smoothing * mean + (1 - smoothing) * value, smoothing * weight + (1 - smoothing)
        out[index] = mean / weight if weight else np.nan
    return out


# ---- figures ----


def _curves(log: Sequence[Mapping[str, Any]]) -> list[tuple[int | None, list[Mapping[str, Any]]]]:
    """The events of each row of a router, whose losses differ by orders of magnitude; or all events as one."""
    rows: dict[int | None, list[Mapping[str, Any]]] = {}
    for event in log:
        row = (event.get("terms") or {}).get("row")
        rows.setdefault(None if row is None else int(row), []).append(event)
    return sorted(rows.items(), key=lambda item: -1 if item[0] is None else item[0])


def loss(log: Sequence[Mapping[str, Any]], smoothing: float = 0.95) -> Figure:
    """Loss and gradient norm over steps, each event as a dot and the moving average as a line; of a router, a line for each row.
    `smoothing`: 0 (none) ... below 1."""
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be 0 or more and below 1, not {smoothing}")
    from_rows = _curves(log)
    figure, (top, bottom) = blank(8.5, 5.5, 2, sharex=True, height_ratios=(3, 1.4))
    # Of n rows each is seen every n-th time.
    own = smoothing ** max(1, len(from_rows) // 2)
    for axes, name, color in ((top, "loss", ACCENT), (bottom, "gradient_norm", SECOND)):
        for index, (row, events) in enumerate(from_rows):
            tone = color if row is None else _tones(index / max(1, len(from_rows) - 1))
            steps, values = values_of(events, "step"), values_of(events, name)
            axes.plot(steps, values, ".", markersize=4, color=tone, alpha=0.3, markeredgewidth=0)
            axes.plot(steps, _smoothed(values, own), color=tone, linewidth=1.8, label=f"row {row}")
        values = values_of(log, name)
        finite = values[np.isfinite(values) & (values > 0)]
        if len(finite) and finite.max() > 20 * np.median(finite):
            axes.set_yscale("log")
    last, total = int(log[-1]["step"]), int(log[-1].get("steps") or 0)
    title = f"Loss, {last:,}" + (f" of {total:,}" if total > last else "") + " steps"
    if len(from_rows) == 1:
        title += f": {_smoothed(values_of(log, 'loss'), smoothing)[-1]:.4g}"
    else:
        shown = top.get_legend_handles_labels()
        every = max(1, math.ceil(len(from_rows) / 24))
        top.legend(shown[0][::-every], shown[1][::-every], loc="upper left", bbox_to_anchor=(1.0, 1.02), fontsize=8, frameon=False)
    dress(top, title, y="loss")
    dress(bottom, x="step", y="gradient norm")
    figure.align_ylabels()
    return figure


def _tones(share: float) -> Any:
    from matplotlib import colormaps  # type: ignore[import-not-found, unused-ignore]

    return colormaps["viridis"](0.92 * share)


def gates(log: Sequence[Mapping[str, Any]]) -> Figure:
    """How sure each group of gates is, over steps."""
    events = [event for event in log if event.get("confidences") and "row" not in event.get("terms", {})]
    if not events:
        raise ValueError("the log has no events of gates")
    values = np.array([event["confidences"] for event in events], np.float64)
    steps = values_of(events, "step")
    groups = values.shape[1]
    figure, axes = blank(8, 4.5)
    for group in range(groups):
        axes.plot(steps, values[:, group], color=_tones(group / max(1, groups - 1)), linewidth=1.3, label=f"group {group}")
    if groups > 1:
        axes.plot(steps, values.mean(1), color=INK, linewidth=2, linestyle=(0, (4, 2)), label="mean")
    axes.set_ylim(0, 1.03)
    dress(axes, f"Confidence of the gates: {values[-1].mean():.0%} on average, {values[-1].min():.0%} at least", "step",
           "probability of the best choice")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False, ncols=1 + (groups > 16))
    return figure


def blocks(described: Mapping[str, Any]) -> Figure:
    """What a rule measured of each block (`Trainer.describe()`), blocks kept in colour."""
    names = {"similarity": "cosine of output and input", "change": "squared change", "loss_without": "loss without it"}
    measure = next((name for name in names if described.get(name)), None)
    if measure is None:
        raise ValueError("no rule has measured blocks")
    keep, values = set(described["keep"]), np.asarray(described[measure], np.float64)
    figure, axes = blank(max(6.0, 0.3 * len(values) + 1.5), 3.2)
    axes.bar(range(len(values)), values, color=[ACCENT if block in keep else FAINT for block in range(len(values))], width=0.8)
    if values.min() > 0.5 * values.max() > 0:
        margin = (values.max() - values.min()) or values.max()
        axes.set_ylim(values.min() - 0.25 * margin, values.max() + 0.1 * margin)
    dress(axes, f"{len(keep)} of {len(values)} blocks kept (coloured), by {described.get('rule', measure)}", "block", names[measure],
           grid="y")
    axes.set_xticks(range(len(values)))
    return figure


# ---- the command ----


def _pictures(options: argparse.Namespace) -> dict[str, Figure]:
    """Name -> figure for everything that the given files hold."""
    made: dict[str, Figure] = {}
    found = None
    if options.state:
        state = read_state(options.state)
        if state["method"] == "router":
            found = _router_of_state(state)
    if options.plan:
        found = read_router(options.plan)
    threshold = options.threshold
    if found is not None:
        if threshold is not None:
            found = {**found, "threshold": threshold}
        threshold = found["threshold"]
        made["router"] = router(found)
    if options.log:
        log = read_log(options.log)
        made["loss"] = loss(log, options.smoothing)
        if any("row" in event.get("terms", {}) for event in log):
            made["router-history"] = router_history(log, 0.1 if threshold is None else threshold)
        elif any(event.get("confidences") for event in log):
            made["gates"] = gates(log)
    if options.describe:
        with open(options.describe, encoding="utf-8") as file:
            made["blocks"] = blocks(json.load(file))
    if options.sweep:
        with open(options.sweep, encoding="utf-8") as file:
            document = json.load(file)
        made["sweep"] = sweep(document["rows"] if isinstance(document, dict) else document)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m diffaccel.plots`: writes a PNG for everything that the given files hold. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m diffaccel.plots", description="Pictures of what was learned, as PNG files.")
    parser.add_argument("--log", help="log of a training (lines of JSON)")
    parser.add_argument("--plan", help="plan file with a learned router")
    parser.add_argument("--state", help="saved state of a router's training")
    parser.add_argument("--sweep", help="JSON of diffaccel plan sweep or of learn.sweep")
    parser.add_argument("--describe", help="JSON of Trainer.describe() of pruning")
    parser.add_argument("--out", default=".", help="folder for the pictures (default: here)")
    parser.add_argument("--smoothing", type=float, default=0.95, help="of the loss, 0 (none) to below 1 (default: 0.95)")
    parser.add_argument("--threshold", type=float, help="of the router (default: the plan's, else 0.1)")
    options = parser.parse_args(arguments)
    if not any((options.log, options.plan, options.state, options.sweep, options.describe)):
        parser.error("name something to plot: --log, --plan, --state, --sweep or --describe")
    try:
        pictures = _pictures(options)
        Path(options.out).mkdir(parents=True, exist_ok=True)
        for name, figure in pictures.items():
            path = Path(options.out) / f"{name}.png"
            figure.savefig(path)
            print(path)
    except (OSError, ValueError, KeyError, ImportError) as error:
        print(f"diffaccel.plots: {error}", file=sys.stderr)
        return 1
    if not pictures:
        print("diffaccel.plots: nothing to plot in what was given (a state of weights holds no picture)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
