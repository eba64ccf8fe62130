"""Kills a server under load, again and again, and looks for what it had acknowledged.

Clients send batches of events without pause and note which ids were answered as durable. SIGKILL comes at a
random moment, sometimes while the server is still starting. Then the log is read: every acknowledged id must
be there exactly once. `python tests/http/kills.py --kills 1000` runs it by hand.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from live import ROOT, Connection, Server, request_bytes, start

sys.path.insert(0, str(ROOT / "models"))

from vireo_models.data.events import read_events

CLIENTS = 4
VIDEOS = 300
KINDS = ("impression", "click", "play", "finish", "like", "share", "skip", "dislike")


@dataclass
class Ledger:
    """What clients were told, over all lives of the server."""

    durable: set[str] = field(default_factory=set)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    repeats: list[dict[str, object]] = field(default_factory=list)
    """Events whose answer never came: the next life is told them again."""


def make_event(rng: random.Random, number: int) -> dict[str, object]:
    kind = rng.choice(KINDS)
    event: dict[str, object] = {
        "event_id": f"k{number}",
        "request_id": f"r{number // 40}",
        "user_id": f"viewer{rng.randrange(60)}",
        "video_id": f"v{rng.randrange(VIDEOS)}",
        "type": kind,
        "position": 1 + number % 50,
    }
    if kind == "play":
        event["watch_s"] = round(rng.random() * 40, 2)
    return event


def next_batch(ledger: Ledger, rng: random.Random) -> list[dict[str, object]]:
    """Events to send: new ones, and sometimes those that were sent without an answer."""
    with ledger.lock:
        size = rng.choice((1, 1, 3, 20, 100))
        first, ledger.sent = ledger.sent, ledger.sent + size
        again, ledger.repeats = ledger.repeats[:50], ledger.repeats[50:]
    return [*again, *(make_event(rng, number) for number in range(first, first + size))]


def client(port: int, ledger: Ledger, seed: int, stop: threading.Event) -> None:
    """Sends batches until the connection breaks or it is told to stop."""
    rng = random.Random(seed)
    connection = None
    while not stop.is_set():
        batch = next_batch(ledger, rng)
        try:
            connection = connection or Connection(port, 10.0)
            body = json.dumps({"events": batch}).encode()
            connection.send(request_bytes("POST", "/v1/events", body))
            answer = connection.answer()
        except OSError:
            with ledger.lock:
                ledger.repeats += batch
            return
        told = answer.json()
        assert answer.status == 202 and told["durable"] and told["rejected"] == 0, told
        with ledger.lock:
            ledger.durable.update(result["event_id"] for result in told["results"])


def one_life(server: Server, ledger: Ledger, rng: random.Random) -> None:
    """Load until the server is killed."""
    stop = threading.Event()
    clients = [
        threading.Thread(target=client, args=(server.port, ledger, rng.randrange(1 << 30), stop))
        for _ in range(CLIENTS)
    ]
    for thread in clients:
        thread.start()
    time.sleep(rng.expovariate(1 / 0.1))
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    stop.set()
    for thread in clients:
        thread.join()


@dataclass
class Found:
    """What the log held so far."""

    times: Counter[str] = field(default_factory=Counter)
    next: int = 1


def check_log(folder: Path, ledger: Ledger, found: Found) -> int:
    """Every acknowledged event is in the log exactly once; how many records the log has.

    Reads on from where ``found`` ends: what was read once stays.
    """
    for event in read_events(folder / "events", found.next) if (folder / "events").exists() else ():
        assert event.sequence == found.next
        found.times[event.event_id] += 1
        found.next += 1
    times = found.times
    lost = [name for name in ledger.durable if times[name] == 0]
    doubled = [name for name, count in times.items() if count > 1]
    assert not lost, f"{len(lost)} acknowledged events are lost, such as {lost[:5]}"
    assert not doubled, f"{len(doubled)} events are there more than once, such as {doubled[:5]}"
    return len(times)


def kill_in_the_start(bundle: Path, folder: Path, data: Path, rng: random.Random) -> None:
    """A server that is killed before it is ready, or soon after."""
    server = start(bundle, folder, "--data", str(data), ready=False)
    time.sleep(rng.random() * 0.1)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


def check_state(server: Server, ledger: Ledger, records: int) -> None:
    """The server has applied the whole log, and knows every acknowledged id."""
    assert f"event=state_recovered events={records} " in server.log(), server.log()
    names = sorted(ledger.durable)
    for at in range(0, len(names), 1000):
        events = [
            {"event_id": name, "request_id": "r", "user_id": "u", "video_id": "v1", "type": "click"}
            for name in names[at : at + 1000]
        ]
        told = server.call("POST", "/v1/events", {"events": events}).json()
        assert told["duplicate"] == len(events), {k: told[k] for k in ("accepted", "duplicate", "rejected")}


def run(bundle: Path, folder: Path, kills: int, seed: int, flags: tuple[str, ...] = ()) -> Ledger:
    """So many kills, then a last start that must know everything."""
    rng = random.Random(seed)
    ledger, found = Ledger(), Found()
    data = folder / "data"
    flags = ("--data", str(data), *flags)
    for kill in range(kills):
        if rng.random() < 0.2:
            kill_in_the_start(bundle, folder, data, rng)
        else:
            one_life(start(bundle, folder, *flags), ledger, rng)
        check_log(data, ledger, found)
        if kill % 100 == 99:
            print(f"{kill + 1} kills: {len(ledger.durable)} events acknowledged", flush=True)
        for log in folder.glob("server-*.log"):
            log.unlink()
    server = start(bundle, folder, *flags)
    records = check_log(data, ledger, Found())
    assert records == found.next - 1
    check_state(server, ledger, records)
    assert server.stop() == 0, server.log()
    return ledger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = ROOT / "tests/support/tiny_bundle.py"
        command = [
            sys.executable,
            str(script),
            str(folder / "tiny"),
            "--videos",
            str(VIDEOS),
            "--viewers",
            "40",
        ]
        subprocess.run([*command, "--seed", "1"], check=True, capture_output=True)
        began = time.monotonic()
        ledger = run(folder / "tiny", folder, words.kills, words.seed)
        seconds = time.monotonic() - began
        print(f"{words.kills} kills in {seconds:.0f} s: {len(ledger.durable)} events acknowledged, once each")


if __name__ == "__main__":
    main()
