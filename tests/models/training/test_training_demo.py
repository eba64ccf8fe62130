"""The demo's maker on a platform of test size: refit, state, size and how much viewers differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_training import needs_library, small_config

from vireo_models import demo, native
from vireo_models.data.simulate import SimulationParams
from vireo_models.features_reference import string_list

PARAMS = SimulationParams(viewers=300, videos=500, creators=60, days=12, history_days=5, sessions_per_day=1.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    needs_library()
    demo.LEAST_DISTINCT, before = 0.8, demo.LEAST_DISTINCT  # of 300 viewers and 500 videos some look alike
    folder = tmp_path_factory.mktemp("demo") / "demo"
    try:
        return folder, demo.make_demo(folder, 1, PARAMS, small_config())
    finally:
        demo.LEAST_DISTINCT = before


def test_the_demo_opens_and_says_what_it_is(made: tuple[Path, str]) -> None:
    folder, line = made
    native.check_bundle(folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    assert manifest["shift_state"] is True
    assert manifest["model_version"] == "demo-1"
    assert "simulated platform" in manifest["data"]
    assert "MB" in line
    assert demo.folder_bytes(folder) < demo.MOST_BYTES


def test_viewers_have_names_watches_follows_and_friends(made: tuple[Path, str]) -> None:
    state = load_file(made[0] / "state" / "state.safetensors")
    assert string_list(state, "viewer.id") == [str(number) for number in range(1, 301)]
    watches = np.diff(state["recent.offsets"].astype(np.int64))
    assert watches.max() == demo.STATE_WATCHES
    assert watches.mean() > 5
    assert len(state["follow.creator"]) > 300
    assert len(state["friend.viewer"]) > 300


def test_a_demo_that_is_too_large_is_refused(made: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MOST_BYTES", 1000)
    small = SimulationParams(
        viewers=60, videos=200, creators=30, days=9, history_days=3, sessions_per_day=0.8
    )
    config = small_config()
    config.tower.epochs = config.ranker.epochs = 1
    monkeypatch.setattr(demo, "LEAST_DISTINCT", 0.0)
    with pytest.raises(ValueError, match="more than 1000"):
        demo.make_demo(made[0].parent / "large", 1, small, config)
