"""The C engine for oracles: bundles to ask about, rows to ask with, and the program that answers.

`bundle_names()` are the small random bundle in four architectures, the demo bundle where it is there, and the
one that VIREO_PARITY_BUNDLE names (a trained one). Arrays are [rows, width], raw rows float64.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from support import tiny_bundle
from vireo_models.features_reference import RECENT_MAX

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VIREO_BUILD_DIR", ROOT / "build" / "release"))
PROGRAM = Path(os.environ.get("VIREO_ENGINE_ROWS", BUILD.parent / "asan" / "tests" / "oracle_engine_rows"))
TENSORS = ("viewer.raw", "context.raw", "viewer.hist_tower", "viewer.hist_content")
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Bundle:
    """A bundle as Python reads it, without any of our C code."""

    folder: Path
    manifest: dict
    weights: Tensors
    videos: Tensors
    golden: Tensors

    @property
    def tower(self) -> np.ndarray:
        """float32 [videos, tower_dim]."""
        return self.videos["tower"].astype(np.float32)

    @property
    def content(self) -> np.ndarray:
        """float32 [videos, content_dim]."""
        return (
            self.videos["content"].astype(np.float32)
            / np.float32(127)
            * self.videos["content.scale"][:, None]
        )


def read(folder: Path) -> Bundle:
    """Every file of a bundle."""
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    files = [load_file(folder / f"{name}.safetensors") for name in ("weights", "videos", "golden")]
    return Bundle(folder, manifest, *files)


def bundle_names() -> list[str]:
    """Names for pytest parameters: architectures of the small bundle, then folders."""
    folders = [ROOT / "models" / "demo"]
    if "VIREO_PARITY_BUNDLE" in os.environ:
        folders.append(Path(os.environ["VIREO_PARITY_BUNDLE"]))
    return [*tiny_bundle.ARCHITECTURES, *(str(f) for f in folders if (f / "bundle.json").exists())]


def open_bundle(name: str, scratch: Path) -> Bundle:
    """The bundle of one of `bundle_names`; a small one is written to `scratch` first."""
    if name not in tiny_bundle.ARCHITECTURES:
        return read(Path(name))
    parts = tiny_bundle.build(tiny_bundle.Options(architecture=name, videos=1500))
    return read(tiny_bundle.write(parts, scratch / name))


def draw_rows(bundle: Bundle, count: int, seed: int) -> dict[str, np.ndarray]:
    """`count` rows of real raw values: the golden cases, then new pairings of their viewers and videos."""
    rng = np.random.default_rng(seed)
    cases = bundle.golden["video.row"].size
    viewer, video = (
        np.concatenate([np.arange(min(cases, count)), rng.integers(0, cases, max(0, count - cases))])
        for _ in range(2)
    )
    rows = {name: bundle.golden[name][viewer] for name in TENSORS}
    return rows | {name: bundle.golden[name][video] for name in ("video.row", "video.raw", "pair.raw")}


def draw_recent(bundle: Bundle, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recent watches of `count` viewers: how many [n], video [n, 50] (some unknown: -1), flags [n, 50]."""
    rng = np.random.default_rng(seed)
    videos = bundle.videos["safety"].size
    length = rng.integers(0, RECENT_MAX + 1, count).astype(np.uint32)
    video = rng.integers(-1, videos, (count, RECENT_MAX)).astype(np.int32)
    return length, video, rng.integers(0, 16, (count, RECENT_MAX)).astype(np.uint32)


def ask(bundle: Bundle, index: str, mode: str, arrays: list[np.ndarray], scratch: Path) -> np.ndarray:
    """Run the program on `arrays` in order; its output as 4-byte words."""
    request, answer = scratch / f"{mode}.in", scratch / f"{mode}.out"
    request.write_bytes(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))
    command = [str(PROGRAM), str(bundle.folder), index, mode, str(request), str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return np.fromfile(answer, dtype=np.uint32)


def split(words: np.ndarray, *parts: tuple[tuple[int, ...], type]) -> list[np.ndarray]:
    """Cut the words into arrays of (shape, 4-byte dtype)."""
    result, at = [], 0
    for shape, dtype in parts:
        size = int(np.prod(shape))
        result.append(words[at : at + size].view(dtype).reshape(shape))
        at += size
    assert at == words.size
    return result
