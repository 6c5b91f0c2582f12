"""Train emoji-sd: a Stable Diffusion U-Net and its CLIP text encoder, jointly, on latents of train_emoji_vae.py's autoencoder.

    python Tools/train_emoji_sd.py --seed 1 --minutes 85

Velocity prediction on Stable Diffusion's betas; every tenth caption is empty, for guidance.  The tokenizer is made of the captions first.
Repainted pictures ("blue dog face") are a share of each batch, one half of the possible ones: the other half is for judging.
Resumable; limited by --steps or --minutes; each checkpoint rewrites the model folder.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from autoencoders import public
from checkpoints import write_atomically, write_json
from emoji_captions import LENGTH, VOCABULARY, article, caption, encode, train_tokenizer
from emoji_data import load, repainted, trained
from muon import with_adam
from train_emoji_vae import encode as encode_pictures
from training import Training, arguments, begin
from velocity import VelocityLoss

WIDTH = 128
UNET = {
    "sample_size": 16, "in_channels": 4, "out_channels": 4, "block_out_channels": [48, 96, 128], "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [3, 3, 4], "cross_attention_dim": WIDTH, "norm_num_groups": 16, "use_linear_projection": True,
}  # fmt: skip
TEXT = {
    "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": LENGTH, "hidden_act": "quick_gelu", "projection_dim": WIDTH,
    "bos_token_id": VOCABULARY - 2, "eos_token_id": VOCABULARY - 1, "pad_token_id": VOCABULARY - 1,
}  # fmt: skip
SCHEDULE = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": "v_prediction", "timestep_spacing": "trailing",
}  # fmt: skip


class Examples:
    """Scaled latents and what may be said of them."""

    def __init__(self, pictures, autoencoder, tokenizer):
        self.names, self.keywords, self.tokenizer = pictures["names"], pictures["keywords"], tokenizer
        pairs = [pair for pair in repainted(pictures) if trained(pair[1], self.names[pair[0]][0])]
        self.painted = [(index, colour) for index, colour, _ in pairs]
        scale = autoencoder.config.scaling_factor
        self.plain_latents = encode_pictures(autoencoder, pictures["images"]) * scale
        self.painted_latents = encode_pictures(autoencoder, torch.stack([image for _, _, image in pairs])) * scale

    def batch(self, size, painted, empty, generator):
        """Latents [size,4,16,16] and tokens; the first `painted` of them repainted, a share `empty` of the captions left out."""
        which = torch.randint(len(self.plain_latents), (size - painted,), generator=generator)
        turned = torch.randint(len(self.painted), (painted,), generator=generator)
        texts = []
        for index, colour in (self.painted[i] for i in turned.tolist()):
            words = self.names[index] + self.keywords[index][: 1 if torch.rand((), generator=generator) < 0.2 else 0]
            text = f"{colour} {words[-1]}"
            texts.append(article(text) if torch.rand((), generator=generator) < 0.2 else text)
        texts += [caption(self.names[i], self.keywords[i], generator) for i in which.tolist()]
        left_out = torch.rand(size, generator=generator) < empty
        texts = ["" if out else text for text, out in zip(texts, left_out.tolist())]
        return torch.cat([self.painted_latents[turned], self.plain_latents[which]]), encode(self.tokenizer, texts)


def write(folder, network, weights):
    """The folder as diffusers reads it, weights in float16."""
    folder = Path(folder)
    for part, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        half = {name.split(".", 1)[1]: value.detach().half().contiguous() for name, value in weights.items() if name.startswith(part + ".")}
        write_atomically(folder / part / f"{file}.safetensors", lambda path: save_file(half, path, metadata={"format": "pt"}))
        config = network[part].config
        if part == "unet":
            write_json(folder / part / "config.json", public(config))
        else:
            write_json(folder / part / "config.json", {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", **TEXT,
                                                       "attention_dropout": 0.0, "layer_norm_eps": config.layer_norm_eps})
    write_json(folder / "scheduler/scheduler_config.json", {"_class_name": "DDIMScheduler", **SCHEDULE})
    write_json(folder / "model_index.json", {
        "_class_name": "StableDiffusionPipeline", "requires_safety_checker": False,
        "feature_extractor": [None, None], "image_encoder": [None, None], "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})


def main():
    p = arguments(__doc__, "Models/emoji-sd", steps=60000, batch=64, lr=2e-3)
    p.add_argument("--ema", type=float, default=0, help="averaged weights; they pay off in runs of many thousand steps")
    p.add_argument("--painted", type=float, default=0.125, help="share of a batch that is repainted")
    p.add_argument("--dropout", type=float, default=0.1, help="share of captions left out")
    p.add_argument("--full-precision", action="store_true", help="no bfloat16, for processors without it")
    options = p.parse_args()
    begin(options)
    pictures = load()
    # The weights of a state belong to the merges that they were learned with.
    if not (Path(options.state).exists() and Path(f"{options.out}/tokenizer/merges.txt").exists()):
        train_tokenizer(pictures, f"{options.out}/tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(f"{options.out}/tokenizer")
    examples = Examples(pictures, AutoencoderKL.from_pretrained(f"{options.out}/vae", torch_dtype=torch.float32), tokenizer)
    network = torch.nn.ModuleDict({"unet": UNet2DConditionModel(**UNET), "text_encoder": CLIPTextModel(CLIPTextConfig(**TEXT))})
    unet, text_encoder = network["unet"], network["text_encoder"]
    layers = [module for module in text_encoder.modules() if type(module).__name__ == "CLIPEncoder"]
    inner = torch.nn.ModuleList([unet.down_blocks, unet.mid_block, unet.up_blocks, *layers])
    training = Training(options, network, with_adam(network, inner, options.lr, 0.01, kernels=True), clip=1.0, warmup=100, ema=options.ema)
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {len(examples.painted)} repainted, from step {training.step}", flush=True)
    velocity_loss = VelocityLoss(SCHEDULE)

    def loss_of_step(generator):
        clean, tokens = examples.batch(options.batch, round(options.painted * options.batch), options.dropout, generator)
        # The fused attention's backward pass takes longer than all the rest at these few positions.
        with torch.autocast("cpu", torch.bfloat16, enabled=not options.full_precision), sdpa_kernel(SDPBackend.MATH):
            return velocity_loss(clean, generator, lambda noisy, time: unet(noisy, time, text_encoder(tokens).last_hidden_state).sample)

    training.run(loss_of_step, lambda weights: write(options.out, network, weights), every=100)


if __name__ == "__main__":
    main()
