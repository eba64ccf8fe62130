"""Events that last: restarts, kills, a disk that is full, one server to a folder."""

import json
import os
import resource
import signal
import threading
from pathlib import Path
from typing import Any

import kills
import pytest
from live import BINARY, Connection, Server, request_bytes, run_vireo, running, start
from test_routes import event, ids

from vireo_models.data.events import DamagedLogError, event_table, read_events

LONG = os.environ.get("VIREO_LONG", "") not in ("", "0")
SERVE = ("serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
QUIET = ("--set", "rerank.record_served=false")


def tell(server: Server, *events: dict[str, Any]) -> dict[str, Any]:
    answer = server.call("POST", "/v1/events", {"events": list(events)})
    assert answer.status == 202, answer.body
    return answer.json()


def test_what_viewers_did_is_there_after_a_restart(bundle: Path, tmp_path: Path) -> None:
    flags = ("--data", str(tmp_path / "data"), *QUIET)
    with running(bundle, tmp_path, *flags) as server:
        watched = ids(server.recommend("fresh", count=20))[:5]
        events = [event(f"{v}-{k}", v, k, "fresh") for v in watched for k in ("impression", "click", "like")]
        told = tell(server, *events)
        assert told["durable"] is True and told["accepted"] == 15
        seen = server.recommend("fresh", count=20)
        assert not set(watched) & set(ids(seen)), "an answered event is in the next feed"
    with running(bundle, tmp_path, *flags) as server:
        after = server.recommend("fresh", count=20)
        assert not set(watched) & set(ids(after))
        assert ids(after) == ids(seen)
        told = tell(server, *events, event("new", watched[0], "share", "fresh"))
        assert (told["accepted"], told["duplicate"]) == (1, 15)


def test_the_log_says_what_was_told(bundle: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    words = {"position": 3, "model_version": "m1", "experiment": "e", "arm": "b", "source": "trending"}
    with running(bundle, tmp_path, "--data", str(data)) as server:
        tell(server, event("a", "v1", "play", watch_s=2.5, time=1_700_000_000_000, **words))
        tell(server, event("ü", "v2", "click", user="名"), event("b", "no such video", "like"))
    table = event_table(data / "events")
    assert table["event_id"].tolist() == ["ea", "eü"]
    assert table["user_id"].tolist() == ["ev", "名"]
    first = table.iloc[0].to_dict()
    assert {key: first[key] for key in words} == words
    assert (first["type"], first["watch_s"], first["time_ms"]) == ("play", 2.5, 1_700_000_000_000)
    assert first["duration_s"] > 0 and first["received_ms"] > 1_700_000_000_000
    assert table["sequence"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("position", 0),
        ("position", 51),
        ("position", "1"),
        ("model_version", "m" * 65),
        ("experiment", 7),
        ("arm", None),
        ("source", []),
    ],
)
def test_odd_words_about_the_impression_are_refused(server: Server, member: str, value: object) -> None:
    answer = server.call("POST", "/v1/events", event("odd", "v1", "click", **{member: value}))
    assert answer.status == 400 and member in answer.json()["detail"]


def test_a_server_in_memory_says_so(server: Server) -> None:
    answer = server.call("POST", "/v1/events", event("memory1", "v1", "click", position=50, arm=""))
    assert (answer.status, answer.json()["durable"]) == (200, False)


def test_a_full_disk_is_a_503_and_reading_goes_on(bundle: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk; raising it is the operator's freeing of room.

    The log of the server's own words is a file too, so that of the events is made longer first.
    """
    data = tmp_path / "data"
    with running(bundle, tmp_path, "--data", str(data)) as server:
        tell(server, *(event(f"before{number}", "v1", "click") for number in range(500)))
        size = sum(path.stat().st_size for path in (data / "events").iterdir())
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
        for _ in range(3):
            answer = server.call("POST", "/v1/events", event("late", "v2", "click"))
            assert answer.status == 503 and answer.fields["retry-after"] == "1"
            problem = answer.json()
            assert problem["code"] == "storage" and "File too large" in problem["detail"]
            assert len(ids(server.recommend("ev", count=10))) == 10
        assert server.call("GET", "/readyz").status == 200
        resource.prlimit(
            server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
        assert tell(server, event("late", "v2", "click"))["accepted"] == 1
        log = server.log()
        assert log.count("event=event_log_failing") == 1 and log.count("event=event_log_works_again") == 1
        metrics = server.call("GET", "/metrics").body.decode()
        assert "vireo_event_log_failures_total 3" in metrics and "vireo_event_log_commits_total 2" in metrics
    written = [e.event_id for e in read_events(data / "events")]
    assert written == [*(f"ebefore{number}" for number in range(500)), "elate"]


def test_a_log_without_a_segment_is_empty(tmp_path: Path) -> None:
    """What a server leaves that is killed before its first segment has its name: a file that nobody reads."""
    (tmp_path / f"{1:020}.log.new").write_bytes(b"VIREO")
    assert list(read_events(tmp_path)) == []


def test_a_torn_end_is_cut_off_and_damage_is_no_start(bundle: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    flags = ("--data", str(data))
    with running(bundle, tmp_path, *flags) as server:
        for number in range(4):
            tell(server, event(f"t{number}", "v1", "click"))
        server.process.kill()
        server.process.wait()
    (segment,) = (data / "events").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-5])
    with running(bundle, tmp_path, *flags) as server:
        assert f"event=event_log_cut segment={segment.stem} offset=" in server.log()
        assert "event=state_recovered events=3 " in server.log()
        told = tell(server, *(event(f"t{number}", "v1", "click") for number in range(4)))
        assert (told["accepted"], told["duplicate"]) == (1, 3)
        server.process.kill()
        server.process.wait()
    damaged = bytearray(segment.read_bytes())
    damaged[len(whole) // 2] ^= 1
    segment.write_bytes(damaged)
    with pytest.raises(DamagedLogError):
        list(read_events(data / "events"))
    refused = run_vireo(*SERVE, "--bundle", str(bundle), *flags)
    assert refused.returncode == 1
    assert segment.name in refused.stderr and "byte" in refused.stderr
    segment.write_bytes(whole)
    with running(bundle, tmp_path, *flags):
        assert len(list(read_events(data / "events"))) == 4
    segment.write_bytes(whole[:-5])
    ahead = run_vireo(*SERVE, "--bundle", str(bundle), *flags)
    assert ahead.returncode == 1 and "its store has seen event 4" in ahead.stderr


def test_a_folder_has_one_server(bundle: Path, tmp_path: Path) -> None:
    flags = ("--data", str(tmp_path / "data"))
    with running(bundle, tmp_path, *flags):
        second = run_vireo(*SERVE, "--bundle", str(bundle), *flags)
        assert second.returncode == 1 and "another process" in second.stderr


def test_many_requests_share_a_sync(bundle: Path, tmp_path: Path) -> None:
    """Clients that tell at once are answered by fewer commits than requests; each is told of its own."""
    with running(bundle, tmp_path, "--data", str(tmp_path / "data")) as server:

        def one(client: int) -> None:
            with Connection(server.port) as connection:
                for number in range(40):
                    body = json.dumps(event(f"{client}-{number}", "v1", "click")).encode()
                    connection.send(request_bytes("POST", "/v1/events", body))
                    results = connection.answer().json()["results"]
                    assert results == [{"event_id": f"e{client}-{number}", "status": "accepted"}]

        threads = [threading.Thread(target=one, args=(client,)) for client in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = server.call("GET", "/metrics").body.decode().splitlines()
        commits = next(
            float(line.split()[1]) for line in lines if line.startswith("vireo_event_log_commits_total")
        )
        assert 1 <= commits < 320
    assert len(list(read_events(tmp_path / "data/events"))) == 320


def test_stopping_answers_what_waits(bundle: Path, tmp_path: Path) -> None:
    server = start(bundle, tmp_path, "--data", str(tmp_path / "data"))
    body = json.dumps({"events": [event(f"s{n}", "v1", "click") for n in range(500)]}).encode()
    with Connection(server.port) as connection:
        connection.send(request_bytes("POST", "/v1/events", body))
        server.process.send_signal(signal.SIGTERM)
        answer = connection.answer()
    assert answer.status == 202 and answer.json()["accepted"] == 500
    assert server.process.wait(15) == 0
    assert len(list(read_events(tmp_path / "data/events"))) == 500


def test_kills_lose_nothing_that_was_acknowledged(bundle: Path, tmp_path: Path) -> None:
    assert BINARY.exists()
    ledger = kills.run(bundle, tmp_path, 1000 if LONG else 30, seed=7)
    assert len(ledger.durable) > 1000
