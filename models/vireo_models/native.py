"""The C feature transforms (libvireo_features.so) for training, as NumPy functions.

The server computes features with the very same code, so training and serving cannot differ. Declarations:
include/vireo/features_python.h; meaning: docs/bundle.md. Use:

    space = FeatureSpace(bundle_dict)              # needs tower_dim, content_dim, fields, features
    dense, index = space.transform(inputs, "viewer", raw)
    layout = space.columns(inputs, "viewer")       # where each feature lands in the assembled row

The library is taken from the environment's VIREO_FEATURES_LIB, or it is build/release/libvireo_features.so of
the repository.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vireo_models.features_reference import BUILT_IN, ENTITIES, RECENT_MAX, Column

RECENT_FIELDS = len(BUILT_IN["viewer"]) - BUILT_IN["viewer"].index("recent_n")
_REPOSITORY = Path(__file__).resolve().parents[2]
_KINDS = ("dense", "table", "vector")
_VECTORS = ("hist_tower", "hist_content", "user_tower", "tower", "content")
_POINTER, _TEXT, _U32, _SIZE, _I32 = (
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_uint32,
    ctypes.c_size_t,
    ctypes.c_int32,
)

# Arguments and result of each function; a result of c_int is an enum vr_status, where 0 is success.
_FUNCTIONS: dict[str, tuple[list[Any], Any]] = {
    "vr_error_text": ([], _TEXT),
    "vr_python_space_create": ([_TEXT, _SIZE, _TEXT, _SIZE, _POINTER], ctypes.c_int),
    "vr_python_space_destroy": ([_POINTER], None),
    "vr_python_field_count": ([_POINTER, _U32], _U32),
    "vr_python_field_name": ([_POINTER, _U32, _U32], _TEXT),
    "vr_python_codes": ([_POINTER, _U32, _U32, _SIZE, _TEXT, _POINTER, _POINTER], ctypes.c_int),
    "vr_python_block_create": ([_POINTER, _U32, _TEXT, _SIZE, _POINTER], ctypes.c_int),
    "vr_python_block_destroy": ([_POINTER], None),
    "vr_python_block_shape": ([_POINTER, _POINTER], None),
    "vr_python_block_column": ([_POINTER, _U32, _POINTER], _TEXT),
    "vr_python_transform": ([_POINTER, _SIZE, _POINTER, _POINTER, _POINTER], None),
    "vr_python_history_weights": ([_SIZE, _POINTER, _POINTER, _POINTER, _POINTER], ctypes.c_int),
    "vr_python_history_fields": ([_SIZE, *[_POINTER] * 5], ctypes.c_int),
    "vr_python_history_matches": ([_SIZE, *[_POINTER] * 3, _SIZE, *[_POINTER] * 4], ctypes.c_int),
    "vr_python_time_fields": ([_SIZE, _POINTER, _I32, _POINTER], None),
    "vr_python_age_hours": ([_SIZE, _POINTER, _POINTER, _POINTER], None),
    "vr_python_bundle_check": ([_TEXT], ctypes.c_int),
    "vr_python_terms": ([_U32, _POINTER, _POINTER, _SIZE, *[_POINTER] * 5], ctypes.c_int),
}


class NativeError(RuntimeError):
    """The C code refused something; the text names what."""


def library_path() -> Path:
    """Where the library is expected."""
    return Path(
        os.environ.get("VIREO_FEATURES_LIB", _REPOSITORY / "build" / "release" / "libvireo_features.so")
    )


@functools.cache
def _library() -> ctypes.CDLL:
    path = library_path()
    if not path.exists():
        raise NativeError(
            f"{path} is not there: run `make build`, or point VIREO_FEATURES_LIB to libvireo_features.so"
        )
    library = ctypes.CDLL(str(path))
    for name, (arguments, result) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def _check(status: int) -> None:
    if status != 0:
        raise NativeError(_library().vr_error_text().decode(errors="replace"))


def _array(values: Any, dtype: Any, shape: tuple[int | None, ...], name: str) -> np.ndarray:
    """`values` as a C-contiguous array of this type; None in `shape` is any length."""
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.ndim != len(shape) or any(
        w is not None and w != got for w, got in zip(shape, array.shape, strict=True)
    ):
        raise ValueError(f"{name} must have the shape {shape}, not {array.shape}")
    return array


@dataclass(frozen=True)
class _Block:
    """One C block, with what its transform returns."""

    handle: ctypes.c_void_p
    dense: int
    index: int
    columns: tuple[Column, ...]


class FeatureSpace:
    """Fields and features of a bundle's JSON: a dict with tower_dim, content_dim, fields and features.

    Tables need not exist yet: embedding and bucket features then carry the key `width` (columns) and, for
    embeddings of number fields, `rows` (a row number past it becomes 0). Fields with `vocab_tensor` take
    their strings from `tensors` (NAME.bytes uint8, NAME.offsets uint32, as in weights.safetensors), which may
    also hold the tables themselves. A space is immutable; calls from several threads need a lock around the
    first use of each list of names.
    """

    def __init__(self, bundle: Mapping[str, Any], tensors: Mapping[str, np.ndarray] | None = None) -> None:
        needed = {
            key: bundle[key] for key in ("tower_dim", "content_dim", "fields", "features") if key in bundle
        }
        text = json.dumps(needed).encode()
        weights = _safetensors(tensors) if tensors is not None else None
        handle = ctypes.c_void_p()
        _check(
            _library().vr_python_space_create(
                text, len(text), weights, len(weights or b""), ctypes.byref(handle)
            )
        )
        self._handle = handle
        self._tables = {feature["name"]: feature.get("table") for feature in bundle["features"]}
        self._blocks: dict[tuple[str, tuple[str, ...]], _Block] = {}
        self._finalizer = weakref.finalize(self, _destroy, handle, self._blocks)

    def close(self) -> None:
        """Free the C object; also done when the space is collected."""
        self._finalizer()

    def field_names(self, entity: str) -> list[str]:
        """Columns of a raw row of `entity`, one of ENTITIES: built-in fields, then declared ones."""
        number = ENTITIES.index(entity)
        count = _library().vr_python_field_count(self._alive(), number)
        return [_library().vr_python_field_name(self._handle, number, i).decode() for i in range(count)]

    def codes(self, entity: str, field: str, texts: Sequence[str]) -> np.ndarray:
        """Numbers of strings in a string field, for the raw row: float64 [n], 1.. or 0 for unknown."""
        encoded = [text.encode() for text in texts]
        offsets = np.cumsum([0, *map(len, encoded)]).astype(np.uint64)
        codes = np.empty(len(encoded), dtype=np.float64)
        position = self.field_names(entity).index(field)
        _check(
            _library().vr_python_codes(
                self._alive(),
                ENTITIES.index(entity),
                position,
                codes.size,
                b"".join(encoded),
                offsets.ctypes.data,
                codes.ctypes.data,
            )
        )
        return codes

    def columns(self, names: Sequence[str], entity: str) -> list[Column]:
        """Layout of the features among `names` that belong to `entity`, in that order."""
        return list(self._block(names, entity).columns)

    def width(self, names: Sequence[str], entity: str) -> int:
        """Floats of the assembled block."""
        return sum(column.width for column in self.columns(names, entity))

    def transform(self, names: Sequence[str], entity: str, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """raw float64 [n, fields], NaN missing -> dense float32 [n, dense columns], index int32 [n, tables].

        `index` holds table rows, already in range. Column.slot tells which column of the two a feature has.
        """
        block = self._block(names, entity)
        fields = _library().vr_python_field_count(self._handle, ENTITIES.index(entity))
        raw = _array(raw, np.float64, (None, fields), f"raw {entity} rows")
        dense = np.empty((raw.shape[0], block.dense), dtype=np.float32)
        index = np.empty((raw.shape[0], block.index), dtype=np.int32)
        _library().vr_python_transform(
            block.handle, raw.shape[0], raw.ctypes.data, dense.ctypes.data, index.ctypes.data
        )
        return dense, index

    def _alive(self) -> ctypes.c_void_p:
        if not self._finalizer.alive:
            raise NativeError("the feature space is closed")
        return self._handle

    def _block(self, names: Sequence[str], entity: str) -> _Block:
        key = (entity, tuple(names))
        if key not in self._blocks:
            self._blocks[key] = self._create_block(list(names), entity)
        self._alive()
        return self._blocks[key]

    def _create_block(self, names: list[str], entity: str) -> _Block:
        text = json.dumps(names).encode()
        handle = ctypes.c_void_p()
        status = _library().vr_python_block_create(
            self._alive(), ENTITIES.index(entity), text, len(text), ctypes.byref(handle)
        )
        _check(status)
        shape = (_U32 * 4)()
        _library().vr_python_block_shape(handle, shape)
        return _Block(handle, shape[1], shape[2], tuple(self._column(handle, i) for i in range(shape[0])))

    def _column(self, block: ctypes.c_void_p, i: int) -> Column:
        layout = (_U32 * 5)()
        name = _library().vr_python_block_column(block, i, layout).decode()
        kind = _KINDS[layout[0]]
        vector = _VECTORS[layout[4]] if kind == "vector" else None
        return Column(name, kind, layout[1], layout[2], layout[3], self._tables[name], vector)


def _destroy(handle: ctypes.c_void_p, blocks: dict[Any, _Block]) -> None:
    for block in blocks.values():
        _library().vr_python_block_destroy(block.handle)
    blocks.clear()
    _library().vr_python_space_destroy(handle)


def _safetensors(tensors: Mapping[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(value) for name, value in tensors.items()})


def _recent(flags: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Flags and counts of recent watches as the C functions take them, and the shape of what goes beside."""
    count = _array(count, np.int32, (None,), "count")
    shape = (count.size, RECENT_MAX)
    return _array(flags, np.uint32, shape, "flags"), count, shape


def history_weights(video: np.ndarray, flags: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Weights of recent watches in hist_tower and hist_content: float32 [n, 50], a row sums to 1 or is all 0.

    video int32 [n, 50] (row, -1 unknown), flags uint32 [n, 50] (1 click, 2 like, 4 long_view, 8 finish),
    count int32 [n]: the first count[i] of a row are real, oldest first; what follows is padding and gets 0.
    """
    flags, count, shape = _recent(flags, count)
    video = _array(video, np.int32, shape, "video")
    weight = np.empty((count.size, RECENT_MAX), dtype=np.float32)
    _check(
        _library().vr_python_history_weights(
            count.size, video.ctypes.data, flags.ctypes.data, count.ctypes.data, weight.ctypes.data
        )
    )
    return weight


def history_fields(
    age_s: np.ndarray, watch_s: np.ndarray, flags: np.ndarray, count: np.ndarray
) -> np.ndarray:
    """recent_n and all viewer fields that follow it: float64 [n, 11].

    age_s (seconds before the row's moment) and watch_s float32 [n, 50], NaN unknown.
    """
    flags, count, shape = _recent(flags, count)
    age_s = _array(age_s, np.float32, shape, "age_s")
    watch_s = _array(watch_s, np.float32, shape, "watch_s")
    out = np.empty((count.size, RECENT_FIELDS), dtype=np.float64)
    arrays = [array.ctypes.data for array in (age_s, watch_s, flags, count, out)]
    _check(_library().vr_python_history_fields(count.size, *arrays))
    return out


def history_matches(
    video: np.ndarray,
    flags: np.ndarray,
    count: np.ndarray,
    topic: np.ndarray,
    creator: np.ndarray,
    candidate: np.ndarray,
) -> np.ndarray:
    """topic_n, topic_long, creator_n, creator_long, watched_n: float64 [n, 5].

    candidate int32 [n], a video row; topic, creator int32 [videos], -1 unknown, which matches nothing.
    """
    flags, count, shape = _recent(flags, count)
    video = _array(video, np.int32, shape, "video")
    topic = _array(topic, np.int32, (None,), "topic")
    creator = _array(creator, np.int32, topic.shape, "creator")
    candidate = _array(candidate, np.int32, (count.size,), "candidate")
    out = np.empty((count.size, 5), dtype=np.float64)
    recent = [array.ctypes.data for array in (video, flags, count)]
    videos = [array.ctypes.data for array in (topic, creator, candidate, out)]
    _check(_library().vr_python_history_matches(count.size, *recent, topic.size, *videos))
    return out


def time_fields(now_ms: np.ndarray, utc_offset_min: int) -> np.ndarray:
    """hour and weekday (0 = Monday) of UTC milliseconds int64 [n]: float64 [n, 2]."""
    now_ms = _array(now_ms, np.int64, (None,), "now_ms")
    out = np.empty((now_ms.size, 2), dtype=np.float64)
    _library().vr_python_time_fields(now_ms.size, now_ms.ctypes.data, utc_offset_min, out.ctypes.data)
    return out


def age_hours(now_ms: np.ndarray, upload_ms: np.ndarray) -> np.ndarray:
    """Field age_h: float64 [n]; at least 0, NaN where upload_ms is INT64_MIN."""
    now_ms = _array(now_ms, np.int64, (None,), "now_ms")
    upload_ms = _array(upload_ms, np.int64, now_ms.shape, "upload_ms")
    out = np.empty(now_ms.size, dtype=np.float64)
    _library().vr_python_age_hours(now_ms.size, now_ms.ctypes.data, upload_ms.ctypes.data, out.ctypes.data)
    return out


def evaluate_terms(
    terms: Sequence[tuple[str, str]], heads: np.ndarray, duration_s: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Satisfaction terms (name, expression) over heads float32 [n, 4] and duration_s float32 [n].

    Returns the terms float32 [n, terms], their sums float32 [n] (NaN: not finite), and if all are linear.
    """
    heads = _array(heads, np.float32, (None, 4), "heads")
    duration_s = _array(duration_s, np.float32, (heads.shape[0],), "duration_s")
    value = np.empty((heads.shape[0], len(terms)), dtype=np.float32)
    score = np.empty(heads.shape[0], dtype=np.float32)
    linear = ctypes.c_int()
    names, expressions = (
        (_TEXT * max(len(terms), 1))(*(term[part].encode() for term in terms)) for part in (0, 1)
    )
    arrays = [array.ctypes.data for array in (heads, duration_s, value, score)]
    status = _library().vr_python_terms(
        len(terms), names, expressions, heads.shape[0], *arrays, ctypes.byref(linear)
    )
    _check(status)
    return value, score, bool(linear.value)


def check_bundle(folder: str | Path) -> None:
    """Open and check a bundle as the server does, golden outputs apart; NativeError says what is wrong."""
    _check(_library().vr_python_bundle_check(str(folder).encode()))
