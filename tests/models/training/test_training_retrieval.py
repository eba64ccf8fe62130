"""Retrieval's baselines against their definitions, the towers' negatives, and recall by kind of video."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from tiny_training import SETTINGS, needs_library

from vireo_models import towers
from vireo_models.__main__ import main
from vireo_models.config import TowerConfig
from vireo_models.data.labels import RetrievalTargets, recall_at
from vireo_models.data.simulate import SimulationParams, simulate
from vireo_models.experiments import retrieval
from vireo_models.recall import restricted, segment_recalls, segments
from vireo_models.retrieval_baselines import (
    als_ranking,
    item_neighbours,
    knn_ranking,
    popularity_ranking,
    solve_factors,
    svd_ranking,
)
from vireo_models.towers import HARD_FROM, Samples, TowerTrainer, ViewerBlock, hard_negatives, sampled_softmax

LONG = os.environ.get("VIREO_LONG") == "1"
RNG = np.random.default_rng(1)


def _positives(viewers: int = 60, videos: int = 25) -> sparse.csr_matrix:
    return sparse.csr_matrix((RNG.random((viewers, videos)) < 0.2).astype(float))


# ---- baselines ----


def test_neighbours_are_the_nearest_by_shrunk_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vireo_models.retrieval_baselines.KNN_PART", 7)  # parts that do not divide 25
    positives = _positives()
    dense = positives.toarray()
    together = dense.T @ dense
    norm = np.sqrt(np.outer(dense.sum(axis=0), dense.sum(axis=0)))
    cosine = together / (norm + 2.0)
    np.fill_diagonal(cosine, 0)
    found = item_neighbours(positives, 5, 2.0).toarray()
    for row, near in zip(cosine, found, strict=True):
        least = np.sort(row)[-5]
        assert np.allclose(near, np.where((row >= least) & (row > 0), row, 0), atol=1e-7)


def test_factors_solve_the_normal_equations_of_each_row() -> None:
    known, other = _positives(), RNG.standard_normal((25, 6))
    found = solve_factors(known, other, 7.0, 0.5, np.zeros((60, 6)), 20)
    for row, x in zip(known.toarray(), found, strict=True):
        confidence = 1 + 7.0 * row
        left = other.T @ (confidence[:, None] * other) + 0.5 * np.eye(6)
        assert np.allclose(x, np.linalg.solve(left, other.T @ (confidence * row)), atol=1e-6)


@pytest.fixture(scope="module")
def groups() -> tuple[SimpleNamespace, RetrievalTargets]:
    """400 viewers of 8 groups, each with 50 videos of its own: 15 were watched, 10 others are the targets."""
    rng = np.random.default_rng(2)
    watched, wanted = [], []
    for viewer in range(400):
        picked = 50 * (viewer % 8) + rng.permutation(50)[:25]
        watched += [(viewer, video) for video in picked[:15]]
        wanted.append(np.sort(picked[15:]))
    log = pd.DataFrame(watched, columns=["viewer", "video"])
    log = log.assign(time_ms=5, long_view=True, like=False)
    data = SimpleNamespace(impressions=log, history=log.iloc[:0], viewers=range(400), videos=range(400))
    offsets = np.arange(0, 4001, 10)
    met = log.sort_values(["viewer", "video"])["video"].to_numpy(np.int32)
    viewers = np.arange(400, dtype=np.int32)
    return data, RetrievalTargets(
        viewers, offsets, np.concatenate(wanted).astype(np.int32), np.arange(0, 6001, 15), met, 10
    )


@pytest.mark.parametrize(
    "make",
    [
        knn_ranking,
        als_ranking,
        partial(svd_ranking, dim=8),
        partial(svd_ranking, dim=8, every_impression=True),
    ],
    ids=["knn", "als", "svd", "svd of impressions"],
)
def test_baselines_find_planted_groups(
    make: Callable[..., np.ndarray], groups: tuple[SimpleNamespace, RetrievalTargets]
) -> None:
    data, targets = groups
    assert recall_at(targets, popularity_ranking(data, targets, 6), 50)[0] < 0.25
    ranking = make(data, targets, 6)
    assert recall_at(targets, ranking, 50)[0] > 0.9
    assert not set(ranking[3].tolist()) & set(targets.met(3).tolist())
    unknown = make(data, targets, 6)  # nothing after the end of the fit days is learnt from
    data.impressions.loc[len(data.impressions)] = [0, 399, 7, True, False]
    assert np.array_equal(make(data, targets, 6)[1:], unknown[1:])
    data.impressions.drop(index=len(data.impressions) - 1, inplace=True)


# ---- the towers' negatives ----


def _block(watched: list[list[int]]) -> ViewerBlock:
    video = torch.zeros(len(watched), 50, dtype=torch.int64)
    weight = torch.zeros(len(watched), 50)
    for row, listed in enumerate(watched):
        video[row, : len(listed)] = torch.tensor(listed)
        weight[row, : len(listed)] = 1 / max(len(listed), 1)
    nothing = torch.zeros(len(watched), 0)
    return ViewerBlock(nothing, nothing.long(), video, weight, nothing)


def test_hard_negatives_are_near_misses_that_were_not_watched() -> None:
    generator = torch.Generator().manual_seed(3)
    user, items = torch.randn(2, 8), torch.randn(400, 8)
    order = (user @ items.T).argsort(dim=1, descending=True)
    watched = [order[0, 25:60].tolist(), [0]]  # 0 is also what fills the unused places
    found = hard_negatives(user, items, _block(watched), 3000, generator)
    assert not set(found[0].tolist()) & set(watched[0])
    assert 0 not in found[1].tolist()
    left = [video for video in order[0].tolist() if video not in watched[0]]
    assert set(found[0].tolist()) == set(left[HARD_FROM:200])


def test_hard_negatives_count_for_their_row_alone_and_never_as_its_target() -> None:
    torch.manual_seed(0)
    user, items = torch.randn(2, 4), torch.randn(6, 4)
    target, drawn, zeros = torch.tensor([0, 1]), torch.tensor([2]), torch.zeros(6)
    hard = torch.tensor([[3, 0], [4, 5]])  # the first row's target among its own hard ones
    found = sampled_softmax(user, items, target, drawn, zeros, 0.5, hard)
    logits = user @ items.T / 0.5
    rows = [[0, 1, 2, 3], [1, 0, 2, 4, 5]]  # target first
    each = [torch.logsumexp(logits[r, one], 0) - logits[r, one[0]] for r, one in enumerate(rows)]
    assert float(found) == pytest.approx(float(torch.stack(each).mean()), rel=1e-6)


class _Stub(torch.nn.Module):
    """The least that a trainer wants of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = torch.nn.Linear(1, 1)
        self.user, self.item = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.register_buffer("content", torch.randn(30, 4))

    def item_vectors(self) -> torch.Tensor:
        return self.item(self.content)

    def user_vectors(self, block: ViewerBlock, items: torch.Tensor) -> torch.Tensor:
        return self.user(torch.ones(len(block), 4))


@pytest.mark.parametrize("logq", [True, False])
@pytest.mark.parametrize(("uniform", "hard"), [(0, 0), (7, 0), (7, 3)])
def test_the_configured_negatives_reach_the_loss(
    logq: bool, uniform: int, hard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def loss(*arguments: torch.Tensor) -> torch.Tensor:
        seen.append(arguments)
        return sampled_softmax(*arguments)

    monkeypatch.setattr(towers, "sampled_softmax", loss)
    config = TowerConfig(batch=10, logq=logq, uniform_negatives=uniform, hard_negatives=hard)
    item = torch.arange(20) % 5
    TowerTrainer(_Stub(), config, 1).run(  # type: ignore[arg-type]
        Samples(item, np.zeros(20, np.int32), _block([[]] * 20)), np.arange(20), 1, 0.01, "test"
    )
    _, _, target, drawn, log_expected, _, own = seen[0]
    assert (len(target), len(drawn)) == (10, uniform)
    assert own is None if hard == 0 else own.shape == (10, hard)
    if logq:
        share = torch.tensor([10 * (0.2 if video < 5 else 0.0) + uniform / 30 for video in range(30)])
        assert torch.allclose(log_expected, share.clamp_min(1e-9).log(), atol=1e-5)
    else:
        assert not log_expected.any()


# ---- recall by kind of video ----


def test_recall_by_kind_is_that_of_its_own_targets() -> None:
    targets = RetrievalTargets(
        viewers=np.array([0, 1], np.int32),
        target_offsets=np.array([0, 2, 4]),
        target_videos=np.array([0, 3, 3, 9], np.int32),
        met_offsets=np.zeros(3, np.int64),
        met_videos=np.zeros(0, np.int32),
        frozen_ms=0,
    )
    count, shown = np.array([9, 8, 1, 1, 1, 1, 1, 1, 1, 0]), np.array([9, 9, 2, 2, 2, 2, 2, 2, 2, 0])
    kinds = segments(count, shown)
    assert np.flatnonzero(kinds["head"]).tolist() == [0, 1]
    assert np.flatnonzero(kinds["new"]).tolist() == [9]
    assert kinds["tail"].sum() == 7
    unseen = segments(np.zeros(10), np.arange(10) == 5)  # the fifth with the most positives was never shown
    assert not unseen["head"].any() and np.flatnonzero(unseen["tail"]).tolist() == [5]
    assert restricted(targets, kinds["tail"]).target_videos.tolist() == [3, 3]
    ranking = np.array([[0, 3, 1], [0, 1, 2]])
    found = segment_recalls(targets, ranking, kinds, 20, 1)
    values = {name: one["recall@50"]["value"] for name, one in found.items()}
    assert values == {"all": 0.5, "head": 1.0, "tail": 0.5, "new": 0.0}
    none = segment_recalls(targets, ranking, {"none": np.zeros(10, bool)}, 20, 1)
    assert none == {"none": {"targets": 0}}


# ---- the command ----


def test_the_best_setting_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "retrieval_targets", lambda *_: None)
    monkeypatch.setattr(retrieval, "recall_at", lambda _, ranking, __: (ranking, None, None))
    tried = [{"x": 0.1}, {"x": 0.7}, {"x": 0.3}]
    data = SimpleNamespace()
    assert retrieval.chosen(data, lambda *_, x: x, tried, (1,), 0) == {"x": 0.7}  # type: ignore[arg-type]


def test_the_table_has_every_baseline_and_kind_of_video() -> None:
    """All baselines on one small platform, without any tower."""
    data = simulate(SimulationParams(viewers=200, videos=300, creators=60, days=9, sessions_per_day=1.0))
    found = retrieval.compare(data, _small(), towers={})
    assert found["methods"].keys() == retrieval.BASELINES.keys()
    for one in found["methods"].values():
        kinds = one["recall"]
        parts = sum(kinds[name]["targets"] for name in ("head", "tail", "new"))
        assert parts == kinds["all"]["targets"] > 500
        each = [kinds["all"][f"recall@{k}"]["value"] for k in (50, 100, 200)]
        assert each == sorted(each) and each[0] > 0.08
        assert kinds["all"]["recall@100"]["low"] < each[1] < kinds["all"]["recall@100"]["high"]
    assert found["methods"]["popularity"]["recall"]["new"]["recall@50"]["value"] == 0
    svds = [found["methods"][f"SVD on {name}"]["recall"] for name in ("positives", "impressions")]
    assert svds[0]["all"] != svds[1]["all"]
    text = retrieval.as_text(found)
    assert all(f"{kind}, " in text for kind in ("all", "head", "tail", "new"))


def _small() -> retrieval.Config:
    config = retrieval.Config()
    retrieval.settings.update(config, SETTINGS, "")
    return config


@pytest.mark.skipif(not LONG, reason="a minute: VIREO_LONG=1")
def test_one_command_makes_the_whole_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_library()
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(SETTINGS))
    data = "simulate:viewers=300,videos=400,creators=60,days=9,sessions_per_day=1.0"
    options = ["--data", data, "--config", str(path), "--out", str(tmp_path / "out")]
    assert main(["experiment", "retrieval", *options]) == 0
    found = json.loads((tmp_path / "out" / "retrieval.json").read_text())
    assert len(found["methods"]) == 10
    recalls = {name: one["recall"]["all"]["recall@100"]["value"] for name, one in found["methods"].items()}
    assert recalls["towers, batch + uniform"] > recalls["popularity"]
    assert "towers, batch + uniform + hard" in capsys.readouterr().out
