"""Reference of the declared features in NumPy float64, from docs/bundle.md and independent of the C code.

It is the oracle of the C transforms and makes the inputs of golden cases. Training itself uses `native.py`,
which calls the C code. Arrays are [rows] or [rows, fields]; raw rows are float64, NaN for a missing number.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ENTITIES = ("viewer", "context", "video", "pair")
BUILT_IN: dict[str, tuple[str, ...]] = {
    "viewer": (
        "age", "n_impressions", "n_clicks", "n_finishes", "n_likes", "n_long_views", "sum_watch_s",
        "recent_n", "recent_long", "recent_watch_s", "recent_likes", "last_n", "last_clicks", "last_long",
        "last_finishes", "last_watch_s", "hour_n", "since_s",
    ),
    "context": ("hour", "weekday"),
    "video": (
        "row", "creator", "topic", "duration_s", "n_impressions", "n_clicks", "n_finishes", "n_likes",
        "n_long_views", "sum_watch_s",
    ),
    "pair": (
        "age_h", "dot_tower", "dot_content", "topic_n", "topic_long", "creator_n", "creator_long",
        "watched_n",
    ),
}  # fmt: skip
VECTORS = {
    "hist_tower": "viewer",
    "hist_content": "viewer",
    "user_tower": "viewer",
    "tower": "video",
    "content": "video",
}
RECENT_MAX = 50
RECENT_LAST = 5
CLICK, LIKE, LONG_VIEW, FINISH = 1, 2, 4, 8
UPLOAD_UNKNOWN = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Column:
    """Where one feature lands in a block's row. `slot` is its column in `dense` or `index`, 0 for vectors."""

    name: str
    kind: str  # "dense", "table" or "vector"
    offset: int  # first float of the row
    width: int  # floats
    slot: int
    table: str | None = None
    vector: str | None = None


def string_list(tensors: Mapping[str, np.ndarray], name: str) -> list[str]:
    """The strings of the string list `name` (tensors NAME.bytes U8 and NAME.offsets U32)."""
    data = tensors[f"{name}.bytes"].tobytes()
    offsets = tensors[f"{name}.offsets"].tolist()
    return [data[a:b].decode() for a, b in itertools.pairwise(offsets)]


class ReferenceSpace:
    """Fields and features of a bundle; `tensors` are weights.safetensors; without them, `width` counts."""

    def __init__(self, bundle: Mapping[str, Any], tensors: Mapping[str, np.ndarray] | None = None) -> None:
        self.tensors = tensors
        self.vector_width = {
            name: int(bundle["content_dim" if name.endswith("content") else "tower_dim"]) for name in VECTORS
        }
        self.declared = {entity: list(bundle["fields"].get(entity, [])) for entity in ENTITIES}
        self.features = {feature["name"]: feature for feature in bundle["features"]}

    def field_names(self, entity: str) -> list[str]:
        return [*BUILT_IN[entity], *(field["name"] for field in self.declared[entity])]

    def vocabulary(self, entity: str, field: str) -> list[str]:
        declared = next(f for f in self.declared[entity] if f["name"] == field)
        if "vocab" in declared:
            return list(declared["vocab"])
        assert self.tensors is not None
        return string_list(self.tensors, declared["vocab_tensor"])

    def codes(self, entity: str, field: str, texts: Sequence[str]) -> np.ndarray:
        """Strings -> float64 [rows], 1.. or 0 for unknown."""
        number = {text: i + 1 for i, text in enumerate(self.vocabulary(entity, field))}
        return np.array([number.get(text, 0) for text in texts], dtype=np.float64)

    def block(self, names: Sequence[str], entity: str) -> list[dict[str, Any]]:
        """The features among `names` that belong to `entity`, in that order."""
        return [self.features[name] for name in names if self.features[name]["entity"] == entity]

    def table_rows(self, feature: Mapping[str, Any]) -> int:
        if self.tensors is not None:
            return int(self.tensors[feature["table"]].shape[0])
        if feature["kind"] == "bucket":
            return len(feature["boundaries"]) + 2
        return int(feature["rows"])

    def width(self, feature: Mapping[str, Any]) -> int:
        if feature["kind"] in ("dense", "rate"):
            return 1
        if feature["kind"] == "vector":
            return self.vector_width[feature["vector"]]
        return int(self.tensors[feature["table"]].shape[1] if self.tensors is not None else feature["width"])

    def columns(self, names: Sequence[str], entity: str) -> list[Column]:
        result, offset, slots = [], 0, {"dense": 0, "table": 0, "vector": 0}
        for feature in self.block(names, entity):
            kind = {"dense": "dense", "rate": "dense", "vector": "vector"}.get(feature["kind"], "table")
            slot = 0 if kind == "vector" else slots[kind]
            width = self.width(feature)
            result.append(
                Column(
                    feature["name"], kind, offset, width, slot, feature.get("table"), feature.get("vector")
                )
            )
            slots[kind] += 1
            offset += width
        return result

    def transform(self, names: Sequence[str], entity: str, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """raw [rows, fields] -> dense float32 [rows, dense columns], index int32 [rows, table columns]."""
        position = {name: i for i, name in enumerate(self.field_names(entity))}
        dense, index = [], []
        for feature in self.block(names, entity):
            if feature["kind"] in ("dense", "rate"):
                dense.append(_dense(feature, raw, position))
            elif feature["kind"] != "vector":
                index.append(
                    _table_row(feature, raw[:, position[feature["field"]]], self.table_rows(feature))
                )
        rows = raw.shape[0]
        return (
            np.stack(dense, axis=1).astype(np.float32) if dense else np.zeros((rows, 0), np.float32),
            np.stack(index, axis=1).astype(np.int32) if index else np.zeros((rows, 0), np.int32),
        )

    def assemble(
        self, names: Sequence[str], entity: str, raw: np.ndarray, vectors: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """raw [rows, fields] and the vectors that are named, each [rows, width] -> float64 [rows, block]."""
        dense, index = self.transform(names, entity, raw)
        parts = [np.zeros((raw.shape[0], 0))]
        for column in self.columns(names, entity):
            if column.kind == "dense":
                parts.append(dense[:, column.slot : column.slot + 1].astype(np.float64))
            elif column.kind == "vector":
                parts.append(np.asarray(vectors[column.vector or ""], dtype=np.float64))
            else:
                assert self.tensors is not None
                parts.append(self.tensors[column.table or ""].astype(np.float64)[index[:, column.slot]])
        return np.concatenate(parts, axis=1)


def _standardise(x: np.ndarray, feature: Mapping[str, Any]) -> np.ndarray:
    z = np.clip((x - feature["mean"]) / feature["std"], -feature["clip"], feature["clip"])
    return np.where(np.isnan(z), 0.0, z)


def _scaled(x: np.ndarray, scale: str) -> np.ndarray:
    if scale == "log1p":
        return np.log1p(np.maximum(x, 0.0))
    if scale == "logit":
        r = np.clip(x, 1e-6, 1 - 1e-6)
        return np.log(r / (1 - r))
    return x


def _dense(feature: Mapping[str, Any], raw: np.ndarray, position: Mapping[str, int]) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        if feature["kind"] == "dense":
            return _standardise(_scaled(raw[:, position[feature["field"]]], feature["scale"]), feature)
        num = _count(raw[:, position[feature["numerator"]]])
        den = _count(raw[:, position[feature["denominator"]]])
        rate = (num + feature["prior"] * feature["strength"]) / (den + feature["strength"])
        return _standardise(_scaled(rate, feature["scale"]), feature)


def _count(x: np.ndarray) -> np.ndarray:
    """A total: missing or negative counts as 0."""
    return np.where(x > 0, x, 0.0)


def _table_row(feature: Mapping[str, Any], x: np.ndarray, rows: int) -> np.ndarray:
    known = ~np.isnan(x)
    if feature["kind"] == "bucket":
        boundaries = np.asarray(feature["boundaries"], dtype=np.float64)
        return np.where(known, 1 + np.searchsorted(boundaries, np.where(known, x, 0), side="right"), 0)
    rounded = np.rint(np.where(known, x, -1))
    inside = (rounded >= 0) & (rounded < rows)
    return np.where(inside, rounded, 0).astype(np.int64)


# ---- derived values: recent watches are arrays [n, up to 50], oldest first, the first `count` [n] real ----


def _real(video: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.arange(video.shape[1])[None, :] < np.asarray(count)[:, None]


def history_weights(video: np.ndarray, flags: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Weights of recent watches, float64 [n, width]: each row sums to 1, or is all 0."""
    rank = np.asarray(count)[:, None] - 1 - np.arange(video.shape[1])[None, :]
    positive = np.where(flags & (LIKE | LONG_VIEW | FINISH), 1.0, np.where(flags & CLICK, 0.1, 0.0))
    weight = np.where(_real(video, count) & (video >= 0), positive * 0.5 ** (np.maximum(rank, 0) / 16.0), 0.0)
    total = weight.sum(axis=1, keepdims=True)
    return np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)


def history_vectors(weight: np.ndarray, video: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """weight, video [n, width] and vectors [videos, dim] -> float64 [n, dim], the weighted mean."""
    return np.einsum("nk,nkd->nd", weight, vectors[np.maximum(video, 0)].astype(np.float64))


def history_fields(
    age_s: np.ndarray, watch_s: np.ndarray, flags: np.ndarray, count: np.ndarray
) -> np.ndarray:
    """recent_n and all viewer fields that follow it: float64 [n, 11]; age_s and watch_s NaN unknown."""
    real = _real(watch_s, count)
    timed = real & ~np.isnan(age_s)
    last = timed & (np.arange(real.shape[1]) >= np.asarray(count)[:, None] - RECENT_LAST)

    def number(flag: int, among: np.ndarray) -> np.ndarray:
        return (among & (flags & flag > 0)).sum(axis=1)

    newest = np.where(timed, np.arange(real.shape[1]), -1).max(axis=1, initial=-1)
    since, rows = np.full(len(age_s), np.nan), np.flatnonzero(newest >= 0)
    since[rows] = age_s[rows, newest[rows]]
    columns = [
        np.asarray(count), number(LONG_VIEW, real), _mean(watch_s, real), number(LIKE, real),
        last.sum(axis=1), number(CLICK, last), number(LONG_VIEW, last), number(FINISH, last),
        _mean(watch_s, last), (timed & (age_s <= 3600)).sum(axis=1), since,
    ]  # fmt: skip
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


def _mean(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Mean over the known values among [n, width], NaN where there are none: [n]."""
    known = among & ~np.isnan(values)
    total = np.where(known, values, 0).astype(np.float64).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def history_matches(
    video: np.ndarray,
    flags: np.ndarray,
    count: np.ndarray,
    topic: np.ndarray,
    creator: np.ndarray,
    candidate: np.ndarray,
) -> np.ndarray:
    """topic_n, topic_long, creator_n, creator_long, watched_n of candidate [n]: float64 [n, 5].

    topic and creator are [videos], -1 unknown, which matches nothing, as does a video of -1.
    """
    real = _real(video, count) & (video >= 0) & (candidate >= 0)[:, None]
    seen, wanted, long_view = np.maximum(video, 0), np.maximum(candidate, 0), flags & LONG_VIEW > 0
    result = []
    for attribute in (topic, creator):
        same = real & (attribute[seen] == attribute[wanted][:, None]) & (attribute[wanted] >= 0)[:, None]
        result += [same.sum(axis=1), (same & long_view).sum(axis=1)]
    result.append((real & (video == candidate[:, None])).sum(axis=1))
    return np.stack(result, axis=1).astype(np.float64)


def time_fields(now_ms: np.ndarray, utc_offset_min: int) -> np.ndarray:
    """hour 0..23 and weekday (0 = Monday) of UTC milliseconds: float64 [n, 2]."""
    hours = (np.asarray(now_ms, np.int64) + utc_offset_min * 60_000) // 3_600_000
    return np.stack([hours % 24, (hours // 24 + 3) % 7], axis=1).astype(
        np.float64
    )  # 1970-01-01 was a Thursday


def age_hours(now_ms: np.ndarray, upload_ms: np.ndarray) -> np.ndarray:
    """Hours since upload, at least 0, NaN where upload_ms is INT64_MIN."""
    hours = (np.asarray(now_ms, np.float64) - np.asarray(upload_ms, np.float64)) / 3_600_000.0
    return np.where(np.asarray(upload_ms) == UPLOAD_UNKNOWN, np.nan, np.maximum(hours, 0.0))
