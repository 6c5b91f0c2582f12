"""Pictures of routers: scores, how they came to be, what thresholds give. Public through `diffaccel.plots`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from ._plot_style import ACCENT, FAINT, INK, SECOND, blank, dress, values_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]


def _is_full(index: int, period: int) -> bool:
    return index % period == period - 1


def router(found: Mapping[str, Any]) -> Figure:
    """The scores of a router (as `read_router` gives it), sampling steps from the noisiest down; what is computed is framed. Full
    steps, of which the router has no say, are hatched."""
    from matplotlib.patches import Rectangle  # type: ignore[import-not-found, unused-ignore]

    logits = np.asarray(found["logits"], np.float64)
    threshold, period = float(found.get("threshold", 0.1)), int(found.get("period", 2))
    scores = 1 / (1 + np.exp(-logits))
    rows, columns = scores.shape
    cached = np.array([not _is_full(row, period) and row != rows - 1 for row in range(rows)])
    kept = scores > threshold
    share = 1 - kept[cached].mean() if cached.any() else 0.0
    figure, panels = blank(max(7.0, 0.16 * columns + 2.2), max(3.2, 0.2 * rows + 1.4), 1, ncols=2, sharey=True)
    image: Any = None
    for panel, (axes, name) in enumerate(zip(panels, ("attention", "MLP"))):
        part, framed = scores[::-1, panel::2], kept[::-1, panel::2]
        image = axes.imshow(part, vmin=0, vmax=1, cmap="viridis", aspect="auto", interpolation="nearest")
        for row in range(rows):
            if not cached[::-1][row]:
                axes.add_patch(Rectangle((-0.5, row - 0.5), part.shape[1], 1, facecolor="#eef1f3", edgecolor=FAINT,
                                         hatch="////", linewidth=0))
                continue
            for column in np.flatnonzero(framed[row]):
                axes.add_patch(Rectangle((column - 0.44, row - 0.42), 0.88, 0.84, fill=False, edgecolor="white", linewidth=1.1))
        mine = kept[:, panel::2][cached]
        removed = 1 - mine.mean() if mine.size else 0.0
        dress(axes, f"{name}: {removed:.0%} reused", x="block", grid="")
        axes.spines[["left", "bottom"]].set_visible(False)
    panels[0].set_ylabel("sampling step, noisiest first", color=INK)
    ticks = np.arange(0, rows, max(1, math.ceil(rows / 20)))
    panels[0].set_yticks(ticks, [str(tick + 1) for tick in ticks])
    figure.colorbar(image, ax=list(panels), label="score", shrink=0.9, pad=0.02).outline.set_visible(False)
    figure.suptitle(f"Router of {rows} steps, threshold {threshold:g}: {share:.0%} of the sub-layers of cached steps reused",
                    x=0.01, ha="left", fontsize=11, color=INK)
    figure.supxlabel("white frame: computed; hatched: full step", fontsize=9, color=INK)
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
    figure, (top, bottom) = blank(8, max(4.2, 0.17 * len(names) + 2.9), 2, sharex=True, height_ratios=(2.2, 1))
    image = top.imshow(grid, vmin=0, vmax=1, cmap="viridis", aspect="auto", interpolation="nearest",
                       extent=(edges[0], edges[-1], len(names) - 0.5, -0.5))
    top.set_facecolor("#eef1f3")
    ticks = np.arange(0, len(names), max(1, math.ceil(len(names) / 15)))
    top.set_yticks(ticks, [str(names[tick]) for tick in ticks])
    dress(top, "Share of sub-layers reused, by row of the router (0: the cleanest step)", y="row", grid="")
    figure.colorbar(image, ax=[top, bottom], label="share reused", shrink=0.9, pad=0.02).outline.set_visible(False)
    steps, removed = values_of(events, "step"), values_of(events, "terms", "removed")
    bottom.plot(steps, removed, color=ACCENT, linewidth=1.8)
    bottom.set_ylim(-0.02, 1.02)
    last = f": {removed[-1]:.0%}" if math.isfinite(removed[-1]) else ""
    dress(bottom, f"Of all cached steps{last}", x="step", y="share reused")
    return figure


def sweep(rows: Sequence[Mapping[str, float]]) -> Figure:
    """What thresholds give (`diffaccel.learn.sweep`, or the rows of `diffaccel plan sweep`): share removed and error by threshold, and
    speed-up against error."""
    if not rows:
        raise ValueError("no thresholds")
    rows = sorted(rows, key=lambda row: row["threshold"])
    threshold, removed, ideal, speedup, error = (
        np.array([row[name] for row in rows], np.float64) for name in ("threshold", "removed", "ideal", "speedup", "error"))
    figure, (left, right) = blank(10, 4.2, 1, ncols=2)
    left.plot(threshold, removed, "o-", color=ACCENT, markersize=4, label="share of sub-layers removed")
    left.set_ylim(bottom=0)
    other = left.twinx()
    other.plot(threshold, error, "s--", color=SECOND, markersize=4, label="error")
    other.set_ylim(bottom=0)
    other.spines[["top"]].set_visible(False)
    other.set_ylabel("error (RMS of final states)", color=SECOND)
    other.tick_params(axis="y", colors=SECOND)
    dress(left, "By threshold", "threshold", "share removed")
    left.yaxis.label.set_color(ACCENT)
    left.tick_params(axis="y", colors=ACCENT)
    right.plot(error, ideal, "o-", color=ACCENT, markersize=5, label="ideal (arithmetic)")
    right.plot(error, speedup, "D", color=SECOND, markersize=5, label="measured")
    right.vlines(error, np.minimum(ideal, speedup), np.maximum(ideal, speedup), color=FAINT, linewidth=1, zorder=0)
    right.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    # Thresholds that decide alike get one label.
    alike: dict[tuple[float, float], list[int]] = {}
    for index, point in enumerate(zip(error.round(9), ideal.round(9))):
        alike.setdefault(point, []).append(index)
    for same in alike.values():
        text = f"{threshold[same[0]]:g}" + (f"–{threshold[same[-1]]:g}" if len(same) > 1 else "")
        right.annotate(text, (error[same[0]], ideal[same].max()), xytext=(-5, 6), textcoords="offset points", ha="right", fontsize=8,
                       color=INK)
    right.margins(x=0.1, y=0.1)
    dress(right, "Speed-up against error, thresholds as labels", "error (RMS of final states)", "speed-up")
    right.legend(frameon=False, fontsize=9, loc="lower right")
    return figure
