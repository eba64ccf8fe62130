"""The leakage alarm: features that know what had not happened yet when the row was shown.

Two signs set it off. A feature that alone orders a label nearly perfectly is a copy of the label. And a
counter is measured against its own future: each rate of viewer or video counters is made once more from
what came strictly before the row (by another way than ``counters.totals``), and once as of the end of the
row's day; a feature whose AUC lies above the first, towards the second, has looked ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from . import metrics
from .data import counters
from .data.labels import day_start_ms
from .rows import Query, RowMaker
from .schema import Dataset, long_view_of

PERFECT = 0.97  # AUC of one feature alone
LEAST_GAIN = 0.01  # of AUC from the row's moment to the end of its day, below which nothing can be told
AHEAD = 0.25  # share of that gain
LEAST_CLASS = 25  # rows of the rarer label
DAY_MS = 86_400_000
Labels = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""By head: truth (0 or 1) of the rows, and bool rows where it is known."""


def counter_rates(maker: RowMaker) -> list[dict[str, Any]]:
    """The declared rates over running counters of viewer or video."""
    known = {"n_impressions", "n_clicks", "n_finishes", "n_likes", "n_long_views", "sum_watch_s"}
    return [
        feature
        for feature in maker.declaration.features
        if feature["kind"] == "rate" and {feature["numerator"], feature["denominator"]} <= known
    ]


def _rate(feature: Mapping[str, Any], totals: np.ndarray) -> np.ndarray:
    """The rate [n] from totals [n, 6] in the order of ``counters.COUNTERS``."""
    order = ["n_impressions", "n_clicks", "n_finishes", "n_likes", "n_long_views", "sum_watch_s"]
    top, bottom = (totals[:, order.index(feature[key])] for key in ("numerator", "denominator"))
    return (top + feature["prior"] * feature["strength"]) / (bottom + feature["strength"])


def moment_totals(data: Dataset, key: str) -> np.ndarray:
    """Totals [impressions, 6] of ``viewer`` or ``video`` from what came strictly before each impression."""
    log = data.impressions
    finish = log["finish"] == 1
    long_view = long_view_of(log["play_s"], log["duration_s"])
    columns = [np.ones(len(log)), log["click"], finish, log["like"], long_view, log["watch_s"]]
    amounts = pd.DataFrame({i: np.asarray(one, np.float64) for i, one in enumerate(columns)})
    keys = [log[key].to_numpy(), log["time_ms"].to_numpy()]
    moments = amounts.groupby(keys).sum()
    before = moments.groupby(level=0).cumsum() - moments
    return before.loc[pd.MultiIndex.from_arrays(keys)].to_numpy()


def end_totals(data: Dataset, key: str, rows: np.ndarray) -> np.ndarray:
    """Totals [n, 6] of ``viewer`` or ``video`` of the impressions ``rows`` as of the end of their day."""
    log = data.impressions
    day, entity = log["day"].to_numpy()[rows], log[key].to_numpy()[rows]
    found = np.zeros((len(rows), len(counters.COUNTERS)))
    for one in np.unique(day):
        state = counters.state_at(data, day_start_ms(int(one), data.utc_offset_min) + DAY_MS)
        found[day == one] = getattr(state, key)[entity[day == one]]
    return found


def counter_alarms(maker: RowMaker, query: Query, rows: np.ndarray, labels: Labels) -> list[str]:
    """Rates of the counters in ``query``, the impressions ``rows``, that know what had not happened yet."""
    used = {"viewer": query.viewer_totals, "video": query.video_totals}
    moment = {key: moment_totals(maker.data, key)[rows] for key in used}
    end = {key: end_totals(maker.data, key, rows) for key in used}
    found = []
    for feature in counter_rates(maker):
        rates = [_rate(feature, totals[feature["entity"]]) for totals in (moment, used, end)]
        share, head, aucs = max(_ahead(rates, labels), default=(0.0, "", []))
        if share > AHEAD:
            found.append(
                f"{feature['name']}: AUC {aucs[1]:.3f} on {head}, where {aucs[0]:.3f} comes from what was "
                f"before the row and {aucs[2]:.3f} from its whole day: it counts what had not happened yet"
            )
    return found


def _ahead(rates: list[np.ndarray], labels: Labels) -> list[tuple[float, str, list[float]]]:
    """By head: how far the AUC of the second of three rates is on the way from the first to the third."""
    found = []
    for head, (truth, known) in labels.items():
        aucs = [metrics.auc(truth[known], rate[known]) for rate in rates]
        if aucs[2] - aucs[0] >= LEAST_GAIN:
            found.append(((aucs[1] - aucs[0]) / (aucs[2] - aucs[0]), head, aucs))
    return found


def lone_alarms(lone: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Features whose AUC alone (by feature and head) is next to perfect."""
    found = []
    for name, heads in lone.items():
        head, value = max(heads.items(), key=lambda one: one[1], default=("", 0.0))
        if value >= PERFECT:
            found.append(f"{name}: AUC {value:.3f} on {head} all alone: it is a copy of the label")
    return found


def binary_labels(values: np.ndarray, known: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """Labels of rows [n, tasks] by head, those with enough of both kinds; watch_s is whether it was above
    its median."""
    found = {}
    for column, name in enumerate(names):
        truth, mask = values[:, column].astype(np.float64), known[:, column]
        if name == "watch_s":
            truth = (truth > np.median(truth)).astype(np.float64)
        if min(truth[mask].sum(), (1 - truth[mask]).sum()) >= LEAST_CLASS:
            found[name] = (truth, mask)
    return found
