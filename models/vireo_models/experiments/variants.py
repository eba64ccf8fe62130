"""One part of the ranker at a time in several ways, on one log: ``watch`` (heads of watch time),
``calibration``, ``weighting`` (of the tasks' losses) and ``position`` (the bias tower).

Towers and rows are made once, with the first seed; the rankers of each way differ by seed. The first way of a
set is the one that the others are compared with. On the simulator the heads are also measured against the
truth: what an impression would have led to at an average place of the page.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .. import config as settings
from .. import metrics
from ..calibration import fit_calibration, fit_isotonic, fold
from ..data import load
from ..networks import TASKS
from ..pipeline import Run, fit_ranker, new_ranker, rows_of
from ..ranker import RankerTrainer, train_ranker
from ..report import interval_text, text_table
from .architectures import prepared
from .comparison import BINARY, Finished, summarise

Ways = dict[str, np.ndarray]
"""Heads [rows, 4] on the report days by name of the way."""


def _changed(run: Run, seed: int, **changed: Any) -> Run:
    """``run`` with another seed and other settings of the ranker."""
    ranker = dataclasses.replace(run.config.ranker, **changed)
    return dataclasses.replace(run, config=dataclasses.replace(run.config, seed=seed, ranker=ranker))


def _trained(run: Run, seed: int, **changed: Any) -> Run:
    found = _changed(run, seed, **changed)
    fit_ranker(found)
    return found


def _report(run: Run) -> np.ndarray:
    assert run.ranker is not None
    return run.ranker.predict(rows_of(run, run.days.report))


def _each(changes: dict[str, dict[str, Any]]) -> Callable[[Run, int], Ways]:
    """A set of ways that differ by settings."""

    def make(run: Run, seed: int) -> Ways:
        return {name: _report(_trained(run, seed, **changed)) for name, changed in changes.items()}

    return make


# ---- watch time ----


class LogLoss:
    """Squared error of one output to log1p of the seconds; the bins' widths say nothing."""

    def each(self, logits: Tensor, watch_s: Tensor, widths: Tensor) -> Tensor:
        return (logits[:, 0] - torch.log1p(watch_s)) ** 2

    def constant(self, watch_s: Tensor, widths: Tensor) -> Tensor:
        return torch.log1p(watch_s).mean()[None]


def smeared(run: Run, seed: int) -> np.ndarray:
    """Heads whose E[watch_s] is expm1 of a regression on log1p, with Duan's smearing: exp of the prediction
    times the mean of exp(residual) on the calibration day."""
    run = _changed(run, seed)
    assert run.fit_rows is not None
    model = new_ranker(run, (1.0,))
    model.watch_loss = LogLoss()
    fit, tune = rows_of(run, run.fit_rows), rows_of(run, run.days.tune)
    model, _ = train_ranker(RankerTrainer(model, fit, tune, run.config.ranker, seed))
    calibrate, report = rows_of(run, run.days.calibrate), rows_of(run, run.days.report)
    column = TASKS.index("watch_s")
    residual = torch.log1p(calibrate.labels[:, column]) - model.logits(calibrate)["watch_s"][:, 0]
    seconds = torch.exp(model.logits(report)["watch_s"][:, 0]) * torch.exp(residual).mean() - 1
    fold(model, {name: one for name, one in fit_calibration(model, calibrate).items() if name != "watch_s"})
    heads = model.predict(report)
    heads[:, column] = seconds.clamp(0, 300).double().numpy()
    return heads


BINS = {
    "fixed bins, share watched": {},
    "quantile bins, share watched": {"watch_bins": "quantile"},
    "quantile bins, exceeded (CREAD)": {"watch_bins": "quantile", "watch_labels": "exceeds"},
}


def _watch(run: Run, seed: int) -> Ways:
    return _each(BINS)(run, seed) | {"log1p, smeared": smeared(run, seed)}


# ---- calibration ----


def _calibration(run: Run, seed: int) -> Ways:
    """One ranker, its heads under three maps; an isotonic map of what the affine one gives is the isotonic
    map of the raw head, as both only rise."""
    run = _trained(run, seed)
    assert run.ranker is not None
    before, affine = rows_of(run, run.days.calibrate), _report(run)
    known, heads = before.known.numpy(), run.ranker.predict(before)
    raw, isotonic = affine.copy(), affine.copy()
    for column, name in enumerate(TASKS):
        rows = known[:, column]
        one = fit_isotonic(heads[rows, column], before.labels[rows, column].double().numpy())
        isotonic[:, column] = one.predict(affine[:, column])
        if name != "watch_s":
            undone = (_logit(affine[:, column]) - run.calibration[name].shift) / run.calibration[name].slope
            raw[:, column] = 1 / (1 + np.exp(-undone))
    return {"slope and shift": affine, "isotonic": isotonic, "none (watch_s: slope and shift)": raw}


def _logit(p: np.ndarray) -> np.ndarray:
    return np.log(p) - np.log1p(-p)


SETS: dict[str, Callable[[Run, int], Ways]] = {
    "watch": _watch,
    "calibration": _calibration,
    "weighting": _each({name: {"loss_weighting": name} for name in ("fixed", "uncertainty", "gradnorm")}),
    "position": _each({"without": {}, "with the tower": {"position_tower": True}}),
}


# ---- against the simulator's truth ----


def truth_figures(run: Run, heads: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """For the click of each way, by seed: correlation of its logit with that of the truth at an average
    place, and what its log loss against the true probability has above the least there is, once its level
    is right."""
    data = run.data
    if data.truth is None:
        return None
    log = data.impressions.iloc[run.days.report]
    arguments = [log[name].to_numpy() for name in ("viewer", "video", "time_ms")]
    true = data.truth.expected(*arguments, log["tab"].astype(str).to_numpy(), -1)["click"]
    column = TASKS.index("click")
    found: dict[str, Any] = {}
    for name, each in heads.items():
        figures = [_against(true, seed[:, column]) for seed in each]
        found[name] = {key: [one[key] for one in figures] for key in ("correlation", "excess_loss")}
    return found


def _against(true: np.ndarray, p: np.ndarray) -> dict[str, float]:
    shift, logit = 0.0, _logit(np.clip(p, 1e-6, 1 - 1e-6))
    for _ in range(30):  # the level at which the means agree, by Newton's steps
        levelled = 1 / (1 + np.exp(-(logit + shift)))
        shift += float((true.mean() - levelled.mean()) / (levelled * (1 - levelled)).mean())
    levelled = 1 / (1 + np.exp(-(logit + shift)))
    excess = metrics.log_loss(true, levelled) - metrics.log_loss(true, true)
    return {"correlation": float(np.corrcoef(_logit(true), logit)[0, 1]), "excess_loss": excess}


# ---- the table ----


def as_text(found: dict[str, Any]) -> str:
    """A line for each way: AUC with its gain and ECE of the probabilities, the errors of E[watch_s]."""
    first = found["ways"][0]
    rows = [["", *(f"{head} AUC, over the first; ECE" for head in BINARY)]]
    rows[0] += ["watch_s MSE, under the first's", "mean / observed", "in deciles"]
    for name in found["ways"]:
        cells = []
        for head in BINARY:
            one = found["heads"][head][name]
            cells.append(f"{one['auc']['value']:.4f} {interval_text(one.get('gain'))}; {one['ece']:.4f}")
        one = found["heads"]["watch_s"][name]
        cells.append(f"{one['mse']['value']:.1f} {interval_text(one.get('gain'), 1)}".strip())
        cells += [f"{one['mean']:.3f}", f"{min(one['deciles']):.3f} to {max(one['deciles']):.3f}"]
        rows.append([name, *cells])
    parts = [
        f"{found['set']}: {found['data']}, {found['rows']} rows, {found['seeds']} seeds",
        text_table(rows),
    ]
    if found.get("truth"):
        parts.append(text_table(_truth_rows(found["truth"], first)))
    return "\n\n".join(parts)


def _truth_rows(truth: dict[str, Any], first: str) -> list[list[str]]:
    """Means over seeds with the least and the most."""
    rows = [["click against the truth", "correlation of logits", "log loss above the least"]]
    for name, one in truth.items():
        cells = []
        for key, digits in (("correlation", 4), ("excess_loss", 5)):
            values = one[key]
            cells.append(f"{np.mean(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]")
        rows.append([name, *cells])
    return rows


def run(options: argparse.Namespace) -> str:
    """Writes SET.json and SET.txt into ``options.out``, anew after each seed."""
    if options.seeds < 1:
        raise ValueError(f"--seeds {options.seeds}: at least 1 is wanted")
    config, folder, text = settings.load(options.config), options.out, ""
    finished = Finished(folder, {"data": options.data, "set": options.set, "config": config.as_dict()})
    data = load(options.data)
    base = prepared(data, config)
    heads: dict[str, list[np.ndarray]] = {}
    for seed in tqdm(range(config.seed, config.seed + options.seeds), desc=options.set, leave=False):
        for name, one in finished.many(options.set, seed, lambda seed=seed: SETS[options.set](base, seed)):
            heads.setdefault(name, []).append(one)
        stacked = {name: np.stack(each) for name, each in heads.items()}
        ways = list(stacked)
        found = {"set": options.set, "data": data.name, "seeds": len(heads[ways[0]]), "ways": ways}
        found |= summarise(base, stacked, ways[0]) | {"truth": truth_figures(base, stacked)}
        text = as_text(found)
        (folder / f"{options.set}.json").write_text(json.dumps(found, indent=1) + "\n")
        (folder / f"{options.set}.txt").write_text(text + "\n")
    return text
