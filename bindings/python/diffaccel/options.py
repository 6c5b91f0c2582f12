"""The options of requests, as types. `Model.request` says which of them a model has, `help(Session.sample)` what they do."""

from __future__ import annotations

from typing import Any, Sequence, TypedDict, Union

import numpy.typing as npt

#: One class or several: numbers, or names of the model's classes.
Labels = Union[int, str, Sequence[Union[int, str]], "npt.NDArray[Any]"]
#: The tokens of one prompt.
Tokens = Union[Sequence[int], "npt.NDArray[Any]"]


class SampleOptions(TypedDict, total=False):
    """Keyword arguments of `Session.sample` and `Session.estimate`. None is the same as not given: the library decides."""

    # images
    labels: Labels | None
    steps: int | None
    sampler: str | None
    spacing: str | None
    steps_offset: int | None
    eta: float | None
    guidance: float | None
    guidance_channels: int | str | None
    guidance_rescale: float | None
    guidance_interval: Sequence[float] | None
    guidance_execution: str | None
    seed: int | None
    decode: bool | None
    tile: int | str | None
    noise: Any
    step_noise: Any
    # prompts of pictures
    prompt: str | Sequence[str] | npt.NDArray[Any] | None
    negative_prompt: str | Sequence[str] | npt.NDArray[Any] | None
    prompt_2: str | Sequence[str] | npt.NDArray[Any] | None
    negative_prompt_2: str | Sequence[str] | npt.NDArray[Any] | None
    prompt_3: str | Sequence[str] | npt.NDArray[Any] | None
    negative_prompt_3: str | Sequence[str] | npt.NDArray[Any] | None
    images_per_prompt: int | None
    clip_skip: int | None
    max_sequence_length: int | None
    height: int | None
    width: int | None
    image: Any
    strength: float | None
    mask: Any
    image_latents: Any
    original_size: Sequence[int] | None
    crop: Sequence[int] | None
    target_size: Sequence[int] | None
    negative_original_size: Sequence[int] | None
    negative_crop: Sequence[int] | None
    negative_target_size: Sequence[int] | None
    seeds: Sequence[int] | npt.NDArray[Any] | None
    previews: bool | str | None
    prompt_embeds: Any
    negative_prompt_embeds: Any
    pooled_prompt_embeds: Any
    negative_pooled_prompt_embeds: Any
    # prompts of sounds
    waveforms_per_prompt: int | None
    seconds: float | None
    max_new_tokens: int | None
    unconditional: str | None
    attention_mask: Any
    generated_prompt_embeds: Any
    clap_embeds: Any
    negative_attention_mask: Any
    negative_generated_prompt_embeds: Any
    negative_clap_embeds: Any
    # scale by scale
    top_k: int | Sequence[int] | npt.NDArray[Any] | None
    top_p: float | None
    temperature: float | Sequence[float] | npt.NDArray[Any] | None
    more_smooth: bool | None
    uniforms: Any
    # token by token
    guidance_schedule: str | None
    head_steps: int | str | None
    order: str | npt.NDArray[Any] | Sequence[Sequence[int]] | None
    # texts
    tokens: Tokens | Sequence[Tokens] | None
    lengths: Sequence[int] | npt.NDArray[Any] | None
    chat: bool | None
    blank: str | None
    allow_control: bool | None
    length: int | None
    infill: bool | None
    block_length: int | None
    threshold: float | None
    end_last: bool | None
    no_end: bool | None
    allow_mask: bool | None
    order_temperature: float | None
    eps: float | None
