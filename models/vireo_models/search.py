"""Search for the ranker's settings, judged by the tune day alone (needs Optuna): ``search`` within a time
budget, ``tuned`` with a number of trials.

Towers and rows are made once; each trial trains a ranker with settings that Optuna's TPE suggests, the first
one with those of the configuration. Trials that lag behind the median are pruned, and the last one is
stopped at the deadline; the best epoch of any trial wins. The report days are never looked at.
"""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from .config import Config, RankerConfig, update
from .pipeline import Run, build_rank_rows, new_ranker, prepare, rows_of, train_towers
from .ranker import RankerTrainer
from .report import text_table
from .schema import Dataset

LOG, LINEAR = "log", "linear"
SPACE: dict[str, tuple[str, float, float]] = {
    "lr": (LOG, 3e-4, 1e-2),
    "table_lr": (LOG, 3e-4, 1e-2),
    "weight_decay": (LOG, 1e-7, 1e-3),
    "dropout": (LINEAR, 0.0, 0.5),
    "input_dropout": (LINEAR, 0.0, 0.2),
}
WARM_UP_TRIALS, WARM_UP_EPOCHS = 4, 2  # before anything is pruned
Trial = dict[str, Any]


def optuna() -> Any:
    """The module, or ValueError where it is not installed."""
    try:
        import optuna as module
    except ImportError as error:
        raise ValueError("search needs the package optuna: pip install optuna") from error
    module.logging.set_verbosity(module.logging.WARNING)
    return module


def _suggest(trial: Any) -> dict[str, float]:
    return {
        name: trial.suggest_float(name, low, high, log=scale == LOG)
        for name, (scale, low, high) in SPACE.items()
    }


def _within(config: RankerConfig) -> dict[str, float]:
    """The configured settings, as far as the space has them."""
    return {name: float(np.clip(getattr(config, name), low, high)) for name, (_, low, high) in SPACE.items()}


def with_settings(config: Config, settings: dict[str, float]) -> Config:
    """``config`` with other settings of its ranker."""
    changed = copy.deepcopy(config)
    update(changed, {"ranker": settings}, "")
    return changed


class _Search:
    """Trials over one run's rows until ``deadline`` (seconds of the monotonic clock)."""

    def __init__(self, run: Run, deadline: float) -> None:
        assert run.fit_rows is not None
        self.run, self.deadline = run, deadline
        self.fit, self.tune = rows_of(run, run.fit_rows), rows_of(run, run.days.tune)
        self.trials: list[Trial] = []

    def objective(self, trial: Any) -> float:
        """Trains one ranker; the least relative loss on the tune day."""
        settings = _suggest(trial)
        found: Trial = {"settings": settings, "epochs": 0, "relative": None}
        self.trials.append(found)
        config = with_settings(self.run.config, settings)
        changed = copy.copy(self.run)
        changed.config = config
        trainer = RankerTrainer(new_ranker(changed), self.fit, self.tune, config.ranker, config.seed)
        while not trainer.finished():
            entry = trainer.epoch()
            found["epochs"], found["relative"] = entry["epoch"], trainer.best_loss
            trial.report(entry["relative"], entry["epoch"])
            if time.monotonic() > self.deadline or trial.should_prune():
                raise optuna().TrialPruned
        return trainer.best_loss


def search(data: Dataset, config: Config, minutes: float) -> tuple[Config, list[Trial]]:
    """The configuration with the best settings found within ``minutes``, the towers' training included, and
    all trials in order; at least one epoch of the configured settings is run."""
    deadline = time.monotonic() + 60 * minutes
    run = prepare(data, config)
    train_towers(run, run.days.fit_days)
    build_rank_rows(run, run.days.fit_days)
    found = _optimised(run, deadline, timeout=max(deadline - time.monotonic(), 1e-3))
    return with_settings(config, found[0]), found[1]


def tuned(run: Run, trials: int) -> tuple[dict[str, float], list[Trial]]:
    """The best of ``trials`` settings of the ranker over the rows of ``run``, the configured ones first, and
    all trials in order; trials that lag behind are pruned all the same."""
    return _optimised(run, float("inf"), n_trials=trials)


def _optimised(run: Run, deadline: float, **budget: float) -> tuple[dict[str, float], list[Trial]]:
    module, config = optuna(), run.config
    work = _Search(run, deadline)
    pruner = module.pruners.MedianPruner(WARM_UP_TRIALS, WARM_UP_EPOCHS)
    study = module.create_study(sampler=module.samplers.TPESampler(seed=config.seed), pruner=pruner)
    study.enqueue_trial(_within(config.ranker))
    study.optimize(work.objective, **budget)
    best = min(work.trials, key=lambda one: one["relative"])
    return best["settings"], work.trials


def write(folder: Path, best: Config, trials: list[Trial]) -> str:
    """Writes best.yaml (for ``train --config``) and search.json; the best trials as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "best.yaml").write_text(best.as_yaml())
    (folder / "search.json").write_text(json.dumps(trials, indent=1) + "\n")
    rows = [["trial", "loss / constant's", "epochs", *SPACE]]
    order = sorted(range(len(trials)), key=lambda number: trials[number]["relative"])
    for number in order[:10]:
        one = trials[number]
        values = [f"{one['settings'][name]:.3g}" for name in SPACE]
        rows.append([str(number), f"{one['relative']:.5f}", str(one["epochs"]), *values])
    return f"{len(trials)} trials, the first with the configured settings\n{text_table(rows)}"
