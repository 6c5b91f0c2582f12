"""MAR against torch: the published generation from the same seed, where the encoder computes all rows and masks those that are unknown."""

import math

import numpy as np
import pytest
from small_mar import MAR, mar_tensors, write_mar

import diffaccel

torch = pytest.importorskip("torch")
F = torch.nn.functional


class Reference:
    """The published network in torch, sizes from its tensors."""

    def __init__(self, c, seed=0):
        self.c, self.tokens, self.numbers = c, c["side"] ** 2, c["channels"] * c["patch"] ** 2
        self.state = {name: torch.from_numpy(value).double() for name, value in mar_tensors(c, seed).items()}

    def linear(self, x, name):
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], 1e-6)

    def block(self, x, name, seen=None):
        n, length, width = x.shape
        q, k, v = self.linear(self.norm(x, f"{name}.norm1"), f"{name}.attn.qkv").view(n, length, 3, self.c["heads"], -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        if seen is not None:
            scores = scores.masked_fill(~seen[:, None, None], -math.inf)
        x = x + self.linear((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width), f"{name}.attn.proj")
        return x + self.linear(F.gelu(self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")), f"{name}.mlp.fc2")

    def encoder(self, tokens, mask, condition):
        """All rows; those of unknown tokens are seen by none and mean nothing."""
        n, buffer = len(tokens), self.c["buffer"]
        x = torch.cat([condition[:, None].expand(n, buffer, -1), self.linear(tokens, "z_proj")], 1)
        x = self.norm(x + self.state["encoder_pos_embed_learned"], "z_proj_ln")
        seen = torch.cat([torch.ones(n, buffer, dtype=torch.bool), ~mask], 1)
        for index in range(self.c["encoder"]):
            x = self.block(x, f"encoder_blocks.{index}", seen)
        return self.norm(x, "encoder_norm")

    def decoder(self, x, mask):
        unknown = torch.cat([torch.zeros(len(x), self.c["buffer"], dtype=torch.bool), mask], 1)
        x = torch.where(unknown[..., None], self.state["mask_token"], self.linear(x, "decoder_embed")) + self.state["decoder_pos_embed_learned"]
        for index in range(self.c["decoder"]):
            x = self.block(x, f"decoder_blocks.{index}")
        return self.norm(x, "decoder_norm")[:, self.c["buffer"]:] + self.state["diffusion_pos_embed_learned"]

    def head(self, x, t, z):
        net = "diffloss.net"
        angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(128) / 128)
        time = self.linear(F.silu(self.linear(torch.cat([angles.cos(), angles.sin()], -1).double(), f"{net}.time_embed.mlp.0")), f"{net}.time_embed.mlp.2")
        y = F.silu(time + self.linear(z, f"{net}.cond_embed"))
        x = self.linear(x, f"{net}.input_proj")
        for index in range(self.c["head"]):
            block = f"{net}.res_blocks.{index}"
            shift, scale, gate = self.linear(y, f"{block}.adaLN_modulation.1").chunk(3, -1)
            h = self.norm(x, f"{block}.in_ln") * (1 + scale) + shift
            x = x + gate * self.linear(F.silu(self.linear(h, f"{block}.mlp.0")), f"{block}.mlp.2")
        shift, scale = self.linear(y, f"{net}.final_layer.adaLN_modulation.1").chunk(2, -1)
        return self.linear(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift, f"{net}.final_layer.linear")

    def made(self, z, cfg, temperature, kept):
        """DiffLoss.sample on the timesteps `kept`, ascending."""
        n = len(z) // (2 if cfg != 1 else 1)
        bars, before = respaced(kept)
        x = torch.randn(n, self.numbers)
        x = (torch.cat([x, x]) if cfg != 1 else x).double()
        for index in reversed(range(len(kept))):
            seen = torch.cat([x[:n], x[:n]]) if cfg != 1 else x
            eps, v = self.head(seen, torch.full((len(x),), float(kept[index])), z).split(self.numbers, -1)
            if cfg != 1:
                eps = (eps[n:] + cfg * (eps[:n] - eps[n:])).repeat(2, 1)
            bar, last = bars[index], before[index]
            beta = 1 - bar / last
            low = 1 if index == 0 and len(kept) > 1 else index
            variance = (1 - bars[low] / before[low]) * (1 - before[low]) / (1 - bars[low])
            log = (v + 1) / 2 * math.log(beta) + (1 - (v + 1) / 2) * math.log(variance)
            clean = x / math.sqrt(bar) - math.sqrt(1 / bar - 1) * eps
            mean = beta * math.sqrt(last) / (1 - bar) * clean + (1 - last) * math.sqrt(1 - beta) / (1 - bar) * x
            x = mean + (index > 0) * torch.exp(0.5 * log) * torch.randn(*x.shape).double() * temperature
        return x[:n]

    def sample(self, labels, steps, cfg, schedule, temperature, kept, seed, order="torch"):
        """sample_tokens. Gives latents."""
        torch.manual_seed(seed)
        np.random.seed(seed)
        n, count, c = len(labels), self.tokens, self.c
        orders = torch.stack([torch.randperm(count) for _ in labels]) if order == "torch" else shuffled(n, count)
        mask, tokens = torch.ones(n, count, dtype=torch.bool), torch.zeros(n, count, self.numbers).double()
        table = torch.cat([self.state["class_emb.weight"], self.state["fake_latent"]])
        rows = [*labels, *([c["classes"]] * n if cfg != 1 else [])]
        for index in range(steps):
            twice = len(rows) // n
            every = mask.repeat(twice, 1)
            z = self.decoder(self.encoder(tokens.repeat(twice, 1, 1), every, table[rows]), every)
            left = max(1, min(int(mask[0].sum()) - 1, math.floor(count * math.cos(math.pi / 2 * (index + 1) / steps))))
            after = torch.zeros(n, count).scatter(1, orders[:, :left], 1.0).bool()
            wanted = mask if index == steps - 1 else mask ^ after
            mask = after
            if wanted.any():
                scale = (1 + (cfg - 1) * (count - left) / count if schedule == "linear" else cfg) if cfg != 1 else 1
                tokens[wanted] = self.made(z[wanted.repeat(twice, 1)], scale, temperature, kept)
        side, patch = c["side"], c["patch"]
        grid = tokens.view(n, side, side, c["channels"], patch, patch)
        return torch.einsum("nhwcpq->nchpwq", grid).reshape(n, c["channels"], side * patch, side * patch).numpy()


def shuffled(n, count):
    orders = []
    for _ in range(n):
        order = np.array(list(range(count)))
        np.random.shuffle(order)
        orders.append(torch.from_numpy(order))
    return torch.stack(orders)


def respaced(kept):
    """Products of 1 - beta at the timesteps `kept` of the cosine process, and those before them."""
    def bar(u):
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    product, full = 1.0, []
    for i in range(1000):
        product *= 1 - min(1 - bar((i + 1) / 1000) / bar(i / 1000), 0.999)
        full.append(product)
    return [full[t] for t in kept], [1.0, *(full[t] for t in kept[:-1])]


CASES = {
    "linear": (dict(), dict(steps=4, guidance=2.0)),
    "constant": (dict(), dict(steps=3, guidance=1.5, guidance_schedule="constant", temperature=0.9)),
    "none": (dict(), dict(steps=4, guidance=1.0, temperature=0.95)),
    "below-one": (dict(), dict(steps=3, guidance=0.5, guidance_schedule="constant")),
    "numpy": (dict(side=4, buffer=3), dict(steps=5, guidance=2.0, order="numpy")),
    "patches": (dict(patch=2, channels=3, side=2), dict(steps=4, guidance=3.0)),
    "deep": (dict(encoder=1, decoder=1, head=4, width=36, head_width=33), dict(steps=9, guidance=2.0)),
    "more-steps-than-tokens": (dict(side=2), dict(steps=11, guidance=2.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_generation(tmp_path, case):
    changes, request = CASES[case]
    c = {**MAR, **changes}
    labels = [1, 5, 3]
    found = diffaccel.Model(write_mar(tmp_path / "model", seed=2, vae=False, **changes)).session(threads=2).sample(
        labels=labels, seed=6, head_steps="ddim10", **{"temperature": 1.0, **request}).latents
    kept = list(range(0, 1000, 100))
    expected = Reference(c, 2).sample(
        labels, request["steps"], request["guidance"], request.get("guidance_schedule", "linear"), request.get("temperature", 1.0), kept, 6,
        request.get("order", "torch"))
    assert np.abs(found - expected).max() <= 2e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("known", [0, 3, 8])
def test_kept_rows_are_those_of_all_rows(tmp_path, known):
    model, reference = diffaccel.Model(write_mar(tmp_path / "model", vae=False)), Reference(MAR)
    g = np.random.default_rng(known)
    tokens = reference.tokens
    mask = np.ones((2, tokens), np.int64)
    for row in mask:
        row[g.choice(tokens, known, replace=False)] = 0
    latents = g.standard_normal((2, 4, 3, 3))
    found = model.forward(["encoded", "z"], latents=latents, mask=mask, y=[1, 5])
    unknown = torch.from_numpy(mask).bool()
    rows = torch.from_numpy(latents.reshape(2, 4, tokens).transpose(0, 2, 1))
    table = torch.cat([reference.state["class_emb.weight"], reference.state["fake_latent"]])
    every = reference.encoder(rows, unknown, table[[1, 5]])
    kept = torch.cat([torch.ones(2, MAR["buffer"], dtype=torch.bool), ~unknown], 1)
    np.testing.assert_allclose(found["encoded"].reshape(-1, MAR["width"]), every[kept].numpy(), atol=2e-5)
    np.testing.assert_allclose(found["z"], reference.decoder(every, unknown).numpy(), atol=2e-5)
