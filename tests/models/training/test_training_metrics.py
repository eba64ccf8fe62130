"""Metrics against scikit-learn and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score

from vireo_models import metrics
from vireo_models.recall import bootstrap_ratio, top_videos


def _case(seed: int, rows: int = 400, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(rows) < 0.3
    score = rng.random(rows) * 0.5 + 0.3 * truth
    return truth.astype(float), np.round(score, 1) if ties else score, rng.integers(0, 4, rows).astype(float)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_auc_equals_scikit_learn(seed: int, ties: bool) -> None:
    truth, score, weight = _case(seed, ties=ties)
    assert metrics.auc(truth, score) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    weighted = roc_auc_score(truth, score, sample_weight=weight)
    assert metrics.auc(truth, score, weight) == pytest.approx(weighted, abs=1e-12)


def test_auc_of_one_class_is_nan() -> None:
    assert np.isnan(metrics.auc(np.ones(4), np.arange(4.0)))


@pytest.mark.parametrize("seed", range(3))
def test_log_loss_and_mae_equal_scikit_learn(seed: int) -> None:
    truth, score, weight = _case(seed)
    assert metrics.log_loss(truth, score) == pytest.approx(log_loss(truth, score), abs=1e-12)
    expected = log_loss(truth, score, sample_weight=weight)
    assert metrics.log_loss(truth, score, weight) == pytest.approx(expected, abs=1e-12)
    assert metrics.mae(truth, score) == pytest.approx(mean_absolute_error(truth, score), abs=1e-12)
    assert metrics.losses_of(truth, score).mean() == pytest.approx(log_loss(truth, score), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_xauc_equals_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, value = rng.integers(0, 30, 700).astype(float), np.round(rng.random(700), 2)
    right = pairs = 0.0
    for a in range(700):
        below = truth < truth[a]
        right += (value[below] < value[a]).sum() + 0.5 * (value[below] == value[a]).sum()
        pairs += below.sum()
    assert metrics.xauc(truth, value) == pytest.approx(right / pairs, abs=1e-12)
    drawn = metrics.XaucPairs(truth)
    estimate = drawn.mean(drawn.right(value), np.ones(700))
    assert estimate == pytest.approx(right / pairs, abs=4e-3)  # 400,000 drawn pairs: deviation under 0.001


def test_xauc_of_a_perfect_and_a_reversed_order() -> None:
    truth = np.arange(100.0)
    assert metrics.xauc(truth, truth) == 1.0
    assert metrics.xauc(truth, -truth) == 0.0
    assert metrics.xauc(truth, np.zeros(100)) == 0.5


def test_ece_of_right_and_shifted_probabilities() -> None:
    rng = np.random.default_rng(1)
    p = rng.uniform(0.1, 0.7, 60_000)
    truth = (rng.random(60_000) < p).astype(float)
    assert metrics.ece(truth, p) < 0.01
    assert metrics.ece(truth, p + 0.2) == pytest.approx(0.2, abs=0.01)


def test_bootstrap_keeps_rows_of_a_viewer_together() -> None:
    viewer = np.repeat(np.arange(50), 4)
    weights = metrics.viewer_weights(viewer, 200, 1)
    assert (weights.reshape(200, 50, 4) == weights.reshape(200, 50, 4)[:, :, :1]).all()
    assert (weights.sum(axis=1) == 200).all()


def test_paired_gain_is_narrower_than_the_parts_and_finds_a_true_gain() -> None:
    rng = np.random.default_rng(2)
    viewer = rng.integers(0, 500, 6000)
    signal = rng.normal(size=6000)
    truth = (rng.random(6000) < 1 / (1 + np.exp(-signal))).astype(float)
    worse = signal + rng.normal(size=6000) * 0.7
    weights = metrics.viewer_weights(viewer, 200, 1)
    gain = metrics.auc_gain(truth, signal, worse, weights)
    alone = metrics.bootstrap(metrics.AucOf(truth, signal), weights)
    assert gain.low > 0
    assert gain.high - gain.low < alone.high - alone.low + 0.01
    same = metrics.auc_gain(truth, signal, signal, weights)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_deciles_cover_all_rows() -> None:
    value = np.arange(105.0)
    parts = metrics.deciles(value * 2, value)
    assert sum(part["rows"] for part in parts) == 105
    assert all(part["observed"] == pytest.approx(2 * part["predicted"]) for part in parts)


class _Met:
    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    def met(self, row: int) -> np.ndarray:
        return np.array(self.rows[row], dtype=int)


def test_top_videos_leaves_out_what_was_met() -> None:
    scores = np.array([[5, 4, 3, 2, 1], [1, 2, 3, 4, 5]], np.float32)
    found = top_videos(_Met([[0, 2], []]), scores, 3)  # type: ignore[arg-type]
    assert found.tolist() == [[1, 3, 4], [4, 3, 2]]
    few = top_videos(_Met([[0, 1, 2, 3], []]), scores, 3)  # type: ignore[arg-type]
    assert few[0].tolist() == [4, -1, -1]


def test_bootstrap_ratio_holds_the_ratio() -> None:
    rng = np.random.default_rng(0)
    bottom = rng.integers(1, 5, 400)
    top = rng.binomial(bottom, 0.3)
    low, high = bootstrap_ratio(top, bottom, 400, 1)
    assert low < top.sum() / bottom.sum() < high
    assert high - low < 0.12
