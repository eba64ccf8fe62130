"""The comparison of one part of the ranker in several ways: figures on planted heads, and one small run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_training import SETTINGS, needs_library

from vireo_models.__main__ import main
from vireo_models.config import Config
from vireo_models.experiments import comparison, variants

LONG = os.environ.get("VIREO_LONG") == "1"
ROWS = 4000


def _planted() -> tuple[Any, dict[str, np.ndarray]]:
    """A run with a truth, and heads [2 seeds, rows, 4] that know it exactly or through noise."""
    rng = np.random.default_rng(0)
    true = 1 / (1 + np.exp(-rng.normal(-1, 1, ROWS)))
    click = (rng.random(ROWS) < true).astype(float)
    columns = {name: np.zeros(ROWS, np.int64) for name in ("viewer", "video", "time_ms")}
    columns |= {
        "tab": np.zeros(ROWS),
        "click": click,
        "watch_s": 10 * click + 1,
        "like": click,
        "finish": click,
    }
    truth = SimpleNamespace(expected=lambda *_: {"click": true})
    run = SimpleNamespace(
        data=SimpleNamespace(truth=truth, impressions=pd.DataFrame(columns)),
        days=SimpleNamespace(report=np.arange(ROWS)),
        query=SimpleNamespace(viewer=rng.integers(0, 300, ROWS)),
        config=Config(bootstrap=60),
    )
    exact = np.column_stack([true, 10 * true + 1, true, true])
    logit = np.log(exact[:, :1] / (1 - exact[:, :1])) + rng.normal(0, 1.0, (ROWS, 1))
    noisy = exact.copy()
    noisy[:, 0] = noisy[:, 2] = noisy[:, 3] = 1 / (1 + np.exp(-logit[:, 0]))
    noisy[:, 1] *= 1.3
    return run, {"noisy": np.stack([noisy, noisy]), "exact": np.stack([exact, exact])}


def test_the_truth_itself_has_no_loss_above_the_least() -> None:
    run, heads = _planted()
    found = variants.truth_figures(run, heads)
    assert found is not None
    assert found["exact"]["correlation"] == pytest.approx([1.0, 1.0])
    assert found["exact"]["excess_loss"] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert found["noisy"]["correlation"][0] < 0.8 and found["noisy"]["excess_loss"][0] > 0.05


def test_a_wrong_level_alone_counts_nothing_against_the_truth() -> None:
    true = 1 / (1 + np.exp(-np.random.default_rng(1).normal(-1, 1, 3000)))
    raised = 1 / (1 + np.exp(-(variants._logit(true) + 1.5)))
    assert variants._against(true, raised)["excess_loss"] == pytest.approx(0.0, abs=1e-6)


def test_planted_ways_have_their_gains_in_the_table() -> None:
    run, heads = _planted()
    found = comparison.summarise(run, heads, "noisy")
    for name in (*comparison.BINARY, "watch_s"):
        assert (
            found["heads"][name]["exact"]["gain"]["low"] > 0 and "gain" not in found["heads"][name]["noisy"]
        )
    assert found["heads"]["watch_s"]["noisy"]["mean"] == pytest.approx(1.3, rel=0.05)
    assert found["heads"]["click"]["exact"]["ece"] < 0.03 < found["heads"]["click"]["noisy"]["ece"]
    found |= {"set": "watch", "data": "planted", "seeds": 2, "ways": ["noisy", "exact"]}
    text = variants.as_text(found | {"truth": variants.truth_figures(run, heads)})
    assert "noisy" in text and "log loss above the least" in text and text.count("exact") == 2


def test_the_log_loss_is_least_at_the_mean_of_log1p() -> None:
    seconds, loss = torch.tensor([0.0, 3.0, 50.0, 300.0]), variants.LogLoss()
    best = loss.constant(seconds, torch.ones(1))
    at = {
        shift: float(loss.each((best + shift).expand(4, 1), seconds, torch.ones(1)).mean())
        for shift in (-0.1, 0.0, 0.1)
    }
    assert at[0.0] < min(at[-0.1], at[0.1])
    assert float(best) == pytest.approx(float(np.log1p(seconds.numpy()).mean()))


def test_heads_that_are_made_together_are_kept_in_order(tmp_path: Path) -> None:
    finished = comparison.Finished(tmp_path / "out", {})
    made = {"with a, comma (b)": np.ones(2), "another": np.zeros(2)}
    for make in (lambda: made, lambda: pytest.fail("made again")):
        found = finished.many("watch", 1, make)
        assert [name for name, _ in found] == list(made) and found[0][1].tolist() == [1, 1]


@pytest.mark.skipif(not LONG, reason="a minute: VIREO_LONG=1")
@pytest.mark.parametrize("kind", ["watch", "calibration", "weighting", "position"])
def test_one_command_compares_a_set(kind: str, tmp_path: Path) -> None:
    needs_library()
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(SETTINGS))
    data = "simulate:viewers=200,videos=300,creators=40,days=10,history_days=4,sessions_per_day=0.8"
    options = ["--set", kind, "--data", data, "--config", str(settings), "--seeds", "1"]
    assert main(["experiment", "variants", *options, "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / f"{kind}.json").read_text())
    assert len(found["ways"]) >= 2 and set(found["truth"]) == set(found["ways"])
    assert all(found["heads"]["click"][name]["auc"]["value"] > 0.5 for name in found["ways"])
