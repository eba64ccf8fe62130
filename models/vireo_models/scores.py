"""The figures of a run: each head beside its baselines, viewers' spread, the truth where there is one.

``rank_scores`` gives what metrics.json holds and the report shows. Differences are paired and their intervals
come from a bootstrap over viewers; a gain above 0 means that the model is better.
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
    baseline: Predictions | None,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """labels, known, heads [n, 4] in the order of TASKS; viewer [n]; ``watch`` is what watch_readings gives.

    Baselines by name [n].
    """
    found: dict[str, Any] = {"rows": len(labels), "viewers": len(np.unique(viewer))}
    for column, name in enumerate(TASKS):
        rows = known[:, column]
        truth, ours = labels[rows, column].astype(np.float64), heads[rows, column]
        weights = metrics.viewer_weights(viewer[rows], draws, seed)
        theirs = {key: value[rows] for key, value in (baseline or {}).items()}
        if name == "watch_s":
            readings = {key: value[rows] for key, value in watch.items()}
            found[name] = _watch(truth, ours, readings, theirs, weights)
        else:
            found[name] = _binary(truth, ours, theirs.get(name), weights)
    return found


def _binary(
    truth: np.ndarray, ours: np.ndarray, theirs: np.ndarray | None, weights: np.ndarray
) -> dict[str, Any]:
    found: dict[str, Any] = {"rate": float(truth.mean()), "model": _binary_figures(truth, ours)}
    found["model"]["auc_interval"] = metrics.bootstrap(metrics.AucOf(truth, ours), weights).as_dict()
    if theirs is not None:
        found["logistic"] = _binary_figures(truth, theirs)
        found["logistic"]["auc_interval"] = metrics.bootstrap(metrics.AucOf(truth, theirs), weights).as_dict()
        found["auc_gain"] = metrics.auc_gain(truth, ours, theirs, weights).as_dict()
        losses = metrics.losses_of(truth, ours), metrics.losses_of(truth, theirs)
        found["log_loss_gain"] = metrics.mean_gain(*losses, weights).as_dict()
    found["calibration"] = metrics.deciles(truth, ours)
    return found


def _binary_figures(truth: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    return {
        "auc": metrics.auc(truth, p),
        "log_loss": metrics.log_loss(truth, p),
        "ece": metrics.ece(truth, p),
        "mean": float(p.mean()),
    }


def _watch_figures(truth: np.ndarray, value: np.ndarray) -> dict[str, Any]:
    return {
        "mae": metrics.mae(truth, value),
        "rmse": float(np.sqrt(np.mean((truth - value) ** 2))),
        "xauc": metrics.xauc(truth, value),
        "mean_ratio": float(value.mean() / max(truth.mean(), 1e-9)),
    }


def _watch(
    truth: np.ndarray, ours: np.ndarray, readings: Predictions, theirs: Predictions, weights: np.ndarray
) -> dict[str, Any]:
    """Like is compared with like: the mean with the ridge scaled to a right mean; the typical value
    (for order) and the median (for absolute error), both read from the same bins, with the ridge's expm1."""
    found: dict[str, Any] = {
        "mean": float(truth.mean()),
        "model": _watch_figures(truth, ours),
        "model_typical": _watch_figures(truth, readings["typical"]),
        "model_median": _watch_figures(truth, readings["median"]),
        "calibration": metrics.deciles(truth, ours),
    }
    if "watch_mean" not in theirs:
        return found
    mean, log = theirs["watch_mean"], theirs["watch_log"]
    found["ridge"], found["ridge_log"] = _watch_figures(truth, mean), _watch_figures(truth, log)
    found["mean_xauc_gain"] = metrics.xauc_gain(truth, ours, mean, weights).as_dict()
    found["mean_mae_gain"] = metrics.mean_gain(np.abs(truth - ours), np.abs(truth - mean), weights).as_dict()
    found["mean_mse_gain"] = metrics.mean_gain((truth - ours) ** 2, (truth - mean) ** 2, weights).as_dict()
    found["xauc_gain"] = metrics.xauc_gain(truth, readings["typical"], log, weights).as_dict()
    errors = np.abs(truth - readings["median"]), np.abs(truth - log)
    found["mae_gain"] = metrics.mean_gain(*errors, weights).as_dict()
    return found


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
