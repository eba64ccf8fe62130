"""A run that was killed and resumed ends with the very bits of one that never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tiny_training import needs_library

from vireo_models.__main__ import main
from vireo_models.config import Config, update
from vireo_models.data.simulate import SimulationParams, simulate
from vireo_models.keeper import FILE, Keeper
from vireo_models.pipeline import Run, refit, train
from vireo_models.schema import Dataset

LONG = os.environ.get("VIREO_LONG") == "1"
PARAMS = SimulationParams(viewers=80, videos=120, creators=20, days=8, history_days=3, sessions_per_day=1.0)
SETTINGS: dict[str, Any] = {
    "tower": {"epochs": 2, "day_epochs": 1, "batch": 128, "uniform_negatives": 32, "id_width": 8, "dim": 16},
    "ranker": {"epochs": 3, "experts": 2, "hidden": 8, "width": 8, "tower_hidden": 4, "batch": 128},
    "content_dim": 16,
}


class Killed(BaseException):
    """What stands for the kill: nothing catches it."""


class Doomed(Keeper):
    """A keeper whose run dies right after the ``last``-th checkpoint."""

    last = 0

    def save(self, part: str, state: dict[str, Any]) -> None:
        super().save(part, state)
        self.last -= 1
        if self.last == 0:
            raise Killed(part)


def _config(**changed: Any) -> Config:
    config = Config()
    update(config, SETTINGS | changed, "")
    return config


@pytest.fixture(scope="module")
def data() -> Dataset:
    needs_library()
    return simulate(PARAMS)


def _whole(data: Dataset, keeper: Keeper | None) -> tuple[Run, Run]:
    run = train(data, _config(), keeper)
    return run, refit(run)


@pytest.fixture(scope="module")
def unbroken(data: Dataset) -> tuple[Run, Run]:
    return _whole(data, None)


def _same(one: Run, other: Run) -> None:
    assert one.ranker is not None and other.ranker is not None
    assert one.towers is not None and other.towers is not None
    for mine, theirs in ((one.ranker, other.ranker), (one.towers, other.towers)):
        state = theirs.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in mine.state_dict().items())
    assert one.history == other.history
    assert one.tower_losses == other.tower_losses
    assert one.calibration == other.calibration


# Checkpoints of a run: towers 2 + one for each of the later fit days, ranker 3, then the refit's.
@pytest.mark.parametrize("last", [1, 3, 6, 9])
def test_a_killed_run_ends_as_if_it_had_not_been(
    last: int, data: Dataset, unbroken: tuple[Run, Run], tmp_path: Path
) -> None:
    doomed = Doomed(tmp_path, _config())
    doomed.last = last
    with pytest.raises(Killed):
        _whole(data, doomed)
    torch.manual_seed(99)  # nothing of the old process is left
    resumed = _whole(data, Keeper(tmp_path, _config(), resume=True))
    for one, other in zip(resumed, unbroken, strict=True):
        _same(one, other)


def test_what_is_done_is_not_done_again(data: Dataset, tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, _config())
    train(data, _config(), keeper)
    again = Doomed(tmp_path, _config(), resume=True)
    again.last = 1  # the first checkpoint would be the last
    train(data, _config(), again)


def test_another_run_s_checkpoint_is_refused_and_its_own_taken(tmp_path: Path) -> None:
    Keeper(tmp_path, _config()).save("towers", {"loss": 1.0})
    with pytest.raises(ValueError, match="other settings"):
        Keeper(tmp_path, _config(seed=2), resume=True)
    assert Keeper(tmp_path, _config(), resume=True).load("towers")["loss"] == 1.0
    assert Keeper(tmp_path, _config()).load("towers") is None  # not asked to resume


def test_a_part_stays_as_it_was_saved(tmp_path: Path) -> None:
    keeper, tensor = Keeper(tmp_path, _config()), torch.zeros(2)
    keeper.save("ranker", {"weight": tensor})
    tensor.fill_(5)  # as folding the calibration does
    keeper.save("refit towers", {})
    assert Keeper(tmp_path, _config(), resume=True).load("ranker")["weight"].tolist() == [0, 0]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"PK half of it")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: not a checkpoint"):
        Keeper(tmp_path, _config(), resume=True)


def test_the_checkpoint_goes_when_the_run_is_done(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, _config())
    keeper.save("towers", {})
    keeper.finish()
    assert list(tmp_path.iterdir()) == []


# ---- TensorBoard ----


@dataclass
class _Board:
    folder: str
    seen: dict[str, list[tuple[int, float]]]

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.seen.setdefault(name, []).append((step, value))

    def flush(self) -> None: ...

    def close(self) -> None: ...


def test_losses_go_to_tensorboard(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = lambda folder: _Board(folder, {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    config = _config(tensorboard=True)
    keeper = Keeper(tmp_path, config)
    run = train(data, config, keeper)
    assert keeper.board.folder == str(tmp_path / "tensorboard")
    assert run.history is not None
    wanted = [(one["epoch"], one["tune"]["click"]) for one in run.history.epochs]
    assert keeper.board.seen["ranker/click"] == wanted
    assert len(keeper.board.seen["towers/loss"]) == len(run.tower_losses)


def test_tensorboard_that_is_not_installed_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    arguments = ["train", "--data", "simulate:cats=1", "--out", str(tmp_path / "run"), "--tensorboard"]
    assert main(arguments) == 2
    assert "pip install tensorboard" in capsys.readouterr().err


@pytest.mark.skipif(not LONG, reason="a minute: VIREO_LONG=1")
def test_a_process_that_was_killed_can_be_resumed(tmp_path: Path) -> None:
    needs_library()
    settings = tmp_path / "run.yaml"
    data = "simulate:viewers=80,videos=120,creators=20,days=8,history_days=3,sessions_per_day=1.0"
    settings.write_text(_config(data=data, bootstrap=20).as_yaml())
    command = [sys.executable, "-m", "vireo_models", "train", "--config", str(settings), "--out"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3] / "models")}
    process = subprocess.Popen([*command, str(tmp_path / "killed")], env=environment)
    while not (tmp_path / "killed" / FILE).exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for name, option in (("killed", "--resume"), ("whole", "--resume")):
        subprocess.run([*command, str(tmp_path / name), option], env=environment, check=True)
    weights = [tmp_path / name / "bundle" / "weights.safetensors" for name in ("killed", "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
