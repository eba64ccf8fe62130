"""The feature report: planted drift, unseen ids, importance and leaks are found, honest twins are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tiny_training import needs_library

from vireo_models import leakage
from vireo_models.config import Config
from vireo_models.data import counters
from vireo_models.data.labels import task_labels
from vireo_models.data.simulate import SimulationParams, simulate
from vireo_models.feature_report import (
    Value,
    coverage,
    drift,
    feature_value,
    importance,
    lone_auc,
    stability_index,
)
from vireo_models.features_reference import ENTITIES
from vireo_models.networks import TASKS, Column
from vireo_models.pipeline import Run, prepare
from vireo_models.ranker import RankRows
from vireo_models.rows import Query

RNG = np.random.default_rng(0)


def _numbers(values: np.ndarray) -> Value:
    return Value(values, ~np.isnan(values), False)


def _codes(values: np.ndarray) -> Value:
    return Value(values.astype(float), values >= 0, True)


# ---- coverage and drift ----


def test_stability_index_is_the_sum_of_its_definition() -> None:
    p, q = np.array([300.0, 700.0]), np.array([500.0, 500.0])
    a, b = (p + 0.5) / 1001, (q + 0.5) / 1001
    assert stability_index(p, q) == pytest.approx(((b - a) * np.log(b / a)).sum())
    assert stability_index(p, 3 * p) == pytest.approx(0.0, abs=1e-6)


def test_drift_tells_a_shift_from_none() -> None:
    before = _numbers(RNG.normal(size=5000))
    assert drift(before, _numbers(RNG.normal(size=5000)))["psi"] < 0.02
    assert drift(before, _numbers(RNG.normal(1.0, size=5000)))["psi"] > 0.25


def test_values_that_go_missing_are_drift() -> None:
    values = RNG.normal(size=5000)
    missing = np.where(RNG.random(5000) < 0.4, np.nan, values)
    assert drift(_numbers(values), _numbers(missing))["psi"] > 0.25
    assert coverage(_numbers(missing)) == pytest.approx(0.6, abs=0.03)


def test_the_share_of_unseen_ids_is_counted() -> None:
    before = _codes(RNG.integers(0, 100, 5000))
    after = np.where(np.arange(4000) < 1000, 500, RNG.integers(0, 100, 4000))
    assert drift(before, _codes(after))["unseen"] == 0.25
    assert drift(before, _codes(RNG.integers(0, 100, 4000)))["unseen"] == 0


def test_unknown_codes_and_empty_rates_are_not_covered() -> None:
    fields = ["top", "bottom", "topic", "hour"]
    raw = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 7.0, 3.0]])
    rate = {"kind": "rate", "numerator": "top", "denominator": "bottom", "prior": 0.5, "strength": 2.0}
    value = feature_value(rate, raw, fields, set())
    assert value.known.tolist() == [False, True] and value.number.tolist() == [0.5, 0.5]
    topic = feature_value({"kind": "embedding", "field": "topic"}, raw, fields, {"topic"})
    hour = feature_value({"kind": "embedding", "field": "hour"}, raw, fields, {"topic"})
    assert topic.known.tolist() == [False, True] and hour.known.tolist() == [True, True]


# ---- importance ----


class _Reads:
    """A model whose click is one number, whose watch_s one vector, and which ignores the rest."""

    def predict(self, rows: RankRows) -> np.ndarray:
        heads = np.zeros((len(rows), 4))
        heads[:, 0] = rows.dense["video"][:, 1].numpy()
        heads[:, 1] = rows.batch_vectors()["content"][:, 0].numpy()
        heads[:, 2] = rows.index["viewer"][:, 0].numpy()
        return heads


def test_importance_finds_what_each_head_reads() -> None:
    count = 3000
    dense = {name: torch.randn(count, 2) for name in ENTITIES}
    index = {name: torch.randint(0, 5, (count, 1)) for name in ENTITIES}
    video, content = torch.randint(0, 50, (count,)), torch.randn(50, 3)
    labels = torch.zeros(count, 4)
    labels[:, 0] = (dense["video"][:, 1] > 0).float()
    labels[:, 1] = content[video, 0].exp()
    labels[:, 2] = (index["viewer"][:, 0] > 3).float()
    labels[:, 3] = (torch.rand(count) < 0.5).float()
    rows = RankRows(
        dense,
        index,
        {"tower": torch.randn(count, 3)},
        video,
        content,
        labels,
        torch.ones(count, 4, dtype=bool),
        torch.full((count,), -1),
    )
    columns = {name: [] for name in ENTITIES} | {
        "viewer": [Column("code", "table", 2, 0)],
        "video": [
            Column("idle", "dense", 1, 0),
            Column("number", "dense", 1, 1),
            Column("content", "vector", 3, vector="content"),
            Column("tower", "vector", 3, vector="tower"),
        ],
    }
    found = importance(_Reads(), rows, columns, 1)  # type: ignore[arg-type]
    reads = {"click": "number", "watch_s": "content", "like": "code"}
    for head in TASKS:
        for name, lost in found.items():
            if reads.get(head) == name:
                assert lost[head] == pytest.approx(0.5, abs=0.06), (head, name)
            else:
                assert lost[head] == 0, (head, name)


# ---- leakage ----


@pytest.fixture(scope="module")
def platform() -> Run:
    needs_library()
    params = SimulationParams(viewers=250, videos=300, creators=60, days=10, sessions_per_day=0.8)
    return prepare(simulate(params), Config())


def _alarms(run: Run, change: Callable[[Run, Query], None] | None = None) -> list[str]:
    """Counter alarms on the report days; ``change`` may plant something into the query."""
    rows = run.days.report
    query = run.query.take(rows)
    if change is not None:
        change(run, query)
    labels = task_labels(run.data.impressions.iloc[rows])
    known = leakage.binary_labels(labels.values, labels.mask, TASKS)
    return leakage.counter_alarms(run.maker, query, rows, known)


def _end_of_day(run: Run, query: Query) -> None:
    query.video_totals = leakage.end_totals(run.data, "video", run.days.report)


def _own_row(run: Run, query: Query) -> None:
    """Each viewer's counters with the row itself already in them."""
    labels = task_labels(run.data.impressions.iloc[run.days.report])
    own = np.zeros((len(query), len(counters.COUNTERS)))
    own[:, 0] = 1
    own[:, [1, 3, 2]] = labels.values[:, [0, 2, 3]]
    query.viewer_totals = query.viewer_totals + own


def test_totals_of_the_moment_are_the_counters_of_training(platform: Run) -> None:
    for key, totals in (("viewer", platform.query.viewer_totals), ("video", platform.query.video_totals)):
        assert np.allclose(leakage.moment_totals(platform.data, key), totals, rtol=1e-6, atol=1e-3)


def test_counters_of_the_moment_set_off_no_alarm(platform: Run) -> None:
    assert _alarms(platform) == []


def test_counters_as_of_the_end_of_the_day_set_it_off(platform: Run) -> None:
    named = {alarm.partition(":")[0] for alarm in _alarms(platform, _end_of_day)}
    assert "video_likes" in named
    assert all(name.startswith("video_") for name in named)


def test_counters_that_hold_their_own_row_set_it_off(platform: Run) -> None:
    named = {alarm.partition(":")[0] for alarm in _alarms(platform, _own_row)}
    assert "viewer_likes" in named
    assert all(name.startswith("viewer_") for name in named)


def test_a_copy_of_the_label_is_named_and_a_good_feature_is_not() -> None:
    truth = (RNG.random(4000) < 0.3).astype(float)
    copy = _numbers(truth + 0.1 * RNG.normal(size=4000))
    good = _numbers(truth + 1.0 * RNG.normal(size=4000))
    lone = {
        name: {"click": lone_auc(one, truth, one, truth)} for name, one in (("copy", copy), ("good", good))
    }
    assert 0.7 < lone["good"]["click"] < 0.9
    alarms = leakage.lone_alarms(lone)
    assert len(alarms) == 1 and alarms[0].startswith("copy: AUC")


def test_a_code_counts_by_its_mean_label_on_the_fit_rows() -> None:
    codes = RNG.integers(0, 20, 8000)
    truth = (RNG.random(8000) < np.where(codes % 2 == 0, 0.8, 0.2)).astype(float)
    fit, report = _codes(codes[:4000]), _codes(codes[4000:])
    assert lone_auc(fit, truth[:4000], report, truth[4000:]) == pytest.approx(0.8, abs=0.03)
    shuffled = RNG.permutation(truth[:4000])
    assert lone_auc(fit, shuffled, report, truth[4000:]) < 0.62
