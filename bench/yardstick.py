"""Writes the yardstick bundle: 8 experts of 512 and 256, 4 gates, 4 towers of 128, vectors of 64.

    python bench/yardstick.py OUT [VIDEOS [INPUTS]]

Its content is that of the tests' random bundle (tests/support/tiny_bundle.py) with a ranker as large as one
that serves. INPUTS: `all`, what that bundle declares, some 300 columns; `vectors`, 256 columns: 128 of the
viewer (the user tower's output and the history), 64 of the video and 64 of its content; `cross`, these and 32
of the pair. Needs NumPy and safetensors.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "models"), str(ROOT / "tests")]

from support import tiny_bundle  # noqa: E402
from support.tiny_manifest import HEADS, Options, make_manifest  # noqa: E402

VECTORS = ["user_tower", "hist_tower", "tower", "content"]
INPUTS = {"all": None, "vectors": VECTORS, "cross": [*VECTORS, "cross"]}
plain_tables = tiny_bundle._tables
EXPERTS, HIDDEN, WIDTH, TOWER_HIDDEN = 8, 512, 256, 128

CROSS = {
    "name": "cross", "entity": "pair", "kind": "bucket", "field": "age_h", "table": "table.cross",
    "boundaries": [float(bound) for bound in range(1, 250)],
}  # fmt: skip


def yardstick(options: Options, inputs: list[str] | None) -> dict[str, Any]:
    """The tests' manifest with another size of ranker, and other inputs where they are given."""
    manifest = make_manifest(options)
    gates = [{"name": head, "input": 0, "experts": list(range(EXPERTS))} for head in HEADS]
    level = {"experts": EXPERTS, "hidden": HIDDEN, "width": WIDTH, "expert_input": [0] * EXPERTS}
    manifest["ranker"] |= {"levels": [level | {"gates": gates}], "tower_hidden": TOWER_HIDDEN}
    if inputs is not None:
        manifest["ranker"]["inputs"] = inputs
    if inputs is not None and "cross" in inputs:
        manifest["features"].append(CROSS)
    manifest["model_version"] = f"yardstick-{options.videos}"
    manifest["data"] = "random numbers, for measuring"
    return manifest


def tables(rng: np.random.Generator, options: Options, creators: int) -> dict[str, np.ndarray]:
    """The tests' tables, and one for the pair's 32 columns."""
    tensors = plain_tables(rng, options, creators)
    tensors["table.cross"] = 0.5 * rng.standard_normal((len(CROSS["boundaries"]) + 2, 32), dtype=np.float32)
    return tensors


def main(words: list[str]) -> int:
    """0: written; 2: wrong words."""
    videos, inputs = [*words[1:], *("100000", "all")[len(words) - 1 :]][:2] if words else ("", "")
    if not 1 <= len(words) <= 3 or not videos.isdigit() or inputs not in INPUTS:
        print(__doc__, file=sys.stderr)
        return 2
    if inputs == "cross":
        tiny_bundle._tables = tables
    tiny_bundle.make_manifest = lambda options: yardstick(options, INPUTS[inputs])
    options = Options(videos=int(videos), viewers=1000, tower_dim=64, content_dim=64)
    tiny_bundle.write(tiny_bundle.build(options), Path(words[0]))
    print(f"{words[0]}: {videos} videos")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
