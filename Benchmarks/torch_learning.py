"""One step of learning in torch eager: router, depth pruning with LoRA, and training of all weights, as the published codes do them.

The same mathematics as the library's trainers: soft router rows of Learning-to-Cache over a frozen DiT; TinyFusion's per-sample
straight-through gates with low-rank updates of every linear layer; mean squared error and variational bound.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from dit_diffusion import Schedule, linear_schedule, respace, variational_bound
from dit_model import EPS, modulate

PROCESS = {"train_steps": 1000, "beta_start": 1e-4, "beta_end": 0.02}


def denoising_loss(network, schedule, x0, y, t, noise, run):
    bar = schedule.alphas_bar.float()[t].view(-1, 1, 1, 1)
    noisy = bar.sqrt() * x0 + (1 - bar).sqrt() * noise
    epsilon, v = run(noisy, t, y).chunk(2, dim=1)
    bound = variational_bound(schedule, x0, noisy, t, epsilon.detach(), v)
    return ((epsilon - noise).square().flatten(1).mean(1) + bound).mean()


class Router:
    """One iteration of Learning-to-Cache on a frozen network."""

    def __init__(self, network, steps=20, l1=5e-6):
        self.network, self.l1, self.steps = network, l1, steps
        self.schedule: Schedule = respace(linear_schedule(PROCESS), steps)
        width = 2 * len(network.blocks)
        self.rows = [nn.Parameter(torch.randn(width)) for _ in range(steps)]
        self.optimiser = torch.optim.AdamW(self.rows, lr=1e-3, weight_decay=0)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x, index, y, kept=None, weights=None):
        """The network; `kept` is filled, or blended with when there are weights."""
        net = self.network
        t = torch.full((len(x),), self.schedule.timesteps[index])
        c = net.t_embedder(t) + net.y_embedder(y)
        h = net.x_embedder(x) + net.pos_embed
        for i, block in enumerate(net.blocks):
            shift1, scale1, gate1, shift2, scale2, gate2 = block.adaLN_modulation(c).chunk(6, dim=1)
            for j, (part, shift, scale, gate) in enumerate(((block.attn, shift1, scale1, gate1), (block.mlp, shift2, scale2, gate2))):
                fresh = part(modulate(F.layer_norm(h, h.shape[-1:], eps=EPS), shift, scale))
                column = 2 * i + j
                if weights is not None:
                    fresh = torch.lerp(kept[column], fresh, weights[column])
                elif kept is not None:
                    kept.append(fresh)
                h = torch.addcmul(h, gate.unsqueeze(1), fresh)
        h = net.final_layer(h, c)
        side, patch = net.side, net.config["patch_size"]
        h = h.view(-1, side, side, patch, patch, net.outputs)
        return h.permute(0, 5, 1, 3, 2, 4).reshape(-1, net.outputs, side * patch, side * patch)

    def step(self, x0, y):
        pair = int(torch.randint(self.steps // 2, (1,), generator=self.generator))
        index = 2 * pair + 1
        noise = torch.randn(x0.shape, generator=self.generator)
        with torch.inference_mode():
            bar, before = float(self.schedule.alphas_bar[index]), float(self.schedule.previous[index])
            x = bar**0.5 * x0 + (1 - bar) ** 0.5 * noise
            kept = []
            epsilon = self.forward(x, index, y, kept)[:, : x0.shape[1]]
            clean = (x - (1 - bar) ** 0.5 * epsilon) / bar**0.5
            x = before**0.5 * clean + (1 - before) ** 0.5 * epsilon
            teacher = self.forward(x, index - 1, y)
        x, teacher, kept = x.clone(), teacher.clone(), [value.clone() for value in kept]
        row = self.rows[index - 1]
        scores = torch.sigmoid(row)
        student = self.forward(x, index - 1, y, kept, scores)
        loss = (teacher - student).square().mean() + self.l1 * scores.sum()
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            row.clamp_(-5, 5)
        return float(loss.detach())


class LowRank(nn.Module):
    """A frozen linear layer with a learned update of rank r."""

    def __init__(self, base, rank=8):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a = nn.Parameter((2 * torch.rand(rank, base.in_features) - 1) * base.in_features**-0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + 2 * F.linear(F.linear(x, self.a), self.b)


def with_updates(module, rank=8):
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, LowRank(child, rank))
        else:
            with_updates(child, rank)
    return module


class Pruning:
    """One step of TinyFusion's 1:2 gates with LoRA."""

    def __init__(self, network, steps):
        self.network, self.steps, self.done = with_updates(network.requires_grad_(False)), steps, 0
        self.schedule = linear_schedule(PROCESS)
        self.candidates = torch.tensor([[float(i in c) for i in range(2)] for c in itertools.combinations(range(2), 1)])
        self.gates = [nn.Parameter(torch.full((1, 2), 0.02)) for _ in range(len(network.blocks) // 2)]
        self.averages = [gate.detach().clone() for gate in self.gates]
        updates = [p for p in self.network.parameters() if p.requires_grad]
        self.trained = updates + self.gates
        self.optimiser = torch.optim.AdamW([{"params": updates, "lr": 1e-4}, {"params": self.gates, "lr": 1e-3}], weight_decay=0)
        self.generator = torch.Generator().manual_seed(0)

    def run(self, x, t, y):
        net = self.network
        tau = 4 + (0.1 - 4) * self.done / max(1, self.steps - 1)
        masks = torch.cat([F.gumbel_softmax((100 * gate).expand(len(x), -1), tau, hard=True) @ self.candidates
                           for gate in self.gates], dim=1)
        c = net.t_embedder(t) + net.y_embedder(y)
        h = net.x_embedder(x) + net.pos_embed
        for i, block in enumerate(net.blocks):
            mask = masks[:, i].view(-1, 1, 1)
            h = mask * block(h, c) + (1 - mask) * h
        h = net.final_layer(h, c)
        side, patch = net.side, net.config["patch_size"]
        h = h.view(-1, side, side, patch, patch, net.outputs)
        return h.permute(0, 5, 1, 3, 2, 4).reshape(-1, net.outputs, side * patch, side * patch)

    def step(self, x0, y):
        t = torch.randint(1000, (len(x0),), generator=self.generator)
        noise = torch.randn(x0.shape, generator=self.generator)
        loss = denoising_loss(self.network, self.schedule, x0, y, t, noise, self.run)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            for average, gate in zip(self.averages, self.gates):
                average.lerp_(gate, 0.001)
        self.done += 1
        return float(loss.detach())


class Finetuning:
    """One step of training all weights, with their moving average."""

    def __init__(self, network):
        self.network = network.requires_grad_(True)
        network.pos_embed.requires_grad_(False)
        self.schedule = linear_schedule(PROCESS)
        self.trained = [p for p in network.parameters() if p.requires_grad]
        self.averages = [p.detach().clone() for p in self.trained]
        self.optimiser = torch.optim.AdamW(self.trained, lr=2e-4, weight_decay=0)
        self.generator = torch.Generator().manual_seed(0)

    def step(self, x0, y):
        t = torch.randint(1000, (len(x0),), generator=self.generator)
        noise = torch.randn(x0.shape, generator=self.generator)
        loss = denoising_loss(self.network, self.schedule, x0, y, t, noise, self.network)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.trained, 1e-4)
        return float(loss.detach())
