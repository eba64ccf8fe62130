"""Events acknowledged a second beside what the disk can sync.

    python3 bench/events.py [--seconds 2] [--rounds 5] [--folder DIR] [--bundle DIR] [--vireo PROGRAM]

Starts `vireo serve --data` in a folder below DIR (what DIR lies on is what is measured) and tells it events
over so many connections, each with one request of so many events under way. Before each measurement the disk
alone appends the bytes of one event and calls fdatasync, again and again. Medians of the rounds. One thread
sends and reads in turn, so its own CPU is part of what is measured. Standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CASES = ((1, 1), (16, 1), (64, 1), (16, 20), (16, 100))  # connections, events a request
EVENT_BYTES = 136
READY = re.compile(r"event=ready listen=\S+:(\d+) ")
COMMITS = re.compile(rb"^vireo_event_log_commits_total (\S+)", re.MULTILINE)


def syncs_a_second(folder: Path, seconds: float) -> float:
    """Appends as long as an event, each followed by fdatasync, a second."""
    path = folder / "syncs"
    count = 0
    with path.open("wb", buffering=0) as file:
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            file.write(bytes(EVENT_BYTES))
            os.fdatasync(file.fileno())
            count += 1
        took = time.monotonic() - began
    path.unlink()
    return count / took


class Client:
    """Connections that tell events of ids that no other run has."""

    def __init__(self, port: int, videos: list[str]) -> None:
        self.port, self.videos, self.told = port, videos, 0

    def connect(self, count: int) -> list[socket.socket]:
        return [socket.create_connection(("127.0.0.1", self.port), 30) for _ in range(count)]

    def request(self, events: int) -> bytes:
        """A POST of new events."""
        first, self.told = self.told, self.told + events
        body = json.dumps(
            {
                "events": [
                    {
                        "event_id": f"bench-{os.getpid()}-{n}",
                        "request_id": f"request-{n // 30}",
                        "user_id": f"viewer{n % 5000}",
                        "video_id": self.videos[n % len(self.videos)],
                        "type": "click",
                    }
                    for n in range(first, first + events)
                ]
            }
        ).encode()
        return post("/v1/events", body)

    def ask(self, connection: socket.socket, request: bytes) -> bytes:
        connection.sendall(request)
        return read_answer(connection)


def post(path: str, body: bytes) -> bytes:
    """A request."""
    fields = f"Host: b\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body


def read_answer(connection: socket.socket) -> bytes:
    """One whole answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"Content-Length: (\d+)", head)[1])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def commits(client: Client) -> float:
    """Groups that the log has synced so far."""
    with socket.create_connection(("127.0.0.1", client.port), 30) as connection:
        answer = client.ask(connection, b"GET /metrics HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
    return float(COMMITS.search(answer)[1])


def measure(client: Client, connections: int, events: int, seconds: float) -> tuple[float, float]:
    """Events acknowledged and commits made a second."""
    opened = client.connect(connections)
    first, before, began = client.told, commits(client), time.monotonic()
    while time.monotonic() - began < seconds:
        for connection in opened:
            connection.sendall(client.request(events))
        for connection in opened:
            answer = read_answer(connection)
            if not answer.startswith(b"HTTP/1.1 202") or b'"rejected":0' not in answer:
                raise RuntimeError(answer[:300].decode(errors="replace"))
    took = time.monotonic() - began
    made = commits(client) - before
    for connection in opened:
        connection.close()
    return (client.told - first) / took, made / took


def serve(words: argparse.Namespace, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The server and its port."""
    log = folder / "server.log"
    command = [
        words.vireo,
        "serve",
        "--bundle",
        words.bundle,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--data", str(folder / "data")], stdout=file, stderr=file)
    while not (found := READY.search(log.read_text(errors="replace"))):
        if process.poll() is not None:
            raise RuntimeError(log.read_text(errors="replace"))
        time.sleep(0.02)
    return process, int(found[1])


def some_videos(port: int) -> list[str]:
    client = Client(port, [])
    with client.connect(1)[0] as connection:
        answer = client.ask(connection, post("/v1/recommend", b'{"user_id":"bench","count":50}'))
    return [item["id"] for item in json.loads(answer.split(b"\r\n\r\n", 1)[1])["items"]]


def run(words: argparse.Namespace, folder: Path) -> None:
    process, port = serve(words, folder)
    try:
        client = Client(port, some_videos(port))
        print("connections  events/request   events/s  commits/s  fdatasync/s   ratio")
        for connections, events in CASES:
            rounds = []
            for _ in range(words.rounds):
                disk = syncs_a_second(folder, words.seconds / 2)
                rounds.append((disk, *measure(client, connections, events, words.seconds)))
            disk, rate, made = (statistics.median(column) for column in zip(*rounds, strict=True))
            ratio = statistics.median(rate / disk for disk, rate, _ in rounds)
            figures = f"{rate:>10.0f} {made:>10.0f} {disk:>12.0f} {ratio:>7.1f}"
            print(f"{connections:>11} {events:>15} {figures}", flush=True)
    finally:
        process.terminate()
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--bundle", default=str(ROOT / "models/demo"))
    parser.add_argument("--vireo", default=str(ROOT / "build/release/vireo"))
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=words.folder) as name:
        run(words, Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
