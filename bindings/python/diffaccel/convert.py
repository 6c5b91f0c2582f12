"""Turns published .pt and .pth files into what the library reads. Needs torch; the library itself never reads pickle.

    python -m diffaccel.convert DiT-XL-2-256x256.pt --out dit-xl
    python -m diffaccel.convert autoencoder_kl.pth --out dit-xl/vae
    python -m diffaccel.convert DDIM20_router.pt --out router.json
    python -m diffaccel.convert var_d16.pth --out var-d16
    python -m diffaccel.convert vae_ch160v4096z32.pth --out var-d16/vae

A DiT, VAR or autoencoder becomes a folder with config.json and model.safetensors, an L2C router becomes a plan. Files are read
with weights_only, so nothing in them is executed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

from ._conversion import TYPES, ConversionError, State, write_json, write_safetensors
from ._conversion_configs import VAR_BUFFERS, autoencoder_config, dit_config, var_config, vqvae_config


def load(path: str | os.PathLike[str]) -> Any:
    """Reads a .pt file safely, on the CPU. Raises ConversionError."""
    try:
        import torch  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ConversionError("reading .pt files needs torch: pip install torch") from error
    try:
        # Training scripts store their arguments; a Namespace is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds
        raise ConversionError(f"{path}: {error}") from error


def state_dict(content: Any) -> State:
    """The tensors of a checkpoint: its "ema" when it has one, else "state_dict" or "model", else itself;
    those of a VAR training run are two levels down."""
    for key in ("ema", "state_dict", "model", "trainer", "var_wo_ddp"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise ConversionError("the file holds no state dict")
    tensors = {name: value for name, value in content.items() if hasattr(value, "detach")}
    # Distributed training and combined checkpoints put a prefix before every name.
    for prefix in ("module.", "first_stage_model."):
        if any(name.startswith(prefix) for name in tensors):
            tensors = {name[len(prefix):]: value for name, value in tensors.items() if name.startswith(prefix)}
    return tensors


def router_rows(content: Any) -> list[list[float]] | None:
    """Logits of an L2C router, one row a step; None when the content is no router."""
    routers = content.get("routers", content) if isinstance(content, dict) else None
    if not isinstance(routers, dict) or not routers:
        return None
    if not all(isinstance(name, str) and re.fullmatch(r"\d+\.prob", name) for name in routers):
        return None
    rows = {int(name.split(".")[0]): value for name, value in routers.items()}
    if sorted(rows) != list(range(len(rows))):
        raise ConversionError("the router's rows are not numbered 0, 1, 2, ...")
    logits = [[float(item) for item in rows[index].detach().flatten().tolist()] for index in range(len(rows))]
    if len({len(row) for row in logits}) != 1:
        raise ConversionError("the router's rows differ in length")
    return logits


def router_plan(content: Any, threshold: float | None = None) -> dict[str, Any]:
    """An L2C plan from a router's content. The threshold defaults to the authors': 0.1 for DiT, 0.9 for U-ViT."""
    logits = router_rows(content)
    if logits is None:
        raise ConversionError("the file holds no router")
    if threshold is None:
        threshold = 0.1 if "routers" in content else 0.9
    return {"method": "l2c", "threshold": threshold, "logits": logits}


def convert(
    source: str | os.PathLike[str], out: str | os.PathLike[str], heads: int | None = None,
    threshold: float | None = None, dtype: str | None = None, scaling_factor: float = 0.18215,
) -> str:
    """Converts `source` to `out` and returns what it was: "router", "dit", "var", "vqvae" or "autoencoder_kl". Raises ConversionError."""
    content, out = load(source), Path(out)
    if router_rows(content) is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, router_plan(content, threshold))
        return "router"
    state = state_dict(content)
    try:
        if "x_embedder.proj.weight" in state:
            kind, config = "dit", dit_config(state, heads)
        elif "pos_1LC" in state:
            kind, config = "var", var_config(state)
            state = {name: value for name, value in state.items() if name not in VAR_BUFFERS}
        elif "quantize.embedding.weight" in state:
            kind, config = "vqvae", vqvae_config(state)
        elif "decoder.conv_in.weight" in state:
            state = {name: value for name, value in state.items() if not name.startswith("loss.")}
            kind, config = "autoencoder_kl", autoencoder_config(state, scaling_factor)
        else:
            raise ConversionError(f"{source}: neither a DiT, a VAR, a VQ-VAE, a KL autoencoder nor an L2C router")
    except KeyError as error:
        raise ConversionError(f"{source}: the tensor {error} is missing") from error
    out.mkdir(parents=True, exist_ok=True)
    write_safetensors(out / "model.safetensors", state, dtype)
    write_json(out / "config.json", config)
    return kind


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m diffaccel.convert", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", help=".pt or .pth file")
    parser.add_argument("--out", required=True, help="folder for a model, file for a router's plan")
    parser.add_argument("--heads", type=int, help="attention heads, for a DiT of a size that was not published")
    parser.add_argument("--threshold", type=float, help="router threshold (default: the authors')")
    parser.add_argument("--dtype", choices=sorted(TYPES), help="element type of the weights (default: as they are)")
    parser.add_argument("--scaling-factor", type=float, default=0.18215, help="of an autoencoder's latents")
    given = parser.parse_args(arguments)
    try:
        kind = convert(given.source, given.out, given.heads, given.threshold, given.dtype, given.scaling_factor)
    except (ConversionError, OSError) as error:
        print(f"diffaccel.convert: {error}", file=sys.stderr)
        return 1
    print(f"{given.out}: {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
