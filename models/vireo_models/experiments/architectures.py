"""Hard sharing, single-gate MoE, MMoE and PLE as rankers of one log, with equal parameters.

The configured widths are those of the MMoE; the others get widths with its number of parameters. Everything
else is shared: towers, features, settings, stop and calibration days. Differences are those of the mean over
seeds, with intervals from a bootstrap over viewers.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import config as settings
from .. import metrics
from ..config import ARCHITECTURES, Config
from ..data import load
from ..networks import TASKS
from ..pipeline import Run, build_rank_rows, fit_ranker, new_ranker, prepare, rows_of, train_towers
from ..ranker import WATCH_WIDTHS
from ..report import interval_text, text_table
from ..schema import Dataset
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
    assert run.ranker is not None
    return parameter_count(run.ranker.ranker.spec, run.ranker.width)


def compare(data: Dataset, config: Config, seeds: int) -> Iterator[dict[str, Any]]:
    """Trains every architecture with one seed after another; after each, the figures of all so far on the
    report days."""
    heads: dict[str, list[np.ndarray]] = {name: [] for name in ARCHITECTURES}
    parameters = {}
    for seed in range(config.seed, config.seed + seeds):
        base = prepared(data, dataclasses.replace(config, seed=seed))
        for name in tqdm(ARCHITECTURES, desc=f"architectures, seed {seed}", leave=False):
            run = with_architecture(base, name)
            heads[name].append(_judged(run))
            parameters[name] = _count(run)
        found = summarise(base, {name: np.stack(one) for name, one in heads.items()})
        yield {"data": data.name, "seeds": len(heads["mmoe"]), "parameters": parameters, **found}


def summarise(run: Run, heads: dict[str, np.ndarray]) -> dict[str, Any]:
    """heads [seeds, rows, 4] of each architecture -> figures by head, and their paired gains over MMoE."""
    judged = rows_of(run, run.days.report)
    found: dict[str, Any] = {"rows": len(judged), "heads": {}}
    for name in (*BINARY, "watch_s"):
        column = TASKS.index(name)
        known = judged.known[:, column].numpy()
        truth = judged.labels[known, column].double().numpy()
        viewer = run.query.viewer[run.days.report][known]
        weights = metrics.viewer_weights(viewer, run.config.bootstrap, run.config.seed)
        values = {key: one[:, known, column] for key, one in heads.items()}
        figures = _errors if name == "watch_s" else _aucs
        found["heads"][name] = figures(truth, values, weights)
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
    return f"{found['data']}, {found['rows']} rows, {found['seeds']} seeds\n\n{text_table(rows)}"


def run(options: argparse.Namespace) -> str:
    """Writes architectures.json and architectures.txt into ``options.out``, anew after each seed."""
    if options.seeds < 1:
        raise ValueError(f"--seeds {options.seeds}: at least 1 is wanted")
    folder: Path = options.out
    text = ""
    for found in compare(load(options.data), settings.load(options.config), options.seeds):
        text = as_text(found)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "architectures.json").write_text(json.dumps(found, indent=1) + "\n")
        (folder / "architectures.txt").write_text(text + "\n")
    return text
