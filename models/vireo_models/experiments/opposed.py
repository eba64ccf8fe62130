"""Hard sharing, single-gate MoE, MMoE and PLE where tasks agree and where they oppose each other: the
simulator's world with ``conflict`` 0 and 1 (sim_behaviour.py).

Rows are pairs of viewer and video with what is hidden from a real ranker as inputs (interest, community,
place, quality), so that how the networks share decides and not what features know. Tasks are the click of
what was looked at and the finish of what was clicked, apart from each other, for the finish of an impression
is a click as well. What counts is the log loss above that of the truth itself, over replicas of other initial
weights and other rows; every architecture has the same parameters and steps, and its learning rate from the
same list, chosen on replicas of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from .. import metrics
from ..config import ARCHITECTURES
from ..data.sim_behaviour import TABS, Behaviour
from ..data.sim_world import COMMUNITIES, DAY_MS, DIM, World, make_world
from ..report import interval_text, text_table
from ..sizing import Sizes, matched, parameter_count
from .replicas import Replicas

TASKS = ("click", "finish")
LIKE = Sizes(experts=4, hidden=32, width=16, tower_hidden=16)
RATES = (0.003, 0.01, 0.03)
TUNING_SEEDS = (9001, 9002, 9003, 9004, 9005)
WIDTH = 2 * DIM + COMMUNITIES + 3  # interest, place, community, quality, language, duration
TEST_ROWS, BATCH_SEED, TEST_SEED = 4000, 7, 5
DRAWS = 2000


@dataclass(frozen=True)
class Settings:
    """What one run of the experiment does."""

    conflicts: tuple[float, ...] = (0.0, 1.0)
    seeds: int = 20
    steps: int = 1500
    batch: int = 128
    viewers: int = 3000
    videos: int = 4000
    world_seed: int = 1


class Pairs:
    """Random pairs of a world for R replicas, with their labels or their true probabilities."""

    def __init__(self, settings: Settings, conflict: float, replicas: int) -> None:
        self.world: World = make_world(
            seed=settings.world_seed, viewers=settings.viewers, videos=settings.videos, creators=300,
            first_ms=0, as_of_ms=DAY_MS, follows=0.0, friends=0.0,
        )  # fmt: skip
        self.truth, self.replicas = Behaviour(self.world, conflict), replicas

    def inputs(self, viewer: np.ndarray, video: np.ndarray) -> np.ndarray:
        """float32 [n, WIDTH]."""
        viewers, videos = self.world.viewers, self.world.videos
        columns = [
            np.sqrt(DIM) * viewers.interest[viewer, 0],
            np.sqrt(DIM) * videos.place[video],
            2.0 * np.eye(COMMUNITIES)[viewers.community[viewer]],
            videos.quality[video],
            (viewers.language[viewer] != videos.language[video]),
            np.log(videos.duration_s[video] / 25.0),
        ]
        return np.column_stack(columns).astype(np.float32)

    def expected(self, rows: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """x [R, rows, WIDTH] and true probabilities [R, rows, tasks], in the largest tab."""
        count = self.replicas * rows
        viewer = rng.integers(0, len(self.world.viewers.community), count)
        video = rng.integers(0, len(self.world.videos.topic), count)
        true = self.truth.given(viewer, video, np.int64(0), TABS.index("for_you"))
        p = np.column_stack([true[name] for name in TASKS]).astype(np.float32)
        shape = (self.replicas, rows, -1)
        return torch.from_numpy(self.inputs(viewer, video)).view(shape), torch.from_numpy(p).view(shape)

    def drawn(self, rows: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """x and labels, drawn for each task by itself."""
        x, p = self.expected(rows, rng)
        return x, (torch.from_numpy(rng.random(p.shape, np.float32)) < p).float()


def log_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Mean log loss over rows and tasks of each replica, [R]."""
    return binary_cross_entropy_with_logits(logits, y, reduction="none").mean(dim=(1, 2))


def _spec(architecture: str) -> dict[str, Any]:
    return matched(architecture, LIKE, WIDTH, (), TASKS).wiring(architecture, (), TASKS)


def _train(
    settings: Settings, architecture: str, conflict: float, seeds: tuple[int, ...], rates: Tensor
) -> np.ndarray:
    """Log loss above the truth's own after training, float64 [R]."""
    pairs = Pairs(settings, conflict, len(seeds))
    replicas = Replicas(_spec(architecture), WIDTH, seeds, log_losses)
    rng = np.random.default_rng(BATCH_SEED)
    replicas.train(lambda: pairs.drawn(settings.batch, rng), settings.steps, rates)
    x, p = pairs.expected(TEST_ROWS, np.random.default_rng(TEST_SEED))
    with torch.no_grad():
        least = log_losses(torch.logit(p.clamp(1e-6, 1 - 1e-6)), p)
        return (replicas.losses(x, p) - least).double().numpy()


def tune(settings: Settings, architecture: str, conflict: float) -> float:
    """The learning rate with the least mean loss on the tuning seeds."""
    seeds = tuple(seed for seed in TUNING_SEEDS for _ in RATES)
    losses = _train(settings, architecture, conflict, seeds, torch.tensor(RATES).repeat(len(TUNING_SEEDS)))
    mean = losses.reshape(len(TUNING_SEEDS), len(RATES)).mean(axis=0)
    return RATES[int(np.argmin(np.nan_to_num(mean, nan=np.inf)))]


def compare(settings: Settings) -> dict[str, Any]:
    """Losses of every architecture at each conflict, with intervals over replicas."""
    started = time.process_time()
    found: dict[str, Any] = {"settings": asdict(settings), "conflicts": {}}
    for conflict in settings.conflicts:
        losses, rates = {}, {}
        for name in tqdm(ARCHITECTURES, desc=f"conflict {conflict}", leave=False):
            rates[name] = tune(settings, name, conflict)
            each = torch.full((settings.seeds,), rates[name])
            losses[name] = _train(settings, name, conflict, tuple(range(settings.seeds)), each)
        found["conflicts"][str(conflict)] = {"rates": rates, **summarise(losses)}
    found["parameters"] = {name: parameter_count(_spec(name), WIDTH) for name in ARCHITECTURES}
    found["cpu_seconds"] = round(time.process_time() - started, 1)
    return found


def summarise(losses: dict[str, np.ndarray]) -> dict[str, Any]:
    """losses [seeds] by architecture -> ``loss`` with intervals, and ``gain``, that of hard sharing less
    theirs, paired by seed."""
    seeds = len(losses["hard"])
    weights, nothing = metrics.viewer_weights(np.arange(seeds), DRAWS, 1), np.zeros(seeds)
    loss = {name: metrics.mean_gain(nothing, one, weights).as_dict() for name, one in losses.items()}
    gain = {
        name: metrics.mean_gain(one, losses["hard"], weights).as_dict()
        for name, one in losses.items()
        if name != "hard"
    }
    each = {name: one.tolist() for name, one in losses.items()}
    return {"loss": loss, "gain": gain, "losses": each}


def as_text(found: dict[str, Any]) -> str:
    """A line for each architecture."""
    conflicts = list(found["conflicts"])
    rows = [["log loss above the least", "parameters"]]
    for conflict in conflicts:
        rows[0] += [f"conflict {conflict}", "under hard sharing", "rate"]
    for name, count in found["parameters"].items():
        cells = [name, str(count)]
        for conflict in conflicts:
            one = found["conflicts"][conflict]
            loss = one["loss"][name]
            cells.append(f"{loss['value']:.5f} [{loss['low']:.5f}, {loss['high']:.5f}]")
            cells += [interval_text(one["gain"].get(name), 5), f"{one['rates'][name]:g}"]
        rows.append(cells)
    tail = f"{found['settings']['seeds']} seeds, {found['settings']['steps']} steps"
    return f"{text_table(rows)}\n\n{tail}, {found['cpu_seconds']} s of CPU"


def run(options: argparse.Namespace) -> str:
    """Writes opposed.json and opposed.txt into ``options.out``."""
    if options.seeds < 2 or options.steps < 1:
        raise ValueError(f"--seeds {options.seeds} --steps {options.steps}: at least 2 and 1 are wanted")
    torch.set_num_threads(1)
    found = compare(Settings(seeds=options.seeds, steps=options.steps))
    text, folder = as_text(found), options.out
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "opposed.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "opposed.txt").write_text(text + "\n")
    return text
