"""Fixtures of the live tests: a tiny bundle, and servers on it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from live import BINARY, ROOT, Server, running


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of 300 videos and 40 viewers ("1" to "40" by the generator's naming)."""
    assert BINARY.exists(), f"{BINARY} is missing: run `make build`"
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    script = ROOT / "tests/support/tiny_bundle.py"
    subprocess.run(
        [sys.executable, str(script), str(folder), "--videos", "300", "--viewers", "40", "--seed", "1"],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="session")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server, record_served off, shared by tests that leave no marks on each other."""
    with running(bundle, tmp_path_factory.mktemp("server"), "--set", "rerank.record_served=false") as one:
        yield one
