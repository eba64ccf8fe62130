"""Recall@k as definitions fix it, of rankings of all videos: the towers' and those of the marks beside them.

The viewer is frozen at 00:00 of the first judged day, candidates are all videos less those met, the
search is exact in float32, the average is over targets, the interval a bootstrap over viewers.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .data.labels import RetrievalTargets, recall_at

CUTS = (100, 500)
ALL_CUTS = (50, 100, 200, 500)  # of comparisons by kind of video
HEAD_PART = 5  # the fifth of the videos that has the most positives


def top_videos(targets: RetrievalTargets, scores: np.ndarray, k: int, first: int = 0) -> np.ndarray:
    """Best ``k`` videos of judged viewers ``first`` .. by ``scores`` float32 [viewers, videos], the met
    left out."""
    scores = scores.copy()
    for row in range(len(scores)):
        scores[row, targets.met(first + row)] = -np.inf
    k = min(k, scores.shape[1])
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    return np.where(np.isneginf(np.take_along_axis(scores, best, axis=1)), -1, best)


def rank_all(
    targets: RetrievalTargets, users: np.ndarray, items: np.ndarray, k: int = max(CUTS)
) -> np.ndarray:
    """Best videos by dot product, [viewers, k]; users [viewers, dim], items [videos, dim]."""
    items = items.astype(np.float32)
    parts = [
        top_videos(targets, users[start : start + 512].astype(np.float32) @ items.T, k, start)
        for start in range(0, len(users), 512)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, k), np.int64)


def bootstrap_ratio(top: np.ndarray, bottom: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    """95 % interval of sum(top) / sum(bottom) over resampled viewers."""
    rng = np.random.default_rng(seed)
    weight = rng.multinomial(len(top), np.full(len(top), 1 / len(top)), size=draws)
    low, high = np.quantile((weight @ top) / np.maximum(weight @ bottom, 1), [0.025, 0.975])
    return float(low), float(high)


def recall_report(targets: RetrievalTargets, ranked: dict[str, np.ndarray], draws: int, seed: int) -> dict:
    """recall@100 and @500 of each ranking with intervals, and its paired difference to ``popularity``;
    ValueError without any target."""
    if not len(targets.viewers):
        raise ValueError("no viewer has a long view of a new video on the judged days: there is no recall")
    found: dict = {"viewers": len(targets.viewers), "targets": len(targets.target_videos)}
    hits: dict[tuple[str, int], np.ndarray] = {}
    for name, ranking in ranked.items():
        for k in CUTS:
            value, hit, count = recall_at(targets, ranking, k)
            hits[name, k] = hit
            low, high = bootstrap_ratio(hit, count, draws, seed)
            found.setdefault(name, {})[f"recall@{k}"] = {"value": value, "low": low, "high": high}
    for name in ranked:
        for k in CUTS:
            if name == "popularity" or "popularity" not in ranked:
                continue
            gain = hits[name, k] - hits["popularity", k]
            low, high = bootstrap_ratio(gain, count, draws, seed)
            found[name][f"recall@{k}"]["over_popularity"] = {
                "value": float(gain.sum() / max(count.sum(), 1)), "low": low, "high": high,
            }  # fmt: skip
    return found


# ---- by kind of video ----


def segments(count: np.ndarray, shown: np.ndarray) -> dict[str, np.ndarray]:
    """Kinds of videos as bool [videos], from positives ``count`` and impressions ``shown`` up to the end of
    the fit days: ``head`` (the fifth with the most positives), ``tail`` (the others that were ever shown)
    and ``new`` (never shown)."""
    new = shown == 0
    order = np.argsort(-count, kind="stable")
    head = np.zeros(len(count), bool)
    head[order[: max(1, len(count) // HEAD_PART)]] = True
    head &= ~new
    return {"all": np.ones(len(count), bool), "head": head, "tail": ~head & ~new, "new": new}


def restricted(targets: RetrievalTargets, videos: np.ndarray) -> RetrievalTargets:
    """The targets that are among ``videos``, bool [videos]; the judged viewers stay, some without any."""
    owner = np.repeat(np.arange(len(targets.viewers)), np.diff(targets.target_offsets))
    kept = videos[targets.target_videos]
    counts = np.bincount(owner[kept], minlength=len(targets.viewers))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return dataclasses.replace(targets, target_offsets=offsets, target_videos=targets.target_videos[kept])


def segment_recalls(
    targets: RetrievalTargets, ranking: np.ndarray, kinds: dict[str, np.ndarray], draws: int, seed: int
) -> dict[str, Any]:
    """recall@k of one ranking [viewers, >= 500] by kind of video, with intervals over viewers."""
    found: dict[str, Any] = {}
    for name, videos in kinds.items():
        wanted = restricted(targets, videos)
        found[name] = {"targets": len(wanted.target_videos)}
        for k in ALL_CUTS if len(wanted.target_videos) else ():
            value, hit, count = recall_at(wanted, ranking, k)
            low, high = bootstrap_ratio(hit, count, draws, seed)
            found[name][f"recall@{k}"] = {"value": value, "low": low, "high": high}
    return found
