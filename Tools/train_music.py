"""Train tiny-audio: an AudioLDM2 U-Net and its text side (CLAP, T5, projection and GPT-2), jointly, on latents of train_music_vae.py's autoencoder.

    python Tools/train_music.py --seed 1 --minutes 70 --threads 1

Velocity prediction on AudioLDM2's betas; every tenth caption is empty, for guidance.  The tokenizers are made of the captions first.  Pieces of 2.56
seconds at the beginning, of 5.12 after 45 % of the training, whole clips in its last 30 %.  Resumable; limited by --steps or --minutes; each checkpoint
rewrites the model folder.
"""

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel, AutoencoderKL
from safetensors.torch import save_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import ClapConfig, ClapModel, GPT2Config, GPT2LMHeadModel, RobertaTokenizerFast, T5Config, T5EncoderModel, T5TokenizerFast

from autoencoders import public
from checkpoints import write_atomically, write_json
from music_captions import LENGTH, caption, train_tokenizers
from music_data import TRAINED, load
from muon import with_adam
from train_music_vae import encode
from training import Training, arguments, begin
from velocity import VelocityLoss

WIDTH, TOKENS = 64, 8
UNET = {
    "sample_size": 256, "in_channels": 8, "out_channels": 8, "block_out_channels": [48, 64, 64], "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"], "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "attention_head_dim": 2,
    "cross_attention_dim": [[None, WIDTH, WIDTH]] * 3, "norm_num_groups": 16,
}  # fmt: skip
# CLAP's tower for sounds ranks candidates, which nothing here does: it is there because ClapModel has one, as small as can be, untrained.
LISTENER = {
    "depths": [1, 1], "num_hidden_layers": 2, "num_attention_heads": [1, 1], "hidden_size": 8, "patch_embeds_hidden_size": 4, "patch_size": 2,
    "patch_stride": [2, 2], "spec_size": 16, "num_mel_bins": 8, "window_size": 2, "num_classes": 2, "mlp_ratio": 2.0, "enable_fusion": False,
    "fusion_type": None, "projection_dim": WIDTH,
}  # fmt: skip
SCHEDULE = {
    "num_train_timesteps": 1000, "beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": "v_prediction", "timestep_spacing": "trailing",
}  # fmt: skip
PIECES = ((0.45, 64), (0.7, 128), (1.0, 256))  # latent frames until that share of the training
INDEX = {
    "feature_extractor": ["transformers", "ClapFeatureExtractor"], "language_model": ["transformers", "GPT2LMHeadModel"],
    "projection_model": ["audioldm2", "AudioLDM2ProjectionModel"], "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "ClapModel"], "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "RobertaTokenizerFast"], "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "unet": ["audioldm2", "AudioLDM2UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"], "vocoder": ["transformers", "SpeechT5HifiGan"],
}  # fmt: skip


class Texts:
    """The two tokenizers of a folder."""

    def __init__(self, folder):
        self.clap = RobertaTokenizerFast.from_pretrained(f"{folder}/tokenizer")
        self.t5 = T5TokenizerFast.from_pretrained(f"{folder}/tokenizer_2")

    def __call__(self, texts):
        tokens = [tokenizer(texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt") for tokenizer in (self.clap, self.t5)]
        return [tensor for each in tokens for tensor in (each.input_ids, each.attention_mask)]


class Network(nn.Module):
    """All that is trained together."""

    def __init__(self, texts):
        super().__init__()
        none = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
        reader = {"vocab_size": len(texts.clap), "hidden_size": WIDTH, "intermediate_size": 3 * WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4,
                  "max_position_embeddings": LENGTH + 2, "projection_dim": WIDTH, **none}
        self.text_encoder = ClapModel(ClapConfig(text_config=reader, audio_config=LISTENER, projection_dim=WIDTH))
        self.text_encoder_2 = T5EncoderModel(T5Config(
            vocab_size=len(texts.t5), d_model=WIDTH, d_kv=16, num_heads=4, d_ff=2 * WIDTH, num_layers=2, feed_forward_proj="gated-gelu",
            dropout_rate=0.0, is_encoder_decoder=False, use_cache=False))
        self.projection_model = AudioLDM2ProjectionModel(WIDTH, WIDTH, WIDTH)
        self.language_model = GPT2LMHeadModel(GPT2Config(
            vocab_size=2, n_positions=64, n_embd=WIDTH, n_layer=2, n_head=4, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=0,
            eos_token_id=0, initializer_range=0.06, max_new_tokens=TOKENS))
        self.unet = AudioLDM2UNet2DConditionModel(**UNET)
        for part in (self.text_encoder.audio_model, self.text_encoder.audio_projection):
            part.requires_grad_(False)

    def read(self, clap_ids, clap_mask, t5_ids, t5_mask):
        """What the U-Net attends to: the tokens that GPT-2 generates and the states of T5."""
        pooled = self.text_encoder.text_model(input_ids=clap_ids, attention_mask=clap_mask).pooler_output
        features = F.normalize(self.text_encoder.text_projection(pooled), dim=-1).unsqueeze(1)
        states = self.text_encoder_2(input_ids=t5_ids, attention_mask=t5_mask).last_hidden_state
        joined = self.projection_model(features, states, clap_mask.new_ones(len(clap_mask), 1), t5_mask)
        sequence, mask = joined.hidden_states, joined.attention_mask
        for _ in range(TOKENS):
            last = self.language_model.transformer(inputs_embeds=sequence, attention_mask=mask, use_cache=False).last_hidden_state[:, -1:]
            sequence, mask = torch.cat([sequence, last.to(sequence.dtype)], 1), F.pad(mask, (0, 1), value=1)
        return sequence[:, -TOKENS:], states

    def forward(self, latents, time, tokens):
        generated, states = self.read(*tokens)
        return self.unet(latents, time, encoder_hidden_states=generated, encoder_hidden_states_1=states, encoder_attention_mask_1=tokens[3]).sample

    def inner(self):
        """The blocks whose matrices Muon trains."""
        t5 = [module for module in self.text_encoder_2.encoder.block.modules() if isinstance(module, nn.Linear)]
        return nn.ModuleList([self.unet.down_blocks, self.unet.mid_block, self.unet.up_blocks, self.text_encoder.text_model.encoder, *t5,
                              *self.language_model.transformer.h])


class Examples:
    """Scaled latents and what may be said of them."""

    def __init__(self, clips, autoencoder, texts, cache):
        self.about, self.texts = clips["about"][:TRAINED], texts
        if not Path(cache).exists():
            latents = encode(autoencoder, clips["audio"][:TRAINED]).half()
            write_atomically(cache, lambda path: torch.save(latents, path))
        self.latents = torch.load(cache)
        self.scale = autoencoder.config.scaling_factor

    def batch(self, size, frames, empty, generator):
        """Latents [size, 8, frames, 16] and tokens, a share `empty` of the captions left out."""
        which = torch.randint(len(self.latents), (size,), generator=generator).tolist()
        begins = torch.randint(self.latents.shape[2] - frames + 1, (size,), generator=generator).tolist()
        chance = random.Random(int(torch.randint(2**31, (), generator=generator)))
        texts = ["" if chance.random() < empty else caption(self.about[i], chance) for i in which]
        latents = torch.stack([self.latents[i, :, b : b + frames] for i, b in zip(which, begins)])
        return latents.float() * self.scale, self.texts(texts)


def write(folder, network, weights):
    """The folder as diffusers reads it, weights in float16."""
    folder = Path(folder)
    for part, file in (("unet", "diffusion_pytorch_model"), ("projection_model", "diffusion_pytorch_model"), ("text_encoder", "model"),
                       ("text_encoder_2", "model"), ("language_model", "model")):
        tied = ("lm_head.weight", "encoder.embed_tokens.weight")
        half = {name.removeprefix(part + "."): (value.half() if value.is_floating_point() else value).detach().contiguous()
                for name, value in weights.items() if name.startswith(part + ".") and not name.endswith(tied)}
        write_atomically(folder / part / f"{file}.safetensors", lambda path: save_file(half, path, metadata={"format": "pt"}))
        module = getattr(network, part)
        if file == "model":
            write_json(folder / part / "config.json", module.config.to_diff_dict() | {"architectures": [type(module).__name__]})
        else:
            write_json(folder / part / "config.json", {**public(module.config), "_class_name": type(module).__name__})
    write_json(folder / "feature_extractor/preprocessor_config.json", {"feature_extractor_type": "ClapFeatureExtractor", "feature_size": 8,
                                                                       "sampling_rate": 48000, "truncation": "rand_trunc"})
    write_json(folder / "scheduler/scheduler_config.json", {"_class_name": "DDIMScheduler", **SCHEDULE})
    write_json(folder / "model_index.json", {"_class_name": "AudioLDM2Pipeline", **INDEX})


def main():
    p = arguments(__doc__, "Models/tiny-audio", steps=60000, batch=16, lr=2e-3)
    p.add_argument("--ema", type=float, default=0, help="averaged weights; they pay off in runs of many thousand steps")
    p.add_argument("--dropout", type=float, default=0.1, help="share of captions left out")
    p.add_argument("--latents", default=".cache/music/latents.pt")
    p.add_argument("--full-precision", action="store_true", help="no bfloat16, for processors without it")
    options = p.parse_args()
    begin(options)
    # The weights of a state belong to the tokens that they were learned with.
    if not (Path(options.state).exists() and Path(f"{options.out}/tokenizer/merges.txt").exists()):
        train_tokenizers(options.out)
    texts = Texts(options.out)
    examples = Examples(load(), AutoencoderKL.from_pretrained(f"{options.out}/vae", torch_dtype=torch.float32), texts, options.latents)
    network = Network(texts)
    training = Training(options, network, with_adam(network, network.inner(), options.lr, 0.01, kernels=True), clip=1.0, warmup=100, ema=options.ema)
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, from step {training.step}", flush=True)
    velocity_loss = VelocityLoss(SCHEDULE)

    def loss_of_step(generator):
        frames = next(length for until, length in PIECES if training.progress < until)
        size = options.batch * PIECES[0][1] // frames
        clean, tokens = examples.batch(size, frames, options.dropout, generator)
        # The fused attention's backward pass takes longer than all the logits of few positions.
        attention = SDPBackend.MATH if frames == PIECES[0][1] else SDPBackend.FLASH_ATTENTION
        with torch.autocast("cpu", torch.bfloat16, enabled=not options.full_precision), sdpa_kernel([attention, SDPBackend.MATH], set_priority=True):
            return velocity_loss(clean, generator, lambda noisy, time: network(noisy, time, tokens))

    training.run(loss_of_step, lambda weights: write(options.out, network, weights), every=100)


if __name__ == "__main__":
    main()
