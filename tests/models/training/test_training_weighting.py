"""Weights of the losses, the tower for the position, and the forms of the watch-time head and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vireo_models import calibration, metrics, watch_time
from vireo_models.config import RankerConfig
from vireo_models.features_reference import ENTITIES
from vireo_models.networks import TASKS, Column, dropout, wiring
from vireo_models.ranker import RankerModel, RankerTrainer, RankRows, train_ranker
from vireo_models.weighting import Weighting

# ---- losses ----


def _steps(weighting: Weighting, scales: dict[str, float], count: int) -> None:
    """Descends losses ``scale * mean(shared^2)`` that do not move, so that only the weights do."""
    shared = torch.ones(4, requires_grad=True)
    optimizer = torch.optim.Adam(weighting.groups(), lr=0.02)
    for group in optimizer.param_groups:
        group["lr"] = 0.02
    for _ in range(count):
        losses = {name: scale * (shared**2).mean() for name, scale in scales.items()}
        optimizer.zero_grad()
        weighting.total(losses, shared).backward()
        optimizer.step()
        weighting.normalise()


def test_uncertainty_weighs_each_loss_by_its_inverse() -> None:
    weighting = Weighting("uncertainty", {"click": 1.0, "like": 1.0})
    _steps(weighting, {"click": 0.5, "like": 0.05}, 600)
    assert weighting.weights() == pytest.approx({"click": 2.0, "like": 20.0}, rel=0.02)


def test_gradnorm_makes_the_gradients_alike_and_keeps_the_sum() -> None:
    weighting = Weighting("gradnorm", {"click": 1.0, "like": 1.0})
    _steps(weighting, {"click": 3.0, "like": 1.0}, 8 * 150)
    found = weighting.weights()
    assert sum(found.values()) == pytest.approx(2.0, abs=1e-3)
    assert 3.0 * found["click"] == pytest.approx(found["like"], rel=0.15)


def test_gradnorm_pulls_the_task_that_lags_behind() -> None:
    """Like norms, but one loss has fallen to a tenth since the first look: the other one gets the weight."""
    weighting = Weighting("gradnorm", {"click": 1.0, "like": 1.0})
    shared = torch.ones(4, requires_grad=True)
    optimizer = torch.optim.Adam(weighting.groups())
    for step in range(8 * 100):
        first = (shared**2).mean()
        losses = {"click": first, "like": first - (0.0 if step == 0 else 0.9)}
        optimizer.zero_grad()
        weighting.total(losses, shared).backward()
        optimizer.step()
        weighting.normalise()
    found = weighting.weights()
    assert found["click"] > 1.5 * found["like"]


def test_fixed_weights_are_the_configured_ones() -> None:
    weighting = Weighting("fixed", {"click": 2.0, "like": 0.5})
    losses = {"click": torch.tensor(3.0), "like": torch.tensor(4.0)}
    assert float(weighting.total(losses, torch.ones(1))) == pytest.approx(8.0)
    assert weighting.groups() == [] and weighting.weights() == {"click": 2.0, "like": 0.5}


def test_a_task_may_be_left_out_but_no_learnt_weight_starts_from_nothing() -> None:
    without = Weighting("fixed", {"click": 1.0, "like": 0.0})
    losses = {"click": torch.tensor(3.0), "like": torch.tensor(4.0)}
    assert float(without.total(losses, torch.ones(1))) == 3.0
    with pytest.raises(ValueError, match="gradnorm"):
        Weighting("gradnorm", {"click": 1.0, "like": 0.0})


# ---- position ----


def _page(count: int, seed: int) -> tuple[RankRows, np.ndarray]:
    """Clicks of a policy that puts what it likes first: rows of x0 (relevance) and x1 (what the policy sees),
    and the true probability of a click at an average place."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2)).astype(np.float32)
    x[:, 1] = 0.3 * x[:, 0] + x[:, 1]
    position = np.clip(np.rint(4 - 3 * x[:, 1] + 0.7 * rng.normal(size=count)), 0, 9).astype(np.int64)
    relevant, looked = 1 / (1 + np.exp(-(1.2 * x[:, 0] - 0.3))), 1 / (1 + 0.5 * position)
    click = rng.random(count) < relevant * looked
    labels = np.zeros((count, 4), np.float32)
    labels[:, 0] = click
    nothing = torch.zeros(count, 0)
    dense = {name: nothing for name in ENTITIES} | {"viewer": torch.from_numpy(x)}
    index = {name: nothing.long() for name in ENTITIES}
    index["context"] = torch.zeros(count, 1, dtype=torch.int64)
    rows = RankRows(
        dense, index, {}, torch.zeros(count, dtype=torch.int64), torch.zeros(1, 4),
        torch.from_numpy(labels), torch.ones(count, 4, dtype=torch.bool), torch.from_numpy(position),
    )  # fmt: skip
    return rows, relevant * looked.mean()


def _fitted(rows: RankRows, tower: bool, **changed: Any) -> RankerModel:
    torch.manual_seed(0)
    settings = {"position_tower": tower, "batch": 256, "lr": 0.01, "average": 0.98}
    settings |= {"dropout": 0.0, "input_dropout": 0.0, "unknown_rate": 0.0}
    config = RankerConfig(**settings | changed)
    columns = {name: [] for name in ENTITIES} | {
        "viewer": [Column("x0", "dense", 1, 0), Column("x1", "dense", 1, 1)],
        "context": [Column("tab", "table", 2, 0, table="ranker.tab", rows=3)],
    }
    model = RankerModel(columns, {"ranker.tab": (3, 2)}, wiring("hard", 1, 16, 8, 8, (1.0,)), config)
    return train_ranker(RankerTrainer(model, rows, None, config, 1, 8))[0]


def test_the_tower_takes_the_position_out_of_the_clicks() -> None:
    """Without it the head also learns what the policy put first, which says nothing of the video."""
    rows, average = _page(12_000, 1)
    true = np.log(average / (1 - average))
    found = {}
    for tower in (False, True):
        model = _fitted(rows, tower)
        found[tower] = np.corrcoef(true, model.logits(rows)["click"][:, 0].numpy())[0, 1]
    assert found[True] > 0.90
    assert found[False] < 0.85


def test_the_position_is_no_input_and_no_part_of_the_export() -> None:
    rows, _ = _page(1500, 2)
    model = _fitted(rows, True)
    moved = rows.take(slice(None))
    moved.position = moved.position.flip(0)
    assert np.array_equal(model.predict(rows), model.predict(moved))
    assert any(not torch.equal(model.biased(rows)[name], model.biased(moved)[name]) for name in TASKS)
    assert not [name for name in model.ranker.export() if "position" in name]
    unknown = rows.take(slice(None))
    unknown.position = torch.full_like(unknown.position, -1)
    assert torch.allclose(model.biased(unknown)["click"], model.logits(unknown)["click"], atol=1e-4)


# ---- negative sampling ----


def test_heads_are_true_where_rows_without_a_click_are_sampled() -> None:
    """A tenth of them is learnt from: without the correction the mean of click would be far too high, and
    with it so would that of like, which some of them have."""
    rows, _ = _page(30_000, 3)
    rng = np.random.default_rng(4)
    liked = rng.random(len(rows)) < np.where(rows.labels[:, 0].numpy() > 0, 0.3, 0.1)
    rows.labels[:, 2] = torch.from_numpy(liked.astype(np.float32))
    kept = (rows.labels[:, 0].numpy() > 0) | (rng.random(len(rows)) < 0.1)
    found = {}
    for share in (0.1, 1.0):
        model = _fitted(rows.take(torch.from_numpy(np.flatnonzero(kept))), False, unclicked_share=share)
        found[share] = model.predict(rows).mean(axis=0)
    true = rows.labels.mean(dim=0).numpy()
    assert found[0.1][[0, 2]] == pytest.approx(true[[0, 2]], rel=0.06)
    assert found[1.0][0] > 2 * true[0] and found[1.0][2] > 1.3 * true[2]


# ---- watch time and calibration ----


def test_quantile_bins_part_the_watches_evenly() -> None:
    rng = np.random.default_rng(0)
    seconds = np.minimum(rng.lognormal(2, 1.2, 20_000), 300) * (rng.random(20_000) < 0.8)
    widths = torch.tensor(watch_time.quantile_widths(seconds, 20))
    assert float(widths.sum()) == pytest.approx(300, abs=1e-3) and len(widths) == 20
    exceeds = watch_time.watch_exceeds(torch.from_numpy(seconds[seconds > 0]).float(), widths).mean(0)
    assert torch.allclose(exceeds, 1 - torch.arange(20) / 20, atol=0.01)
    assert min(watch_time.quantile_widths(np.full(100, 7.0), 20)) >= watch_time.LEAST_WIDTH


def test_exceeding_bins_restore_a_mean_that_calibration_rights() -> None:
    """A head without inputs: probabilities of passing each start, and the mean once it is calibrated."""
    rng = np.random.default_rng(1)
    seconds = torch.from_numpy(np.minimum(rng.lognormal(2, 1.2, 20_000), 300)).float()
    widths = torch.tensor(watch_time.quantile_widths(seconds.numpy(), 12))
    logits = watch_time.BinLoss("exceeds").constant(seconds, widths).expand(len(seconds), -1)
    raw = float(torch.sigmoid(logits[0]) @ widths)
    one = calibration.fit_affine(logits, watch_time.watch_shares(seconds, widths), widths)
    righted = float(torch.sigmoid(one.slope * logits[0] + one.shift) @ widths)
    assert raw > 1.1 * float(seconds.mean())  # a bin counts whole when it is only begun
    assert righted == pytest.approx(float(seconds.mean()), rel=0.005)


def test_isotonic_calibration_rights_a_bent_probability() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(30_000)
    y = (rng.random(30_000) < p**3).astype(float)
    one = calibration.fit_isotonic(p[:15_000], y[:15_000])
    assert metrics.ece(y[15_000:], one.predict(p[15_000:])) < 0.02 < metrics.ece(y[15_000:], p[15_000:])


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(401, 333)
    y = dropout(x, 0.3, True)
    assert float((y == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(y.mean()) == pytest.approx(1.0, abs=0.01)
    assert y.unique().tolist() == pytest.approx([0.0, 256 / 179])
    rows = (y == 0).float().mean(1)
    assert float(rows.std()) < 0.05  # no row is dropped whole
    assert dropout(x, 0.3, False) is x and dropout(x, 0.0, True) is x
