"""Hard sharing, single-gate MoE, MMoE and PLE on tasks of set relatedness (``synthetic_tasks``).

Every architecture has the same number of parameters, the same steps on the same data, and its learning rate
chosen from the same list on seeds of its own. The networks are the classes that a bundle holds.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from .. import metrics
from ..plots import architecture_lines, draw
from ..report import interval_text, text_table
from ..sizing import Sizes, matched, parameter_count
from .replicas import Replicas
from .synthetic_tasks import Problems, label_correlation, make_problems

ARCHITECTURES = ("hard", "moe", "mmoe", "ple")
TASKS = ("first", "second")
LIKE = Sizes(experts=4, hidden=32, width=16, tower_hidden=16)
RATES = (0.01, 0.03, 0.1)
TUNING_SEEDS = (9001, 9002, 9003, 9004, 9005)
TEST_ROWS, TEST_SEED, BATCH_SEED = 1000, 5, 9
DRAWS = 2000


@dataclass(frozen=True)
class Settings:
    """What one run of the experiment does."""

    correlations: tuple[float, ...] = (0.5, 0.9, 1.0)
    seeds: int = 20
    steps: int = 1000
    batch: int = 64
    dim: int = 16
    sinusoids: int = 2
    architectures: tuple[str, ...] = ARCHITECTURES
    rates: tuple[float, ...] = RATES


def _sizes(settings: Settings, architecture: str) -> Sizes:
    return matched(architecture, LIKE, settings.dim, (), TASKS)


def _train(settings: Settings, architecture: str, problems: Problems, rates: torch.Tensor) -> torch.Tensor:
    """Test losses [R] after training; initial weights go with the seed, not with the correlation."""
    spec = _sizes(settings, architecture).wiring(architecture, (), TASKS)
    replicas = Replicas(spec, settings.dim, problems.seeds * len(problems.correlations))
    stream = torch.Generator().manual_seed(BATCH_SEED)
    replicas.train(lambda: problems.sample(settings.batch, stream), settings.steps, rates)
    with torch.no_grad():
        return replicas.losses(*problems.sample(TEST_ROWS, torch.Generator().manual_seed(TEST_SEED)))


def tune(settings: Settings, architecture: str) -> dict[float, float]:
    """The learning rate for each correlation: the least mean loss on the tuning seeds.

    The rates stand beside each other as further seeds, so that one training tries them all.
    """
    tried = len(settings.rates)
    seeds = tuple(seed for seed in TUNING_SEEDS for _ in settings.rates)
    problems = make_problems(settings.correlations, seeds, settings.dim, settings.sinusoids)
    rates = torch.tensor(settings.rates).repeat(len(problems.weights) // tried)
    losses = _train(settings, architecture, problems, rates)
    mean = losses.view(len(settings.correlations), len(TUNING_SEEDS), tried).mean(dim=1)
    best = mean.nan_to_num(nan=torch.inf).argmin(dim=1).tolist()
    return {p: settings.rates[i] for p, i in zip(settings.correlations, best, strict=True)}


def final_losses(settings: Settings, architecture: str, rates: dict[float, float]) -> np.ndarray:
    """float64 [correlations, seeds]."""
    problems = make_problems(settings.correlations, range(settings.seeds), settings.dim, settings.sinusoids)
    each = torch.tensor([rates[p] for p in settings.correlations]).repeat_interleave(settings.seeds)
    losses = _train(settings, architecture, problems, each)
    return losses.view(len(settings.correlations), settings.seeds).double().numpy()


# ---- figures ----


def compare(settings: Settings) -> dict[str, Any]:
    """Losses of every architecture and correlation with intervals over seeds, and the paired advantages."""
    started = time.process_time()
    losses, found = {}, {"settings": asdict(settings), "architectures": {}}
    for name in tqdm(settings.architectures, desc="synthetic tasks", leave=False):
        rates = tune(settings, name)
        losses[name] = final_losses(settings, name, rates)
        sizes = _sizes(settings, name)
        found["architectures"][name] = {
            "parameters": parameter_count(sizes.wiring(name, (), TASKS), settings.dim),
            "sizes": asdict(sizes),
            "rates": list(rates.values()),
            "losses": losses[name].tolist(),
        }
    problems = make_problems(settings.correlations, range(settings.seeds), settings.dim, settings.sinusoids)
    found["label_correlation"] = label_correlation(problems)
    found |= summarise(losses, settings.correlations)
    found["cpu_seconds"] = round(time.process_time() - started, 1)
    return found


def summarise(losses: dict[str, np.ndarray], correlations: tuple[float, ...]) -> dict[str, Any]:
    """losses [correlations, seeds] -> ``loss`` with intervals, ``advantage`` of MMoE (their loss less its,
    paired by seed) at each correlation and ``growth`` of it from the highest to the lowest."""
    seeds = next(iter(losses.values())).shape[1]
    weights = metrics.viewer_weights(np.arange(seeds), DRAWS, 1)
    nothing = np.zeros(seeds)
    found: dict[str, Any] = {
        "loss": {
            name: [metrics.mean_gain(nothing, row, weights).as_dict() for row in rows]
            for name, rows in losses.items()
        },
        "advantage": {},
        "growth": {},
    }
    low, high = int(np.argmin(correlations)), int(np.argmax(correlations))
    for name, theirs in losses.items():
        if name == "mmoe" or "mmoe" not in losses:
            continue
        gain = theirs - losses["mmoe"]
        found["advantage"][name] = [metrics.mean_gain(nothing, row, weights).as_dict() for row in gain]
        found["growth"][name] = metrics.mean_gain(gain[high], gain[low], weights).as_dict()
    return found


def verdicts(found: dict[str, Any]) -> list[str]:
    """What the paper found, and whether it was seen here."""
    correlations = found["settings"]["correlations"]
    high, low = max(correlations), min(correlations)
    lines = []
    for name, one in found["growth"].items():
        if name == "ple":
            continue
        seen = "yes" if one["low"] > 0 else "no" if one["high"] < 0 else "not decided"
        text = f"MMoE's advantage over {name} is larger at {low} than at {high}: {seen}"
        lines.append(f"{text}, {interval_text(one)}")
        at_one = found["advantage"][name][correlations.index(high)]
        lost = "no" if at_one["low"] > 0 else "yes" if at_one["high"] < 0 else "no difference seen"
        lines.append(f"MMoE loses to {name} at {high}: {lost}, {interval_text(at_one)}")
    return lines


# ---- output ----


def _loss_table(found: dict[str, Any]) -> list[list[str]]:
    rows = [["loss (variance of the noise: 0.01)", "parameters"]]
    rows[0] += [f"correlation {p}" for p in found["settings"]["correlations"]]
    for name, one in found["loss"].items():
        cells = [f"{x['value']:.4f} [{x['low']:.4f}, {x['high']:.4f}]" for x in one]
        rows.append([name, str(found["architectures"][name]["parameters"]), *cells])
    return rows


def _advantage_table(found: dict[str, Any]) -> list[list[str]]:
    rows = [["their loss less MMoE's, paired"]]
    rows[0] += [f"correlation {p}" for p in found["settings"]["correlations"]]
    return rows + [[name, *map(interval_text, one)] for name, one in found["advantage"].items()]


def as_text(found: dict[str, Any]) -> str:
    """Tables and verdicts."""
    pairs = zip(found["settings"]["correlations"], found["label_correlation"], strict=True)
    labels = ", ".join(f"{one:.2f} at {p}" for p, one in pairs)
    return "\n\n".join(
        [
            text_table(_loss_table(found)),
            text_table(_advantage_table(found)),
            "\n".join(verdicts(found)),
            f"correlation of the labels: {labels}; {found['settings']['seeds']} seeds, "
            f"{found['settings']['steps']} steps, {found['cpu_seconds']} s of CPU",
        ]
    )


def run(options: argparse.Namespace) -> str:
    """Writes synthetic.json, synthetic.txt and synthetic.svg into ``options.out``."""
    if options.seeds < 2 or options.steps < 1:
        raise ValueError(f"--seeds {options.seeds} --steps {options.steps}: at least 2 and 1 are wanted")
    torch.set_num_threads(1)
    found = compare(Settings(seeds=options.seeds, steps=options.steps))
    text = as_text(found)
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "synthetic.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "synthetic.txt").write_text(text + "\n")
    correlations = found["settings"]["correlations"]
    plot = draw(lambda axes: architecture_lines(axes, correlations, found["loss"]))
    (folder / "synthetic.svg").write_text(plot)
    return text
