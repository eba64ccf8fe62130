"""Baselines on the very rows and features of the ranker: logistic regression, ridge on log1p(watch_s).

Numbers and vectors go in as they are (they are standardised already), table rows as one-hot columns. The
strength of the penalty is chosen on the tune day for each task. The calibration day gives them what it gives
the ranker: each logistic regression an affine map of its logits, the ridge, whose expm1 is a median-like
value, the scale of ``watch_mean``, so that its mean is right, as E[watch_s] has to be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge
from tqdm import tqdm

from .calibration import Affine, fit_affine
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
    calibration: dict[str, Affine]  # of the logits
    ridge: Ridge
    watch_scale: float
    sizes: dict[str, list[int]]
    settings: dict[str, float]

    def predict(self, rows: RankRows) -> dict[str, np.ndarray]:
        """Probabilities of click, like, finish; ``watch_log`` (expm1 of the ridge) and ``watch_mean`` in
        seconds."""
        x = design(rows, self.sizes)
        found = {
            name: _mapped(model.decision_function(x), self.calibration[name])
            for name, model in self.logistic.items()
        }
        found["watch_log"] = _seconds(self.ridge, x)
        found["watch_mean"] = found["watch_log"] * self.watch_scale
        return found


def _seconds(ridge: Ridge, x: sparse.csr_matrix) -> np.ndarray:
    return np.clip(np.expm1(ridge.predict(x)), 0.0, 300.0)


def _mapped(logits: np.ndarray, one: Affine) -> np.ndarray:
    return expit(one.slope * logits.astype(np.float64) + one.shift)


def _logistic(x: sparse.csr_matrix, y: np.ndarray, penalty: float) -> LogisticRegression:
    return LogisticRegression(C=penalty, max_iter=80, tol=1e-3).fit(x, y)


def _known(x: sparse.csr_matrix, rows: RankRows, name: str) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Design and labels of the rows whose label of the task is known."""
    column = TASKS.index(name)
    known = rows.known[:, column].numpy()
    return x[known], rows.labels[known, column].numpy()


def _fit_logistic(
    name: str, fit: tuple[sparse.csr_matrix, np.ndarray], tune: tuple[sparse.csr_matrix, np.ndarray]
) -> tuple[LogisticRegression, float]:
    """The logistic regression with the penalty that is best on the tune day, and that penalty."""
    if len(np.unique(fit[1])) < 2:
        raise ValueError(f"{name}: all labels of the fit days are alike, so a baseline has nothing to learn")
    tried = {penalty: _logistic(*fit, penalty) for penalty in PENALTIES}
    loss = {penalty: log_loss(tune[1], one.predict_proba(tune[0])[:, 1]) for penalty, one in tried.items()}
    best = min(loss, key=lambda penalty: loss[penalty])
    return tried[best], best


def _calibrated(model: LogisticRegression, x: sparse.csr_matrix, y: np.ndarray) -> Affine:
    """The affine map of the logits on the calibration day, fitted as the ranker's."""
    logits = torch.from_numpy(model.decision_function(x))[:, None]
    return fit_affine(logits, torch.from_numpy(y)[:, None], torch.ones(1))


def fit_baselines(
    fit: RankRows, tune: RankRows, calibrate: RankRows, sizes: dict[str, list[int]], seed: int
) -> Baselines:
    """Fits on at most 250,000 of the fit rows, chooses penalties on the tune day, levels on the calibration
    day."""
    if len(fit) > MOST_ROWS:
        picked = np.random.default_rng(seed).choice(len(fit), MOST_ROWS, replace=False)
        fit = fit.take(torch.from_numpy(picked))
    x, x_tune, x_calibrate = (design(rows, sizes) for rows in (fit, tune, calibrate))
    logistic, calibration, settings = {}, {}, {}
    bar = tqdm([name for name in TASKS if name != "watch_s"], desc="logistic regression", leave=False)
    for name in bar:
        logistic[name], settings[name] = _fit_logistic(name, _known(x, fit, name), _known(x_tune, tune, name))
        calibration[name] = _calibrated(logistic[name], *_known(x_calibrate, calibrate, name))
    ridge, settings["watch_s"] = _fit_ridge(x, fit, x_tune, tune)
    scale = float(calibrate.labels[:, 1].mean() / max(_seconds(ridge, x_calibrate).mean(), 1e-6))
    return Baselines(logistic, calibration, ridge, scale, sizes, settings)


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
