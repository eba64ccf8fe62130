"""Corrupt, truncated, wrongly shaped and hostile bundles, opened by the C reader under ASan and UBSan.

Each is refused with a message that names what is wrong, beside its valid twin, the same bundle without the
one fault, which opens. The faults are in bundle_cases.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from oracle.bundle_cases import ACCEPTED, REFUSED, Case
from support import tiny_bundle

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VIREO_BUILD_DIR", ROOT / "build" / "release"))
PROGRAM = BUILD.parent / "asan" / "tests" / "oracle_bundle"
AS_OF_MS = 1_700_000_000_000


def open_bundle(*arguments: str | Path) -> str:
    """What the program says; it ends with 0 unless it crashed, leaked or stumbled."""
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid bundle; tests copy it."""
    return tiny_bundle.write(tiny_bundle.build(), tmp_path_factory.mktemp("bundle") / "sound")


def make(case: Case, folder: Path) -> Path:
    """The bundle of a case, with its fault."""
    tiny_bundle.write(tiny_bundle.build(), folder, mutate=case.parts)
    if case.disk is not None:
        case.disk(folder)
    return folder


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_fault_is_refused_and_its_twin_opens(case: Case, sound: Path, tmp_path: Path) -> None:
    twin = shutil.copytree(sound, tmp_path / "twin")
    assert open_bundle(twin) == "ok 300 videos, 40 viewers"
    answer = open_bundle(make(case, tmp_path / "bundle"))
    assert not answer.startswith("ok"), "it is accepted"
    assert "\n" not in answer
    for words in case.says:
        assert words in answer, answer


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_unusual_bundles_are_accepted(case: Case, tmp_path: Path) -> None:
    assert open_bundle(make(case, tmp_path / "bundle")).startswith("ok 300 videos")


@pytest.mark.parametrize("architecture", tiny_bundle.ARCHITECTURES)
@pytest.mark.parametrize("tower_dim", [8, 64, 256])
def test_every_architecture_opens(architecture: str, tower_dim: int, tmp_path: Path) -> None:
    options = tiny_bundle.Options(videos=50, viewers=5, architecture=architecture, tower_dim=tower_dim)
    assert open_bundle(tiny_bundle.write(tiny_bundle.build(options), tmp_path)) == "ok 50 videos, 5 viewers"


def test_the_folder_is_missing(tmp_path: Path) -> None:
    assert open_bundle(tmp_path / "none").startswith("not_found: ")


def test_a_path_too_long(tmp_path: Path) -> None:
    """It is refused, and does not push the reason out of the message."""
    for length, status, reason in (
        (100, "not_found", "No such file"),
        (2040, "not_found", "No such file"),
        (2100, "invalid", "too long"),
    ):
        answer = open_bundle("x/" * length)
        assert answer.startswith(f"{status}: bundle x/x/")
        assert reason in answer


def test_memory_runs_out_at_every_moment(tmp_path: Path) -> None:
    options = tiny_bundle.Options(videos=12, viewers=3, architecture="ple", tower_dim=8, content_dim=8)
    answer = open_bundle("--no-memory", tiny_bundle.write(tiny_bundle.build(options), tmp_path))
    assert answer.startswith("ok after ")
    assert int(answer.split()[-1]) > 50
