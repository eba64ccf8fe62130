"""Content vectors: what a video is, from its own attributes alone, as [videos, dim] unit rows.

Each attribute of a video (topic, creator, every tag, music, type, title words, duration class ...) is a
token; tokens are weighted by their rarity (TF-IDF times the weight of the attribute) and the sparse
matrix is reduced by a truncated SVD. ``quantise`` gives the int8 form that the bundle holds, ``restore``
the numbers that both training and serving use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from .schema import Dataset

# How much an attribute says about what the video is; others weigh OTHER_WEIGHT.
WEIGHTS = {"topic": 2.0, "tags": 2.0, "creator": 1.5, "title": 0.7, "music": 0.7, "duration": 0.7}
OTHER_WEIGHT = 0.4
DURATION_CLASSES = (0.0, 7.0, 12.0, 20.0, 35.0, 60.0, 90.0, 140.0, 220.0)
SINGULAR_POWER = 0.5  # of the singular values kept in the rows: between pure directions (0) and plain SVD (1)


def _tokens(videos: pd.DataFrame, column: str) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """(video rows, token texts) of one column; tags and titles give several tokens a video."""
    rows = np.arange(len(videos))
    if column == "duration":
        codes = np.searchsorted(np.asarray(DURATION_CLASSES), videos["duration_s"].to_numpy(), side="left")
        yield rows, codes.astype(str)
        return
    text = videos[column].astype(str).to_numpy()
    if column in ("title", "tags"):
        pattern = r"[^\w]+" if column == "title" else r","
        words = [[word for word in re.split(pattern, value.lower()) if word] for value in text]
        yield (
            np.repeat(rows, [len(found) for found in words]),
            np.array([w for found in words for w in found]),
        )
        return
    known = text != ""
    yield rows[known], text[known]


def _columns(dataset: Dataset) -> list[str]:
    texts = [name for name, kind in dataset.video_fields if kind == "str" and name != "tags"]
    has_tags = "tags" in dataset.videos
    return ["topic", "creator", "title", "duration", *(["tags"] if has_tags else []), *texts]


def token_matrix(dataset: Dataset) -> sparse.csr_matrix:
    """Weighted tokens, [videos, tokens]; a token that one video alone has joins nothing and is left out."""
    count, blocks = len(dataset.videos), []
    for column in _columns(dataset):
        for rows, words in _tokens(dataset.videos, column):
            if not len(words):
                continue
            codes, names = pd.factorize(words)
            ones = sparse.csr_matrix((np.ones(len(rows)), (rows, codes)), shape=(count, len(names)))
            ones.data[:] = 1.0
            used = np.asarray(ones.sum(axis=0)).ravel()
            idf = np.where(used >= 2, np.log((1 + count) / (1 + used)) + 0.1, 0.0)
            blocks.append(ones @ sparse.diags(WEIGHTS.get(column, OTHER_WEIGHT) * idf))
    return sparse.hstack(blocks).tocsr()


def content_vectors(dataset: Dataset, dim: int, seed: int) -> np.ndarray:
    """float32 [videos, dim], rows of L2 norm 1, or all 0 for a video without any shared attribute."""
    tokens = token_matrix(dataset)
    rank = min(dim, min(tokens.shape) - 1)
    left, values, _ = randomized_svd(tokens, n_components=rank, n_iter=4, random_state=seed)
    rows = np.zeros((tokens.shape[0], dim))
    rows[:, :rank] = left * values**SINGULAR_POWER
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norm > 1e-9, rows / np.maximum(norm, 1e-9), 0.0).astype(np.float32)


def quantise(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows [n, dim] -> int8 [n, dim] and scale float32 [n] (0 for an all-zero row)."""
    scale = np.abs(vectors).max(axis=1)
    codes = np.rint(vectors / np.maximum(scale, 1e-12)[:, None] * 127.0).astype(np.int8)
    codes[scale < 1e-9] = 0
    return codes, np.where(scale < 1e-9, 0.0, scale).astype(np.float32)


def restore(codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """int8 [n, dim] and scale [n] -> float32 [n, dim]: value / 127 * scale."""
    return (codes.astype(np.float32) * (scale / np.float32(127.0)).astype(np.float32)[:, None]).astype(
        np.float32
    )
