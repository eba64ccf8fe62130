"""Malformed HTTP and JSON on raw sockets: each gets its 4xx or 5xx, and its valid twin succeeds."""

import json

import pytest
from live import Connection, Server

HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
GOOD = b'{"user_id":"1","count":1}'


def post(body: bytes, fields: bytes = JSON, path: bytes = b"/v1/recommend") -> bytes:
    """A well-framed POST."""
    return b"POST %s HTTP/1.1\r\n" % path + HOST + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body


def framed(length_fields: bytes, body: bytes = GOOD) -> bytes:
    """A POST whose framing fields are given."""
    return b"POST /v1/recommend HTTP/1.1\r\n" + HOST + JSON + length_fields + b"\r\n" + body


def timed(ms: bytes) -> bytes:
    return post(GOOD, JSON + b"X-Request-Timeout-Ms: " + ms + b"\r\n")


def get(line: bytes = b"GET /healthz HTTP/1.1\r\n", fields: bytes = HOST) -> bytes:
    return line + fields + b"\r\n"


LENGTH = b"Content-Length: %d" % len(GOOD)
TWIN = post(GOOD)

HTTP_CASES: list[tuple[str, bytes, int, bytes]] = [
    ("bare LF lines", b"GET /healthz HTTP/1.1\nHost: localhost\n\n", 400, get()),
    ("bare LF at the end", b"GET /healthz HTTP/1.1\r\n" + HOST + b"\n", 400, get()),
    ("NUL in a value", get(fields=HOST + b"X: a\0b\r\n"), 400, get(fields=HOST + b"X: ab\r\n")),
    ("CR in a value", get(fields=HOST + b"X: a\rb\r\n"), 400, get(fields=HOST + b"X: a b\r\n")),
    ("no Host", get(fields=b""), 400, get()),
    ("two Hosts", get(fields=HOST + HOST), 400, get()),
    ("empty Host", get(fields=b"Host:\r\n"), 400, get()),
    ("bad Host", get(fields=b"Host: a b\r\n"), 400, get(fields=b"Host: a-b\r\n")),
    ("fold", get(fields=HOST + b"X: a\r\n b\r\n"), 400, get(fields=HOST + b"X: a b\r\n")),
    ("space before colon", framed(b"Content-Length : %d\r\n" % len(GOOD)), 400, TWIN),
    ("two lengths", framed(LENGTH + b"\r\n" + LENGTH + b"\r\n"), 400, TWIN),
    ("two different lengths", framed(LENGTH + b"\r\nContent-Length: 0\r\n"), 400, TWIN),
    ("length list", framed(LENGTH + b", 5\r\n"), 400, TWIN),
    ("signed length", framed(b"Content-Length: +%d\r\n" % len(GOOD)), 400, TWIN),
    ("negative length", framed(b"Content-Length: -1\r\n"), 400, TWIN),
    ("hex length", framed(b"Content-Length: 0x19\r\n"), 400, TWIN),
    ("huge length", framed(b"Content-Length: 99999999999999999999\r\n"), 400, TWIN),
    ("chunked", framed(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 411, TWIN),
    ("gzip coding", framed(b"Transfer-Encoding: gzip\r\n"), 501, TWIN),
    ("chunked with length", framed(b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n"), 400, TWIN),
    ("body beyond the limit", framed(b"Content-Length: 100000000\r\n"), 413, TWIN),
    ("HTTP/1.0", get(b"GET /healthz HTTP/1.0\r\n"), 505, get()),
    ("HTTP/2.0", get(b"GET /healthz HTTP/2.0\r\n"), 505, get()),
    ("odd version", get(b"GET /healthz HTCPCP/1.0\r\n"), 400, get()),
    ("no version", get(b"GET /healthz\r\n"), 400, get()),
    ("two spaces", get(b"GET  /healthz HTTP/1.1\r\n"), 400, get()),
    ("unknown method", get(b"BREW /healthz HTTP/1.1\r\n"), 501, get()),
    ("lower-case method", get(b"get /healthz HTTP/1.1\r\n"), 501, get()),
    ("bad method", get(b"G(ET /healthz HTTP/1.1\r\n"), 400, get()),
    ("relative target", get(b"GET healthz HTTP/1.1\r\n"), 400, get()),
    (
        "https target",
        get(b"GET https://a/healthz HTTP/1.1\r\n"),
        400,
        get(b"GET http://a/healthz HTTP/1.1\r\n"),
    ),
    (
        "broken escape",
        get(b"GET /v1/similar/%v1 HTTP/1.1\r\n"),
        400,
        get(b"GET /v1/similar/%761 HTTP/1.1\r\n"),
    ),
    ("encoded NUL", get(b"GET /v1/similar/v1%00 HTTP/1.1\r\n"), 400, get(b"GET /v1/similar/v1 HTTP/1.1\r\n")),
    ("fragment", get(b"GET /healthz#a HTTP/1.1\r\n"), 400, get(b"GET /healthz?a HTTP/1.1\r\n")),
    (
        "long target",
        get(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n"),
        414,
        get(b"GET /healthz?" + b"a" * 7000 + b" HTTP/1.1\r\n"),
    ),
    (
        "long field",
        get(fields=HOST + b"X: " + b"a" * 9000 + b"\r\n"),
        431,
        get(fields=HOST + b"X: " + b"a" * 7000 + b"\r\n"),
    ),
    ("many fields", get(fields=HOST + b"X: a\r\n" * 100), 431, get(fields=HOST + b"X: a\r\n" * 99)),
    ("other expectation", get(fields=HOST + b"Expect: tea\r\n"), 417, get()),
    ("unknown path", get(b"GET /v2/recommend HTTP/1.1\r\n"), 404, get()),
    ("path with dots", get(b"GET /v1/../healthz HTTP/1.1\r\n"), 404, get()),
    ("admin path on the public port", get(b"GET /admin/config HTTP/1.1\r\n"), 404, get()),
    ("GET on a POST path", get(b"GET /v1/recommend HTTP/1.1\r\n"), 405, TWIN),
    ("POST on a GET path", post(GOOD, path=b"/healthz"), 405, get()),
    ("DELETE", get(b"DELETE /healthz HTTP/1.1\r\n"), 405, get(b"HEAD /healthz HTTP/1.1\r\n")),
    ("no Content-Type", post(GOOD, fields=b""), 415, TWIN),
    ("text Content-Type", post(GOOD, fields=b"Content-Type: text/plain\r\n"), 415, TWIN),
    (
        "other charset",
        post(GOOD, fields=b"Content-Type: application/json; charset=latin-1\r\n"),
        415,
        post(GOOD, fields=b"Content-Type: application/json; charset=UTF-8\r\n"),
    ),
    ("no body", post(b""), 400, TWIN),
    ("timeout of words", post(GOOD, JSON + b"X-Request-Timeout-Ms: soon\r\n"), 400, timed(b"20000")),
    ("timeout of nothing", post(GOOD, JSON + b"X-Request-Timeout-Ms: 0\r\n"), 400, timed(b"60000")),
    ("timeout beyond a minute", post(GOOD, JSON + b"X-Request-Timeout-Ms: 60001\r\n"), 400, timed(b"60000")),
    (
        "timeout of similar",
        get(b"GET /v1/similar/v1 HTTP/1.1\r\n", HOST + b"X-Request-Timeout-Ms: -5\r\n"),
        400,
        get(b"GET /v1/similar/v1 HTTP/1.1\r\n", HOST + b"X-Request-Timeout-Ms: 5000\r\n"),
    ),
    (
        "two timeouts",
        post(GOOD, JSON + b"X-Request-Timeout-Ms: 5000\r\n" * 2),
        400,
        timed(b"5000"),
    ),
    (
        "unknown priority",
        post(GOOD, JSON + b"X-Request-Priority: urgent\r\n"),
        400,
        post(GOOD, JSON + b"X-Request-Priority: low\r\n"),
    ),
]

EVENT = '"event_id":"%s","request_id":"r","user_id":"malformed","video_id":"v1"'
RANK = '{"user_id":"1","video_ids":["v1"]}'
BODY_CASES: list[tuple[str, str, str]] = [
    ("/v1/rank", "{}", RANK),
    ("/v1/rank", "[]", RANK),
    ("/v1/rank", '{"user_id":"1"}', RANK),
    ("/v1/rank", '{"video_ids":["v1"]}', RANK),
    ("/v1/rank", '{"user_id":"1","video_ids":[]}', RANK),
    ("/v1/rank", '{"user_id":"1","video_ids":"v1"}', RANK),
    ("/v1/rank", '{"user_id":"1","video_ids":[1.5]}', '{"user_id":"1","video_ids":[15]}'),
    ("/v1/rank", '{"user_id":"1","video_ids":[""]}', '{"user_id":"1","video_ids":[" "]}'),
    ("/v1/rank", '{"user_id":"1","video_ids":[["v1"]]}', RANK),
    (
        "/v1/rank",
        '{"user_id":"1","video_ids":["%s"]}' % ("x" * 65),
        '{"user_id":"1","video_ids":["%s"]}' % ("x" * 64),
    ),
    (
        "/v1/rank",
        '{"user_id":"1","video_ids":[' + ",".join(["1"] * 1001) + "]}",
        '{"user_id":"1","video_ids":[' + ",".join(["1"] * 1000) + "]}",
    ),
    ("/v1/rank", RANK[:-1] + ',"count":5}', RANK),
    ("/v1/rank", RANK[:-1] + ',"exclude_ids":[]}', RANK),
    ("/v1/rank", RANK[:-1] + ',"satisfaction":[]}', RANK),
    ("/v1/rank", RANK[:-1] + ',"explain":1}', RANK[:-1] + ',"explain":true}'),
    ("/v1/rank", RANK[:-1] + ',"timeout_ms":0}', RANK[:-1] + ',"timeout_ms":30000}'),
    ("/v1/rank", RANK[:-1] + ',"time":1}', RANK),
    ("/v1/recommend", '{"user_id":"1","video_ids":["v1"]}', '{"user_id":"1"}'),
    ("/v1/recommend", '{"user_id":"1"', '{"user_id":"1"}'),
    ("/v1/recommend", '{"user_id":"1"}}', '{"user_id":"1"}'),
    ("/v1/recommend", '{"user_id":"1",}', '{"user_id":"1"}'),
    ("/v1/recommend", "{'user_id':'1'}", '{"user_id":"1"}'),
    ("/v1/recommend", '{"user_id":"1","user_id":"2"}', '{"user_id":"1"}'),
    ("/v1/recommend", '{"user_id":"\\ud800"}', '{"user_id":"\\ud83d\\ude00"}'),
    ("/v1/recommend", "[" * 50 + "]" * 50, '{"user_id":"1"}'),
    ("/v1/recommend", "null", '{"user_id":"1"}'),
    ("/v1/recommend", "{}", '{"user_id":"1"}'),
    ("/v1/recommend", '{"user_id":""}', '{"user_id":"new"}'),
    ("/v1/recommend", '{"user_id":"%s"}' % ("x" * 65), '{"user_id":"%s"}' % ("x" * 64)),
    ("/v1/recommend", '{"user_id":1.5}', '{"user_id":15}'),
    ("/v1/recommend", '{"user_id":true}', '{"user_id":"true"}'),
    ("/v1/recommend", '{"user_id":"1","colour":"red"}', '{"user_id":"1"}'),
    ("/v1/recommend", '{"user_id":"1","count":0}', '{"user_id":"1","count":1}'),
    ("/v1/recommend", '{"user_id":"1","count":51}', '{"user_id":"1","count":50}'),
    ("/v1/recommend", '{"user_id":"1","count":"5"}', '{"user_id":"1","count":5}'),
    ("/v1/recommend", '{"user_id":"1","timeout_ms":0}', '{"user_id":"1","timeout_ms":5000}'),
    ("/v1/recommend", '{"user_id":"1","timeout_ms":60001}', '{"user_id":"1","timeout_ms":60000}'),
    ("/v1/recommend", '{"user_id":"1","explain":1}', '{"user_id":"1","explain":true}'),
    ("/v1/recommend", '{"user_id":"1","context":[]}', '{"user_id":"1","context":{}}'),
    ("/v1/recommend", '{"user_id":"1","context":{"tab":[]}}', '{"user_id":"1","context":{"tab":"1"}}'),
    ("/v1/recommend", '{"user_id":"1","exclude_ids":"v1"}', '{"user_id":"1","exclude_ids":["v1"]}'),
    ("/v1/recommend", '{"user_id":"1","exclude_ids":[{}]}', '{"user_id":"1","exclude_ids":[1]}'),
    (
        "/v1/recommend",
        json.dumps({"user_id": "1", "exclude_ids": list(range(1001))}),
        json.dumps({"user_id": "1", "exclude_ids": list(range(1000))}),
    ),
    ("/v1/recommend", '{"user_id":"1","time":1}', '{"user_id":"1"}'),
    ("/v1/recommend", '{"user_id":"1","satisfaction":[]}', '{"user_id":"1"}'),
    ("/v1/events", "{%s}" % (EVENT % "a1"), '{%s,"type":"click"}' % (EVENT % "a1")),
    ("/v1/events", '{%s,"type":"look"}' % (EVENT % "a2"), '{%s,"type":"skip"}' % (EVENT % "a2")),
    ("/v1/events", '{%s,"type":"play"}' % (EVENT % "a3"), '{%s,"type":"play","watch_s":1}' % (EVENT % "a3")),
    (
        "/v1/events",
        '{%s,"type":"play","watch_s":-1}' % (EVENT % "a4"),
        '{%s,"type":"play","watch_s":0}' % (EVENT % "a4"),
    ),
    (
        "/v1/events",
        '{%s,"type":"like","time":"now"}' % (EVENT % "a5"),
        '{%s,"type":"like","time":1}' % (EVENT % "a5"),
    ),
    ("/v1/events", '{%s,"type":"like","x":1}' % (EVENT % "a6"), '{%s,"type":"like"}' % (EVENT % "a6")),
    ("/v1/events", '{"events":[]}', '{"events":[{%s,"type":"like"}]}' % (EVENT % "a7")),
    ("/v1/events", '{"events":[1]}', '{"events":[{%s,"type":"like"}]}' % (EVENT % "a8")),
]


def test_there_are_enough_cases() -> None:
    assert len(HTTP_CASES) + len(BODY_CASES) >= 60


def ask(server: Server, data: bytes) -> tuple[int, bytes, str]:
    with Connection(server.port) as connection:
        connection.send(data)
        answer = connection.answer(head=data.startswith(b"HEAD"))
        return answer.status, answer.body, answer.fields["content-type"]


@pytest.mark.parametrize(("name", "bad", "status", "good"), HTTP_CASES, ids=[case[0] for case in HTTP_CASES])
def test_malformed_http_is_refused(server: Server, name: str, bad: bytes, status: int, good: bytes) -> None:
    got, body, media = ask(server, bad)
    assert got == status, (name, body)
    assert media == "application/problem+json"
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["detail"]
    assert ask(server, good)[0] == 200, f"the valid twin of {name}"


@pytest.mark.parametrize(("path", "bad", "good"), BODY_CASES, ids=[f"{i}" for i in range(len(BODY_CASES))])
def test_malformed_bodies_are_refused(server: Server, path: str, bad: str, good: str) -> None:
    answer = server.call("POST", path, bad.encode())
    assert answer.status == 400, answer.body
    assert answer.fields["content-type"] == "application/problem+json"
    twin = server.call("POST", path, good.encode())
    assert twin.status == 200, twin.body


def test_a_refused_framing_ends_the_connection(server: Server) -> None:
    """A second request behind a doubled Content-Length must never be answered."""
    smuggled = framed(b"Content-Length: 0\r\n" + LENGTH + b"\r\n", get())
    with Connection(server.port) as connection:
        connection.send(smuggled)
        answer = connection.answer()
        assert answer.status == 400
        assert answer.fields["connection"] == "close"
        assert connection.is_closed()


def test_a_refused_body_keeps_the_connection(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(post(b"{}") + get())
        assert connection.answer().status == 400
        assert connection.answer().status == 200


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_refusal_of_head_has_no_body(server: Server, version: bytes) -> None:
    with Connection(server.port) as connection:
        connection.send(b"HEAD /nowhere HTTP/" + version + b"\r\nConnection: close\r\n" + HOST + b"\r\n")
        assert connection.answer(head=True).status == (404 if version == b"1.1" else 505)
        assert connection.is_closed()


def test_refusals_name_the_key(server: Server) -> None:
    answer = server.call("POST", "/v1/recommend", {"user_id": "1", "cuont": 3})
    assert "cuont" in answer.json()["detail"]
    assert answer.json()["title"] == "Bad Request"
    integer = server.call("POST", "/v1/recommend", {"user_id": "1", "explain": 1})
    assert integer.json()["detail"] == "explain: true or false, found integer"
    assert server.call("DELETE", "/healthz").fields["allow"] == "GET, HEAD"
