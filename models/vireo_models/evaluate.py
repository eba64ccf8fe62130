"""A run judged on days of its data: the models, baselines on the same rows, retrieval and its marks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from . import feature_report, leakage, recall, retrieval_baselines, scores
from .baselines import Baselines, fit_baselines
from .boosting import Boosting, Layout, drawn_settings, fit_boosting
from .data import counters
from .data.labels import RetrievalTargets, day_start_ms, retrieval_targets
from .features_reference import ENTITIES
from .health import expert_health
from .networks import TASKS
from .pipeline import Run, index_sizes, ranker_columns, raw_rows, rows_of, state_block
from .ranker import RankRows
from .rows import chunks
from .towers import serve_users

MOST_HEALTH_ROWS = 20_000
MOST_FEATURE_ROWS = 20_000  # of the report days
MOST_FIT_ROWS = 200_000  # that unseen ids are looked up among


@dataclasses.dataclass
class Rivals:
    """Fitted baselines by name, which predict the four heads from the ranker's rows."""

    by_name: dict[str, Baselines | Boosting]

    def predict(self, rows: RankRows) -> dict[str, scores.Predictions]:
        return {name: one.predict(rows) for name, one in self.by_name.items()}

    def settings(self) -> dict[str, Any]:
        return {name: one.settings for name, one in self.by_name.items()}


def boosting_layout(run: Run) -> Layout:
    """Sizes and order of the codes in the ranker's rows."""
    known, columns = run.declaration.by_name(), ranker_columns(run.maker)
    ordered = {
        entity: [known[one.name]["kind"] == "bucket" for one in columns[entity] if one.kind == "table"]
        for entity in ENTITIES
    }
    return Layout(index_sizes(run), ordered)


def run_baselines(run: Run) -> Rivals:
    """Linear models and gradient boosting on the ranker's own rows."""
    assert run.fit_rows is not None
    parts = [rows_of(run, rows) for rows in (run.fit_rows, run.days.tune, run.days.calibrate)]
    linear = fit_baselines(*parts, index_sizes(run), run.config.seed)
    boosting = run_boosting(run, drawn_settings(run.config.boosting_trials, run.config.seed))
    return Rivals({"linear": linear, "boosting": boosting})


def run_boosting(run: Run, tried: dict[str, list[dict[str, Any]]]) -> Boosting:
    """Gradient boosting on the ranker's own rows, with the best of the settings ``tried`` for each model."""
    assert run.fit_rows is not None
    parts = [rows_of(run, rows) for rows in (run.fit_rows, run.days.tune, run.days.calibrate)]
    return fit_boosting(*parts, boosting_layout(run), tried, run.config.seed)


def rank_report(run: Run, rows: np.ndarray, rivals: Rivals | None) -> dict[str, Any]:
    """Figures of the four heads on impressions ``rows``."""
    assert run.ranker is not None
    judged = rows_of(run, rows)
    heads = run.ranker.predict(judged)
    found = scores.rank_scores(
        judged.labels.numpy(),
        judged.known.numpy(),
        run.query.viewer[rows],
        heads,
        run.ranker.watch_readings(judged),
        rivals.predict(judged) if rivals is not None else {},
        run.config.bootstrap,
        run.config.seed,
    )
    truth = scores.truth_scores(run.data, rows, heads)
    return found | ({"truth": truth} if truth else {})


def frozen_users(run: Run, targets: RetrievalTargets) -> np.ndarray:
    """User vectors [viewers, dim] of the judged viewers at the moment that they are frozen."""
    assert run.towers is not None and run.items is not None
    state = counters.state_at(run.data, targets.frozen_ms)
    return serve_users(run.towers, state_block(run, state, targets.viewers), run.items)


def retrieval_report(run: Run, days: tuple[int, ...], known_until: int) -> tuple[dict[str, Any], np.ndarray]:
    """Recall on ``days`` and the towers' ranking of the judged viewers; the marks know the log up to
    ``known_until`` (UTC ms), as the towers do."""
    assert run.items is not None
    targets = retrieval_targets(run.data, days)
    users = frozen_users(run, targets)
    ranked = {
        "towers": recall.rank_all(targets, users, run.items),
        "popularity": retrieval_baselines.popularity_ranking(run.data, targets, known_until),
        "svd": retrieval_baselines.svd_ranking(
            run.data, targets, known_until, run.config.tower.dim, run.config.seed
        ),
        "cold_start": _cold_ranking(run, targets, users),
    }
    found = recall.recall_report(targets, ranked, run.config.bootstrap, run.config.seed)
    found["spread"] = scores.user_spread(ranked["towers"][:500])
    return found, ranked["towers"]


@torch.no_grad()
def _cold_ranking(run: Run, targets: RetrievalTargets, users: np.ndarray) -> np.ndarray:
    """As if every video had been uploaded just now: item vectors without ids, the viewers as they are."""
    assert run.towers is not None
    return recall.rank_all(targets, users, run.towers.eval().item_vectors(unknown_videos=True).numpy())


@torch.no_grad()
def health_report(run: Run, rows: np.ndarray) -> dict[str, Any]:
    """Load, activity and entropy of the ranker's experts and gates over impressions ``rows``."""
    assert run.ranker is not None
    judged = rows_of(run, rows[:MOST_HEALTH_ROWS])
    model = run.ranker.eval()
    parts = chunks(len(judged), 4096)
    return expert_health(model.ranker, (model.assemble(judged.take(part)) for part in parts))


# ---- features ----


def _sampled(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _values(run: Run, rows: np.ndarray) -> dict[str, feature_report.Value]:
    """Raw value of each feature of the ranker but the vectors, on impressions ``rows``."""
    assert run.vectors is not None and run.rank_rows is not None
    picked = {name: vector[rows].numpy() for name, vector in run.rank_rows.vectors.items()}
    raw = raw_rows(run.maker, run.content, run.query.take(rows), picked)
    known, texts = run.declaration.by_name(), feature_report.code_fields(run.declaration.fields)
    found = {}
    for name in run.declaration.ranker_inputs:
        feature = known[name]
        if feature["kind"] != "vector":
            fields = run.declaration.field_names(feature["entity"])
            found[name] = feature_report.feature_value(feature, raw[feature["entity"]], fields, texts)
    return found


def features_report(run: Run) -> dict[str, Any]:
    """Coverage, drift, AUC alone and importance of each feature of the ranker, and the leakage alarms."""
    assert run.fit_rows is not None and run.ranker is not None
    fit = _sampled(run.fit_rows, MOST_FIT_ROWS, run.config.seed)
    report = _sampled(run.days.report, MOST_FEATURE_ROWS, run.config.seed)
    before, after = _values(run, fit), _values(run, report)
    learnt, judged = rows_of(run, fit), rows_of(run, report)
    labels = leakage.binary_labels(judged.labels.numpy(), judged.known.numpy(), TASKS)
    ours = leakage.binary_labels(learnt.labels.numpy(), learnt.known.numpy(), TASKS)
    found = {
        name: {"coverage": [feature_report.coverage(before[name]), feature_report.coverage(after[name])]}
        | feature_report.drift(before[name], after[name])
        | {"auc_alone": _lone_aucs(before[name], after[name], ours, labels)}
        for name in before
    }
    columns = ranker_columns(run.maker)
    for name, lost in feature_report.importance(run.ranker, judged, columns, run.config.seed).items():
        found.setdefault(name, {})["importance"] = lost
    alarms = leakage.lone_alarms({name: one.get("auc_alone", {}) for name, one in found.items()})
    alarms += leakage.counter_alarms(run.maker, run.query.take(report), report, labels)
    return {"rows": [len(fit), len(report)], "by_name": found, "alarms": alarms}


def _lone_aucs(
    before: feature_report.Value, after: feature_report.Value, ours: leakage.Labels, labels: leakage.Labels
) -> dict[str, float]:
    found = {}
    for head, (truth, known) in labels.items():
        if head in ours:
            fit, mask = ours[head]
            parts = before.take(mask), fit[mask], after.take(known), truth[known]
            found[head] = feature_report.lone_auc(*parts)
    return found


def full_report(run: Run, rivals: Rivals | None) -> dict[str, Any]:
    """metrics.json: the report days."""
    assert run.fit_rows is not None and run.history is not None
    days = run.days
    known_until = day_start_ms(days.tune_days[0], run.data.utc_offset_min)
    retrieval, _ = retrieval_report(run, days.report_days, known_until)
    return {
        "data": {"name": run.data.name, "notes": run.data.notes, "impressions": len(run.data.impressions)},
        "days": {
            "fit": list(days.fit_days),
            "tune": list(days.tune_days),
            "calibrate": list(days.calibrate_days),
            "report": list(days.report_days),
            "towers_first": list(run.first_days),
        },
        "ranker": rank_report(run, days.report, rivals),
        "retrieval": retrieval,
        "features": features_report(run),
        "health": health_report(run, days.report),
        "calibration": {name: dataclasses.asdict(one) for name, one in run.calibration.items()},
        "training": {
            "ranker": run.history.epochs,
            "best_epoch": run.history.best,
            "towers": run.tower_losses,
            "ranker_rows": len(run.fit_rows),
        },
        "baselines": rivals.settings() if rivals else {},
    }
