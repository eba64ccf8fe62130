"""Clean-up of a raw log before it becomes a data set.

``clean_log`` takes a table with at least ``viewer``, ``video``, ``time_ms``, ``play_s`` and ``duration_s``
and returns it sorted by time, without repeated keys and impossible rows, with a :class:`CleanReport` of what
went.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

MAX_DURATION_S = 24 * 3600.0
MAX_PLAY_S = 24 * 3600.0


@dataclass(frozen=True)
class CleanReport:
    """Rows in, rows out, and why the others went."""

    rows_in: int
    repeated: int
    """Rows of a (viewer, video, time) key beyond the one with the longest play."""
    bad_duration: int
    bad_play: int
    bad_time: int
    """Rows outside the time span that the caller allows."""
    out_of_order: int
    """Rows that stood after a later one; they are kept, in their place."""
    zero_duration: int
    """Rows kept whose duration is unknown."""
    rows_out: int

    def lines(self) -> list[str]:
        """The report as text, one line a count."""
        return [f"{name.replace('_', ' ')}: {count}" for name, count in asdict(self).items()]


def clean_log(
    log: pd.DataFrame, first_ms: int | None = None, end_ms: int | None = None
) -> tuple[pd.DataFrame, CleanReport]:
    """Sorts by (time, viewer, video), drops impossible rows and repeated keys; ``first_ms <= time_ms <
    end_ms`` is kept.

    A duration of 0 means unknown and stays. Of a repeated (viewer, video, time) key the row with the longest
    play stays, the first of them if several are equally long.
    """
    bad_time = _outside(log["time_ms"].to_numpy(), first_ms, end_ms)
    bad_duration = ~_within(log["duration_s"], MAX_DURATION_S) & ~bad_time
    bad_play = ~_within(log["play_s"], MAX_PLAY_S) & ~bad_time & ~bad_duration
    times = log["time_ms"].to_numpy()
    out_of_order = int((times < np.maximum.accumulate(times)).sum()) if len(times) else 0
    good = log[~(bad_time | bad_duration | bad_play)]
    kept = _longest_play(good)
    report = CleanReport(
        rows_in=len(log),
        repeated=len(good) - len(kept),
        bad_duration=int(bad_duration.sum()),
        bad_play=int(bad_play.sum()),
        bad_time=int(bad_time.sum()),
        out_of_order=out_of_order,
        zero_duration=int((kept["duration_s"] == 0).sum()),
        rows_out=len(kept),
    )
    return kept, report


def _outside(times: np.ndarray, first_ms: int | None, end_ms: int | None) -> np.ndarray:
    outside = times < 0
    if first_ms is not None:
        outside |= times < first_ms
    if end_ms is not None:
        outside |= times >= end_ms
    return outside


def _within(column: pd.Series, limit: float) -> np.ndarray:
    values = column.to_numpy(np.float64)
    return (values >= 0) & (values <= limit)  # false for NaN too


def _longest_play(log: pd.DataFrame) -> pd.DataFrame:
    """One row a (viewer, video, time) key, the longest play, sorted by (time, viewer, video)."""
    order = np.lexsort((-log["play_s"].to_numpy(), log["video"], log["viewer"], log["time_ms"]))
    ordered = log.iloc[order]
    return ordered[~ordered.duplicated(["time_ms", "viewer", "video"])].reset_index(drop=True)
