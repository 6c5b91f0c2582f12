"""Which tensors of a training's file are the network: in containers, beside averages, behind prefixes."""

from __future__ import annotations

import fnmatch
from typing import Any, Callable

from ._conversion import ConversionError, FileTensor, State

#: Containers in the order in which they are taken: averages of weights first, which published samples are made with.
_AVERAGES = (
    "ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "model_ema_state_dict", "ema_model_state_dict", "g_ema",
    "params_ema", "ema_params", "net_ema", "ema_net", "averaged_model", "shadow",
)
_PLAIN = (
    "state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "params", "generator", "student", "denoiser",
    "transformer", "backbone", "trainer", "var_wo_ddp", "vae", "autoencoder", "weights", "state", "checkpoint",
)
#: What training wraps networks in, as parts of names.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
#: A name in each kind of network that can be converted, in the order in which kinds are looked for.
MARKERS = {
    "dit": "x_embedder.proj.weight", "dit in diffusers' layout": "pos_embed.proj.weight", "uvit": "decoder_pred.weight", "var": "pos_1LC",
    "mar": "diffusion_pos_embed_learned",
    "vqvae": "quantize.embedding.weight", "autoencoder_kl": "decoder.conv_in.weight", "llada": "transformer.wte.weight",
    "llama": "embed_tokens.weight",
}
#: Numbers that averages and losses keep beside weights.
_COUNTERS = {"decay", "num_updates", "n_averaged", "initted", "step", "optimization_step", "logvar", "loss.logvar"}
_AVERAGED = ("ema", "shadow", "averag")


class Choice:
    """The tensors of a network in a file.

    kind: a key of MARKERS.
    state: its tensors by the names that published checkpoints have, counters and buffers among them.
    """

    def __init__(self, kind: str, state: State) -> None:
        self.kind, self.state = kind, state


def choose(content: Any, wanted: str | None, drop: list[str], say: Callable[[str], None]) -> Choice:
    """Finds the network in what a file holds.

    wanted: name of a container, or prefix of names, to take instead of what would be taken.
    drop: patterns of names to leave out.
    say: is told what was assumed. Raises ConversionError when there is no network.
    """
    inside = _named(content, wanted) if wanted else None
    if inside is not None:
        content, wanted = inside, None
    flat = _unwrapped(_container(content, say))
    kind, prefix = _network(flat, wanted, say)
    state = {name[len(prefix):]: tensor for name, tensor in flat.items() if name.startswith(prefix)}
    if kind in ("llada", "llama"):
        # Names of a network without its head begin one level below.
        state = {name if name.startswith(("model.", "lm_head.")) else f"model.{name}": tensor for name, tensor in state.items()}
    left = sorted(name for name in flat if not name.startswith(prefix))
    if left:
        say(f"left out: {_list(left)}, which {'are' if len(left) > 1 else 'is'} not behind the prefix \"{prefix}\"")
    dropped = [name for name in state if any(fnmatch.fnmatchcase(name, pattern) for pattern in drop)]
    if dropped:
        say(f"dropped: {_list(sorted(dropped))}")
    return Choice(kind, {name: tensor for name, tensor in state.items() if name not in set(dropped)})


def unwrapped(content: Any) -> State:
    """All tensors with names in the outermost container that has any, without what training wraps networks in."""
    for _ in range(8):
        if not isinstance(content, dict):
            return {}
        if found := _tensors(content):
            return _unwrapped(found)
        content = next((content[key] for key in _PLAIN if _holds(content.get(key))), None)
    return {}


def _list(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _tensors(content: Any) -> State:
    if not isinstance(content, dict):
        return {}
    return {name: value for name, value in content.items() if isinstance(value, FileTensor) and isinstance(name, str)}


def _named(content: Any, wanted: str, depth: int = 0) -> Any:
    """The container `wanted` at any level of `content`; None when there is none."""
    if not isinstance(content, dict) or depth > 8:
        return None
    if _holds(content.get(wanted)):
        return content[wanted]
    return next((found for value in content.values() if (found := _named(value, wanted, depth + 1)) is not None), None)


def _container(content: Any, say: Callable[[str], None], depth: int = 0) -> State:
    """The dictionary of tensors in `content`, whatever it is wrapped in."""
    if isinstance(content, (list, tuple)) and len(content) == 1:
        content = content[0]
    if not isinstance(content, dict) or depth > 8:
        raise ConversionError(
            "the file holds no state dict" + ("" if content is not None else " but nothing")
            + ": save model.state_dict(), not the model object")
    found = _tensors(content)
    if any(_kind_of(name) for name in found):
        return found
    choices = [key for key in (*_AVERAGES, *_PLAIN) if _holds(content.get(key))]
    for key in choices:
        value = content[key]
        if key in _AVERAGES and (average := _listed(value)) is not None:
            state = _container({name: content[name] for name in choices if name != key}, lambda _: None, depth + 1)
            taken = _paired(state, average)
        else:
            taken = _container(value, say, depth + 1)
        if not taken:
            continue
        others = [other for other in choices if other != key]
        if others:
            say(f"took \"{key}\"; there is also {', '.join(others)} (--take NAME chooses)")
        return taken
    return found


def _holds(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple)) and len(value) > 0


def _listed(value: Any) -> list[FileTensor] | None:
    """Averages that are kept as a list in the order of a network's parameters; nil when they have names."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("shadow_params", "params", "shadow") if isinstance(value.get(key), (list, tuple))), None)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, FileTensor) for item in value):
        return list(value)
    return None


def _paired(state: State, average: list[FileTensor]) -> State:
    """`state` with its parameters replaced by a list of averages; what has none (buffers) stays."""
    left, merged = list(average), dict(state)
    for name, tensor in state.items():
        if left and left[0].shape == tensor.shape:
            merged[name] = left.pop(0)
    if left:
        raise ConversionError(
            f"the list of {len(average)} averages does not fit the {len(state)} tensors of the network; --take NAME takes others")
    return merged


def _kind_of(name: str) -> str | None:
    return next((kind for kind, marker in MARKERS.items() if name == marker or name.endswith(f".{marker}")), None)


def _unwrapped(state: State) -> State:
    """Without what training wraps networks in, where that leaves names apart."""
    bare: State = {}
    for name, tensor in state.items():
        parts = [part for part in name.split(".") if part not in _WRAPPERS]
        short = ".".join(parts) or name
        if short in bare:
            return state
        bare[short] = tensor
    return bare


def _network(state: State, wanted: str | None, say: Callable[[str], None]) -> tuple[str, str]:
    """Kind and prefix of the network in `state`: averages first, then the shortest prefix."""
    if not state:
        raise ConversionError("the file holds no tensors with names: save model.state_dict()")
    for kind, marker in MARKERS.items():
        prefixes = [name[:-len(marker)] for name in state if name == marker or name.endswith(f".{marker}")]
        if kind in ("llada", "llama"):
            prefixes = [prefix.removesuffix("model.") for prefix in prefixes]  # part of the published names
        if wanted:
            prefixes = [prefix for prefix in prefixes if prefix.strip(".").endswith(wanted.strip("."))]
        if not prefixes:
            continue
        prefixes.sort(key=lambda prefix: (not any(word in prefix.lower() for word in _AVERAGED), len(prefix), prefix))
        if len(prefixes) > 1:
            shown = ", ".join(f'"{prefix}"' for prefix in prefixes[1:])
            say(f"took the names with the prefix \"{prefixes[0]}\"; there is also {shown} (--take PREFIX chooses)")
        elif prefixes[0]:
            say(f"took the prefix \"{prefixes[0]}\" off")
        return kind, prefixes[0]
    if wanted:
        raise ConversionError(f"--take {wanted}: neither a container of that name with a network in it nor a prefix of names")
    raise ConversionError(
        f"neither a DiT, a SiT, a U-ViT, a VAR, a MAR, a VQ-VAE, a KL autoencoder, a LLaDA or Dream nor an L2C router; it holds {_list(sorted(state))}")


def weights(state: State, say: Callable[[str], None]) -> State:
    """Without counters. Raises ConversionError for low-rank updates, which are no part of the network before they are merged."""
    low_rank = sorted(name for name in state if "lora" in name.lower())
    if low_rank:
        raise ConversionError(
            f"it holds low-rank updates beside the weights ({_list(low_rank)}): merge them first (peft: merge_and_unload()), or leave "
            "them out with --drop '*lora*'")
    counters = sorted(
        name for name, tensor in state.items()
        if not tensor.is_float or name in _COUNTERS or name.split(".")[-1] in ("num_batches_tracked", "position_ids"))
    if counters:
        say(f"left out: {_list(counters)}, which {'are' if len(counters) > 1 else 'is'} no weights")
    return {name: tensor for name, tensor in state.items() if name not in set(counters)}
