"""Sounds as WAV files and for notebooks, without another package."""

from __future__ import annotations

import base64
import io
import wave
from typing import Any

import numpy as np
import numpy.typing as npt


def wav(values: npt.NDArray[Any], rate: int) -> bytes:
    """One sound [values] in -1...1 as the bytes of a WAV file of 16-bit values, what `diffaccel sample` writes; beyond is cut."""
    levels = np.rint(np.clip(values, -1, 1).astype(np.float64) * 32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(levels.tobytes())
    return file.getvalue()


def player(values: npt.NDArray[Any], rate: int) -> str:
    """HTML that plays one sound in a notebook."""
    data = base64.b64encode(wav(values, rate)).decode("ascii")
    return f'<audio controls src="data:audio/wav;base64,{data}"></audio>'
