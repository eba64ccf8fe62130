"""A ranker of each architecture, trained and exported, in the C engine: golden heads and onnxruntime's."""

from __future__ import annotations

from pathlib import Path

import engine_rows
import numpy as np
import pytest
from test_onnx_parity import HEADS, PROBABILITY, WATCH, expected

from vireo_models.config import ARCHITECTURES, Config, update
from vireo_models.data.simulate import SimulationParams, simulate
from vireo_models.experiments.architectures import prepared, with_architecture
from vireo_models.export import write_bundle
from vireo_models.pipeline import Run, fit_ranker
from vireo_models.sizing import Sizes, parameter_count
from vireo_models.watch_time import WATCH_WIDTHS

PARAMS = SimulationParams(viewers=120, videos=200, creators=30, days=8, history_days=3, sessions_per_day=1.0)
SETTINGS = {
    "tower": {"epochs": 1, "batch": 256, "uniform_negatives": 64, "id_width": 16},
    "ranker": {
        "epochs": 5,
        "lr": 0.01,
        "experts": 3,
        "hidden": 24,
        "width": 12,
        "tower_hidden": 8,
        "batch": 128,
    },
}


@pytest.fixture(scope="module")
def base() -> Run:
    config = Config()
    update(config, SETTINGS, "")
    return prepared(simulate(PARAMS), config)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_engine_serves_what_was_trained(architecture: str, base: Run, tmp_path: Path) -> None:
    run = with_architecture(base, architecture)
    fit_ranker(run)
    bundle = engine_rows.read(write_bundle(run, tmp_path / "bundle", architecture))
    assert bundle.manifest["ranker"]["architecture"] == architecture
    _same_size_as_the_mmoe(bundle, run)
    rows = engine_rows.draw_rows(bundle, 500, seed=4)  # the golden cases first
    order = (*engine_rows.TENSORS, "video.row", "video.raw", "pair.raw")
    asked = [np.array([500], np.uint32), *(rows[name] for name in order)]
    words = engine_rows.ask(bundle, "exact", "score", asked, tmp_path)
    dim = bundle.manifest["tower_dim"]
    heads, user = engine_rows.split(words, ((500, 4), np.float32), ((500, dim), np.float32))
    golden = bundle.golden["out.heads"]
    _, wanted = expected(bundle, rows)
    for column, head in enumerate(HEADS):
        for ours, theirs in ((heads[: len(golden)], golden), (heads, wanted)):
            unit = np.maximum(np.abs(theirs[:, column]), 1.0) if head == "watch_s" else 1.0
            limit = WATCH if head == "watch_s" else PROBABILITY
            assert np.ptp(theirs[:, column]) > 10 * limit, f"{head}: rows that score alike prove nothing"
            assert (np.abs(ours[:, column] - theirs[:, column]) <= limit * unit).all(), head
    assert np.abs(user[: len(golden)] - bundle.golden["out.user_tower"]).max() < PROBABILITY


def _same_size_as_the_mmoe(bundle: engine_rows.Bundle, run: Run) -> None:
    width_in = bundle.weights["ranker.level0.w1"].shape[2]
    budget = parameter_count(Sizes(3, 24, 12, 8).wiring("mmoe", WATCH_WIDTHS), width_in)
    assert parameter_count(bundle.manifest["ranker"], width_in) == pytest.approx(budget, rel=0.01)
