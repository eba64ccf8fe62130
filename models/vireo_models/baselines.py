"""Baselines on the very rows and features of the ranker: logistic regression, ridge on log1p(watch_s).

Numbers and vectors go in as they are (they are standardised already), table rows as one-hot columns. The
strength of the penalty is chosen on the tune day for each task. The ridge's expm1 is a median-like value;
``watch_mean`` scales it so that its mean is right on the calibration day, as E[watch_s] has to be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from tqdm import tqdm

from .features_reference import ENTITIES
from .metrics import log_loss
from .networks import TASKS
from .ranker import RankRows

PENALTIES = (0.003, 0.03)  # C of the logistic regression: one over the strength
RIDGES = (100.0, 3000.0)
MOST_ROWS = 250_000


def design(rows: RankRows, sizes: dict[str, list[int]]) -> sparse.csr_matrix:
    """Rows as sparse columns, float32 [n, columns]; ``sizes`` gives the table rows of each index column
    by entity."""
    vectors = rows.batch_vectors()
    numbers = [rows.dense[entity].numpy() for entity in ENTITIES] + [
        vectors[name].numpy() for name in sorted(vectors)
    ]
    blocks = [sparse.csr_matrix(np.concatenate(numbers, axis=1))]
    count = len(rows)
    for entity in ENTITIES:
        for column, size in enumerate(sizes[entity]):
            index = rows.index[entity][:, column].numpy()
            one = sparse.csr_matrix(
                (np.ones(count, np.float32), index.astype(np.int32), np.arange(count + 1, dtype=np.int32)),
                (count, size),
            )
            blocks.append(one)
    return sparse.hstack(blocks, format="csr", dtype=np.float32)


@dataclass
class Baselines:
    """Fitted baselines; predictions by name for any rows."""

    logistic: dict[str, LogisticRegression]
    ridge: Ridge
    watch_scale: float
    sizes: dict[str, list[int]]
    settings: dict[str, float]

    def predict(self, rows: RankRows) -> dict[str, np.ndarray]:
        """Probabilities of click, like, finish; ``watch_log`` (expm1 of the ridge) and ``watch_mean`` in
        seconds."""
        x = design(rows, self.sizes)
        found = {name: model.predict_proba(x)[:, 1] for name, model in self.logistic.items()}
        found["watch_log"] = _seconds(self.ridge, x)
        found["watch_mean"] = found["watch_log"] * self.watch_scale
        return found


def _seconds(ridge: Ridge, x: sparse.csr_matrix) -> np.ndarray:
    return np.clip(np.expm1(ridge.predict(x)), 0.0, 300.0)


def _logistic(x: sparse.csr_matrix, y: np.ndarray, penalty: float) -> LogisticRegression:
    return LogisticRegression(C=penalty, max_iter=80, tol=1e-3).fit(x, y)


def fit_baselines(
    fit: RankRows, tune: RankRows, calibrate: RankRows, sizes: dict[str, list[int]], seed: int
) -> Baselines:
    """Fits on at most 250,000 of the fit rows, chooses penalties on the tune day."""
    if len(fit) > MOST_ROWS:
        import torch

        fit = fit.take(
            torch.from_numpy(np.random.default_rng(seed).choice(len(fit), MOST_ROWS, replace=False))
        )
    x, x_tune = design(fit, sizes), design(tune, sizes)
    logistic, settings = {}, {}
    bar = tqdm([name for name in TASKS if name != "watch_s"], desc="logistic regression", leave=False)
    for name in bar:
        column = TASKS.index(name)
        known, known_tune = fit.known[:, column].numpy(), tune.known[:, column].numpy()
        y, y_tune = fit.labels[known, column].numpy(), tune.labels[known_tune, column].numpy()
        tried = {penalty: _logistic(x[known], y, penalty) for penalty in PENALTIES}
        loss = {
            p: log_loss(y_tune, model.predict_proba(x_tune[known_tune])[:, 1]) for p, model in tried.items()
        }
        settings[name] = min(loss, key=lambda penalty: loss[penalty])
        logistic[name] = tried[settings[name]]
    ridge, settings["watch_s"] = _fit_ridge(x, fit, x_tune, tune)
    seconds = _seconds(ridge, design(calibrate, sizes))
    scale = float(calibrate.labels[:, 1].mean() / max(seconds.mean(), 1e-6))
    return Baselines(logistic, ridge, scale, sizes, settings)


def _fit_ridge(
    x: sparse.csr_matrix, fit: RankRows, x_tune: sparse.csr_matrix, tune: RankRows
) -> tuple[Ridge, float]:
    target, wanted = np.log1p(fit.labels[:, 1].numpy()), np.log1p(tune.labels[:, 1].numpy())
    tried = {
        alpha: Ridge(alpha=alpha, solver="sparse_cg", tol=1e-3, max_iter=60).fit(x, target)
        for alpha in RIDGES
    }
    error = {alpha: float(np.mean((model.predict(x_tune) - wanted) ** 2)) for alpha, model in tried.items()}
    best = min(error, key=lambda alpha: error[alpha])
    return tried[best], best
