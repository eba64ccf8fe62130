"""A data set that does not fit the schema is refused by table, column and row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vireo_models.schema import Dataset, SchemaError, finish_of, watch_of


def put(table: str, column: str, row: int, value: object):
    """A change of one cell, in a table of its own."""

    def change(data: Dataset) -> None:
        frame = getattr(data, table).copy()
        values = frame[column].to_numpy(copy=True)
        values[row] = value
        frame[column] = pd.array(values, dtype="str") if frame[column].dtype == "str" else values
        setattr(data, table, frame)

    return change


def drop(table: str, column: str):
    return lambda data: setattr(data, table, getattr(data, table).drop(columns=column))


def retype(table: str, column: str, dtype: str):
    return lambda data: setattr(data, table, getattr(data, table).astype({column: dtype}))


def declare(name: str, kind: str):
    return lambda data: data.video_fields.append((name, kind))


CASES = [
    (drop("impressions", "tab"), "impressions", "tab", None),
    (drop("videos", "min_age"), "videos", "min_age", None),
    (retype("impressions", "viewer", "int64"), "impressions", "viewer", None),
    (retype("impressions", "click", "int8"), "impressions", "click", None),
    (put("impressions", "viewer", 4, 99), "impressions", "viewer", 4),
    (put("impressions", "video", 5, -1), "impressions", "video", 5),
    (put("impressions", "time_ms", 50, 7), "impressions", "time_ms", 50),
    (put("impressions", "time_ms", -1, 1 << 60), "impressions", "time_ms", 299),
    (put("impressions", "position", 3, -2), "impressions", "position", 3),
    (put("impressions", "play_s", 8, -1.0), "impressions", "play_s", 8),
    (put("impressions", "play_s", 8, np.nan), "impressions", "play_s", 8),
    (put("impressions", "watch_s", 9, 301.0), "impressions", "watch_s", 9),
    (put("impressions", "finish", 2, 5), "impressions", "finish", 2),
    (put("impressions", "duration_s", 2, np.inf), "impressions", "duration_s", 2),
    (put("history", "video", 1, 12), "history", "video", 1),
    (put("history", "pos", 1, 0), "history", "viewer+pos", 1),
    (put("viewers", "id", 2, ""), "viewers", "id", 2),
    (put("viewers", "id", 2, "ü" * 33), "viewers", "id", 2),
    (put("viewers", "id", 2, "u0"), "viewers", "id", 2),
    (put("viewers", "age", 1, -3), "viewers", "age", 1),
    (put("videos", "title", 3, "x" * 513), "videos", "title", 3),
    (put("videos", "safety", 3, "fine"), "videos", "safety", 3),
    (put("videos", "unsafe_score", 4, 1.5), "videos", "unsafe_score", 4),
    (put("videos", "duration_s", 4, np.nan), "videos", "duration_s", 4),
    (put("follows", "viewer", 0, 7), "follows", "viewer", 0),
    (put("friends", "friend", 0, 2), "friends", "friend", 0),
    (put("friends", "friend", 0, 0), "friends", "friend", 0),
    (declare("nowhere", "str"), "videos", "nowhere", None),
    (declare("topic", "str"), "videos", "topic", None),
    (declare("Upper", "str"), "videos", "Upper", None),
]


@pytest.mark.parametrize("change, table, column, row", CASES)
def test_refused(small: Dataset, change, table: str, column: str, row: int | None) -> None:
    small.validate()
    change(small)
    with pytest.raises(SchemaError) as error:
        small.validate()
    assert (error.value.table, error.value.column, error.value.row) == (table, column, row)
    assert table in str(error.value) and column in str(error.value)


def test_repeated_impression_is_refused(small: Dataset) -> None:
    frame = small.impressions
    small.impressions = pd.concat([frame.iloc[:11], frame.iloc[10:]], ignore_index=True)
    with pytest.raises(SchemaError, match=r"request_id\+video, row 11"):
        small.validate()


def test_watch_is_capped_and_finish_masked() -> None:
    play = np.float32([0, 9.4, 9.5, 300, 301, 385, 100])
    duration = np.float32([10, 10, 10, 400, 300, 400, 0])
    assert watch_of(play).tolist() == [0, np.float32(9.4), 9.5, 300, 300, 300, 100]
    # 300 of 400 s is not finished; 385 of 400 s is, although the watch is capped.
    assert finish_of(play, duration).tolist() == [0, 0, 1, 0, 1, 1, -1]


def test_creator_and_topic_numbers(small: Dataset) -> None:
    creator, ids = small.creators
    assert [ids[code] for code in creator] == small.videos["creator"].tolist()
    topic, names = small.topics
    assert [names[code] if code >= 0 else "" for code in topic] == small.videos["topic"].tolist()
    assert (topic == -1).sum() == 2 and names == sorted(names)
