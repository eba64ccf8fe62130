"""bench/run.sh over stand-ins: its parts, what --long changes, and that a failure ends no other part."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Notes its words, and writes the file behind --json as `vireo bench` does.
VIREO = """#!/bin/sh
echo "vireo $*" >>calls
[ "$2" != "$FAIL" ] || exit 3
while [ "$1" != --json ]; do shift; done
echo '{}' >"$2"
"""
PEERS = """import os, pathlib, sys
pathlib.Path("calls").open("a").write("peers " + " ".join(sys.argv[1:]) + "\\n")
pathlib.Path("build/peers").mkdir(parents=True, exist_ok=True)
pathlib.Path("build/peers/feed.json").write_text("{}")
sys.exit(4 if os.environ["FAIL"] == "peers" else 0)
"""
GOALS = """import pathlib, sys
found = sorted(str(p.relative_to(sys.argv[1])) for p in pathlib.Path(sys.argv[1]).rglob("*.json"))
print("goals of", *found, *sys.argv[2:])
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with all that the script starts."""
    for name, text in {
        "tools/cmake": "#!/bin/sh\n",
        "build/release/vireo": VIREO,
        "bench/peers/run.py": PEERS,
        "bench/goals.py": GOALS,
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    shutil.copy(ROOT / "bench/run.sh", tmp_path / "bench/run.sh")
    return tmp_path


def run(tree: Path, *words: str, fail: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": f"{tree}/tools:{os.environ['PATH']}", "FAIL": fail}
    command = ["sh", str(tree / "bench/run.sh"), *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def calls(tree: Path) -> list[str]:
    return (tree / "calls").read_text().splitlines()


def test_the_short_form_keeps_nothing(tree: Path) -> None:
    done = run(tree)
    assert done.returncode == 0, done.stderr
    ops, feed, peers = calls(tree)
    assert ops.startswith("vireo bench ops") and "--rows 100000" in ops
    assert feed.startswith("vireo bench feed --bundle models/demo") and "--seconds 1" in feed
    assert peers == "peers --short"
    assert done.stdout.splitlines()[-1] == "goals of feed.json ops.json peers/feed.json"


def test_the_long_form_is_kept(tree: Path) -> None:
    done = run(tree, "--long", "some/bundle")
    assert done.returncode == 0, done.stderr
    ops, feed, peers = calls(tree)
    assert "--rows 1000000" in ops and "--bundle some/bundle" in feed and "--seconds 10" in feed
    assert peers.strip() == "peers"
    assert done.stdout.splitlines()[-1].endswith("peers/feed.json --keep")


@pytest.mark.parametrize("part", ["ops", "feed", "peers"])
def test_a_part_that_fails_does_not_keep_the_others(tree: Path, part: str) -> None:
    done = run(tree, fail=part)
    assert done.returncode == 1
    assert len(calls(tree)) == 3 and "goals of" in done.stdout
    (tree / "calls").unlink()
    assert run(tree).returncode == 0
