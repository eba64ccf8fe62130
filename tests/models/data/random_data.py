"""A random valid log for the tests: few viewers, videos and seconds, so that keys and times often repeat."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vireo_models import schema
from vireo_models.schema import Dataset, as_dtype, finish_of, make_frame, watch_of

NOON_MS = 1_767_614_400_000  # 2026-01-05 12:00 UTC


def make_dataset(
    seed: int = 0, rows: int = 300, viewers: int = 7, videos: int = 12, span_s: int = 150
) -> Dataset:
    """``rows`` impressions with distinct (viewer, video, time), and some history."""
    rng = np.random.default_rng(seed)
    keys = rng.choice(viewers * videos * span_s, rows, replace=False)
    time_ms = NOON_MS + 1000 * (keys // (viewers * videos))
    order = np.argsort(time_ms, kind="stable")
    keys, time_ms = keys[order], time_ms[order]
    viewer, video = keys % viewers, keys // viewers % videos
    duration = np.where(np.arange(videos) % 5 == 0, 0.0, rng.integers(5, 400, videos))
    play = np.round(rng.exponential(60, rows), 3).astype(np.float32)
    flags = {
        name: rng.random(rows) < 0.3 for name in ("click", "like", "follow", "share", "hate", "long_view")
    }
    values = flags | {
        "request_id": np.arange(rows),
        "viewer": viewer,
        "video": video,
        "time_ms": time_ms,
        "day": np.full(rows, 20260105),
        "tab": rng.choice(["a", "b"], rows),
        "position": np.full(rows, -1),
        "play_s": play,
        "watch_s": watch_of(play),
        "duration_s": duration[video],
        "finish": finish_of(play, duration[video].astype(np.float32)),
        "is_random": np.zeros(rows, bool),
    }
    return Dataset(
        name="random",
        as_of_ms=NOON_MS + 1000 * span_s,
        utc_offset_min=0,
        impressions=make_frame(schema.IMPRESSION_COLUMNS, values),
        history=_history(rng, viewers, videos),
        viewers=make_frame(
            schema.VIEWER_COLUMNS, {"id": [f"u{i}" for i in range(viewers)], "age": [20.0] * viewers}
        ),
        videos=_videos(duration),
        follows=make_frame(schema.FOLLOW_COLUMNS, {"viewer": [0], "creator": ["c1"], "time_ms": [NOON_MS]}),
        friends=make_frame(schema.FRIEND_COLUMNS, {"viewer": [0, 1], "friend": [1, 0]}),
    ).validate()


def _history(rng: np.random.Generator, viewers: int, videos: int) -> pd.DataFrame:
    count = rng.integers(0, 9, viewers)
    count[0] = 3
    total = int(count.sum())
    values = {
        "viewer": np.repeat(np.arange(viewers), count),
        "pos": np.concatenate([np.arange(n) for n in count]),
        "video": rng.integers(0, videos, total),
        "long_view": rng.random(total) < 0.5,
        "like": rng.random(total) < 0.2,
    }
    return make_frame(schema.HISTORY_COLUMNS, values)


def _videos(duration: np.ndarray) -> pd.DataFrame:
    count = len(duration)
    values = {
        "id": [f"v{i}" for i in range(count)],
        "creator": [f"c{i % 4}" for i in range(count)],
        "topic": as_dtype(["" if i % 6 == 5 else f"t{i % 3}" for i in range(count)], "str"),
        "title": [""] * count,
        "upload_ms": np.full(count, NOON_MS - 1),
        "duration_s": duration,
        "safety": ["safe"] * count,
        "min_age": np.zeros(count),
        "unsafe_score": np.zeros(count),
    }
    return make_frame(schema.VIDEO_COLUMNS, values)
