"""Five times what the server can do, open loop: goodput, deadlines, and how soon all is well again.

    python3 bench/overload.py [--runs 5] [--lanes 1] [--deadline-ms 250] [--bundle models/demo]

Each run starts `vireo serve`, finds the largest goodput (answers within the deadline, a second) over a few
rates, then loads it lightly, for five seconds with five times that goodput, and lightly again (`vireo bench
load`, Poisson). Printed for each run, with medians at the end:

    goodput   of the last four of those five seconds, over the largest: at least 0.9
    by_cpu    the same for each second that the lane had a core; starved: how long it was ready and had none,
              which other work on the machine took, the generator's too
    onset     of the first second
    p99       of what was answered in each half second of those four, the worst: within the deadline
    back      from the load's end until nothing was lost any more (to the half second), and until feeds had
              all candidates again: within a second

The generator works on the same machine: --lanes (1) leaves it cores of its own. Standard library alone.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
READY = re.compile(r"event=ready listen=(\S+) admin=(\S+)")
QUALITY = re.compile(r"^vireo_feed_quality_factor (\S+)$", re.MULTILINE)
QUIET_S, FLOOD_S, AFTER_S, INTERVAL_S = 2.0, 5.0, 4.0, 0.5
SHARES = (0.8, 1.0, 1.25, 1.6)  # of the first guess at the largest goodput


@dataclass(frozen=True)
class Result:
    """One run."""

    peak_per_s: float
    offered_per_s: float
    goodput: float
    goodput_by_cpu: float
    starved: float
    onset: float
    p99_ms: float
    answers_back_s: float
    quality_back_s: float
    generator_sound: bool


@dataclass(frozen=True)
class Server:
    """A running server: its two addresses, and what the load is given."""

    vireo: str
    public: str
    admin: str
    pid: int
    deadline_ms: int

    def load(self, *words: str) -> dict[str, Any]:
        """One run of the generator, which gives up on an answer at the deadline."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "load.json"
            command = [self.vireo, "bench", "load", "--url", f"http://{self.public}", "--no-warm-up"]
            command += [
                "--timeout-ms",
                str(self.deadline_ms),
                "--connections",
                "512",
                "--json",
                str(file),
                *words,
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            return json.loads(file.read_text())

    def goodput(self, rate: float, seconds: float) -> tuple[float, float]:
        """Answers in time: a second, and a second of the busiest thread's CPU, which is a lane's."""
        before = self.cpu()
        ok = self.load("--rate", f"{rate:.0f}", "--seconds", str(seconds))["ok"]
        return ok / seconds, ok / (self.cpu()[0] - before[0])

    def cpu(self) -> tuple[float, float]:
        """Seconds that the busiest thread has run so far, and that it was ready but had no core."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        ran, waited = max(
            [int(word) for word in (task / "schedstat").read_text().split()][:2] for task in tasks
        )
        return ran / 1e9, waited / 1e9

    def quality(self) -> float:
        """The share of the candidates that feeds are made of now."""
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=5) as answer:
            found = QUALITY.search(answer.read().decode())
        assert found is not None
        return float(found[1])


def start(options: argparse.Namespace) -> tuple[subprocess.Popen[str], Server]:
    """A server on free ports of loopback."""
    command = [options.vireo, "serve", "--bundle", options.bundle, "--listen", "127.0.0.1:0", "--admin"]
    command += ["127.0.0.1:0", "--set", f"lanes.default_timeout_ms={options.deadline_ms}"]
    command += ["--set", f"lanes.count={options.lanes}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        found = READY.search(line)
        if found:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, Server(options.vireo, found[1], found[2], process.pid, options.deadline_ms)
    sys.exit("the server did not start")


def watch(server: Server, until: float, seen: list[tuple[float, float, float, float]]) -> None:
    """Note the time, the quality and the CPU time ten times a second."""
    while time.monotonic() < until:
        seen.append((time.monotonic(), server.quality(), *server.cpu()))
        time.sleep(0.1)


def largest_goodput(server: Server) -> tuple[float, float]:
    """The best over a few rates around a first guess, which is what comes through a flood."""
    guess = server.goodput(4000, 3)
    return max(guess, *(server.goodput(share * guess[0], 3) for share in SHARES))


def flood(server: Server, peak: float, peak_by_cpu: float) -> Result:
    """The step up and down again."""
    light = 0.1 * peak
    seen: list[tuple[float, float, float, float]] = []
    seconds = QUIET_S + FLOOD_S + AFTER_S
    words = [
        "--schedule",
        "spike",
        "--rate",
        f"{light:.0f}",
        "--to-rate",
        f"{5 * peak:.0f}",
        "--step-at",
        str(QUIET_S),
    ]
    words += ["--step-for", str(FLOOD_S), "--seconds", str(seconds), "--interval", str(INTERVAL_S)]
    begun = time.monotonic()
    watcher = threading.Thread(target=watch, args=(server, begun + seconds + 1, seen))
    watcher.start()
    figures = server.load(*words)
    ended = time.monotonic() - (seconds - QUIET_S - FLOOD_S)
    watcher.join()
    parts = figures["intervals"]
    first, steady, last = (round(s / INTERVAL_S) for s in (QUIET_S, QUIET_S + 1, QUIET_S + FLOOD_S))
    kept = sum(part["ok"] for part in parts[steady:last]) / (FLOOD_S - 1)
    lossy = [place for place, part in enumerate(parts[last:]) if part["lost"] > 0]
    poor = [when - ended for when, factor, _, _ in seen if factor < 1 and when > ended]
    flooded = [sample for sample in seen if ended - FLOOD_S + 1 <= sample[0] <= ended]
    (begin, _, ran, waited), (end, _, ran_then, waited_then) = flooded[0], flooded[-1]
    return Result(
        peak_per_s=peak,
        offered_per_s=sum(part["sent"] for part in parts[first:last]) / FLOOD_S,
        goodput=kept / peak,
        goodput_by_cpu=kept * (end - begin) / (ran_then - ran) / peak_by_cpu,
        starved=(waited_then - waited) / (end - begin),
        onset=sum(part["ok"] for part in parts[first:steady]) / peak,
        p99_ms=max(part["p99_ms"] for part in parts[steady:last]),
        answers_back_s=(max(lossy) + 1) * INTERVAL_S if lossy else 0.0,
        quality_back_s=max(poor, default=0.0),
        generator_sound=figures["generator"]["sound"],
    )


def one_run(options: argparse.Namespace) -> Result:
    process, server = start(options)
    try:
        return flood(server, *largest_goodput(server))
    finally:
        process.terminate()
        process.wait(30)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--deadline-ms", type=int, default=250)
    parser.add_argument("--bundle", default=str(ROOT / "models/demo"))
    parser.add_argument("--vireo", default=str(ROOT / "build/release/vireo"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs = [asdict(one_run(options)) for _ in range(options.runs)]
    medians = {key: statistics.median(float(run[key]) for run in runs) for key in runs[0]}
    for name, row in [*((str(place + 1), run) for place, run in enumerate(runs)), ("median", medians)]:
        print(f"{name:8}", "  ".join(f"{key} {float(value):.3g}" for key, value in row.items()))
    if options.json is not None:
        options.json.write_text(
            json.dumps({"runs": runs, "medians": medians}, indent=1) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
