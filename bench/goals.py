"""The goals of the CPU backend beside what was measured: one table, and bench/results/MACHINE-DATE.json.

    python3 bench/goals.py RESULTS [--keep]

RESULTS is a folder of result files: feed.json (`vireo bench feed`), ops.json (`vireo bench ops`), load.json
(`vireo bench load`) and, in peers/, those of bench/peers/. A goal whose file is not there is "not measured".
--keep writes the whole into bench/results/; without it nothing in the tree changes. Standard library alone.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "peers"))

import frame

Results = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """`measure` gives the figure, or raises LookupError where it was not measured."""

    what: str
    goal: float
    unit: str
    measure: Callable[[Results], float]
    less: bool = False  # the goal is an upper bound

    def ratio(self, value: float) -> float:
        """At least 1 where the goal is met."""
        return self.goal / value if self.less else value / self.goal


def peer(bench: str, words: str) -> Callable[[Results], float]:
    """The ratio of the row of a comparison whose name holds the words."""

    def measure(results: Results) -> float:
        ratios = [one["ratio"] for one in results[bench]["rows"] if words in one["what"] and one["ratio"]]
        if not ratios:
            raise LookupError(words)
        return min(ratios)

    return measure


def closed(results: Results) -> dict[str, Any]:
    """The closed loop's fullest level."""
    return max(
        (one for one in results["feed"]["levels"] if one["loop"] == "closed"),
        key=lambda one: one["concurrency"],
    )


def beside_the_ranker(results: Results) -> float:
    """Microseconds of CPU a request, the ranker apart."""
    cpu = closed(results)["cpu_us_a_request"]
    return sum(cpu[stage] for stage in ("retrieve", "merge", "rerank", "other"))


def against_idle(quantile: str) -> Callable[[Results], float]:
    """A quantile at half load over that of one request at a time."""

    def measure(results: Results) -> float:
        levels = results["feed"]["levels"]
        idle = next(one for one in levels if one.get("concurrency") == 1)
        half = next(one for one in levels if one["loop"] == "open")
        return half[quantile] / idle[quantile]

    return measure


def layers(results: Results) -> float:
    """The ranker's first layers over the machine's multiply-adds."""
    for one in results["ops"]["results"]:
        if one["operation"] == "linear, first layers" and one["ratio"]:
            return one["ratio"]
    raise LookupError("linear, first layers")


GOALS = (
    Goal("ranker fp32, hoisted / onnxruntime fp32", 1.3, "x", peer("ranker", "fp32 hoisted")),
    Goal("ranker fp32, with the table / onnxruntime fp32", 1.85, "x", peer("ranker", "fp32 table")),
    Goal("ranker int8 or bf16, hoisted / the best peer", 1.5, "x", peer("ranker", "int8 hoisted")),
    Goal("ranker int8 or bf16, with the table / the best peer", 1.8, "x", peer("ranker", "int8 table")),
    Goal("ranker's first layers / multiply-adds of a core", 0.85, "x", layers),
    Goal("front, fixed answer of 1.5 KB, CPU / nginx return", 0.8, "x", peer("front", "nginx")),
    Goal("front, parse to print, CPU / evhttp", 1.7, "x", peer("front", "print")),
    Goal("IVF int8 at recall .95 / the best peer", 2.0, "x", peer("knn", "ivf .95")),
    Goal("IVF int8 at recall .99 / the best peer", 2.0, "x", peer("knn", "ivf .99")),
    Goal("exact, 1 query / the best exact peer", 1.5, "x", peer("knn", "exact 1 ")),
    Goal("exact, 16 queries / the best exact peer", 10.0, "x", peer("knn", "exact 16 ")),
    Goal("exact, 64 queries / the best exact peer", 5.0, "x", peer("knn", "exact 64 ")),
    Goal("whole feed, requests/s / Python service", 2.5, "x", peer("peers_feed", "p99")),
    Goal("whole feed, CPU of a request / Python service", 2.5, "x", peer("peers_feed", "CPU")),
    Goal("CPU of a request beside the ranker", 128.0, "us", beside_the_ranker, less=True),
    Goal("p50 at half load / idle", 1.2, "x", against_idle("p50_us"), less=True),
    Goal("p99 at half load / idle", 3.0, "x", against_idle("p99_us"), less=True),
)


def read(folder: Path) -> Results:
    """Every result file under its name; the whole-feed comparison has the name of our own feed's file."""
    results = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))
    }
    for path in sorted((folder / "peers").glob("*.json")):
        one = json.loads(path.read_text(encoding="utf-8"))
        if "rows" in one:
            results["peers_feed" if one["bench"] == "feed" else one["bench"]] = one
    return results


def judge(results: Results) -> list[dict[str, Any]]:
    rows = []
    for goal in GOALS:
        try:
            value: float | None = goal.measure(results)
        except (LookupError, StopIteration):
            value = None
        met = goal.ratio(value) if value is not None else None
        rows.append(
            {
                "what": goal.what,
                "goal": goal.goal,
                "unit": goal.unit,
                "less": goal.less,
                "measured": value,
                "ratio": met,
            }
        )
    return rows


def show(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'goal':<54} {'wanted':>12} {'measured':>12} {'of goal':>8}"]
    for one in rows:
        wanted = f"{'<=' if one['less'] else '>='} {one['goal']:g} {one['unit']}"
        if one["measured"] is None:
            lines.append(f"{one['what']:<54} {wanted:>12} {'not measured':>21}")
        else:
            told, mark = f"{one['measured']:.3g} {one['unit']}", " " if one["ratio"] >= 1 else "!"
            lines.append(f"{one['what']:<54} {wanted:>12} {told:>12} {one['ratio']:>7.2f}{mark}")
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """0: told, whether goals are met or not; 2: wrong words."""
    names = [word for word in words if word != "--keep"]
    if len(names) != 1 or not Path(names[0]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    results = read(Path(names[0]))
    rows = judge(results)
    print(show(rows))
    if "--keep" in words:
        machine, folder = frame.machine(), frame.ROOT / "bench" / "results"
        name = re.sub(r"[^A-Za-z0-9]+", "-", machine["cpu"]).strip("-").lower()
        file = folder / f"{name}-{time.strftime('%Y-%m-%d', time.gmtime())}.json"
        folder.mkdir(parents=True, exist_ok=True)
        whole = {"machine": machine, "commit": frame.commit(), "goals": rows, "results": results}
        file.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
