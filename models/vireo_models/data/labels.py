"""Labels of the four heads, and what retrieval is judged by.

``task_labels`` gives the targets of click, watch_s, like and finish with the mask of finish;
``retrieval_targets`` the (viewer, video) pairs that recall@k counts; ``recall_at`` counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..schema import Dataset

TASKS = ("click", "watch_s", "like", "finish")


@dataclass(frozen=True)
class TaskLabels:
    """Targets of n impressions. ``mask`` is false where the label is unknown; the target there is 0."""

    values: np.ndarray  # float32 [n, 4], in the order of TASKS
    mask: np.ndarray  # bool [n, 4]

    def task(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Target and mask [n] of one task."""
        column = TASKS.index(name)
        return self.values[:, column], self.mask[:, column]


def task_labels(impressions: pd.DataFrame) -> TaskLabels:
    """Labels of each impression, none of them given a click; only finish can be unknown (duration 0)."""
    finish = impressions["finish"].to_numpy()
    columns = [impressions["click"], impressions["watch_s"], impressions["like"], np.maximum(finish, 0)]
    values = np.column_stack([np.asarray(column, np.float32) for column in columns])
    mask = np.ones(values.shape, bool)
    mask[:, TASKS.index("finish")] = finish >= 0
    return TaskLabels(values, mask)


@dataclass(frozen=True)
class RetrievalTargets:
    """Pairs that recall@k is judged by, and what is left out of the candidates of each judged viewer."""

    viewers: np.ndarray  # int32 [v], judged viewer rows, rising
    target_offsets: np.ndarray  # int64 [v + 1], into target_videos
    target_videos: np.ndarray  # int32, rising within a viewer
    met_offsets: np.ndarray  # int64 [v + 1], into met_videos
    met_videos: np.ndarray  # int32, rising within a viewer
    frozen_ms: int
    """The viewer's state is what came strictly before this time."""

    def targets(self, index: int) -> np.ndarray:
        """Target video rows of ``viewers[index]``."""
        return self.target_videos[self.target_offsets[index] : self.target_offsets[index + 1]]

    def met(self, index: int) -> np.ndarray:
        """Video rows that ``viewers[index]`` had met before and that are no candidates."""
        return self.met_videos[self.met_offsets[index] : self.met_offsets[index + 1]]


def day_start_ms(day: int, utc_offset_min: int) -> int:
    """Local 00:00 of a YYYYMMDD day as UTC milliseconds."""
    return int(pd.Timestamp(str(int(day))).value // 1_000_000) - utc_offset_min * 60_000


def retrieval_targets(data: Dataset, days: Sequence[int]) -> RetrievalTargets:
    """Distinct (viewer, video) with long_view on ``days`` (YYYYMMDD) that the viewer had not met before the
    first of them.

    Met is every impression before local 00:00 of the first judged day, history included. The few impressions
    that the log books on a judged day although they began before its 00:00 belong to what was met.
    """
    frozen = day_start_ms(min(days), data.utc_offset_min)
    log = data.impressions
    before = (log["time_ms"] < frozen).to_numpy()
    count = len(data.videos)
    met = np.unique(np.concatenate([_pairs(log[before], count), _pairs(data.history, count)]))
    judged = log["day"].isin(list(days)).to_numpy() & log["long_view"].to_numpy()
    wanted = np.setdiff1d(_pairs(log[judged], count), met)
    viewers = np.unique(wanted // count)
    met = met[np.isin(met // count, viewers)]
    return RetrievalTargets(
        viewers=viewers.astype(np.int32),
        target_offsets=_offsets(wanted // count, viewers),
        target_videos=(wanted % count).astype(np.int32),
        met_offsets=_offsets(met // count, viewers),
        met_videos=(met % count).astype(np.int32),
        frozen_ms=frozen,
    )


def _pairs(frame: pd.DataFrame, video_count: int) -> np.ndarray:
    return frame["viewer"].to_numpy(np.int64) * video_count + frame["video"].to_numpy(np.int64)


def _offsets(sorted_viewers: np.ndarray, viewers: np.ndarray) -> np.ndarray:
    return np.append(np.searchsorted(sorted_viewers, viewers), len(sorted_viewers)).astype(np.int64)


def recall_at(targets: RetrievalTargets, ranked: np.ndarray, k: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Micro-averaged recall@k of ``ranked`` (int [viewers, >= k] video rows, best first, -1 for none).

    Returns the recall and, for a bootstrap over viewers, hits and targets of each viewer (int64 [viewers]).
    """
    count = np.diff(targets.target_offsets)
    base = max(int(ranked.max(initial=0)), int(targets.target_videos.max(initial=0))) + 1
    owner = np.repeat(np.arange(len(count), dtype=np.int64), count)
    wanted = owner * base + targets.target_videos
    top = ranked[:, :k].astype(np.int64)
    given = np.where(top >= 0, np.arange(len(top), dtype=np.int64)[:, None] * base + top, -1)
    hits = np.bincount(owner[np.isin(wanted, given)], minlength=len(count))
    return float(hits.sum() / max(count.sum(), 1)), hits, count
