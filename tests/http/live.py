"""A live server for tests: starts VIREO_BINARY on free ports, and small HTTP helpers over raw sockets."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("VIREO_BINARY", str(ROOT / "build/release/vireo")))
START_LIMIT_S = 30.0
READY = re.compile(r"event=ready listen=(\S+):(\d+) admin=\S+:(\d+)")
LISTENING = re.compile(r"event=listening listen=(\S+):(\d+) admin=\S+:(\d+)")


@dataclass
class Answer:
    """One HTTP answer: status, fields by lower-case name, body."""

    status: int
    fields: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """A raw client connection that reads answers by their Content-Length."""

    def __init__(self, port: int, limit_s: float = 15.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=limit_s)
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def fill(self) -> bool:
        """Reads once more; False at the end."""
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def take_head(self) -> tuple[int, dict[str, str]]:
        """Status and fields of the next answer."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                raise ConnectionError(f"closed before an answer: {self.buffer!r}")
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        return int(lines[0].split(" ")[1]), {name.lower(): value for name, value in fields.items()}

    def answer(self, *, head: bool = False) -> Answer:
        """The next answer; `head`: it has no body whatever its Content-Length says."""
        status, fields = self.take_head()
        length = 0 if head or status == 100 else int(fields["content-length"])
        while len(self.buffer) < length:
            if not self.fill():
                raise ConnectionError("closed inside a body")
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Answer(status, fields, body)

    def is_closed(self) -> bool:
        """True when the server has closed, after everything sent was read."""
        try:
            return not self.buffer and not self.fill()
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def request_bytes(method: str, path: str, body: bytes | None = None, fields: str = "") -> bytes:
    """A well-formed request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    log_path: Path
    port: int = 0
    admin: int = 0
    lines: list[str] = field(default_factory=list)

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def call(self, method: str, path: str, document: Any = None, *, admin: bool = False) -> Answer:
        """One request on a connection of its own; a document is sent as JSON, bytes as they are."""
        body = document if isinstance(document, bytes) or document is None else json.dumps(document).encode()
        with Connection(self.admin if admin else self.port) as connection:
            connection.send(request_bytes(method, path, body, "Connection: close\r\n"))
            return connection.answer(head=method == "HEAD")

    def recommend(self, user: str | int, **members: Any) -> dict[str, Any]:
        """A feed; fails the test when there is none."""
        answer = self.call("POST", "/v1/recommend", {"user_id": user, **members})
        assert answer.status == 200, answer.body
        return answer.json()

    def workers(self) -> list[int]:
        """The process ids of the workers so far; none where the server has no parent."""
        return [int(pid) for pid in re.findall(r"event=worker_started pid=(\d+)", self.log())]

    def await_log(self, words: str, times: int = 1, limit_s: float = 60.0) -> None:
        """Waits until the log holds some words so many times."""
        limit = time.monotonic() + limit_s
        while self.log().count(words) < times:
            assert time.monotonic() < limit, f"no {words} in\n{self.log()}"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM, limit_s: float = 15.0) -> int:
        """Sends a signal and gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(limit_s)


def clean_environment() -> dict[str, str]:
    """The environment without settings of the server."""
    return {key: value for key, value in os.environ.items() if not key.startswith("VIREO_")}


def start(
    bundle: Path,
    folder: Path,
    *flags: str,
    ready: bool = True,
    files: tuple[int, int] | None = None,
    binary: Path = BINARY,
    env: dict[str, str] | None = None,
) -> Server:
    """Starts `vireo serve` on free ports and waits until it is ready (or listens).

    `files`: the soft and hard limit of open files that it is started under. `env`: added to its environment.
    """
    log_path = folder / f"server-{time.monotonic_ns()}.log"
    command = [
        str(binary),
        "serve",
        "--bundle",
        str(bundle),
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]
    limits = ["prlimit", f"--nofile={files[0]}:{files[1]}"] if files else []
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [*limits, *command, *flags],
            stdin=subprocess.DEVNULL,
            stderr=log,
            stdout=log,
            env={**clean_environment(), **(env or {})},
            text=True,
        )
    server = Server(process, log_path)
    pattern = READY if ready else LISTENING
    limit = time.monotonic() + START_LIMIT_S
    while True:
        found = pattern.search(server.log())
        if found:
            server.port, server.admin = int(found[2]), int(found[3])
            return server
        if process.poll() is not None or time.monotonic() > limit:
            process.kill()
            raise RuntimeError(f"the server did not start:\n{server.log()}")
        time.sleep(0.02)


@contextlib.contextmanager
def running(bundle: Path, folder: Path, *flags: str) -> Iterator[Server]:
    """A server for the length of a block, which must stop cleanly at its end."""
    server = start(bundle, folder, *flags)
    try:
        yield server
        if server.process.poll() is None:
            assert server.stop() == 0, server.log()
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def run_vireo(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end."""
    return subprocess.run(
        [str(BINARY), *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean_environment(), **(env or {})},
        check=False,
    )
