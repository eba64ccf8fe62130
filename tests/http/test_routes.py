"""What the routes answer: feeds, explanations, events, similar videos, observation, dry runs."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import exposition
from live import ROOT, Connection, Server, request_bytes, running

SOURCES = ["two_tower", "content", "trending", "social", "subscriptions"]
HEADS = {"click", "watch_s", "like", "finish"}
QUIET = ("--set", "rerank.record_served=false")


def event(number: object, video: str, kind: str, user: str = "ev", **members: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "request_id": "r1",
        "user_id": user,
        "video_id": video,
        "type": kind,
        **members,
    }


def ids(feed: dict[str, Any]) -> list[str]:
    return [item["id"] for item in feed["items"]]


def without_times(feed: dict[str, Any]) -> dict[str, Any]:
    """A feed without what measures time or names the request."""
    kept = {key: value for key, value in feed.items() if key not in ("took_us", "request_id", "explain")}
    kept["coverage"] = {**feed["coverage"], "sources": [s["name"] for s in feed["coverage"]["sources"]]}
    return kept


def test_a_feed_has_the_shape_of_the_interface(server: Server) -> None:
    feed = server.recommend("3", count=20, request_id="mine")
    assert feed["request_id"] == "mine"
    assert feed["model_version"].startswith("tiny")
    assert feed["experiment"] == "" and feed["arm"] == ""
    assert [s["name"] for s in feed["coverage"]["sources"]] == SOURCES
    assert all(s["status"] == "ok" for s in feed["coverage"]["sources"])
    assert set(feed["took_us"]) == {"queue", "retrieve", "merge", "rank", "rerank"}
    assert len(feed["items"]) == 20
    assert len(set(ids(feed))) == 20
    for position, item in enumerate(feed["items"], 1):
        assert item["position"] == position
        assert set(item["heads"]) == HEADS
        assert all(0 <= item["heads"][head] <= 1 for head in ("click", "like", "finish"))
        assert item["sources"] and all(s["name"] in SOURCES and s["rank"] >= 1 for s in item["sources"])
        assert "trace" not in item


def test_the_default_count_is_thirty(server: Server) -> None:
    assert len(server.recommend("3")["items"]) == 30


def test_request_ids_are_made_and_differ(server: Server) -> None:
    first, second = server.recommend("3", count=1), server.recommend("3", count=1)
    assert first["request_id"] and first["request_id"] != second["request_id"]


def test_an_unknown_viewer_gets_a_feed(server: Server) -> None:
    feed = server.recommend("never seen before", count=20)
    assert len(feed["items"]) == 20


def test_the_same_request_gives_the_same_feed(bundle: Path, tmp_path: Path) -> None:
    """At one moment (--replay takes it from the request) even every float is the same."""
    request = {"count": 30, "explain": True, "context": {"tab": "1"}, "time": int(time.time() * 1000)}
    with running(bundle, tmp_path, *QUIET, "--replay") as server:
        for user in ("7", "8", "unknown"):
            first = without_times(server.recommend(user, **request))
            assert without_times(server.recommend(user, **request)) == first


def test_an_integer_id_is_its_decimal_text(server: Server) -> None:
    assert ids(server.recommend(7)) == ids(server.recommend("7"))


def test_explain_tells_why(server: Server) -> None:
    feed = server.recommend("3", count=20, explain=True)
    assert feed["explain"]["candidates"] >= 20
    assert set(feed["explain"]["filtered"]) >= {"safety", "excluded", "seen"}
    ranks = set()
    for item in feed["items"]:
        trace = item["trace"]
        heads = item["heads"]
        wanted = {
            "clicks": 0.3 * heads["click"],
            "watch": 0.01 * heads["watch_s"],
            "finishes": heads["finish"],
            "likes": 5 * heads["like"],
        }
        assert set(trace["terms"]) == set(wanted)
        for name, value in wanted.items():
            assert abs(trace["terms"][name] - value) < 1e-5 * max(1, abs(value)), name
        assert abs(sum(trace["terms"].values()) - item["score"]) < 1e-5 * max(1, abs(item["score"]))
        assert set(trace["gates"]) == HEADS
        for weights in trace["gates"].values():
            assert abs(sum(weights) - 1) < 1e-5
        ranks.add(trace["score_rank"])
    assert len(ranks) == 20


def test_unknown_context_is_named_not_refused(server: Server) -> None:
    feed = server.recommend("3", count=1, context={"tab": "1", "moon": "full", "hour": 3})
    degraded = feed["coverage"]["degraded"]
    assert "unknown_context:moon" in degraded
    assert "unknown_context:hour" in degraded
    assert "unknown_context:tab" not in degraded


def test_excluded_videos_stay_out(server: Server) -> None:
    first = ids(server.recommend("5", count=20))
    second = ids(server.recommend("5", count=20, exclude_ids=[*first, "no such video"]))
    assert not set(first) & set(second)


def test_events_change_the_next_answer(bundle: Path, tmp_path: Path) -> None:
    with running(bundle, tmp_path, *QUIET) as server:
        before = server.recommend("fresh", count=20)
        assert next(s for s in before["coverage"]["sources"] if s["name"] == "content")["returned"] == 0
        watched = ids(before)[:5]
        events = [event(f"{v}-{k}", v, k, "fresh") for v in watched for k in ("impression", "click", "like")]
        answer = server.call("POST", "/v1/events", {"events": events})
        assert answer.status == 200
        told = answer.json()
        assert told["durable"] is False
        assert (told["accepted"], told["duplicate"], told["rejected"]) == (15, 0, 0)
        assert [r["event_id"] for r in told["results"]] == [e["event_id"] for e in events]
        after = server.recommend("fresh", count=20)
        assert not set(watched) & set(ids(after)), "what was seen is not shown again"
        assert next(s for s in after["coverage"]["sources"] if s["name"] == "content")["returned"] > 0
        again = server.call("POST", "/v1/events", {"events": events}).json()
        assert (again["accepted"], again["duplicate"]) == (0, 15)
        assert ids(server.recommend("fresh", count=20)) == ids(after), "repeated events change nothing"


def test_events_have_verdicts_of_their_own(server: Server) -> None:
    future = int(time.time() * 1000) + 3_600_000
    batch = [
        event("verdict1", "v1", "click"),
        event("verdict2", "no such video", "click"),
        event("verdict3", "v2", "click", time=future),
        event("verdict1", "v1", "click"),
    ]
    told = server.call("POST", "/v1/events", {"events": batch}).json()
    assert [r["status"] for r in told["results"]] == ["accepted", "rejected", "rejected", "duplicate"]
    assert "video_id" in told["results"][1]["reason"]
    assert "future" in told["results"][2]["reason"]
    single = server.call("POST", "/v1/events", event("verdict4", "v1", "play", watch_s=3.5)).json()
    assert single["accepted"] == 1


def test_a_malformed_event_leaves_nothing_behind(server: Server) -> None:
    good, bad = event("atomic1", "v1", "click"), event("atomic2", "v1", "clack")
    answer = server.call("POST", "/v1/events", {"events": [good, bad]})
    assert answer.status == 400
    assert "events[1].type" in answer.json()["detail"]
    assert server.call("POST", "/v1/events", {"events": [good]}).json()["accepted"] == 1


def test_a_thousand_events_fit_and_no_more(server: Server) -> None:
    batch = [event(f"many{i}", f"v{i % 300}", "impression", f"crowd{i % 50}") for i in range(1001)]
    assert server.call("POST", "/v1/events", {"events": batch}).status == 400
    assert server.call("POST", "/v1/events", {"events": batch[:1000]}).json()["accepted"] == 1000


def test_similar_videos(server: Server) -> None:
    answer = server.call("GET", "/v1/similar/v1?count=7")
    assert answer.status == 200
    found = answer.json()
    assert found["id"] == "v1"
    assert len(found["items"]) == 7
    assert "v1" not in ids(found)
    scores = [item["score"] for item in found["items"]]
    assert scores == sorted(scores, reverse=True)
    assert ids(server.call("GET", "/v1/similar/%76%31?count=7").json()) == ids(found)
    assert server.call("GET", "/v1/similar/nothing").status == 404
    for query in ("count=0", "count=51", "count=x", "count=5&count=5", "cuont=5", "count=05", "count="):
        assert server.call("GET", f"/v1/similar/v1?{query}").status == 400, query
    unknown = server.call("GET", "/v1/similar/v1?count=5&page=2")
    assert unknown.json()["detail"] == "page: unknown parameter"


def test_served_videos_are_not_served_again(bundle: Path, tmp_path: Path) -> None:
    with running(bundle, tmp_path) as server:
        first, second = ids(server.recommend("9", count=20)), ids(server.recommend("9", count=20))
        assert not set(first) & set(second)


def test_a_dry_run_scores_under_other_terms_and_leaves_no_mark(bundle: Path, tmp_path: Path) -> None:
    terms = [{"name": "twice", "expression": "2*click"}, {"name": "root", "expression": "sqrt(watch_s)"}]
    with running(bundle, tmp_path) as server:
        request = {"user_id": "9", "count": 20, "explain": True, "satisfaction": terms}
        first = server.call("POST", "/admin/dry_run", request, admin=True)
        assert first.status == 200, first.body
        feed = first.json()
        assert feed["dry_run"] is True
        for item in feed["items"]:
            assert set(item["trace"]["terms"]) == {"twice", "root"}
            assert abs(item["trace"]["terms"]["twice"] - 2 * item["heads"]["click"]) < 1e-5
            assert abs(item["trace"]["terms"]["root"] - item["heads"]["watch_s"] ** 0.5) < 1e-4
        assert ids(server.call("POST", "/admin/dry_run", request, admin=True).json()) == ids(feed)
        request["satisfaction"] = [{"name": "odd", "expression": "2*clack"}]
        refused = server.call("POST", "/admin/dry_run", request, admin=True)
        assert refused.status == 400
        assert "odd" in refused.json()["detail"]
        assert server.call("POST", "/admin/dry_run", request).status == 404, "not on the public port"


def test_health_and_readiness(server: Server) -> None:
    for admin in (False, True):
        assert server.call("GET", "/healthz", admin=admin).json() == {"status": "ok"}
        ready = server.call("GET", "/readyz", admin=admin)
        assert ready.json()["status"] == "ready"
    head = server.call("HEAD", "/readyz")
    assert head.status == 200
    assert head.body == b""
    assert int(head.fields["content-length"]) == len(ready.body)


def test_the_settings_in_force_can_be_read(server: Server) -> None:
    settings = server.call("GET", "/admin/config", admin=True).json()
    assert settings["rerank"]["record_served"] is False
    assert set(settings) >= {"server", "lanes", "retrieval", "sources", "satisfaction", "rerank", "state"}


def test_metrics_keep_the_format_and_count(server: Server) -> None:
    def read() -> tuple[dict[str, str], exposition.Samples]:
        answer = server.call("GET", "/metrics", admin=True)
        assert answer.fields["content-type"].startswith("text/plain; version=0.0.4")
        promtool = shutil.which("promtool")
        if promtool:  # beside our own reading of its rules
            subprocess.run([promtool, "check", "metrics"], input=answer.body, check=True)
        return exposition.parse(answer.body.decode())

    _, before = read()
    for _ in range(3):
        server.recommend("3", count=5)
    server.call("GET", "/nowhere")
    types, after = read()
    ok = ("vireo_http_requests_total", (("code", '"200"'), ("route", '"recommend"')))
    missing = ("vireo_http_requests_total", (("code", '"404"'), ("route", '"none"')))
    jobs = ("vireo_feed_jobs_total", ())
    assert after[ok] - before.get(ok, 0) == 3
    assert after[missing] - before.get(missing, 0) == 1
    assert after[jobs] - before[jobs] == 3
    assert types["vireo_feed_stage_duration_seconds"] == "histogram"
    assert after[("vireo_ready", ())] == 1


def test_the_metrics_to_watch_exist(server: Server) -> None:
    """The table of docs/operations.md names families that /metrics has, with those labels."""
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`vireo_.*?`) \|", text, re.MULTILINE)
    named = [match for row in rows for match in re.findall(r"`(vireo_\w+)(?:\{([\w,]+)\})?`", row)]
    assert len(named) >= 12
    server.recommend("3", count=1)
    _, samples = exposition.parse(server.call("GET", "/metrics", admin=True).body.decode())
    for family, labels in named:
        wanted = set(filter(None, labels.split(",")))
        found = [
            {label for label, _ in pairs} - {"le"}
            for name, pairs in samples
            if re.fullmatch(rf"{family}(_bucket)?", name)
        ]
        assert wanted in found, family


def test_pipelined_answers_come_in_order(server: Server) -> None:
    with Connection(server.port) as connection:
        wanted = [f"order-{i}" for i in range(40)]
        data = b""
        for i, name in enumerate(wanted):
            body = json.dumps({"user_id": str(i % 7), "count": 1 + i % 50, "request_id": name}).encode()
            data += request_bytes("POST", "/v1/recommend", body) + request_bytes("GET", "/healthz")
        connection.send(data)
        got = []
        for _ in wanted:
            got.append(connection.answer().json()["request_id"])
            assert connection.answer().json() == {"status": "ok"}
        assert got == wanted


def test_every_answer_says_its_date(server: Server) -> None:
    date = server.call("GET", "/healthz").fields["date"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date)
