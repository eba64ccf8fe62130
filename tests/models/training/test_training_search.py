"""The search for settings, over a stand-in for Optuna that draws at random: budget, pruning, the best."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tiny_training import needs_library

from vireo_models import config as settings
from vireo_models import search
from vireo_models.__main__ import main

DATA = "simulate:viewers=60,videos=100,creators=20,days=8,history_days=3,sessions_per_day=1.0"
SMALL: dict[str, Any] = {
    "tower": {"epochs": 1, "day_epochs": 1, "batch": 128, "uniform_negatives": 32, "id_width": 8, "dim": 16},
    "ranker": {
        "epochs": 2,
        "experts": 2,
        "hidden": 8,
        "width": 8,
        "tower_hidden": 4,
        "batch": 128,
        "lr": 0.004,
    },
    "content_dim": 16,
}


class _Pruned(Exception):
    pass


class _Trial:
    def __init__(self, number: int, given: dict[str, float] | None) -> None:
        self.number, self.given, self.reports = number, given, []
        self.rng = random.Random(number)

    def suggest_float(self, name: str, low: float, high: float, log: bool) -> float:
        return self.given[name] if self.given else self.rng.uniform(low, high)

    def report(self, value: float, step: int) -> None:
        self.reports.append((step, value))

    def should_prune(self) -> bool:
        return self.number == 1  # the second trial, after its first epoch


class _Study:
    def __init__(self, most: int) -> None:
        self.most, self.given = most, None

    def enqueue_trial(self, given: dict[str, float]) -> None:
        self.given = given

    def optimize(
        self, objective: Callable[[_Trial], float], timeout: float = 1e9, n_trials: int = 1000
    ) -> None:
        end = time.monotonic() + timeout
        for number in range(min(self.most, n_trials)):
            with contextlib.suppress(_Pruned):
                objective(_Trial(number, self.given if number == 0 else None))
            if time.monotonic() > end:
                break


def _optuna(most: int) -> ModuleType:
    module: Any = ModuleType("optuna")
    module.TrialPruned = _Pruned
    module.logging = SimpleNamespace(set_verbosity=lambda _: None, WARNING=0)
    module.pruners = SimpleNamespace(MedianPruner=lambda *_: None)
    module.samplers = SimpleNamespace(TPESampler=lambda seed: None)
    module.create_study = lambda sampler, pruner: _Study(most)
    return module


def _run(tmp_path: Path, minutes: str) -> list[dict[str, Any]]:
    path = tmp_path / "run.yaml"
    config = settings.Config(data=DATA)
    settings.update(config, SMALL, "")
    path.write_text(config.as_yaml())
    out = tmp_path / "search"
    assert main(["search", "--config", str(path), "--minutes", minutes, "--out", str(out)]) == 0
    return json.loads((out / "search.json").read_text())


def test_the_best_trial_becomes_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_library()
    monkeypatch.setitem(sys.modules, "optuna", _optuna(4))
    trials = _run(tmp_path, "10")
    assert [one["epochs"] for one in trials] == [2, 1, 2, 2]  # the second was pruned
    assert trials[0]["settings"]["lr"] == 0.004  # the configured ones come first
    best = settings.load(tmp_path / "search" / "best.yaml")
    winner = min(trials, key=lambda one: one["relative"])
    assert {name: getattr(best.ranker, name) for name in search.SPACE} == winner["settings"]
    assert (best.ranker.epochs, best.data, best.tower.dim) == (2, DATA, 16)


def test_the_budget_ends_it_within_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_library()
    monkeypatch.setitem(sys.modules, "optuna", _optuna(1000))
    trials = _run(tmp_path, "0.0001")  # gone before the towers are trained
    assert [one["epochs"] for one in trials] == [1]


def test_without_optuna_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    arguments = ["search", "--data", "simulate:cats=1", "--minutes", "1", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "pip install optuna" in capsys.readouterr().err


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_a_budget_that_is_none_is_refused(
    minutes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["search", "--data", DATA, f"--minutes={minutes}", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "--minutes" in capsys.readouterr().err
