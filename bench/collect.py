"""Puts the results of bench/gpu.sh's stages into one file, DEVICE-DATE.json.

    python bench/collect.py RESULTS FOLDER

A stage that was not run is not in it. Standard library alone.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ONE = ("test", "sanitize", "ceilings", "ranker", "feed", "peers")  # NAME.json: one object


def collect(results: Path) -> dict[str, Any]:
    """All stages' results under their names."""
    stages: dict[str, Any] = {}
    for name in ONE:
        path = results / f"{name}.json"
        if path.exists():
            stages[name] = json.loads(path.read_text(encoding="utf-8"))
    scan = results / "scan.jsonl"
    if scan.exists():
        stages["scan"] = [json.loads(line) for line in scan.read_text(encoding="utf-8").splitlines()]
    for backend in ("cpu", "cuda"):
        path = results / f"feed_{backend}.json"
        if path.exists():
            stages[f"feed_in_process_{backend}"] = json.loads(path.read_text(encoding="utf-8"))
    return stages


def commit() -> str:
    """Of the tree that this script lies in."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def main(words: list[str]) -> int:
    """0: written; 1: there is no device's description, so nothing was measured; 2: wrong words."""
    if len(words) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    results, folder = Path(words[0]), Path(words[1])
    described = results / "device.json"
    if not described.exists():
        print(f"{described} is not there: no stage has met a device", file=sys.stderr)
        return 1
    device = json.loads(described.read_text(encoding="utf-8"))
    name = re.sub(r"[^A-Za-z0-9]+", "-", device["device"]).strip("-").lower()
    date = time.strftime("%Y-%m-%d", time.gmtime())
    file = folder / f"{name}-{date}.json"
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"device": device, "date": date, "commit": commit(), "stages": collect(results)}
    file.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
