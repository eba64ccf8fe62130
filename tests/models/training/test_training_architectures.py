"""The comparison of architectures on one log: planted gains come out with their sign, ties as ties."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_training import SETTINGS, needs_library

from vireo_models.__main__ import main
from vireo_models.config import Config
from vireo_models.experiments import architectures

LONG = os.environ.get("VIREO_LONG") == "1"
ROWS = 3000


def _planted(noise: float, seed: int, truth: np.ndarray) -> np.ndarray:
    """Heads [2 seeds, rows, 4] that know the labels but for noise."""
    rng = np.random.default_rng(seed)
    return truth[None] + noise * rng.standard_normal((2, *truth.shape))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What ``summarise`` reads of a run: labels, viewers, the days of report."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy((rng.random((ROWS, 4)) < 0.3).astype(np.float32))
    known = torch.ones(ROWS, 4, dtype=torch.bool)
    known[::7, 3] = False
    judged = SimpleNamespace(labels=labels, known=known)
    monkeypatch.setattr(architectures, "rows_of", lambda *_: _Sized(judged))
    return SimpleNamespace(
        query=SimpleNamespace(viewer=rng.integers(0, 200, ROWS)),
        days=SimpleNamespace(report=np.arange(ROWS)),
        config=Config(bootstrap=100),
        labels=labels.numpy(),
    )


class _Sized:
    def __init__(self, judged: SimpleNamespace) -> None:
        self.labels, self.known = judged.labels, judged.known

    def __len__(self) -> int:
        return len(self.labels)


def test_planted_gains_have_their_sign(run: SimpleNamespace) -> None:
    truth = run.labels
    heads = {
        "hard": _planted(1.5, 1, truth),
        "moe": _planted(1.0, 2, truth),
        "mmoe": _planted(1.0, 2, truth),
        "ple": _planted(0.6, 3, truth),
    }
    found = architectures.summarise(run, heads)
    for one in found["heads"].values():
        assert one["hard"]["gain"]["high"] < 0
        assert one["moe"]["gain"]["low"] == one["moe"]["gain"]["high"] == 0
        assert one["ple"]["gain"]["low"] > 0
        assert "gain" not in one["mmoe"]
    text = architectures.as_text(
        found | {"data": "planted", "seeds": 2, "parameters": dict.fromkeys(heads, 9)}
    )
    assert text.count("\n") == 6 and "+0.0000 [+0.0000, +0.0000]" in text


@pytest.mark.skipif(not LONG, reason="a minute: VIREO_LONG=1")
def test_one_command_compares_all_four(tmp_path: Path) -> None:
    needs_library()
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(SETTINGS))
    data = "simulate:viewers=200,videos=300,creators=40,days=10,history_days=4,sessions_per_day=0.8"
    options = ["--data", data, "--config", str(settings), "--seeds", "2", "--out", str(tmp_path / "out")]
    assert main(["experiment", "architectures", *options]) == 0
    found = json.loads((tmp_path / "out" / "architectures.json").read_text())
    counts = list(found["parameters"].values())
    assert len(counts) == 4 and max(counts) <= 1.02 * min(counts)
    assert all(one["mmoe"]["auc"]["value"] > 0.55 for name, one in found["heads"].items() if name == "click")


def test_no_seed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", "simulate", "--seeds", "0", "--out", str(tmp_path / "out")]
    assert main(["experiment", "architectures", *options]) == 2
    assert "--seeds 0" in capsys.readouterr().err
