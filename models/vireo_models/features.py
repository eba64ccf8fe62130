"""The feature declaration of each data source: fields, features and the inputs of the towers and the ranker.

``declare(data, ...)`` builds it from the data set's own columns; ``Declaration.fit_features`` fills in
means, deviations, priors and bucket boundaries, from rows of the fit days alone. ``Declaration.bundle()``
is what FeatureSpace reads in training; ``exported()`` the same as bundle.json has it. Towers and ranker
have tables, and so features, of their own; the towers' names start with ``t_``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .features_reference import BUILT_IN
from .schema import Dataset, Field

MAX_VOCAB = 4096
MAX_INLINE_VOCAB = 64  # longer vocabularies go into weights.safetensors
TRAINING_KEYS = ("width", "rows")  # of tables that do not exist yet
PRIOR_FIELDS = (
    "prior_impressions",
    "prior_long_views",
    "prior_likes",
)  # a video's totals of the history rows
DURATION_BOUNDS = (
    5.0,
    7.0,
    9.0,
    11.0,
    13.0,
    16.0,
    20.0,
    25.0,
    32.0,
    42.0,
    55.0,
    70.0,
    90.0,
    120.0,
    160.0,
    220.0,
    320.0,
)

SINCE_BOUNDS = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 172_800.0)

# Columns that say the same as another column, or too sparse to learn from (content vectors use them).
LEFT_OUT = {
    "kuairand": {
        "viewer": {
            "follow_user_num_range",
            "fans_user_num_range",
            "friend_user_num_range",
            "register_days_range",
        },
        "video": {"tags", "music", "server_height"},
    },
}


@dataclass
class Declaration:
    """Fields and features as bundle.json has them, with ``width`` and ``rows`` beside tables until export."""

    tower_dim: int
    content_dim: int
    fields: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    vocabularies: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # (entity, field) -> strings
    features: list[dict[str, Any]] = field(default_factory=list)
    user_inputs: list[str] = field(default_factory=list)
    item_inputs: list[str] = field(default_factory=list)
    ranker_inputs: list[str] = field(default_factory=list)
    quantiles: dict[str, int] = field(
        default_factory=dict
    )  # bucket feature -> parts its boundaries are to make

    def bundle(self) -> dict[str, Any]:
        """The partial bundle of training: vocabularies inline, tables by width and rows."""
        fields = {
            entity: [
                {key: value for key, value in one.items() if key != "vocab_tensor"}
                | ({"vocab": self.vocabularies[entity, one["name"]]} if one["type"] == "string" else {})
                for one in listed
            ]
            for entity, listed in self.fields.items()
        }
        return {
            "tower_dim": self.tower_dim,
            "content_dim": self.content_dim,
            "fields": fields,
            "features": self.features,
        }

    def exported(self) -> dict[str, Any]:
        """``fields`` and ``features`` of bundle.json; long vocabularies are named tensors."""
        features = [{key: one[key] for key in one if key not in TRAINING_KEYS} for one in self.features]
        return {"fields": self.fields, "features": features}

    def by_name(self) -> dict[str, dict[str, Any]]:
        return {feature["name"]: feature for feature in self.features}

    def table_shapes(self, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Tables that the features ``names`` use: {table: (rows, width)}."""
        known = self.by_name()
        return {
            known[name]["table"]: (table_rows(known[name]), known[name]["width"])
            for name in names
            if "table" in known[name]
        }

    def field_names(self, entity: str) -> list[str]:
        return [*BUILT_IN[entity], *(one["name"] for one in self.fields.get(entity, []))]

    def fit_features(self, names: Sequence[str], raw: Mapping[str, np.ndarray]) -> None:
        """Fits the features ``names`` on raw rows of the fit days, {entity: [n, fields]}."""
        known = self.by_name()
        for name in names:
            feature = known[name]
            place = {one: i for i, one in enumerate(self.field_names(feature["entity"]))}
            _fit_feature(feature, raw[feature["entity"]], place, self.quantiles.get(name))


def table_rows(feature: Mapping[str, Any]) -> int:
    """Rows of the table of an embedding or bucket feature."""
    return len(feature["boundaries"]) + 2 if feature["kind"] == "bucket" else int(feature["rows"])


# ---- fitting ----


def _fit_feature(
    feature: dict[str, Any], raw: np.ndarray, place: Mapping[str, int], parts: int | None
) -> None:
    if feature["kind"] == "bucket" and parts is not None:
        values = raw[:, place[feature["field"]]]
        feature["boundaries"] = _quantile_bounds(values[~np.isnan(values)], parts)
    elif feature["kind"] == "dense":
        values = raw[:, place[feature["field"]]]
        _set_moments(feature, scaled(values[~np.isnan(values)], feature["scale"]))
    elif feature["kind"] == "rate":
        top = np.nan_to_num(raw[:, place[feature["numerator"]]])
        bottom = np.nan_to_num(raw[:, place[feature["denominator"]]])
        feature["prior"] = float(top.sum() / max(bottom.sum(), 1e-9))
        rate = (top + feature["prior"] * feature["strength"]) / (bottom + feature["strength"])
        _set_moments(feature, scaled(rate, feature["scale"]))


def _set_moments(feature: dict[str, Any], values: np.ndarray) -> None:
    feature["mean"] = float(values.mean()) if len(values) else 0.0
    std = float(values.std()) if len(values) else 1.0
    feature["std"] = std if std > 1e-6 else 1.0


def scaled(x: np.ndarray, scale: str) -> np.ndarray:
    """The scale of a dense or rate feature, docs/bundle.md."""
    if scale == "log1p":
        return np.log1p(np.maximum(x, 0.0))
    if scale == "logit":
        r = np.clip(x, 1e-6, 1 - 1e-6)
        return np.log(r / (1 - r))
    return x


def _quantile_bounds(values: np.ndarray, count: int) -> list[float]:
    """Rising boundaries that cut ``values`` into about ``count`` equal parts; at least one."""
    if not len(values):
        return [0.0]
    cuts = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1], method="higher"))
    return [float(cut) for cut in cuts]


# ---- building ----


class _Builder:
    """Adds features to a declaration; each method returns the feature's name."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration

    def _add(self, name: str, entity: str, kind: str, **keys: Any) -> str:
        self.declaration.features.append({"name": name, "entity": entity, "kind": kind, **keys})
        return name

    def dense(self, name: str, entity: str, source: str, scale: str = "identity", clip: float = 4.0) -> str:
        return self._add(name, entity, "dense", field=source, scale=scale, mean=0.0, std=1.0, clip=clip)

    def rate(
        self,
        name: str,
        entity: str,
        top: str,
        bottom: str,
        strength: float,
        scale: str = "logit",
        clip: float = 5.0,
    ) -> str:
        keys = {"numerator": top, "denominator": bottom, "prior": 0.5, "strength": strength, "scale": scale}
        return self._add(name, entity, "rate", **keys, mean=0.0, std=1.0, clip=clip)

    def embedding(self, name: str, entity: str, source: str, table: str, rows: int, width: int) -> str:
        return self._add(name, entity, "embedding", field=source, table=table, rows=rows, width=width)

    def bucket(
        self, name: str, entity: str, source: str, table: str, width: int, boundaries: Sequence[float]
    ) -> str:
        return self._add(
            name, entity, "bucket", field=source, boundaries=list(boundaries), table=table, width=width
        )

    def quantile(self, name: str, entity: str, source: str, table: str, width: int, parts: int) -> str:
        self.declaration.quantiles[name] = parts
        return self.bucket(name, entity, source, table, width, [0.0])

    def vector(self, vector: str, entity: str) -> str:
        return self._add(vector, entity, "vector", vector=vector)


def _vocabulary(values: pd.Series, least: int = 5) -> list[str]:
    """Texts that occur at least ``least`` times, at most MAX_VOCAB of the most frequent, sorted."""
    counts = values[values != ""].astype(str).value_counts()
    counts = counts[counts >= least].iloc[:MAX_VOCAB]
    return sorted(str(text) for text in counts.index) or ["-"]


def _declare_fields(
    declaration: Declaration, entity: str, columns: Sequence[Field], frame: pd.DataFrame
) -> None:
    listed = declaration.fields.setdefault(entity, [])
    for name, kind in columns:
        if kind != "str":
            listed.append({"name": name, "type": "number"})
            continue
        _declare_text(declaration, entity, name, _vocabulary(frame[name]))


def _declare_text(declaration: Declaration, entity: str, name: str, vocabulary: list[str]) -> None:
    declaration.vocabularies[entity, name] = vocabulary
    long = len(vocabulary) > MAX_INLINE_VOCAB
    vocab = {"vocab_tensor": f"vocab.{entity}.{name}"} if long else {"vocab": vocabulary}
    declaration.fields.setdefault(entity, []).append({"name": name, "type": "string", **vocab})


def _embedding_width(rows: int) -> int:
    return int(min(8, max(2, np.ceil(np.log2(rows)))))


def _attributes(build: _Builder, entity: str, prefix: str, scope: str) -> list[str]:
    """One feature for each declared field: an embedding of a text, quantile buckets of a number."""
    names = []
    for one in build.declaration.fields.get(entity, []):
        source, name = one["name"], f"{prefix}{entity}_{one['name']}"
        if source in PRIOR_FIELDS:
            continue
        if one["type"] == "string":
            rows = len(build.declaration.vocabularies[entity, source]) + 1
            table = f"{scope}.{entity}_{source}"
            names.append(build.embedding(name, entity, source, table, rows, _embedding_width(rows)))
        else:
            names.append(build.quantile(name, entity, source, f"{scope}.{entity}_{source}", 3, 8))
    return names


def declare(
    data: Dataset, tower_dim: int, content_dim: int, id_width: int = 32, rank_id_width: int = 8
) -> Declaration:
    """The declaration of a data set, means and boundaries not yet fitted."""
    declaration = Declaration(tower_dim, content_dim)
    left_out = LEFT_OUT.get(data.name, {"viewer": set(), "video": set()})
    viewer_fields = [one for one in data.viewer_fields if one[0] not in left_out["viewer"]]
    video_fields = [one for one in data.video_fields if one[0] not in left_out["video"]]
    _declare_fields(declaration, "viewer", viewer_fields, data.viewers)
    _declare_fields(declaration, "video", video_fields, data.videos)
    if len(data.history):
        declaration.fields["video"] += [{"name": name, "type": "number"} for name in PRIOR_FIELDS]
    _declare_text(declaration, "context", "tab", data.tabs)
    build = _Builder(declaration)
    vectors = {name: build.vector(name, "viewer") for name in ("hist_tower", "hist_content", "user_tower")}
    vectors |= {name: build.vector(name, "video") for name in ("tower", "content")}
    declaration.user_inputs = _user_tower(build, data, vectors)
    declaration.item_inputs = _item_tower(build, data, vectors, id_width)
    declaration.ranker_inputs = [
        *_ranker_viewer(build, data, vectors),
        *_ranker_context(build, data),
        *_ranker_video(build, data, vectors, rank_id_width),
        *_ranker_pair(build, data),
    ]
    return declaration


def _has_ages(data: Dataset) -> bool:
    return bool(data.viewers["age"].notna().any())


def _user_tower(build: _Builder, data: Dataset, vectors: Mapping[str, str]) -> list[str]:
    """What is known of a viewer at any moment, history rows included: no counters, which those lack."""
    ages = [build.quantile("t_age", "viewer", "age", "tower.age", 4, 8)] if _has_ages(data) else []
    return [
        vectors["hist_tower"],
        vectors["hist_content"],
        *ages,
        build.rate("t_recent_long", "viewer", "recent_long", "recent_n", 3.0),
        build.bucket("t_recent_n", "viewer", "recent_n", "tower.recent_n", 4, [1, 3, 6, 12, 25, 40, 50]),
        *_attributes(build, "viewer", "t_", "tower"),
    ]


def _item_tower(build: _Builder, data: Dataset, vectors: Mapping[str, str], id_width: int) -> list[str]:
    creators, topics = len(data.creators[1]), len(data.topics[1])
    return [
        build.embedding("t_video", "video", "row", "tower.video", len(data.videos) + 1, id_width),
        vectors["content"],
        build.embedding("t_creator", "video", "creator", "tower.creator", creators + 1, min(id_width, 8)),
        build.embedding("t_topic", "video", "topic", "tower.topic", topics + 1, 8),
        build.bucket("t_duration", "video", "duration_s", "tower.duration", 8, DURATION_BOUNDS),
        *_attributes(build, "video", "t_", "tower"),
    ]


def _ranker_viewer(build: _Builder, data: Dataset, vectors: Mapping[str, str]) -> list[str]:
    ages = [build.quantile("age", "viewer", "age", "ranker.age", 4, 8)] if _has_ages(data) else []
    return [
        vectors["user_tower"],
        vectors["hist_content"],
        *ages,
        build.rate("viewer_clicks", "viewer", "n_clicks", "n_impressions", 5.0),
        build.rate("viewer_finishes", "viewer", "n_finishes", "n_impressions", 5.0),
        build.rate("viewer_likes", "viewer", "n_likes", "n_impressions", 5.0),
        build.rate("viewer_long", "viewer", "n_long_views", "n_impressions", 5.0),
        build.rate("viewer_watch", "viewer", "sum_watch_s", "n_impressions", 3.0, "log1p"),
        build.bucket(
            "viewer_n", "viewer", "n_impressions", "ranker.viewer_n", 4, [1, 2, 3, 5, 8, 12, 20, 40]
        ),
        build.rate("recent_long", "viewer", "recent_long", "recent_n", 3.0),
        build.bucket("recent_n", "viewer", "recent_n", "ranker.recent_n", 4, [1, 3, 6, 12, 25, 40, 50]),
        build.dense("recent_watch", "viewer", "recent_watch_s", "log1p"),
        build.rate("recent_likes", "viewer", "recent_likes", "recent_n", 10.0),
        build.rate("last_clicks", "viewer", "last_clicks", "last_n", 2.0),
        build.rate("last_long", "viewer", "last_long", "last_n", 2.0),
        build.rate("last_finishes", "viewer", "last_finishes", "last_n", 2.0),
        build.dense("last_watch", "viewer", "last_watch_s", "log1p"),
        build.bucket("hour_n", "viewer", "hour_n", "ranker.hour_n", 3, [1, 2, 3, 5, 8, 12, 20]),
        build.bucket("since", "viewer", "since_s", "ranker.since", 4, SINCE_BOUNDS),
        build.dense("since_log", "viewer", "since_s", "log1p"),
        *_attributes(build, "viewer", "", "ranker"),
    ]


def _ranker_context(build: _Builder, data: Dataset) -> list[str]:
    return [
        build.embedding("tab", "context", "tab", "ranker.tab", len(data.tabs) + 1, 6),
        build.embedding("hour", "context", "hour", "ranker.hour", 24, 3),
    ]


def _ranker_video(build: _Builder, data: Dataset, vectors: Mapping[str, str], id_width: int) -> list[str]:
    creators, topics = len(data.creators[1]), len(data.topics[1])
    names = [
        vectors["tower"],
        vectors["content"],
        build.embedding("video", "video", "row", "ranker.video", len(data.videos) + 1, id_width),
        build.embedding("topic", "video", "topic", "ranker.topic", topics + 1, 6),
        build.bucket("duration", "video", "duration_s", "ranker.duration", 8, DURATION_BOUNDS),
        build.dense("duration_log", "video", "duration_s", "log1p"),
        build.rate("video_clicks", "video", "n_clicks", "n_impressions", 15.0),
        build.rate("video_finishes", "video", "n_finishes", "n_impressions", 15.0),
        build.rate("video_likes", "video", "n_likes", "n_impressions", 40.0),
        build.rate("video_long", "video", "n_long_views", "n_impressions", 15.0),
        build.rate("video_watch", "video", "sum_watch_s", "n_impressions", 10.0, "log1p"),
    ]
    if creators < len(data.videos) / 3:  # else a creator is little more than its one video
        names.append(build.embedding("creator", "video", "creator", "ranker.creator", creators + 1, 6))
    if len(data.history):
        names.append(build.rate("video_prior_long", "video", "prior_long_views", "prior_impressions", 15.0))
        names.append(build.rate("video_prior_likes", "video", "prior_likes", "prior_impressions", 40.0))
        names.append(build.dense("video_prior_n", "video", "prior_impressions", "log1p"))
    return [*names, *_attributes(build, "video", "", "ranker")]


def _ranker_pair(build: _Builder, data: Dataset) -> list[str]:
    names = []
    if data.name != "kuairand":  # all of KuaiRand-Pure was uploaded within three days
        bounds = [6, 12, 24, 48, 96, 168, 336, 672]
        names.append(build.bucket("upload_age", "pair", "age_h", "ranker.upload_age", 4, bounds))
    return [
        *names,
        build.dense("dot_tower", "pair", "dot_tower"),
        build.dense("dot_content", "pair", "dot_content"),
        build.dense("topic_n", "pair", "topic_n", "log1p"),
        build.rate("topic_long", "pair", "topic_long", "topic_n", 3.0),
        build.bucket("creator_n", "pair", "creator_n", "ranker.creator_n", 3, [1, 2, 4]),
        build.rate("creator_long", "pair", "creator_long", "creator_n", 2.0),
        build.bucket("watched_n", "pair", "watched_n", "ranker.watched_n", 3, [1, 2, 4]),
    ]
