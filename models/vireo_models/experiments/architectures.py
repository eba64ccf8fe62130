"""Hard sharing, single-gate MoE, MMoE and PLE as rankers of one log, with equal parameters.

The configured widths are those of the MMoE; the others get widths with its number of parameters. Rates and
dropouts are searched for each of them with the same number of trials on the tune day of the first seed.
Everything else is shared: towers, features, stop and calibration days. Differences are those of the mean over
seeds, with intervals from a bootstrap over viewers.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from .. import config as settings
from .. import metrics
from ..config import ARCHITECTURES, Config
from ..data import load
from ..data.labels import task_labels
from ..networks import TASKS
from ..pipeline import Run, build_rank_rows, fit_ranker, new_ranker, prepare, rows_of, train_towers
from ..ranker import WATCH_WIDTHS
from ..report import interval_text, text_table
from ..schema import Dataset
from ..search import optuna, tuned, with_settings
from ..sizing import Sizes, matched, parameter_count

BINARY = ("click", "finish", "like")


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
    sizes = matched(architecture, like, new_ranker(run).width, WATCH_WIDTHS)
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


class Finished:
    """What earlier runs of the same comparison left in ``folder``: settings and heads by architecture.

    A comparison of five seeds takes hours, so each part is kept as it is made and found again by its name;
    the folder of a comparison with other data or settings is refused.
    """

    def __init__(self, folder: Path, key: dict[str, Any]) -> None:
        self.folder, path = folder, folder / "comparison.json"
        if path.exists() and json.loads(path.read_text()) != key:
            raise ValueError(f"{folder}: of a comparison with other settings; take another folder")
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(key, indent=1) + "\n")

    def heads(self, name: str, seed: int, make: Callable[[], np.ndarray]) -> np.ndarray:
        path = self.folder / f"heads-{name}-{seed}.npy"
        if not path.exists():
            _replace(path, lambda file: np.save(file, make()))
        return np.load(path)

    def tuning(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self.folder / f"tuning-{name}.json"
        if not path.exists():
            _replace(path, lambda file: file.write(json.dumps(make(), indent=1).encode()))
        return json.loads(path.read_text())


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes beside ``path`` and renames, so that a killed run leaves no half of it."""
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        write(file)
    beside.replace(path)


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

    def seeds(self, count: int) -> Iterator[dict[str, Any]]:
        """After each seed the figures of all so far on the report days."""
        heads: dict[str, list[np.ndarray]] = {name: [] for name in ARCHITECTURES}
        plain = prepare(self.data, self.config)
        parameters = {name: _count(with_architecture(plain, name)) for name in ARCHITECTURES}
        tuning = {name: self.tuning(name) for name in tqdm(ARCHITECTURES, desc="tuning", leave=False)}
        for seed in range(self.config.seed, self.config.seed + count):
            for name in tqdm(ARCHITECTURES, desc=f"architectures, seed {seed}", leave=False):
                heads[name].append(self.heads(name, seed))
            found = summarise(plain, {name: np.stack(one) for name, one in heads.items()})
            common = {"data": self.data.name, "seeds": len(heads["mmoe"]), "trials": self.trials}
            yield {**common, "tuning": tuning, "parameters": parameters, **found}


def summarise(run: Run, heads: dict[str, np.ndarray]) -> dict[str, Any]:
    """heads [seeds, rows, 4] of each architecture -> figures by head, and their paired gains over MMoE."""
    judged = task_labels(run.data.impressions.iloc[run.days.report])
    found: dict[str, Any] = {"rows": len(judged.values), "heads": {}}
    for name in (*BINARY, "watch_s"):
        column = TASKS.index(name)
        values, known = judged.task(name)
        truth = values[known].astype(np.float64)
        viewer = run.query.viewer[run.days.report][known]
        weights = metrics.viewer_weights(viewer, run.config.bootstrap, run.config.seed)
        theirs = {key: one[:, known, column] for key, one in heads.items()}
        figures = _errors if name == "watch_s" else _aucs
        found["heads"][name] = figures(truth, theirs, weights)
    return found


def _aucs(truth: np.ndarray, values: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, Any]:
    """``auc`` of each architecture, mean over seeds, with its interval and the paired ``gain`` over MMoE."""
    drawn = {name: _mean_auc(truth, each, weights) for name, each in values.items()}
    found = {}
    for name, (value, draws) in drawn.items():
        found[name] = {"auc": _interval(value, draws)}
        if name != "mmoe":
            mmoe, its = drawn["mmoe"]
            found[name]["gain"] = _interval(value - mmoe, draws - its)
    return found


def _mean_auc(truth: np.ndarray, values: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    each = [metrics.AucOf(truth, value) for value in values]
    draws = [np.mean([one(weight) for one in each]) for weight in weights]
    return float(np.mean([one() for one in each])), np.array(draws)


def _interval(value: float, draws: np.ndarray) -> dict[str, float]:
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return {"value": value, "low": float(low), "high": float(high)}


def _errors(truth: np.ndarray, values: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, Any]:
    """``mse`` of E[watch_s], mean over seeds, and the paired ``gain``: MMoE's less theirs."""
    losses = {name: ((each - truth) ** 2).mean(axis=0) for name, each in values.items()}
    nothing = np.zeros(len(truth))
    found = {}
    for name, one in losses.items():
        found[name] = {"mse": metrics.mean_gain(nothing, one, weights).as_dict()}
        if name != "mmoe":
            found[name]["gain"] = metrics.mean_gain(one, losses["mmoe"], weights).as_dict()
    return found


def as_text(found: dict[str, Any]) -> str:
    """One table: architectures by head."""
    rows = [["", "parameters"]]
    rows[0] += [f"{name} AUC, over MMoE" for name in BINARY] + ["watch_s MSE, under MMoE's"]
    for name, count in found["parameters"].items():
        cells = []
        for head, one in found["heads"].items():
            value = one[name]["mse" if head == "watch_s" else "auc"]["value"]
            digits = 1 if head == "watch_s" else 4
            cells.append(f"{value:.{digits}f} {interval_text(one[name].get('gain'), digits)}".strip())
        rows.append([name, str(count), *cells])
    head = f"{found['data']}, {found['rows']} rows, {found['seeds']} seeds, {found['trials']} trials each"
    return f"{head}\n\n{text_table(rows)}"


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
