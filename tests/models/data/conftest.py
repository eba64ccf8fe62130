"""Data for the tests: a small random log, a small simulated platform, and the folder of the real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from random_data import make_dataset

from vireo_models.data.simulate import SimulationParams, simulate
from vireo_models.schema import Dataset

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def kuairand_folder() -> Path:
    """The folder with the KuaiRand excerpt; tests that need it are skipped without it."""
    folder = Path(os.environ.get("VIREO_DATA_DIR", ROOT / ".." / "shared" / "data")) / "kuairand_pure"
    if not folder.is_dir():
        pytest.skip("skipped: no data")
    return folder


@pytest.fixture(scope="session")
def platform_params() -> SimulationParams:
    return SimulationParams(seed=3, viewers=400, videos=3000, creators=200, days=14, sessions_per_day=0.8)


@pytest.fixture(scope="session")
def platform(platform_params: SimulationParams) -> Dataset:
    return simulate(platform_params)


@pytest.fixture
def small() -> Dataset:
    return make_dataset()


@pytest.fixture(params=range(5))
def random_log(request: pytest.FixtureRequest) -> Dataset:
    """Five random logs of different shapes."""
    seed = request.param
    return make_dataset(
        seed=seed, rows=100 + 80 * seed, viewers=3 + 2 * seed, videos=6 + 3 * seed, span_s=40 + 40 * seed
    )
