"""Faults of the wire, many at a time: trickled heads and bodies, half-closed sockets, resets at each point,
idle connections by the thousand, readers that stop. Nothing leaks, others are served, memory has a bound."""

import contextlib
import json
import os
import resource
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Connection, Server, request_bytes, running

QUIET = ("--set", "rerank.record_served=false", "--set", "server.loops=2")
GOOD = b'{"user_id":"1","count":3}'
POST = request_bytes("POST", "/v1/recommend", GOOD)
HEAD = len(POST) - len(GOOD)
LONG = os.environ.get("VIREO_LONG", "") not in ("", "0")
STALL_S = 2.0  # others wait no longer, on a machine that does much else
FILES_LEFT = 300  # of the process's limit, for everything but the idle connections


def resident_kib(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def open_files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def in_hand(server: Server) -> int:
    """Public connections and calls of all loops."""
    loops = server.call("GET", "/debug", admin=True).json()["loops"]
    return sum(loop["public_connections"] + loop["calls"] for loop in loops)


def await_nothing_in_hand(server: Server, files: int | None = None) -> None:
    """Waits until no public connection is left, and no more than so many open files."""
    limit = time.monotonic() + 10
    while in_hand(server) > 0 or (files is not None and open_files(server) > files):
        assert time.monotonic() < limit, server.call("GET", "/debug", admin=True).body
        time.sleep(0.05)


def assert_others_are_served(server: Server) -> None:
    begun = time.monotonic()
    for user in range(5):
        assert server.recommend(user, count=3)["items"]
    assert time.monotonic() - begun < STALL_S


def reset(connection: Connection) -> None:
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("sent_at_once", [0, HEAD], ids=["head", "body"])
def test_slow_loris(bundle: Path, tmp_path: Path, sent_at_once: int) -> None:
    """Two hundred clients that send a byte now and then get their 408 in time and hold up nobody."""
    with running(bundle, tmp_path, *QUIET, "--set", "server.request_deadline_ms=1500") as server:
        files = open_files(server)
        slow = [Connection(server.port) for _ in range(200)]
        for connection in slow:
            connection.send(POST[:sent_at_once])
        begun = time.monotonic()
        for byte in POST[sent_at_once : len(POST) - 1]:
            if select.select([slow[0].socket], [], [], 0.1)[0]:
                break
            for connection in slow:
                with contextlib.suppress(ConnectionError):
                    connection.send(bytes([byte]))
        else:
            pytest.fail("bytes that trickle in keep a request alive")
        assert 1.2 < time.monotonic() - begun < 1.5 + STALL_S
        for connection in slow:
            answer = connection.answer()
            assert (answer.status, answer.fields["connection"]) == (408, "close")
        assert_others_are_served(server)
        for connection in slow:
            connection.close()
        await_nothing_in_hand(server, files)


def test_others_are_served_while_requests_trickle_in(bundle: Path, tmp_path: Path) -> None:
    with running(bundle, tmp_path, *QUIET) as server:
        slow = [Connection(server.port) for _ in range(200)]
        for i in range(4):
            for connection in slow:
                connection.send(POST[i * HEAD // 3 : (i + 1) * HEAD // 3])
            assert_others_are_served(server)
        for connection in slow:
            connection.send(POST[4 * HEAD // 3 :])
        assert all(connection.answer().status == 200 for connection in slow)
        for connection in slow:
            connection.close()


def test_a_trickle_keeps_no_idle_connection(bundle: Path, tmp_path: Path) -> None:
    """An empty line before a request begins none and buys no time."""
    with (
        running(bundle, tmp_path, *QUIET, "--set", "server.idle_timeout_ms=600") as server,
        Connection(server.port) as connection,
    ):
        begun = time.monotonic()
        time.sleep(0.4)
        connection.send(b"\r\n")
        assert connection.is_closed()
        assert 0.5 < time.monotonic() - begun < 3


@pytest.mark.parametrize("cut", [0, 1, 20, HEAD - 1, HEAD, len(POST) - 1])
def test_half_a_request_and_a_half_closed_socket(bundle: Path, tmp_path: Path, cut: int) -> None:
    """Nothing more can come: the whole request before it is answered, then the connection is closed."""
    with running(bundle, tmp_path, *QUIET) as server:
        with Connection(server.port) as connection:
            connection.send(POST + POST[:cut])
            connection.socket.shutdown(socket.SHUT_WR)
            assert connection.answer().status == 200
            begun = time.monotonic()
            assert connection.is_closed()
            assert time.monotonic() - begun < STALL_S
        await_nothing_in_hand(server)


def test_resets_at_each_point(bundle: Path, tmp_path: Path) -> None:
    """After each byte of a request, and before, within and after its answer; over and over without a leak."""
    with running(bundle, tmp_path, *QUIET) as server:
        files = open_files(server)
        after_first_round = 0
        for _ in range(8 if LONG else 3):
            for cut in range(1, len(POST) + 1):
                connection = Connection(server.port)
                connection.send(POST[:cut])
                reset(connection)
            for read in (1, 200, 100000):
                for _ in range(30):
                    connection = Connection(server.port)
                    connection.send(POST)
                    connection.socket.recv(read)
                    reset(connection)
            await_nothing_in_hand(server, files)
            after_first_round = after_first_round or resident_kib(server)
        assert resident_kib(server) - after_first_round < 1024
        assert_others_are_served(server)


@contextlib.contextmanager
def many_files() -> Iterator[int]:
    """Raises this process's limit as far as it goes; gives it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_thousands_of_idle_connections(bundle: Path, tmp_path: Path) -> None:
    """Each has had an answer and waits; they cost about a kilobyte each and slow nobody down."""
    with many_files() as files:
        wanted = min(10_000 if LONG else 1_000, files - FILES_LEFT)
        flags = (*QUIET, "--set", f"server.max_connections={wanted + 50}")
        with running(bundle, tmp_path, *flags) as server:
            assert_others_are_served(server)
            before = resident_kib(server)
            held = []
            for _ in range(wanted):
                connection = Connection(server.port)
                connection.send(POST)
                assert connection.answer().status == 200
                held.append(connection)
            assert in_hand(server) == wanted
            grown = resident_kib(server) - before
            print(f"{wanted} idle connections: {grown / wanted:.2f} KiB each")
            assert grown < 2 * wanted + 1024
            assert_others_are_served(server)
            for connection in held:
                reset(connection)
            await_nothing_in_hand(server)
            assert_others_are_served(server)


class Reader:
    """Sends whole requests, as far as the socket takes them, and never reads."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.sent = 0

    def send_some(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self.sent += self.socket.send(data[self.sent % len(data) :])


def writing(server: Server) -> int:
    """Connections whose socket does not take their answer."""
    loops = server.call("GET", "/debug", admin=True).json()["loops"]
    return sum(loop["writing"] for loop in loops)


def test_readers_that_stop(bundle: Path, tmp_path: Path) -> None:
    """Forty clients ask for large answers and read none: nothing more is read from who does not take his."""
    flags = (*QUIET, "--set", "server.write_timeout_ms=5000")
    body = json.dumps({"user_id": "1", "count": 50, "explain": True}).encode()
    data = request_bytes("POST", "/v1/recommend", body, f"X: {'x' * 7000}\r\n") * 20
    with running(bundle, tmp_path, *flags) as server:
        assert_others_are_served(server)
        before = resident_kib(server)
        stopped = [Reader(server.port) for _ in range(40)]
        limit = time.monotonic() + 20
        while writing(server) < len(stopped):
            assert time.monotonic() < limit, server.call("GET", "/debug", admin=True).body
            for one in stopped:
                one.send_some(data)
            time.sleep(0.01)
        assert_others_are_served(server)
        grown = resident_kib(server) - before
        print(f"{len(stopped)} readers that stopped: {grown / len(stopped):.0f} KiB each")
        assert grown < 40 * 400, "what is read ahead, an answer and its arena"
        await_nothing_in_hand(server)
        for one in stopped:
            one.socket.close()
        assert_others_are_served(server)
