"""Counters and recent watches against a plain loop and against DuckDB; nothing looks into the future."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pytest
from random_data import make_dataset

from vireo_models.data import counters
from vireo_models.data.counters import COUNTERS, KEYS
from vireo_models.schema import Dataset


def is_long(log: pd.DataFrame) -> np.ndarray:
    """To the end, or 18 s of a longer video or of an unknown length; a tenth of a millisecond is forgiven."""
    play, duration = log["play_s"].astype(float), log["duration_s"].astype(float)
    to_the_end = (duration > 0) & (play >= duration - 1e-4)
    return (to_the_end | (play >= 18 - 1e-4)).to_numpy()


def amounts(log: pd.DataFrame) -> np.ndarray:
    """What each impression adds, in the order of COUNTERS, written out anew."""
    columns = [
        np.ones(len(log)),
        log["click"],
        log["finish"] == 1,
        log["like"],
        is_long(log),
        log["watch_s"],
    ]
    return np.column_stack([np.asarray(column, np.float64) for column in columns])


def key_tuples(data: Dataset, key: str, log: pd.DataFrame) -> list[tuple | None]:
    """The key of each impression by its names, None where the topic is unknown."""
    videos = data.videos.iloc[log["video"]]
    viewer, video = log["viewer"].tolist(), log["video"].tolist()
    if key == "viewer_topic":
        return [(v, t) if t else None for v, t in zip(viewer, videos["topic"], strict=True)]
    parts = {
        "viewer": [viewer],
        "video": [video],
        "creator": [videos["creator"]],
        "viewer_creator": [viewer, videos["creator"]],
    }
    return list(zip(*parts[key], strict=True))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("delay_ms", [0, 1, 1000, 12_345])
def test_totals_equal_a_plain_loop(random_log: Dataset, key: str, delay_ms: int) -> None:
    log = random_log.impressions
    adds, keys, times = amounts(log), key_tuples(random_log, key, log), log["time_ms"].tolist()
    expected = np.zeros((len(log), 6))
    for row, (own, now) in enumerate(zip(keys, times, strict=True)):
        for other in range(len(log)):
            if own is not None and keys[other] == own and times[other] + delay_ms < now:
                expected[row] += adds[other]
    np.testing.assert_allclose(counters.totals(random_log, key, delay_ms), expected, rtol=0, atol=1e-4)
    assert expected.sum() > 0


def test_totals_equal_duckdb() -> None:
    data = make_dataset(seed=11, rows=5000, viewers=30, videos=50, span_s=900)
    log = data.impressions.drop(columns="tab")
    log = log.assign(done=log["finish"] == 1, seen_long=is_long(log))
    sums = "count(*) OVER w, " + ", ".join(
        f"coalesce(sum(CAST({name} AS DOUBLE)) OVER w, 0)"
        for name in ("click", "done", '"like"', "seen_long", "watch_s")
    )
    window = "(PARTITION BY viewer ORDER BY time_ms RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    query = f"SELECT request_id, {sums} FROM log WINDOW w AS {window} ORDER BY request_id"
    expected = np.asarray(duckdb.sql(query).fetchall(), np.float64)[:, 1:]
    np.testing.assert_allclose(counters.totals(data, "viewer"), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("key", KEYS)
def test_a_planted_future_event_changes_nothing_earlier(small: Dataset, key: str) -> None:
    before = counters.totals(small, key)
    log = small.impressions
    cut = 200
    now = int(log["time_ms"].iloc[cut])
    same = (log["viewer"] == log["viewer"].iloc[cut]) & (log["video"] == log["video"].iloc[cut])
    assert not (same & (log["time_ms"] == now + 1)).any()
    planted = log.iloc[[cut]].assign(time_ms=now + 1, request_id=10_000, click=True, watch_s=np.float32(300))
    grown = pd.concat([log, planted]).sort_values("time_ms", kind="stable")
    small.impressions = grown.reset_index(drop=True)
    after = counters.totals(small, key)
    past = (small.impressions["time_ms"] <= now).to_numpy()
    np.testing.assert_array_equal(after[past], before[: past.sum()])
    # Sanity of the test: the planted row does count later.
    assert counters.state_at(small, small.as_of_ms).viewer[:, 0].sum() == len(log) + 1


def test_equal_times_see_the_same_past_and_not_each_other(small: Dataset) -> None:
    log = small.impressions.copy()
    log["viewer"] = np.int32(2)
    log["time_ms"] = np.repeat(log["time_ms"].iloc[::10].to_numpy(), 10)
    small.impressions = log
    seen = counters.totals(small, "viewer")[:, 0].reshape(-1, 10)
    earlier = [(log["time_ms"] < now).sum() for now in log["time_ms"].iloc[::10]]
    np.testing.assert_array_equal(seen, np.repeat(earlier, 10).reshape(-1, 10))


def plain_recent(data: Dataset, viewer: int, now: int, length: int) -> list[tuple]:
    """(video, time, watch or None, flags) of the latest events before ``now``, oldest first."""
    old = data.history[data.history["viewer"] == viewer].sort_values("pos")
    rows = [(r.video, -1, None, 2 * r.like + 4 * r.long_view) for r in old.itertuples()]
    log = data.impressions[(data.impressions["viewer"] == viewer) & (data.impressions["time_ms"] < now)]
    rows += [
        (r.video, r.time_ms, r.watch_s, r.click + 2 * r.like + 4 * r.seen_long + 8 * (r.finish == 1))
        for r in log.assign(seen_long=is_long(log)).itertuples()
    ]
    return rows[-length:]


def as_tuples(padded: counters.Padded, row: int) -> list[tuple]:
    there = padded.video[row] >= 0
    assert there.sum() == padded.count[row] and not there[: len(there) - padded.count[row]].any()
    watch = [None if np.isnan(w) else w for w in padded.watch_s[row][there]]
    columns = (padded.video[row][there], padded.time_ms[row][there], watch, padded.flags[row][there])
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize("delay_ms", [0, 2500])
@pytest.mark.parametrize("length", [4, 50])
def test_recent_watches_equal_a_plain_loop(random_log: Dataset, delay_ms: int, length: int) -> None:
    log = random_log.impressions
    rows = np.arange(0, len(log), 3)
    padded = counters.recent(random_log, delay_ms, length).padded(rows, length)
    for i, row in enumerate(rows):
        now = int(log["time_ms"].iloc[row]) - delay_ms
        assert as_tuples(padded, i) == plain_recent(random_log, int(log["viewer"].iloc[row]), now, length)


def test_padded_keeps_the_newest(small: Dataset) -> None:
    wide = counters.recent(small).padded()
    narrow = counters.recent(small).padded(length=3)
    np.testing.assert_array_equal(narrow.video, wide.video[:, -3:])
    np.testing.assert_array_equal(narrow.time_ms, wide.time_ms[:, -3:])


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("delay_ms", [0, 3000])
def test_state_at_equals_a_plain_loop(random_log: Dataset, share: float, delay_ms: int) -> None:
    log = random_log.impressions
    first = int(log["time_ms"].iloc[0])
    now = first + int(share * (random_log.as_of_ms - first))
    state = counters.state_at(random_log, now, delay_ms)
    known = log[log["time_ms"] + delay_ms < now]
    adds = amounts(known)
    for key in KEYS:
        codes = counters.key_codes(random_log, key, log["viewer"], log["video"])
        named = key_tuples(random_log, key, log)
        known_names = key_tuples(random_log, key, known)
        found = state.lookup(key, codes)
        for row in range(0, len(log), 5):
            if named[row] is not None:
                expected = adds[[name == named[row] for name in known_names]].sum(axis=0)
                np.testing.assert_allclose(found[row], expected, rtol=0, atol=1e-4)
    padded = state.recent.padded()
    for viewer in range(len(random_log.viewers)):
        assert as_tuples(padded, viewer) == plain_recent(random_log, viewer, now - delay_ms, 50)


def test_state_agrees_with_the_totals_of_a_row(small: Dataset) -> None:
    row = 250
    now = int(small.impressions["time_ms"].iloc[row])
    state = counters.state_at(small, now)
    for key in KEYS:
        code = counters.key_codes(small, key, *small.impressions.loc[[row], ["viewer", "video"]].to_numpy().T)
        np.testing.assert_array_equal(state.lookup(key, code)[0], counters.totals(small, key)[row])


def test_history_totals(small: Dataset) -> None:
    for key in ("viewer", "video", "creator"):
        sums = counters.history_totals(small, key)
        names = key_tuples(small, key, small.history)
        assert sums[:, 0].sum() == len(small.history) == len(names)
        code = counters.key_codes(small, key, small.history["viewer"], small.history["video"])[0]
        same = small.history[[name == names[0] for name in names]]
        np.testing.assert_array_equal(sums[code], [len(same), same["long_view"].sum(), same["like"].sum()])


def test_trend_decays_by_half_lives(small: Dataset) -> None:
    now = small.as_of_ms
    log = small.impressions
    weight = 1.0 * log["click"] + 2.0 * (log["finish"] == 1) + 4.0 * log["like"]
    expected = np.bincount(log["video"], weight, len(small.videos))
    np.testing.assert_allclose(counters.trend_at(small, now, half_life_h=1e9), expected)
    later = counters.trend_at(small, now + 12 * 3_600_000)
    np.testing.assert_allclose(later, counters.trend_at(small, now) / 2)


def test_a_delay_into_the_future_is_refused(small: Dataset) -> None:
    with pytest.raises(ValueError, match="negative"):
        counters.totals(small, "viewer", delay_ms=-1)
    with pytest.raises(ValueError, match="none of"):
        counters.totals(small, "nobody")


def test_empty_log(small: Dataset) -> None:
    small.impressions = small.impressions.iloc[:0]
    assert counters.totals(small, "video").shape == (0, len(COUNTERS))
    assert counters.recent(small).padded().video.shape == (0, 50)
    assert counters.state_at(small, small.as_of_ms).recent.padded().count.sum() > 0
