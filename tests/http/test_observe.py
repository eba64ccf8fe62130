"""What a person looks at: /debug, the log of slow requests, sizes and model versions among the metrics."""

import contextlib
import json
import re
from pathlib import Path

from live import Connection, request_bytes, running


def test_debug_shows_loops_lanes_and_the_queue(bundle: Path, tmp_path: Path) -> None:
    with running(bundle, tmp_path, "--set=server.loops=2") as server:
        for user in range(3):
            server.recommend(user)
        page = server.call("GET", "/debug", admin=True).json()
        assert page["readiness"] == "ready" and page["model_version"]
        assert len(page["loops"]) == 2 and len(page["lanes"]) == 2
        assert sum(lane["jobs"] for lane in page["lanes"]) >= 3
        assert page["connections"]["admin"] == 1 and page["connections"]["public_limit"] == 1024
        assert page["queue"]["normal"] == 0 and page["queue"]["in_flight"] == 0
        assert server.call("GET", "/debug").status == 404


def test_slow_requests_are_logged_with_their_stages(bundle: Path, tmp_path: Path) -> None:
    body = json.dumps({"user_id": "4", "count": 50, "explain": True, "request_id": 'odd"id'}).encode()
    with running(bundle, tmp_path, "--set=server.slow_request_ms=1", "--set=lanes.count=1") as server:
        with contextlib.ExitStack() as stack:  # so many at once that the last wait longer than a millisecond
            crowd = [stack.enter_context(Connection(server.port)) for _ in range(80)]
            for connection in crowd:
                connection.send(request_bytes("POST", "/v1/recommend", body))
            assert all(connection.answer().status == 200 for connection in crowd)
        text = server.log()
    lines = re.findall(r"event=slow_request (.*)", text)
    assert lines and len(lines) <= 80
    for line in lines:
        fields = dict(re.findall(r'(\w+)=("[^"]*"|\S+)', line))
        assert (
            fields["request_id"] == '"odd?id"'
            and fields["route"] == "recommend"
            and fields["status"] == "200"
        )
        assert int(fields["took_us"]) >= 1000 and int(fields["rank_us"]) > 0
    with running(bundle, tmp_path) as server:
        server.recommend(4)
        assert "slow_request" not in server.log()


def test_metrics_count_sizes_and_versions(bundle: Path, tmp_path: Path) -> None:
    with running(bundle, tmp_path) as server:
        server.recommend(4)
        text = server.call("GET", "/metrics", admin=True).body.decode()
        assert re.search(r'^vireo_model_answers_total\{version="[^"]+"\} 1$', text, re.MULTILINE)
        for family in ("request", "response"):
            assert re.search(rf"^vireo_http_{family}_size_bytes_count \d+$", text, re.MULTILINE)
        assert 'vireo_http_connections_refused_total{reason="address"} 0' in text
