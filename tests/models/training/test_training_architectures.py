"""The comparison of architectures on one log: planted gains come out with their sign, ties as ties."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tiny_training import SETTINGS, needs_library

from vireo_models.__main__ import main
from vireo_models.config import Config
from vireo_models.experiments import architectures, comparison

LONG = os.environ.get("VIREO_LONG") == "1"
ROWS = 3000


def _planted(noise: float, seed: int, truth: np.ndarray) -> np.ndarray:
    """Heads [2 seeds, rows, 4] that know the labels but for noise."""
    rng = np.random.default_rng(seed)
    return truth[None] + noise * rng.standard_normal((2, *truth.shape))


@pytest.fixture
def run() -> SimpleNamespace:
    """What ``summarise`` reads of a run: labels, viewers, the days of report."""
    rng = np.random.default_rng(0)
    labels = (rng.random((ROWS, 4)) < 0.3).astype(np.float32)
    click, watch, like, finish = labels.T
    finish = np.where(np.arange(ROWS) % 7 == 0, -1, finish)
    log = pd.DataFrame({"click": click, "watch_s": watch, "like": like, "finish": finish})
    return SimpleNamespace(
        data=SimpleNamespace(impressions=log),
        query=SimpleNamespace(viewer=rng.integers(0, 200, ROWS)),
        days=SimpleNamespace(report=np.arange(ROWS)),
        config=Config(bootstrap=100),
        labels=labels,
    )


def test_planted_gains_have_their_sign(run: SimpleNamespace) -> None:
    truth = run.labels
    heads = {
        "hard": _planted(1.5, 1, truth),
        "moe": _planted(1.0, 2, truth),
        "mmoe": _planted(1.0, 2, truth),
        "ple": _planted(0.6, 3, truth),
        "boosting": _planted(1.5, 4, truth),
    }
    found = comparison.summarise(run, heads, "mmoe")
    over_boosting = comparison.summarise(run, heads, "boosting")["heads"]
    assert all(one["ple"]["gain"]["low"] > 0 for one in over_boosting.values())
    for one in found["heads"].values():
        assert one["hard"]["gain"]["high"] < 0
        assert one["moe"]["gain"]["low"] == one["moe"]["gain"]["high"] == 0
        assert one["ple"]["gain"]["low"] > 0
        assert "gain" not in one["mmoe"]
    more = {"data": "planted", "seeds": 2, "trials": 3, "over_boosting": over_boosting}
    parameters = {"parameters": {name: 9 for name in heads if name != "boosting"}}
    text = architectures.as_text(found | more | parameters)
    assert text.count("\n") == 14 and "+0.0000 [+0.0000, +0.0000]" in text


@pytest.mark.skipif(not LONG, reason="a minute: VIREO_LONG=1")
def test_one_command_compares_all_four(tmp_path: Path) -> None:
    needs_library()
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(SETTINGS))
    data = "simulate:viewers=200,videos=300,creators=40,days=10,history_days=4,sessions_per_day=0.8"
    options = ["--data", data, "--config", str(settings), "--seeds", "2", "--out", str(tmp_path / "out")]
    assert main(["experiment", "architectures", *options]) == 0
    found = json.loads((tmp_path / "out" / "architectures.json").read_text())
    counts = list(found["parameters"].values())
    assert len(counts) == 4 and max(counts) <= 1.02 * min(counts)
    assert all(one["mmoe"]["auc"]["value"] > 0.55 for name, one in found["heads"].items() if name == "click")


def test_what_is_finished_is_not_made_again(tmp_path: Path) -> None:
    """A second run of the same comparison reads what is there; one with other settings is refused."""
    made = []

    def make() -> np.ndarray:
        made.append(1)
        return np.arange(6.0).reshape(2, 3)

    for _ in range(2):
        finished = comparison.Finished(tmp_path / "out", {"trials": 4})
        assert finished.heads("ple", 3, make).tolist() == [[0, 1, 2], [3, 4, 5]]
        assert finished.tuning("ple", lambda: {"settings": {"lr": len(made)}}) == {"settings": {"lr": 1}}
    finished.heads("ple", 4, make)
    assert len(made) == 2 and not list((tmp_path / "out").glob("*.new"))
    with pytest.raises(ValueError, match="other settings"):
        comparison.Finished(tmp_path / "out", {"trials": 5})


@pytest.mark.parametrize("option", ["--seeds", "--trials"])
def test_no_seed_and_no_trial_are_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", "simulate", option, "0", "--out", str(tmp_path / "out")]
    assert main(["experiment", "architectures", *options]) == 2
    assert f"{option} 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
