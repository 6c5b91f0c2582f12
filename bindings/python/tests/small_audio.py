"""Tiny AudioLDM and AudioLDM 2 pipelines as diffusers saves them, with random weights."""

import json

import numpy as np
from small_diffusion import Weights, vae_tensors, write_part

RATE, BINS, FACTOR, HOP = 16000, 8, 2, 20
#: Seconds of a latent, and a small request.
LATENT = FACTOR * HOP / RATE
SHORT = dict(steps=3, seconds=8 * LATENT)
CLAP = dict(hidden_size=12, intermediate_size=16, num_attention_heads=3, num_hidden_layers=2, max_position_embeddings=18, vocab_size=262,
            type_vocab_size=1, projection_dim=10, hidden_act="gelu", projection_hidden_act="relu", layer_norm_eps=1e-12, pad_token_id=1)
T5 = dict(architectures=["T5EncoderModel"], model_type="t5", vocab_size=40, d_model=20, d_kv=5, num_heads=2, d_ff=16, num_layers=2,
          feed_forward_proj="gated-gelu", relative_attention_num_buckets=8, relative_attention_max_distance=20)
GPT2 = dict(architectures=["GPT2Model"], model_type="gpt2", n_embd=12, n_layer=2, n_head=3, n_positions=48, max_new_tokens=8,
            activation_function="gelu_new")
PROJECTION = dict(_class_name="AudioLDM2ProjectionModel", text_encoder_dim=10, text_encoder_1_dim=20, langauge_model_dim=12)
VAE = dict(_class_name="AutoencoderKL", block_out_channels=[4, 4], layers_per_block=1, norm_num_groups=2, latent_channels=4, in_channels=1,
           out_channels=1, scaling_factor=0.9, down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
           use_quant_conv=True, use_post_quant_conv=True)
VOCODER = dict(architectures=["SpeechT5HifiGan"], model_type="hifigan", model_in_dim=BINS, sampling_rate=RATE, upsample_initial_channel=8,
               upsample_rates=[5, 4], upsample_kernel_sizes=[16, 8], resblock_kernel_sizes=[3, 7], resblock_dilation_sizes=[[1, 3], [1, 3]],
               leaky_relu_slope=0.1, normalize_before=False)
UNET = dict(in_channels=4, out_channels=4, sample_size=16, block_out_channels=[8, 16], layers_per_block=1, attention_head_dim=4,
            norm_num_groups=4, down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
            mid_block_type="UNetMidBlock2DCrossAttn")
#: The network of each kind: what each stack of a level reads (none: itself).
UNET2 = dict(UNET, _class_name="AudioLDM2UNet2DConditionModel", cross_attention_dim=[[None, 12, 20], [None, 12, 20]])
UNET1 = dict(UNET, _class_name="UNet2DConditionModel", cross_attention_dim=[8, 16], class_embed_type="simple_projection",
             class_embeddings_concat=True, projection_class_embeddings_input_dim=10)
SCHEDULER = dict(_class_name="DDIMScheduler", num_train_timesteps=1000, beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear",
                 steps_offset=1, set_alpha_to_one=False, clip_sample=False, prediction_type="epsilon")


def clap_tensors(c, whole=False):
    """CLAP's text tower; `whole`: with something of the tower for sounds beside it."""
    w, d = Weights(1), c["hidden_size"]
    for name, rows in (("word", c["vocab_size"]), ("position", c["max_position_embeddings"]), ("token_type", c["type_vocab_size"])):
        w.draw(f"text_model.embeddings.{name}_embeddings.weight", rows, d, scale=0.5)
    w.norm("text_model.embeddings.LayerNorm", d)
    for i in range(c["num_hidden_layers"]):
        layer = f"text_model.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            w.linear(f"{layer}.attention.self.{part}", d, d)
        w.linear(f"{layer}.attention.output.dense", d, d), w.norm(f"{layer}.attention.output.LayerNorm", d)
        w.linear(f"{layer}.intermediate.dense", c["intermediate_size"], d), w.linear(f"{layer}.output.dense", d, c["intermediate_size"])
        w.norm(f"{layer}.output.LayerNorm", d)
    w.linear("text_model.pooler.dense", d, d)
    w.linear("text_projection.linear1", c["projection_dim"], d), w.linear("text_projection.linear2", c["projection_dim"], c["projection_dim"])
    if whole:
        w.linear("audio_model.audio_encoder.patch", 4, 4), w.linear("audio_projection.linear1", 4, 4), w.draw("logit_scale_a", 1)
        w["text_model.embeddings.position_ids"] = np.arange(c["max_position_embeddings"], dtype=np.int64)[None]
    return w


def t5_tensors(c):
    w, d, inner = Weights(2), c["d_model"], c["d_kv"] * c["num_heads"]
    w.draw("shared.weight", c["vocab_size"], d, scale=0.7)
    w.draw("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", c["relative_attention_num_buckets"], c["num_heads"])
    for i in range(c["num_layers"]):
        layer = f"encoder.block.{i}.layer"
        for part in "qkv":
            w.linear(f"{layer}.0.SelfAttention.{part}", inner, d, bias=False)
        w.linear(f"{layer}.0.SelfAttention.o", d, inner, bias=False)
        for part, out, inside in (("wi_0", c["d_ff"], d), ("wi_1", c["d_ff"], d), ("wo", d, c["d_ff"])):
            w.linear(f"{layer}.1.DenseReluDense.{part}", out, inside, bias=False)
        for part in (0, 1):
            w[f"{layer}.{part}.layer_norm.weight"] = np.ones(d, np.float32)
    w["encoder.final_layer_norm.weight"] = np.ones(d, np.float32)
    return w


def gpt2_tensors(c, prefix=""):
    """Weights are [in, out], as the published ones."""
    w, d = Weights(3), c["n_embd"]
    w.draw(f"{prefix}wpe.weight", c["n_positions"], d, scale=0.3)
    for i in range(c["n_layer"]):
        block = f"{prefix}h.{i}"
        w.norm(f"{block}.ln_1", d), w.norm(f"{block}.ln_2", d)
        for part, inside, out in (("attn.c_attn", d, 3 * d), ("attn.c_proj", d, d), ("mlp.c_fc", d, 4 * d), ("mlp.c_proj", 4 * d, d)):
            w.draw(f"{block}.{part}.weight", inside, out, scale=0.7 / np.sqrt(inside)), w.draw(f"{block}.{part}.bias", out, scale=0.02)
    w.norm(f"{prefix}ln_f", d)
    return w


def projection_tensors(c):
    w, d = Weights(4), c["langauge_model_dim"]
    w.linear("projection", d, c["text_encoder_dim"]), w.linear("projection_1", d, c["text_encoder_1_dim"])
    for name in ("sos_embed", "eos_embed", "sos_embed_1", "eos_embed_1"):
        w.draw(name, d, scale=0.5)
    return w


def vocoder_tensors(c):
    w, channels = Weights(5), c["upsample_initial_channel"]

    def conv(name, out, inside, k):
        w.draw(f"{name}.weight", out, inside, k), w.draw(f"{name}.bias", out, scale=0.02)

    conv("conv_pre", channels, c["model_in_dim"], 7)
    w["mean"], w["scale"] = np.zeros(c["model_in_dim"], np.float32), np.ones(c["model_in_dim"], np.float32)
    kernels = c["resblock_kernel_sizes"]
    for i, k in enumerate(c["upsample_kernel_sizes"]):
        w.draw(f"upsampler.{i}.weight", channels, channels // 2, k), w.draw(f"upsampler.{i}.bias", channels // 2, scale=0.02)
        channels //= 2
        for j, size in enumerate(kernels):
            for d in range(len(c["resblock_dilation_sizes"][j])):
                for part in ("convs1", "convs2"):
                    conv(f"resblocks.{i * len(kernels) + j}.{part}.{d}", channels, channels, size)
    conv("conv_post", 1, channels, 7)
    return w


def unet_tensors(c):
    """A U-Net of two levels, the second with attention: as many stacks for each resnet as `cross_attention_dim` says."""
    w, widths, layers = Weights(6), c["block_out_channels"], c["layers_per_block"]
    time = 4 * widths[0]
    told = 2 * time if c.get("class_embed_type") else time

    def stacks(name, width, first, level):
        kinds = c["cross_attention_dim"][level]
        for j, states in enumerate(kinds if isinstance(kinds, list) else [None]):
            stack = f"{name}.attentions.{first * len(kinds) + j if isinstance(kinds, list) else first}"
            w.norm(f"{stack}.norm", width), w.conv(f"{stack}.proj_in", width, width, 1), w.conv(f"{stack}.proj_out", width, width, 1)
            block = f"{stack}.transformer_blocks.0"
            for index, inside in ((1, None), (2, states)):
                w.norm(f"{block}.norm{index}", width), w.attention(f"{block}.attn{index}", width, inside)
            w.norm(f"{block}.norm3", width)
            w.linear(f"{block}.ff.net.0.proj", 8 * width, width), w.linear(f"{block}.ff.net.2", width, 4 * width)

    w.linear("time_embedding.linear_1", time, widths[0]), w.linear("time_embedding.linear_2", time, time)
    if c.get("class_embed_type"):
        w.linear("class_embedding", time, c["projection_class_embeddings_input_dim"])
    w.conv("conv_in", widths[0], c["in_channels"])
    skips, inside = [widths[0]], widths[0]
    for level, (width, kind) in enumerate(zip(widths, c["down_block_types"])):
        for i in range(layers):
            w.resnet(f"down_blocks.{level}.resnets.{i}", width, inside, told)
            if "CrossAttn" in kind:
                stacks(f"down_blocks.{level}", width, i, level)
            inside = width
            skips.append(width)
        if level < len(widths) - 1:
            w.conv(f"down_blocks.{level}.downsamplers.0.conv", width, width)
            skips.append(width)
    w.resnet("mid_block.resnets.0", inside, inside, told), w.resnet("mid_block.resnets.1", inside, inside, told)
    stacks("mid_block", inside, 0, -1)
    for level, (width, kind) in enumerate(zip(widths[::-1], c["up_block_types"])):
        for i in range(layers + 1):
            w.resnet(f"up_blocks.{level}.resnets.{i}", width, inside + skips.pop(), told)
            if "CrossAttn" in kind:
                stacks(f"up_blocks.{level}", width, i, len(widths) - 1 - level)
            inside = width
        if level < len(widths) - 1:
            w.conv(f"up_blocks.{level}.upsamplers.0.conv", width, width)
    w.norm("conv_norm_out", widths[0]), w.conv("conv_out", c["out_channels"], widths[0])
    return w


def write_roberta(folder, length=16):
    """RoBERTa's tokenizer without merges: a token for each byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    words = ["<s>", "<pad>", "</s>", "<unk>", *(chr(byte) for byte in printable), *(chr(256 + i) for i in range(256 - len(printable))), "<mask>"]
    special = dict(bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>")
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(special, tokenizer_class="RobertaTokenizer", model_max_length=length)))


def write_unigram(folder, length=12):
    """T5's tokenizer with a piece for each small letter."""
    vocab = [["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["▁", -2]] + [[letter, -3] for letter in "abcdefghijklmnopqrstuvwxyz"]
    special = [dict(id=i, content=vocab[i][0], single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for i in range(3)]
    marks = dict(type="Metaspace", replacement="▁", prepend_scheme="always", split=True)
    end = dict(id="</s>", type_id=0)
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(json.dumps(dict(
        version="1.0", added_tokens=special, normalizer=None, decoder=marks, model=dict(type="Unigram", unk_id=2, vocab=vocab),
        pre_tokenizer=dict(type="Sequence", pretokenizers=[dict(type="WhitespaceSplit"), marks]),
        post_processor=dict(type="TemplateProcessing", single=[dict(Sequence=dict(id="A", type_id=0)), dict(SpecialToken=end)], pair=[],
                            special_tokens={"</s>": dict(id="</s>", ids=[1], tokens=["</s>"])}))))
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(
        tokenizer_class="T5Tokenizer", model_max_length=length, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")))


def _finish(folder, name, parts):
    write_part(folder / "vae", vae_tensors(VAE), VAE)
    write_part(folder / "vocoder", vocoder_tensors(VOCODER), VOCODER, "model.safetensors")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    index = dict(_class_name=name, vae=["diffusers", "AutoencoderKL"], vocoder=["transformers", "SpeechT5HifiGan"],
                 scheduler=["diffusers", "DDIMScheduler"], **parts)
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def write_audioldm2(folder):
    """AudioLDM 2, its CLAP with a tower for sounds."""
    whole = dict(architectures=["ClapModel"], model_type="clap", text_config={**CLAP, "model_type": "clap_text_model"}, audio_config=dict(depths=[1]),
                 projection_dim=CLAP["projection_dim"], projection_hidden_act="relu", hidden_size=12, num_hidden_layers=3)
    write_part(folder / "text_encoder", clap_tensors(CLAP, whole=True), whole, "model.safetensors")
    write_part(folder / "text_encoder_2", t5_tensors(T5), T5, "model.safetensors")
    write_part(folder / "language_model", gpt2_tensors(GPT2), GPT2, "model.safetensors")
    write_part(folder / "projection_model", projection_tensors(PROJECTION), PROJECTION)
    write_part(folder / "unet", unet_tensors(UNET2), UNET2)
    write_roberta(folder / "tokenizer"), write_unigram(folder / "tokenizer_2")
    return _finish(folder, "AudioLDM2Pipeline", dict(
        text_encoder=["transformers", "ClapModel"], tokenizer=["transformers", "RobertaTokenizerFast"],
        text_encoder_2=["transformers", "T5EncoderModel"], tokenizer_2=["transformers", "T5TokenizerFast"],
        projection_model=["audioldm2", "AudioLDM2ProjectionModel"], language_model=["transformers", "GPT2Model"],
        unet=["audioldm2", "AudioLDM2UNet2DConditionModel"], feature_extractor=["transformers", "ClapFeatureExtractor"]))


def write_audioldm(folder):
    """AudioLDM."""
    config = {**CLAP, "architectures": ["ClapTextModelWithProjection"], "model_type": "clap_text_model"}
    write_part(folder / "text_encoder", clap_tensors(CLAP), config, "model.safetensors")
    write_part(folder / "unet", unet_tensors(UNET1), UNET1)
    write_roberta(folder / "tokenizer")
    return _finish(folder, "AudioLDMPipeline", dict(
        text_encoder=["transformers", "ClapTextModelWithProjection"], tokenizer=["transformers", "RobertaTokenizerFast"],
        unet=["diffusers", "UNet2DConditionModel"]))


def sampled(model, **request):
    """A short sound."""
    with model.session(threads=2) as session:
        return session.sample(**{**SHORT, **request})
