"""Retrieval on one log: the two towers under different negatives, beside popularity, KNN, SVD and ALS.

Every method knows the log up to the end of the fit days, sees the same frozen viewers and is judged on the
report days: recall@k for all videos, head, tail and new ones. Settings of the baselines are chosen by
recall@100 on the tune day; the towers keep those of the configuration but for their negatives.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import config as settings
from ..config import Config
from ..data import load
from ..data.labels import RetrievalTargets, day_start_ms, recall_at, retrieval_targets
from ..data.splits import split
from ..evaluate import frozen_users
from ..pipeline import prepare, train_towers
from ..recall import ALL_CUTS, rank_all, segment_recalls, segments
from ..report import text_table
from ..retrieval_baselines import (
    als_ranking,
    impression_matrix,
    knn_ranking,
    popularity_ranking,
    positive_matrix,
    svd_ranking,
)
from ..schema import Dataset

HARD = 8  # hard negatives a row, where there are any
Ranking = Callable[..., np.ndarray]


def tower_variants(uniform: int) -> dict[str, dict[str, Any]]:
    """Names of the negatives that are compared, and the settings that make them."""
    return {
        "towers, batch, no logQ": {"logq": False, "uniform_negatives": 0, "hard_negatives": 0},
        "towers, batch": {"logq": True, "uniform_negatives": 0, "hard_negatives": 0},
        "towers, batch + uniform, no logQ": {
            "logq": False,
            "uniform_negatives": uniform,
            "hard_negatives": 0,
        },
        "towers, batch + uniform": {"logq": True, "uniform_negatives": uniform, "hard_negatives": 0},
        "towers, batch + uniform + hard": {
            "logq": True,
            "uniform_negatives": uniform,
            "hard_negatives": HARD,
        },
    }


BASELINES: dict[str, tuple[Ranking, list[dict[str, Any]]]] = {
    "popularity": (popularity_ranking, [{}]),
    "item-KNN": (knn_ranking, [{"most": most, "shrink": s} for most in (50, 200) for s in (0.0, 10.0, 50.0)]),
    "SVD on positives": (svd_ranking, [{"dim": dim} for dim in (16, 32, 64)]),
    "SVD on impressions": (svd_ranking, [{"every_impression": True, "dim": dim} for dim in (16, 32, 64)]),
    "SVD-64 on positives": (svd_ranking, [{"dim": 64}]),
    "SVD-64 on impressions": (svd_ranking, [{"every_impression": True, "dim": 64}]),
    "implicit ALS": (
        als_ranking,
        [{"alpha": a, "penalty": p} for a in (1.0, 10.0, 40.0) for p in (1.0, 30.0)],
    ),
}


def chosen(
    data: Dataset, make: Ranking, tried: list[dict[str, Any]], days: tuple[int, ...], known_until: int
) -> dict[str, Any]:
    """The settings with the best recall@100 on ``days``."""
    if len(tried) == 1:
        return tried[0]
    targets = retrieval_targets(data, days)
    found = [recall_at(targets, make(data, targets, known_until, **one), 100)[0] for one in tried]
    return tried[int(np.argmax(found))]


def _tower_ranking(data: Dataset, config: Config, changed: dict[str, Any], targets: RetrievalTargets) -> Any:
    tower = dataclasses.replace(config.tower, **changed)
    run = prepare(data, dataclasses.replace(config, tower=tower))
    train_towers(run, run.days.fit_days)
    assert run.items is not None
    return rank_all(targets, frozen_users(run, targets), run.items)


def compare(data: Dataset, config: Config, towers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """recall@k of every baseline and of the ``towers`` by kind of video, with the settings that were used."""
    days = split(data, tuple(sorted(config.report_days)))
    known_until = day_start_ms(days.tune_days[0], data.utc_offset_min)
    targets = retrieval_targets(data, days.report_days)
    if not len(targets.viewers):
        raise ValueError("no viewer has a long view of a new video on the report days: there is no recall")
    count, shown = (
        np.asarray(matrix(data, known_until).sum(axis=0)).ravel()
        for matrix in (positive_matrix, impression_matrix)
    )
    kinds = segments(count, shown)
    found: dict[str, Any] = {"data": data.name, "viewers": len(targets.viewers), "methods": {}}
    for name in tqdm([*BASELINES, *towers], desc="retrieval", leave=False):
        if name in towers:
            used, ranking = towers[name], _tower_ranking(data, config, towers[name], targets)
        else:
            make, tried = BASELINES[name]
            used = chosen(data, make, tried, days.tune_days, known_until)
            ranking = make(data, targets, known_until, **used)
        recalls = segment_recalls(targets, ranking, kinds, config.bootstrap, config.seed)
        found["methods"][name] = {"settings": used, "recall": recalls}
    return found


def as_text(found: dict[str, Any]) -> str:
    """A table for each kind of video that has targets."""
    parts = [f"{found['data']}, {found['viewers']} viewers"]
    for kind, one in next(iter(found["methods"].values()))["recall"].items():
        if not one["targets"]:
            parts.append(f"{kind}: no targets")
            continue
        rows = [[f"{kind}, {one['targets']} targets", *(f"recall@{k}" for k in ALL_CUTS)]]
        for name, method in found["methods"].items():
            cells = [method["recall"][kind][f"recall@{k}"] for k in ALL_CUTS]
            rows.append([name, *(f"{x['value']:.3f} [{x['low']:.3f}, {x['high']:.3f}]" for x in cells)])
        parts.append(text_table(rows))
    chosen_ones = [f"{name}: {one['settings']}" for name, one in found["methods"].items() if one["settings"]]
    return "\n\n".join([*parts, "settings\n" + "\n".join(chosen_ones)])


def run(options: argparse.Namespace) -> str:
    """Writes retrieval.json and retrieval.txt into ``options.out``."""
    config = settings.load(options.config, options.seed)
    found = compare(load(options.data), config, tower_variants(config.tower.uniform_negatives))
    text = as_text(found)
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "retrieval.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "retrieval.txt").write_text(text + "\n")
    return text
