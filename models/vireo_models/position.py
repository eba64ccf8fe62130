"""A shallow tower for the bias of the place on the page (PAL: Guo et al., RecSys 2019), in training alone.

What stands higher is looked at more, and what is not looked at is neither clicked nor watched: so a label is
due with the product of two probabilities, that its place was looked at, which the tower learns from the place
and the tab alone, and that of the head. The tower is no part of a bundle, since a ranker is asked before
anything has a place. A head's level comes from the calibration day, where places are as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .networks import TASKS

MOST_POSITIONS = 50  # later ones share the last row
FIRST = 0.0  # logit that training starts with


class PositionTower(nn.Module):
    """For each task, tab and place the probability of being looked at; 1 where the place is unknown."""

    def __init__(self, tabs: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.full((tabs, MOST_POSITIONS, len(TASKS)), FIRST))

    def forward(self, position: Tensor, tab: Tensor) -> Tensor:
        """position (-1 unknown) and tab, int64 [n] -> log of the probability [n, tasks]."""
        found = nn.functional.logsigmoid(self.logit[tab, position.clamp(0, MOST_POSITIONS - 1)])
        return found * (position >= 0)[:, None]


def joined(logits: Tensor, log_seen: Tensor) -> Tensor:
    """Logits [n, K] of the product of sigmoid(logits) and exp(log_seen) [n]."""
    log_p = (nn.functional.logsigmoid(logits) + log_seen[:, None]).clamp_max(-1e-6)
    return log_p - torch.log(-torch.expm1(log_p))
