"""Point-in-time counters and recent watches: what was known strictly before each impression.

``totals(dataset, key)`` gives for every impression the sums over earlier impressions of the same key;
``recent(dataset)`` the viewer's latest events before it; ``state_at(dataset, time_ms)`` both, for all
entities, as of one moment. An event at ``t`` is known at ``now`` when ``t + delay_ms < now``: rows of equal
time see the same past, and never themselves.

History rows have no time, click or watch time. They stand before all impressions in the recent watches and
stay out of the totals, whose rates they would bend; ``history_totals`` sums them apart.

Long views of impressions are derived as the server derives them (``schema.long_view_of``), whatever flag
the log has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..schema import Dataset, long_view_of

COUNTERS = ("impressions", "clicks", "finishes", "likes", "long_views", "watch_s")
KEYS = ("viewer", "video", "creator", "viewer_topic", "viewer_creator")
RECENT_LENGTH = 50
CLICK, LIKE, LONG_VIEW, FINISH = 1, 2, 4, 8
"""Flags of a recent watch, as in the bundle."""

_MICRO = 1_000_000  # watch time is summed as whole microseconds, so that sums are exact in any order


def key_codes(data: Dataset, key: str, viewer: np.ndarray, video: np.ndarray) -> np.ndarray:
    """Number of the key of each (viewer row, video row) pair [n], int64; -1 where the topic is unknown.

    ``viewer_topic`` is viewer * topics + topic, ``viewer_creator`` viewer * creators + creator.
    """
    viewer, video = np.asarray(viewer, np.int64), np.asarray(video, np.int64)
    if key == "viewer":
        return viewer
    if key == "video":
        return video
    codes, names = data.topics if key == "viewer_topic" else data.creators
    other = codes[video].astype(np.int64)
    if key == "creator":
        return other
    if key not in KEYS:
        raise ValueError(f"{key!r} is none of {', '.join(KEYS)}")
    return np.where(other >= 0, viewer * len(names) + other, -1)


def _amounts(data: Dataset) -> np.ndarray:
    """int64 [n, 6]: what each impression adds to the counters, watch time in microseconds."""
    log = data.impressions
    watch = np.rint(log["watch_s"].to_numpy(np.float64) * _MICRO)
    long_view = long_view_of(log["play_s"], log["duration_s"])
    columns = [np.ones(len(log)), log["click"], log["finish"] == 1, log["like"], long_view, watch]
    return np.column_stack([np.asarray(column, np.int64) for column in columns])


def _as_counters(sums: np.ndarray) -> np.ndarray:
    """int64 [n, 6] with microseconds -> float64 [n, 6] with seconds."""
    result = sums.astype(np.float64)
    result[:, 5] /= _MICRO
    return result


def totals(data: Dataset, key: str, delay_ms: int = 0) -> np.ndarray:
    """float64 [impressions, 6] in the order of ``COUNTERS``: sums over what was known of the row's ``key``
    before it.

    A row whose key is unknown (no topic) has zeros.
    """
    log = data.impressions
    codes = key_codes(data, key, log["viewer"], log["video"])
    return _past_sums(codes, log["time_ms"].to_numpy(), _amounts(data), _checked_delay(delay_ms))


def _checked_delay(delay_ms: int) -> int:
    if delay_ms < 0:
        raise ValueError(f"delay_ms {delay_ms} is negative: it would look into the future")
    return delay_ms


def _past_sums(codes: np.ndarray, times: np.ndarray, amounts: np.ndarray, delay_ms: int) -> np.ndarray:
    """Sums of ``amounts`` over rows of the same code with time + delay < the row's own time."""
    order, starts, ends = _past_ranges(codes, times, delay_ms)
    running = np.zeros((len(codes) + 1, amounts.shape[1]), np.int64)
    np.cumsum(amounts[order], axis=0, out=running[1:])
    sums = running[ends] - running[starts]
    sums[codes < 0] = 0
    return _as_counters(sums)


def _past_ranges(
    codes: np.ndarray, times: np.ndarray, delay_ms: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows sorted by (code, time), and for each row the range of that order that it may know.

    One number holds both sort keys: dense code * span + time, so that a binary search finds the end of each
    range.
    """
    if len(codes) == 0:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty
    _, dense = np.unique(codes, return_inverse=True)
    since = times - times.min()
    span = int(since.max()) + 1
    place = dense.astype(np.int64) * span
    order = np.argsort(place + since, kind="stable")
    ordered = (place + since)[order]
    starts = np.searchsorted(ordered, place)
    ends = np.searchsorted(ordered, place + np.maximum(since - delay_ms, 0))
    return order, starts, ends


def history_totals(data: Dataset, key: str) -> np.ndarray:
    """float64 [entities, 3]: history rows of each ``viewer``, ``video`` or ``creator``: count, long views,
    likes.
    """
    rows = data.history
    codes = key_codes(data, key, rows["viewer"], rows["video"])
    size = _entity_count(data, key)
    weights = [None, rows["long_view"].to_numpy(np.float64), rows["like"].to_numpy(np.float64)]
    return np.column_stack([np.bincount(codes, weight, size) for weight in weights]).astype(np.float64)


def _entity_count(data: Dataset, key: str) -> int:
    sizes = {"viewer": len(data.viewers), "video": len(data.videos), "creator": len(data.creators[1])}
    if key not in sizes:
        raise ValueError(f"{key!r} is none of {', '.join(sizes)}")
    return sizes[key]


@dataclass(frozen=True)
class Events:
    """History rows and impressions of each viewer, oldest first, viewers one after the other (m events)."""

    offsets: np.ndarray  # int64 [viewers + 1]
    video: np.ndarray  # int32 [m]
    time_ms: np.ndarray  # int64 [m], -1 for history rows
    watch_s: np.ndarray  # float32 [m], NaN for history rows
    flags: np.ndarray  # uint8 [m], CLICK | LIKE | LONG_VIEW | FINISH
    day: np.ndarray  # int32 [m], the log's own day, 0 for history rows


@dataclass(frozen=True)
class Padded:
    """Recent watches of a batch of b rows, newest last, at the right; video -1 where there is none."""

    video: np.ndarray  # int32 [b, k]
    time_ms: np.ndarray  # int64 [b, k], -1 unknown or none
    watch_s: np.ndarray  # float32 [b, k], NaN unknown or none
    flags: np.ndarray  # uint8 [b, k]
    count: np.ndarray  # int32 [b]


@dataclass(frozen=True)
class Recent:
    """Ranges ``start[i]..end[i]`` of ``events``: the recent watches of each of n rows, newest last."""

    events: Events
    start: np.ndarray  # int64 [n]
    end: np.ndarray  # int64 [n]

    def padded(self, rows: np.ndarray | slice | None = None, length: int = RECENT_LENGTH) -> Padded:
        """Arrays [b, length] of the latest watches of ``rows`` (all by default)."""
        picked = slice(None) if rows is None else rows
        end = self.end[picked]
        index = end[:, None] + np.arange(-length, 0)
        there = index >= self.start[picked][:, None]
        index = np.where(there, index, -1)
        return Padded(
            video=_take(self.events.video, index, -1),
            time_ms=_take(self.events.time_ms, index, -1),
            watch_s=_take(self.events.watch_s, index, np.nan),
            flags=_take(self.events.flags, index, 0),
            count=there.sum(axis=1).astype(np.int32),
        )


def _take(values: np.ndarray, index: np.ndarray, missing: float) -> np.ndarray:
    """``values[index]``, ``missing`` where the index is -1."""
    padded = np.append(values, np.asarray([missing]).astype(values.dtype))
    return padded[index]


def events(data: Dataset) -> Events:
    """All events of each viewer in order: history by ``pos``, then impressions by time (ties in the log's
    order).
    """
    log, old = data.impressions, data.history
    viewer = np.concatenate([old["viewer"], log["viewer"]])
    time_ms = np.concatenate([np.full(len(old), -1, np.int64), log["time_ms"]])
    tie = np.concatenate([old["pos"].to_numpy(np.int64), np.arange(len(log))])
    order = np.lexsort((tie, time_ms, viewer))
    old_flags = LIKE * old["like"].to_numpy(np.uint8) + LONG_VIEW * old["long_view"].to_numpy(np.uint8)
    watch = np.concatenate([np.full(len(old), np.nan, np.float32), log["watch_s"]])
    return Events(
        offsets=np.searchsorted(viewer[order], np.arange(len(data.viewers) + 1)),
        video=np.concatenate([old["video"], log["video"]])[order].astype(np.int32),
        time_ms=time_ms[order],
        watch_s=watch[order].astype(np.float32),
        flags=np.concatenate([old_flags, _flags(data)])[order].astype(np.uint8),
        day=np.concatenate([np.zeros(len(old), np.int32), log["day"]])[order].astype(np.int32),
    )


def _flags(data: Dataset) -> np.ndarray:
    log = data.impressions
    flags = CLICK * log["click"].to_numpy(np.uint8) + LIKE * log["like"].to_numpy(np.uint8)
    flags = flags + LONG_VIEW * long_view_of(log["play_s"], log["duration_s"]).astype(np.uint8)
    return flags + FINISH * (log["finish"].to_numpy() == 1).astype(np.uint8)


def recent(data: Dataset, delay_ms: int = 0, length: int = RECENT_LENGTH) -> Recent:
    """The up to ``length`` latest watches that were known before each impression; ranges in the impressions'
    order.
    """
    log = data.impressions
    return recent_at(
        data,
        events(data),
        log["viewer"].to_numpy(),
        log["time_ms"].to_numpy() - _checked_delay(delay_ms),
        length,
    )


def recent_at(
    data: Dataset, known: Events, viewer: np.ndarray, time_ms: np.ndarray, length: int = RECENT_LENGTH
) -> Recent:
    """The up to ``length`` latest watches of each viewer row [n] strictly before its ``time_ms`` [n]."""
    first = int(data.impressions["time_ms"].iloc[0]) if len(data.impressions) else 0
    span = data.as_of_ms - first + 2
    owner = np.repeat(np.arange(len(known.offsets) - 1, dtype=np.int64), np.diff(known.offsets))
    # History takes place 0 of the viewer's span, the first impression place 1.
    place = owner * span + np.where(known.time_ms < 0, 0, known.time_ms - first + 1)
    viewer = np.asarray(viewer, np.int64)
    asked = viewer * span + np.clip(np.asarray(time_ms, np.int64) - first + 1, 1, span - 1)
    end = np.searchsorted(place, asked)
    return Recent(known, np.maximum(known.offsets[viewer], end - length), end)


@dataclass(frozen=True)
class State:
    """What is known just before ``time_ms``; rows are viewers, videos and creators, counters in ``COUNTERS``
    order.
    """

    time_ms: int
    viewer: np.ndarray  # float64 [viewers, 6]
    video: np.ndarray  # float64 [videos, 6]
    creator: np.ndarray  # float64 [creators, 6]
    viewer_topic: tuple[np.ndarray, np.ndarray]  # key_codes int64 [p], rising, and float64 [p, 6]
    viewer_creator: tuple[np.ndarray, np.ndarray]
    recent: Recent  # one range a viewer

    def lookup(self, key: str, codes: np.ndarray) -> np.ndarray:
        """float64 [n, 6]: counters of ``codes`` (as ``key_codes`` makes them); zeros where there are none.

        A pair's code may be -1 (unknown topic), a viewer, video or creator must be there.
        """
        if key in ("viewer", "video", "creator"):
            return getattr(self, key)[codes]
        known, sums = getattr(self, key)
        result = np.zeros((len(codes), len(COUNTERS)))
        if len(known):
            place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
            there = known[place] == codes
            result[there] = sums[place[there]]
        return result


def state_at(data: Dataset, time_ms: int, delay_ms: int = 0, length: int = RECENT_LENGTH) -> State:
    """Totals and recent watches of all viewers and videos from events with ``t + delay_ms < time_ms``."""
    log = data.impressions
    horizon = time_ms - _checked_delay(delay_ms)
    amounts = _amounts(data)[: np.searchsorted(log["time_ms"].to_numpy(), horizon)]
    known = log.iloc[: len(amounts)]
    codes = {key: key_codes(data, key, known["viewer"], known["video"]) for key in KEYS}
    everyone = np.arange(len(data.viewers))
    whole = {
        key: _whole_sums(codes[key], amounts, _entity_count(data, key))
        for key in ("viewer", "video", "creator")
    }
    pairs = {key: _sparse_sums(codes[key], amounts) for key in ("viewer_topic", "viewer_creator")}
    latest = recent_at(data, events(data), everyone, np.full(len(everyone), horizon), length)
    return State(time_ms=time_ms, recent=latest, **whole, **pairs)


def _whole_sums(codes: np.ndarray, amounts: np.ndarray, size: int) -> np.ndarray:
    # float64 holds whole microseconds exactly up to 2^53: 285 years of watching an entity.
    columns = [np.bincount(codes, amounts[:, column], size) for column in range(amounts.shape[1])]
    return _as_counters(np.column_stack(columns))


def _sparse_sums(codes: np.ndarray, amounts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known, dense = np.unique(codes[codes >= 0], return_inverse=True)
    return known, _whole_sums(dense, amounts[codes >= 0], len(known))


TREND_WEIGHTS = {"click": 1.0, "finish": 2.0, "like": 4.0}


def trend_at(data: Dataset, time_ms: int, half_life_h: float = 12.0) -> np.ndarray:
    """float64 [videos]: clicks (1), finishes (2) and likes (4) before ``time_ms``, halved every
    ``half_life_h`` hours.
    """
    log = data.impressions
    log = log.iloc[: np.searchsorted(log["time_ms"].to_numpy(), time_ms)]
    weight = sum(value * (log[name].to_numpy() == 1) for name, value in TREND_WEIGHTS.items())
    age_h = (time_ms - log["time_ms"].to_numpy()) / 3_600_000.0
    return np.bincount(log["video"], weight * 0.5 ** (age_h / half_life_h), len(data.videos)).astype(
        np.float64
    )
