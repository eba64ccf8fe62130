"""Hard sharing, single-gate MoE, MMoE and PLE as rankers of one log, with equal parameters.

The configured widths are those of the MMoE; the others get widths with its number of parameters. Rates and
dropouts are searched for each of them with the same number of trials on the tune day of the first seed.
Everything else is shared: towers, features, stop and calibration days. Beside them stands gradient boosting
on the same rows, with as many trials. Differences are those of the mean over seeds, with intervals from a
bootstrap over viewers.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import config as settings
from ..boosting import drawn_settings
from ..config import ARCHITECTURES, Config
from ..data import load
from ..evaluate import run_boosting
from ..pipeline import (
    Run,
    build_rank_rows,
    fit_ranker,
    new_ranker,
    prepare,
    rows_of,
    train_towers,
    watch_widths,
)
from ..report import interval_text, text_table
from ..schema import Dataset
from ..search import optuna, tuned, with_settings
from ..sizing import Sizes, matched, parameter_count
from .comparison import BINARY, Finished, summarise


def prepared(data: Dataset, config: Config) -> Run:
    """A run up to the ranker's rows, which every architecture shares."""
    run = prepare(data, config)
    train_towers(run, run.days.fit_days)
    build_rank_rows(run, run.days.fit_days)
    return run


def with_architecture(run: Run, architecture: str) -> Run:
    """``run`` with ``architecture`` in the widths that have the parameters of the configured MMoE."""
    config = copy.deepcopy(run.config)
    ranker = config.ranker
    like = Sizes(ranker.experts, ranker.hidden, ranker.width, ranker.tower_hidden)
    sizes = matched(architecture, like, new_ranker(run).width, watch_widths(run))
    config.ranker = dataclasses.replace(ranker, architecture=architecture, **dataclasses.asdict(sizes))
    return dataclasses.replace(run, config=config)


def _judged(run: Run) -> np.ndarray:
    """Trains the ranker; its heads [rows, 4] on the report days."""
    fit_ranker(run)
    assert run.ranker is not None
    return run.ranker.predict(rows_of(run, run.days.report))


def _count(run: Run) -> int:
    model = new_ranker(run)
    return parameter_count(model.ranker.spec, model.width)


class Comparison:
    """The architectures over one log: settings by equal numbers of trials, then seed after seed."""

    def __init__(self, data: Dataset, config: Config, trials: int, finished: Finished) -> None:
        self.data, self.config, self.trials, self.finished = data, config, trials, finished
        self._base: Run | None = None

    def base(self, seed: int) -> Run:
        """Towers and rows of a seed, made when a ranker needs them."""
        if self._base is None or self._base.config.seed != seed:
            self._base = prepared(self.data, dataclasses.replace(self.config, seed=seed))
        return self._base

    def tuning(self, name: str) -> dict[str, Any]:
        """The settings of ``name``: the best of the trials on the tune day of the first seed."""

        def make() -> dict[str, Any]:
            if self.trials == 1:
                return {"settings": {}, "trials": []}
            found, trials = tuned(with_architecture(self.base(self.config.seed), name), self.trials)
            return {"settings": found, "trials": trials}

        return self.finished.tuning(name, make)

    def heads(self, name: str, seed: int) -> np.ndarray:
        """Heads [rows, 4] of the architecture on the report days."""
        settings = self.tuning(name)["settings"]

        def make() -> np.ndarray:
            run = with_architecture(self.base(seed), name)
            return _judged(dataclasses.replace(run, config=with_settings(run.config, settings)))

        return self.finished.heads(name, seed, make)

    def boosted(self, seed: int) -> np.ndarray:
        """Heads [rows, 4] of gradient boosting on the report days."""

        def tune() -> dict[str, Any]:
            drawn = drawn_settings(self.trials, self.config.seed)
            return run_boosting(self.base(self.config.seed), drawn).settings

        tuning = self.finished.tuning("boosting", tune)
        tried = {name: [one["settings"]] for name, one in tuning.items()}

        def make() -> np.ndarray:
            run = self.base(seed)
            return run_boosting(run, tried).heads(rows_of(run, run.days.report))

        return self.finished.heads("boosting", seed, make)

    def seeds(self, count: int) -> Iterator[dict[str, Any]]:
        """After each seed the figures of all so far on the report days."""
        heads: dict[str, list[np.ndarray]] = {name: [] for name in (*ARCHITECTURES, "boosting")}
        plain = prepare(self.data, self.config)
        parameters = {name: _count(with_architecture(plain, name)) for name in ARCHITECTURES}
        tuning = {name: self.tuning(name) for name in tqdm(ARCHITECTURES, desc="tuning", leave=False)}
        for seed in range(self.config.seed, self.config.seed + count):
            for name in tqdm(ARCHITECTURES, desc=f"architectures, seed {seed}", leave=False):
                heads[name].append(self.heads(name, seed))
            heads["boosting"].append(self.boosted(seed))
            stacked = {name: np.stack(one) for name, one in heads.items()}
            found = summarise(plain, stacked, "mmoe")
            found["over_boosting"] = summarise(plain, stacked, "boosting")["heads"]
            common = {"data": self.data.name, "seeds": len(heads["mmoe"]), "trials": self.trials}
            yield {**common, "tuning": tuning, "parameters": parameters, **found}


def as_text(found: dict[str, Any]) -> str:
    """Architectures by head: their gains over MMoE, then those over gradient boosting."""
    head = f"{found['data']}, {found['rows']} rows, {found['seeds']} seeds, {found['trials']} trials each"
    over_mmoe = _table(found["heads"], found["parameters"], "MMoE")
    over_boosting = _table(found["over_boosting"], found["parameters"], "boosting")
    return "\n\n".join([head, text_table(over_mmoe), text_table(over_boosting)])


def _table(heads: dict[str, Any], parameters: dict[str, int], base: str) -> list[list[str]]:
    rows = [["", "parameters"]]
    rows[0] += [f"{name} AUC, over {base}" for name in BINARY] + [f"watch_s MSE, under {base}'s"]
    for name in (*parameters, "boosting"):
        cells = []
        for head, one in heads.items():
            value = one[name]["mse" if head == "watch_s" else "auc"]["value"]
            digits = 1 if head == "watch_s" else 4
            cells.append(f"{value:.{digits}f} {interval_text(one[name].get('gain'), digits)}".strip())
        rows.append([name, str(parameters.get(name, "")), *cells])
    return rows


def run(options: argparse.Namespace) -> str:
    """Writes architectures.json and architectures.txt into ``options.out``, anew after each seed."""
    for name in ("seeds", "trials"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} {getattr(options, name)}: at least 1 is wanted")
    if options.trials > 1:
        optuna()  # before the data is read
    config, folder, text = settings.load(options.config), options.out, ""
    key = {"data": options.data, "trials": options.trials, "config": config.as_dict()}
    finished = Finished(folder, key)
    for found in Comparison(load(options.data), config, options.trials, finished).seeds(options.seeds):
        text = as_text(found)
        (folder / "architectures.json").write_text(json.dumps(found, indent=1) + "\n")
        (folder / "architectures.txt").write_text(text + "\n")
    return text
