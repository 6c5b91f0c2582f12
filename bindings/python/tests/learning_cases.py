"""Data, a teacher and one training of each kind: what the tests of learning share."""

from pathlib import Path

import numpy as np
from conftest import write_safetensors

COUNT = 24


def patterns(count=COUNT, seed=0, channels=4, side=8):
    """States whose class can be seen, so that there is something to learn."""
    g = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    shapes = np.random.default_rng(99).standard_normal((10, channels, side, side))
    states = shapes[labels] + 0.1 * g.standard_normal((count, channels, side, side))
    return states.astype(np.float32), labels


SMALL = dict(batch=4, threads=2)
#: One training of each kind: method and settings.
KINDS = {
    "router": ("router", dict(sampling_steps=6, steps=6, learning_rate=0.05)),
    "router, straight through, period 3": ("router", dict(sampling_steps=7, steps=6, period=3, straight_through=0.5)),
    "router, own trajectory": ("router", dict(sampling_steps=6, steps=6, trajectory="own", guidance=2.0)),
    "router, recomputing": ("router", dict(sampling_steps=6, steps=6, recompute=True)),
    "gates, lora": ("prune", dict(pattern="1:3", steps=6, rank=2)),
    "gates, full": ("prune", dict(groups=[[1, 1], [1, 2]], steps=6, update="full")),
    "gates alone": ("prune", dict(pattern="2:3", steps=6, update="gates")),
    "rule": ("prune", dict(rule="similarity", keep_count=2, steps=4)),
    "sensitivity": ("prune", dict(rule="sensitivity", keep_count=2, steps=4)),
    "weights": ("finetune", dict(steps=6, learning_rate=1e-3, warmup=2)),
    "weights, outputs of a teacher": ("finetune", dict(steps=6, distillation="logits", teacher=True)),
    "weights, features of a teacher": ("finetune", dict(steps=6, distillation="masked", teacher=True, groups=[[1, 2]] * 3)),
}


def settings_of(kind, teacher):
    method, settings = KINDS[kind]
    if settings.get("teacher"):
        settings = {**settings, "teacher": teacher}
    return method, {**SMALL, **settings}


def state_bytes(trainer, path):
    trainer.save(path)
    return Path(path).read_bytes()


def write_data(path, states, labels):
    write_safetensors(path, {"latents": states, "labels": labels.astype(np.int64)})
