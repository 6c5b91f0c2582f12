"""How plots look, and figures of logs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Mapping, Sequence

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # type: ignore[import-not-found, unused-ignore]
    from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]

INK, ACCENT, SECOND, FAINT = "#22313f", "#0b6e99", "#d1495b", "#c9d3da"


def blank(width: float = 8.0, height: float = 4.5, rows: int = 1, **grid: Any) -> tuple[Figure, Any]:
    """A figure with its axes; no window, no global state. Raises ImportError without matplotlib."""
    try:
        from matplotlib.figure import Figure as Made  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install diffaccel[plot]") from error
    figure = Made(figsize=(width, height), dpi=130, layout="constrained")
    return figure, figure.subplots(rows, **grid)


def dress(axes: Axes, title: str = "", x: str = "", y: str = "",
          grid: Literal["both", "x", "y", ""] = "both") -> None:
    """Titles and quiet lines."""
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(axis=grid, color=FAINT, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)


def values_of(log: Sequence[Mapping[str, Any]], *names: str) -> np.ndarray:
    """The number under `names`, one inside the other, of each event; NaN where it is missing."""
    def number(event: Any) -> float:
        for name in names:
            event = event.get(name) if isinstance(event, Mapping) else None
        return math.nan if event is None else float(event)

    return np.array([number(event) for event in log])
