"""What a tiny bundle declares: fields, features of every kind, towers and rankers of every architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vireo_models.features_reference import VECTORS

ARCHITECTURES = ("mmoe", "hard", "moe", "ple")
HEADS = ("click", "watch_s", "like", "finish")
TOPICS = ("music", "sport", "food", "travel", "games", "news", "animals", "crafts")
LEVELS = ("low", "middle", "high")
KINDS = ("vertical", "wide")
TABS = ("0", "1", "2", "4")


@dataclass
class Options:
    """What to make; the same options give the same bytes."""

    videos: int = 300
    viewers: int = 40
    seed: int = 1
    architecture: str = "mmoe"
    state: bool = True
    tower_dim: int = 64
    content_dim: int = 32
    as_of_ms: int = 1_700_000_000_000
    shift_state: bool = True


def _fields() -> dict[str, Any]:
    return {
        "viewer": [
            {"name": "register_days", "type": "number"},
            {"name": "level", "type": "string", "vocab": list(LEVELS)},
            {"name": "id", "type": "string", "vocab_tensor": "vocab.viewer_id"},
        ],
        "video": [
            {"name": "loudness", "type": "number"},
            {"name": "shape", "type": "string", "vocab": list(KINDS)},
        ],
        "context": [
            {"name": "tab", "type": "string", "vocab": list(TABS)},
            {"name": "battery", "type": "number"},
        ],
    }


def _dense(name: str, entity: str, source: str, scale: str, mean: float, std: float) -> dict[str, Any]:
    return {
        "name": name, "entity": entity, "kind": "dense", "field": source, "scale": scale, "mean": mean,
        "std": std, "clip": 4.0,
    }  # fmt: skip


def _rate(
    name: str, entity: str, numerator: str, denominator: str, scale: str, prior: float
) -> dict[str, Any]:
    return {
        "name": name, "entity": entity, "kind": "rate", "numerator": numerator, "denominator": denominator,
        "prior": prior, "strength": 10.0, "scale": scale, "mean": 0.1, "std": 0.8, "clip": 5.0,
    }  # fmt: skip


def _embedding(name: str, entity: str, source: str, table: str) -> dict[str, Any]:
    return {"name": name, "entity": entity, "kind": "embedding", "field": source, "table": table}


def _bucket(name: str, entity: str, source: str, boundaries: list[float], table: str) -> dict[str, Any]:
    return {
        "name": name,
        "entity": entity,
        "kind": "bucket",
        "field": source,
        "boundaries": boundaries,
        "table": table,
    }


def _features() -> list[dict[str, Any]]:
    """Every kind with every scale, and every vector."""
    return [
        *({"name": name, "entity": e, "kind": "vector", "vector": name} for name, e in VECTORS.items()),
        _dense("age", "viewer", "age", "identity", 30.0, 12.0),
        _dense("days", "viewer", "register_days", "log1p", 5.0, 1.5),
        _dense("recent_watch", "viewer", "recent_watch_s", "log1p", 2.5, 1.0),
        _rate("viewer_clicks", "viewer", "n_clicks", "n_impressions", "logit", 0.3),
        _embedding("level", "viewer", "level", "table.level"),
        _embedding("viewer_id", "viewer", "id", "table.viewer"),
        _bucket("age_group", "viewer", "age", [13.0, 18.0, 25.0, 40.0, 60.0], "table.age"),
        _embedding("tab", "context", "tab", "table.tab"),
        _embedding("hour", "context", "hour", "table.hour"),
        _dense("battery", "context", "battery", "identity", 0.5, 0.3),
        _embedding("video_id", "video", "row", "table.video"),
        _embedding("creator", "video", "creator", "table.creator"),
        _embedding("topic", "video", "topic", "table.topic"),
        _embedding("shape", "video", "shape", "table.shape"),
        _dense("loudness", "video", "loudness", "identity", -14.0, 6.0),
        _bucket("duration", "video", "duration_s", [7.0, 15.0, 30.0, 60.0, 180.0], "table.duration"),
        _rate("video_watch", "video", "sum_watch_s", "n_impressions", "log1p", 8.0),
        _rate("video_likes", "video", "n_likes", "n_impressions", "identity", 0.02),
        _bucket("popularity", "video", "n_impressions", [1.0, 10.0, 100.0, 1000.0], "table.duration_small"),
        _dense("upload_age", "pair", "age_h", "log1p", 4.0, 2.0),
        _dense("dot_tower", "pair", "dot_tower", "identity", 0.0, 0.5),
        _dense("dot_content", "pair", "dot_content", "identity", 0.0, 0.5),
        _rate("topic_taste", "pair", "topic_long", "topic_n", "logit", 0.3),
        _bucket("creator_met", "pair", "creator_n", [1.0, 2.0, 4.0], "table.met"),
        _dense("met", "pair", "watched_n", "log1p", 0.0, 1.0),
    ]


USER_INPUTS = [
    "hist_tower", "hist_content", "age", "days", "recent_watch", "viewer_clicks", "level", "viewer_id",
    "age_group", "tab",
]  # fmt: skip
ITEM_INPUTS = ["content", "video_id", "creator", "topic", "shape", "loudness", "duration"]
RANKER_INPUTS = [
    "user_tower", "hist_content", "age", "days", "viewer_clicks", "level", "tab", "hour", "battery", "tower",
    "content", "video_id", "creator", "topic", "shape", "duration", "video_watch", "video_likes",
    "popularity", "upload_age", "dot_tower", "dot_content", "topic_taste", "creator_met", "met",
]  # fmt: skip


def _gate(name: str, source: int, experts: list[int]) -> dict[str, Any]:
    return {"name": name, "input": source, "experts": experts}


def _wiring(architecture: str) -> tuple[list[dict[str, Any]], list[int]]:
    """Levels of the ranker, and the gate of each task."""
    size = {"hidden": 32, "width": 16}
    if architecture == "hard":
        return [{"experts": 1, **size, "expert_input": [0], "gates": [_gate("all", 0, [0])]}], [0] * 4
    if architecture == "moe":
        return [{"experts": 4, **size, "expert_input": [0] * 4, "gates": [_gate("all", 0, [0, 1, 2, 3])]}], [
            0
        ] * 4
    if architecture == "mmoe":
        gates = [_gate(head, 0, [0, 1, 2, 3]) for head in HEADS]
        return [{"experts": 4, **size, "expert_input": [0] * 4, "gates": gates}], [0, 1, 2, 3]
    # PLE: experts 0..3 belong to one task each, 4 and 5 are shared; the lower level has a gate for these too.
    lower = [*(_gate(head, 0, [t, 4, 5]) for t, head in enumerate(HEADS)), _gate("shared", 0, list(range(6)))]
    upper = [_gate(head, t, [t, 4, 5]) for t, head in enumerate(HEADS)]
    return [
        {"experts": 6, **size, "expert_input": [0] * 6, "gates": lower},
        {"experts": 6, **size, "expert_input": [0, 1, 2, 3, 4, 4], "gates": upper},
    ], [0, 1, 2, 3]


def make_manifest(options: Options) -> dict[str, Any]:
    levels, gates = _wiring(options.architecture)
    widths = {"watch_s": [2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 80.0, 140.0]}
    return {
        "format": "vireo-bundle",
        "format_version": 1,
        "model_version": f"tiny-{options.architecture}-{options.seed}",
        "as_of_ms": options.as_of_ms,
        "utc_offset_min": 480,
        "shift_state": options.shift_state,
        "data": "random numbers, for tests",
        "tower_dim": options.tower_dim,
        "content_dim": options.content_dim,
        "fields": _fields(),
        "features": _features(),
        "user_tower": {"inputs": list(USER_INPUTS), "layers": _layer_specs("user_tower")},
        "item_tower": {"inputs": list(ITEM_INPUTS), "layers": _layer_specs("item_tower")},
        "ranker": {
            "architecture": options.architecture,
            "inputs": list(RANKER_INPUTS),
            "levels": levels,
            "tower_hidden": 12,
            "tasks": [
                {"name": head, "gate": gate, "widths": widths.get(head, [1.0])}
                for head, gate in zip(HEADS, gates, strict=True)
            ],
        },
        "satisfaction": [
            {"name": "clicks", "expression": "0.3*click"},
            {"name": "watch", "expression": "0.01*watch_s"},
            {"name": "finishes", "expression": "1.0*finish"},
            {"name": "likes", "expression": "5.0*like"},
        ],
    }


def _layer_specs(name: str) -> list[dict[str, str]]:
    return [{"tensor": f"{name}.0", "activation": "relu"}, {"tensor": f"{name}.1", "activation": "none"}]
