"""What the towers' retrieval is held against: popularity, item-KNN, SVD and implicit ALS.

Each is fitted on the log up to the end of the fit days, as the towers are, and given what a viewer did up
to the moment that the viewer is frozen at. Rankings are video rows [viewers, 500], best first.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from .data.labels import RetrievalTargets
from .recall import rank_all, top_videos
from .schema import Dataset

MOST_CUT = 500
KNN_PART = 1024  # columns of the co-occurrence matrix that are held at once


def _pairs_matrix(data: Dataset, log: pd.DataFrame, old: pd.DataFrame) -> sparse.csr_matrix:
    """1 for each (viewer, video) of the two tables, [viewers, videos]."""
    viewer = np.concatenate([old["viewer"], log["viewer"]])
    video = np.concatenate([old["video"], log["video"]])
    shape = (len(data.viewers), len(data.videos))
    found = sparse.csr_matrix((np.ones(len(viewer)), (viewer, video)), shape=shape)
    found.data[:] = 1.0
    return found


def positive_matrix(data: Dataset, before_ms: int) -> sparse.csr_matrix:
    """Long views and likes before a moment, history included, [viewers, videos], 1 each."""
    log, old = data.impressions, data.history
    log = log[(log["time_ms"] < before_ms) & (log["long_view"] | log["like"])]
    return _pairs_matrix(data, log, old[old["long_view"] | old["like"]])


def impression_matrix(data: Dataset, before_ms: int) -> sparse.csr_matrix:
    """Everything shown before a moment, history included, [viewers, videos], 1 each."""
    log = data.impressions
    return _pairs_matrix(data, log[log["time_ms"] < before_ms], data.history)


def popularity_ranking(data: Dataset, targets: RetrievalTargets, fit_end_ms: int) -> np.ndarray:
    """Videos by their number of positives up to the end of the fit days (the towers' own knowledge)."""
    count = np.asarray(positive_matrix(data, fit_end_ms).sum(axis=0)).ravel().astype(np.float32)
    return rank_all(targets, np.ones((len(targets.viewers), 1), np.float32), count[:, None])


def svd_ranking(
    data: Dataset,
    targets: RetrievalTargets,
    fit_end_ms: int,
    dim: int = 64,
    seed: int = 1,
    every_impression: bool = False,
) -> np.ndarray:
    """A plain truncated SVD of the positives, or of all impressions; viewers are folded in with all they
    did before they were frozen."""
    matrix = impression_matrix if every_impression else positive_matrix
    fitted = matrix(data, fit_end_ms)
    rank = min(dim, min(fitted.shape) - 1)
    _, _, factors = randomized_svd(fitted, n_components=rank, n_iter=4, random_state=seed)
    watched = matrix(data, targets.frozen_ms)[targets.viewers]
    return rank_all(targets, watched @ factors.T, factors.T)


# ---- item-KNN ----


def item_neighbours(positives: sparse.csr_matrix, most: int, shrink: float) -> sparse.csr_matrix:
    """Cosine of the videos' columns, shrunk where few viewers share two: for each video its ``most`` nearest,
    [videos, videos], row to neighbour."""
    count = np.asarray(positives.sum(axis=0)).ravel()
    columns, parts = positives.tocsc(), []
    for start in range(0, positives.shape[1], KNN_PART):
        part = slice(start, min(start + KNN_PART, positives.shape[1]))
        together = (columns[:, part].T @ positives).toarray()
        together /= np.sqrt(count[part, None] * count[None, :]) + shrink + 1e-9
        together[np.arange(len(together)), np.arange(part.start, part.stop)] = 0.0
        parts.append(_largest(together, min(most, together.shape[1] - 1)))
    return sparse.vstack(parts, format="csr")


def _largest(values: np.ndarray, most: int) -> sparse.csr_matrix:
    """Only the ``most`` largest of each row."""
    least = -np.partition(-values, most - 1, axis=1)[:, most - 1 : most]
    return sparse.csr_matrix(np.where((values >= least) & (values > 0), values, 0.0))


def knn_ranking(
    data: Dataset, targets: RetrievalTargets, fit_end_ms: int, most: int = 200, shrink: float = 10.0
) -> np.ndarray:
    """Videos by the summed similarity to the viewer's positives."""
    near = item_neighbours(positive_matrix(data, fit_end_ms), most, shrink)
    watched = positive_matrix(data, targets.frozen_ms)[targets.viewers]
    parts = [
        top_videos(targets, (watched[at : at + 512] @ near).toarray(), MOST_CUT, at)
        for at in range(0, watched.shape[0], 512)
    ]
    return np.concatenate(parts)


# ---- implicit ALS ----


def solve_factors(
    known: sparse.csr_matrix, other: np.ndarray, alpha: float, penalty: float, start: np.ndarray, steps: int
) -> np.ndarray:
    """Factors [rows, dim] that fit ``known`` [rows, columns] to the fixed ``other`` [columns, dim], by
    ``steps`` of conjugate gradients from ``start``, all rows at once.

    Row by row (Y'Y + alpha sum_i y_i y_i' + penalty) x = (1 + alpha) sum_i y_i over the row's entries: Hu,
    Koren and Volinsky, ICDM 2008; conjugate gradients: Takacs et al., RecSys 2011.
    """
    square = other.T @ other + penalty * np.eye(other.shape[1])
    row = np.repeat(np.arange(known.shape[0]), np.diff(known.indptr))

    def times(x: np.ndarray) -> np.ndarray:
        dots = np.einsum("ed,ed->e", x[row], other[known.indices])
        weighted = sparse.csr_matrix((alpha * dots, known.indices, known.indptr), shape=known.shape)
        return x @ square + weighted @ other

    x = start.copy()
    residual = (1 + alpha) * (known @ other) - times(x)
    direction, size = residual.copy(), (residual**2).sum(axis=1)
    for _ in range(steps):
        image = times(direction)
        step = size / np.maximum((direction * image).sum(axis=1), 1e-12)
        x += step[:, None] * direction
        residual -= step[:, None] * image
        new = (residual**2).sum(axis=1)
        direction = residual + (new / np.maximum(size, 1e-12))[:, None] * direction
        size = new
    return x


def als_factors(
    positives: sparse.csr_matrix, dim: int, alpha: float, penalty: float, sweeps: int, seed: int
) -> np.ndarray:
    """Item factors [videos, dim] after ``sweeps`` of alternating least squares."""
    rng = np.random.default_rng(seed)
    users, items = (0.1 * rng.standard_normal((size, dim)) for size in positives.shape)
    turned = positives.T.tocsr()
    for _ in range(sweeps):
        users = solve_factors(positives, items, alpha, penalty, users, 3)
        items = solve_factors(turned, users, alpha, penalty, items, 3)
    return items


def als_ranking(
    data: Dataset,
    targets: RetrievalTargets,
    fit_end_ms: int,
    dim: int = 64,
    alpha: float = 10.0,
    penalty: float = 10.0,
    sweeps: int = 10,
    seed: int = 1,
) -> np.ndarray:
    """Implicit ALS on the positives; viewers are folded in as one more half sweep."""
    items = als_factors(positive_matrix(data, fit_end_ms), dim, alpha, penalty, sweeps, seed)
    watched = positive_matrix(data, targets.frozen_ms)[targets.viewers]
    users = solve_factors(watched, items, alpha, penalty, np.zeros((watched.shape[0], dim)), 10)
    return rank_all(targets, users, items)
