"""docs/openapi.yaml against the live server: real answers fit its schemas, and what it forbids is refused."""

import json
from functools import cache
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from live import ROOT, Server
from test_malformed import BODY_CASES


@cache
def document() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docs/openapi.yaml").read_text(encoding="utf-8"))


def validator(name: str) -> Draft202012Validator:
    """The schema of one component, references into the whole document resolved."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def fits(name: str, value: Any) -> bool:
    return validator(name).is_valid(value)


EVENT = {"event_id": "o1", "request_id": "r", "user_id": 5, "video_id": "v1", "type": "play", "watch_s": 2}


def test_answers_fit_their_schemas(server: Server) -> None:
    asked = {"user_id": "4", "count": 50, "explain": True, "context": {"tab": "1", "x": 1.5}}
    assert fits("RecommendRequest", asked)
    answers = {
        "Feed": server.call("POST", "/v1/recommend", asked),
        "Ranking": server.call("POST", "/v1/rank", {"user_id": "4", "video_ids": ["v1", 7], "explain": True}),
        "EventResults": server.call("POST", "/v1/events", {"events": [EVENT, {**EVENT, "video_id": "none"}]}),
        "Similar": server.call("GET", "/v1/similar/v1"),
        "Health": server.call("GET", "/healthz"),
        "Ready": server.call("GET", "/readyz"),
        "Problem": server.call("GET", "/v1/similar/none"),
    }
    for name, answer in answers.items():
        validator(name).validate(answer.json())
    assert fits("ModelLoad", {"path": "/nowhere"}) and not fits("ModelLoad", {"path": ""})
    failed = server.call("POST", "/admin/models/load", {"path": "/nowhere"}, admin=True)
    validator("Problem").validate(failed.json())
    validator("Models").validate(server.call("GET", "/admin/models", admin=True).json())
    dry = {"user_id": "4", "satisfaction": [{"name": "a", "expression": "click"}]}
    assert fits("DryRunRequest", dry)
    validator("Feed").validate(server.call("POST", "/admin/dry_run", dry, admin=True).json())


def test_the_document_lists_every_path(server: Server) -> None:
    for path, methods in document()["paths"].items():
        admin = any("servers" in method and "8081" in str(method["servers"]) for method in methods.values())
        wrong = server.call("DELETE", path.replace("{id}", "v1"), admin=admin)
        assert wrong.status == 405, path
        assert set(methods) == {word.lower() for word in wrong.fields["allow"].split(", ")} - {"head"}, path


@pytest.mark.parametrize(("path", "bad", "good"), BODY_CASES)
def test_schemas_and_server_agree(path: str, bad: str, good: str) -> None:
    """Bodies that the server takes fit the schema; JSON that it refuses for its shape does not."""
    names = {"/v1/recommend": ["RecommendRequest"], "/v1/rank": ["RankRequest"]}.get(
        path, ["Event", "EventBatch"]
    )
    assert any(fits(name, json.loads(good)) for name in names), good
    try:
        value = json.loads(bad)
    except ValueError:
        return
    seen_by_the_parser_alone = '"user_id":"1","user_id":"2"' in bad or "ud800" in bad
    needs_replay = '"time":1}' in bad
    if not (seen_by_the_parser_alone or needs_replay):
        assert not any(fits(name, value) for name in names), bad
