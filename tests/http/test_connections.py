"""Time and bytes: slow senders and readers, expectations, half-closed and vanished clients, limits, drain."""

import json
import re
import signal
import socket
import struct
import time
from pathlib import Path

import pytest
from live import ROOT, Answer, Connection, Server, request_bytes, run_vireo, running, start

GOOD = b'{"user_id":"1","count":3}'
POST = request_bytes("POST", "/v1/recommend", GOOD)
QUIET = ("--set", "rerank.record_served=false")


def test_a_request_may_come_byte_by_byte(server: Server) -> None:
    with Connection(server.port) as connection:
        for i in range(len(POST)):
            connection.send(POST[i : i + 1])
        assert connection.answer().status == 200


def test_a_slow_sender_is_timed_out_whatever_it_trickles(bundle: Path, tmp_path: Path) -> None:
    with running(bundle, tmp_path, "--set", "server.request_deadline_ms=600") as server:
        with Connection(server.port) as connection:
            begun = time.monotonic()
            connection.socket.settimeout(0.1)
            for i in range(100):
                connection.send(POST[i : i + 1])
                try:
                    connection.fill()
                    break
                except TimeoutError:
                    continue
            took = time.monotonic() - begun
            connection.socket.settimeout(5)
            answer = connection.answer()
            assert answer.status == 408
            assert answer.fields["connection"] == "close"
            assert 0.5 < took < 1.5, "the deadline counts from the first byte"
        assert server.call("POST", "/v1/recommend", GOOD).status == 200


def test_an_idle_connection_is_closed(bundle: Path, tmp_path: Path) -> None:
    with (
        running(bundle, tmp_path, "--set", "server.idle_timeout_ms=300") as server,
        Connection(server.port) as connection,
    ):
        connection.send(POST)
        assert connection.answer().status == 200
        begun = time.monotonic()
        assert connection.is_closed()
        assert 0.2 < time.monotonic() - begun < 2


def test_a_slow_reader_does_not_hold_up_others(bundle: Path, tmp_path: Path) -> None:
    """A client that sends many requests and reads no answer is cut off, and others are served meanwhile."""
    with running(bundle, tmp_path, *QUIET, "--set", "server.write_timeout_ms=700") as server:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", server.port))
        slow.settimeout(0.5)
        body = json.dumps({"user_id": "1", "count": 50, "explain": True}).encode()
        data = request_bytes("POST", "/v1/recommend", body, f"X: {'x' * 7000}\r\n")  # more than sockets hold
        sent = 0
        try:
            while sent < 3000:
                slow.sendall(data)
                sent += 1
        except (TimeoutError, ConnectionError):
            pass
        assert sent < 3000, "reading must stop while answers wait"
        assert server.recommend("2", count=5)["items"]
        time.sleep(1.5)
        slow.settimeout(5)
        with pytest.raises(ConnectionError):
            while True:
                slow.sendall(data)
        slow.close()
        assert server.recommend("2", count=5)["items"]


def health_answers(metrics: str) -> int:
    found = re.search(r'requests_total\{route="healthz",code="200"\} (\d+)', metrics)
    return int(found[1]) if found else 0


def test_a_pipeline_takes_turns_with_other_connections(bundle: Path, tmp_path: Path) -> None:
    """Both arrive while the process is stopped, the pipeline first; the other is not kept waiting for it."""
    with running(bundle, tmp_path) as server, Connection(server.port) as many, Connection(server.port) as one:
        for connection in (many, one):
            connection.send(request_bytes("GET", "/readyz"))
            assert connection.answer().status == 200
        server.process.send_signal(signal.SIGSTOP)
        many.send(request_bytes("GET", "/healthz") * 1500)
        one.send(request_bytes("GET", "/metrics"))
        server.process.send_signal(signal.SIGCONT)
        assert health_answers(one.answer().body.decode()) <= 64
        assert [many.answer().status for _ in range(1500)] == [200] * 1500


def test_expect_continue(server: Server) -> None:
    head, body = POST.split(b"\r\n\r\n")
    with Connection(server.port) as connection:
        connection.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.answer().status == 100
        connection.send(body)
        assert connection.answer().status == 200
        connection.send(head + b"\r\nExpect: 100-continue\r\n\r\n" + body)
        assert connection.answer().status == 200, "no leave is needed when the body is there"
    with Connection(server.port) as connection:
        connection.send(head.replace(b"recommend", b"nowhere") + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.answer().status == 404
        assert connection.is_closed()


def test_connection_close_is_kept(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(request_bytes("POST", "/v1/recommend", GOOD, "Connection: close\r\n") + POST)
        answer = connection.answer()
        assert answer.status == 200
        assert answer.fields["connection"] == "close"
        assert connection.is_closed()


def test_a_half_closed_client_gets_its_answers(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(POST + POST)
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.answer().status == 200
        assert connection.answer().status == 200
        assert connection.is_closed()


def test_clients_that_vanish_do_no_harm(server: Server) -> None:
    for cut in (1, len(POST) // 2, len(POST)):
        for _ in range(20):
            connection = Connection(server.port)
            connection.send(POST[:cut])
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()  # a reset
    assert server.recommend("1", count=3)["items"]


def test_too_many_connections_are_told_so(bundle: Path, tmp_path: Path) -> None:
    with running(bundle, tmp_path, "--set", "server.max_connections=4") as server:
        held = [Connection(server.port) for _ in range(4)]
        for connection in held:
            connection.send(POST)
            assert connection.answer().status == 200
        with Connection(server.port) as fifth:
            answer = fifth.answer()
            assert answer.status == 503
            assert answer.fields["retry-after"] == "1"
            assert fifth.is_closed()
        assert server.call("GET", "/healthz", admin=True).status == 200, (
            "the admin port has its own allowance"
        )
        held.pop().close()
        time.sleep(0.2)
        assert server.call("GET", "/healthz").status == 200
        for connection in held:
            connection.close()


def test_connections_that_were_refused_take_nobodys_place(bundle: Path, tmp_path: Path) -> None:
    """A refused connection stays open for up to a second while its client does, in nobody's place."""
    with running(bundle, tmp_path, "--set", "server.max_connections=2") as server:
        held = [Connection(server.port) for _ in range(2)]
        for connection in held:
            connection.send(POST)
            assert connection.answer().status == 200
        refused = [Connection(server.port) for _ in range(5)]
        assert [connection.answer().status for connection in refused] == [503] * 5
        metrics = server.call("GET", "/metrics", admin=True).body.decode()
        assert "\nvireo_http_connections 2\n" in metrics
        for connection in held:
            connection.close()
        time.sleep(0.1)
        assert server.call("GET", "/healthz").status == 200
        for connection in refused:
            connection.close()


def clients_gone(server: Server) -> int:
    metrics = server.call("GET", "/metrics", admin=True).body.decode()
    return int(metrics.split("\nvireo_http_clients_gone_total ")[1].split("\n")[0])


@pytest.mark.parametrize(("ahead", "spaces"), [(0, 0), (0, 300_000), (40, 0)])
def test_a_reset_is_seen_while_the_feed_waits(bundle: Path, tmp_path: Path, ahead: int, spaces: int) -> None:
    """A client goes while its request stands behind a hundred others, whatever its size and what went ahead.

    The others may be done before it goes; then it is tried again."""
    flags = (*QUIET, "--set", "lanes.count=1", "--set", "lanes.max_batch=1", "--set", "lanes.max_delay_us=0")
    request = request_bytes("POST", "/v1/recommend", GOOD + b" " * spaces)
    with running(bundle, tmp_path, *flags) as server:
        others = [Connection(server.port) for _ in range(100)]
        for _ in range(20):
            connection = Connection(server.port)
            for other in others:
                other.send(POST)
            connection.send(request_bytes("GET", "/healthz") * ahead + request)
            time.sleep(0.005)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            assert [other.answer().status for other in others] == [200] * 100
            if clients_gone(server) > 0:
                break
        assert clients_gone(server) == 1
        for other in others:
            other.close()


def test_an_empty_line_behind_a_body_begins_no_request(bundle: Path, tmp_path: Path) -> None:
    """Old clients end a body with CRLF (RFC 9112, 2.2): the deadline is for a request, not for that."""
    with (
        running(bundle, tmp_path, "--set", "server.request_deadline_ms=300") as server,
        Connection(server.port) as connection,
    ):
        connection.send(POST + b"\r\n")
        assert connection.answer().status == 200
        time.sleep(0.6)
        connection.send(POST)
        assert connection.answer().status == 200
        connection.send(b"\r\n" + POST[:5])
        assert connection.answer().status == 408


def resident_kib(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def test_a_held_body_costs_little_more_than_its_bytes(bundle: Path, tmp_path: Path) -> None:
    with running(bundle, tmp_path, "--set", "server.request_deadline_ms=60000") as server:
        before = resident_kib(server)
        body = b" " * (524288 - 1)  # one byte short of what is announced
        head = request_bytes("POST", "/v1/recommend", b"").replace(b"Length: 0", b"Length: 524288")
        held = [Connection(server.port) for _ in range(100)]
        for connection in held:
            connection.send(head + body)
        limit = time.monotonic() + 10
        while resident_kib(server) - before < 100 * 500 and time.monotonic() < limit:
            time.sleep(0.05)
        time.sleep(0.3)
        assert 100 * 500 < resident_kib(server) - before < 100 * (512 + 60)
        for connection in held:
            connection.close()
        assert server.recommend("1", count=3)["items"]


def ask_for_health(port: int) -> Answer:
    with Connection(port) as connection:
        connection.send(request_bytes("GET", "/healthz"))
        return connection.answer()


def test_the_soft_limit_of_open_files_is_raised(bundle: Path, tmp_path: Path) -> None:
    """Many systems start programs with 1,024 files, which 1,024 connections would use up."""
    server = start(bundle, tmp_path, files=(256, 4096))
    held = [Connection(server.port) for _ in range(300)]
    held[-1].send(POST)
    assert held[-1].answer().status == 200
    assert ask_for_health(server.admin).status == 200
    for connection in held:
        connection.close()
    assert server.stop() == 0
    assert "connections_limited" not in server.log()


def test_the_admin_port_answers_when_files_are_few(bundle: Path, tmp_path: Path) -> None:
    server = start(bundle, tmp_path, files=(300, 300))
    held = [Connection(server.port) for _ in range(44)]  # 300 less what the other descriptors are for
    held[-1].send(POST)
    assert held[-1].answer().status == 200
    with Connection(server.port) as refused:
        assert refused.answer().status == 503
    assert ask_for_health(server.admin).status == 200
    for connection in held:
        connection.close()
    assert server.stop() == 0
    assert "event=connections_limited wanted=1024 possible=44 open_files=300" in server.log()


def test_a_deadline_that_cannot_be_met_is_refused_or_let_go(bundle: Path, tmp_path: Path) -> None:
    """With one lane and dozens of requests at once, 1 ms is too short for those at the end of the queue.

    They are told so at once where the server knows how long a feed takes, else when their time has passed."""
    with running(bundle, tmp_path, "--set", "lanes.count=1", "--set", "lanes.max_batch=1") as server:
        hurried = request_bytes("POST", "/v1/recommend", b'{"user_id":"1","timeout_ms":1}')
        connections = [Connection(server.port) for _ in range(60)]
        for connection in connections:
            connection.send(hurried)
        statuses = [connection.answer().status for connection in connections]
        for connection in connections:
            connection.close()
        assert set(statuses) <= {200, 503, 504}
        assert statuses.count(200) < 60


def readiness_after_signal(server: Server) -> Answer:
    """What the admin port says once the signal, which is under way, has arrived."""
    for _ in range(50):
        answer = server.call("GET", "/readyz", admin=True)
        if answer.status != 200:
            break
        time.sleep(0.01)
    return answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain_answers_what_is_in_hand(bundle: Path, tmp_path: Path, number: int) -> None:
    server = start(bundle, tmp_path)
    idle = Connection(server.port)
    idle.send(POST)
    assert idle.answer().status == 200
    busy = [Connection(server.port) for _ in range(8)]
    partial = Connection(server.port)
    partial.send(POST[:-5])
    for connection in busy:
        connection.send(POST)
    time.sleep(0.05)
    server.process.send_signal(number)
    for connection in busy:
        assert connection.answer().status == 200
    answer = readiness_after_signal(server)
    assert answer.status == 503
    assert answer.json()["code"] == "draining"
    assert answer.fields["connection"] == "close"
    with pytest.raises(ConnectionRefusedError):
        Connection(server.port)
    partial.send(POST[-5:])
    last = partial.answer()
    assert last.status == 200
    assert last.fields["connection"] == "close"
    assert partial.is_closed()
    assert idle.is_closed()
    assert server.process.wait(10) == 0, server.log()
    assert "event=stopped clean=true" in server.log()


def test_drain_answers_connections_that_wait_to_be_accepted(bundle: Path, tmp_path: Path) -> None:
    """The process is stopped while they arrive, more than it accepts in a turn; the signal is there first."""
    server = start(bundle, tmp_path)
    server.process.send_signal(signal.SIGSTOP)
    waiting = [Connection(server.port) for _ in range(100)]
    for connection in waiting:
        connection.send(POST)
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGCONT)
    assert [connection.answer().status for connection in waiting] == [200] * 100
    for connection in waiting:
        connection.close()
    assert server.process.wait(10) == 0, server.log()


@pytest.mark.parametrize("timeout_ms", [0, 100])
def test_a_drain_with_nothing_in_hand_is_clean_whatever_its_timeout(
    bundle: Path, tmp_path: Path, timeout_ms: int
) -> None:
    server = start(bundle, tmp_path, "--set", f"server.drain_timeout_ms={timeout_ms}")
    with Connection(server.port) as idle:
        idle.send(POST)
        assert idle.answer().status == 200
        assert server.stop() == 0, server.log()
    assert "event=drain_timeout" not in server.log()


def test_a_drain_does_not_wait_for_clients_that_have_their_answer(bundle: Path, tmp_path: Path) -> None:
    """The last answer has gone, but its client keeps the connection open."""
    server = start(bundle, tmp_path, "--set", "server.drain_timeout_ms=500")
    with Connection(server.port) as connection:
        connection.send(request_bytes("GET", "/healthz", None, "Connection: close\r\n"))
        assert connection.answer().status == 200
        assert server.stop() == 0, server.log()


def test_a_drain_that_is_held_up_ends_in_time(bundle: Path, tmp_path: Path) -> None:
    server = start(bundle, tmp_path, "--set", "server.drain_timeout_ms=700")
    with Connection(server.port) as connection:
        connection.send(POST[:-1])
        time.sleep(0.1)
        begun = time.monotonic()
        assert server.stop() == 1
        assert 0.6 < time.monotonic() - begun < 3
    assert "event=drain_timeout" in server.log()


def test_a_drain_that_is_cut_short_drops_the_work_of_those_it_leaves(bundle: Path, tmp_path: Path) -> None:
    """Hundreds of requests wait for one lane; none is answered once the time is up, so none is worked on."""
    flags = ("--set", "lanes.count=1", "--set", "lanes.max_batch=1", "--set", "server.drain_timeout_ms=100")
    server = start(ROOT / "models/demo", tmp_path, *flags)
    body = b'{"user_id":"1","count":50,"explain":true,"timeout_ms":60000}'
    waiting = [Connection(server.port) for _ in range(600)]
    for connection in waiting:
        connection.send(request_bytes("POST", "/v1/recommend", body))
    begun = time.monotonic()
    assert server.stop() == 1
    assert time.monotonic() - begun < 1
    for connection in waiting:
        connection.close()


def test_a_stop_does_not_wait_for_the_bundle(tmp_path: Path) -> None:
    """Building a wide HNSW index takes seconds, and for a large catalogue minutes."""
    if "faiss            no" in run_vireo("version").stdout:
        pytest.skip("needs an index that takes long to build")
    flags = ("--set", "retrieval.index=faiss_hnsw", "--set", "retrieval.hnsw_m=256")
    server = start(ROOT / "models/demo", tmp_path, *flags, ready=False)
    begun = time.monotonic()
    assert server.stop() == 0, server.log()
    assert time.monotonic() - begun < 1.5
    assert "event=stopped clean=true" in server.log()
    assert "event=model_loaded" not in server.log()


def test_a_second_signal_ends_it_at_once(bundle: Path, tmp_path: Path) -> None:
    server = start(bundle, tmp_path)
    with Connection(server.port) as connection:
        connection.send(POST[:-1])
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert server.process.poll() is None
        assert server.stop() == 1
