"""One event, viewer and video schema for every source of data.

A source (``data.kuairand``, ``data.simulate``) fills a :class:`Dataset`; everything later reads only that.
Entities are addressed by *row*: ``viewer`` and ``video`` columns hold the position of the viewer in
``viewers`` and of the video in ``videos``. Times are UTC milliseconds. ``Dataset.validate`` names the table,
column and row of the first thing wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

UNKNOWN_MS = int(np.iinfo(np.int64).min)
"""No upload time; for a follow: older than the data."""

WATCH_CAP_S = 300.0
FINISH_SHARE = 0.95
SAFETY = ("safe", "unsafe", "unknown")

# Columns with their dtypes; "str" stands for text without missing values ("" is a missing value of a field).
IMPRESSION_COLUMNS: dict[str, str] = {
    "request_id": "int64",  # groups what one answer showed
    "viewer": "int32",
    "video": "int32",
    "time_ms": "int64",
    "day": "int32",  # local calendar day, YYYYMMDD, as the log states it
    "tab": "category",
    "position": "int16",  # in the answer, from 0; -1 unknown
    "click": "bool",
    "like": "bool",
    "follow": "bool",
    "share": "bool",
    "hate": "bool",
    "long_view": "bool",
    "play_s": "float32",  # not capped
    "watch_s": "float32",  # play_s capped at 300
    "duration_s": "float32",  # 0 unknown
    "finish": "int8",  # 1, 0; -1 unknown
    "is_random": "bool",
}
HISTORY_COLUMNS = {"viewer": "int32", "pos": "int32", "video": "int32", "long_view": "bool", "like": "bool"}
VIEWER_COLUMNS = {"id": "str", "age": "float32"}
VIDEO_COLUMNS = {
    "id": "str",
    "creator": "str",
    "topic": "str",
    "title": "str",
    "upload_ms": "int64",
    "duration_s": "float32",  # 0 unknown
    "safety": "str",
    "min_age": "int16",  # 0 for everyone, -1 unknown
    "unsafe_score": "float32",  # NaN unknown
}
FOLLOW_COLUMNS = {"viewer": "int32", "creator": "str", "time_ms": "int64"}
FRIEND_COLUMNS = {"viewer": "int32", "friend": "int32"}

FIELD_KINDS = ("int", "float", "str")
# Names that the bundle format computes itself, so that no profile or attribute column may use them.
VIEWER_BUILT_IN = frozenset(
    [
        "age",
        "n_impressions",
        "n_clicks",
        "n_finishes",
        "n_likes",
        "n_long_views",
        "sum_watch_s",
        "recent_n",
        "recent_long",
        "recent_watch_s",
        "recent_likes",
        "last_n",
        "last_clicks",
        "last_long",
        "last_finishes",
        "last_watch_s",
        "hour_n",
        "since_s",
    ]
)
VIDEO_BUILT_IN = frozenset(
    [
        "row",
        "creator",
        "topic",
        "duration_s",
        "n_impressions",
        "n_clicks",
        "n_finishes",
        "n_likes",
        "n_long_views",
        "sum_watch_s",
    ]
)

Field = tuple[str, str]
"""Name and kind ("int", "float" with NaN for missing, "str" with "" for missing) of a declared column."""


class SchemaError(ValueError):
    """A table does not fit the schema; the text names the table, the column and, where there is one, the
    row.
    """

    def __init__(self, table: str, column: str, problem: str, row: int | None = None) -> None:
        self.table, self.column, self.row = table, column, row
        where = f"{table}.{column}" + ("" if row is None else f", row {row}")
        super().__init__(f"{where}: {problem}")


class Truth(Protocol):
    """What only a simulator knows."""

    def expected(
        self,
        viewer: np.ndarray,
        video: np.ndarray,
        time_ms: np.ndarray,
        tab: np.ndarray,
        position: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """True ``click``, ``like``, ``finish`` (probabilities) and ``watch_s`` (mean seconds), float64, one a
        row.
        """
        ...


@dataclass
class Dataset:
    """A log of impressions with the entities in it.

    ``impressions`` is sorted by time; ``history`` holds what came before the first impression (no time, no
    watch time), ``pos`` rising from the oldest. ``day`` of an impression is the log's own local day, at
    ``utc_offset_min`` from UTC.
    """

    name: str
    as_of_ms: int
    utc_offset_min: int
    impressions: pd.DataFrame
    history: pd.DataFrame
    viewers: pd.DataFrame
    videos: pd.DataFrame
    follows: pd.DataFrame
    friends: pd.DataFrame
    viewer_fields: list[Field] = field(default_factory=list)
    video_fields: list[Field] = field(default_factory=list)
    truth: Truth | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._creators: tuple[np.ndarray, list[str]] | None = None
        self._topics: tuple[np.ndarray, list[str]] | None = None

    @property
    def tabs(self) -> list[str]:
        """Contexts that occur in the log, sorted."""
        return [str(tab) for tab in self.impressions["tab"].cat.categories]

    @property
    def creators(self) -> tuple[np.ndarray, list[str]]:
        """Creator of each video as a number (int32 [videos]) and the ids behind the numbers, by first
        appearance.
        """
        if self._creators is None:
            self._creators = _codes(self.videos["creator"])
        return self._creators

    @property
    def topics(self) -> tuple[np.ndarray, list[str]]:
        """Topic of each video as a number (int32 [videos], -1 unknown) and the names behind the numbers,
        sorted.
        """
        if self._topics is None:
            self._topics = _codes(self.videos["topic"], sort=True)
        return self._topics

    def validate(self) -> Dataset:
        """Raises :class:`SchemaError` at the first thing that does not fit the schema; returns the data set
        itself.
        """
        _check_viewers(self)
        _check_videos(self)
        _check_impressions(self)
        _check_history(self)
        _check_follows(self)
        _check_friends(self)
        return self


def _codes(column: pd.Series, sort: bool = False) -> tuple[np.ndarray, list[str]]:
    codes, values = pd.factorize(column.replace("", None), sort=sort)
    return codes.astype(np.int32), [str(value) for value in values]


def watch_of(play_s: np.ndarray) -> np.ndarray:
    """Seconds played in an impression [n] -> ``watch_s``, capped at 300 s."""
    return np.minimum(np.asarray(play_s, np.float32), np.float32(WATCH_CAP_S))


def finish_of(play_s: np.ndarray, duration_s: np.ndarray) -> np.ndarray:
    """Seconds played and duration [n] -> int8: 1 played at least 0.95 of it, 0 less, -1 where the duration is
    0.

    The play is taken before the cap, or no video longer than 316 s could ever be finished.
    """
    play, duration = np.asarray(play_s, np.float64), np.asarray(duration_s, np.float64)
    # Times are whole milliseconds that float32 rounds; a tenth of one as tolerance keeps exact 0.95 inside.
    finished = play >= FINISH_SHARE * duration - 1e-4
    return np.where(duration > 0, finished, -1).astype(np.int8)


def make_frame(columns: dict[str, str], values: dict[str, Any]) -> pd.DataFrame:
    """A table with exactly ``columns`` in their order and dtypes, from arrays of one length."""
    return pd.DataFrame({name: as_dtype(values[name], dtype) for name, dtype in columns.items()})


def as_dtype(values: Any, dtype: str) -> Any:
    """``values`` as the named dtype of the schema; categories become sorted text."""
    if dtype == "category":
        return pd.Categorical(pd.array(np.asarray(values).astype(str), dtype="str"))
    return pd.array(values, dtype="str") if dtype == "str" else np.asarray(values).astype(dtype)


# Each check below takes the table's name first, so that every message can say where it is.


def _first(bad: np.ndarray | pd.Series) -> int:
    return int(np.flatnonzero(np.asarray(bad))[0])


def _refuse(bad: Any, table: str, column: str, problem: str | Callable[[int], str]) -> None:
    bad = np.asarray(bad)
    if bad.any():
        row = _first(bad)
        raise SchemaError(table, column, problem if isinstance(problem, str) else problem(row), row)


def _has_dtype(column: pd.Series, dtype: str) -> bool:
    if dtype == "str":
        return pd.api.types.is_string_dtype(column.dtype)
    if dtype == "category":
        return isinstance(column.dtype, pd.CategoricalDtype)
    return column.dtype == np.dtype(dtype)


def _check_columns(table: str, frame: pd.DataFrame, columns: dict[str, str], exact: bool = True) -> None:
    for name, dtype in columns.items():
        if name not in frame:
            raise SchemaError(table, name, "the column is missing")
        if not _has_dtype(frame[name], dtype):
            raise SchemaError(table, name, f"holds {frame[name].dtype}, not {dtype}")
        if dtype in ("str", "category"):
            _refuse(frame[name].isna(), table, name, "is missing")
    extra = [name for name in frame if name not in columns] if exact else []
    if extra:
        raise SchemaError(table, str(extra[0]), "the schema has no such column")


def _check_rows(table: str, frame: pd.DataFrame, column: str, count: int) -> None:
    values = frame[column].to_numpy()
    _refuse(
        (values < 0) | (values >= count),
        table,
        column,
        lambda row: f"{values[row]} is not a row of 0..{count - 1}",
    )


def _check_unique(table: str, frame: pd.DataFrame, columns: list[str]) -> None:
    _refuse(frame.duplicated(columns), table, "+".join(columns), "is repeated")


def _check_ids(table: str, frame: pd.DataFrame, column: str = "id", unique: bool = True) -> None:
    size = np.fromiter((len(value.encode()) for value in frame[column]), np.int64, len(frame))
    _refuse((size < 1) | (size > 64), table, column, lambda row: f"has {size[row]} bytes, not 1 to 64")
    if unique:
        _check_unique(table, frame, [column])


def _check_text(table: str, frame: pd.DataFrame, column: str, limit: int) -> None:
    size = np.fromiter((len(value.encode()) for value in frame[column]), np.int64, len(frame))
    _refuse(size > limit, table, column, lambda row: f"has {size[row]} bytes, more than {limit}")


def _check_range(
    table: str, frame: pd.DataFrame, column: str, low: float, high: float, nan: bool = False
) -> None:
    values = frame[column].to_numpy()
    inside = (values >= low) & (values <= high)
    if nan:
        inside |= np.isnan(values)
    _refuse(~inside, table, column, lambda row: f"{values[row]} is outside {low}..{high}")


def _check_fields(table: str, frame: pd.DataFrame, fields: Iterable[Field], built_in: frozenset[str]) -> None:
    dtypes = {"int": "biu", "float": "f"}
    for name, kind in fields:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in built_in:
            raise SchemaError(table, name, "is not a name that a declared field may have")
        if kind not in FIELD_KINDS:
            raise SchemaError(table, name, f"kind {kind!r} is none of {', '.join(FIELD_KINDS)}")
        if name not in frame:
            raise SchemaError(table, name, "the column is missing")
        column = frame[name]
        good = _has_dtype(column, "str") if kind == "str" else column.dtype.kind in dtypes[kind]
        if not good:
            raise SchemaError(table, name, f"holds {column.dtype}, but is declared {kind}")
        if kind == "str":
            _refuse(column.isna(), table, name, "is missing; say so with an empty text")
        elif kind == "float":
            _refuse(np.isinf(column.to_numpy()), table, name, "is not finite")
    names = [name for name, _ in fields]
    if len(set(names)) != len(names):
        raise SchemaError(table, names[-1], "is declared twice")


def _check_viewers(data: Dataset) -> None:
    _check_columns("viewers", data.viewers, VIEWER_COLUMNS, exact=False)
    _check_ids("viewers", data.viewers)
    _check_range("viewers", data.viewers, "age", 0, 150, nan=True)
    _check_fields("viewers", data.viewers, data.viewer_fields, VIEWER_BUILT_IN | {"id"})


def _check_videos(data: Dataset) -> None:
    videos = data.videos
    _check_columns("videos", videos, VIDEO_COLUMNS, exact=False)
    _check_ids("videos", videos)
    _check_ids("videos", videos, "creator", unique=False)
    _check_text("videos", videos, "title", 512)
    _check_text("videos", videos, "topic", 64)
    _check_range("videos", videos, "duration_s", 0, 1e6)
    _check_range("videos", videos, "min_age", -1, 120)
    _check_range("videos", videos, "unsafe_score", 0, 1, nan=True)
    _refuse(~videos["safety"].isin(SAFETY), "videos", "safety", f"is none of {', '.join(SAFETY)}")
    _check_fields("videos", videos, data.video_fields, VIDEO_BUILT_IN | set(VIDEO_COLUMNS))


def _check_impressions(data: Dataset) -> None:
    log, table = data.impressions, "impressions"
    _check_columns(table, log, IMPRESSION_COLUMNS)
    _check_rows(table, log, "viewer", len(data.viewers))
    _check_rows(table, log, "video", len(data.videos))
    times = log["time_ms"].to_numpy()
    _refuse(np.diff(times, prepend=times[:1]) < 0, table, "time_ms", "is earlier than the row before")
    _refuse(
        times >= data.as_of_ms,
        table,
        "time_ms",
        lambda row: f"{times[row]} is not before as_of {data.as_of_ms}",
    )
    _check_unique(table, log, ["request_id", "video"])
    _check_unique(table, log, ["viewer", "video", "time_ms"])
    _check_range(table, log, "position", -1, 32767)
    _check_range(table, log, "play_s", 0, 1e7)
    _check_range(table, log, "duration_s", 0, 1e6)
    _check_labels(log)


def _check_labels(log: pd.DataFrame) -> None:
    play, duration = log["play_s"].to_numpy(), log["duration_s"].to_numpy()
    _refuse(
        log["watch_s"].to_numpy() != watch_of(play), "impressions", "watch_s", "is not play_s capped at 300"
    )
    wrong = log["finish"].to_numpy() != finish_of(play, duration)
    _refuse(wrong, "impressions", "finish", "disagrees with play_s and duration_s")


def _check_history(data: Dataset) -> None:
    _check_columns("history", data.history, HISTORY_COLUMNS)
    _check_rows("history", data.history, "viewer", len(data.viewers))
    _check_rows("history", data.history, "video", len(data.videos))
    _check_unique("history", data.history, ["viewer", "pos"])


def _check_follows(data: Dataset) -> None:
    _check_columns("follows", data.follows, FOLLOW_COLUMNS)
    _check_rows("follows", data.follows, "viewer", len(data.viewers))
    _check_ids("follows", data.follows, "creator", unique=False)
    _check_unique("follows", data.follows, ["viewer", "creator"])


def _check_friends(data: Dataset) -> None:
    friends = data.friends
    _check_columns("friends", friends, FRIEND_COLUMNS)
    _check_rows("friends", friends, "viewer", len(data.viewers))
    _check_rows("friends", friends, "friend", len(data.viewers))
    _check_unique("friends", friends, ["viewer", "friend"])
    one, other = friends["viewer"].to_numpy(np.int64), friends["friend"].to_numpy(np.int64)
    _refuse(one == other, "friends", "friend", "is the viewer itself")
    count = len(data.viewers)
    one_way = ~np.isin(other * count + one, one * count + other)
    _refuse(one_way, "friends", "friend", lambda row: f"{one[row]} -> {other[row]} has no way back")
