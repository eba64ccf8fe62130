"""Data, settings and result of the small training run that tests of this folder share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from vireo_models import native
from vireo_models.config import Config

DATA = "simulate:viewers=400,videos=600,creators=80,days=14,history_days=6,sessions_per_day=0.8"
SETTINGS = {
    "threads": 1,
    "bootstrap": 60,
    "boosting_trials": 1,
    "tower": {"epochs": 6, "batch": 256, "uniform_negatives": 256, "id_width": 16, "lr": 0.005},
    "ranker": {
        "epochs": 6,
        "experts": 3,
        "hidden": 32,
        "width": 16,
        "tower_hidden": 16,
        "batch": 128,
        "lr": 0.002,
    },
}


torch.set_num_threads(1)  # small matrices: more threads would only wait for each other


@dataclass(frozen=True)
class TinyRun:
    """A finished run: its folder, what metrics.json says, and what was printed."""

    folder: Path
    metrics: dict
    printed: str

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"


def needs_library() -> None:
    """Skips where the C transforms are not built; `make test` builds them first."""
    if not native.library_path().exists():
        pytest.skip("libvireo_features.so is not built: run `make build`")


def small_config(**changed: object) -> Config:
    """The settings of the tiny run."""
    from vireo_models.config import update

    config = Config()
    update(config, SETTINGS | changed, "")
    return config
