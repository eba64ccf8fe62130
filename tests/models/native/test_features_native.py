"""The C feature transforms against the NumPy reference on random rows, and the interface's own checks."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import tiny_bundle, tiny_manifest
from vireo_models import features_reference as reference
from vireo_models import native

ROWS = 10_000
PARTS = tiny_bundle.build()
SPACE = native.FeatureSpace(PARTS.manifest, PARTS.weights)
REFERENCE = reference.ReferenceSpace(PARTS.manifest, PARTS.weights)
ALL = [feature["name"] for feature in PARTS.manifest["features"]]


def random_raw(rng: np.random.Generator, fields: int) -> np.ndarray:
    """Rows of many sizes, whole numbers, halves, missing and infinite values: float64 [ROWS, fields]."""
    kind = rng.integers(0, 8, (ROWS, fields))
    size = 10.0 ** rng.integers(-3, 7, (ROWS, fields))
    raw = rng.standard_normal((ROWS, fields)) * size
    raw = np.where(kind == 1, np.rint(raw), raw)
    raw = np.where(kind == 2, rng.integers(-2, 12, raw.shape) + 0.5, raw)
    raw = np.where(kind == 3, rng.integers(-2, 320, raw.shape), raw)
    raw = np.where(kind == 4, np.nan, raw)
    return np.where((kind == 5) & (rng.random(raw.shape) < 0.1), np.copysign(np.inf, raw), raw)


def ulps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of float32 values in units of the last place."""
    ordered = [
        np.where(x.view(np.int32) < 0, -(2**31) - x.view(np.int32).astype(np.int64), x.view(np.int32))
        for x in (a, b)
    ]
    return np.abs(ordered[0] - ordered[1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("entity", reference.ENTITIES)
def test_transforms_equal_the_reference(entity: str, seed: int) -> None:
    raw = random_raw(np.random.default_rng(seed), len(REFERENCE.field_names(entity)))
    dense, index = SPACE.transform(ALL, entity, raw)
    expected_dense, expected_index = REFERENCE.transform(ALL, entity, raw)
    assert dense.shape == expected_dense.shape
    assert np.array_equal(index, expected_index)
    assert np.isfinite(dense).all()
    assert ulps(dense, expected_dense).max(initial=0) <= 1  # log and log1p of libm and NumPy may differ
    assert (dense == expected_dense).mean() > 0.999 if dense.size else True


def test_identity_scales_are_bitwise_equal() -> None:
    """Where there is no logarithm, the order of the arithmetic is the same."""
    names = ["age", "battery", "loudness", "video_likes", "dot_tower", "dot_content"]
    for entity in reference.ENTITIES:
        raw = random_raw(np.random.default_rng(9), len(REFERENCE.field_names(entity)))
        dense, _ = SPACE.transform(names, entity, raw)
        expected, _ = REFERENCE.transform(names, entity, raw)
        assert dense.tobytes() == expected.tobytes()


@pytest.mark.parametrize("entity", reference.ENTITIES)
def test_layout_equals_the_reference(entity: str) -> None:
    assert SPACE.field_names(entity) == REFERENCE.field_names(entity)
    for names in (ALL, ALL[::-1], tiny_manifest.RANKER_INPUTS, []):
        assert SPACE.columns(names, entity) == REFERENCE.columns(names, entity)
    assert SPACE.width(ALL, entity) == sum(c.width for c in REFERENCE.columns(ALL, entity))


def test_training_before_tables_exist() -> None:
    """`width` and `rows` stand for the tables, and rows past the end become 0."""
    manifest = tiny_bundle.make_manifest(tiny_bundle.Options())
    manifest["fields"]["viewer"] = [{"name": "level", "type": "string", "vocab": ["low", "high"]}]
    manifest["features"] = [
        {
            "name": "level",
            "entity": "viewer",
            "kind": "embedding",
            "field": "level",
            "table": "t",
            "width": 3,
        },
        {
            "name": "row",
            "entity": "video",
            "kind": "embedding",
            "field": "row",
            "table": "u",
            "width": 2,
            "rows": 5,
        },
        {"name": "topic", "entity": "video", "kind": "embedding", "field": "topic", "table": "v", "width": 2},
    ]
    space = native.FeatureSpace(manifest)
    viewer = np.zeros((4, len(space.field_names("viewer"))))
    viewer[:, -1] = space.codes("viewer", "level", ["high", "low", "none", ""])
    assert space.transform(["level"], "viewer", viewer)[1].tolist() == [[2], [1], [0], [0]]
    viewer[:, -1] = 3
    assert not space.transform(["level"], "viewer", viewer)[1].any()
    video = np.zeros((3, len(space.field_names("video"))))
    video[:, 0], video[:, 2] = [4, 5, 6], [4, 5, 1e6]
    assert space.transform(["row", "topic"], "video", video)[1].tolist() == [[4, 4], [0, 5], [0, 1_000_000]]


def test_codes_equal_the_reference() -> None:
    for entity, field, texts in [
        ("viewer", "id", ["1", "40", "41", "", "ä", "1 ", "01"]),
        ("viewer", "level", ["low", "middle", "high", "LOW"]),
        ("context", "tab", ["0", "4", "3"]),
    ]:
        assert SPACE.codes(entity, field, texts).tolist() == REFERENCE.codes(entity, field, texts).tolist()
    assert SPACE.codes("viewer", "level", []).shape == (0,)


def recent(rng: np.random.Generator, rows: int, videos: int) -> tuple[np.ndarray, ...]:
    """video, watch_s, flags [rows, 50] and count [rows], with rubbish in the padding."""
    shape = (rows, reference.RECENT_MAX)
    video = rng.integers(-1, videos, shape).astype(np.int32)
    watch_s = np.where(rng.random(shape) < 0.3, np.nan, rng.gamma(2, 9, shape)).astype(np.float32)
    flags = rng.integers(0, 16, shape).astype(np.uint32) * (rng.random(shape) < 0.7)
    count = rng.integers(0, reference.RECENT_MAX + 1, rows).astype(np.int32)
    count[:3] = [0, 1, 50]
    return video, watch_s, flags.astype(np.uint32), count


def test_histories_equal_the_reference() -> None:
    rng = np.random.default_rng(4)
    video, watch_s, flags, count = recent(rng, ROWS, 30)
    weights = native.history_weights(video, flags, count)
    expected = reference.history_weights(video, flags, count)
    assert ulps(weights, expected.astype(np.float32)).max() <= 1
    total = weights.astype(np.float64).sum(axis=1)
    assert np.all((np.abs(total - 1) < 1e-6) | (total == 0))
    age_s = np.where(rng.random(watch_s.shape) < 0.3, np.nan, rng.gamma(0.5, 20_000, watch_s.shape))
    arguments = age_s.astype(np.float32), watch_s, flags, count
    fields, expected = native.history_fields(*arguments), reference.history_fields(*arguments)
    assert np.allclose(fields, expected, rtol=1e-14, atol=0, equal_nan=True)
    assert (np.nanmax(fields, axis=0) > 0).all() and len(native.BUILT_IN["viewer"]) == 7 + fields.shape[1]
    nothing = np.zeros((1, 0))  # no watch at all, as a viewer who is new
    none = reference.history_fields(nothing, nothing, nothing.astype(np.uint32), np.array([0]))
    assert np.array_equal(
        none[0], native.history_fields(*(one[:1] for one in arguments[:3]), count[:1])[0], equal_nan=True
    )
    topic, creator = rng.integers(-1, 6, 30), rng.integers(-1, 9, 30)
    candidate = rng.integers(-1, 30, ROWS)
    args = (video, flags, count, topic, creator, candidate)
    matches = native.history_matches(*args)
    assert np.array_equal(matches, reference.history_matches(*args))
    assert matches.any(axis=0).all()


def test_weights_follow_the_formula() -> None:
    """Three watches worked out by hand: a click, a like, and a video that the bundle does not know."""
    video, flags = np.full((1, 50), -1), np.zeros((1, 50))
    video[0, :3], flags[0, :3] = [4, 7, -1], [1, 2, 4]
    weight = native.history_weights(video, flags, np.array([3]))[0]
    click, like = 0.1 * 0.5 ** (2 / 16), 0.5 ** (1 / 16)
    assert weight[:3] == pytest.approx([click / (click + like), like / (click + like), 0], abs=1e-7)
    assert not weight[3:].any()


@settings(max_examples=300, deadline=None)
@given(st.datetimes(datetime.datetime(1901, 1, 1), datetime.datetime(2200, 1, 1)), st.integers(-840, 840))
def test_time_equals_the_calendar(moment: datetime.datetime, offset: int) -> None:
    """Hour and weekday as Python's own calendar has them."""
    epoch = datetime.datetime(1970, 1, 1)
    now_ms = (moment - epoch) // datetime.timedelta(milliseconds=1)
    local = epoch + datetime.timedelta(milliseconds=now_ms, minutes=offset)
    expected = [[local.hour, local.weekday()]]
    assert native.time_fields(np.array([now_ms]), offset).tolist() == expected
    assert reference.time_fields(np.array([now_ms]), offset).tolist() == expected


def test_ages_equal_the_reference() -> None:
    rng = np.random.default_rng(5)
    now = rng.integers(0, 2**42, ROWS)
    upload = now - rng.integers(-(10**9), 10**11, ROWS)
    upload[::7] = reference.UPLOAD_UNKNOWN
    assert np.array_equal(native.age_hours(now, upload), reference.age_hours(now, upload), equal_nan=True)
    assert native.age_hours(np.array([7_200_000]), np.array([0])).tolist() == [2.0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "sparse"}, "feature 'days': 'kind' is 'sparse'"),
        ({"field": "nights"}, "feature 'days': 'field' is 'nights'"),
        ({"std": -1}, "feature 'days': 'std' must be above 0"),
        ({"mean": None}, "feature 'days': 'mean' must be"),
        ({"surplus": 1}, "feature 'days': unknown key 'surplus'"),
    ],
)
def test_refusals_name_the_feature(change: dict[str, Any], says: str) -> None:
    manifest = tiny_bundle.make_manifest(tiny_bundle.Options())
    next(f for f in manifest["features"] if f["name"] == "days").update(change)
    with pytest.raises(native.NativeError, match=says):
        native.FeatureSpace(manifest, PARTS.weights)


def test_wrong_arguments_are_refused() -> None:
    video, watch_s, flags, count = recent(np.random.default_rng(6), 5, 10)
    wrong = count.copy()
    wrong[2] = 51
    with pytest.raises(native.NativeError, match="row 2 has 51"):
        native.history_weights(video, flags, wrong)
    with pytest.raises(ValueError, match="flags"):
        native.history_fields(watch_s, watch_s, flags[:, :40], count)
    with pytest.raises(native.NativeError, match="past the 3"):
        native.history_matches(video, flags, count, np.zeros(3), np.zeros(3), np.array([9, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match="raw viewer rows"):
        SPACE.transform(ALL, "viewer", np.zeros((2, 3)))
    with pytest.raises(native.NativeError, match="no feature 'none'"):
        SPACE.columns(["none"], "viewer")
    with pytest.raises(native.NativeError, match="holds numbers"):
        SPACE.codes("viewer", "age", ["1"])


def test_a_closed_space_says_so() -> None:
    space = native.FeatureSpace(PARTS.manifest, PARTS.weights)
    assert space.columns(ALL, "viewer")
    space.close()
    space.close()
    with pytest.raises(native.NativeError, match="closed"):
        space.columns(ALL, "viewer")


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIREO_FEATURES_LIB", "/nowhere/libvireo_features.so")
    with pytest.raises(native.NativeError, match="make build"):
        native._library.__wrapped__()


def test_a_bundle_is_checked(tmp_path: Any) -> None:
    folder = tiny_bundle.write(PARTS, tmp_path / "good")
    native.check_bundle(folder)
    (folder / "golden.safetensors").write_bytes(b"")
    with pytest.raises(native.NativeError, match=r"golden\.safetensors"):
        native.check_bundle(folder)
