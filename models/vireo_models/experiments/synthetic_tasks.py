"""Two regression tasks whose relatedness is set: the generator of Ma et al., *Modeling Task Relationships in
Multi-task Learning with Multi-gate Mixture-of-Experts*, KDD 2018, section 3.2.

    w_1 = c u_1,  w_2 = c (p u_1 + sqrt(1 - p^2) u_2)      u_1, u_2 orthogonal and of length 1
    y_k = w_k . x + sum_i sin(alpha_i w_k . x + beta_i) + N(0, 0.01)      x ~ N(0, I)

p is the cosine between the tasks' weights. The paper leaves c, alpha and beta open; here c = 1,
alpha_i = i and beta_i = i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NOISE = 0.1  # standard deviation: a variance of 0.01
SCALE = 1.0  # c


@dataclass(frozen=True)
class Problems:
    """R problems, ordered by correlation, then seed; the same seed has the same u_1, u_2, x and noise under
    every correlation, so that they can be compared in pairs."""

    weights: Tensor  # float32 [R, 2, dim]
    seeds: tuple[int, ...]
    correlations: tuple[float, ...]
    sinusoids: int

    def sample(self, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """x float32 [R, rows, dim] and y [R, rows, 2]."""
        seeds, repeat = len(self.seeds), (len(self.correlations), 1, 1)
        x = torch.randn(seeds, rows, self.weights.shape[2], generator=generator).repeat(repeat)
        noise = NOISE * torch.randn(seeds, rows, 2, generator=generator).repeat(repeat)
        return x, self.expected(x) + noise

    def expected(self, x: Tensor) -> Tensor:
        """Labels without noise [R, rows, 2]."""
        z = torch.einsum("rnd,rtd->rnt", x, self.weights)
        numbers = torch.arange(1, self.sinusoids + 1, dtype=z.dtype)
        return z + torch.sin(z[..., None] * numbers + numbers).sum(dim=-1)


def _two_directions(dim: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two orthogonal unit vectors [dim]."""
    generator = torch.Generator().manual_seed(seed)
    both, _ = torch.linalg.qr(torch.randn(dim, 2, generator=generator))
    return both[:, 0], both[:, 1]


def make_problems(
    correlations: Sequence[float], seeds: Sequence[int], dim: int = 16, sinusoids: int = 2
) -> Problems:
    """Problems of every correlation and seed."""
    found = []
    for p in correlations:
        if not -1 <= p <= 1:
            raise ValueError(f"correlation {p} is not between -1 and 1")
        for seed in seeds:
            one, other = _two_directions(dim, seed)
            found.append(SCALE * torch.stack([one, p * one + (1 - p * p) ** 0.5 * other]))
    return Problems(torch.stack(found), tuple(seeds), tuple(correlations), sinusoids)


def label_correlation(problems: Problems, rows: int = 4000) -> list[float]:
    """Pearson correlation of the two labels, mean over seeds, one for each correlation of the weights."""
    _, y = problems.sample(rows, torch.Generator().manual_seed(0))
    y = y - y.mean(dim=1, keepdim=True)
    found = (y[..., 0] * y[..., 1]).sum(1) / (y[..., 0].norm(dim=1) * y[..., 1].norm(dim=1))
    return found.view(len(problems.correlations), -1).mean(dim=1).tolist()
