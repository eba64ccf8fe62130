"""bench/soak.py: a minute of it on the small bundle, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest
from live import BINARY, ROOT, clean_environment

sys.path.insert(0, str(ROOT / "bench"))

import soak


def test_a_minute_is_flat(bundle: Path) -> None:
    """Flat memory and no error; that p99 is flat too is judged where nothing else runs (make bench-long)."""
    words = [
        "--minutes",
        "1",
        "--rate",
        "60",
        "--viewers",
        "40",
        "--bundle",
        str(bundle),
        "--vireo",
        str(BINARY),
    ]
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/soak.py"), *words],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=clean_environment(),
    )
    complaints = [line for line in done.stderr.splitlines() if "p99_ms went" not in line]
    assert not complaints, done.stdout + done.stderr
    assert done.returncode == (1 if done.stderr else 0)
    assert done.stdout.count("window") == soak.WINDOWS


def windows(**last: float) -> list[soak.Window]:
    """A run that is well but for its last third."""
    good = {"rss_mib": 100.0, "p99_ms": 5.0, "offered": 10, "ok": 10, "degraded": 0}
    return [soak.Window(**{**good, **(last if i >= 26 else {})}) for i in range(40)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("last", "word"),
    [
        ({"rss_mib": 109.0}, "rss_mib"),
        ({"p99_ms": 8.0}, "p99_ms"),
        ({"ok": 9}, "14 requests"),
    ],
)
def test_what_rises_or_fails_is_told(last: dict[str, float], word: str) -> None:
    assert soak.judge(windows()) == []
    (complaint,) = soak.judge(windows(**last))
    assert word in complaint


def test_what_lies_within_the_bounds_is_not() -> None:
    assert soak.judge(windows(rss_mib=107.0, p99_ms=6.9)) == []
