"""Writes the yardstick bundle: 8 experts of 512 and 256, 4 gates, 4 towers of 128, vectors of 64.

    python bench/yardstick.py OUT [VIDEOS]

Its content is that of the tests' random bundle (tests/support/tiny_bundle.py) with a ranker as large as one
that serves; inputs are what that bundle declares, some 300 columns. Needs NumPy and safetensors.
"""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "models"), str(ROOT / "tests")]

from support import tiny_bundle  # noqa: E402
from support.tiny_manifest import HEADS, Options, make_manifest  # noqa: E402

EXPERTS, HIDDEN, WIDTH, TOWER_HIDDEN = 8, 512, 256, 128


def yardstick(options: Options) -> dict[str, Any]:
    """The tests' manifest with another size of ranker."""
    manifest = make_manifest(options)
    gates = [{"name": head, "input": 0, "experts": list(range(EXPERTS))} for head in HEADS]
    level = {"experts": EXPERTS, "hidden": HIDDEN, "width": WIDTH, "expert_input": [0] * EXPERTS}
    manifest["ranker"] |= {"levels": [level | {"gates": gates}], "tower_hidden": TOWER_HIDDEN}
    manifest["model_version"] = f"yardstick-{options.videos}"
    manifest["data"] = "random numbers, for measuring"
    return manifest


def main(words: list[str]) -> int:
    """0: written; 2: wrong words."""
    if len(words) not in (1, 2) or not (words[1:] or ["100000"])[0].isdigit():
        print(__doc__, file=sys.stderr)
        return 2
    videos = int((words[1:] or ["100000"])[0])
    tiny_bundle.make_manifest = yardstick
    options = Options(videos=videos, viewers=1000, tower_dim=64, content_dim=64)
    tiny_bundle.write(tiny_bundle.build(options), Path(words[0]))
    print(f"{words[0]}: {videos} videos")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
