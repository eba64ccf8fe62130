"""The watch-time head: an ordinal regression over bins of seconds whose outputs add up to the mean.

Bin k reaches from t_k to t_k + width_k; its logit is trained on the share of it that was watched
(``shares``), or on whether the watch passed its start (``exceeds``, CREAD, Sun et al., AAAI 2024), and
E[watch_s] is the sum of widths times probabilities. Edges are fixed or quantiles of the fit rows. The same
bins also give a median and a typical value, ``readings``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

# Edges of the fixed bins in seconds: narrow where most watches end, wide in the long tail.
EDGES = (
    0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60, 75, 90, 110, 130, 160, 190, 230, 300,
)  # fmt: skip
LEAST_WIDTH = 0.25  # seconds, of a bin between quantiles


def widths_of(edges: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(b - a) for a, b in itertools.pairwise(edges))


WATCH_WIDTHS = widths_of(EDGES)


def quantile_widths(watch_s: np.ndarray, count: int) -> tuple[float, ...]:
    """Widths of at most ``count`` bins that part the watches above 0 evenly; the last ends at the largest
    fixed edge."""
    cuts = np.quantile(watch_s[watch_s > 0], np.linspace(0, 1, count + 1)[1:-1])
    edges = [0.0]
    for cut in cuts:
        if cut - edges[-1] >= LEAST_WIDTH and EDGES[-1] - cut >= LEAST_WIDTH:
            edges.append(float(cut))
    return widths_of([*edges, float(EDGES[-1])])


def watch_shares(watch_s: Tensor, widths: Tensor) -> Tensor:
    """Share of each bin that was watched: clip((y - t_k) / width_k, 0, 1), [n, K]."""
    start = torch.cumsum(widths, 0) - widths
    return ((watch_s[:, None] - start) / widths).clamp(0, 1)


def watch_exceeds(watch_s: Tensor, widths: Tensor) -> Tensor:
    """1 where the watch passed the start of the bin: [n, K]."""
    start = torch.cumsum(widths, 0) - widths
    return (watch_s[:, None] > start).float()


TARGETS = {"shares": watch_shares, "exceeds": watch_exceeds}


def bin_weights(widths: Tensor) -> Tensor:
    """How much a bin counts in the loss, adding up to 1: between alike (which orders best) and by width
    (the mean)."""
    weight = widths.sqrt()
    return weight / weight.sum()


@dataclass(frozen=True)
class BinLoss:
    """Log loss of the bins; ``labels`` names what they are trained on."""

    labels: str = "shares"

    def each(self, logits: Tensor, watch_s: Tensor, widths: Tensor) -> Tensor:
        """Loss of each row [n]."""
        target = TARGETS[self.labels](watch_s, widths)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return loss @ bin_weights(widths)

    def constant(self, watch_s: Tensor, widths: Tensor) -> Tensor:
        """Logits [K] of the best constant prediction."""
        return torch.logit(TARGETS[self.labels](watch_s, widths).mean(0).clamp(1e-6, 1 - 1e-6))


# ---- what the bins tell ----


def medians(logits: Tensor, widths: Tensor) -> np.ndarray:
    """Median watch_s of each row [n] from the bins: the probability of passing the middle of bin k is
    about its share.

    The bins' shares fall with k in truth but not always in the prediction, so they are made to fall first.
    """
    share = torch.cummin(torch.sigmoid(logits.double()), dim=1).values.numpy()
    width = widths.double().numpy()
    middle = np.cumsum(width) - width / 2
    below = (share >= 0.5).sum(axis=1)
    rows = np.arange(len(share))
    left, right = np.maximum(below - 1, 0), np.minimum(below, len(width) - 1)
    x0, x1 = np.where(below > 0, middle[left], 0.0), middle[right]
    s0, s1 = np.where(below > 0, share[rows, left], 1.0), share[rows, right]
    t = np.clip((s0 - 0.5) / np.maximum(s0 - s1, 1e-9), 0, 1)
    return np.where(below == len(width), width.sum(), x0 + t * (x1 - x0))


def typical_watch(logits: Tensor, widths: Tensor) -> np.ndarray:
    """expm1 of the mean of log1p(watch_s) [n], from the bins' logits [n, K]: each bin adds its step of log1p.

    It is what a regression on log1p estimates, and orders pairs better than the mean, ruled by the long tail.
    """
    edges = torch.cat([torch.zeros(1), torch.cumsum(widths, 0)]).double()
    steps = torch.diff(torch.log1p(edges))
    return torch.expm1(torch.sigmoid(logits.double()) @ steps).numpy()


def readings(logits: Tensor, widths: Tensor) -> dict[str, np.ndarray]:
    """Median and typical watch_s of each row [n], from the same bins as E[watch_s]."""
    return {"median": medians(logits, widths), "typical": typical_watch(logits, widths)}
