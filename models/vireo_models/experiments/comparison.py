"""What comparisons of rankers share: parts that are kept and found again, and paired figures with intervals.

Predictions are heads [seeds, rows, 4] by name; figures are means over seeds, differences are over one of them
(``base``), and intervals come from a bootstrap over viewers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import metrics
from ..data.labels import task_labels
from ..networks import TASKS
from ..pipeline import Run

BINARY = ("click", "finish", "like")
Heads = Mapping[str, np.ndarray]


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

    def many(self, name: str, seed: int, make: Callable[[], Heads]) -> list[tuple[str, np.ndarray]]:
        """Several heads that are made together, by name and in order."""
        path = self.folder / f"heads-{name}-{seed}.npz"
        if not path.exists():
            _replace(path, lambda file: np.savez(file, **make()))
        with np.load(path) as kept:
            return [(key, kept[key]) for key in kept.files]

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


# ---- figures ----


def summarise(run: Run, heads: Heads, base: str) -> dict[str, Any]:
    """Figures on the report days by head and name, with the gains over ``base``."""
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
        found["heads"][name] = figures(truth, theirs, weights, base)
    return found


def _aucs(truth: np.ndarray, values: Heads, weights: np.ndarray, base: str) -> dict[str, Any]:
    """``auc`` of each and its paired ``gain``; ``ece``."""
    drawn = {name: _mean_auc(truth, each, weights) for name, each in values.items()}
    found: dict[str, Any] = {}
    for name, (value, draws) in drawn.items():
        eces = [metrics.ece(truth, one) for one in values[name]]
        found[name] = {"auc": _interval(value, draws), "ece": float(np.mean(eces))}
        if name != base:
            its, its_draws = drawn[base]
            found[name]["gain"] = _interval(value - its, draws - its_draws)
    return found


def _mean_auc(truth: np.ndarray, values: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    each = [metrics.AucOf(truth, value) for value in values]
    draws = [np.mean([one(weight) for one in each]) for weight in weights]
    return float(np.mean([one() for one in each])), np.array(draws)


def _interval(value: float, draws: np.ndarray) -> dict[str, float]:
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return {"value": value, "low": float(low), "high": float(high)}


def _errors(truth: np.ndarray, values: Heads, weights: np.ndarray, base: str) -> dict[str, Any]:
    """``mse`` of E[watch_s] and its paired ``gain`` (the base's less theirs); predicted over observed
    ``mean``, and the worst of it in a decile of the prediction."""
    losses = {name: ((each - truth) ** 2).mean(axis=0) for name, each in values.items()}
    nothing = np.zeros(len(truth))
    found: dict[str, Any] = {}
    for name, one in losses.items():
        ratios = [
            [part["predicted"] / max(part["observed"], 1e-9) for part in metrics.deciles(truth, seed)]
            for seed in values[name]
        ]
        found[name] = {
            "mse": metrics.mean_gain(nothing, one, weights).as_dict(),
            "mean": float(values[name].mean() / max(truth.mean(), 1e-9)),
            "deciles": np.mean(ratios, axis=0).tolist(),
        }
        if name != base:
            found[name]["gain"] = metrics.mean_gain(one, losses[base], weights).as_dict()
    return found
