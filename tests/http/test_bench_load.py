"""`vireo bench load` against stand-ins of a server, whose faults it must show, and against the real one."""

import contextlib
import json
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import BINARY, Server, run_vireo

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class StandIn(threading.Thread):
    """A server of one thread: whatever it does between two answers, all connections wait."""

    def __init__(self, answer: bytes = OK, stall_s: float = 0.0, every: int = 0) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.answer, self.stall_s, self.every = answer, stall_s, every
        self.requests: list[bytes] = []
        self.times: list[float] = []
        self.clients: set[tuple[str, int]] = set()  # those that sent something
        self.over = False

    def take(self, client: socket.socket, chooser: selectors.BaseSelector) -> None:
        """One request of a client; they are small enough to come in one piece."""
        data = client.recv(65536)
        self.clients.add(client.getpeername())
        if not data:
            chooser.unregister(client)
            client.close()
            return
        self.requests.append(data)
        self.times.append(time.monotonic())
        if self.every and len(self.requests) % self.every == 0:
            time.sleep(self.stall_s)
        if self.answer:
            client.sendall(self.answer)
        else:
            chooser.unregister(client)
            client.close()

    def run(self) -> None:
        with selectors.DefaultSelector() as chooser:
            chooser.register(self.listener, selectors.EVENT_READ)
            while not self.over:
                for key, _ in chooser.select(0.05):
                    if key.fileobj is self.listener:
                        chooser.register(self.listener.accept()[0], selectors.EVENT_READ)
                    else:
                        self.take(key.fileobj, chooser)  # type: ignore[arg-type]


@contextlib.contextmanager
def standing_in(**how: Any) -> Iterator[StandIn]:
    """A stand-in for the length of a block."""
    server = StandIn(**how)
    server.start()
    try:
        yield server
    finally:
        server.over = True
        server.join()
        server.listener.close()


def load(folder: Path, url: str, *more: str) -> dict[str, Any]:
    """The file of a run that succeeds."""
    file = folder / "load.json"
    done = run_vireo("bench", "load", "--url", url, "--json", str(file), *more)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())


def test_a_stall_is_in_the_latency_of_all_who_waited(tmp_path: Path) -> None:
    """One stall of 200 ms in each 500 requests at 500 a second: a tenth of them were to be sent in it.

    A loop that waits for its answers would send four in that time, under one in a hundred.
    """
    with standing_in(stall_s=0.2, every=500) as server:
        result = load(
            tmp_path,
            server.url,
            *("--rate=500", "--schedule=constant", "--seconds=3", "--warm-up=0.5", "--connections=4"),
        )
    latency = result["latency_ms"]
    assert result["offered"] == result["ok"] == 1500
    assert 150 < latency["p99"] <= latency["max"]
    assert latency["p50"] < 150 and latency["max"] > 199
    waited = result["generator"]["wait_for_connection_ms"]
    assert waited["p99"] > 150, "with four connections the wait is the generator's backlog"


def test_what_was_offered_is_what_was_asked_for(tmp_path: Path) -> None:
    with standing_in() as server:
        result = load(
            tmp_path, server.url, "--rate=200", "--seconds=1", "--warm-up=0.5", "--schedule=constant"
        )
        assert (result["offered"], result["ok"]) == (200, 200) and len(server.requests) == 300
    assert result["statuses"] == {"200": 200} and result["lost"] == 0
    assert result["offered_per_s"] == pytest.approx(200)
    assert [one["sent"] for one in result["intervals"]] == [200]
    bodies = [json.loads(request.split(b"\r\n\r\n", 1)[1]) for request in server.requests]
    assert len({body["user_id"] for body in bodies}) > 100
    assert all(body["count"] == 30 and 1 <= int(body["user_id"]) <= 1000 for body in bodies)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_threads_share_one_schedule(tmp_path: Path, threads: str) -> None:
    """The same requests at the same times, whoever sends them."""
    with standing_in() as server:
        result = load(
            tmp_path, server.url, "--rate=300", "--seconds=1", "--no-warm-up", f"--threads={threads}"
        )
        users = sorted(request.split(b'"user_id":')[1] for request in server.requests)
    assert result["ok"] == len(users)
    other = tmp_path / "other"
    other.mkdir()
    with standing_in() as server:
        load(other, server.url, "--rate=300", "--seconds=1", "--no-warm-up")
        assert users == sorted(request.split(b'"user_id":')[1] for request in server.requests)


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", {"statuses": {"503": 50}}),
        (b"HTTP/1.1 200 OK\r\n\r\n", {"errors": {"protocol": 50}}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", {"errors": {"timeout": 50}}),
        (b"", {"errors": {"closed": 50}}),
    ],
)
def test_each_fault_has_its_name(tmp_path: Path, answer: bytes, counted: dict[str, dict[str, int]]) -> None:
    with standing_in(answer=answer) as server:
        result = load(
            tmp_path,
            server.url,
            *("--rate=100", "--seconds=0.5", "--no-warm-up", "--timeout-ms=150", "--schedule=constant"),
        )
    assert result["ok"] == 0 and result["lost"] == 1
    assert result["statuses"] == counted.get("statuses", {})
    errors = {name: count for name, count in result["errors"].items() if count}
    assert errors == counted.get("errors", {})
    # One that never came took as long as was waited for it, and is in the percentiles.
    if "timeout" in errors:
        assert result["latency_ms"]["count"] == 50 and result["latency_ms"]["p50"] >= 150
    else:
        assert result["latency_ms"]["count"] == 0


def test_degraded_answers_are_counted_by_reason(tmp_path: Path) -> None:
    body = b'{"coverage":{"degraded":["ranker_fewer","short:seen"]}}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with standing_in(answer=answer) as server:
        degraded = load(
            tmp_path, server.url, *("--rate=100", "--seconds=0.3", "--no-warm-up", "--schedule=constant")
        )["degraded"]
    assert degraded["answers"] == 30
    assert degraded["reasons"] == [
        {"reason": "ranker_fewer", "count": 30},
        {"reason": "short:seen", "count": 30},
    ]


def test_a_replay_sends_the_file_at_its_times(tmp_path: Path) -> None:
    lines = [{"at_s": 0.1 * i, "body": {"user_id": f"viewer {i}"}} for i in range(6)]
    file = tmp_path / "requests.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("--schedule=replay", f"--requests={file}", "--no-warm-up", "--speed=2")
    with standing_in() as server:
        result = load(tmp_path, server.url, *words)
        bodies = [json.loads(request.split(b"\r\n\r\n", 1)[1]) for request in server.requests]
        assert bodies == [line["body"] for line in lines]
        # Never sent before its time.
        assert server.times[-1] - server.times[0] >= 0.2
    assert result["ok"] == 6


@pytest.mark.parametrize(
    ("text", "schedule", "named"),
    [
        ('{"user_id": 1}\n[1]\n', "poisson", "line 2"),
        ("", "poisson", "no request"),
        ('{"user_id": 1}\n', "replay", "line 1"),
        ('{"at_s": 1, "body": {}}\n{"at_s": 0.5, "body": {}}\n', "replay", "line 2"),
        ('{"at_s": 0, "body": 1}\n', "replay", "line 1"),
    ],
)
def test_a_bad_request_file_is_refused(tmp_path: Path, text: str, schedule: str, named: str) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text(text)
    words = (f"--requests={file}", f"--schedule={schedule}", "--seconds=0.1", "--no-warm-up")
    with standing_in() as server:
        done = run_vireo("bench", "load", "--url", server.url, *words)
        assert done.returncode == 2 and named in done.stderr, done.stderr
        assert server.requests == []
        good = '{"at_s": 0, "body": {"user_id": 1}}\n' if schedule == "replay" else '{"user_id": 1}\n'
        file.write_text(good)
        done = run_vireo("bench", "load", "--url", server.url, *words)
        assert done.returncode == 0, done.stderr
        assert server.requests


def test_another_machine_is_refused(tmp_path: Path) -> None:
    done = run_vireo("bench", "load", "--url", "http://192.0.2.1/")  # TEST-NET-1: nobody's
    assert done.returncode == 2 and "--allow-remote" in done.stderr and done.stdout == ""
    done = run_vireo("bench", "load", "--url", "http://127.0.0.1:1/", "--seconds=0.1")
    assert done.returncode == 1 and "nothing answers" in done.stderr
    with standing_in() as server:
        load(tmp_path, server.url, "--seconds=0.1", "--no-warm-up", "--allow-remote")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("--rate=0", "--rate=50"),
        ("--schedule=burst", "--schedule=spike"),
        ("--connections=0", "--connections=1"),
        ("--threads=9", "--threads=2"),  # more than the four connections
        ("--step-at=5", "--step-at=0.05"),
        ("--method=PUT", "--method=GET"),
        ("--count=51", "--count=50"),
    ],
)
def test_a_wrong_value_is_refused_and_its_twin_is_not(wrong: str, right: str) -> None:
    words = ["--seconds=0.2", "--no-warm-up", *([] if "connections" in wrong else ["--connections=4"])]
    if "step" in wrong:
        words.append("--schedule=step")
    with standing_in() as server:
        done = run_vireo("bench", "load", "--url", server.url, *words, wrong)
        assert done.returncode == 2 and done.stdout == "" and server.requests == []
        done = run_vireo("bench", "load", "--url", server.url, *words, right)
        assert done.returncode == 0, done.stderr


def test_the_search_ends_under_the_rate_that_fails(tmp_path: Path) -> None:
    """A server that sleeps 10 ms a request holds under 100 a second; p99 under 60 ms is less."""
    with standing_in(stall_s=0.01, every=1) as server:
        result = load(
            tmp_path,
            server.url,
            *("--rate=20", "--p99-ms=60", "--seconds=0.5", "--warm-up=0.1", "--steps=6", "--timeout-ms=300"),
            "--at-least=20",
        )
    search = result["search"]
    assert len(search["tried"]) <= 6 and search["tried"][0]["rate"] == 20
    # The figures are of the best rate; a run of half a second of it has fewer than twenty requests.
    assert search["largest_rate"] >= 40 or result["offered"] >= 10
    assert search["largest_rate"] < 100
    passed = [one["rate"] for one in search["tried"] if one["passed"]]
    failed = [one["rate"] for one in search["tried"] if not one["passed"]]
    assert search["largest_rate"] == max(passed, default=0) and failed
    assert result["settings"]["rate"] == 20


def test_a_search_is_not_won_by_lesser_answers(tmp_path: Path) -> None:
    body = b'{"coverage":{"degraded":["fewer_candidates"]}}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    words = ("--rate=50", "--p99-ms=2000", "--seconds=0.2", "--no-warm-up", "--steps=1", "--at-least=5")
    with standing_in(answer=answer) as server:
        search = load(tmp_path, server.url, *words)["search"]
        assert search["tried"][0]["degraded"] == 1 and search["largest_rate"] == 0
        search = load(tmp_path, server.url, *words, "--degraded=1")["search"]
        assert search["largest_rate"] == 50


def test_many_connections_are_kept_alive(tmp_path: Path) -> None:
    """More than the soft limit of open files that the program is started under; each takes its turn."""
    with standing_in() as server:
        file = tmp_path / "load.json"
        words = ["--rate=600", "--seconds=1", "--no-warm-up", "--schedule=constant", "--connections=300"]
        command = [str(BINARY), "bench", "load", "--url", server.url, "--json", str(file), *words]
        limited = ["prlimit", "--nofile=128:4096", *command]
        done = subprocess.run(limited, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(file.read_text())["ok"] == 600
        assert len(server.clients) == 300, "no connection was opened twice, and none was left out"
    too_many = ["prlimit", "--nofile=128:400", *command]
    done = subprocess.run(too_many, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "--connections" in done.stderr


def test_the_server_is_measured(server: Server, tmp_path: Path) -> None:
    result = load(
        tmp_path,
        f"http://127.0.0.1:{server.port}",
        *("--rate=40", "--seconds=1", "--viewers=40", "--connections=8", "--count=10"),
    )
    assert result["ok"] == result["offered"] > 10 and result["errors"]["connect"] == 0
    assert result["commit"] and result["hardware"]["cores"] >= 1
    assert result["generator"]["cpu_share"] < 1
