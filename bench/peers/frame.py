"""What every comparison shares: its environment, the machine, and how results are written, shown and drawn.

A comparison is a Python file that is run in the environment of requirements.txt (`python()` makes it once)
and ends with `finish(...)`. A result is one JSON object:

    {"bench": NAME, "machine": {...}, "commit": "...", "versions": {...}, "settings": {...},
     "rows": [{"what": ..., "vireo": ..., "peer": ..., "unit": ..., "ratio": ...}, ...],
     "not_there": {NAME: WHY}}

`ratio` is how many times as good as the peer Vireo is, above 1 being better whatever the unit.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "peers"
VENV = FOLDER / "venv"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
PEERS = ("faiss-cpu", "hnswlib", "numpy", "onnxruntime", "openvino", "usearch", "uvicorn")


def python() -> Path:
    """The environment's interpreter; made anew when the requirements have changed.

    A package that cannot be installed does not keep the others from being compared: it is "not there".
    """
    stamp = VENV / ".requirements"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        base = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        subprocess.run([base, "-m", "venv", "--clear", str(VENV)], check=True)
        pip = [str(VENV / "bin/pip"), "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        if subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=False).returncode != 0:
            for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
                if line and not line.startswith("#"):
                    subprocess.run([*pip, line], check=False)
        stamp.write_text(wanted, encoding="utf-8")
    return VENV / "bin/python"


def versions() -> dict[str, str]:
    """Of the peers, "not there" where one is missing."""
    found = {}
    for name in PEERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not there"
    return found


def _cpu() -> tuple[str, list[str]]:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = re.search(r"model name\s*: (.*)", text)
    flags = re.search(r"flags\s*: (.*)", text)
    told = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    held = flags[1].split() if flags else []
    return (name[1] if name else "unknown"), [flag for flag in told if flag in held]


def machine() -> dict[str, Any]:
    """What a figure belongs to."""
    cpu, flags = _cpu()
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"))
    return {
        "cpu": cpu,
        "flags": flags,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "load_average": round(os.getloadavg()[0], 2),
        "kernel": os.uname().release,
        "python": sys.version.split()[0],
    }


def commit() -> str:
    """Of the tree, "-dirty" where it was changed."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def row(
    what: str, vireo: float | None, peer: float | None, unit: str, *, less: bool = False
) -> dict[str, Any]:
    """One line of a comparison; `less`: the smaller figure is the better one."""
    ratio = None
    if vireo and peer:
        ratio = peer / vireo if less else vireo / peer
    return {"what": what, "vireo": vireo, "peer": peer, "unit": unit, "ratio": ratio}


def median(values: list[float]) -> float:
    return statistics.median(values)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{'':<46} {'vireo':>12} {'peer':>12} {'unit':<14} {'ratio':>7}"]
    lines += [
        f"{one['what']:<46} {_shown(one['vireo']):>12} {_shown(one['peer']):>12} {one['unit']:<14} "
        f"{_shown(one['ratio']):>7}"
        for one in result["rows"]
    ]
    lines += [f"{name}: not there: {why}" for name, why in result["not_there"].items()]
    return "\n".join(lines)


def plot(result: dict[str, Any], picture: Path) -> bool:
    """Ratios as bars; False where there is nothing to draw with."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [one for one in result["rows"] if one["ratio"]]
    if not rows:
        return False
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.4 * len(rows)), layout="constrained")
    axes.barh([one["what"] for one in rows], [one["ratio"] for one in rows], color="tab:blue")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="times as good as the peer")
    axes.invert_yaxis()
    axes.set_title(f"{result['bench']} - {result['machine']['cpu']}, {result['commit']}", fontsize=9)
    figure.savefig(picture, dpi=120)
    return True


def finish(
    bench: str,
    rows: list[dict[str, Any]],
    settings: dict[str, Any],
    *,
    not_there: dict[str, str] | None = None,
    more: dict[str, Any] | None = None,
    folder: Path = FOLDER,
) -> dict[str, Any]:
    """Writes BENCH.json and BENCH.png into the folder and prints the table."""
    result = {
        "bench": bench,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "settings": settings,
        "rows": rows,
        "not_there": not_there or {},
        **(more or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{bench}.json.part"
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    part.rename(folder / f"{bench}.json")
    plot(result, folder / f"{bench}.png")
    print(table(result))
    return result
