"""The whole feed over HTTP: `vireo serve` beside a Python service of two workers, one bundle, one load.

    run.py feed [--short]

The service is the chain that one would write: faiss-cpu, vectorised NumPy and onnxruntime, one thread each,
behind uvicorn with uvloop and httptools (feed_pipeline.py). Both answer the same requests first; where their
feeds or heads differ by more than the bounds below, nothing is timed. Then, on each in turn,
`vireo bench load` searches the largest rate with p99 under a target, and the CPU that a request takes of all
the server's processes is read at a rate that both hold; medians. The CPU is the steadier figure where others
work on the machine. The bundle is the yardstick ranker over 100,000 videos; the short form takes the demo,
whose rates are high enough for short runs.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import frame
from safetensors.numpy import load_file

VIREO = frame.ROOT / "build/release/vireo"
JUDGED, WORKERS = 100, 2  # viewers whose answers are compared; processes of the peer
HEADS_BOUND = 1e-3  # probabilities; watch_s relative to its size, at least a second
PLACES_BOUND = 0.99  # share of (video, source, rank) of shared videos that agree: halves leave ties
OVERLAP_BOUND = 0.95  # mean share of a feed's videos that are in the other's feed


@dataclass(frozen=True)
class Form:
    """The size of a run."""

    bundle: Path
    p99_ms: float
    rounds: int
    seconds: float
    steps: int
    first: float  # rate that is tried first
    easy: float  # rate that both sides hold


def yardstick(videos: int) -> Path:
    """The yardstick ranker over so many videos; made once."""
    folder = frame.FOLDER / f"yardstick-{videos}"
    if not (folder / "bundle.json").exists():
        part = folder.with_suffix(".part")
        subprocess.run(
            [sys.executable, "bench/yardstick.py", str(part), str(videos)], cwd=frame.ROOT, check=True
        )
        part.rename(folder)
    return folder


def form_of(*, short: bool) -> Form:
    if short:
        return Form(frame.ROOT / "models/demo", 50.0, 1, 2.0, 6, 100.0, 25.0)
    return Form(yardstick(100_000), 100.0, 5, 8.0, 9, 40.0, 10.0)


def viewers_of(bundle: Path) -> list[str]:
    """The ids of the bundle's seed state, at most 1,000."""
    state = load_file(bundle / "state/state.safetensors")
    data, edges = state["viewer.id.bytes"].tobytes(), state["viewer.id.offsets"].tolist()
    return [data[a:b].decode() for a, b in itertools.pairwise(edges)][:1000]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


@contextlib.contextmanager
def running(command: list[str], ready: str, name: str, env: dict[str, str] | None = None) -> Iterator[int]:
    """A server's process id for the length of a block; its output goes to build/peers/NAME.log."""
    with (frame.FOLDER / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=Path(__file__).parent, env={**os.environ, **(env or {})}
        )
        try:
            limit = time.monotonic() + 180
            while True:
                with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                    if urllib.request.urlopen(ready, timeout=5).status == 200:
                        break
                if process.poll() is not None or time.monotonic() > limit:
                    raise SystemExit(f"{name} did not start: build/peers/{name}.log")
                time.sleep(0.1)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def places(item: dict[str, Any]) -> set[tuple[str, int]]:
    return {(source["name"], source["rank"]) for source in item["sources"]}


def agreement(vireo: str, peer: str, viewers: list[str]) -> dict[str, float]:
    """How far the two services' answers are apart."""
    overlap, heads, same, all_places = 0.0, 0.0, 0, 0
    for viewer in viewers:
        body = {"user_id": viewer, "count": 30}
        ours, theirs = ({item["id"]: item for item in post(url, body)["items"]} for url in (vireo, peer))
        shared = ours.keys() & theirs.keys()
        overlap += len(shared) / max(len(ours), len(theirs), 1)
        for name in shared:
            a, b = ours[name], theirs[name]
            for head, value in a["heads"].items():
                scale = max(abs(value), 1.0) if head == "watch_s" else 1.0
                heads = max(heads, abs(value - b["heads"][head]) / scale)
            all_places += len(places(a) | places(b))
            same += len(places(a) & places(b))
    return {
        "viewers": len(viewers),
        "overlap": overlap / len(viewers),
        "heads": heads,
        "places": same / max(all_places, 1),
    }


def check(found: dict[str, float]) -> None:
    heads, places_, overlap = found["heads"], found["places"], found["overlap"]
    print(
        f"agreement over {found['viewers']} viewers: feeds share {overlap:.3f} (at least {OVERLAP_BOUND}), "
        f"places {places_:.4f} ({PLACES_BOUND}), heads {heads:.1e} apart (at most {HEADS_BOUND})",
        flush=True,
    )
    if heads > HEADS_BOUND or places_ < PLACES_BOUND or overlap < OVERLAP_BOUND:
        raise SystemExit("the two services give different answers: nothing is timed")


def largest_rate(url: str, requests: Path, form: Form) -> dict[str, Any]:
    """`vireo bench load` searches it."""
    file = frame.FOLDER / "load.json"
    words = [
        *("--url", url, "--requests", str(requests), "--rate", str(form.first), "--p99-ms", str(form.p99_ms)),
        *("--seconds", str(form.seconds), "--warm-up", "0.5", "--steps", str(form.steps)),
        *("--connections", "64", "--json", str(file)),
    ]
    subprocess.run([str(VIREO), "bench", "load", *words], check=True, stdout=subprocess.DEVNULL)
    return json.loads(file.read_text(encoding="utf-8"))


def tree(pid: int) -> list[int]:
    """A process and those below it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it may end meanwhile
                found += [int(child) for child in children.read_text().split()]
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and those below it, so far: the scheduler's nanoseconds, thread by thread.

    The ticks of /proc/PID/stat would miss whoever works for less than one at a time.
    """
    spent = 0
    for one in tree(pid):
        for task in Path(f"/proc/{one}/task").iterdir():
            with contextlib.suppress(OSError):
                spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9


def cpu_of_a_request(url: str, requests: Path, pid: int, rate: float) -> float:
    """Milliseconds, at a rate that is easy to hold."""
    file, seconds = frame.FOLDER / "load.json", 150 / rate
    words = ["--url", url, "--requests", str(requests), "--rate", str(rate), "--seconds", str(seconds)]
    before = cpu_s(pid)
    subprocess.run(
        [str(VIREO), "bench", "load", *words, "--no-warm-up", "--json", str(file)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return 1e3 * (cpu_s(pid) - before) / json.loads(file.read_text(encoding="utf-8"))["ok"]


def measure(sides: dict[str, tuple[str, int]], requests: Path, form: Form) -> dict[str, Any]:
    """Both sides in turn; a side is its URL and process."""
    found: dict[str, Any] = {
        "rate": {name: [] for name in sides},
        "cpu_ms": {name: [] for name in sides},
        "runs": [],
    }
    for _ in range(form.rounds):
        for name, (url, pid) in sides.items():
            result = largest_rate(url, requests, form)
            found["rate"][name].append(result["search"]["largest_rate"])
            found["runs"].append({"side": name, **result["search"], "generator": result["generator"]})
            found["cpu_ms"][name].append(cpu_of_a_request(url, requests, pid, form.easy))
    return found


def main(words: list[str]) -> int:
    form, port, peer_port = form_of(short="--short" in words), free_port(), free_port()
    viewers, requests = viewers_of(form.bundle), frame.FOLDER / "requests.jsonl"
    lines = [json.dumps({"user_id": viewer, "count": 30}) + "\n" for viewer in viewers]
    requests.write_text("".join(lines), encoding="utf-8")
    serve = [str(VIREO), "serve", "--bundle", str(form.bundle), "--listen", f"127.0.0.1:{port}"]
    serve += ["--admin", "127.0.0.1:0", "--set", "rerank.record_served=false", "--set", "lanes.count=2"]
    # Feeds that are made smaller under load would flatter: a wait is allowed that the p99 allows, and
    # a search counts a rate as failed where one answer in a hundred is degraded.
    serve += ["--set", f"lanes.target_wait_ms={form.p99_ms:.0f}"]
    now_ms = str(int(time.time() * 1000))
    service = [sys.executable, "feed_service.py", str(form.bundle), str(peer_port), str(WORKERS), now_ms]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ours, theirs = f"http://127.0.0.1:{port}/v1/recommend", f"http://127.0.0.1:{peer_port}/v1/recommend"
    with (
        running(serve, f"http://127.0.0.1:{port}/readyz", "vireo") as our_pid,
        running(service, f"http://127.0.0.1:{peer_port}/", "service", one_thread) as their_pid,
    ):
        found = agreement(ours, theirs, viewers[:JUDGED])
        check(found)
        measured = measure({"vireo": (ours, our_pid), "peer": (theirs, their_pid)}, requests, form)
    what = f"whole feed over HTTP, {form.bundle.name}, p99 < {form.p99_ms:.0f} ms"
    rate, cpu = ({side: frame.median(of) for side, of in measured[key].items()} for key in ("rate", "cpu_ms"))
    settings = {
        **{key: str(value) for key, value in vars(form).items()},
        "bundle": form.bundle.name,
        "peer": f"uvicorn, {WORKERS} workers, uvloop, httptools, orjson; faiss IndexFlatIP; "
        "onnxruntime fp32, all graph optimisations; one thread each",
        "vireo": "2 lanes, exact search, fp32, served videos not remembered",
    }
    rows = [
        frame.row(what, rate["vireo"], rate["peer"], "requests/s"),
        frame.row(
            f"whole feed, {form.bundle.name}, CPU of a request", cpu["vireo"], cpu["peer"], "ms", less=True
        ),
    ]
    frame.finish("feed", rows, settings, more={"agreement": found, "measured": measured})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
