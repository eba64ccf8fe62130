"""Judges an exported bundle on days of a log, with what stands in its files and nothing else: float16
towers, int8 content, folded calibration. The log must have the bundle's catalogue; it may hold days that
the bundle has never seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from . import native, recall, retrieval_baselines, scores
from .config import Config, TowerConfig
from .content import restore
from .data import counters
from .data.labels import TaskLabels, retrieval_targets, task_labels
from .data.splits import split
from .features import Declaration
from .features_reference import string_list
from .pipeline import make_rank_rows, ranker_columns, raw_rows
from .ranker import RankerModel, RankRows
from .rows import Query, RowMaker
from .schema import Dataset
from .towers import TowerModel, history_content, serve_users, viewer_block

Tensors = Mapping[str, np.ndarray]


class JudgeError(ValueError):
    """The log and the bundle do not fit each other; the text says how."""


def read_declaration(manifest: Mapping[str, Any], weights: Tensors) -> Declaration:
    """The declaration of a bundle, with the sizes of its tables."""
    found = Declaration(manifest["tower_dim"], manifest["content_dim"], dict(manifest["fields"]))
    for entity, listed in found.fields.items():
        for one in listed:
            if one["type"] == "string":
                texts = string_list(weights, one["vocab_tensor"]) if "vocab_tensor" in one else one["vocab"]
                found.vocabularies[entity, one["name"]] = list(texts)
    for feature in manifest["features"]:
        sized = dict(feature)
        if "table" in feature:
            rows, sized["width"] = (int(size) for size in weights[feature["table"]].shape)
            if feature["kind"] == "embedding":
                sized["rows"] = rows
        found.features.append(sized)
    found.user_inputs = list(manifest["user_tower"]["inputs"])
    found.item_inputs = list(manifest["item_tower"]["inputs"])
    found.ranker_inputs = list(manifest["ranker"]["inputs"])
    return found


def _fill_tables(tables: Any, weights: Tensors) -> None:
    with torch.no_grad():
        for name in tables.names:
            tables[name].copy_(torch.from_numpy(weights[name].astype(np.float32)))


class BundleModel:
    """The networks of a bundle over the rows of a log."""

    def __init__(self, folder: Path, data: Dataset) -> None:
        native.check_bundle(folder)
        self.manifest = json.loads((folder / "bundle.json").read_text())
        weights, videos = load_file(folder / "weights.safetensors"), load_file(folder / "videos.safetensors")
        self.data, self.items = data, videos["tower"]
        self._check_catalogue(string_list(videos, "id"))
        self.content = restore(videos["content"], videos["content.scale"])
        self.maker = RowMaker(data, read_declaration(self.manifest, weights))
        self.towers = self._towers(weights)
        self.ranker = self._ranker(weights)

    def _check_catalogue(self, ids: list[str]) -> None:
        theirs = self.data.videos["id"].tolist()
        if ids != theirs:
            pairs = zip(ids, theirs, strict=False)
            at = next((row for row, (a, b) in enumerate(pairs) if a != b), min(len(ids), len(theirs)))
            raise JudgeError(f"the log's catalogue is not the bundle's: they differ from row {at} on")

    def _towers(self, weights: Tensors) -> TowerModel:
        def hidden(name: str) -> list[int]:
            layers = self.manifest[name]["layers"][:-1]
            return [int(weights[f"{layer['tensor']}.weight"].shape[0]) for layer in layers]

        config = TowerConfig(
            dim=self.manifest["tower_dim"], user_layers=hidden("user_tower"), item_layers=hidden("item_tower")
        )
        model = TowerModel(self.maker, config, self.content)
        for layers, name in ((model.user, "user_tower"), (model.item, "item_tower")):
            layers.load(
                name, {key: torch.from_numpy(value) for key, value in weights.items() if key.startswith(name)}
            )
        _fill_tables(model.tables, weights)
        return model.eval()

    def _ranker(self, weights: Tensors) -> RankerModel:
        declaration = self.maker.declaration
        columns = ranker_columns(self.maker)
        shapes = declaration.table_shapes(declaration.ranker_inputs)
        model = RankerModel(columns, shapes, self.manifest["ranker"], Config().ranker)
        names = model.ranker.export()
        model.ranker.load({name: torch.from_numpy(weights[name]) for name in names})
        _fill_tables(model.tables, weights)
        return model.eval()

    def rank_rows(self, query: Query, labels: TaskLabels) -> RankRows:
        """Rows of the ranker for ``query``."""
        vectors = {
            "user_tower": serve_users(self.towers, viewer_block(self.maker, query, self.content), self.items),
            "tower": self.items[query.video],
            "hist_content": history_content(self.maker.histories(query.recent), self.content),
        }
        raw = raw_rows(self.maker, self.content, query, vectors)
        return make_rank_rows(self.maker, self.content, query, vectors, raw, labels)


def judge_heads(model: BundleModel, days: tuple[int, ...], draws: int, seed: int) -> dict[str, Any]:
    """Figures of the heads on the impressions of ``days``."""
    log = model.data.impressions
    rows = np.flatnonzero(np.isin(log["day"].to_numpy(), days))
    judged = model.rank_rows(model.maker.log_query().take(rows), task_labels(log.iloc[rows]))
    heads = model.ranker.predict(judged)
    watch = model.ranker.watch_readings(judged)
    viewer = log["viewer"].to_numpy()[rows]
    found = scores.rank_scores(
        judged.labels.numpy(), judged.known.numpy(), viewer, heads, watch, {}, draws, seed
    )
    truth = scores.truth_scores(model.data, rows, heads)
    return found | ({"truth": truth} if truth else {})


def judge_retrieval(model: BundleModel, days: tuple[int, ...], draws: int, seed: int) -> dict[str, Any]:
    """Recall of the bundle's towers on ``days``, beside popularity up to the first of them."""
    data = model.data
    targets = retrieval_targets(data, days)
    state = counters.state_at(data, targets.frozen_ms)
    nothing = np.zeros(len(targets.viewers))
    query = model.maker.state_query(state, targets.viewers, nothing.astype(np.int32), nothing)
    users = serve_users(model.towers, viewer_block(model.maker, query, model.content), model.items)
    ranked = {
        "towers": recall.rank_all(targets, users, model.items),
        "popularity": retrieval_baselines.popularity_ranking(data, targets, targets.frozen_ms),
    }
    return recall.recall_report(targets, ranked, draws, seed)


def judge_bundle(
    folder: Path, data: Dataset, days: tuple[int, ...] | None = None, draws: int = 500
) -> dict[str, Any]:
    """Figures of a bundle on ``days`` (the days of report by default) as metrics.json has them."""
    config = Config()
    torch.set_num_threads(config.threads)
    model = BundleModel(folder, data)
    days = days or split(data).report_days
    absent = sorted(set(days) - set(data.impressions["day"]))
    if absent:
        raise JudgeError(f"the log has no impressions on {', '.join(map(str, absent))}")
    return {
        "bundle": model.manifest["model_version"],
        "data": {"name": data.name, "notes": data.notes, "impressions": len(data.impressions)},
        "days": {"report": list(days)},
        "ranker": judge_heads(model, days, draws, config.seed),
        "retrieval": judge_retrieval(model, days, draws, config.seed),
    }
