"""The Python service that Vireo is compared with, as an oracle: both give the same feeds of a bundle."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from live import ROOT, Server, running

sys.path.insert(0, str(ROOT / "bench/peers"))

from feed_pipeline import Pipeline

import feed as comparison

VIEWERS = [str(i + 1) for i in range(40)]


@pytest.fixture(scope="module")
def both(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The pipeline, and a server started at the same time: a bundle's times are moved to that."""
    pipeline = Pipeline(bundle, int(time.time() * 1000))
    folder = tmp_path_factory.mktemp("peer")
    with running(bundle, folder, "--set", "rerank.record_served=false") as server:
        yield pipeline, server


def answers(
    monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, server: Server, wrong: float = 0.0
) -> dict[str, float]:
    """The comparison's own judgement, without a second server; `wrong` is added to the peer's P(like)."""

    def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
        if url == "vireo":
            return server.recommend(**{"user": body.pop("user_id"), **body})
        answer = pipeline.recommend(body)
        for item in answer["items"]:
            item["heads"]["like"] += wrong
        return answer

    monkeypatch.setattr(comparison, "post", lambda url, body: post(url, dict(body)))
    return comparison.agreement("vireo", "peer", [*VIEWERS, "nobody"])


def test_feeds_places_and_heads_agree(both: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = answers(monkeypatch, *both)
    comparison.check(found)
    assert found["viewers"] == 41 and found["heads"] > 0


def test_a_difference_stops_the_comparison(both: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = answers(monkeypatch, *both, wrong=0.002)
    assert 0.0015 < found["heads"] < 0.0025
    with pytest.raises(SystemExit, match="different answers"):
        comparison.check(found)


@pytest.mark.parametrize(("name", "value"), [("heads", 2e-3), ("places", 0.9), ("overlap", 0.9)])
def test_each_bound_counts(name: str, value: float) -> None:
    good = {"viewers": 1, "heads": 0.0, "places": 1.0, "overlap": 1.0}
    comparison.check(good)
    with pytest.raises(SystemExit):
        comparison.check({**good, name: value})
