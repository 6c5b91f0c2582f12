"""MAR (Li et al. 2024) in torch as the published code computes it, on a state dict with the official names: a whole generation."""

import math

import torch
import torch.nn.functional as F

TRAIN_STEPS = 1000


class TorchMAR:
    """The published generation in torch eager, operation by operation."""

    def __init__(self, state, heads, patch=1):
        self.state, self.heads, self.patch = state, heads, patch
        self.width = state["encoder_norm.weight"].shape[0]
        self.tokens = state["diffusion_pos_embed_learned"].shape[1]
        self.buffer = state["encoder_pos_embed_learned"].shape[1] - self.tokens
        self.numbers = state["z_proj.weight"].shape[1]
        count = lambda name, part: sum(f"{name}.{index}.{part}" in state for index in range(100))  # noqa: E731
        self.encoders, self.decoders = count("encoder_blocks", "norm1.weight"), count("decoder_blocks", "norm1.weight")
        self.blocks = count("diffloss.net.res_blocks", "in_ln.weight")

    def linear(self, x, name):
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], 1e-6)

    def block(self, x, name):
        n, length, width = x.shape
        qkv = self.linear(self.norm(x, f"{name}.norm1"), f"{name}.attn.qkv")
        q, k, v = qkv.view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width), f"{name}.attn.proj")
        return x + self.linear(F.gelu(self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")), f"{name}.mlp.fc2")

    def encoder(self, tokens, mask, condition):
        x = self.linear(tokens, "z_proj")
        n, _, width = x.shape
        x = torch.cat([condition[:, None].expand(n, self.buffer, width), x], 1)
        mask = torch.cat([mask.new_zeros(n, self.buffer), mask], 1)
        x = self.norm(x + self.state["encoder_pos_embed_learned"], "z_proj_ln")
        x = x[(1 - mask).nonzero(as_tuple=True)].reshape(n, -1, width)
        for index in range(self.encoders):
            x = self.block(x, f"encoder_blocks.{index}")
        return self.norm(x, "encoder_norm")

    def decoder(self, x, mask):
        x = self.linear(x, "decoder_embed")
        mask = torch.cat([mask.new_zeros(len(x), self.buffer), mask], 1)
        all_rows = self.state["mask_token"].repeat(*mask.shape, 1)
        all_rows[(1 - mask).nonzero(as_tuple=True)] = x.reshape(-1, self.width)
        x = all_rows + self.state["decoder_pos_embed_learned"]
        for index in range(self.decoders):
            x = self.block(x, f"decoder_blocks.{index}")
        return self.norm(x, "decoder_norm")[:, self.buffer:] + self.state["diffusion_pos_embed_learned"]

    def head(self, x, t, z):
        net = "diffloss.net"
        x = self.linear(x, f"{net}.input_proj")
        angles = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
        features = torch.cat([angles.cos(), angles.sin()], -1)
        time = self.linear(F.silu(self.linear(features, f"{net}.time_embed.mlp.0")), f"{net}.time_embed.mlp.2")
        y = F.silu(time + self.linear(z, f"{net}.cond_embed"))
        for index in range(self.blocks):
            block = f"{net}.res_blocks.{index}"
            shift, scale, gate = self.linear(y, f"{block}.adaLN_modulation.1").chunk(3, -1)
            h = self.norm(x, f"{block}.in_ln") * (1 + scale) + shift
            x = x + gate * self.linear(F.silu(self.linear(h, f"{block}.mlp.0")), f"{block}.mlp.2")
        shift, scale = self.linear(y, f"{net}.final_layer.adaLN_modulation.1").chunk(2, -1)
        return self.linear(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift, f"{net}.final_layer.linear")

    def sample_head(self, z, temperature, cfg, steps):
        """DiffLoss.sample: `z` has the conditional rows, then the others when there is guidance."""
        n = len(z) // 2 if cfg != 1 else len(z)
        x = torch.randn(n, self.numbers)
        x = torch.cat([x, x]) if cfg != 1 else x
        schedule = respaced(steps)
        for index in reversed(range(len(schedule["timesteps"]))):
            s = {name: values[index] for name, values in schedule.items()}
            t = torch.full((len(x),), int(s["timesteps"]))
            out = self.head(torch.cat([x[:n], x[:n]]) if cfg != 1 else x, t, z)
            eps, v = out.split(self.numbers, -1)
            if cfg != 1:
                guided = eps[n:] + cfg * (eps[:n] - eps[n:])
                eps = torch.cat([guided, guided])
            fraction = (v + 1) / 2
            log_variance = fraction * float(s["max_log"]) + (1 - fraction) * float(s["min_log"])
            clean = float(s["recip"]) * x - float(s["recip_minus"]) * eps
            mean = float(s["mean0"]) * clean + float(s["mean1"]) * x
            noise = torch.randn_like(x)
            x = mean + (torch.exp(0.5 * log_variance) * noise * temperature if index else 0)
        return x[:n]

    @torch.inference_mode()
    def sample(self, labels, iterations, cfg, temperature=1.0, steps=100, seed=0, every=1):
        """sample_tokens with the linear schedule; orders by torch's generator. Gives latents.

        every: above 1 only every so many-th iteration is made, and the tokens of the others are noise: for figures of time.
        """
        torch.manual_seed(seed)
        n = len(labels)
        orders = torch.stack([torch.randperm(self.tokens) for _ in range(n)])
        mask, tokens = torch.ones(n, self.tokens), torch.zeros(n, self.tokens, self.numbers)
        conditions = self.state["class_emb.weight"][torch.tensor(labels)]
        if cfg != 1:
            conditions = torch.cat([conditions, self.state["fake_latent"].expand(n, -1)])
        for index in range(iterations):
            twice = 2 if cfg != 1 else 1
            left = max(1, min(int(mask[0].sum()) - 1, math.floor(self.tokens * math.cos(math.pi / 2 * (index + 1) / iterations))))
            after = torch.zeros(n, self.tokens).scatter(1, orders[:, :left], 1.0)
            predicted = mask.bool() if index == iterations - 1 else mask.bool() ^ after.bool()
            seen, mask = mask, after
            if index % every or not predicted.any():
                tokens[predicted] = torch.randn(int(predicted.sum()), self.numbers)
                continue
            z = self.decoder(self.encoder(tokens.repeat(twice, 1, 1), seen.repeat(twice, 1), conditions), seen.repeat(twice, 1))
            scale = 1 + (cfg - 1) * (self.tokens - left) / self.tokens
            rows = predicted.repeat(twice, 1).nonzero(as_tuple=True)
            tokens[predicted] = self.sample_head(z[rows], temperature, scale if cfg != 1 else 1, steps)
        return self.unpatchify(tokens)

    def unpatchify(self, tokens):
        p, side = self.patch, math.isqrt(self.tokens)
        x = tokens.view(len(tokens), side, side, self.numbers // p**2, p, p)
        return x.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, side * p, side * p)


def respaced(steps):
    """The cosine process on `steps` of its timesteps, index 0 the cleanest; float64."""
    def bar(u):
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    product, full = 1.0, []
    for i in range(TRAIN_STEPS):
        product *= 1 - min(1 - bar((i + 1) / TRAIN_STEPS) / bar(i / TRAIN_STEPS), 0.999)
        full.append(product)
    position, stride, kept = 0.0, (TRAIN_STEPS - 1) / (steps - 1), []
    for _ in range(steps):
        kept.append(round(position))
        position += stride
    bars = torch.tensor([full[t] for t in kept], dtype=torch.float64)
    before = torch.cat([torch.ones(1, dtype=torch.float64), bars[:-1]])
    betas = 1 - bars / before
    variance = betas * (1 - before) / (1 - bars)
    return {"timesteps": torch.tensor(kept), "max_log": betas.log(), "min_log": torch.cat([variance[1:2], variance[1:]]).log(),
            "recip": (1 / bars).sqrt(), "recip_minus": (1 / bars - 1).sqrt(), "mean0": betas * before.sqrt() / (1 - bars),
            "mean1": (1 - before) * (1 - betas).sqrt() / (1 - bars)}
