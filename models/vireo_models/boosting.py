"""Gradient boosting on the very rows and features of the ranker: scikit-learn's HistGradientBoosting.

One model a head: a classifier for click, like and finish, and for watch time a squared loss on log1p (order)
and a Poisson loss on seconds (the mean). Numbers, vectors and the order of buckets go in as they are, short
lists of codes as categories. Each model gets ``trials`` settings, scikit-learn's own first and the others
drawn at random; the tune day stops the growing of trees and chooses among the settings by loss, and the
calibration day gives the level, as it does for the ranker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from tqdm import tqdm

from .calibration import Affine, fit_affine
from .features_reference import ENTITIES
from .metrics import losses_of
from .networks import TASKS
from .ranker import RankRows

MOST_CATEGORIES = 255  # of a column, what scikit-learn takes; longer lists of codes go in as numbers
MOST_TREES = 400
PATIENCE = 10  # trees that may bring nothing before it stops
LEAST_MEAN = 1e-3  # seconds
Estimator = HistGradientBoostingClassifier | HistGradientBoostingRegressor
Columns = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Layout:
    """What the columns of the index blocks are, by entity: their number of codes, and whether those are
    ordered (buckets)."""

    sizes: dict[str, list[int]]
    ordered: dict[str, list[bool]]


def table(rows: RankRows) -> np.ndarray:
    """Rows as float32 [n, columns]: numbers, vectors, then codes."""
    vectors = rows.batch_vectors()
    parts = [rows.dense[entity] for entity in ENTITIES]
    parts += [vectors[name] for name in sorted(vectors)]
    parts += [rows.index[entity].float() for entity in ENTITIES]
    return torch.cat(parts, dim=1).numpy()


def categories(layout: Layout, columns: int) -> np.ndarray:
    """bool [columns]: which columns of ``table`` are categories."""
    flags = [
        size <= MOST_CATEGORIES and not ordered
        for entity in ENTITIES
        for size, ordered in zip(layout.sizes[entity], layout.ordered[entity], strict=True)
    ]
    return np.concatenate([np.zeros(columns - len(flags), bool), np.array(flags, bool)])


def drawn_settings(trials: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """``trials`` settings, the same for every model, scikit-learn's defaults first."""
    rng = np.random.default_rng(seed)
    found: list[dict[str, Any]] = [{}]
    while len(found) < trials:
        found.append(
            {
                "learning_rate": float(np.exp(rng.uniform(np.log(0.03), np.log(0.2)))),
                "max_leaf_nodes": int(rng.choice([7, 15, 31, 63])),
                "min_samples_leaf": int(rng.choice([20, 60, 200])),
                "l2_regularization": float(rng.choice([0.0, 1.0, 10.0, 100.0])),
                "max_features": float(rng.choice([0.3, 0.6, 1.0])),
            }
        )
    return dict.fromkeys(MODELS, found[:trials])


@dataclass
class Boosting:
    """Fitted models by head (``watch_log`` and ``watch_mean`` for the two of watch time), with the affine
    maps of the logits and the scale of the mean from the calibration day."""

    models: dict[str, Estimator]
    calibration: dict[str, Affine]
    watch_scale: float
    settings: dict[str, Any]  # by model: what was chosen, of how many trials, and the trees grown

    def predict(self, rows: RankRows) -> dict[str, np.ndarray]:
        """Probabilities of click, like, finish; ``watch_log`` (expm1) and ``watch_mean`` in seconds, [n]."""
        x = table(rows)
        found = {}
        for name, one in self.calibration.items():
            logits = np.asarray(self.models[name].decision_function(x), np.float64)
            found[name] = expit(one.slope * logits + one.shift)
        found["watch_log"] = _seconds(np.expm1(self.models["watch_log"].predict(x)))
        found["watch_mean"] = _seconds(self.models["watch_mean"].predict(x)) * self.watch_scale
        return found

    def heads(self, rows: RankRows) -> np.ndarray:
        """The four heads as the ranker gives them, float64 [n, 4]."""
        found = self.predict(rows)
        return np.column_stack([found["watch_mean" if name == "watch_s" else name] for name in TASKS])


def _seconds(value: np.ndarray) -> np.ndarray:
    return np.clip(value, 0.0, 300.0)


# ---- fitting ----


def _classifier(**settings: Any) -> Estimator:
    return HistGradientBoostingClassifier(**settings)


def _log_regressor(**settings: Any) -> Estimator:
    return HistGradientBoostingRegressor(loss="squared_error", **settings)


def _mean_regressor(**settings: Any) -> Estimator:
    return HistGradientBoostingRegressor(loss="poisson", **settings)


def _log_loss(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    return float(losses_of(y, model.predict_proba(x)[:, 1]).mean())


def _squared_loss(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean((model.predict(x) - y) ** 2))


def _poisson_loss(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    mean = np.maximum(model.predict(x), LEAST_MEAN)
    return float(np.mean(mean - y * np.log(mean)))


MODELS: dict[str, tuple[str, Callable[..., Estimator], Callable[..., float]]] = {
    "click": ("click", _classifier, _log_loss),
    "like": ("like", _classifier, _log_loss),
    "finish": ("finish", _classifier, _log_loss),
    "watch_log": ("watch_s", _log_regressor, _squared_loss),
    "watch_mean": ("watch_s", _mean_regressor, _poisson_loss),
}
"""By model: its head, how it is made, and the loss of the tune day that chooses among its settings."""


def _targets(rows: RankRows, name: str) -> tuple[np.ndarray, np.ndarray]:
    """bool rows with a known label [n], and the labels of those as the model ``name`` learns them."""
    column = TASKS.index(MODELS[name][0])
    known = rows.known[:, column].numpy()
    label = rows.labels[known, column].double().numpy()
    return known, np.log1p(label) if name == "watch_log" else label


def _fit_one(
    name: str, fit: Columns, tune: Columns, categorical: np.ndarray, tried: list[dict[str, Any]], seed: int
) -> tuple[Estimator, dict[str, Any]]:
    """The model with the least loss on ``tune`` among the settings ``tried``."""
    _, make, loss = MODELS[name]
    best: tuple[float, Any, dict[str, Any]] = (np.inf, None, {})
    for number, settings in enumerate(tried):
        model = make(
            **settings, max_iter=MOST_TREES, categorical_features=categorical, random_state=seed,
            early_stopping=True, n_iter_no_change=PATIENCE,
        )  # fmt: skip
        model.fit(*fit, X_val=tune[0], y_val=tune[1])
        found = loss(model, *tune)
        if found < best[0]:
            chosen = {"trials": len(tried), "chosen": number, "trees": int(model.n_iter_)}
            best = (found, model, chosen | {"settings": settings})
    return best[1], best[2]


def fit_boosting(
    fit: RankRows,
    tune: RankRows,
    calibrate: RankRows,
    layout: Layout,
    tried: Mapping[str, list[dict[str, Any]]],
    seed: int,
) -> Boosting:
    """Fits on the rows ``fit``, stops and chooses among the settings ``tried`` for each model on ``tune``,
    takes levels from ``calibrate``."""
    x, x_tune, x_calibrate = (table(rows) for rows in (fit, tune, calibrate))
    categorical = categories(layout, x.shape[1])
    models, calibration, settings = {}, {}, {}
    for name in tqdm(MODELS, desc="gradient boosting", leave=False):
        (known, y), (known_tune, y_tune) = _targets(fit, name), _targets(tune, name)
        models[name], settings[name] = _fit_one(
            name, (x[known], y), (x_tune[known_tune], y_tune), categorical, tried[name], seed
        )
        if name in ("click", "like", "finish"):
            calibration[name] = _calibrated(models[name], x_calibrate, *_targets(calibrate, name))
    mean = _seconds(models["watch_mean"].predict(x_calibrate)).mean()
    scale = float(calibrate.labels[:, TASKS.index("watch_s")].mean() / max(mean, LEAST_MEAN))
    return Boosting(models, calibration, scale, settings)


def _calibrated(model: Any, x: np.ndarray, known: np.ndarray, y: np.ndarray) -> Affine:
    """The affine map of the logits on the calibration day, fitted as the ranker's."""
    logits = torch.from_numpy(np.asarray(model.decision_function(x[known]), np.float64))[:, None]
    return fit_affine(logits, torch.from_numpy(y)[:, None], torch.ones(1))
