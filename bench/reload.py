"""A reload every two seconds under load: no failed request, and a p99 like that without reloads; then memory.

    python3 bench/reload.py [--pairs 5] [--seconds 12] [--every 2] [--reloads 200] [--rate R] [--bundle DIR]

A server is started, the largest rate found whose p99 is under 50 ms with full feeds, and half of it offered
(`vireo bench load`, Poisson) in pairs of windows of --seconds: one without reloads, one in which the admin
port is told to load a copy of the bundle every --every seconds; which comes first changes from pair to pair.
Printed: requests that failed, reloads, what one took, p50 and p99 of both sides, and the median over the
pairs of the ratios of their p99 (goal: 1.2). Then --reloads loads one after the other without load: resident
memory after the first ten, and at the end.

Generator and server share the machine: quote ratios. Standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
READY = re.compile(r"event=ready listen=(\S+) admin=(\S+)")
GOAL = 1.2
SEARCH = ("--p99-ms", "50", "--degraded", "0.01", "--seconds", "2", "--steps", "6")
SETTLED = 10  # reloads, after which memory should not grow


@dataclass(frozen=True)
class Server:
    """A running server, and the two folders that it loads by turns."""

    vireo: str
    public: str
    admin: str
    pid: int
    bundles: tuple[Path, Path]

    def bench(self, *words: str) -> dict[str, Any]:
        """One run of the generator."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "load.json"
            command = [
                self.vireo,
                "bench",
                "load",
                "--url",
                f"http://{self.public}",
                "--json",
                str(file),
                *words,
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            return json.loads(file.read_text())

    def load(self, rate: float, seconds: float, seed: int) -> dict[str, Any]:
        """One window."""
        words = ["--no-warm-up", "--rate", f"{rate:.0f}", "--seconds", str(seconds), "--seed", str(seed + 1)]
        return self.bench(*words)

    def reload(self, turn: int) -> float:
        """Load one of the two; the milliseconds that it took. Raises where it is refused."""
        body = json.dumps({"path": str(self.bundles[turn % 2])}).encode()
        request = urllib.request.Request(f"http://{self.admin}/admin/models/load", body)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return float(json.load(answer)["took_ms"])

    def resident_mib(self) -> float:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def start(options: argparse.Namespace, folder: Path) -> tuple[subprocess.Popen[str], Server]:
    """A server on free ports of loopback, beside two copies of the bundle."""
    bundles = (folder / "a", folder / "b")
    for bundle in bundles:
        shutil.copytree(options.bundle, bundle)
    command = [options.vireo, "serve", "--bundle", str(bundles[0]), "--listen", "127.0.0.1:0", "--admin"]
    command += ["127.0.0.1:0", "--set", f"lanes.count={options.lanes}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        found = READY.search(line)
        if found:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, Server(options.vireo, found[1], found[2], process.pid, bundles)
    sys.exit("the server did not start")


def window_with_reloads(
    server: Server, rate: float, options: argparse.Namespace, seed: int
) -> tuple[dict[str, Any], list[float]]:
    """A window during which models change every few seconds; its figures, and what each load took, in ms."""
    over = threading.Event()
    took: list[float] = []

    def keep_reloading() -> None:
        while not over.wait(options.every):
            took.append(server.reload(len(took) + 1))

    reloader = threading.Thread(target=keep_reloading)
    reloader.start()
    try:
        return server.load(rate, options.seconds, seed), took
    finally:
        over.set()
        reloader.join()


def pair(server: Server, rate: float, options: argparse.Namespace, number: int) -> dict[str, float]:
    """One window of each kind."""
    plain: dict[str, Any] = {}
    if number % 2 == 0:
        plain = server.load(rate, options.seconds, number)
    moved, took = window_with_reloads(server, rate, options, number)
    if number % 2 == 1:
        plain = server.load(rate, options.seconds, number)
    before, during = plain["latency_ms"], moved["latency_ms"]
    return {
        "requests": moved["offered"],
        "failed": moved["offered"] - moved["ok"],
        "failed_plain": plain["offered"] - plain["ok"],
        "reloads": len(took),
        "reload_ms": statistics.median(took) if took else 0.0,
        "p50_plain_ms": before["p50"],
        "p50_ms": during["p50"],
        "p99_plain_ms": before["p99"],
        "p99_ms": during["p99"],
        "p99_ratio": during["p99"] / before["p99"],
    }


def memory(server: Server, reloads: int) -> dict[str, float]:
    """Resident MiB after the first few reloads and after all, and what one took at best, in ms."""
    took = [server.reload(turn) for turn in range(SETTLED)]
    time.sleep(1)
    settled = server.resident_mib()
    took += [server.reload(turn) for turn in range(SETTLED, reloads)]
    time.sleep(1)
    return {
        "reloads": reloads,
        "settled_mib": settled,
        "end_mib": server.resident_mib(),
        "reload_ms": statistics.median(took),
    }


def measure(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    rate = options.rate or server.bench(*SEARCH)["achieved_per_s"] / 2
    pairs = [pair(server, rate, options, number) for number in range(options.pairs)]
    result: dict[str, Any] = {"rate": rate, "pairs": pairs}
    if options.reloads > SETTLED:
        result["memory"] = memory(server, options.reloads)
    return result


def report(result: dict[str, Any]) -> bool:
    """Print it; whether no request failed and the ratio meets its goal."""
    print(f"half of the largest rate: {result['rate']:.0f} requests/s")
    for one in result["pairs"]:
        print("  ".join(f"{name} {value:.4g}" for name, value in one.items()))
    if "memory" in result:
        print("memory ", "  ".join(f"{name} {value:.4g}" for name, value in result["memory"].items()))
    failed = sum(one["failed"] for one in result["pairs"])
    ratio = statistics.median(one["p99_ratio"] for one in result["pairs"])
    print(f"failed {failed:.0f}, p99 ratio {ratio:.3f} (goal: none, {GOAL})")
    return failed == 0 and ratio <= GOAL


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--every", type=float, default=2)
    parser.add_argument("--reloads", type=int, default=200, help="for the memory; up to 10: not measured")
    parser.add_argument("--rate", type=float, help="requests/s instead of half of the largest")
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--bundle", type=Path, default=ROOT / "models/demo")
    parser.add_argument("--vireo", default=str(ROOT / "build/release/vireo"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, server = start(options, Path(folder))
        try:
            result = measure(server, options)
        finally:
            process.terminate()
            process.wait(30)
    good = report(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
