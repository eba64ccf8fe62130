"""Planted faults in a log: repeated keys, zero and impossible durations, wrong order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vireo_models.data.clean import clean_log


def raw_log(rows: int = 200, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "viewer": rng.integers(0, 5, rows),
            "video": rng.integers(0, 9, rows),
            "time_ms": 1_000_000 + 10 * np.arange(rows),
            "play_s": rng.random(rows) * 50,
            "duration_s": rng.integers(1, 90, rows).astype(float),
            "click": rng.random(rows) < 0.5,
        }
    )


def test_clean_log_is_left_as_it_is() -> None:
    log = raw_log()
    kept, report = clean_log(log)
    pd.testing.assert_frame_equal(kept, log)
    assert (report.repeated, report.bad_time, report.bad_play, report.bad_duration, report.out_of_order) == (
        0,
    ) * 5


def test_longest_play_of_a_repeated_key_stays() -> None:
    log = raw_log()
    longer = log.iloc[[3, 7]].assign(play_s=[900.0, 901.0], click=[True, False])
    shorter = log.iloc[[3, 20]].assign(play_s=0.0)
    equal = log.iloc[[50]]
    kept, report = clean_log(pd.concat([log, longer, shorter, equal], ignore_index=True))
    assert report.repeated == 5 and report.rows_in == 205 and report.rows_out == len(kept) == 200
    assert kept["play_s"].iloc[3] == 900.0 and bool(kept["click"].iloc[3])
    assert kept["play_s"].iloc[7] == 901.0 and not kept["click"].iloc[7]
    others = np.setdiff1d(np.arange(200), [3, 7])
    pd.testing.assert_frame_equal(kept.iloc[others], log.iloc[others])


def test_shuffled_time_is_sorted() -> None:
    log = raw_log()
    shuffled = log.sample(frac=1, random_state=5).reset_index(drop=True)
    kept, report = clean_log(shuffled)
    pd.testing.assert_frame_equal(kept, log)
    later = sum(int(shuffled["time_ms"][:i].max() > t) for i, t in enumerate(shuffled["time_ms"]) if i)
    assert report.out_of_order == later > 0


def test_zero_durations_stay_and_impossible_rows_go() -> None:
    log = raw_log()
    log.loc[[1, 2, 3], "duration_s"] = 0.0
    log.loc[[4, 5, 6], "duration_s"] = [-1.0, np.nan, 1e6]
    log.loc[[7, 8], "play_s"] = [-0.5, np.inf]
    log.loc[9, "time_ms"] = -5
    kept, report = clean_log(log)
    assert (report.zero_duration, report.bad_duration, report.bad_play, report.bad_time) == (3, 3, 2, 1)
    assert len(kept) == 194 and (kept["duration_s"] == 0).sum() == 3
    assert "bad duration: 3" in report.lines()


@pytest.mark.parametrize(
    "first, end, expected", [(None, None, 200), (1_000_100, None, 190), (None, 1_000_100, 10)]
)
def test_span_of_time(first: int | None, end: int | None, expected: int) -> None:
    kept, report = clean_log(raw_log(), first_ms=first, end_ms=end)
    assert len(kept) == expected and report.bad_time == 200 - expected


def test_empty_log() -> None:
    kept, report = clean_log(raw_log(0))
    assert len(kept) == 0 and report.rows_out == 0
