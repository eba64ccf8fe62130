"""Vireo beside what one would use instead, each comparison in one run of both sides.

    python3 bench/peers/run.py [--short] [NAME...]

NAME is one of the comparisons below; all without a name. They run one after the other in an environment of
their own (build/peers/venv, requirements.txt), each in a process of its own; a comparison whose file is not
in the tree, or that fails, is said so and the others go on. Results: build/peers/NAME.json and NAME.png.
Exit status 1 when one failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import frame

HERE = Path(__file__).parent
# Each may be given --short and ends with frame.finish(NAME, ...) or something that writes the same file.
COMPARISONS = {
    "ranker": HERE / "ranker.py",  # onnxruntime, OpenVINO, NumPy
    "knn": HERE / "knn.py",  # faiss-cpu, hnswlib, usearch
    "front": HERE / "front.py",  # nginx, evhttp
    "feed": HERE / "feed.py",  # the whole service
}


def environment() -> dict[str, str]:
    """Without a core type for OpenBLAS, which the peers' builds choose better themselves."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}


def main(words: list[str]) -> int:
    flags = [word for word in words if word.startswith("-")]
    names = [word for word in words if not word.startswith("-")] or list(COMPARISONS)
    unknown = [word for word in names if word not in COMPARISONS] + [f for f in flags if f != "--short"]
    if unknown:
        print(f"{', '.join(unknown)}: none of {', '.join(COMPARISONS)}\n{__doc__}", file=sys.stderr)
        return 2
    interpreter, worst = frame.python(), 0
    for name in names:
        if not COMPARISONS[name].exists():
            print(f"== {name}: not there", flush=True)
            continue
        print(f"== {name}", flush=True)
        (frame.FOLDER / f"{name}.json").unlink(missing_ok=True)  # an earlier run's figures are not this one's
        done = subprocess.run(
            [str(interpreter), str(COMPARISONS[name]), *flags], cwd=frame.ROOT, env=environment(), check=False
        )
        if done.returncode != 0:
            print(f"== {name}: failed with {done.returncode}", flush=True)
            worst = 1
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
