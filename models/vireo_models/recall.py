"""Recall@k as definitions fix it, of the towers and of the marks beside them (item popularity, SVD).

The viewer is frozen at 00:00 of the first judged day, candidates are all videos less those met, the
search is exact in float32, the average is over targets, the interval a bootstrap over viewers.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from .data.labels import RetrievalTargets, recall_at
from .schema import Dataset

CUTS = (100, 500)


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


def positive_matrix(data: Dataset, before_ms: int) -> sparse.csr_matrix:
    """Long views and likes before a moment, history included, [viewers, videos], 1 each."""
    log = data.impressions
    log = log[(log["time_ms"] < before_ms) & (log["long_view"] | log["like"])]
    old = data.history[data.history["long_view"] | data.history["like"]]
    viewer = np.concatenate([old["viewer"], log["viewer"]])
    video = np.concatenate([old["video"], log["video"]])
    shape = (len(data.viewers), len(data.videos))
    found = sparse.csr_matrix((np.ones(len(viewer)), (viewer, video)), shape=shape)
    found.data[:] = 1.0
    return found


def popularity_ranking(data: Dataset, targets: RetrievalTargets, fit_end_ms: int) -> np.ndarray:
    """Videos by their number of positives up to the end of the fit days (the towers' own knowledge)."""
    count = np.asarray(positive_matrix(data, fit_end_ms).sum(axis=0)).ravel().astype(np.float32)
    return rank_all(targets, np.ones((len(targets.viewers), 1), np.float32), count[:, None])


def svd_ranking(
    data: Dataset, targets: RetrievalTargets, fit_end_ms: int, dim: int = 64, seed: int = 1
) -> np.ndarray:
    """A plain truncated SVD of the positives; viewers are folded in with all they watched before they
    were frozen."""
    fitted = positive_matrix(data, fit_end_ms)
    rank = min(dim, min(fitted.shape) - 1)
    _, _, factors = randomized_svd(fitted, n_components=rank, n_iter=4, random_state=seed)
    watched = positive_matrix(data, targets.frozen_ms)[targets.viewers]
    return rank_all(targets, watched @ factors.T, factors.T)
