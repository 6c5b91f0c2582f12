"""Tiny Stable Diffusion pipelines of every kind as diffusers saves them, with random weights."""

import json

import numpy as np
from conftest import write_safetensors

#: Tokens: the letters of bytes, alone and at the end of a word, and the two that stand around a text.
VOCABULARY, LENGTH = 514, 16
TEXT = dict(hidden_size=12, intermediate_size=24, num_attention_heads=3, num_hidden_layers=2, max_position_embeddings=LENGTH,
            vocab_size=VOCABULARY, hidden_act="quick_gelu", layer_norm_eps=1e-5, bos_token_id=0, eos_token_id=2)
UNET = dict(_class_name="UNet2DConditionModel", in_channels=4, out_channels=4, sample_size=4, block_out_channels=[8, 8],
            down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
            layers_per_block=1, cross_attention_dim=12, attention_head_dim=2, norm_num_groups=4, use_linear_projection=True)
MMDIT = dict(_class_name="SD3Transformer2DModel", sample_size=4, patch_size=2, in_channels=4, out_channels=4, num_layers=2,
             attention_head_dim=8, num_attention_heads=2, joint_attention_dim=36, caption_projection_dim=16,
             pooled_projection_dim=16, pos_embed_max_size=8)
VAE = dict(_class_name="AutoencoderKL", block_out_channels=[4, 4, 4, 4], layers_per_block=1, norm_num_groups=2, latent_channels=4,
           in_channels=3, out_channels=3, scaling_factor=0.18215, down_block_types=["DownEncoderBlock2D"] * 4,
           up_block_types=["UpDecoderBlock2D"] * 4, use_quant_conv=True, use_post_quant_conv=True)
SCHEDULER = dict(_class_name="PNDMScheduler", beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
                 skip_prk_steps=True, set_alpha_to_one=False, clip_sample=False)
FLOW = dict(_class_name="FlowMatchEulerDiscreteScheduler", num_train_timesteps=1000, shift=3.0)


class Weights(dict):
    """Tensors by name, small enough that sampling stays finite."""

    def __init__(self, seed=0):
        super().__init__()
        self._random = np.random.default_rng(seed)

    def draw(self, name, *shape, scale=None):
        scale = 0.7 / np.sqrt(np.prod(shape[1:])) if scale is None else scale
        self[name] = (self._random.standard_normal(shape) * scale).astype(np.float32)

    def linear(self, name, out, inside, bias=True):
        self.draw(f"{name}.weight", out, inside)
        if bias:
            self.draw(f"{name}.bias", out, scale=0.02)

    def conv(self, name, out, inside, k=3):
        self.draw(f"{name}.weight", out, inside, k, k)
        self.draw(f"{name}.bias", out, scale=0.02)

    def norm(self, name, width):
        self[f"{name}.weight"], self[f"{name}.bias"] = np.ones(width, np.float32), np.zeros(width, np.float32)

    def resnet(self, name, out, inside, time=0):
        self.norm(f"{name}.norm1", inside), self.conv(f"{name}.conv1", out, inside)
        if time:
            self.linear(f"{name}.time_emb_proj", out, time)
        self.norm(f"{name}.norm2", out), self.conv(f"{name}.conv2", out, out)
        if out != inside:
            self.conv(f"{name}.conv_shortcut", out, inside, 1)

    def attention(self, name, width, states=None, bias=False):
        for part, inside in (("to_q", width), ("to_k", states or width), ("to_v", states or width)):
            self.linear(f"{name}.{part}", width, inside, bias)
        self.linear(f"{name}.to_out.0", width, width)


def text_tensors(c, projection=None):
    """A CLIP text encoder; with `projection` its pooled state is projected to that width."""
    w, d = Weights(1), c["hidden_size"]
    w.draw("text_model.embeddings.token_embedding.weight", c["vocab_size"], d, scale=0.5)
    w.draw("text_model.embeddings.position_embedding.weight", c["max_position_embeddings"], d, scale=0.2)
    for i in range(c["num_hidden_layers"]):
        layer = f"text_model.encoder.layers.{i}"
        w.norm(f"{layer}.layer_norm1", d), w.norm(f"{layer}.layer_norm2", d)
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            w.linear(f"{layer}.self_attn.{part}", d, d)
        w.linear(f"{layer}.mlp.fc1", c["intermediate_size"], d), w.linear(f"{layer}.mlp.fc2", d, c["intermediate_size"])
    w.norm("text_model.final_layer_norm", d)
    if projection:
        w.linear("text_projection", projection, d, bias=False)
    return w


def unet_tensors(c):
    """A U-Net of two levels."""
    w, widths, states, layers = Weights(2), c["block_out_channels"], c["cross_attention_dim"], c["layers_per_block"]
    time = 4 * widths[0]

    def transformer(name, width):
        w.norm(f"{name}.norm", width), w.linear(f"{name}.proj_in", width, width), w.linear(f"{name}.proj_out", width, width)
        block = f"{name}.transformer_blocks.0"
        for index, inside in ((1, None), (2, states)):
            w.norm(f"{block}.norm{index}", width), w.attention(f"{block}.attn{index}", width, inside)
        w.norm(f"{block}.norm3", width)
        w.linear(f"{block}.ff.net.0.proj", 8 * width, width), w.linear(f"{block}.ff.net.2", width, 4 * width)

    w.linear("time_embedding.linear_1", time, widths[0]), w.linear("time_embedding.linear_2", time, time)
    if "addition_time_embed_dim" in c:
        w.linear("add_embedding.linear_1", time, c["projection_class_embeddings_input_dim"])
        w.linear("add_embedding.linear_2", time, time)
    w.conv("conv_in", widths[0], c["in_channels"])
    skips, inside = [widths[0]], widths[0]
    for level, (width, kind) in enumerate(zip(widths, c["down_block_types"])):
        for i in range(layers):
            w.resnet(f"down_blocks.{level}.resnets.{i}", width, inside, time)
            if "CrossAttn" in kind:
                transformer(f"down_blocks.{level}.attentions.{i}", width)
            inside = width
            skips.append(width)
        if level < len(widths) - 1:
            w.conv(f"down_blocks.{level}.downsamplers.0.conv", width, width)
            skips.append(width)
    w.resnet("mid_block.resnets.0", inside, inside, time), w.resnet("mid_block.resnets.1", inside, inside, time)
    transformer("mid_block.attentions.0", inside)
    for level, (width, kind) in enumerate(zip(widths[::-1], c["up_block_types"])):
        for i in range(layers + 1):
            w.resnet(f"up_blocks.{level}.resnets.{i}", width, inside + skips.pop(), time)
            if "CrossAttn" in kind:
                transformer(f"up_blocks.{level}.attentions.{i}", width)
            inside = width
        if level < len(widths) - 1:
            w.conv(f"up_blocks.{level}.upsamplers.0.conv", width, width)
    w.norm("conv_norm_out", widths[0]), w.conv("conv_out", c["out_channels"], widths[0])
    return w


def mmdit_tensors(c):
    """SD3's transformer."""
    w, d, p = Weights(3), c["attention_head_dim"] * c["num_attention_heads"], c["patch_size"]
    w.conv("pos_embed.proj", d, c["in_channels"], p)
    w.draw("pos_embed.pos_embed", 1, c["pos_embed_max_size"] ** 2, d, scale=0.3)
    for name, inside in (("timestep_embedder", 256), ("text_embedder", c["pooled_projection_dim"])):
        w.linear(f"time_text_embed.{name}.linear_1", d, inside), w.linear(f"time_text_embed.{name}.linear_2", d, d)
    w.linear("context_embedder", d, c["joint_attention_dim"])
    for i in range(c["num_layers"]):
        block, is_last = f"transformer_blocks.{i}", i == c["num_layers"] - 1
        w.linear(f"{block}.norm1.linear", 6 * d, d), w.linear(f"{block}.norm1_context.linear", (2 if is_last else 6) * d, d)
        w.attention(f"{block}.attn", d, bias=True)
        for part in ("add_q_proj", "add_k_proj", "add_v_proj", *(() if is_last else ("to_add_out",))):
            w.linear(f"{block}.attn.{part}", d, d)
        for part in ("ff", *(() if is_last else ("ff_context",))):
            w.linear(f"{block}.{part}.net.0.proj", 4 * d, d), w.linear(f"{block}.{part}.net.2", d, 4 * d)
    w.linear("norm_out.linear", 2 * d, d), w.linear("proj_out", p * p * c["out_channels"], d)
    return w


def vae_tensors(c):
    """An autoencoder, both halves."""
    w, widths, latents = Weights(4), c["block_out_channels"], c["latent_channels"]

    def middle(name, width):
        w.resnet(f"{name}.resnets.0", width, width), w.resnet(f"{name}.resnets.1", width, width)
        w.norm(f"{name}.attentions.0.group_norm", width), w.attention(f"{name}.attentions.0", width, bias=True)

    for half, order, layers, more in (("encoder", widths, 1, "downsamplers"), ("decoder", widths[::-1], 2, "upsamplers")):
        blocks, inside = "down_blocks" if half == "encoder" else "up_blocks", order[0]
        w.conv(f"{half}.conv_in", inside, c["in_channels"] if half == "encoder" else latents)
        for level, width in enumerate(order):
            for i in range(layers):
                w.resnet(f"{half}.{blocks}.{level}.resnets.{i}", width, inside)
                inside = width
            if level < len(order) - 1:
                w.conv(f"{half}.{blocks}.{level}.{more}.0.conv", width, width)
        middle(f"{half}.mid_block", widths[-1])
        w.norm(f"{half}.conv_norm_out", inside), w.conv(f"{half}.conv_out", 2 * latents if half == "encoder" else c["out_channels"], inside)
    if c["use_quant_conv"]:
        w.conv("quant_conv", 2 * latents, 2 * latents, 1), w.conv("post_quant_conv", latents, latents, 1)
    return w


def write_tokenizer(folder):
    """CLIP's tokenizer without merges: a token for each letter."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    assert len(words) == VOCABULARY
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="<|endoftext|>")
    (folder / "tokenizer_config.json").write_text(json.dumps(
        dict(special, tokenizer_class="CLIPTokenizer", model_max_length=LENGTH, do_lower_case=True)))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return folder


def write_part(folder, tensors, config, file="diffusion_pytorch_model.safetensors"):
    folder.mkdir(parents=True)
    write_safetensors(folder / file, tensors)
    (folder / "config.json").write_text(json.dumps(config))


def write_text_encoder(folder, suffix="", projection=None, **changes):
    """A text encoder and its tokenizer."""
    name = "CLIPTextModelWithProjection" if projection else "CLIPTextModel"
    config = {**TEXT, "architectures": [name], "model_type": "clip_text_model", "projection_dim": projection or 8, **changes}
    write_part(folder / f"text_encoder{suffix}", text_tensors(config, projection), config, "model.safetensors")
    write_tokenizer(folder / f"tokenizer{suffix}")
    return {f"text_encoder{suffix}": ["transformers", name], f"tokenizer{suffix}": ["transformers", "CLIPTokenizer"]}


def write_pipeline(folder, name, parts, scheduler, **extra):
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    write_part(folder / "vae", vae_tensors(VAE), VAE)
    index = {"_class_name": name, "scheduler": ["diffusers", scheduler["_class_name"]], "vae": ["diffusers", "AutoencoderKL"]}
    (folder / "model_index.json").write_text(json.dumps({**index, **parts, **extra}))
    return folder


def write_sd(folder, scheduler=SCHEDULER, **changes):
    """Stable Diffusion 1 or 2; `changes` are of the U-Net, such as in_channels=9."""
    parts, unet = write_text_encoder(folder), {**UNET, **changes}
    write_part(folder / "unet", unet_tensors(unet), unet)
    return write_pipeline(folder, "StableDiffusionPipeline", {**parts, "unet": ["diffusers", "UNet2DConditionModel"]}, scheduler)


def write_sdxl(folder):
    """SDXL: two text encoders, and a U-Net that is told sizes."""
    parts = write_text_encoder(folder) | write_text_encoder(folder, "_2", projection=12)
    unet = {**UNET, "cross_attention_dim": 24, "addition_embed_type": "text_time", "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 12 + 6 * 4}
    write_part(folder / "unet", unet_tensors(unet), unet)
    return write_pipeline(folder, "StableDiffusionXLPipeline", {**parts, "unet": ["diffusers", "UNet2DConditionModel"]}, SCHEDULER,
                          force_zeros_for_empty_prompt=True)


def write_sd3(folder):
    """SD3 without its T5."""
    parts = write_text_encoder(folder, projection=8) | write_text_encoder(folder, "_2", projection=8)
    write_part(folder / "transformer", mmdit_tensors(MMDIT), MMDIT)
    return write_pipeline(folder, "StableDiffusion3Pipeline", {**parts, "transformer": ["diffusers", "SD3Transformer2DModel"]}, FLOW)
