"""Many small networks of one shape trained side by side: parameters stacked over replicas, one step for all.

Each replica has its own data, initial weights and learning rate, and learns exactly what it would alone: the
loss is a sum over replicas, so that no gradient crosses from one to another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from ..networks import Ranker

BETAS, EPSILON = (0.9, 0.999), 1e-8
Sampler = Callable[[], tuple[Tensor, Tensor]]
"""The next batch: x [R, rows, width] and y [R, rows, tasks]."""


class Replicas:
    """R rankers of the wiring ``spec`` over ``width_in`` inputs; each task has one output. ``loss`` gives the
    loss of each replica [R] from outputs and labels [R, rows, tasks]."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        width_in: int,
        seeds: Sequence[int],
        loss: Callable[[Tensor, Tensor], Tensor] = lambda z, y: ((z - y) ** 2).mean(dim=(1, 2)),
    ) -> None:
        self.loss = loss
        made = []
        for seed in seeds:
            torch.manual_seed(seed)
            made.append(Ranker(spec, width_in).eval())
        self.shape = made[0]
        self.tasks = list(made[0].tasks)
        self.parameters, _ = stack_module_state(made)
        self._forward = vmap(self._one)

    def _one(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        logits = functional_call(self.shape, dict(parameters), (x,))
        return torch.cat([logits[name] for name in self.tasks], dim=1)

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        """Loss of each replica, [R]."""
        return self.loss(self._forward(self.parameters, x), y)

    def train(self, batches: Sampler, steps: int, rates: Tensor) -> None:
        """``steps`` of Adam; ``rates`` [R] fall to 0 along a cosine."""
        adam = _Adam(list(self.parameters.values()), rates)
        for step in range(steps):
            loss = self.losses(*batches()).sum()
            gradients = torch.autograd.grad(loss, adam.parameters)
            adam.step(gradients, 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / steps))))


class _Adam:
    """Adam (Kingma and Ba, 2015); each replica, the first dimension of every tensor, has its own rate."""

    def __init__(self, parameters: list[Tensor], rates: Tensor) -> None:
        self.parameters, self.rates, self.steps = parameters, rates, 0
        self.mean = [torch.zeros_like(one) for one in parameters]
        self.square = [torch.zeros_like(one) for one in parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], share: Tensor) -> None:
        """One update at ``share`` of the rates."""
        self.steps += 1
        first, second = (1 - beta**self.steps for beta in BETAS)
        rates = self.rates * share / first
        for value, gradient, mean, square in zip(
            self.parameters, gradients, self.mean, self.square, strict=True
        ):
            mean.lerp_(gradient, 1 - BETAS[0])
            square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            move = mean / ((square / second).sqrt_().add_(EPSILON))
            value.sub_(move.mul_(rates.view(-1, *[1] * (value.dim() - 1))))
