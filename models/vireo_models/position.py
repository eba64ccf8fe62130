"""A shallow tower for the bias of the place on the page, in training alone (after PAL: Guo et al., 2019).

What stands higher is looked at more, and what is not looked at is neither clicked nor watched: so a label is
due with the product of what the head says and of how much more its place is looked at than an average place
of the tab, which the tower learns from the place and the tab alone. The head, left to itself in serving, then
means an average place; tab stays an input of it. A ranker is asked before anything has a place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .networks import TASKS

MOST_POSITIONS = 50  # later ones share the last row


def _row(position: Tensor) -> Tensor:
    return position.clamp(0, MOST_POSITIONS - 1)


class PositionTower(nn.Module):
    """For each task, tab and place how much more it is looked at than an average place of the tab."""

    def __init__(self, tabs: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(tabs, MOST_POSITIONS, len(TASKS)))
        self.register_buffer("share", torch.full((tabs, MOST_POSITIONS), 1 / MOST_POSITIONS))

    def set_shares(self, position: Tensor, tab: Tensor) -> None:
        """What an average place is: the places of these rows, by tab."""
        known = position >= 0
        count = torch.full_like(self.share, 1e-3)
        count.index_put_((tab[known], _row(position[known])), torch.ones(int(known.sum())), accumulate=True)
        self.share.copy_(count / count.sum(dim=1, keepdim=True))

    def forward(self, position: Tensor, tab: Tensor) -> Tensor:
        """position (-1 unknown) and tab, int64 [n] -> log of the ratio [n, tasks], 0 where unknown."""
        mean = torch.einsum("tp,tpk->tk", self.share, torch.sigmoid(self.logit))
        found = nn.functional.logsigmoid(self.logit[tab, _row(position)]) - mean.log()[tab]
        return found * (position >= 0)[:, None]


def joined(logits: Tensor, log_ratio: Tensor) -> Tensor:
    """Logits [n, K] of the product of sigmoid(logits) and exp(log_ratio) [n], which stays below 1."""
    log_p = (nn.functional.logsigmoid(logits) + log_ratio[:, None]).clamp_max(-1e-4)
    return log_p - torch.log(-torch.expm1(log_p))
