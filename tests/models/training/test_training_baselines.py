"""Baselines get what the ranker gets: its rows, the tune day for a penalty, the calibration day for a map."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vireo_models.baselines import fit_baselines
from vireo_models.features_reference import ENTITIES
from vireo_models.ranker import RankRows


def _rows(count: int, level: float, seed: int) -> RankRows:
    """Rows of one informative number; probabilities of all three labels move with ``level``, a logit."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count).astype(np.float32)
    p = 1 / (1 + np.exp(-(1.5 * x + level)))
    labels = np.zeros((count, 4), np.float32)
    for column in (0, 2, 3):
        labels[:, column] = rng.random(count) < p
    labels[:, 1] = rng.exponential(10 * p)
    known = np.ones((count, 4), bool)
    known[::5, 3] = False
    labels[::5, 3] = 1.0  # not known, so of no effect
    nothing = torch.zeros(count, 0)
    dense = {name: nothing for name in ENTITIES} | {"viewer": torch.from_numpy(x)[:, None]}
    index = {name: nothing.long() for name in ENTITIES}
    return RankRows(
        dense, index, {}, torch.zeros(count, dtype=torch.int64), torch.zeros(1, 4),
        torch.from_numpy(labels), torch.from_numpy(known),
    )  # fmt: skip


@pytest.fixture(scope="module")
def judged() -> tuple[dict[str, np.ndarray], RankRows]:
    """Predictions of baselines whose fit days lie far above the calibration day, on rows like that day's."""
    sizes: dict[str, list[int]] = {name: [] for name in ENTITIES}
    fit, tune, calibrate = _rows(20_000, 0.0, 1), _rows(5000, -0.5, 2), _rows(20_000, -1.0, 3)
    rows = _rows(20_000, -1.0, 4)
    return fit_baselines(fit, tune, calibrate, sizes, 1).predict(rows), rows


@pytest.mark.parametrize(("name", "column"), [("click", 0), ("like", 2), ("finish", 3)])
def test_probabilities_have_the_level_of_the_calibration_day(
    judged: tuple[dict[str, np.ndarray], RankRows], name: str, column: int
) -> None:
    found, rows = judged
    known = rows.known[:, column].numpy()
    observed = rows.labels[known, column].numpy().mean()
    assert found[name][known].mean() == pytest.approx(observed, rel=0.03)


def test_seconds_have_the_level_of_the_calibration_day(
    judged: tuple[dict[str, np.ndarray], RankRows],
) -> None:
    found, rows = judged
    assert found["watch_mean"].mean() == pytest.approx(float(rows.labels[:, 1].mean()), rel=0.05)
