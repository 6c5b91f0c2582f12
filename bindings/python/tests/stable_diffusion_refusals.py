"""What opening and using a folder that is none ends with."""

import json

import numpy as np
from stable_diffusion_cases import PROMPT

import diffaccel

SMALL = dict(prompt=PROMPT, steps=2, height=32, width=32)


def refusal(folder, settings=None, request=None):
    """The error that opening, or then sampling, ends with; None when a picture is made. After it a good folder still works."""
    try:
        with diffaccel.Model(folder, **(settings or {})) as model, model.session(threads=1) as session:
            result = session.sample(**{**SMALL, **(request or {})})
            assert np.isfinite(result.latents).all()
    except diffaccel.DiffAccelError as error:
        assert len(str(error)) > 20
        return error
    return None


def edit(path, **changes):
    """Changes members of a JSON file; None takes one out."""
    members = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in members.items() if value is not ...}))
