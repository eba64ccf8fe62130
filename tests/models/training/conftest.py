"""One small training run on the simulator, made once for all tests of this folder that look at it."""

from __future__ import annotations

import json
import os

import pytest
from tiny_training import DATA, SETTINGS, TinyRun, needs_library

from vireo_models.__main__ import main


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    needs_library()
    os.environ["TQDM_DISABLE"] = "1"
    folder = tmp_path_factory.mktemp("tiny") / "run"
    settings = folder.parent / "settings.json"
    settings.write_text(json.dumps(SETTINGS))
    status = main(["train", "--data", DATA, "--out", str(folder), "--config", str(settings), "--seed", "3"])
    assert status == 0
    return TinyRun(
        folder, json.loads((folder / "metrics.json").read_text()), (folder / "tables.txt").read_text()
    )
