"""A log replayed against a live server: what it serves is what the rows of training say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_training import DATA, TinyRun

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/http"))

from live import running  # noqa: E402

from vireo_models import replay  # noqa: E402
from vireo_models.__main__ import main  # noqa: E402
from vireo_models.data import load  # noqa: E402
from vireo_models.judge import BundleModel  # noqa: E402

LIMIT = 400


@pytest.fixture(scope="module")
def bundle(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run's bundle with the state of before the report's days."""
    folder = tmp_path_factory.mktemp("replay") / "bundle"
    words = ["replay", "--bundle", str(tiny_run.bundle), "--data", DATA, "--prepare", str(folder)]
    assert main(words) == 0
    return folder


def test_replay_equals_offline(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(bundle, tmp_path, "--replay") as server:
        words = ["replay", "--bundle", str(bundle), "--data", DATA, "--url", f"127.0.0.1:{server.port}"]
        assert main([*words, "--limit", str(LIMIT), "--json", str(tmp_path / "replay.json")]) == 0
    found = json.loads((tmp_path / "replay.json").read_text())
    assert LIMIT - 50 < found["impressions"] <= LIMIT
    assert max(found["largest_difference"].values()) < 1e-4, found["largest_difference"]
    for name, figures in found["served"].items():
        for figure, value in figures.items():
            assert value == pytest.approx(found["offline"][name][figure], rel=1e-3), (name, figure)
    assert "click    auc" in capsys.readouterr().out


def test_a_server_that_is_told_nothing_falls_behind(bundle: Path, tmp_path: Path) -> None:
    """The twin: the comparison sees skew where there is some."""
    data = load(DATA)
    model = BundleModel(bundle, data)
    rows = replay.Replay("", bundle, data, LIMIT).rows(model.manifest["as_of_ms"])
    expected, _ = replay.offline(model, rows)
    with running(bundle, tmp_path, "--replay") as server:
        served = replay.serve(replay.Client(f"127.0.0.1:{server.port}"), data, rows, post=False)
    assert replay.compare(served, expected)["click"] > 1e-3
    assert np.isfinite(served).all()


def test_what_does_not_fit_is_refused(tiny_run: TinyRun, bundle: Path, tmp_path: Path) -> None:
    data = load(DATA)
    with running(bundle, tmp_path, "--replay") as server:
        url = f"127.0.0.1:{server.port}"
        with pytest.raises(replay.ReplayError, match="ends before the bundle's state"):
            replay.Replay(url, tiny_run.bundle, data).run()
        other = tmp_path / "other"
        replay.prepare(bundle, data, int(data.impressions["time_ms"].iloc[-1]), other)
        manifest = json.loads((other / "bundle.json").read_text())
        (other / "bundle.json").write_text(json.dumps(manifest | {"model_version": "another"}))
        with pytest.raises(replay.ReplayError, match="not the bundle's another"):
            replay.Replay(url, other, data).run()
        with pytest.raises(replay.ReplayError, match="HOST:PORT"):
            replay.Client(f"https://{url}")
    with running(bundle, tmp_path) as server, pytest.raises(replay.ReplayError, match="--replay"):
        replay.Replay(f"127.0.0.1:{server.port}", bundle, data, LIMIT).run()
