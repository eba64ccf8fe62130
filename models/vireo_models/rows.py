"""Raw feature rows of a data set: what the server would know of viewer, video and moment, as NumPy arrays.

``RowMaker`` fills the raw fields of docs/bundle.md (NaN missing) for any rows (viewer, video, time):
those of the log, with the counters of their own moment, or made-up ones. Recent watches are padded on the
right, oldest first, as the C library takes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import native
from .data import counters
from .features import PRIOR_FIELDS, Declaration
from .schema import Dataset

CHUNK = 65_536  # rows whose 50 recent watches are unpacked at once


@dataclass
class Watches:
    """Recent watches of n rows, 50 wide: the first ``count`` of a row are real, oldest first."""

    video: np.ndarray  # int32 [n, 50], -1 unknown
    time_ms: np.ndarray  # int64 [n, 50], -1 unknown
    watch_s: np.ndarray  # float32 [n, 50], NaN unknown
    flags: np.ndarray  # uint32 [n, 50]
    count: np.ndarray  # int32 [n]

    def age_s(self, now_ms: np.ndarray) -> np.ndarray:
        """Seconds before each row's moment now_ms [n], at least 0, NaN unknown: float32 [n, 50]."""
        age = np.maximum(now_ms[:, None] - self.time_ms, 0) / 1000.0
        return np.where(self.time_ms >= 0, age, np.nan).astype(np.float32)


@dataclass
class Query:
    """Rows to make: who, what, when, where, and what was known by then."""

    viewer: np.ndarray  # int32 [n]
    video: np.ndarray  # int32 [n]
    now_ms: np.ndarray  # int64 [n]
    tab: np.ndarray  # float64 [n], code in the field's vocabulary, 0 unknown
    recent: counters.Recent
    viewer_totals: np.ndarray  # float64 [n, 6]
    video_totals: np.ndarray  # float64 [n, 6]
    position: np.ndarray  # int64 [n], of an impression on its page, -1 unknown

    def __len__(self) -> int:
        return len(self.viewer)

    def take(self, rows: np.ndarray) -> Query:
        """The rows ``rows`` of the query."""
        recent = counters.Recent(self.recent.events, self.recent.start[rows], self.recent.end[rows])
        return Query(
            self.viewer[rows], self.video[rows], self.now_ms[rows], self.tab[rows], recent,
            self.viewer_totals[rows], self.video_totals[rows], self.position[rows],
        )  # fmt: skip


def unpack(recent: counters.Recent, rows: slice | np.ndarray = slice(None)) -> Watches:
    """The watches of ``rows`` as padded arrays."""
    start, end = recent.start[rows], recent.end[rows]
    index = start[:, None] + np.arange(counters.RECENT_LENGTH)
    there = index < end[:, None]
    index = np.where(there, index, 0)
    known = recent.events
    if not len(known.video):
        return _no_watches(len(start))
    return Watches(
        video=np.where(there, known.video[index], -1).astype(np.int32),
        time_ms=np.where(there, known.time_ms[index], -1),
        watch_s=np.where(there, known.watch_s[index], np.nan).astype(np.float32),
        flags=np.where(there, known.flags[index], 0).astype(np.uint32),
        count=(end - start).astype(np.int32),
    )


def _no_watches(rows: int) -> Watches:
    wide = (rows, counters.RECENT_LENGTH)
    return Watches(
        video=np.full(wide, -1, np.int32),
        time_ms=np.full(wide, -1, np.int64),
        watch_s=np.full(wide, np.nan, np.float32),
        flags=np.zeros(wide, np.uint32),
        count=np.zeros(rows, np.int32),
    )


@dataclass
class Histories:
    """What the towers read of a row's recent watches."""

    video: np.ndarray  # int32 [n, 50], 0 where the weight is 0
    weight: np.ndarray  # float32 [n, 50], a row sums to 1 or is all 0


class RowMaker:
    """Raw rows of one data set under one declaration."""

    def __init__(self, data: Dataset, declaration: Declaration) -> None:
        self.data, self.declaration = data, declaration
        self.space = native.FeatureSpace(declaration.bundle())
        self.events = counters.events(data)
        self.viewer_declared = self._declared("viewer")
        self.video_static = self._video_static()
        self.topic, self.creator = data.topics[0], data.creators[0]

    def refresh(self) -> None:
        """Takes up what ``fit_features`` changed in the declaration."""
        self.space = native.FeatureSpace(self.declaration.bundle())

    # -- queries --

    def log_query(self, delay_ms: int = 0) -> Query:
        """One row for each impression of the log, with what was known before it."""
        data, log = self.data, self.data.impressions
        return Query(
            viewer=log["viewer"].to_numpy(np.int32),
            video=log["video"].to_numpy(np.int32),
            now_ms=log["time_ms"].to_numpy(np.int64),
            tab=self.tab_codes(log["tab"].astype(str).tolist()),
            recent=counters.recent(data, delay_ms),
            viewer_totals=counters.totals(data, "viewer", delay_ms),
            video_totals=counters.totals(data, "video", delay_ms),
            position=log["position"].to_numpy(np.int64),
        )

    def state_query(
        self, state: counters.State, viewer: np.ndarray, video: np.ndarray, tab: np.ndarray
    ) -> Query:
        """Rows (viewer, video) at the moment of ``state``."""
        recent = counters.Recent(state.recent.events, state.recent.start[viewer], state.recent.end[viewer])
        now = np.full(len(viewer), state.time_ms, np.int64)
        nowhere = np.full(len(viewer), -1, np.int64)
        totals = state.viewer[viewer], state.video[video]
        return Query(viewer, video, now, tab, recent, *totals, nowhere)

    def tab_codes(self, tabs: list[str]) -> np.ndarray:
        """float64 [n]: 1.. or 0 for a tab that the declaration does not know."""
        return self.space.codes("context", "tab", tabs)

    # -- raw fields --

    def _codes_or_numbers(self, entity: str, one: dict, frame: object) -> np.ndarray:
        values = frame[one["name"]]  # type: ignore[index]
        if one["type"] == "string":
            return self.space.codes(entity, one["name"], values.astype(str).tolist())
        return values.to_numpy(np.float64)

    def _declared(self, entity: str) -> np.ndarray:
        """Declared fields of every viewer or video, float64 [entities, declared]."""
        frame = self.data.viewers if entity == "viewer" else self.data.videos
        listed = [one for one in self.declaration.fields.get(entity, []) if one["name"] not in PRIOR_FIELDS]
        columns = [self._codes_or_numbers(entity, one, frame) for one in listed]
        return np.column_stack(columns) if columns else np.zeros((len(frame), 0))

    def _video_static(self) -> np.ndarray:
        """Every video field that does not move: row, creator, topic, duration, then (after the totals)
        the declared."""
        data, count = self.data, len(self.data.videos)
        duration = data.videos["duration_s"].to_numpy(np.float64)
        first = [np.arange(1, count + 1), data.creators[0] + 1, data.topics[0] + 1]
        first.append(np.where(duration > 0, duration, np.nan))
        declared = [self._declared("video")]
        if any(one["name"] in PRIOR_FIELDS for one in self.declaration.fields["video"]):
            declared.append(counters.history_totals(data, "video"))
        return np.column_stack([*first, *declared]).astype(np.float64)

    def viewer_raw(self, query: Query) -> np.ndarray:
        """float64 [n, viewer fields]."""
        age = self.data.viewers["age"].to_numpy(np.float64)[query.viewer]
        recent = np.concatenate([self._recent_fields(query, part) for part in chunks(len(query))])
        return np.column_stack([age, query.viewer_totals, recent, self.viewer_declared[query.viewer]])

    def _recent_fields(self, query: Query, part: slice) -> np.ndarray:
        watches = unpack(query.recent, part)
        age_s = watches.age_s(query.now_ms[part])
        return native.history_fields(age_s, watches.watch_s, watches.flags, watches.count)

    def video_raw(self, video: np.ndarray, totals: np.ndarray | None = None) -> np.ndarray:
        """float64 [n, video fields]; without ``totals`` they are 0 (the item tower reads none)."""
        static = self.video_static[video]
        known = np.zeros((len(video), 6)) if totals is None else totals
        return np.column_stack([static[:, :4], known, static[:, 4:]])

    def context_raw(self, query: Query) -> np.ndarray:
        """float64 [n, context fields]."""
        return np.column_stack([native.time_fields(query.now_ms, self.data.utc_offset_min), query.tab])

    def pair_raw(self, query: Query, dot_tower: np.ndarray, dot_content: np.ndarray) -> np.ndarray:
        """float64 [n, pair fields]; the two dot products [n] come from the caller's vectors."""
        upload = self.data.videos["upload_ms"].to_numpy(np.int64)[query.video]
        matches = np.concatenate([self._matches(query, part) for part in chunks(len(query))])
        return np.column_stack([native.age_hours(query.now_ms, upload), dot_tower, dot_content, matches])

    def _matches(self, query: Query, part: slice) -> np.ndarray:
        watches = unpack(query.recent, part)
        return native.history_matches(
            watches.video, watches.flags, watches.count, self.topic, self.creator, query.video[part]
        )

    def histories(self, recent: counters.Recent) -> Histories:
        """Weights of the history vectors."""
        videos, weights = [], []
        for part in chunks(len(recent.start)):
            watches = unpack(recent, part)
            videos.append(np.maximum(watches.video, 0))
            weights.append(native.history_weights(watches.video, watches.flags, watches.count))
        return Histories(np.concatenate(videos).astype(np.int32), np.concatenate(weights).astype(np.float32))


def chunks(count: int, size: int = CHUNK) -> list[slice]:
    """Slices of at most ``size`` rows; one empty slice for no rows."""
    return [slice(start, min(start + size, count)) for start in range(0, max(count, 1), size)]
