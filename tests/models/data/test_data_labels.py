"""Labels, retrieval targets, recall and days."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from random_data import make_dataset

from vireo_models.data.labels import TASKS, recall_at, retrieval_targets, task_labels
from vireo_models.data.splits import split
from vireo_models.schema import Dataset

DAY_MS = 86_400_000


def spread_over_days(data: Dataset, days: int) -> Dataset:
    """The same log with its seconds stretched to ``days`` days from 5 January 2026."""
    log = data.impressions.copy()
    step = days * DAY_MS // 200
    log["time_ms"] = 1_767_571_200_000 + (log["time_ms"] - log["time_ms"].iloc[0]) // 1000 * step
    log["day"] = pd.to_datetime(log["time_ms"], unit="ms").dt.strftime("%Y%m%d").astype(np.int32)
    data.impressions, data.as_of_ms = log, 1_767_571_200_000 + days * DAY_MS
    return data.validate()


def test_task_labels(small: Dataset) -> None:
    labels = task_labels(small.impressions)
    log = small.impressions
    assert TASKS == ("click", "watch_s", "like", "finish")
    np.testing.assert_array_equal(labels.task("click")[0], log["click"])
    np.testing.assert_array_equal(labels.task("watch_s")[0], log["watch_s"])
    np.testing.assert_array_equal(labels.task("like")[0], log["like"])
    finish, mask = labels.task("finish")
    np.testing.assert_array_equal(mask, log["duration_s"] > 0)
    np.testing.assert_array_equal(finish[mask], (log["finish"] == 1)[mask])
    assert finish[~mask].sum() == 0 and (~mask).sum() > 0 and labels.mask[:, :3].all()
    assert labels.values.dtype == np.float32


@pytest.mark.parametrize("seed", range(6))
def test_retrieval_targets_equal_a_plain_loop(seed: int) -> None:
    data = spread_over_days(make_dataset(seed, rows=150, viewers=6, videos=60, span_s=200), 8)
    days = [20260111, 20260112]
    frozen = 1_767_571_200_000 + 6 * DAY_MS
    targets = retrieval_targets(data, days)
    met: dict[int, set] = {viewer: set() for viewer in range(6)}
    wanted: dict[int, set] = {viewer: set() for viewer in range(6)}
    for row in data.history.itertuples():
        met[row.viewer].add(row.video)
    for row in data.impressions.itertuples():
        if row.time_ms < frozen:
            met[row.viewer].add(row.video)
    for row in data.impressions.itertuples():
        if row.time_ms >= frozen and row.long_view and row.video not in met[row.viewer]:
            wanted[row.viewer].add(row.video)
    assert targets.frozen_ms == frozen
    assert targets.viewers.tolist() == [viewer for viewer in wanted if wanted[viewer]]
    for index, viewer in enumerate(targets.viewers):
        assert targets.targets(index).tolist() == sorted(wanted[viewer])
        assert targets.met(index).tolist() == sorted(met[viewer])


def test_a_row_before_midnight_that_the_log_books_on_the_next_day_is_met() -> None:
    data = spread_over_days(make_dataset(4, rows=150, viewers=6, videos=60, span_s=200), 8)
    midnight = 1_767_571_200_000 + 6 * DAY_MS
    log = data.impressions
    judged = log[(log["time_ms"] >= midnight) & log["long_view"]]
    pairs = set(zip(judged["viewer"], judged["video"], strict=True))
    # Viewers with another target, so that the one left out is not left out with its viewer.
    rows = np.flatnonzero(
        (log["time_ms"] < midnight) & log["long_view"] & log["viewer"].isin(judged["viewer"])
    )
    row = int(rows[-1])
    data.impressions.loc[row, "day"] = 20260111
    targets = retrieval_targets(data, [20260111, 20260112])
    viewer, video = int(log["viewer"].iloc[row]), int(log["video"].iloc[row])
    (index,) = np.flatnonzero(targets.viewers == viewer)
    assert video not in targets.targets(index) and video in targets.met(index)
    assert {(viewer, wanted) for wanted in targets.targets(index)} <= pairs


def test_recall_counts_hits() -> None:
    data = spread_over_days(make_dataset(2, rows=150, viewers=6, videos=60, span_s=200), 8)
    targets = retrieval_targets(data, [20260111, 20260112])
    ranked = np.full((len(targets.viewers), 5), -1)
    hits = []
    rng = np.random.default_rng(0)
    for index in range(len(ranked)):
        mine = targets.targets(index)
        ranked[index, :4] = rng.permutation(np.concatenate([mine[:1], np.setdiff1d(np.arange(60), mine)[:3]]))
        hits.append(1)
    recall, per_viewer, count = recall_at(targets, ranked, 4)
    assert per_viewer.tolist() == hits and count.sum() == len(targets.target_videos)
    assert recall == pytest.approx(sum(hits) / count.sum())
    perfect = np.full((len(ranked), 60), -1)
    for index in range(len(ranked)):
        perfect[index, : count[index]] = targets.targets(index)
    assert recall_at(targets, perfect, 60)[0] == 1.0
    assert recall_at(targets, perfect, 1)[0] == pytest.approx(len(ranked) / count.sum())


def test_split_by_the_last_days() -> None:
    data = spread_over_days(make_dataset(3, rows=400, viewers=9, videos=30, span_s=200), 10)
    days = split(data)
    assert days.report_days == (20260113, 20260114) and days.calibrate_days == (20260112,)
    assert days.tune_days == (20260111,) and days.fit_days == tuple(range(20260105, 20260111))
    parts = np.concatenate([days.fit, days.tune, days.calibrate, days.report])
    np.testing.assert_array_equal(parts, np.arange(len(data.impressions)))
    times = data.impressions["time_ms"].to_numpy()
    assert times[days.fit].max() < days.tune_ms <= times[days.tune].min()
    assert times[days.calibrate].max() < days.report_ms <= times[days.report].min()


def test_split_before_other_days_of_report() -> None:
    data = spread_over_days(make_dataset(3, rows=400, viewers=9, videos=30, span_s=200), 10)
    days = split(data, (20260109, 20260110))
    assert days.report_days == (20260109, 20260110) and days.calibrate_days == (20260108,)
    assert days.tune_days == (20260107,) and days.fit_days == (20260105, 20260106)
    assert data.impressions["day"].to_numpy()[days.fit].max() == 20260106
    with pytest.raises(ValueError, match="no impressions on 20260120"):
        split(data, (20260110, 20260120))
    with pytest.raises(ValueError, match="2 days of impressions before 20260107"):
        split(data, (20260107,))


def test_split_needs_enough_days(small: Dataset) -> None:
    with pytest.raises(ValueError, match="need 5"):
        split(small)
    small.name = "kuairand"
    with pytest.raises(ValueError, match="20220503"):
        split(small)
