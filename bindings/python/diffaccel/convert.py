"""Turns published and trained checkpoints into folders that the library reads: .pt, .pth, .ckpt and .bin files, safetensors that need
mending, and whole folders of them.

    python -m diffaccel.convert DiT-XL-2-256x256.pt --out dit-xl
    python -m diffaccel.convert autoencoder_kl.pth --out dit-xl/vae
    python -m diffaccel.convert SiT-XL-2-256.pt --family sit --out sit-xl
    python -m diffaccel.convert imagenet256_uvit_huge.pth --out uvit-h
    python -m diffaccel.convert DDIM20_router.pt --out router.json
    python -m diffaccel.convert var_d16.pth --out var-d16
    python -m diffaccel.convert vae_ch160v4096z32.pth --out var-d16/vae
    python -m diffaccel.convert checkpoint-last.pth --out mar-b
    python -m diffaccel.convert kl16.ckpt --out mar-b/vae
    python -m diffaccel.convert audioldm2-full.pth --tokenizer audioldm2 --out audioldm2
    python -m diffaccel.convert LLaDA-8B-Base --out llada           a folder with config.json and pytorch_model*.bin

A DiT, SiT, U-ViT, VAR, MAR, autoencoder or language model becomes a folder with config.json and model.safetensors, an L2C router becomes a plan, AudioLDM
or AudioLDM 2 a folder with all parts of a pipeline. What was assumed is said, and what was written has been opened by the library before success is reported. Nothing in a file is executed, and
torch is needed for files of PyTorch before version 1.6 only.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, Callable

from . import _audio_checkpoints, _sources, _state_dicts
from ._conversion import TYPES, ConversionError, FileTensor, State, write_json
from ._conversion_configs import VAR_BUFFERS, autoencoder_config, dit_config, mar_config, uvit_config, var_config, vqvae_config
from ._safetensors import write_safetensors
from ._sources import Source

__all__ = ["ConversionError", "convert", "load", "main", "router_plan", "router_rows"]


def load(path: str | os.PathLike[str]) -> Any:
    """What a file holds: containers, numbers, texts, and tensors with `kind`, `shape` and `values()`. Raises ConversionError."""
    return _sources.content(Path(path))


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
    if not all(isinstance(row, FileTensor) and row.is_float for row in rows.values()):
        raise ConversionError("the router's rows are no tensors")
    logits = [[float(item) for item in rows[index].values().flatten().tolist()] for index in range(len(rows))]
    if not all(math.isfinite(item) for row in logits for item in row):
        raise ConversionError("the router's rows hold NaN or infinity")
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
    threshold: float | None = None, dtype: str | None = None, scaling_factor: float | None = None, *,
    null_class: bool | None = None, norm_groups: int | None = None, take: str | None = None, drop: list[str] | None = None,
    family: str | None = None, tokenizer: str | os.PathLike[str] | None = None, upsample_rates: list[int] | None = None,
    say: Callable[[str], None] | None = None,
) -> str:
    """Converts `source` to `out` and returns what it was: "router", "dit", "sit", "uvit", "var", "mar", "vqvae", "autoencoder_kl", "llada",
    "dream", "audioldm" or "pipeline".

    source: a file, or a folder of weights with config.json, also that of a diffusers pipeline.
    out: a folder, or the plan's file for a router. What it holds under the same names is replaced once all is well.
    heads, norm_groups, scaling_factor: what shapes do not tell.
    threshold: of a router.
    dtype: element type of the weights, "f32", "f16" or "bf16"; None keeps each tensor's own.
    null_class: whether the last row of a class table stands for no class; None assumes it of a DiT, a SiT and ImageNet's U-ViTs.
    family: "dit" or "sit", whose tensors are called alike; None assumes a DiT.
    tokenizer: AudioLDM: a folder with the tokenizers of a pipeline (`tokenizer`, and `tokenizer_2` of AudioLDM 2), which are copied: original
        checkpoints have none.
    upsample_rates: AudioLDM: of a vocoder that was not published.
    take: container or prefix of names to take, where there are several.
    drop: patterns (as for file names) of tensors to leave out.
    say: is told what was assumed and left out; None makes warnings of it.

    Raises ConversionError, and leaves nothing behind then.
    """
    source, out, say = Path(source), Path(out), say or _warn
    if source.is_dir() and (source / "model_index.json").is_file():
        return _pipeline(source, out, dtype, say)
    try:
        opened = Source(source)
        if router_rows(opened.content) is not None:
            return _router(opened.content, out, threshold)
        if (state := _state_dicts.unwrapped(opened.content)) and _audio_checkpoints.holds_audio(state):
            return _audio(state, out, dtype, Path(tokenizer) if tokenizer else None, norm_groups, upsample_rates, heads, say)
        choice = _state_dicts.choose(opened.content, take, drop or [], say)
        if family not in (None, "dit", "sit") or (family and (choice.kind != "dit" or opened.config)):
            raise ConversionError("--family: dit or sit, of weights without a config.json that may be either")
        config = None if opened.config else _config(choice, heads, null_class, scaling_factor, norm_groups, family, say)
        if null_class is not None and choice.kind not in ("dit", "uvit"):
            raise ConversionError("--no-null-class: only class tables of DiT, SiT and U-ViT can be without a row for no class")
        state = {name: tensor for name, tensor in choice.state.items() if name not in VAR_BUFFERS}
        if choice.kind == "autoencoder_kl":
            state = {name: tensor for name, tensor in state.items() if not name.startswith("loss.")}
        state = _state_dicts.weights(state, say)
        return _written(state, config, opened, out, dtype)
    except KeyError as error:
        raise ConversionError(f"{source}: the tensor {error} is missing") from None
    except (ValueError, IndexError, ArithmeticError) as error:
        raise ConversionError(f"{source}: shapes that no such network has ({error})") from None
    except ConversionError as error:
        raise ConversionError(str(error) if str(source) in str(error) else f"{source}: {error}") from None


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)


def _config(
    choice: _state_dicts.Choice, heads: int | None, null_class: bool | None, scaling_factor: float | None, groups: int | None,
    family: str | None, say: Callable[[str], None],
) -> dict[str, Any]:
    if choice.kind == "dit":
        return dit_config(choice.state, heads, null_class, say, family)
    if choice.kind == "uvit":
        return uvit_config(choice.state, heads, null_class, say)
    if choice.kind == "var":
        return var_config(choice.state, say)
    if choice.kind == "mar":
        return mar_config(choice.state, heads, say)
    if choice.kind == "vqvae":
        return vqvae_config(choice.state)
    if choice.kind == "autoencoder_kl":
        return autoencoder_config(choice.state, scaling_factor, groups, say)
    raise ConversionError(f"the weights of a {choice.kind} model need their config.json: convert the folder that holds both")


def _router(content: Any, out: Path, threshold: float | None) -> str:
    from .plan import Plan

    plan = router_plan(content, threshold)
    _library(lambda: Plan.parse(plan).close(), "the plan")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, plan)
    return "router"


def _library(use: Callable[[], Any], what: str) -> Any:
    """What `use` gives; the library's refusal as a ConversionError."""
    from .errors import DiffAccelError

    try:
        return use()
    except DiffAccelError as error:
        raise ConversionError(f"{what} would not open, so nothing was written: {error}") from None


def _written(state: State, config: dict[str, Any] | None, source: Source, out: Path, dtype: str | None) -> str:
    """Writes the folder beside its place, opens it, and moves its files there; returns the family. Without `config` the source's own
    file is taken as it is."""
    from .model import Model

    if out.exists() and not out.is_dir():
        raise ConversionError(f"{out}: a file; a model becomes a folder")
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    done = False
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.parent) as folder:
            made = Path(folder)
            write_safetensors(made / "model.safetensors", state, dtype)
            for path in (*source.companions, *([source.config] if source.config else [])):
                shutil.copyfile(path, made / path.name)
            if config is not None:
                write_json(made / "config.json", config)
            # A VQ-VAE alone does not know its scales; any will do to see that its tensors are whole.
            scales = {"patch_nums": [1, 2]}
            tried = {**config, "model": {**config["model"], **scales}} if config and config.get("family") == "vqvae" else None
            with _library(lambda: Model(made, config=tried), "what was converted") as model:
                family = str(model.family)
            out.mkdir(exist_ok=True)
            for path in sorted(made.iterdir(), key=lambda path: path.name == "config.json"):
                os.replace(path, out / path.name)
        done = True
    finally:
        for made_here in missing if not done else []:
            if made_here.is_dir() and not any(made_here.iterdir()):
                made_here.rmdir()
    return family


def _about(name: str, say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: say(f"{name}: {text}")


def _pipeline(source: Path, out: Path, dtype: str | None, say: Callable[[str], None]) -> str:
    """Converts the networks of a diffusers pipeline and takes its other files along."""
    parts = [name for name in ("transformer", "vae") if (source / name).is_dir()]
    if "transformer" not in parts:
        raise ConversionError(f"{source}: a pipeline without a transformer; only DiT pipelines can be converted")
    if out.exists():
        raise ConversionError(f"{out}: there already; name a new folder for a pipeline")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.parent) as folder:
        made = Path(folder) / "made"
        made.mkdir()
        for name in parts:
            convert(source / name, made / name, dtype=dtype, say=_about(name, say))
        shutil.copyfile(source / "model_index.json", made / "model_index.json")
        if (source / "scheduler").is_dir():
            shutil.copytree(source / "scheduler", made / "scheduler")
        from .model import Model

        _library(lambda: Model(made).close(), "the pipeline")
        os.replace(made, out)
    return "pipeline"


def _audio(
    state: State, out: Path, dtype: str | None, tokenizer: Path | None, groups: int | None, rates: list[int] | None, heads: int | None,
    say: Callable[[str], None],
) -> str:
    """Writes the parts of an original checkpoint of AudioLDM as a pipeline."""
    if tokenizer is None:
        raise ConversionError("an original AudioLDM has no tokenizers: name a folder that has them with --tokenizer")
    if out.exists():
        raise ConversionError(f"{out}: there already; name a new folder for a pipeline")
    made = _audio_checkpoints.parts(state, say, groups, rates, heads)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.parent) as scratch:
        folder = Path(scratch) / "made"
        (folder / "scheduler").mkdir(parents=True)
        write_json(folder / "scheduler" / "scheduler_config.json", _audio_checkpoints.SCHEDULER)
        write_json(folder / "model_index.json", _audio_checkpoints.index(made))
        for name, (tensors, config) in made.items():
            (folder / name).mkdir()
            file = "diffusion_pytorch_model.safetensors" if "_class_name" in config else "model.safetensors"
            write_safetensors(folder / name / file, _state_dicts.weights(tensors, _about(name, say)), dtype)
            write_json(folder / name / "config.json", config)
        for name in ("tokenizer", *(["tokenizer_2"] if "text_encoder_2" in made else [])):
            if not (tokenizer / name).is_dir():
                raise ConversionError(f"{tokenizer / name}: no such folder, which must hold a tokenizer")
            shutil.copytree(tokenizer / name, folder / name)
        from .model import Model

        _library(lambda: Model(folder).close(), "what was converted")
        os.replace(folder, out)
    return "audioldm"


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m diffaccel.convert", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("source", help=".pt, .pth, .ckpt, .bin or .safetensors file, or a folder of such with config.json")
    parser.add_argument("--out", required=True, help="folder for a model, file for a router's plan")
    parser.add_argument("--heads", type=int, help="attention heads, for a size that was not published")
    parser.add_argument("--family", choices=("dit", "sit"), help="what the tensors are, which both call alike (default: dit, and said)")
    parser.add_argument("--null-class", action=argparse.BooleanOptionalAction, default=None,
                        help="whether the last row of a class table stands for no class (default: assumed, and said)")
    parser.add_argument("--threshold", type=float, help="router threshold (default: the authors')")
    parser.add_argument("--dtype", choices=sorted(TYPES), help="element type of the weights (default: as they are)")
    parser.add_argument("--scaling-factor", type=float, help="of an autoencoder's latents (default: 0.18215, and said)")
    parser.add_argument("--norm-groups", type=int, help="groups of an autoencoder's norms (default: 32, and said)")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="AudioLDM: folder with the tokenizers of a pipeline, which are copied")
    parser.add_argument("--upsample-rates", type=int, nargs="+", metavar="N", help="AudioLDM: rates of a vocoder that was not published")
    parser.add_argument("--take", help="container (ema, model) or prefix of names to take, where there are several")
    parser.add_argument("--drop", action="append", default=[], metavar="PATTERN", help="tensors to leave out, such as '*lora*'; repeatable")
    given = parser.parse_args(arguments)
    try:
        kind = convert(
            given.source, given.out, given.heads, given.threshold, given.dtype, given.scaling_factor, null_class=given.null_class,
            norm_groups=given.norm_groups, take=given.take, drop=given.drop, family=given.family,
            tokenizer=given.tokenizer, upsample_rates=given.upsample_rates,
            say=lambda text: print(f"diffaccel.convert: {text}", file=sys.stderr))
    except (ConversionError, OSError, MemoryError) as error:
        print(f"diffaccel.convert: {error or type(error).__name__}", file=sys.stderr)
        return 1
    print(f"{given.out}: {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
