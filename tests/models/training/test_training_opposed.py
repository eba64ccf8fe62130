"""The experiment on opposed tasks: its rows, what it measures, and that gates of their own pay there."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vireo_models.__main__ import main
from vireo_models.experiments import opposed

LONG = os.environ.get("VIREO_LONG") == "1"
SMALL = opposed.Settings(viewers=200, videos=300)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_labels_are_drawn_by_the_truth() -> None:
    pairs = opposed.Pairs(SMALL, 1.0, 2)
    x, p = pairs.expected(4000, np.random.default_rng(1))
    same, y = pairs.drawn(4000, np.random.default_rng(1))
    assert torch.equal(x, same) and x.shape == (2, 4000, opposed.WIDTH) and set(y.unique().tolist()) == {0, 1}
    assert torch.allclose(y.mean(dim=(0, 1)), p.mean(dim=(0, 1)), atol=0.03)
    high = p[..., 0] > p[..., 0].median()
    assert y[..., 0][high].mean() > y[..., 0][~high].mean() + 0.2


def test_planted_losses_give_their_gains() -> None:
    rng = np.random.default_rng(0)
    noise = 0.001 * rng.standard_normal(20)
    losses = {"hard": 0.02 + noise, "moe": 0.02 + noise, "mmoe": 0.01 + noise, "ple": 0.03 + noise}
    found = opposed.summarise(losses)
    assert found["gain"]["mmoe"]["low"] == pytest.approx(0.01) and found["gain"]["ple"]["high"] < 0
    assert found["gain"]["moe"]["low"] == found["gain"]["moe"]["high"] == 0
    assert found["loss"]["mmoe"]["high"] < found["loss"]["hard"]["low"]


def test_one_command_leaves_table_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = dataclasses.replace(SMALL, seeds=2, steps=3, batch=16)
    monkeypatch.setattr(opposed, "Settings", lambda **given: dataclasses.replace(tiny, **given))
    assert main(["experiment", "opposed", "--seeds", "2", "--steps", "3", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "opposed.json").read_text())
    counts = list(found["parameters"].values())
    assert max(counts) < 1.03 * min(counts) and set(found["conflicts"]) == {"0.0", "1.0"}
    assert all(len(one["losses"]["ple"]) == 2 for one in found["conflicts"].values())
    assert "under hard sharing" in (tmp_path / "opposed.txt").read_text()


def test_too_few_seeds_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "opposed", "--seeds", "1", "--out", str(tmp_path / "out")]) == 2
    assert "--seeds 1" in capsys.readouterr().err


@pytest.mark.skipif(not LONG, reason="half a minute: VIREO_LONG=1")
def test_gates_of_their_own_pay_where_tasks_oppose() -> None:
    settings = opposed.Settings(seeds=6)
    losses = {
        name: opposed._train(settings, name, 1.0, tuple(range(6)), torch.full((6,), 0.01))
        for name in ("hard", "mmoe", "ple")
    }
    assert losses["mmoe"].max() < losses["hard"].min()
    assert losses["ple"].mean() < losses["hard"].mean()
