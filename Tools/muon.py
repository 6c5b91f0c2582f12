"""Muon (Jordan et al. 2024) in float32: torch's own works in bfloat16, which processors without such instructions emulate slowly."""

import math

import torch


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal by five Newton-Schulz iterations, for matrices; steps have the size that AdamW's have.

    Matrices of one shape are treated together; a convolution's kernels are a matrix with a row per output.
    """

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append(p)
            for shape, params in shapes.items():
                matrix = (shape[0], math.prod(shape[1:]))
                updates = []
                for p in params:
                    state = self.state[p]
                    if "moment" not in state:
                        state["moment"] = torch.zeros_like(p)
                    state["moment"].lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(state["moment"], group["momentum"]))
                rate = group["lr"] * 0.2 * max(matrix) ** 0.5
                for p, update in zip(params, orthogonal(torch.stack(updates).view(-1, *matrix))):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update.view(shape), alpha=-rate)


def orthogonal(x, iterations=5):
    """The nearest (roughly) orthogonal matrices of x [n, rows, columns].

    Where one side is much the longer, the iterations work on the small Gram matrix, whose polynomials all commute.
    """
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if x.shape[2] > 2 * x.shape[1]:
        gram, unit = x @ x.mT, torch.eye(x.shape[1])
        product = unit
        for _ in range(iterations):
            factor = 3.4445 * unit - 4.7750 * gram + 2.0315 * gram @ gram
            gram, product = factor @ gram @ factor, factor @ product
        return product @ x if wide else (product @ x).mT
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide else x.mT


def with_adam(network, blocks, lr, decay, kernels=False):
    """Muon for the matrices of `blocks` (and the `kernels` of convolutions), AdamW for everything else (embeddings, heads, vectors):
    [optimiser, optimiser]."""
    matrices = [p for p in blocks.parameters() if p.dim() == 2 or (kernels and p.dim() == 4)]
    chosen = {id(p) for p in matrices}
    others = [p for p in network.parameters() if id(p) not in chosen]
    return [Muon(matrices, lr=lr, weight_decay=decay), torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.95), weight_decay=0.0)]
