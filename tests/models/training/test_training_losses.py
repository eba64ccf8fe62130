"""What the losses estimate, on synthetic data whose answer is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vireo_models import calibration, metrics, networks, ranker, towers, watch_time
from vireo_models.config import RankerConfig
from vireo_models.features_reference import ENTITIES
from vireo_models.networks import Column, wiring
from vireo_models.ranker import RankerModel, RankerTrainer, RankRows, train_ranker

WIDTHS = torch.tensor(watch_time.WATCH_WIDTHS)


def _fit_item_logits(corrected: bool) -> tuple[np.ndarray, np.ndarray]:
    """Logits learnt for a viewer who draws from 200 items by Zipf: the first 60, true and learnt."""
    torch.manual_seed(0)
    share = 1.0 / torch.arange(10.0, 210.0)
    share /= share.sum()
    target = torch.multinomial(share, 60_000, replacement=True)
    items = torch.zeros(200, 1, requires_grad=True)
    optimizer = torch.optim.Adam([items], lr=0.05)
    expected = towers.log_expected_draws(torch.bincount(target, minlength=200).float(), 256, 64)
    if not corrected:
        expected = torch.zeros(200)
    for step in range(600):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 620)
        batch = target[(step * 256) % 59_000 :][:256]
        drawn = torch.randint(0, 200, (64,))
        loss = towers.sampled_softmax(torch.ones(256, 1), items, batch, drawn, expected, 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    true, learnt = torch.log(share)[:60].numpy(), items.detach()[:60, 0].numpy()
    return true - true.mean(), learnt - learnt.mean()


def test_log_q_correction_recovers_the_viewers_distribution() -> None:
    true, learnt = _fit_item_logits(corrected=True)
    assert np.polyfit(true, learnt, 1)[0] == pytest.approx(1.0, abs=0.15)
    assert np.corrcoef(true, learnt)[0, 1] > 0.95


def test_without_the_correction_popularity_is_lost() -> None:
    true, learnt = _fit_item_logits(corrected=False)
    assert np.polyfit(true, learnt, 1)[0] < 0.5


def test_a_rows_own_target_is_no_negative_of_it() -> None:
    user, items = torch.ones(2, 1), torch.tensor([[0.0], [0.0]])
    target, drawn = torch.tensor([0, 0]), torch.tensor([0, 1, 1])
    loss = towers.sampled_softmax(user, items, target, drawn, torch.zeros(2), 1.0)
    assert float(loss) == pytest.approx(np.log(3))  # itself and the two draws of the other video


def test_weighted_mean_equals_loops() -> None:
    rng = np.random.default_rng(1)
    video, table = rng.integers(0, 9, (6, 50)), rng.normal(size=(9, 4)).astype(np.float32)
    weight = np.where(rng.random((6, 50)) < 0.3, rng.random((6, 50)), 0).astype(np.float32)
    found = towers.weighted_mean(torch.from_numpy(video), torch.from_numpy(weight), torch.from_numpy(table))
    expected = np.stack(
        [sum(w * table[v] for v, w in zip(*row, strict=True)) for row in zip(video, weight, strict=True)]
    )
    assert np.abs(found.numpy() - expected).max() < 1e-5


def _watches(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Long-tailed watch times that depend on one feature: x [n], seconds [n] capped at 300."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=rows)
    seconds = np.where(rng.random(rows) < 0.2, 0, rng.lognormal(1.2 + 0.9 * x, 1.3))
    return x.astype(np.float32), np.minimum(seconds, 300).astype(np.float32)


def test_shares_add_up_to_the_watch_time() -> None:
    _, seconds = _watches(5000)
    shares = watch_time.watch_shares(torch.from_numpy(seconds), WIDTHS)
    assert float(WIDTHS.sum()) == 300.0
    assert torch.allclose(shares @ WIDTHS, torch.from_numpy(seconds), atol=1e-3)
    assert bool(((shares >= 0) & (shares <= 1)).all())


def test_ordinal_head_estimates_the_mean_of_a_long_tail() -> None:
    torch.manual_seed(2)
    x, seconds = _watches(60_000)
    head = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.ReLU(), torch.nn.Linear(32, len(WIDTHS)))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    inputs, shares = torch.from_numpy(x)[:, None], watch_time.watch_shares(torch.from_numpy(seconds), WIDTHS)
    weight = watch_time.bin_weights(WIDTHS)
    for step in range(500):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / 510)
        rows = slice((step * 1024) % 50_000, (step * 1024) % 50_000 + 1024)
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            head(inputs[rows]), shares[rows], reduction="none"
        )
        optimizer.zero_grad()
        (each @ weight).mean().backward()
        optimizer.step()
    with torch.no_grad():
        one = calibration.fit_affine(head(inputs), shares, WIDTHS)
        predicted = (torch.sigmoid(head(inputs) * one.slope + one.shift) @ WIDTHS).numpy()
    assert predicted.mean() == pytest.approx(seconds.mean(), rel=0.005)
    for part in metrics.deciles(seconds, predicted):
        assert part["predicted"] == pytest.approx(part["observed"], rel=0.10)
    assert (
        np.expm1(np.log1p(seconds).mean()) < 0.5 * seconds.mean()
    )  # what expm1 of a mean of log1p would say


def test_calibration_recovers_a_known_map_and_its_mean() -> None:
    torch.manual_seed(3)
    z = torch.randn(50_000, 1)
    target = (torch.rand(50_000, 1) < torch.sigmoid(0.6 * z - 1.1)).float()
    one = calibration.fit_affine(z, target, torch.ones(1))
    assert one.slope == pytest.approx(0.6, abs=0.03)
    assert one.shift == pytest.approx(-1.1, abs=0.03)
    assert float(torch.sigmoid(one.slope * z + one.shift).mean()) == pytest.approx(
        float(target.mean()), abs=1e-4
    )


def test_folding_equals_mapping_the_logits() -> None:
    torch.manual_seed(1)
    spec = networks.wiring("mmoe", 2, 8, 4, 4, watch_time.WATCH_WIDTHS)
    module = networks.Ranker(spec, 6)

    class Holder:
        def __init__(self) -> None:
            self.ranker = module

    x = torch.randn(10, 6)
    before = {name: logits.detach() for name, logits in module(x).items()}
    calibration.fold(Holder(), {name: calibration.Affine(0.7, -0.2) for name in networks.TASKS})  # type: ignore[arg-type]
    for name, logits in module(x).items():
        assert torch.allclose(logits, 0.7 * before[name] - 0.2, atol=1e-5)


def test_median_of_known_distributions() -> None:
    """A viewer who surely watches t seconds has the median t, up to the width of a bin."""
    for seconds in (2.5, 9.0, 27.0, 100.0):
        share = watch_time.watch_shares(torch.tensor([seconds]), WIDTHS).clamp(1e-4, 1 - 1e-4)
        found = watch_time.medians(torch.logit(share), WIDTHS)[0]
        assert abs(found - seconds) <= 0.15 * seconds + 1.0


def test_masked_finish_has_no_gradient() -> None:
    """Neither where all labels are unknown nor in the unknown ones of a mixed batch, whatever they say."""
    torch.manual_seed(4)
    spec = networks.wiring("hard", 1, 8, 4, 4, watch_time.WATCH_WIDTHS)
    module = networks.Ranker(spec, 3)
    model: Any = SimpleNamespace(ranker=module, watch_loss=watch_time.BinLoss())
    x, labels, known = torch.randn(4, 3), torch.ones(4, 4), torch.ones(4, 4, dtype=torch.bool)
    for unknown in ([0, 1, 2, 3], [1, 3]):
        known[:, 3] = True
        known[unknown, 3] = False
        logits = {name: one.detach().requires_grad_() for name, one in module(x).items()}
        losses = ranker.task_losses(model, logits, labels, known)
        losses["finish"].backward()
        gradient = logits["finish"].grad[:, 0]
        assert ((gradient != 0) == known[:, 3]).all()
        other = labels.clone()
        other[unknown, 3] = 0.0
        assert ranker.task_losses(model, logits, other, known)["finish"] == losses["finish"]
        assert losses["click"].item() > 0.0
    certain = torch.nn.functional.binary_cross_entropy_with_logits(logits["finish"][[0, 2], 0], torch.ones(2))
    assert losses["finish"].item() == pytest.approx(certain.item(), rel=1e-6)  # a mean over the known


def test_bf16_trains_close_to_fp32_and_keeps_fp32_weights() -> None:
    """Mixed precision on the CPU: other products, the same type of weights and nearly the same losses."""
    losses = {}
    for precision in ("fp32", "bf16", "auto"):
        torch.manual_seed(0)
        config = RankerConfig(precision=precision, batch=64, epochs=3, dropout=0.0)
        columns = {name: [] for name in ENTITIES} | {
            "viewer": [Column(f"x{i}", "dense", 1, i) for i in range(6)]
        }
        model = RankerModel(columns, {}, wiring("mmoe", 3, 16, 8, 8, (1.0, 4.0)), config)
        trainer = RankerTrainer(model, _rows(600, 1), _rows(300, 2), config, 1)
        kept, history = train_ranker(trainer)
        assert all(one.dtype == torch.float32 and one.device.type == "cpu" for one in kept.parameters())
        losses[precision] = history.epochs[-1]["relative"]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    assert losses["auto"] == losses["fp32"] or torch.cuda.is_available()


def _rows(count: int, seed: int) -> RankRows:
    """Rows of six numbers that all labels follow."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=generator)
    labels = (x[:, :4] + 0.3 * torch.randn(count, 4, generator=generator) > 0).float()
    nothing = torch.zeros(count, 0)
    dense = {name: nothing for name in ENTITIES} | {"viewer": x}
    index = {name: nothing.long() for name in ENTITIES}
    video = torch.zeros(count, dtype=torch.int64)
    known = torch.ones(count, 4, dtype=torch.bool)
    return RankRows(dense, index, {}, video, torch.zeros(1, 4), labels, known, torch.full((count,), -1))
