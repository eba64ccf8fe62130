"""Figures of merit of predictions, weighted so that a bootstrap over viewers is only a change of weights.

AUC, log loss and ECE judge probabilities; MAE and XAUC judge seconds. XAUC is the share of pairs with
different truth that the prediction orders rightly, ties counting half (Zhan et al., KDD 2022).
``paired_bootstrap`` resamples viewers, all rows of one together, and gives the interval of a difference
between two predictions of the same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Weight = np.ndarray | None
Metric = Callable[[np.ndarray, np.ndarray, Weight], float]

EPSILON = 1e-7
XAUC_PAIRS = 400_000  # drawn pairs of a bootstrap's XAUC
XAUC_EXACT_ROWS = 60_000


def _ones(weight: Weight, rows: int) -> np.ndarray:
    return np.ones(rows) if weight is None else np.asarray(weight, np.float64)


def auc(truth: np.ndarray, score: np.ndarray, weight: Weight = None) -> float:
    """Area under the ROC curve of truth (0 or 1) [n] by score [n], ties counting half; NaN with one class."""
    return AucOf(truth, score)(weight)


class AucOf:
    """AUC of fixed truth and score under changing weights: the sorting is done once."""

    def __init__(self, truth: np.ndarray, score: np.ndarray) -> None:
        self.order = np.argsort(score, kind="stable")
        ordered = np.asarray(score)[self.order]
        self.truth = np.asarray(truth, np.float64)[self.order]
        new = np.flatnonzero(np.diff(ordered, prepend=np.nan) != 0)
        self.group = new if len(ordered) else np.zeros(0, np.int64)

    def __call__(self, weight: Weight = None) -> float:
        if not len(self.truth):
            return float("nan")
        w = _ones(weight, len(self.truth))[self.order]
        good, bad = (
            np.add.reduceat(w * self.truth, self.group),
            np.add.reduceat(w * (1 - self.truth), self.group),
        )
        below = np.cumsum(bad) - bad
        total = good.sum() * bad.sum()
        return float((good * (below + 0.5 * bad)).sum() / total) if total > 0 else float("nan")


def log_loss(truth: np.ndarray, probability: np.ndarray, weight: Weight = None) -> float:
    """Mean of -log of the probability given to what happened."""
    p = np.clip(np.asarray(probability, np.float64), EPSILON, 1 - EPSILON)
    loss = -(truth * np.log(p) + (1 - truth) * np.log1p(-p))
    return float(np.average(loss, weights=weight))


def ece(truth: np.ndarray, probability: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error over ``bins`` parts of equal size by prediction."""
    parts = np.array_split(np.argsort(probability, kind="stable"), bins)
    gaps = [abs(truth[part].mean() - probability[part].mean()) * len(part) for part in parts if len(part)]
    return float(np.sum(gaps) / len(truth))


def mae(truth: np.ndarray, value: np.ndarray, weight: Weight = None) -> float:
    """Mean absolute error."""
    return float(np.average(np.abs(np.asarray(truth, np.float64) - value), weights=weight))


def xauc(truth: np.ndarray, value: np.ndarray) -> float:
    """Share of pairs with different truth that ``value`` orders rightly; exact up to 60,000 rows, then of
    a fixed part."""
    if len(truth) > XAUC_EXACT_ROWS:
        part = np.random.default_rng(0).choice(len(truth), XAUC_EXACT_ROWS, replace=False)
        truth, value = truth[part], value[part]
    order = np.argsort(truth, kind="stable")
    truth, value = np.asarray(truth)[order], np.asarray(value)[order]
    right, pairs = 0.0, 0
    first_of = np.searchsorted(truth, truth, side="left")  # rows before it have a smaller truth
    for start in range(0, len(truth), 512):
        mine, below = value[start : start + 512, None], first_of[start : start + 512]
        others = value[None, : int(below.max(initial=0))]
        smaller = np.arange(others.shape[1])[None, :] < below[:, None]
        right += ((others < mine) & smaller).sum() + 0.5 * ((others == mine) & smaller).sum()
        pairs += int(below.sum())
    return float(right / pairs) if pairs else float("nan")


class XaucPairs:
    """XAUC over drawn pairs, for the bootstrap: the same pairs for every prediction, so that differences
    are paired."""

    def __init__(self, truth: np.ndarray, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        one, other = rng.integers(0, len(truth), (2, XAUC_PAIRS))
        differ = truth[one] != truth[other]
        one, other = one[differ], other[differ]
        self.low = np.where(truth[one] < truth[other], one, other)
        self.high = np.where(truth[one] < truth[other], other, one)

    def right(self, value: np.ndarray) -> np.ndarray:
        """For each pair 1 (ordered rightly), 0.5 (tie) or 0."""
        return (value[self.low] < value[self.high]) + 0.5 * (value[self.low] == value[self.high])

    def mean(self, right: np.ndarray, weight: np.ndarray) -> float:
        pair = weight[self.low] * weight[self.high]
        return float((pair * right).sum() / max(pair.sum(), 1e-12))


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


def viewer_weights(viewer: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Row weights of each draw of a bootstrap over viewers, float32 [draws, n]."""
    _, code = np.unique(viewer, return_inverse=True)
    count = int(code.max(initial=-1)) + 1
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float32)[:, code]


def bootstrap(
    statistic: Callable[[Weight], float], weights: np.ndarray, value: float | None = None
) -> Interval:
    """Interval of ``statistic(weight)`` over the rows of ``weights`` [draws, n]."""
    drawn = np.array([statistic(weight) for weight in weights])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    return Interval(statistic(None) if value is None else value, float(low), float(high))


def auc_gain(truth: np.ndarray, ours: np.ndarray, theirs: np.ndarray, weights: np.ndarray) -> Interval:
    """AUC of ``ours`` less that of ``theirs``."""
    one, other = AucOf(truth, ours), AucOf(truth, theirs)
    return bootstrap(lambda weight: one(weight) - other(weight), weights)


def mean_gain(ours: np.ndarray, theirs: np.ndarray, weights: np.ndarray) -> Interval:
    """Mean of the losses ``theirs`` less ``ours`` [n]: above 0 when ours are smaller."""
    gain = np.asarray(theirs, np.float64) - ours

    def mean(weight: Weight) -> float:
        return float(gain.mean() if weight is None else weight @ gain / weight.sum())

    return bootstrap(mean, weights)


def xauc_gain(truth: np.ndarray, ours: np.ndarray, theirs: np.ndarray, weights: np.ndarray) -> Interval:
    """XAUC of ``ours`` less that of ``theirs``; the value is exact, the interval from drawn pairs."""
    pairs = XaucPairs(truth)
    gain = pairs.right(ours) - pairs.right(theirs)

    def statistic(weight: Weight) -> float:
        return pairs.mean(gain, _ones(weight, len(truth)))

    return bootstrap(statistic, weights, xauc(truth, ours) - xauc(truth, theirs))


def losses_of(truth: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Log loss of each row."""
    p = np.clip(np.asarray(probability, np.float64), EPSILON, 1 - EPSILON)
    return -(truth * np.log(p) + (1 - truth) * np.log1p(-p))


def deciles(truth: np.ndarray, value: np.ndarray) -> list[dict[str, float]]:
    """Mean prediction and mean truth in each decile of the prediction."""
    parts = np.array_split(np.argsort(value, kind="stable"), 10)
    return [
        {"predicted": float(value[part].mean()), "observed": float(truth[part].mean()), "rows": len(part)}
        for part in parts
        if len(part)
    ]
