"""Files of learning, read for plots and for whoever wants their figures: logs, routers, saved states."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

import numpy as np


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The events of a log, by step. Of a step that was made twice, after a run was resumed from an older state, the later event counts;
    a last line that is not complete yet is left out. Raises ValueError when nothing is left."""
    events: dict[int, dict[str, Any]] = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                event = json.loads(line)
                events[int(event["step"])] = event
            except (ValueError, KeyError, TypeError):
                continue
    if not events:
        raise ValueError(f"{path}: no events of a training")
    return [events[step] for step in sorted(events)]


def read_router(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The router of a plan file or a released router file: {"logits": array [steps, 2 * depth], "threshold", "period"}."""
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    for entry in document.get("methods", [document]):
        if "logits" in entry:
            return {"logits": np.asarray(entry["logits"], np.float32), "period": int(entry.get("period", 2)),
                    "threshold": float(entry.get("threshold", entry.get("official_threshold", 0.1)))}
    raise ValueError(f"{path}: no learned router")


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A saved state of learning: {"method", "step", "settings", "tensors"}; tensors are float32 arrays, read when they are used."""
    with open(path, "rb") as file:
        start = file.read(8)
        (length,) = struct.unpack("<Q", start) if len(start) == 8 else (0,)
        if not 2 <= length <= 1 << 27:
            raise ValueError(f"{path}: no saved state of learning")
        header = json.loads(file.read(length))
    body = np.memmap(path, np.uint8, "r")[8 + length:]
    facts = header.pop("__metadata__", {})
    if not facts.get("format", "").startswith("diffaccel learning state"):
        raise ValueError(f"{path}: no saved state of learning")
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        tensors[name] = body[start:end].view("<f4").reshape(entry["shape"])
    return {"method": facts["method"], "step": int(facts["step"]), "settings": json.loads(facts["settings"]), "tensors": tensors}
