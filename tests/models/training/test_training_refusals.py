"""What the command line refuses, each beside a message that names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vireo_models import config
from vireo_models.__main__ import main
from vireo_models.export import _replace
from vireo_models.report import as_json

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ("kuairand", "kuairand"),
        ("kuairand:", "kuairand"),
        ("movielens:here", "movielens"),
        ("simulate:viewers=no", "no"),
        ("simulate:cats=3", "cats"),
        ("simulate:viewers=1", "viewers"),
        ("simulate:days=3,viewers=20,videos=100", "days"),
        ("simulate:viewers", "viewers="),
        ("simulate:start=soon", "start=soon"),
        ("simulate:start=", "start="),
        ("simulate:sessions_per_day=0,viewers=20,videos=100", "nobody opened the app"),
    ],
)
def test_bad_data_is_refused(data: str, word: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["train", "--data", data, "--out", str(tmp_path / "run")]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path: Path, capsys: Capture) -> None:
    assert main(["train", "--data", f"kuairand:{tmp_path / 'nowhere'}", "--out", str(tmp_path / "run")]) == 2
    assert "nowhere" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["train", "--data", f"kuairand:{tmp_path / 'empty'}", "--out", str(tmp_path / "run")]) == 2
    assert "log_2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"ranker": {"expert": 3}}', "ranker.expert"),
        ('{"tower": {"epochs": "many"}}', "tower.epochs"),
        ('{"tower": 3}', "tower"),
        ('{"seed": 1.5}', "seed"),
        ('{"seed": -1}', "seed"),
        ('{"threads": 0}', "threads"),
        ('{"as_dict": 1}', "as_dict"),
        ('{"tower": {"temperature": 0}}', "tower.temperature"),
        ('{"tower": {"user_layers": [8, "a"]}}', "tower.user_layers"),
        ('{"tower": {"item_layers": [8, 8, 8, 8]}}', "tower.item_layers"),
        ('{"ranker": {"architecture": "mlp"}}', "ranker.architecture"),
        ('{"ranker": {"dropout": 1.0}}', "ranker.dropout"),
        ('{"ranker": {"lr": NaN}}', "ranker.lr"),
        ('{"ranker": {"loss_weight": {"clicks": 1}}}', "ranker.loss_weight.clicks"),
        ('{"ranker": {"loss_weight": {"click": -1}}}', "ranker.loss_weight.click"),
        ("[]", "configuration"),
        ("{", "line 1"),
        ("tower:\n  epochs: 3\n  epochs: 4", "'epochs' is there twice"),
        ("tower: {epoch: 3}", "tower.epoch: no such"),
        ("report_days: [20220505, 20221301]", "report_days: 20221301"),
        ("report_days: ['20220505']", "report_days"),
        ("ranker: {lr: .nan}", "ranker.lr"),
        ("refit: 1", "refit: int given"),
    ],
)
def test_bad_settings_are_refused(text: str, word: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    arguments = ["train", "--data", "simulate", "--out", str(tmp_path / "run"), "--config", str(path)]
    assert main(arguments) == 2
    assert word in capsys.readouterr().err


def test_settings_replace_defaults(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        "ranker:\n  experts: 8  # of 128\n  lr: 1\n  table_lr: 2e-3\ncontent_dim: 32\nrefit: true\n"
    )
    found = config.load(path, seed=9)
    config.update(found, {"ranker": {"loss_weight": {"like": 2}}}, "")
    assert found.ranker.loss_weight == {"click": 1.0, "watch_s": 1.0, "like": 2.0, "finish": 1.0}
    assert (found.ranker.experts, found.ranker.lr, found.content_dim, found.seed) == (8, 1.0, 32, 9)
    assert (found.ranker.table_lr, found.refit) == (0.002, True)
    assert found.tower == config.TowerConfig()
    path.write_text(found.as_yaml())
    assert config.load(path) == found


def test_json_and_an_empty_file_are_yaml(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text(json.dumps({"ranker": {"weight_decay": 0.00001}, "report_days": [20220505]}))
    assert config.load(path).report_days == [20220505]
    path.write_text("# nothing\n")
    assert config.load(path) == config.Config()


def test_training_without_data_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert main(["train", "--out", str(tmp_path / "run")]) == 2
    assert "--data" in capsys.readouterr().err


def test_a_missing_settings_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match=r"none\.json"):
        config.load(tmp_path / "none.json")


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    new.mkdir()
    old.mkdir()
    (old / "letters.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="not a bundle"):
        _replace(new, old)
    assert (old / "letters.txt").read_text() == "keep me"
    (old / "bundle.json").write_text("{}")
    _replace(new, old)
    assert list(old.iterdir()) == []
    assert not new.exists()


def test_a_bundle_is_still_there_when_its_successor_cannot_be_moved(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "bundle.json").write_text("{}")
    with pytest.raises(FileNotFoundError):
        _replace(tmp_path / "never written", old)
    assert (old / "bundle.json").read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("command", ["train", "demo"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    command: str, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "file").write_text("keep me")
    (tmp_path / "other" / "bundle").mkdir(parents=True)
    (tmp_path / "other" / "bundle" / "letters.txt").write_text("keep me")
    other = tmp_path / "other" if command == "train" else tmp_path / "other" / "bundle"
    data = ["--data", "simulate:cats=3"] if command == "train" else []  # refused too, but later
    for place, word in ((tmp_path / "file" / "run", "not a folder"), (other, "not a bundle")):
        assert main([command, "--out", str(place), *data]) == 2
        assert word in capsys.readouterr().err


@pytest.mark.parametrize("days", ["soon", "20220505,", "20221340", ""])
def test_days_that_are_none_are_refused(days: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--bundle", "none", "--data", "simulate", "--days", days])
    assert stop.value.code == 2 and "YYYYMMDD" in capsys.readouterr().err


def test_figures_that_are_not_finite_are_null() -> None:
    assert json.loads(as_json({"auc": float("nan"), "parts": [float("inf"), 1.5], "rows": 3})) == {
        "auc": None,
        "parts": [None, 1.5],
        "rows": 3,
    }


def test_a_bundle_that_is_not_there_is_refused(tmp_path: Path, capsys: Capture) -> None:
    arguments = [
        "evaluate",
        "--bundle",
        str(tmp_path / "none"),
        "--data",
        "simulate:viewers=20,videos=100,creators=9",
    ]
    assert main([*arguments, "--days", "20260101"]) == 2
    assert capsys.readouterr().err
