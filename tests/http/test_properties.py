"""Thousands of random requests against a live server: what must hold of every feed."""

import json
import os
import random
from typing import Any

from live import Connection, Server, request_bytes

REQUESTS = 20_000 if os.environ.get("VIREO_LONG", "") not in ("", "0") else 3_000
WINDOW_FULL = 16  # requests under way on one connection


def random_request(rng: random.Random) -> dict[str, Any]:
    """Any valid request: known and unknown viewers, all counts, exclusions, contexts."""
    request: dict[str, Any] = {
        "user_id": rng.choice([str(rng.randint(1, 40)), f"new{rng.random()}", "é" * 5])
    }
    if rng.random() < 0.8:
        request["count"] = rng.randint(1, 50)
    if rng.random() < 0.5:
        request["exclude_ids"] = [f"v{rng.randint(0, 320)}" for _ in range(rng.randint(0, 80))]
    if rng.random() < 0.3:
        request["context"] = {"tab": str(rng.randint(0, 5))}
    if rng.random() < 0.2:
        request["explain"] = True
    request["timeout_ms"] = 20_000
    return request


def gave_way(feed: dict[str, Any]) -> bool:
    return any(reason.startswith("rule_gave_way") for reason in feed["coverage"]["degraded"])


def check_caps(feed: dict[str, Any]) -> None:
    """The default caps: 2 of one creator and 4 of one topic in any 10 positions."""
    for key, most in (("creator", 2), ("topic", 4)):
        names = [item[key] for item in feed["items"]]
        for begin in range(max(1, len(names) - 9)):
            window = [name for name in names[begin : begin + 10] if name]
            assert all(window.count(name) <= most for name in set(window)), (key, begin, window)


def check(request: dict[str, Any], feed: dict[str, Any]) -> None:
    ids = [item["id"] for item in feed["items"]]
    wanted = request.get("count", 30)
    assert len(set(ids)) == len(ids)
    assert not set(ids) & set(request.get("exclude_ids", []))
    assert len(ids) <= wanted
    if len(ids) < wanted:
        assert feed["coverage"]["short_reason"]
    assert [item["position"] for item in feed["items"]] == list(range(1, len(ids) + 1))
    if not gave_way(feed):
        check_caps(feed)


def test_every_feed_keeps_the_rules(server: Server) -> None:
    rng = random.Random(20260101)
    capped = 0
    with Connection(server.port, 60) as connection:
        for _ in range(REQUESTS // WINDOW_FULL + 1):
            requests = [random_request(rng) for _ in range(WINDOW_FULL)]
            connection.send(
                b"".join(request_bytes("POST", "/v1/recommend", json.dumps(r).encode()) for r in requests)
            )
            for request in requests:
                answer = connection.answer()
                assert answer.status == 200, answer.body
                check(request, answer.json())
                capped += not gave_way(answer.json())
    assert capped > REQUESTS // 4, "the caps were hardly tested"
