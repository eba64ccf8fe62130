"""Top rows of the C engine's searches against faiss-cpu's IndexFlatIP over the same vectors, ties aside."""

from __future__ import annotations

from pathlib import Path

import engine_rows
import faiss
import numpy as np
import pytest

from vireo_models.features_reference import history_vectors, history_weights

QUERIES, K = 200, 100
Found = tuple[np.ndarray, np.ndarray]  # scores and rows, each [queries, k]
TIE = 2e-6  # scores closer than this may come in either order: both sides add in float32


def search(vectors: np.ndarray, rows: np.ndarray, query: np.ndarray, k: int) -> Found:
    """(scores, row numbers), each [queries, k], of the best `rows` of `vectors`."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors[rows]))
    score, found = index.search(np.ascontiguousarray(query), k)
    return score, rows[found]


def check_same(row: np.ndarray, score: np.ndarray, want: Found, truth: np.ndarray) -> None:
    """Equal scores everywhere, distinct rows that truly have those scores (`truth` is float64 [queries, all
    rows]), and FAISS's own rows wherever no neighbour in its list is a tie: many videos of a real catalogue
    have one and the same content vector.
    """
    want_score, want_row = want
    assert np.abs(score - want_score).max() < TIE
    assert (np.diff(np.sort(row, axis=1), axis=1) > 0).all(), "a row came twice"
    assert np.abs(np.take_along_axis(truth, row, axis=1) - score).max() < TIE
    gap = np.abs(np.diff(want_score, axis=1)) > 2 * TIE
    edge = np.zeros((len(gap), 1), dtype=bool)  # beyond the last place there may be a tie
    alone = np.concatenate([gap[:, :1], gap[:, 1:] & gap[:, :-1], edge], axis=1)
    assert (row == want_row)[alone].all()


def test_the_check_sees_a_wrong_row() -> None:
    truth = np.linspace(1, 0, 12)[None, :]
    truth[0, 4] = truth[0, 3]  # a tie
    row = np.arange(10)[None, :]
    score = np.take_along_axis(truth, row, axis=1).astype(np.float32)
    want = (score, row)
    check_same(row, score, want, truth)
    check_same(row[:, [0, 1, 2, 4, 3, 5, 6, 7, 8, 9]], score, want, truth)
    for places in (
        [0, 2, 1, 3, 4, 5, 6, 7, 8, 9],
        [0, 1, 2, 3, 3, 5, 6, 7, 8, 9],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 11],
    ):
        with pytest.raises(AssertionError):
            check_same(np.array([places]), score, want, truth)
    with pytest.raises(AssertionError):
        check_same(row, score + np.float32(1e-4), want, truth)


def exact(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Scores of every row in float64, [queries, rows]."""
    return query.astype(np.float64) @ vectors.astype(np.float64).T


@pytest.mark.parametrize("index", ["exact", "faiss_flat"])
@pytest.mark.parametrize("name", engine_rows.bundle_names())
def test_top_rows_equal_faiss(name: str, index: str, tmp_path: Path) -> None:
    bundle = engine_rows.open_bundle(name, tmp_path)
    rows = engine_rows.draw_rows(bundle, QUERIES, seed=6)
    count, video, flags = engine_rows.draw_recent(bundle, QUERIES, seed=7)
    sizes = np.array([QUERIES, K], np.uint32)
    arrays = [sizes, rows["viewer.raw"], rows["context.raw"], count, video, flags]
    words = engine_rows.ask(bundle, index, "search", arrays, tmp_path)
    found, dims = (QUERIES, K), (bundle.manifest["tower_dim"], bundle.manifest["content_dim"])
    user, history, row, score, content_row, content_score = engine_rows.split(
        words,
        ((QUERIES, dims[0]), np.float32),
        ((QUERIES, dims[1]), np.float32),
        (found, np.int32),
        (found, np.float32),
        (found, np.int32),
        (found, np.float32),
    )
    want = search(bundle.tower, np.arange(len(bundle.tower)), user, K)
    check_same(row, score, want, exact(user, bundle.tower))

    weight = history_weights(video, flags.astype(np.int64), count.astype(np.int64))
    assert np.abs(history - history_vectors(weight, video, bundle.content)).max() < 2e-6
    watched = np.abs(history).max(axis=1) > 0
    assert (content_row[~watched] == -1).all() and watched.mean() > 0.5
    with_content = np.flatnonzero(bundle.videos["content.scale"] > 0)
    want = search(bundle.content, with_content, history[watched], K)
    check_same(content_row[watched], content_score[watched], want, exact(history[watched], bundle.content))
