"""One training run, from a data set to models with their figures: the steps of ``train`` in order.

1. content vectors; 2. towers, forward in time, giving the vectors of each day's rows from the days before
it; 3. the ranker on the fit days, stopped by the tune day, calibrated on the calibration day; 4.
baselines on the same rows. ``refit`` repeats 2 and 3 over all days with the settings, number of epochs
and calibration that were found.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .calibration import Affine, fit_calibration, fold
from .config import Config
from .content import content_vectors, quantise, restore
from .data import counters
from .data.labels import TaskLabels, task_labels
from .data.splits import Days, split
from .features import Declaration, declare
from .features_reference import ENTITIES
from .keeper import Keeper
from .networks import Column, wiring
from .ranker import (
    RankerHistory,
    RankerModel,
    RankerTrainer,
    RankRows,
    train_ranker,
)
from .rows import Query, RowMaker
from .schema import Dataset
from .towers import (
    TowerModel,
    TowerTrainer,
    ViewerBlock,
    history_content,
    make_samples,
    serve_users,
    served_items,
    torch_columns,
    tower_query,
    train_progressively,
    viewer_block,
)
from .watch_time import WATCH_WIDTHS, quantile_widths

FIRST_SHARE = (
    0.5  # of the fit days that the towers learn before the ranker's first row, where there is little history
)
HISTORY_ENOUGH = (
    5.0  # history positives for each positive of the fit days that make the first part by themselves
)


@dataclass
class Vectors:
    """Vectors of every impression, of its own moment: float16 [impressions, dim]."""

    user_tower: np.ndarray
    tower: np.ndarray
    filled: np.ndarray  # bool [impressions]


@dataclass
class Run:
    """Everything a run has made; later steps, reports and export read it."""

    data: Dataset
    config: Config
    days: Days
    declaration: Declaration
    maker: RowMaker
    content_codes: np.ndarray  # int8 [videos, content_dim]
    content_scale: np.ndarray  # float32 [videos]
    content: np.ndarray  # float32 [videos, content_dim], as restored
    query: Query  # of every impression
    towers: TowerModel | None = None
    items: np.ndarray | None = None  # float16 [videos, tower_dim]
    tower_losses: list[dict[str, Any]] = field(default_factory=list)
    vectors: Vectors | None = None
    rank_rows: RankRows | None = None  # of every impression
    fit_rows: np.ndarray | None = None  # impressions that the ranker learns from
    ranker: RankerModel | None = None
    history: RankerHistory | None = None
    calibration: dict[str, Affine] = field(default_factory=dict)
    first_days: tuple[int, ...] = ()
    keeper: Keeper = field(default_factory=Keeper)


def prepare(data: Dataset, config: Config, keeper: Keeper | None = None) -> Run:
    """Days, declaration, content vectors and the query of every impression."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    declaration = declare(data, config.tower.dim, config.content_dim, config.tower.id_width, config.id_width)
    maker = RowMaker(data, declaration)
    codes, scale = quantise(content_vectors(data, config.content_dim, config.seed))
    return Run(
        data,
        config,
        split(data, tuple(sorted(config.report_days))),
        declaration,
        maker,
        codes,
        scale,
        restore(codes, scale),
        maker.log_query(),
        keeper=keeper or Keeper(),
    )


# ---- towers ----


def _first_days(samples_day: np.ndarray, days: tuple[int, ...]) -> tuple[int, ...]:
    """Days that the towers learn at once, before the ranker's first row."""
    history = int((samples_day < days[0]).sum())
    logged = int(np.isin(samples_day, days).sum())
    if history >= HISTORY_ENOUGH * max(logged, 1) or len(days) < 2:
        return ()
    return days[: max(1, int(len(days) * FIRST_SHARE))]


def _fill_vectors(run: Run, rows: np.ndarray) -> None:
    """Vectors of the impressions ``rows`` from the towers as they are now."""
    assert run.vectors is not None and run.towers is not None
    if not len(rows):
        return
    query = run.query.take(rows)
    block, items = viewer_block(run.maker, query, run.content), served_items(run.towers)
    run.vectors.user_tower[rows] = serve_users(run.towers, block, items)
    run.vectors.tower[rows] = items[query.video]
    run.vectors.filled[rows] = True


def _fit_tower_features(run: Run, query: Query, day: np.ndarray, days: tuple[int, ...]) -> None:
    rows = np.flatnonzero(day <= days[-1])
    raw = {
        "viewer": run.maker.viewer_raw(query.take(rows)),
        "video": run.maker.video_raw(np.arange(len(run.data.videos))),
    }
    declaration = run.declaration
    declaration.fit_features([*declaration.user_inputs, *declaration.item_inputs], raw)
    run.maker.refresh()


def train_towers(run: Run, days: tuple[int, ...], refit: bool = False) -> None:
    """Trains towers up to the end of ``days`` and fills ``run.vectors``.

    Rows of the first days have vectors of towers that know them and are no rows of the ranker; later rows
    of ``days`` have vectors of the days before; what follows ``days`` has those of the finished towers. A
    refit keeps the declaration.
    """
    rng = np.random.default_rng(run.config.seed)
    query, day = tower_query(run.maker, run.config.tower, rng)
    if not refit:
        _fit_tower_features(run, query, day, days)
    samples = make_samples(run.maker, query, day, run.content)
    run.towers = TowerModel(run.maker, run.config.tower, run.content)
    trainer = TowerTrainer(run.towers, run.config.tower, run.config.seed)
    run.first_days = _first_days(day, days)
    count, dim = len(run.query), run.config.tower.dim
    run.vectors = Vectors(*(np.zeros((count, dim), np.float16) for _ in range(2)), np.zeros(count, bool))
    _resume_towers(run, trainer, "refit towers" if refit else "towers")
    log_day = run.data.impressions["day"].to_numpy()
    later = [one for one in days if one not in run.first_days]
    train_progressively(
        trainer, samples, later, lambda one: _fill_vectors(run, np.flatnonzero(log_day == one))
    )
    _fill_vectors(run, np.flatnonzero(log_day > days[-1]))
    run.items = served_items(run.towers)
    run.tower_losses = trainer.losses


def _resume_towers(run: Run, trainer: TowerTrainer, part: str) -> None:
    """Takes up what the keeper has of ``part``, and has it kept after each pass."""
    vectors = run.vectors
    assert vectors is not None
    kept = run.keeper.load(part)
    if kept is not None:
        trainer.load(kept["trainer"])
        for name, tensor in kept["vectors"].items():
            getattr(vectors, name)[:] = tensor.numpy()

    def after_epoch() -> None:
        tensors = {
            name: torch.from_numpy(getattr(vectors, name)) for name in ("user_tower", "tower", "filled")
        }
        run.keeper.save(part, {"trainer": trainer.state(), "vectors": tensors})
        run.keeper.scalars(part, len(trainer.losses), {"loss": trainer.losses[-1]["loss"]})

    trainer.after_epoch = after_epoch


# ---- ranker rows ----


def raw_rows(
    maker: RowMaker, content: np.ndarray, query: Query, vectors: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Raw rows of every entity. ``vectors`` user_tower, tower and hist_content [n, dim] are of the rows'
    own moment; content is float32 [videos, content_dim]."""
    user, tower = vectors["user_tower"].astype(np.float64), vectors["tower"].astype(np.float64)
    dot_content = (vectors["hist_content"].astype(np.float64) * content[query.video]).sum(axis=1)
    return {
        "viewer": maker.viewer_raw(query),
        "context": maker.context_raw(query),
        "video": maker.video_raw(query.video, query.video_totals),
        "pair": maker.pair_raw(query, (user * tower).sum(axis=1), dot_content),
    }


def make_rank_rows(
    maker: RowMaker,
    content: np.ndarray,
    query: Query,
    vectors: Mapping[str, np.ndarray],
    raw: Mapping[str, np.ndarray],
    labels: TaskLabels,
) -> RankRows:
    """Transforms raw rows into what the ranker reads."""
    names = maker.declaration.ranker_inputs
    dense, index = {}, {}
    for entity in ENTITIES:
        numbers, rows = maker.space.transform(names, entity, raw[entity])
        dense[entity], index[entity] = torch.from_numpy(numbers), torch.from_numpy(rows).long()
    return RankRows(
        dense,
        index,
        {name: torch.from_numpy(vector) for name, vector in vectors.items()},
        torch.from_numpy(query.video.astype(np.int64)),
        torch.from_numpy(content),
        torch.from_numpy(labels.values),
        torch.from_numpy(labels.mask),
        torch.from_numpy(query.position.astype(np.int64)),
    )


def _sampled(run: Run, rows: np.ndarray) -> np.ndarray:
    """The configured share of the rows without a click, and no more than the configured number of all."""
    settings, rng = run.config.ranker, np.random.default_rng(run.config.seed)
    if settings.unclicked_share < 1:
        click = run.data.impressions["click"].to_numpy()[rows]
        rows = rows[click | (rng.random(len(rows)) < settings.unclicked_share)]
    if len(rows) > settings.most_rows:
        rows = np.sort(rng.choice(rows, settings.most_rows, replace=False))
    return rows


def build_rank_rows(run: Run, days: tuple[int, ...], refit: bool = False) -> None:
    """Rows of every impression; the ranker's features are fitted on its own rows among ``days``."""
    assert run.vectors is not None
    log_day = run.data.impressions["day"].to_numpy()
    usable = np.isin(log_day, days) & ~np.isin(log_day, run.first_days)
    run.fit_rows = _sampled(run, np.flatnonzero(usable & run.vectors.filled))
    vectors = {
        "user_tower": run.vectors.user_tower,
        "tower": run.vectors.tower,
        "hist_content": history_content(run.maker.histories(run.query.recent), run.content),
    }
    raw = raw_rows(run.maker, run.content, run.query, vectors)
    if not refit:
        fitting = {entity: block[run.fit_rows] for entity, block in raw.items()}
        run.declaration.fit_features(run.declaration.ranker_inputs, fitting)
        run.maker.refresh()
    labels = task_labels(run.data.impressions)
    run.rank_rows = make_rank_rows(run.maker, run.content, run.query, vectors, raw, labels)


# ---- ranker ----


def ranker_columns(maker: RowMaker) -> dict[str, list[Column]]:
    """Layout of each entity's block in the ranker's row."""
    names = maker.declaration.ranker_inputs
    return {entity: torch_columns(maker, maker.declaration, names, entity) for entity in ENTITIES}


def index_sizes(run: Run) -> dict[str, list[int]]:
    """Rows of the table behind each index column, by entity."""
    columns = ranker_columns(run.maker)
    return {
        entity: [column.rows for column in columns[entity] if column.kind == "table"] for entity in ENTITIES
    }


def watch_widths(run: Run) -> tuple[float, ...]:
    """Widths of the watch-time bins, as configured."""
    if run.config.ranker.watch_bins == "fixed":
        return WATCH_WIDTHS
    watch_s = run.data.impressions["watch_s"].to_numpy(np.float64)[run.days.fit]
    return quantile_widths(watch_s, len(WATCH_WIDTHS))


def new_ranker(run: Run, widths: tuple[float, ...] | None = None) -> RankerModel:
    """An untrained ranker of the configured architecture; ``widths`` of watch-time bins instead of the
    configured ones."""
    torch.manual_seed(run.config.seed)
    settings = run.config.ranker
    spec = wiring(
        settings.architecture,
        settings.experts,
        settings.hidden,
        settings.width,
        settings.tower_hidden,
        widths or watch_widths(run),
    )
    shapes = run.declaration.table_shapes(run.declaration.ranker_inputs)
    return RankerModel(ranker_columns(run.maker), shapes, spec, settings)


def rows_of(run: Run, rows: np.ndarray) -> RankRows:
    assert run.rank_rows is not None
    return run.rank_rows.take(torch.from_numpy(rows))


def run_ranker(run: Run, trainer: RankerTrainer, part: str) -> tuple[RankerModel, RankerHistory]:
    """Trains from where the keeper has ``part``, which is kept after each epoch."""
    kept = run.keeper.load(part)
    if kept is not None:
        trainer.load(kept)

    def after_epoch(entry: dict[str, Any]) -> None:
        run.keeper.save(part, trainer.state())
        run.keeper.scalars(part, entry["epoch"], {"fit": entry["fit"], **entry.get("tune", {})})

    return train_ranker(trainer, after_epoch)


def fit_ranker(run: Run) -> None:
    """Trains, stops and calibrates the ranker."""
    assert run.fit_rows is not None
    config = run.config
    fit, tune = rows_of(run, run.fit_rows), rows_of(run, run.days.tune)
    trainer = RankerTrainer(new_ranker(run), fit, tune, config.ranker, config.seed)
    run.ranker, run.history = run_ranker(run, trainer, "ranker")
    run.calibration = fit_calibration(run.ranker, rows_of(run, run.days.calibrate))
    fold(run.ranker, run.calibration)


def train(data: Dataset, config: Config, keeper: Keeper | None = None) -> Run:
    """The run whose figures are reported: fit days, tune day, calibration day (``data.splits``)."""
    run = prepare(data, config, keeper)
    train_towers(run, run.days.fit_days)
    build_rank_rows(run, run.days.fit_days)
    fit_ranker(run)
    return run


def refit(run: Run) -> Run:
    """The same over all days: settings, feature statistics, number of epochs and calibration stay as they
    were found."""
    assert run.history is not None
    again = copy.copy(run)
    days = tuple(int(day) for day in np.unique(run.data.impressions["day"]))
    train_towers(again, days, refit=True)
    build_rank_rows(again, days, refit=True)
    assert again.fit_rows is not None
    settings, best = run.config.ranker, run.history.best
    fit = rows_of(again, again.fit_rows)
    trainer = RankerTrainer(new_ranker(again), fit, None, settings, run.config.seed, best)
    again.ranker, again.history = run_ranker(again, trainer, "refit ranker")
    fold(again.ranker, run.calibration)
    return again


def state_block(run: Run, state: counters.State, viewers: np.ndarray) -> ViewerBlock:
    """The user tower's view of ``viewers`` at the moment of ``state``."""
    nothing = np.zeros(len(viewers))
    query = run.maker.state_query(state, viewers, nothing.astype(np.int32), nothing)
    return viewer_block(run.maker, query, run.content)


__all__ = ["Run", "prepare", "refit", "state_block", "train"]
