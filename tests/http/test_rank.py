"""POST /v1/rank: a caller's own candidates get the heads and scores that a feed would show."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from live import Server, running

MOMENT = 1_800_000_000_000
CONTEXT = {"tab": "1"}


@pytest.fixture(scope="module")
def replayed(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes the time from requests and records what it serves; two requests a batch at most."""
    folder = tmp_path_factory.mktemp("rank")
    with running(bundle, folder, "--replay", "--set", "lanes.max_batch=2") as one:
        yield one


def rank(server: Server, user: str, videos: list[Any], **members: Any) -> dict[str, Any]:
    body = {"user_id": user, "video_ids": videos, "time": MOMENT, "context": CONTEXT, **members}
    answer = server.call("POST", "/v1/rank", body)
    assert answer.status == 200, answer.body
    return answer.json()


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["id"] for item in answer["items"]]


@pytest.mark.parametrize("user", ["3", "17", "nobody has met him"])
def test_heads_are_those_of_a_feed_bit_for_bit(replayed: Server, user: str) -> None:
    feed = replayed.recommend(user, count=50, time=MOMENT, context=CONTEXT, explain=True)
    shown = {item["id"]: item for item in feed["items"]}
    ranked = rank(replayed, user, list(reversed(shown)), explain=True)
    assert ranked["model_version"] == feed["model_version"]
    assert ids(ranked) == list(reversed(shown))
    for item in ranked["items"]:
        one = shown[item["id"]]
        assert set(item) == {"id", "score", "heads", "terms", "gates"}
        assert (item["score"], item["heads"]) == (one["score"], one["heads"])
        assert (item["terms"], item["gates"]) == (one["trace"]["terms"], one["trace"]["gates"])


def test_order_repetition_and_unknown_ids(replayed: Server) -> None:
    asked = ["v9", "no such video", "v2", "v9", 5, "v1", "no such video"]
    ranked = rank(replayed, "4", asked, request_id="mine")
    assert ranked["request_id"] == "mine"
    assert ids(ranked) == ["v9", "v2", "v9", "v1"]
    assert ranked["unknown"] == ["no such video", "5", "no such video"]
    assert ranked["items"][0] == ranked["items"][2]
    assert "gates" not in ranked["items"][0]
    assert ranked["items"][0] == rank(replayed, "4", ["v9"])["items"][0], "alone as in company"
    assert rank(replayed, "4", ["nothing"])["items"] == []


def test_the_guardrails_have_no_say(replayed: Server) -> None:
    """Unsafe videos and those that the viewer has seen are ranked as well."""
    everything = [f"v{i}" for i in range(300)]
    assert ids(rank(replayed, "5", everything)) == everything


def test_nothing_is_recorded_as_served(replayed: Server) -> None:
    rank(replayed, "30", [f"v{i}" for i in range(300)])
    feed = replayed.recommend("30", count=5, time=MOMENT, explain=True)
    assert feed["explain"]["filtered"]["served"] == 0
    again = replayed.recommend("30", count=5, time=MOMENT)
    assert not set(ids(feed)) & set(ids(again)), "a feed is"


def test_a_thousand_candidates_beside_feeds_and_others(replayed: Server) -> None:
    """More rows than one call of the engine takes: the answers are those of small requests."""
    videos = [f"v{i % 300}" for i in range(1000)]
    alone = {item["id"]: item for item in rank(replayed, "6", videos[:300])["items"]}
    with ThreadPoolExecutor(6) as pool:
        large = [pool.submit(rank, replayed, "6", videos, timeout_ms=30000) for _ in range(6)]
        feeds = [pool.submit(replayed.recommend, "7", count=5, timeout_ms=30000) for _ in range(6)]
        for answer in large:
            assert answer.result()["items"] == [alone[video] for video in videos]
        assert all(len(feed.result()["items"]) == 5 for feed in feeds)


def test_unknown_context_is_named(replayed: Server) -> None:
    assert rank(replayed, "3", ["v1"], context={"moon": "full"})["degraded"] == ["unknown_context:moon"]


def test_it_counts_under_its_own_route(replayed: Server) -> None:
    def count() -> float:
        text = replayed.call("GET", "/metrics", admin=True).body.decode()
        wanted = 'vireo_http_requests_total{route="rank",code="200"} '
        return sum(float(line[len(wanted) :]) for line in text.splitlines() if line.startswith(wanted))

    before = count()
    rank(replayed, "3", ["v1"])
    assert count() == before + 1
