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

from .training_files import read_log, read_router, read_state

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["blocks", "gates", "loss", "main", "read_log", "read_router", "read_state", "router", "router_history", "sweep"]

_INK, _ACCENT, _SECOND, _FAINT = "#22313f", "#0b6e99", "#d1495b", "#c9d3da"


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


def _column(log: Sequence[Mapping[str, Any]], *names: str) -> np.ndarray:
    def number(event: Any) -> float:
        for name in names:
            event = event.get(name) if isinstance(event, Mapping) else None
        return math.nan if event is None else float(event)

    return np.array([number(event) for event in log])


# ---- figures ----


def _figure(width: float = 8.0, height: float = 4.5, rows: int = 1, **grid: Any) -> tuple[Figure, Any]:
    try:
        from matplotlib.figure import Figure as Made
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install diffaccel[plot]") from error
    figure = Made(figsize=(width, height), dpi=130, layout="constrained")
    return figure, figure.subplots(rows, **grid)


def _dress(axes: Axes, title: str = "", x: str = "", y: str = "", grid: str = "both") -> None:
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_xlabel(x, color=_INK)
    axes.set_ylabel(y, color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(axis=grid, color=_FAINT, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)


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
    figure, (top, bottom) = _figure(8.5, 5.5, 2, sharex=True, height_ratios=(3, 1.4))
    # Of n rows each is seen every n-th time.
    own = smoothing ** max(1, len(from_rows) // 2)
    for axes, name, color in ((top, "loss", _ACCENT), (bottom, "gradient_norm", _SECOND)):
        for index, (row, events) in enumerate(from_rows):
            tone = color if row is None else _tones(index / max(1, len(from_rows) - 1))
            steps, values = _column(events, "step"), _column(events, name)
            axes.plot(steps, values, ".", markersize=4, color=tone, alpha=0.3, markeredgewidth=0)
            axes.plot(steps, _smoothed(values, own), color=tone, linewidth=1.8, label=f"row {row}")
        values = _column(log, name)
        finite = values[np.isfinite(values) & (values > 0)]
        if len(finite) and finite.max() > 20 * np.median(finite):
            axes.set_yscale("log")
    last, total = int(log[-1]["step"]), int(log[-1].get("steps") or 0)
    title = f"Loss, {last:,}" + (f" of {total:,}" if total > last else "") + " steps"
    if len(from_rows) == 1:
        title += f": {_smoothed(_column(log, 'loss'), smoothing)[-1]:.4g}"
    else:
        shown = top.get_legend_handles_labels()
        every = max(1, math.ceil(len(from_rows) / 24))
        top.legend(shown[0][::-every], shown[1][::-every], loc="upper left", bbox_to_anchor=(1.0, 1.02), fontsize=8, frameon=False)
    _dress(top, title, y="loss")
    _dress(bottom, x="step", y="gradient norm")
    figure.align_ylabels()
    return figure


def _tones(share: float) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](0.92 * share)


def _is_full(index: int, period: int) -> bool:
    return index % period == period - 1


def router(found: Mapping[str, Any]) -> Figure:
    """The scores of a router (as `read_router` gives it), sampling steps from the noisiest down; what is computed is framed. Full
    steps, of which the router has no say, are hatched."""
    from matplotlib.patches import Rectangle

    logits = np.asarray(found["logits"], np.float64)
    threshold, period = float(found.get("threshold", 0.1)), int(found.get("period", 2))
    scores = 1 / (1 + np.exp(-logits))
    rows, columns = scores.shape
    cached = np.array([not _is_full(row, period) and row != rows - 1 for row in range(rows)])
    kept = scores > threshold
    share = 1 - kept[cached].mean() if cached.any() else 0.0
    figure, panels = _figure(max(7.0, 0.16 * columns + 2.2), max(3.2, 0.2 * rows + 1.4), 1, ncols=2, sharey=True)
    image = None
    for panel, (axes, name) in enumerate(zip(panels, ("attention", "MLP"))):
        part, framed = scores[::-1, panel::2], kept[::-1, panel::2]
        image = axes.imshow(part, vmin=0, vmax=1, cmap="viridis", aspect="auto", interpolation="nearest")
        for row in range(rows):
            if not cached[::-1][row]:
                axes.add_patch(Rectangle((-0.5, row - 0.5), part.shape[1], 1, facecolor="#eef1f3", edgecolor=_FAINT,
                                         hatch="////", linewidth=0))
                continue
            for column in np.flatnonzero(framed[row]):
                axes.add_patch(Rectangle((column - 0.44, row - 0.42), 0.88, 0.84, fill=False, edgecolor="white", linewidth=1.1))
        mine = kept[:, panel::2][cached]
        removed = 1 - mine.mean() if mine.size else 0.0
        _dress(axes, f"{name}: {removed:.0%} reused", x="block", grid="")
        axes.spines[["left", "bottom"]].set_visible(False)
    panels[0].set_ylabel("sampling step, noisiest first", color=_INK)
    ticks = np.arange(0, rows, max(1, math.ceil(rows / 20)))
    panels[0].set_yticks(ticks, [str(tick + 1) for tick in ticks])
    figure.colorbar(image, ax=list(panels), label="score", shrink=0.9, pad=0.02).outline.set_visible(False)
    figure.suptitle(f"Router of {rows} steps, threshold {threshold:g}: {share:.0%} of the sub-layers of cached steps reused",
                    x=0.01, ha="left", fontsize=11, color=_INK)
    figure.supxlabel("white frame: computed; hatched: full step", fontsize=9, color=_INK)
    return figure


def router_history(log: Sequence[Mapping[str, Any]], threshold: float = 0.1) -> Figure:
    """How a router came to be: the share of sub-layers reused, for each row as it was when last trained, and over all rows."""
    events = [event for event in log if "row" in event.get("terms", {}) and event.get("confidences")]
    if not events:
        raise ValueError("the log has no events of a router")
    names = sorted({int(event["terms"]["row"]) for event in events}, reverse=True)
    # Columns of equal width in steps; each row keeps what it had until it is seen again.
    bins = min(400, len(events))
    edges = np.linspace(events[0]["step"] - 1, events[-1]["step"], bins + 1)
    grid = np.full((len(names), bins), np.nan)
    now = np.full(len(names), np.nan)
    position = 0
    for column in range(bins):
        while position < len(events) and events[position]["step"] <= edges[column + 1] + 1e-9:
            event = events[position]
            now[names.index(int(event["terms"]["row"]))] = np.mean(np.asarray(event["confidences"]) <= threshold)
            position += 1
        grid[:, column] = now
    figure, (top, bottom) = _figure(8, max(4.2, 0.17 * len(names) + 2.9), 2, sharex=True, height_ratios=(2.2, 1))
    image = top.imshow(grid, vmin=0, vmax=1, cmap="viridis", aspect="auto", interpolation="nearest",
                       extent=(edges[0], edges[-1], len(names) - 0.5, -0.5))
    top.set_facecolor("#eef1f3")
    ticks = np.arange(0, len(names), max(1, math.ceil(len(names) / 15)))
    top.set_yticks(ticks, [str(names[tick]) for tick in ticks])
    _dress(top, "Share of sub-layers reused, by row of the router (0: the cleanest step)", y="row", grid="")
    figure.colorbar(image, ax=[top, bottom], label="share reused", shrink=0.9, pad=0.02).outline.set_visible(False)
    steps, removed = _column(events, "step"), _column(events, "terms", "removed")
    bottom.plot(steps, removed, color=_ACCENT, linewidth=1.8)
    bottom.set_ylim(-0.02, 1.02)
    last = f": {removed[-1]:.0%}" if math.isfinite(removed[-1]) else ""
    _dress(bottom, f"Of all cached steps{last}", x="step", y="share reused")
    return figure


def gates(log: Sequence[Mapping[str, Any]]) -> Figure:
    """How sure each group of gates is, over steps."""
    events = [event for event in log if event.get("confidences") and "row" not in event.get("terms", {})]
    if not events:
        raise ValueError("the log has no events of gates")
    values = np.array([event["confidences"] for event in events], np.float64)
    steps = _column(events, "step")
    groups = values.shape[1]
    figure, axes = _figure(8, 4.5)
    for group in range(groups):
        axes.plot(steps, values[:, group], color=_tones(group / max(1, groups - 1)), linewidth=1.3, label=f"group {group}")
    if groups > 1:
        axes.plot(steps, values.mean(1), color=_INK, linewidth=2, linestyle=(0, (4, 2)), label="mean")
    axes.set_ylim(0, 1.03)
    _dress(axes, f"Confidence of the gates: {values[-1].mean():.0%} on average, {values[-1].min():.0%} at least", "step",
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
    figure, axes = _figure(max(6.0, 0.3 * len(values) + 1.5), 3.2)
    axes.bar(range(len(values)), values, color=[_ACCENT if block in keep else _FAINT for block in range(len(values))], width=0.8)
    if values.min() > 0.5 * values.max() > 0:
        margin = (values.max() - values.min()) or values.max()
        axes.set_ylim(values.min() - 0.25 * margin, values.max() + 0.1 * margin)
    _dress(axes, f"{len(keep)} of {len(values)} blocks kept (coloured), by {described.get('rule', measure)}", "block", names[measure],
           grid="y")
    axes.set_xticks(range(len(values)))
    return figure


def sweep(rows: Sequence[Mapping[str, float]]) -> Figure:
    """What thresholds give (`diffaccel.learn.sweep`, or the rows of `diffaccel plan sweep`): share removed and error by threshold, and
    speed-up against error."""
    if not rows:
        raise ValueError("no thresholds")
    rows = sorted(rows, key=lambda row: row["threshold"])
    threshold, removed, ideal, speedup, error = (
        np.array([row[name] for row in rows], np.float64) for name in ("threshold", "removed", "ideal", "speedup", "error"))
    figure, (left, right) = _figure(10, 4.2, 1, ncols=2)
    left.plot(threshold, removed, "o-", color=_ACCENT, markersize=4, label="share of sub-layers removed")
    left.set_ylim(bottom=0)
    other = left.twinx()
    other.plot(threshold, error, "s--", color=_SECOND, markersize=4, label="error")
    other.set_ylim(bottom=0)
    other.spines[["top"]].set_visible(False)
    other.set_ylabel("error (RMS of final states)", color=_SECOND)
    other.tick_params(axis="y", colors=_SECOND)
    _dress(left, "By threshold", "threshold", "share removed")
    left.yaxis.label.set_color(_ACCENT)
    left.tick_params(axis="y", colors=_ACCENT)
    right.plot(error, ideal, "o-", color=_ACCENT, markersize=5, label="ideal (arithmetic)")
    right.plot(error, speedup, "D", color=_SECOND, markersize=5, label="measured")
    right.vlines(error, np.minimum(ideal, speedup), np.maximum(ideal, speedup), color=_FAINT, linewidth=1, zorder=0)
    right.axhline(1, color=_INK, linewidth=0.8, linestyle=":")
    # Thresholds that decide alike get one label.
    alike: dict[tuple[float, float], list[int]] = {}
    for index, point in enumerate(zip(error.round(9), ideal.round(9))):
        alike.setdefault(point, []).append(index)
    for same in alike.values():
        text = f"{threshold[same[0]]:g}" + (f"–{threshold[same[-1]]:g}" if len(same) > 1 else "")
        right.annotate(text, (error[same[0]], ideal[same].max()), xytext=(-5, 6), textcoords="offset points", ha="right", fontsize=8,
                       color=_INK)
    right.margins(x=0.1, y=0.1)
    _dress(right, "Speed-up against error, thresholds as labels", "error (RMS of final states)", "speed-up")
    right.legend(frameon=False, fontsize=9, loc="lower right")
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
