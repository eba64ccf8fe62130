"""bench/goals.py and bench/peers/frame.py: figures out of result files, and what is said of missing ones."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "bench/peers")]

import frame  # noqa: E402
import goals  # noqa: E402


def level(loop: str, p50: float, p99: float, **more: float) -> dict[str, Any]:
    cpu = {"retrieve": 50.0, "merge": 10.0, "rank": 900.0, "rerank": 20.0, "other": 4.0}
    return {"loop": loop, "p50_us": p50, "p99_us": p99, "cpu_us_a_request": cpu, **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of a run of `feed` and `ops`, and of one comparison."""
    levels = [
        level("closed", 1000.0, 2000.0, concurrency=1),
        level("closed", 9000.0, 9900.0, concurrency=16),
        level("open", 1100.0, 8000.0),
        level("open", 2200.0, 9000.0),
    ]
    (tmp_path / "feed.json").write_text(json.dumps({"bench": "feed", "levels": levels}))
    ops = {"bench": "ops", "results": [{"operation": "linear, first layers", "ratio": 0.9}]}
    (tmp_path / "ops.json").write_text(json.dumps(ops))
    rows = [frame.row("whole feed, p99 < 50 ms", 300.0, 100.0, "requests/s")]
    rows += [frame.row("whole feed, CPU of a request", 2.0, 4.0, "ms", less=True)]
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers/feed.json").write_text(json.dumps({"bench": "feed", "rows": rows}))
    (tmp_path / "peers/load.json").write_text(json.dumps({"bench": "load"}))
    return tmp_path


def test_goals_are_judged_by_the_files(folder: Path) -> None:
    found = {one["what"]: one for one in goals.judge(goals.read(folder))}
    assert found["CPU of a request beside the ranker"]["measured"] == 84.0
    assert found["CPU of a request beside the ranker"]["ratio"] == pytest.approx(128 / 84)
    assert found["p50 at half load / idle"]["measured"] == pytest.approx(1.1)
    assert found["p99 at half load / idle"]["ratio"] == pytest.approx(3 / 4)
    assert found["ranker's first layers / multiply-adds of a core"]["measured"] == 0.9
    assert found["whole feed, requests/s / Python service"]["measured"] == 3.0
    assert found["whole feed, CPU of a request / Python service"]["measured"] == 2.0
    assert found["front, fixed answer of 1.5 KB, CPU / nginx return"]["measured"] is None


def test_the_table_marks_what_is_missed_and_what_is_missing(folder: Path) -> None:
    script = [sys.executable, str(ROOT / "bench/goals.py")]
    done = subprocess.run([*script, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = {line[:54].strip(): line for line in done.stdout.splitlines()}
    assert lines["p99 at half load / idle"].endswith("0.75!")
    assert lines["p50 at half load / idle"].rstrip().endswith("1.09")
    assert "not measured" in lines["front, parse to print, CPU / evhttp"]
    assert len(lines) == len(goals.GOALS) + 1
    wrong = subprocess.run([*script, str(folder / "none")], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2


def test_an_empty_folder_measures_nothing(tmp_path: Path) -> None:
    assert {one["measured"] for one in goals.judge(goals.read(tmp_path))} == {None}


def test_ratios_tell_how_many_times_as_good_vireo_is() -> None:
    assert frame.row("rate", 30.0, 10.0, "1/s")["ratio"] == 3.0
    assert frame.row("time", 5.0, 10.0, "ms", less=True)["ratio"] == 2.0
    assert frame.row("rate", None, 10.0, "1/s")["ratio"] is None


def test_a_result_names_machine_commit_and_versions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [frame.row("rate", 30.0, 10.0, "1/s"), frame.row("other", None, 10.0, "1/s")]
    frame.finish("some", rows, {"threads": 1}, not_there={"a peer": "no wheel"}, folder=tmp_path)
    whole = json.loads((tmp_path / "some.json").read_text())
    assert whole["machine"]["cores"] >= 1 and whole["commit"] and whole["settings"] == {"threads": 1}
    assert set(whole["versions"]) == set(frame.PEERS)
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "a peer: not there: no wheel" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.json", "some.png"]


def test_a_comparison_that_is_not_there_is_named() -> None:
    script = [sys.executable, str(ROOT / "bench/peers/run.py"), "nothing"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "nothing" in done.stderr
