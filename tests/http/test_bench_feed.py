"""`vireo bench feed`: closed and open loop in process, their figures, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from live import BINARY, run_vireo

SHORT = {"seconds": "0.2", "runs": "1", "concurrency": "1,8", "rates": "40"}


def words(bundle: Path, **changed: str) -> list[str]:
    """A short run's command line."""
    flags = {**SHORT, **changed}
    return [
        "bench",
        "feed",
        "--bundle",
        str(bundle),
        *(f"--{flag}={value}" for flag, value in flags.items() if value),
    ]


def measured(bundle: Path, folder: Path, **changed: str) -> dict[str, Any]:
    """The file of a run that succeeds."""
    file = folder / "feed.json"
    done = run_vireo(*words(bundle, json=str(file), **changed))
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())


def test_levels_tell_time_and_cpu_by_stage(bundle: Path, tmp_path: Path) -> None:
    result = measured(bundle, tmp_path)
    one, eight, rate = result["levels"]
    assert [level["loop"] for level in result["levels"]] == ["closed", "closed", "open"]
    assert (one["concurrency"], eight["concurrency"]) == (1, 8)
    assert one["batch"] == 1 < eight["batch"] <= 8
    for level in (one, eight, rate):
        assert level["answers"] > 0 and level["failed"] == level["refused"] == 0
        assert level["p50_us"] <= level["p90_us"] <= level["p99_us"] <= level["p999_us"] <= level["max_us"]
        cpu, wall = level["cpu_us_a_request"], level["wall_us_a_batch"]
        assert cpu["rank"] > cpu["merge"] > 0 and cpu["rerank"] > 0 and cpu["driver"] > 0
        assert all(wall[stage] > 0 for stage in ("queue", "retrieve", "merge", "rank", "rerank"))
        assert level["allocations_a_request"] is None  # nothing counts them here
    # A step of one request takes at least its thread's CPU on the clock, which is cut to microseconds.
    assert one["wall_us_a_batch"]["rank"] + 1 >= one["cpu_us_a_request"]["rank"]
    # Of 40 a second for 0.2 s; the seed decides which.
    assert rate["offered_per_s"] * 0.2 == pytest.approx(rate["answers"])


def test_allocations_are_counted_where_the_library_is(bundle: Path, tmp_path: Path) -> None:
    library = BINARY.parent / "libvireo_allocations.so"
    if not library.exists():
        pytest.skip("a build with sanitizers has no such library")
    file = tmp_path / "feed.json"
    done = run_vireo(*words(bundle, json=str(file)), env={"LD_PRELOAD": str(library)})
    assert done.returncode == 0, done.stderr
    for level in json.loads(file.read_text())["levels"]:
        assert 0 <= level["allocations_a_request"] < 10


def test_an_open_loop_does_not_wait_for_answers(bundle: Path, tmp_path: Path) -> None:
    """At a rate that no machine reaches here, what waits is in the latency and what is refused is counted."""
    (level,) = measured(bundle, tmp_path, rates="200000", concurrency="1", seconds="0.1")["levels"][1:]
    assert level["refused"] > 0
    assert level["offered_per_s"] == pytest.approx(200_000, rel=0.05)
    assert level["answers"] + level["refused"] == pytest.approx(level["offered_per_s"] * 0.1)
    assert level["p50_us"] > 10 * level["wall_us_a_batch"]["merge"]


def test_without_rates_the_closed_loop_gives_them(bundle: Path, tmp_path: Path) -> None:
    result = measured(bundle, tmp_path, rates="", concurrency="2")
    assert [level["loop"] for level in result["levels"]] == ["closed", "open", "open"]


@pytest.mark.parametrize(
    ("flag", "wrong", "right"),
    [
        ("concurrency", "0", "1"),
        ("concurrency", "4,2", "2,4"),
        ("rates", "-1", "1"),
        ("rates", "5,5", "5,6"),
        ("runs", "16", "2"),
        ("seconds", "0.01", "0.05"),
        ("backend", "gpu", "cpu"),
        ("lanes", "17", "1"),
    ],
)
def test_a_wrong_value_is_refused_and_its_twin_is_not(
    bundle: Path, flag: str, wrong: str, right: str
) -> None:
    changed = {"seconds": "0.05", "concurrency": "1", "rates": "20"}
    done = run_vireo(*words(bundle, **{**changed, flag: wrong}))
    first, rest = done.stderr.split("\n", 1)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--{flag}" in first and rest.startswith("usage: vireo bench")
    done = run_vireo(*words(bundle, **{**changed, flag: right}))
    assert done.returncode == 0, done.stderr
