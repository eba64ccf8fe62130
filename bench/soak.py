"""A long steady load on a server: flat memory, flat p99, no error.

    python3 bench/soak.py [--minutes 60] [--rate R] [--bundle models/demo] [--vireo build/release/vireo]

Starts `vireo serve`, loads it window after window with `vireo bench load`, and reads its memory between them.
Judged after the first tenth of the windows, in which memory fills:

    memory   the median of the last quarter's RSS over that of the first: at most 1.05, or 8 MiB
    p99      the median of the last quarter's over that of the first: at most 1.5, or 2 ms
    errors   none: every request has its 2xx answer

Without --rate it is a third of what the server answers at its best, found first. Exit status 1 when a bound
is passed. Standard library alone.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WINDOWS = 40
MEMORY_RATIO, MEMORY_MIB = 1.05, 8.0
P99_RATIO, P99_MS = 1.5, 2.0
READY = re.compile(r"event=ready listen=(\S+) ")


@dataclass(frozen=True)
class Window:
    """One stretch of load."""

    rss_mib: float
    p99_ms: float
    offered: int
    ok: int
    degraded: int


def rss_mib(pid: int) -> float:
    """Resident memory of the process and of its workers."""
    pids = [pid, *(int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in pids)
    return pages * 4096 / 2**20


def load(vireo: str, address: str, *words: str) -> dict[str, Any]:
    """One run of the generator."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "load.json"
        command = [vireo, "bench", "load", "--url", f"http://{address}", "--json", str(file), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(file.read_text(encoding="utf-8"))


def judge(windows: list[Window]) -> list[str]:
    """What is wrong, in words; nothing where all is well."""
    settled = windows[len(windows) // 10 :]
    quarter = max(1, len(settled) // 4)
    wrong = []
    for name, unit, ratio, slack in (
        ("rss_mib", "MiB", MEMORY_RATIO, MEMORY_MIB),
        ("p99_ms", "ms", P99_RATIO, P99_MS),
    ):
        first, last = (
            statistics.median(getattr(one, name) for one in part)
            for part in (settled[:quarter], settled[-quarter:])
        )
        print(f"{name}: {first:.2f} {unit} in the first quarter, {last:.2f} in the last", flush=True)
        if last > max(first * ratio, first + slack):
            wrong.append(f"{name} went from {first:.2f} to {last:.2f} {unit}")
    lost = sum(one.offered - one.ok for one in windows)
    if lost:
        wrong.append(f"{lost} requests without a 2xx answer")
    if not sum(one.ok for one in windows):
        wrong.append("no request was answered")
    return wrong


def start(vireo: str, bundle: str, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The server and its address."""
    command = [vireo, "serve", "--bundle", bundle, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    limit = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < limit:
        found = READY.search(log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return process, found[1]
        time.sleep(0.05)
    process.kill()
    raise SystemExit(f"the server did not start:\n{log.read_text(errors='replace')}")


def soak(vireo: str, address: str, pid: int, rate: float, seconds: float, viewers: int) -> list[Window]:
    windows = []
    for i in range(WINDOWS):
        result = load(
            vireo,
            address,
            *("--rate", f"{rate:.2f}", "--seconds", f"{seconds:.3f}", "--no-warm-up"),
            *("--viewers", str(viewers), "--seed", str(i + 1)),
        )
        one = Window(
            rss_mib(pid),
            result["latency_ms"]["p99"],
            result["offered"],
            result["ok"],
            result["degraded"]["answers"],
        )
        windows.append(one)
        print(
            f"window {i + 1:2}: {one.ok}/{one.offered} answers, p99 {one.p99_ms:.2f} ms, "
            f"{one.rss_mib:.1f} MiB, {one.degraded} degraded",
            flush=True,
        )
    return windows


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--viewers", type=int, default=5000)
    parser.add_argument("--bundle", default=str(ROOT / "models/demo"))
    parser.add_argument("--vireo", default=str(ROOT / "build/release/vireo"))
    args = parser.parse_args(words)
    seconds = max(0.1, args.minutes * 60 / WINDOWS)
    with tempfile.TemporaryDirectory() as folder:
        process, address = start(args.vireo, args.bundle, Path(folder) / "server.log")
        try:
            rate = args.rate
            if rate is None:
                search = ("--rate", "50", "--p99-ms", "100", "--seconds", "2", "--steps", "8")
                rate = load(args.vireo, address, *search)["search"]["largest_rate"] / 3
            print(f"{rate:.1f} requests/s for {args.minutes:g} minutes", flush=True)
            windows = soak(args.vireo, address, process.pid, rate, seconds, args.viewers)
            verdict = judge(windows)
        finally:
            process.terminate()
            status = process.wait(30)
    if status != 0:
        verdict.append(f"the server ended with {status}")
    for line in verdict:
        print(f"soak: {line}", file=sys.stderr)
    return 1 if verdict else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
