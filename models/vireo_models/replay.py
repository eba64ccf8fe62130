"""Replays a log against a running server: each impression is ranked with what the server knows by then, and
then told to it.

The server runs with ``--replay`` on a bundle whose state ends where the replay begins (``prepare``).
Impressions of one moment are ranked before any of them is posted, so the server knows exactly what the rows
of training know: everything strictly before. The same rows are made offline (rows.py) and put through the
bundle's networks (judge.py); ``compare`` tells how far the two are apart. Where they differ, training and
serving do.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import save_file
from tqdm import tqdm

from . import metrics, native
from .config import Config
from .data import counters
from .data.labels import TASKS, TaskLabels, task_labels
from .export import check_target, state_tensors
from .judge import BundleModel
from .schema import Dataset

STATE = "state/state.safetensors"
MOST_CANDIDATES = 1000  # of a request
MOST_EVENTS = 1000
TIMEOUT_MS = 60_000


class ReplayError(ValueError):
    """The server, the log and the bundle do not fit each other; the text says how."""


# ---- the bundle to begin with ----


def prepare(bundle: Path, data: Dataset, time_ms: int, folder: Path) -> Path:
    """Writes ``bundle`` to ``folder`` with the state of just before ``time_ms`` (UTC milliseconds)."""
    check_target(folder)
    model = BundleModel(bundle, data)
    run = SimpleNamespace(data=data, declaration=model.maker.declaration)
    tensors = state_tensors(run, counters.state_at(data, time_ms))  # type: ignore[arg-type]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        made = shutil.copytree(bundle, Path(beside) / "bundle")
        (made / STATE).parent.mkdir(exist_ok=True)
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, made / STATE)
        content = (made / STATE).read_bytes()
        manifest = json.loads((made / "bundle.json").read_text())
        manifest |= {"as_of_ms": time_ms, "shift_state": False}
        manifest["files"][STATE] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (made / "bundle.json").write_text(json.dumps(manifest, indent=1) + "\n")
        native.check_bundle(made)
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    return folder


# ---- the server ----


class Client:
    """One connection to a server's public port; every answer but a 200, or a 202 of events, is an error."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise ReplayError(f"{url!r} is not http://HOST:PORT")
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=120)

    def call(self, method: str, path: str, document: Any = None) -> Any:
        """The answer's document."""
        body = None if document is None else json.dumps(document).encode()
        self.connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 202):
            raise ReplayError(f"{method} {path}: {answer.status} {content.decode(errors='replace')}")
        return json.loads(content)

    def version(self) -> str:
        return self.call("GET", "/readyz")["model_version"]

    def rank(self, user: str, videos: list[str], tab: str, time_ms: int) -> np.ndarray:
        """Heads of the videos, float64 [n, 4] in the order of TASKS."""
        body = {"user_id": user, "video_ids": videos, "time": time_ms, "context": {"tab": tab}}
        answer = self.call("POST", "/v1/rank", body | {"timeout_ms": TIMEOUT_MS})
        if answer["unknown"] or answer["degraded"]:
            raise ReplayError(f"/v1/rank: unknown {answer['unknown'][:3]}, degraded {answer['degraded']}")
        return np.array([[item["heads"][name] for name in TASKS] for item in answer["items"]])

    def post(self, events: list[dict[str, Any]]) -> None:
        for start in range(0, len(events), MOST_EVENTS):
            answer = self.call("POST", "/v1/events", {"events": events[start : start + MOST_EVENTS]})
            refused = [one for one in answer["results"] if one["status"] == "rejected"]
            if refused:
                raise ReplayError(f"/v1/events: {refused[0]['event_id']}: {refused[0].get('reason')}")


def events_of(row: int, one: Any, user: str, video: str) -> list[dict[str, Any]]:
    """What an impression of the log (a named tuple) tells: itself, a click, seconds played, a like."""
    told: list[dict[str, Any]] = [{"type": "impression"}]
    if one.click:
        told.append({"type": "click"})
    if one.play_s > 0:
        told.append({"type": "play", "watch_s": float(one.play_s)})
    if one.like:
        told.append({"type": "like"})
    common = {"request_id": str(one.request_id), "user_id": user, "video_id": video, "time": int(one.time_ms)}
    return [common | event | {"event_id": f"replay-{row}-{event['type']}"} for event in told]


def moments(times: np.ndarray) -> Iterator[slice]:
    """Ranges of equal times, which rise."""
    cuts = np.flatnonzero(np.diff(times)) + 1
    starts, ends = [0, *cuts], [*cuts, len(times)]
    return (slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True))


def serve(client: Client, data: Dataset, rows: np.ndarray, post: bool = True) -> np.ndarray:
    """Heads float64 [n, 4] of impressions ``rows`` (rising) as the server gives them, in time order.

    Without ``post`` the server is told nothing, for tests.
    """
    log = data.impressions.iloc[rows]
    users, videos = data.viewers["id"].tolist(), data.videos["id"].tolist()
    heads = np.empty((len(rows), len(TASKS)))
    bar = tqdm(total=len(rows), desc="replay", unit=" impressions", leave=False)
    for moment in moments(log["time_ms"].to_numpy()):
        part = log.iloc[moment]
        _rank_moment(client, part, users, videos, heads[moment])
        if post:
            told = [
                event
                for row, one in zip(rows[moment], part.itertuples(index=False), strict=True)
                for event in events_of(int(row), one, users[one.viewer], videos[one.video])
            ]
            client.post(told)
        bar.update(len(part))
    bar.close()
    return heads


def _rank_moment(
    client: Client, part: pd.DataFrame, users: list[str], videos: list[str], heads: np.ndarray
) -> None:
    """Fills heads [n, 4] of impressions of one moment, a request for each viewer and tab."""
    viewer, tab = part["viewer"].to_numpy(), part["tab"].astype(str).to_numpy()
    now = int(part["time_ms"].iloc[0])
    for key in dict.fromkeys(zip(viewer.tolist(), tab.tolist(), strict=True)):
        places = np.flatnonzero((viewer == key[0]) & (tab == key[1]))
        for start in range(0, len(places), MOST_CANDIDATES):
            asked = places[start : start + MOST_CANDIDATES]
            names = [videos[row] for row in part["video"].to_numpy()[asked]]
            heads[asked] = client.rank(users[key[0]], names, key[1], now)


# ---- offline, and the comparison ----


def offline(model: BundleModel, rows: np.ndarray) -> tuple[np.ndarray, TaskLabels]:
    """Heads float64 [n, 4] of impressions ``rows`` from the rows of training, and their labels."""
    labels = task_labels(model.data.impressions.iloc[rows])
    judged = model.rank_rows(model.maker.log_query().take(rows), labels)
    return model.ranker.predict(judged).astype(np.float64), labels


def figures(labels: TaskLabels, heads: np.ndarray) -> dict[str, dict[str, float]]:
    """AUC, log loss and calibration of the probabilities; errors and order of the watch time."""
    found = {}
    for column, name in enumerate(TASKS):
        rows = labels.mask[:, column]
        truth, ours = labels.values[rows, column].astype(np.float64), heads[rows, column]
        if name == "watch_s":
            found[name] = {
                "mae": metrics.mae(truth, ours),
                "rmse": float(np.sqrt(np.mean((truth - ours) ** 2))),
                "xauc": metrics.xauc(truth, ours),
                "mean_ratio": float(ours.mean() / max(truth.mean(), 1e-9)),
            }
        else:
            found[name] = {
                "auc": metrics.auc(truth, ours),
                "log_loss": metrics.log_loss(truth, ours),
                "ece": metrics.ece(truth, ours),
                "mean_ratio": float(ours.mean() / max(truth.mean(), 1e-9)),
            }
    return found


def compare(served: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """The largest difference of each head; of seconds relative to them, where they are above one."""
    gap = np.abs(served - expected)
    seconds = TASKS.index("watch_s")
    gap[:, seconds] /= np.maximum(expected[:, seconds], 1.0)
    return {name: float(gap[:, column].max(initial=0.0)) for column, name in enumerate(TASKS)}


@dataclass(frozen=True)
class Replay:
    """A server, the bundle that it runs, and the log."""

    url: str
    bundle: Path
    data: Dataset
    limit: int | None = None  # impressions

    def rows(self, as_of_ms: int) -> np.ndarray:
        """The impressions after the bundle's state, whole moments up to the limit."""
        times = self.data.impressions["time_ms"].to_numpy()
        first = int(np.searchsorted(times, as_of_ms))
        if first == len(times):
            raise ReplayError(
                "the log ends before the bundle's state: replay --prepare writes one to begin with"
            )
        last = len(times)
        if self.limit is not None and first + self.limit < last:
            last = int(np.searchsorted(times, times[first + self.limit]))
        return np.arange(first, max(last, first + 1))

    def run(self) -> dict[str, Any]:
        """Figures as served and offline, and their largest differences."""
        torch.set_num_threads(Config().threads)
        model, client = BundleModel(self.bundle, self.data), Client(self.url)
        if model.manifest["shift_state"]:
            raise ReplayError(
                "the bundle's times move with the server's start (shift_state): nothing to replay"
            )
        version = client.version()
        if version != model.manifest["model_version"]:
            raise ReplayError(
                f"the server runs {version}, not the bundle's {model.manifest['model_version']}"
            )
        rows = self.rows(model.manifest["as_of_ms"])
        expected, labels = offline(model, rows)
        served = serve(client, self.data, rows)
        return {
            "bundle": version,
            "data": {"name": self.data.name, "notes": self.data.notes},
            "impressions": len(rows),
            "served": figures(labels, served),
            "offline": figures(labels, expected),
            "largest_difference": compare(served, expected),
        }


def as_text(found: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = [f"{found['bundle']}: {found['impressions']} impressions replayed", ""]
    lines.append(f"{'head':8} {'figure':11} {'served':>10} {'offline':>10}")
    for name in TASKS:
        for figure, value in found["served"][name].items():
            lines.append(f"{name:8} {figure:11} {value:10.5f} {found['offline'][name][figure]:10.5f}")
        lines.append(f"{name:8} {'difference':11} {found['largest_difference'][name]:10.2e}")
    return "\n".join(lines)
