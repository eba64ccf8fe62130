"""Baselines get what the ranker gets: its rows, the tune day for a penalty, the calibration day for a map."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vireo_models import metrics
from vireo_models.baselines import Baselines, fit_baselines
from vireo_models.boosting import MODELS, Boosting, Layout, categories, drawn_settings, fit_boosting
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
        torch.from_numpy(labels), torch.from_numpy(known), torch.full((count,), -1),
    )  # fmt: skip


def _fitted(kind: str) -> Baselines | Boosting:
    """Baselines whose fit days lie far above the calibration day."""
    fit, tune, calibrate = _rows(20_000, 0.0, 1), _rows(5000, -0.5, 2), _rows(20_000, -1.0, 3)
    sizes: dict[str, list[int]] = {name: [] for name in ENTITIES}
    if kind == "linear":
        return fit_baselines(fit, tune, calibrate, sizes, 1)
    layout = Layout(sizes, {name: [] for name in ENTITIES})
    return fit_boosting(fit, tune, calibrate, layout, drawn_settings(2, 1), 1)


@pytest.fixture(scope="module", params=["linear", "boosting"])
def judged(request: pytest.FixtureRequest) -> tuple[dict[str, np.ndarray], RankRows]:
    """Predictions on rows like those of the calibration day."""
    rows = _rows(20_000, -1.0, 4)
    return _fitted(request.param).predict(rows), rows


@pytest.mark.parametrize(("name", "column"), [("click", 0), ("like", 2), ("finish", 3)])
def test_probabilities_have_order_and_the_level_of_the_calibration_day(
    judged: tuple[dict[str, np.ndarray], RankRows], name: str, column: int
) -> None:
    found, rows = judged
    known = rows.known[:, column].numpy()
    observed = rows.labels[known, column].numpy()
    assert found[name][known].mean() == pytest.approx(observed.mean(), rel=0.03)
    assert metrics.auc(observed, found[name][known]) > 0.8  # what the number itself reaches: .83


def test_seconds_have_the_level_of_the_calibration_day(
    judged: tuple[dict[str, np.ndarray], RankRows],
) -> None:
    found, rows = judged
    assert found["watch_mean"].mean() == pytest.approx(float(rows.labels[:, 1].mean()), rel=0.05)


def test_short_lists_of_codes_are_categories_and_buckets_are_not() -> None:
    sizes = {"viewer": [5, 9], "context": [3], "video": [300], "pair": [4]}
    ordered = {"viewer": [False, True], "context": [False], "video": [False], "pair": [True]}
    flags = categories(Layout(sizes, ordered), 7)
    assert flags.tolist() == [False, False, True, False, True, False, False]


def test_settings_are_drawn_alike_and_begin_with_the_library_s_own() -> None:
    tried = drawn_settings(5, 3)
    click = tried["click"]
    assert set(tried) == set(MODELS) and all(one == click for one in tried.values())
    assert click[0] == {} and len(click) == 5 and tried == drawn_settings(5, 3)
    assert drawn_settings(5, 4)["click"][1:] != click[1:] and drawn_settings(2, 3)["click"] == click[:2]


def test_a_code_without_order_is_learnt_as_one() -> None:
    """Labels that alternate with the code: one split of categories tells them apart."""
    rng = np.random.default_rng(0)
    parts = []
    for count in (4000, 1000, 1000):
        rows = _rows(count, 0.0, 5)
        code = torch.from_numpy(rng.integers(0, 40, count))
        rows.labels[:, 0] = (code % 2).float()
        rows.index["video"] = code[:, None]
        parts.append(rows)
    sizes = {name: [40] if name == "video" else [] for name in ENTITIES}
    ordered = {name: [False] if name == "video" else [] for name in ENTITIES}
    found = fit_boosting(*parts, Layout(sizes, ordered), drawn_settings(1, 1), 1)
    assert found.settings["click"]["trials"] == 1 and found.settings["click"]["trees"] > 0
    heads = found.heads(parts[2])
    assert metrics.auc(parts[2].labels[:, 0].numpy(), heads[:, 0]) > 0.99
    assert np.array_equal(heads[:, 1], found.predict(parts[2])["watch_mean"])
