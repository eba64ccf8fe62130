"""The demo bundle: 20,000 videos and 5,000 viewers ("1" to "5000") of the simulator, small enough to be
committed.

Trained like any other run and refitted on all days; the ids' embeddings are narrower and a viewer's state
keeps the last 20 watches, so that the folder stays under 10 MB. Times move with the server's start
(``shift_state``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .config import Config
from .data import counters
from .data.simulate import SimulationParams, simulate
from .export import write_bundle
from .pipeline import Run, refit, state_block, train
from .scores import user_spread
from .towers import serve_users

STATE_WATCHES = 20
MOST_BYTES = 10_000_000
LEAST_DISTINCT = 0.95  # share of 500 viewers with a history whose ten nearest videos differ from all others'


def demo_config(seed: int) -> Config:
    """Settings of the demo."""
    config = Config(seed=seed, id_width=4)
    config.tower.id_width = 16
    config.ranker.hidden, config.ranker.width, config.ranker.epochs = 64, 32, 8
    return config


def spread(run: Run, viewers: int = 500) -> dict[str, float]:
    """How much the nearest videos of the first ``viewers`` viewers with a history differ at as_of. Those
    who never opened the app are alike to the towers and rightly get one list; recent watches are left
    out, as served."""
    assert run.towers is not None and run.items is not None
    state = counters.state_at(run.data, run.data.as_of_ms)
    known = np.union1d(run.data.history["viewer"], run.data.impressions["viewer"])
    rows = known[:viewers].astype(np.int32)
    users = serve_users(run.towers, state_block(run, state, rows), run.items)
    scores = users @ run.items.astype(np.float32).T
    recent = state.recent.padded(rows).video
    owner = np.repeat(np.arange(len(rows)), recent.shape[1])
    scores[owner[recent.ravel() >= 0], recent[recent >= 0]] = -np.inf
    return user_spread(np.argsort(-scores, axis=1, kind="stable")[:, :10])


def folder_bytes(folder: Path) -> int:
    """Bytes of all files under ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def make_demo(
    folder: Path, seed: int = 1, params: SimulationParams | None = None, config: Config | None = None
) -> str:
    """Trains, refits and writes the demo bundle; returns a line on it. ValueError if it is too large or
    too uniform."""
    config = config or demo_config(seed)
    run = refit(train(simulate(params or SimulationParams(seed=seed), progress=True), config))
    found = spread(run)
    if found["distinct_lists"] < LEAST_DISTINCT:
        raise ValueError(f"only {found['distinct_lists']:.0%} of the viewers' nearest videos differ")
    write_bundle(run, folder, f"demo-{seed}", shift_state=True, state_watches=STATE_WATCHES)
    size = folder_bytes(folder)
    if size > MOST_BYTES:
        raise ValueError(f"{folder} has {size} bytes, more than {MOST_BYTES}")
    return (
        f"{folder}: {size / 1e6:.1f} MB; {found['distinct_lists']:.0%} of {found['viewers']} viewers differ"
    )


__all__ = ["demo_config", "make_demo", "spread"]
