"""Calibration of the heads on the calibration day: one slope and shift of a head's logits, folded into the
task's last layer, or, for comparison, an isotonic map of its probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression
from torch import Tensor, nn

from .networks import TASKS
from .ranker import RankerModel, RankRows
from .watch_time import watch_shares


@dataclass(frozen=True)
class Affine:
    """z -> slope * z + shift on a head's logits."""

    slope: float
    shift: float


def fit_affine(logits: Tensor, target: Tensor, weight: Tensor, prior: float = 20.0) -> Affine:
    """Least weighted log loss over slope and shift; logits and target [n, K], weight [K].

    With the bins' widths as weights the shift's equation makes the mean of the head that of watch_s
    exactly. The slope is held near 1 by ``prior`` rows' worth of evidence, which matters only where
    positives are few.
    """
    z, y = logits.double(), target.double()
    weight = weight.double() / weight.double().sum()
    parameters = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-10
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        each = nn.functional.binary_cross_entropy_with_logits(
            z * parameters[0] + parameters[1], y, reduction="none"
        )
        loss = (each @ weight).mean() + 0.5 * prior / max(len(z), 1) * (parameters[0] - 1) ** 2
        loss.backward()
        return loss

    optimizer.step(closure)
    slope, shift = parameters.detach().tolist()
    return Affine(max(slope, 0.05), shift)


def fit_calibration(model: RankerModel, rows: RankRows) -> dict[str, Affine]:
    """The affine map of each head on the rows of the calibration day."""
    logits, found = model.logits(rows), {}
    for column, name in enumerate(TASKS):
        known = rows.known[:, column]
        target = rows.labels[known, column]
        widths = model.ranker.widths_watch_s if name == "watch_s" else torch.ones(1)
        shares = watch_shares(target, widths) if name == "watch_s" else target[:, None]
        found[name] = fit_affine(logits[name][known], shares, widths)
    return found


@torch.no_grad()
def fold(model: RankerModel, maps: Mapping[str, Affine]) -> None:
    """Writes the maps into the last layer of each task."""
    for name, one in maps.items():
        task = model.ranker.tasks[name]
        task.w2.mul_(one.slope)
        task.b2.mul_(one.slope).add_(one.shift)


def fit_isotonic(value: np.ndarray, target: np.ndarray) -> IsotonicRegression:
    """The rising step function of a head's value [n] with the least squared error to its label [n]."""
    return IsotonicRegression(out_of_bounds="clip").fit(value, target)
