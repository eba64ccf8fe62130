"""Several event loops: one port, one set of limits, one way down."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import BINARY, Connection, Server, clean_environment, request_bytes, running, start

LOOPS = ("--set", "server.loops=4", "--set", "rerank.record_served=false")
GOOD = b'{"user_id":"1","count":3}'
POST = request_bytes("POST", "/v1/recommend", GOOD)


@pytest.fixture(scope="module")
def many(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(bundle, tmp_path_factory.mktemp("loops"), *LOOPS) as one:
        yield one


def counted(server: Server, name: str) -> int:
    metrics = server.call("GET", "/metrics", admin=True).body.decode()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in metrics.splitlines() if line.startswith(name))


def test_requests_of_all_loops_are_answered_and_counted(many: Server) -> None:
    """Forty connections meet all loops but by a chance of one in 25,000; the admin's loop tells the sum."""
    before = counted(many, 'vireo_http_requests_total{route="recommend",code="200"}')
    connections = [Connection(many.port) for _ in range(40)]
    for connection in connections:
        connection.send(POST + POST)
    ids = [connection.answer().json()["request_id"] for connection in connections for _ in range(2)]
    assert len(set(ids)) == 80, "request ids are made by each loop"
    assert counted(many, 'vireo_http_requests_total{route="recommend",code="200"}') == before + 80
    assert counted(many, "vireo_http_connections ") == 40
    for connection in connections:
        connection.close()


def test_the_limit_of_connections_is_for_all_loops(bundle: Path, tmp_path: Path) -> None:
    with running(bundle, tmp_path, *LOOPS, "--set", "server.max_connections=6") as server:
        held = [Connection(server.port) for _ in range(6)]
        for connection in held:
            connection.send(POST)
            assert connection.answer().status == 200
        for _ in range(10):
            with Connection(server.port) as one_more:
                assert one_more.answer().status == 503
        for connection in held:
            connection.close()
        time.sleep(0.2)
        again = [Connection(server.port) for _ in range(6)]
        for connection in again:
            connection.send(POST)
            assert connection.answer().status == 200
            connection.close()


def from_address(server: Server, address: str) -> Connection:
    connection = Connection.__new__(Connection)
    connection.socket = socket.create_connection(
        ("127.0.0.1", server.port), timeout=15, source_address=(address, 0)
    )
    connection.buffer = b""
    return connection


def test_the_limit_of_an_address_is_for_all_loops(bundle: Path, tmp_path: Path) -> None:
    with running(bundle, tmp_path, *LOOPS, "--set", "server.max_connections_per_address=3") as server:
        held = [Connection(server.port) for _ in range(3)]
        for connection in held:
            connection.send(POST)
            assert connection.answer().status == 200
        for _ in range(8):
            with Connection(server.port) as one_more:
                refusal = one_more.answer()
                assert (refusal.status, refusal.fields["retry-after"]) == (503, "1")
                assert "this address" in refusal.json()["detail"]
                assert one_more.is_closed()
        with from_address(server, "127.0.0.2") as neighbour:
            neighbour.send(POST)
            assert neighbour.answer().status == 200
        assert server.call("GET", "/healthz", admin=True).status == 200, "the admin port knows no such limit"
        held.pop().close()
        time.sleep(0.2)
        with Connection(server.port) as freed:
            freed.send(POST)
            assert freed.answer().status == 200
        for connection in held:
            connection.close()


def test_a_port_is_not_shared_with_another_server(bundle: Path, many: Server) -> None:
    """Sockets that share a port would let a second server take half of the connections unnoticed."""
    words = [str(BINARY), "serve", "--bundle", str(bundle), "--admin", "127.0.0.1:0", *LOOPS]
    done = subprocess.run(
        [*words, "--listen", f"127.0.0.1:{many.port}"],
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment(),
        check=False,
    )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{many.port}" in done.stderr


def test_drain_answers_what_is_in_hand_in_every_loop(bundle: Path, tmp_path: Path) -> None:
    server = start(bundle, tmp_path, *LOOPS)
    idle = [Connection(server.port) for _ in range(20)]
    busy = [Connection(server.port) for _ in range(60)]
    for connection in idle:
        connection.send(POST)
        assert connection.answer().status == 200
    server.process.send_signal(signal.SIGSTOP)
    waiting = [Connection(server.port) for _ in range(100)]
    for connection in busy + waiting:
        connection.send(POST)
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGCONT)
    for connection in (
        busy + waiting
    ):  # one read before the signal keeps its connection open until the drain ends it
        answer = connection.answer()
        assert (answer.status, answer.fields.get("connection", "close")) == (200, "close")
    assert all(connection.is_closed() for connection in idle + busy + waiting)
    for connection in busy + waiting:
        connection.close()
    assert server.process.wait(10) == 0, server.log()
    assert "event=stopped clean=true" in server.log()


@pytest.mark.parametrize("timeout_ms", [0, 300])
def test_a_drain_is_cut_where_a_request_never_comes(bundle: Path, tmp_path: Path, timeout_ms: int) -> None:
    """Half a request in some loop; idle connections in all of them are no reason."""
    flags = (*LOOPS, "--set", f"server.drain_timeout_ms={timeout_ms}")
    for partial, status in ((b"", 0), (POST[:-1], 1)):
        server = start(bundle, tmp_path, *flags)
        held = [Connection(server.port) for _ in range(12)]
        held[0].send(POST + partial)
        assert held[0].answer().status == 200
        time.sleep(0.1)
        assert server.stop() == status, server.log()
        for connection in held:
            connection.close()


def test_settings_show_the_loops(many: Server) -> None:
    assert json.loads(many.call("GET", "/admin/config", admin=True).body)["server"]["loops"] == 4
