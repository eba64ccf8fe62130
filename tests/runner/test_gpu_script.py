"""bench/gpu.sh without a GPU: shell scripts stand for the programs that it builds."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("test", "sanitize", "ceilings", "scan", "ranker", "feed", "peers")
NO_DEVICE, LATE = 77, 124
DEVICE = '#!/bin/sh\necho \'{"bench":"ceilings","device":"Test GPU 1"}\'\n'
ABSENT = "#!/bin/sh\necho 'no device: none is there' >&2\nexit 77\n"
PASSED = "#!/bin/sh\necho '[====] Synthesis: Tested: 1 | Passing: 1 | Failing: 0 | Crashing: 0'\n"
EMPTY = "#!/bin/sh\necho '[====] Synthesis: Tested: 0 | Passing: 0 | Failing: 0 | Crashing: 0'\n"
SKIPPED = "#!/bin/sh\necho 'skipped: no device'\nexit 77\n"
BROKEN = "#!/bin/sh\necho 'something is wrong' >&2\nexit 3\n"
SCAN = '#!/bin/sh\necho "{\\"bench\\":\\"scan\\",\\"rows\\":$2,\\"dim\\":$3,\\"dtype\\":\\"$4\\"}"\n'
# What `vireo bench` writes to the file behind --json: of `backends` and of `feed`.
BENCH = """#!/bin/sh
kind=$2
while [ "$1" != --json ]; do [ "$1" != --backend ] || backend=$2; shift; done
if [ "$kind" = feed ]; then {0}; echo "{{\\"backend\\":\\"$backend\\"}}" >"$2"; exit; fi
echo '{{"backends":[{{"backend":"cuda","measured":{1}}}]}}' >"$2"
"""


def program(path: Path, text: str) -> None:
    """An executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with all that the script starts, on a machine with a device."""
    for name in ("gpu.sh", "collect.py"):
        (tmp_path / "bench").mkdir(exist_ok=True)
        shutil.copy(ROOT / "bench" / name, tmp_path / "bench" / name)
    built = tmp_path / "build/gpu"
    program(built / "bench/bench_ceilings", DEVICE)
    program(built / "bench/bench_scan", SCAN)
    program(built / "tests/test_kernels_a", PASSED)
    program(built / "tests/test_kernels_b", PASSED)
    program(built / "vireo", BENCH.format(":", "true"))
    program(built / "yardstick/bundle.json", "")
    program(tmp_path / "tools/compute-sanitizer", f"{PASSED}\n")
    return tmp_path


def run(tree: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The script with these words."""
    paths = {"PATH": f"{tree}/tools:{os.environ['PATH']}", "PYTHON": "python3"}
    return subprocess.run(
        ["bash", str(tree / "bench/gpu.sh"), *words],
        env={**os.environ, **paths, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def results(tree: Path) -> dict[str, object]:
    """The stages in the one result file."""
    (file,) = (tree / "bench/results").glob("test-gpu-1-????-??-??.json")
    whole = json.loads(file.read_text())
    assert whole["device"]["device"] == "Test GPU 1"
    return whole["stages"]


@pytest.mark.parametrize("stage", STAGES)
def test_without_a_device_nothing_is_run(tree: Path, stage: str) -> None:
    program(tree / "build/gpu/bench/bench_ceilings", ABSENT)
    done = run(tree, stage)
    assert done.returncode == NO_DEVICE
    assert f"{stage}: no device, nothing was run" in done.stderr
    assert not (tree / "bench/results").exists()
    assert list((tree / "build/gpu/results").iterdir()) == []


@pytest.mark.parametrize("stage", STAGES)
def test_without_a_build_a_stage_fails(tree: Path, stage: str) -> None:
    shutil.rmtree(tree / "build")
    done = run(tree, stage)
    assert done.returncode == 1 and "run the stage build first" in done.stderr


def test_results_of_stages_come_together(tree: Path) -> None:
    for stage in ("scan", "ceilings", "test", "sanitize", "ranker", "feed"):
        done = run(tree, stage)
        assert done.returncode == 0, done.stderr
    found = results(tree)
    assert set(found) == {
        *("scan", "ceilings", "test", "sanitize", "ranker", "feed"),
        *("feed_in_process_cpu", "feed_in_process_cuda"),
    }
    assert found["test"]["programs_passed"] == 2
    assert {(one["rows"], one["dtype"]) for one in found["scan"]} >= {(10_000_000, "i8"), (100_000, "f32")}
    assert found["feed_in_process_cuda"]["backend"] == "cuda"


@pytest.mark.parametrize(
    ("name", "stage", "text"),
    [
        ("bench/bench_scan", "scan", BROKEN),
        # One failure in the middle of the table, and good results behind it.
        ("bench/bench_scan", "scan", f'{SCAN}[ "$4" != i8 ] || exit 3\n'),
        ("tests/test_kernels_a", "test", BROKEN),
        ("tests/test_kernels_a", "test", EMPTY),
        ("vireo", "ranker", BROKEN),
        ("vireo", "feed", BENCH.format(":", "false")),
        ("vireo", "feed", BENCH.format("exit 3", "true")),
    ],
)
def test_what_fails_leaves_no_result(tree: Path, name: str, stage: str, text: str) -> None:
    good = (tree / "build/gpu" / name).read_text()
    program(tree / "build/gpu" / name, text)
    done = run(tree, stage)
    assert done.returncode == 1, done.stderr
    assert f"{stage}: failed" in done.stderr
    assert not (tree / "bench/results").exists()
    assert run(tree, "ceilings").returncode == 0
    assert set(results(tree)) == {"ceilings"}
    program(tree / "build/gpu" / name, good)
    assert run(tree, stage).returncode == 0
    assert stage in results(tree)


def test_a_test_that_is_skipped_has_not_passed(tree: Path) -> None:
    program(tree / "build/gpu/tests/test_kernels_b", SKIPPED)
    done = run(tree, "test")
    assert done.returncode == NO_DEVICE and "test: not run" in done.stderr
    assert not (tree / "bench/results").exists()


def test_sanitizers_that_find_something_fail(tree: Path) -> None:
    program(tree / "tools/compute-sanitizer", f'{PASSED}[ "$2" != racecheck ] || exit 9\n')
    done = run(tree, "sanitize")
    assert done.returncode == 1 and "failed with 9: compute-sanitizer --tool racecheck" in done.stderr
    assert not (tree / "bench/results").exists()


def test_a_stage_ends_at_its_limit_and_the_next_is_run(tree: Path) -> None:
    program(tree / "build/gpu/bench/bench_scan", "#!/bin/sh\nexec sleep 60\n")
    done = run(tree, "scan", "ceilings", LIMIT="1")
    assert done.returncode == 1
    assert "scan: not done after 1 s" in done.stderr and "ceilings: done" in done.stderr
    assert set(results(tree)) == {"ceilings"}


@pytest.mark.parametrize(("words", "named"), [(["scna"], "scna"), (["--debs", "none", "scan"], "--debs")])
def test_wrong_words_are_refused(tree: Path, words: list[str], named: str) -> None:
    done = run(tree, *words)
    assert done.returncode == 2 and named in done.stderr
    assert run(tree, "scan").returncode == 0
