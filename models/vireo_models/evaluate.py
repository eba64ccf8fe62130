"""A run judged on days of its data: the models, baselines on the same rows, retrieval and its marks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from . import recall, scores
from .baselines import Baselines, fit_baselines
from .data import counters
from .data.labels import RetrievalTargets, day_start_ms, retrieval_targets
from .health import expert_health
from .pipeline import Run, index_sizes, rows_of, state_block
from .ranker import watch_readings
from .rows import chunks
from .towers import serve_users

MOST_HEALTH_ROWS = 20_000


def run_baselines(run: Run) -> Baselines:
    """Baselines on the ranker's own rows."""
    assert run.fit_rows is not None
    fit, tune, calibrate = (rows_of(run, rows) for rows in (run.fit_rows, run.days.tune, run.days.calibrate))
    return fit_baselines(fit, tune, calibrate, index_sizes(run), run.config.seed)


def rank_report(run: Run, rows: np.ndarray, baselines: Baselines | None) -> dict[str, Any]:
    """Figures of the four heads on impressions ``rows``."""
    assert run.ranker is not None
    judged = rows_of(run, rows)
    heads = run.ranker.predict(judged)
    theirs = baselines.predict(judged) if baselines is not None else None
    viewer = run.query.viewer[rows]
    found = scores.rank_scores(
        judged.labels.numpy(),
        judged.known.numpy(),
        viewer,
        heads,
        watch_readings(run.ranker, judged),
        theirs,
        run.config.bootstrap,
        run.config.seed,
    )
    truth = scores.truth_scores(run.data, rows, heads)
    return found | ({"truth": truth} if truth else {})


def retrieval_report(run: Run, days: tuple[int, ...], known_until: int) -> tuple[dict[str, Any], np.ndarray]:
    """Recall on ``days`` and the towers' ranking of the judged viewers; the marks know the log up to
    ``known_until`` (UTC ms), as the towers do."""
    assert run.towers is not None and run.items is not None
    targets = retrieval_targets(run.data, days)
    state = counters.state_at(run.data, targets.frozen_ms)
    users = serve_users(run.towers, state_block(run, state, targets.viewers), run.items)
    ranked = {
        "towers": recall.rank_all(targets, users, run.items),
        "popularity": recall.popularity_ranking(run.data, targets, known_until),
        "svd": recall.svd_ranking(run.data, targets, known_until, run.config.tower.dim, run.config.seed),
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


def full_report(run: Run, baselines: Baselines | None) -> dict[str, Any]:
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
        "ranker": rank_report(run, days.report, baselines),
        "retrieval": retrieval,
        "health": health_report(run, days.report),
        "calibration": {name: dataclasses.asdict(one) for name, one in run.calibration.items()},
        "training": {
            "ranker": run.history.epochs,
            "best_epoch": run.history.best,
            "towers": run.tower_losses,
            "ranker_rows": len(run.fit_rows),
        },
        "baselines": baselines.settings if baselines else {},
    }
