"""What is converted: a file or a folder of files, and what stands beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ._conversion import ConversionError
from ._safetensors import read_safetensors
from ._torch_files import TorchArchive, load_old

#: Weight files of a folder in the order in which they are looked for.
_WEIGHTS = (
    "pytorch_model.bin", "pytorch_model.bin.index.json", "diffusion_pytorch_model.bin", "diffusion_pytorch_model.bin.index.json",
    "model.safetensors", "model.safetensors.index.json", "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json", "weights.safetensors",
)
#: Files that belong to a language model.
_COMPANIONS = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json",
    "generation_config.json", "chat_template.jinja",
)
_ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")

#: What other files begin with, what they are, and what to do.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a git-lfs pointer", "fetch the file itself (git lfs pull), or download it again"),
    (b"# xet version", "a Xet pointer", "download the file itself"),
    (b"/annex/objects/", "a git-annex pointer", "fetch the file itself (git annex get)"),
    (b"GGUF", "a GGUF file", "it cannot be converted; take a release of the model in safetensors or PyTorch's format"),
    (b"ggml", "a GGML file", "it cannot be converted; take a release of the model in safetensors or PyTorch's format"),
    (b"\x89HDF", "an HDF5 file", "it cannot be converted; take a release of the model in safetensors or PyTorch's format"),
    (b"\x93NUMPY", "a NumPy array", "it cannot be converted; take the model's .pt or .safetensors file"),
    (b"\x08\x07\x12", "an ONNX file", "it cannot be converted; take the model's .pt or .safetensors file"),
    (b"\x08\x08\x12", "an ONNX file", "it cannot be converted; take the model's .pt or .safetensors file"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"), (b"\xfd7zXZ", "an xz archive", "unpack it first"),
    (b"BZh", "a bzip2 archive", "unpack it first"), (b"(\xb5/\xfd", "a zstd archive", "unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"), (b"PK\x05\x06", "an empty zip archive", "fetch the file again"),
)


def content(path: Path) -> Any:
    """What the file at `path` holds. Raises ConversionError, which says what it is and what to do."""
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError as error:
        raise ConversionError(f"{path}: {error.strerror or error}") from None
    if not start:
        raise ConversionError(f"{path}: an empty file; fetch it again")
    if start.startswith(b"PK\x03\x04"):
        return TorchArchive(path).content()
    if len(start) > 8 and start[8:9] == b"{" and start[6:8] == b"\0\0":
        return read_safetensors(path)
    for magic, name, remedy in _OTHERS:
        if start.startswith(magic):
            raise ConversionError(f"{path}: {name}; {remedy}")
    if not start.strip(b"\0"):
        raise ConversionError(f"{path}: nothing but zeros in its first {len(start)} bytes; fetch it again")
    if start[:1] == b"\x80":
        return load_old(path)
    if start[257:262] == b"ustar":
        raise ConversionError(
            f"{path}: a tar archive: unpack it, or, when it is PyTorch's format before version 0.1.10, save it again with a newer one")
    if all(0x20 <= byte < 0xF5 or byte in b"\t\n\r" for byte in start):
        raise ConversionError(f"{path}: {_text(start)} in place of weights: download the file itself")
    raise ConversionError(f"{path}: none of PyTorch's files and no safetensors: damaged, or of another kind")


def _text(start: bytes) -> str:
    lower = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page"
    if lower.startswith((b"<?xml", b"<error")):
        return "an XML text"
    line = start.splitlines()[0][:60].decode("utf-8", "replace")
    return "a JSON text" if lower.startswith((b"{", b"[")) else f"a text (\"{line}\")"


class Source:
    """What is to be converted.

    content: what its weight files hold.
    config: the file of the configuration that belongs to it; None when there is none.
    companions: files to take along.
    """

    def __init__(self, path: Path) -> None:
        folder: Path | None
        if path.name.endswith(".index.json"):
            self.content, folder = _shards(path.parent, path.name), path.parent
        elif not path.is_dir():
            self.content = content(path)
            # A stray config.json beside a file says nothing about it; beside one of these names it does.
            belongs = path.name in _WEIGHTS and not path.name.endswith(".json")
            folder = path.parent if belongs else None
        else:
            self.content, folder = _folder(path), path
        self.config = folder / "config.json" if folder is not None and (folder / "config.json").is_file() else None
        self.companions = [folder / name for name in _COMPANIONS if (folder / name).is_file()] if folder is not None else []


def _folder(path: Path) -> Any:
    for name in _WEIGHTS:
        if (path / name).is_file():
            return _shards(path, name) if name.endswith(".index.json") else content(path / name)
    found = sorted(entry for entry in path.iterdir() if entry.name.endswith(_ENDINGS) and entry.is_file())
    if len(found) != 1:
        names = ", ".join(entry.name for entry in found[:6])
        raise ConversionError(f"{path}: {'which of ' + names + '? name the file' if found else 'no weights'}")
    return content(found[0])


def _shards(path: Path, index: str) -> Any:
    listed = _json(path / index)
    homes = listed.get("weight_map")
    if not isinstance(homes, dict) or not all(isinstance(name, str) and Path(name).name == name for name in homes.values()):
        raise ConversionError(f"{path / index}: no list of which file holds which tensor")
    tensors: dict[str, Any] = {}
    for name in sorted(set(homes.values())):
        if not (path / name).is_file():
            raise ConversionError(f"{path / name}: missing, but named by {index}: fetch it")
        part = content(path / name)
        if not isinstance(part, dict):
            raise ConversionError(f"{path / name}: no tensors with names")
        tensors.update(part)
    absent = sorted(set(homes) - set(tensors))
    if absent:
        raise ConversionError(f"{path / index}: not in the files it names: {', '.join(absent[:4])}")
    return tensors


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, OSError) as error:
        raise ConversionError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise ConversionError(f"{path}: expected an object")
    return value
