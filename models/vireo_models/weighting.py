"""How the tasks' losses are weighed against each other while a ranker trains.

``fixed``: the configured weights. ``uncertainty``: each loss is divided by a learnt variance, whose logarithm
is added (Kendall, Gal and Cipolla, CVPR 2018). ``gradnorm``: weights that keep the norms of the tasks'
gradients on the last shared layer near each other, larger for tasks that lag behind (Chen et al., ICML 2018).
Learnt weights start from the configured ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

GRADNORM_EVERY = 8  # steps between looks at the gradients, which cost a pass back for each task
GRADNORM_POWER = 0.5  # how strongly a task that lags behind is pulled: 0 gives all alike norms
WEIGHT_RATE = 0.005  # learning rate of the weights


class Weighting(nn.Module):
    """``total`` is what a step descends; its own parameters are learnt beside those of the network."""

    def __init__(self, kind: str, weight: Mapping[str, float]) -> None:
        super().__init__()
        self.kind, self.tasks = kind, list(weight)
        start = torch.tensor([weight[name] for name in self.tasks])
        if kind != "fixed" and not bool((start > 0).all()):
            raise ValueError(f"loss_weight: {kind} learns weights above 0, so they must start above it")
        self.register_buffer("start", start)
        self.log_weight = nn.Parameter(start.clamp_min(1e-6).log(), requires_grad=kind != "fixed")
        self.register_buffer("first", torch.zeros(len(self.tasks)))  # losses of the first look
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def groups(self) -> list[dict[str, Any]]:
        """What an optimiser is to take up."""
        return [] if self.kind == "fixed" else [{"params": [self.log_weight], "lr": WEIGHT_RATE, "eps": 1e-8}]

    def total(self, losses: Mapping[str, Tensor], shared: Tensor) -> Tensor:
        """losses by task -> what to descend; ``shared`` is the last weight that all tasks go through."""
        each = torch.stack([losses[name] for name in self.tasks])
        if self.kind == "fixed":
            return (self.start * each).sum()
        if self.kind == "uncertainty":
            # exp(-s) loss + s, where s is the logarithm of a variance and minus that of the weight.
            return (self.log_weight.exp() * each).sum() - self.log_weight.sum()
        found = (self.log_weight.exp().detach() * each).sum()
        if self.steps % GRADNORM_EVERY == 0:
            found = found + self._spread(each, shared)
        self.steps += 1
        return found

    def _spread(self, each: Tensor, shared: Tensor) -> Tensor:
        """Distance of the weighted gradients' norms from where they should be; it moves the weights alone."""
        norms = torch.stack(
            [torch.autograd.grad(one, shared, retain_graph=True)[0].norm() for one in each.unbind()]
        )
        if not bool(self.first.any()):
            self.first.copy_(each.detach())
        rate = each.detach() / self.first
        weighted = self.log_weight.exp() * norms.detach()
        target = weighted.mean().detach() * (rate / rate.mean()) ** GRADNORM_POWER
        return (weighted - target).abs().sum()

    @torch.no_grad()
    def normalise(self) -> None:
        """GradNorm's weights keep their sum."""
        if self.kind == "gradnorm":
            weight = self.log_weight.exp()
            self.log_weight.copy_((weight * self.start.sum() / weight.sum()).log())

    def weights(self) -> dict[str, float]:
        found = self.start if self.kind == "fixed" else self.log_weight.exp()
        return dict(zip(self.tasks, found.tolist(), strict=True))
