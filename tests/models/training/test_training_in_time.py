"""Vectors of a ranker's row come from towers that know no label of its day."""

from __future__ import annotations

import numpy as np
from tiny_training import needs_library, small_config

from vireo_models.data.simulate import SimulationParams, simulate
from vireo_models.pipeline import prepare, train_towers
from vireo_models.schema import Dataset, long_view_of

PARAMS = SimulationParams(viewers=120, videos=200, creators=30, days=8, history_days=3, sessions_per_day=1.5)
LATE = 40  # impressions before a midnight that the log books on the day after, as KuaiRand's does


def _book_on_the_next_day(data: Dataset, day: int) -> None:
    """The last impressions before ``day`` become impressions of ``day``; their times stay."""
    first = int(np.searchsorted(data.impressions["day"].to_numpy(), day))
    data.impressions.loc[first - LATE : first - 1, "day"] = np.int32(day)


def _item_vectors(flipped_day: int | None) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Item vectors of all rows, their days and the days fitted; all labels of one day may be turned over."""
    data = simulate(PARAMS)
    days = tuple(int(day) for day in np.unique(data.impressions["day"]))[:-4]
    _book_on_the_next_day(data, days[-1])
    if flipped_day is not None:
        its = (data.impressions["day"] == flipped_day).to_numpy()
        seen = long_view_of(data.impressions.loc[its, "play_s"], data.impressions.loc[its, "duration_s"])
        data.impressions.loc[its, "play_s"] = np.where(seen, 0, 400).astype(np.float32)
    config = small_config()
    config.tower.epochs = 1
    run = prepare(data, config)
    train_towers(run, days, refit=True)  # a refit fits no features, so that these cannot differ
    assert run.vectors is not None
    return run.vectors.tower, data.impressions["day"].to_numpy(), list(days)


def test_vectors_of_a_row_do_not_know_the_labels_of_its_day() -> None:
    needs_library()
    before, log_day, days = _item_vectors(None)
    after, _, _ = _item_vectors(days[-1])
    its, later = log_day == days[-1], log_day > days[-1]
    assert its.sum() > LATE
    assert np.array_equal(before[its], after[its])
    assert not np.array_equal(before[later], after[later])  # which have learnt them
