"""What each feature of the ranker brings: coverage, drift from the fit days to the report days, importance.

Coverage, drift and the AUC of a feature alone are taken from raw values, before clipping and defaults hide
what is missing; importance is what a head loses on the report days when the feature is shuffled among rows.
Alarms about features that know the future are leakage.py's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from . import metrics
from .features_reference import ENTITIES
from .networks import TASKS, Column
from .ranker import RankerModel, RankRows

BINS = 10
LARGEST_CLASSES = 30  # of an embedding's codes that count alone in the drift, the others together
SMOOTHING = 20.0  # rows of the mean label that a code's own mean is drawn to
Raw = Mapping[str, np.ndarray]
Report = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Value:
    """One feature on n rows."""

    number: np.ndarray  # float64 [n]; a code where ``classes``
    known: np.ndarray  # bool [n]
    classes: bool

    def take(self, rows: np.ndarray) -> Value:
        return Value(self.number[rows], self.known[rows], self.classes)


def feature_value(feature: Mapping[str, Any], raw: np.ndarray, fields: list[str], texts: set[str]) -> Value:
    """A feature's raw value from its entity's raw rows [n, fields]; ``texts`` are fields that hold codes."""
    place = {name: i for i, name in enumerate(fields)}
    if feature["kind"] == "rate":
        top, bottom = (np.nan_to_num(raw[:, place[feature[key]]]) for key in ("numerator", "denominator"))
        rate = (top + feature["prior"] * feature["strength"]) / (bottom + feature["strength"])
        return Value(rate, bottom > 0, False)
    column = raw[:, place[feature["field"]]]
    if feature["kind"] == "embedding":
        coded = feature["field"] in texts
        known = ~np.isnan(column) & ((column > 0) | (not coded))
        return Value(np.where(known, column, -1.0), known, True)
    return Value(column, ~np.isnan(column), False)


def code_fields(declared: Mapping[str, list[dict[str, Any]]]) -> set[str]:
    """Fields whose numbers are codes with 0 for unknown."""
    texts = {one["name"] for listed in declared.values() for one in listed if one["type"] == "string"}
    return texts | {"row", "creator", "topic"}


# ---- drift ----


def stability_index(before: np.ndarray, after: np.ndarray) -> float:
    """Population stability index of two counts over the same bins [k]: sum (q - p) ln(q / p), half a row
    added to each bin. Under .1 is called stable, above .25 a shift."""
    p, q = ((count + 0.5) / (count.sum() + 0.5 * len(count)) for count in (before, after))
    return float(((q - p) * np.log(q / p)).sum())


def _bins(before: Value, after: Value) -> tuple[np.ndarray, np.ndarray]:
    """Bin of each row before and after; 0 is missing, the others come from ``before`` alone."""
    known = before.number[before.known]
    if before.classes:
        codes, counts = np.unique(known, return_counts=True)
        largest = np.sort(codes[np.argsort(-counts, kind="stable")[:LARGEST_CLASSES]])
        return tuple(_class_bins(one, largest) for one in (before, after))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.zeros(0)
    return tuple(
        np.where(one.known, 1 + np.searchsorted(edges, np.nan_to_num(one.number), side="right"), 0)
        for one in (before, after)
    )


def _class_bins(value: Value, largest: np.ndarray) -> np.ndarray:
    place = np.minimum(np.searchsorted(largest, value.number), max(len(largest) - 1, 0))
    among = largest[place] == value.number if len(largest) else np.zeros(len(value.number), bool)
    return np.where(value.known, np.where(among, 2 + place, 1), 0)


def drift(before: Value, after: Value) -> Report:
    """``psi``, and for codes ``unseen``: the share of rows after whose code no row before had."""
    bins = _bins(before, after)
    size = int(max(one.max(initial=0) for one in bins)) + 1
    found: Report = {"psi": stability_index(*(np.bincount(one, minlength=size) for one in bins))}
    if before.classes:
        new = after.known & ~np.isin(after.number, before.number[before.known])
        found["unseen"] = float(new.mean())
    return found


def coverage(value: Value) -> float:
    """Share of rows where the value is known (a rate: where there was anything to count)."""
    return float(value.known.mean())


def lone_auc(fit: Value, labels: np.ndarray, report: Value, truth: np.ndarray) -> float:
    """AUC of one feature alone on the report rows, at least .5; a code counts by its mean label on the fit
    rows, a missing number by the median of the others."""
    if fit.classes:
        score = _mean_labels(fit, labels, report)
    else:
        middle = np.median(report.number[report.known]) if report.known.any() else 0.0
        score = np.where(report.known, report.number, middle)
    found = metrics.auc(truth, score)
    return max(found, 1 - found)


def _mean_labels(fit: Value, labels: np.ndarray, report: Value) -> np.ndarray:
    codes, inverse = np.unique(fit.number, return_inverse=True)
    count = np.bincount(inverse)
    total = np.bincount(inverse, weights=labels)
    mean = (total + SMOOTHING * labels.mean()) / (count + SMOOTHING)
    place = np.minimum(np.searchsorted(codes, report.number), len(codes) - 1)
    return np.where(codes[place] == report.number, mean[place], labels.mean())


# ---- importance ----


def shuffled(rows: RankRows, entity: str, column: Column, order: torch.Tensor) -> RankRows:
    """``rows`` with one feature taken from the rows ``order`` [n]."""
    if column.kind == "vector":
        if column.vector == "content":
            return dataclasses.replace(rows, video=rows.video[order])
        moved = rows.vectors | {column.vector: rows.vectors[column.vector][order]}
        return dataclasses.replace(rows, vectors=moved)
    name = "dense" if column.kind == "dense" else "index"
    block = getattr(rows, name)
    moved = block[entity].clone()
    moved[:, column.slot] = moved[order, column.slot]
    return dataclasses.replace(rows, **{name: block | {entity: moved}})


class _Quality:
    """AUC of click, like and finish and XAUC of watch_s of predictions on fixed rows."""

    def __init__(self, rows: RankRows) -> None:
        self.labels, self.known = rows.labels.double().numpy(), rows.known.numpy()
        self.pairs = metrics.XaucPairs(self.labels[:, TASKS.index("watch_s")])

    def of(self, heads: np.ndarray) -> dict[str, float]:
        found = {}
        for column, name in enumerate(TASKS):
            known = self.known[:, column]
            if name == "watch_s":
                right = self.pairs.right(heads[:, column])
                found[name] = float(right.mean()) if len(right) else float("nan")
            else:
                found[name] = metrics.auc(self.labels[known, column], heads[known, column])
        return found


def importance(
    model: RankerModel, rows: RankRows, columns: Mapping[str, list[Column]], seed: int
) -> dict[str, dict[str, float]]:
    """For each feature, by head: what AUC (XAUC for watch_s) falls by when it is shuffled among ``rows``."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    quality = _Quality(rows)
    whole = quality.of(model.predict(rows))
    found = {}
    for entity in ENTITIES:
        for column in columns[entity]:
            without = quality.of(model.predict(shuffled(rows, entity, column, order)))
            found[column.name] = {name: whole[name] - without[name] for name in TASKS}
    return found
