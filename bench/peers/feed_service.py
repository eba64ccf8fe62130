"""The pipeline behind uvicorn: `feed_service.py BUNDLE PORT WORKERS START_MS`. Plain ASGI and orjson."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from feed_pipeline import Pipeline

BUNDLE, START = "FEED_PEER_BUNDLE", "FEED_PEER_START_MS"
JSON = [(b"content-type", b"application/json")]


class Service:
    """POST: a feed; GET: 200 once the pipeline stands."""

    def __init__(self) -> None:
        self.pipeline = Pipeline(Path(os.environ[BUNDLE]), int(os.environ[START]))

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        status, body = 200, b"{}"
        if scope["method"] == "POST":
            data, more = b"", True
            while more:
                message = await receive()
                data += message.get("body", b"")
                more = message.get("more_body", False)
            try:
                body = orjson.dumps(self.pipeline.recommend(orjson.loads(data)))
            except (orjson.JSONDecodeError, KeyError):
                status = 400
        headers = [*JSON, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def app() -> Service:
    return Service()


def main(words: list[str]) -> None:
    os.environ[BUNDLE], os.environ[START] = words[0], words[3]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    uvicorn.run(
        "feed_service:app",
        factory=True,
        host="127.0.0.1",
        port=int(words[1]),
        workers=int(words[2]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
