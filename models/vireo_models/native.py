"""The C feature transforms (libvireo_features.so) for training, as NumPy functions.

The server computes features with the very same code, so training and serving cannot differ. Declarations:
include/vireo/features_python.h; meaning: docs/bundle.md. Use:

    space = FeatureSpace(bundle_dict)              # needs tower_dim, content_dim, fields, features
    dense, index = space.transform(inputs, "viewer", raw)
    layout = space.columns(inputs, "viewer")       # where each feature lands in the assembled row

The library is taken from the environment's VIREO_FEATURES_LIB, or build/release/libvireo_features.so of the repository.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vireo_models.features_reference import ENTITIES, RECENT_MAX, Column

_REPOSITORY = Path(__file__).resolve().parents[2]
_KINDS = ("dense", "table", "vector")
_VECTORS = ("hist_tower", "hist_content", "user_tower", "tower", "content")


class NativeError(RuntimeError):
    """The C code refused something; the text names what."""


class FeatureSpace:
    """Fields and features of a bundle's JSON (a dict with `tower_dim`, `content_dim`, `fields` and `features`).

    Tables need not exist yet: embedding and bucket features then carry the key `width` (columns) and, for embeddings of
    number fields, `rows` (a row number past it becomes 0). Fields with `vocab_tensor` take their strings from `tensors`
    (NAME.bytes uint8, NAME.offsets uint32, as in weights.safetensors), which may also hold the tables themselves.
    Immutable, usable from any thread.
    """

    def __init__(
        self, bundle: Mapping[str, Any], tensors: Mapping[str, np.ndarray] | None = None
    ) -> None: ...

    def close(self) -> None:
        """Free the C object; also done when the space is collected."""

    def field_names(self, entity: str) -> list[str]:
        """Columns of a raw row of `entity` ("viewer", "context", "video", "pair"): built-in fields, then declared ones."""
        ...

    def codes(self, entity: str, field: str, texts: Sequence[str]) -> np.ndarray:
        """Numbers of strings in a string field: float64 [n], 1.. or 0 for unknown. Put them into the raw row."""
        ...

    def columns(self, names: Sequence[str], entity: str) -> list[Column]:
        """Layout of the features of `names` that belong to `entity`, in that order (name, kind, offset, width, slot)."""
        ...

    def width(self, names: Sequence[str], entity: str) -> int:
        """Floats of the assembled block."""
        return sum(column.width for column in self.columns(names, entity))

    def transform(self, names: Sequence[str], entity: str, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """raw float64 [n, fields], NaN missing -> dense float32 [n, dense columns], index int32 [n, table columns].

        `index` holds table rows, already in range. Column.slot tells which column of the two a feature has.
        """
        ...


def history_weights(video: np.ndarray, flags: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Weights of recent watches in hist_tower and hist_content: float32 [n, 50], a row sums to 1 or is all 0.

    video int32 [n, 50] (row, -1 unknown), flags uint32 [n, 50] (1 click, 2 like, 4 long_view, 8 finish), count int32 [n]:
    the first count[i] of a row are real, oldest first; what follows is padding.
    """
    ...


def history_fields(watch_s: np.ndarray, flags: np.ndarray, count: np.ndarray) -> np.ndarray:
    """recent_n, recent_long, recent_watch_s: float64 [n, 3]. watch_s float32 [n, 50], NaN unknown."""
    ...


def history_matches(
    video: np.ndarray,
    flags: np.ndarray,
    count: np.ndarray,
    topic: np.ndarray,
    creator: np.ndarray,
    candidate: np.ndarray,
) -> np.ndarray:
    """topic_n, topic_long, creator_n, creator_long, watched_n: float64 [n, 5] of candidate int32 [n] (video rows).

    topic, creator int32 [videos], -1 unknown.
    """
    ...


def time_fields(now_ms: np.ndarray, utc_offset_min: int) -> np.ndarray:
    """hour and weekday (0 = Monday) of UTC milliseconds int64 [n]: float64 [n, 2]."""
    ...


def age_hours(now_ms: np.ndarray, upload_ms: np.ndarray) -> np.ndarray:
    """Field age_h: float64 [n]; NaN where upload_ms is INT64_MIN."""
    ...


def check_bundle(folder: str | Path) -> None:
    """Open and check a bundle as the server does (all but the golden outputs); NativeError says what is wrong."""
    ...
