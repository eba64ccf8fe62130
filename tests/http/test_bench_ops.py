"""`vireo bench ops`: all operations and kinds of index of the CPU backend, with ratios to measured limits."""

import json
from typing import Any

import pytest
from live import run_vireo

SHORT = ("--rows=2000", "--seconds=0.001")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file of one short run."""
    file = tmp_path_factory.mktemp("ops") / "ops.json"
    done = run_vireo("bench", "ops", *SHORT, "--json", str(file))
    assert done.returncode == 0, done.stderr
    parsed = json.loads(file.read_text())
    for one in parsed["results"]:
        assert f"{one['operation']:<32} {one['shape']:<44}" in done.stdout
    return parsed


def named(result: dict[str, Any], start: str) -> list[dict[str, Any]]:
    """The results whose operation begins so."""
    return [one for one in result["results"] if one["operation"].startswith(start)]


def test_limits_are_measured(result: dict[str, Any]) -> None:
    limits = result["limits"]
    assert limits["gflops"] > 0 and limits["copy_gb_s"] > 0
    sizes = [one["bytes"] for one in limits["reading"]]
    assert sizes == sorted(sizes) and all(one["gb_s"] > 0 for one in limits["reading"])


def test_every_operation_is_there(result: dict[str, Any]) -> None:
    for operation in ("copy", "gather", "pool", "linear", "expert mix", "task heads", "normalize", "search"):
        assert named(result, operation), operation
    assert len(named(result, "linear")) == 6
    for one in result["results"]:
        assert one["us"] > 0 and one["calls"] >= 5


def test_ratios_follow_from_the_limits(result: dict[str, Any]) -> None:
    limits = result["limits"]
    reading = {one["bytes"]: one["gb_s"] for one in limits["reading"]}
    arithmetic = 0
    for one in result["results"]:
        if one["ratio"] is None:
            assert one["bound"] is None
            continue
        if one["bound"] == "arithmetic":
            arithmetic += 1
            assert one["ratio"] == pytest.approx(one["gflops"] / limits["gflops"])
        elif one["bound"] == "copying":
            assert one["ratio"] == pytest.approx(one["gb_s"] / limits["copy_gb_s"])
        else:
            assert any(one["ratio"] == pytest.approx(one["gb_s"] / speed) for speed in reading.values())
    assert arithmetic > 0
    # 512 rows x 256 x 4,096 products of two operations.
    first = named(result, "linear, first layers")[0]
    assert first["gflops"] * first["us"] == pytest.approx(2 * 512 * 256 * 4096 / 1e3)


def test_searches_are_judged(result: dict[str, Any]) -> None:
    searches = named(result, "search")
    by_kind = {one["operation"]: one["recall"] for one in searches}
    assert by_kind["search, exact fp32"] == 1
    assert 0.99 < by_kind["search, exact fp16"] <= 1 and 0.9 < by_kind["search, exact int8 rows"] < 1
    assert by_kind["search, faiss_flat"] > 0.999 and by_kind["search, faiss_hnsw"] > 0.9
    for one in searches:
        assert one["queries_per_s"] > 0
    # Of lists and graphs nobody can say how much they should read.
    assert named(result, "search, faiss_ivf")[0]["ratio"] is None


def test_what_is_not_there_is_said() -> None:
    done = run_vireo("bench", "ops", "--rows=999", "--seconds=0.001")
    assert done.returncode == 2 and "--rows" in done.stderr
    done = run_vireo("bench", "ops", "--backend=cuda", *SHORT)
    assert done.returncode in (0, 1) and ("cuda" in done.stdout + done.stderr)
