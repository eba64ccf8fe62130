"""The figures of a run: each head beside its rivals, viewers' spread, the truth where there is one.

``rank_scores`` gives what metrics.json holds and the report shows. Rivals (``linear``: logistic regression
and ridge, ``boosting``: gradient boosting) are other predictions of the same rows. Differences are paired and
their intervals come from a bootstrap over viewers; a gain above 0 means that the model is better.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from . import metrics
from .networks import TASKS
from .schema import Dataset

Predictions = dict[str, np.ndarray]
BINARY = ("click", "like", "finish")


def rank_scores(
    labels: np.ndarray,
    known: np.ndarray,
    viewer: np.ndarray,
    heads: np.ndarray,
    watch: Predictions,
    rivals: dict[str, Predictions],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """labels, known, heads [n, 4] in the order of TASKS; viewer [n]; ``watch`` is what watch_readings gives.

    A rival has click, like, finish, ``watch_log`` (expm1 of a mean of log1p) and ``watch_mean``, each [n].
    """
    found: dict[str, Any] = {"rows": len(labels), "viewers": len(np.unique(viewer))}
    for column, name in enumerate(TASKS):
        rows = known[:, column]
        truth, ours = labels[rows, column].astype(np.float64), heads[rows, column]
        weights = metrics.viewer_weights(viewer[rows], draws, seed)
        theirs = {rival: {key: value[rows] for key, value in one.items()} for rival, one in rivals.items()}
        if name == "watch_s":
            readings = {key: value[rows] for key, value in watch.items()}
            found[name] = _watch(truth, ours, readings, theirs, weights)
        else:
            found[name] = _binary(truth, ours, {rival: one[name] for rival, one in theirs.items()}, weights)
    return found


def _binary(
    truth: np.ndarray, ours: np.ndarray, theirs: dict[str, np.ndarray], weights: np.ndarray
) -> dict[str, Any]:
    found: dict[str, Any] = {"rate": float(truth.mean()), "model": _binary_figures(truth, ours, weights)}
    found["rivals"] = {}
    for rival, other in theirs.items():
        losses = metrics.losses_of(truth, ours), metrics.losses_of(truth, other)
        found["rivals"][rival] = _binary_figures(truth, other, weights) | {
            "auc_gain": metrics.auc_gain(truth, ours, other, weights).as_dict(),
            "log_loss_gain": metrics.mean_gain(*losses, weights).as_dict(),
        }
    found["calibration"] = metrics.deciles(truth, ours)
    return found


def _binary_figures(truth: np.ndarray, p: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    return {
        "auc": metrics.auc(truth, p),
        "auc_interval": metrics.bootstrap(metrics.AucOf(truth, p), weights).as_dict(),
        "log_loss": metrics.log_loss(truth, p),
        "ece": metrics.ece(truth, p),
        "mean": float(p.mean()),
    }


def _watch_figures(truth: np.ndarray, value: np.ndarray) -> dict[str, Any]:
    return {
        "mae": metrics.mae(truth, value),
        "rmse": float(np.sqrt(np.mean((truth - value) ** 2))),
        "log_rmse": float(np.sqrt(np.mean(_log_errors(truth, value)))),
        "xauc": metrics.xauc(truth, value),
        "mean_ratio": float(value.mean() / max(truth.mean(), 1e-9)),
    }


def _log_errors(truth: np.ndarray, value: np.ndarray) -> np.ndarray:
    return (np.log1p(truth) - np.log1p(value)) ** 2


def _watch(
    truth: np.ndarray,
    ours: np.ndarray,
    readings: Predictions,
    theirs: dict[str, Predictions],
    weights: np.ndarray,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mean": float(truth.mean()),
        "model": _watch_figures(truth, ours),
        "model_typical": _watch_figures(truth, readings["typical"]),
        "model_median": _watch_figures(truth, readings["median"]),
        "rivals": {
            rival: _watch_rival(truth, ours, readings, other, weights) for rival, other in theirs.items()
        },
        "calibration": metrics.deciles(truth, ours),
    }
    return found


def _watch_rival(
    truth: np.ndarray, ours: np.ndarray, readings: Predictions, other: Predictions, weights: np.ndarray
) -> dict[str, Any]:
    """Like is compared with like: the mean with the rival's mean; the typical value (for order, and on the
    log scale) and the median (for absolute error), all read from the same bins, with expm1 of its log1p."""
    mean, log, typical = other["watch_mean"], other["watch_log"], readings["typical"]
    pairs = {
        "mean_mae_gain": (np.abs(truth - ours), np.abs(truth - mean)),
        "mean_mse_gain": ((truth - ours) ** 2, (truth - mean) ** 2),
        "mae_gain": (np.abs(truth - readings["median"]), np.abs(truth - log)),
        "log_mse_gain": (_log_errors(truth, typical), _log_errors(truth, log)),
    }
    found = {name: metrics.mean_gain(*pair, weights).as_dict() for name, pair in pairs.items()}
    return found | {
        "mean": _watch_figures(truth, mean),
        "log": _watch_figures(truth, log),
        "mean_xauc_gain": metrics.xauc_gain(truth, ours, mean, weights).as_dict(),
        "xauc_gain": metrics.xauc_gain(truth, typical, log, weights).as_dict(),
    }


def user_spread(ranked: np.ndarray, k: int = 10) -> dict[str, float]:
    """How much the best ``k`` of different viewers differ: share of distinct lists, mean share of a list
    that two neighbours have in common; ranked [viewers, >= k]."""
    top = np.sort(ranked[:, :k], axis=1)
    distinct = len(np.unique(top, axis=0)) / max(len(top), 1)
    common = [len(np.intersect1d(a, b)) / k for a, b in itertools.pairwise(top)]
    return {
        "viewers": len(top),
        "distinct_lists": distinct,
        "mean_overlap": float(np.mean(common)) if common else 0.0,
    }


def truth_scores(data: Dataset, rows: np.ndarray, heads: np.ndarray) -> dict[str, Any] | None:
    """Against the simulator's truth: correlation of each head with the true expectation, and the best AUC
    there is."""
    if data.truth is None:
        return None
    log = data.impressions.iloc[rows]
    arguments = [log[name].to_numpy() for name in ("viewer", "video", "time_ms")]
    expected = data.truth.expected(*arguments, log["tab"].astype(str).to_numpy(), log["position"].to_numpy())
    found: dict[str, Any] = {}
    for column, name in enumerate(TASKS):
        found[name] = {"correlation": float(np.corrcoef(expected[name], heads[:, column])[0, 1])}
        if name in ("click", "like"):
            found[name]["best_auc"] = metrics.auc(log[name].to_numpy(), expected[name])
    return found
