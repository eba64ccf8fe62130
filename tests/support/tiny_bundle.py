"""Writes a small, complete, random bundle (docs/bundle.md) with NumPy and safetensors, in under a second.

    python tests/support/tiny_bundle.py OUT --videos 300 --viewers 40 --seed 1 --architecture mmoe

Tests import it: `build(Options(...))` gives the parts in memory (the manifest, and the tensors of each file),
a test may change them, `write(parts, folder)` writes files and checksums, `reseal(folder)` renews checksums
of files that were changed on disk, and `write_safetensors_raw` writes any header at all. Weights are random:
the outputs are right, not sensible. What the bundle declares is in tiny_manifest.py.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

if __package__ in (None, ""):  # run as a program: the repository's packages are two folders up
    _root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(_root / "models"), str(_root / "tests")]

from support import reference_network
from support.tiny_manifest import (
    ARCHITECTURES,
    ITEM_INPUTS,
    KINDS,
    LEVELS,
    TABS,
    TOPICS,
    USER_INPUTS,
    Options,
    make_manifest,
)
from vireo_models import features_reference as reference

FILES = ("weights.safetensors", "videos.safetensors", "golden.safetensors", "state/state.safetensors")
GOLDEN_CASES = 64
HOUR_MS = 3_600_000
Tensors = dict[str, np.ndarray]


@dataclass
class Parts:
    """A bundle in memory: bundle.json without `files`, and the tensors of each file by its relative name."""

    manifest: dict[str, Any]
    files: dict[str, Tensors] = field(default_factory=dict)

    @property
    def weights(self) -> Tensors:
        return self.files["weights.safetensors"]

    @property
    def videos(self) -> Tensors:
        return self.files["videos.safetensors"]

    @property
    def golden(self) -> Tensors:
        return self.files["golden.safetensors"]

    @property
    def state(self) -> Tensors:
        return self.files["state/state.safetensors"]


def put_strings(tensors: Tensors, name: str, texts: list[str]) -> None:
    """Store a string list: NAME.bytes U8 and NAME.offsets U32."""
    encoded = [text.encode() for text in texts]
    tensors[f"{name}.bytes"] = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    tensors[f"{name}.offsets"] = np.cumsum([0, *map(len, encoded)]).astype(np.uint32)


# ---- weights ----


def _matrix(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random weights whose products keep the size of their inputs: [..., out, in]."""
    return (rng.standard_normal(shape, dtype=np.float32) / np.sqrt(shape[-1])).astype(np.float32)


def _tables(rng: np.random.Generator, options: Options, creators: int) -> Tensors:
    shapes = {
        "level": (len(LEVELS) + 1, 4), "viewer": (options.viewers + 1, 8), "age": (7, 3),
        "tab": (len(TABS) + 1, 4), "hour": (24, 3), "video": (options.videos + 1, 8),
        "creator": (creators + 1, 6), "topic": (len(TOPICS) + 1, 4),
        "shape": (len(KINDS) + 1, 2), "duration": (7, 4), "duration_small": (6, 2), "met": (5, 2),
    }  # fmt: skip
    tensors = {
        f"table.{name}": 0.5 * rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()
    }
    for name in ("video", "viewer"):  # the large ones are float16
        tensors[f"table.{name}"] = tensors[f"table.{name}"].astype(np.float16)
    put_strings(tensors, "vocab.viewer_id", [str(i + 1) for i in range(options.viewers)])
    return tensors


def _add_tower(rng: np.random.Generator, tensors: Tensors, name: str, width: int, dim: int) -> None:
    for i, (inputs, outputs) in enumerate(((width, 48), (48, dim))):
        tensors[f"{name}.{i}.weight"] = _matrix(rng, outputs, inputs)
        tensors[f"{name}.{i}.bias"] = 0.1 * rng.standard_normal(outputs, dtype=np.float32)


def _add_ranker(rng: np.random.Generator, tensors: Tensors, spec: dict[str, Any], width: int) -> None:
    for i, level in enumerate(spec["levels"]):
        experts, hidden, out, gates = level["experts"], level["hidden"], level["width"], len(level["gates"])
        tensors[f"ranker.level{i}.w1"] = _matrix(rng, experts, hidden, width)
        tensors[f"ranker.level{i}.b1"] = _matrix(rng, experts, hidden)
        tensors[f"ranker.level{i}.w2"] = 1.5 * _matrix(rng, experts, out, hidden)
        tensors[f"ranker.level{i}.b2"] = _matrix(rng, experts, out)
        tensors[f"ranker.level{i}.gate.w"] = _matrix(rng, gates, experts, width)
        tensors[f"ranker.level{i}.gate.b"] = _matrix(rng, gates, experts)
        width = out
    for task in spec["tasks"]:
        name, outputs = f"ranker.task.{task['name']}", len(task["widths"])
        tensors[f"{name}.w1"] = 2 * _matrix(rng, spec["tower_hidden"], width)
        tensors[f"{name}.b1"] = _matrix(rng, spec["tower_hidden"])
        tensors[f"{name}.w2"] = 2 * _matrix(rng, outputs, spec["tower_hidden"])
        tensors[f"{name}.b2"] = -1.0 - 0.2 * np.arange(outputs, dtype=np.float32)


def _add_networks(rng: np.random.Generator, parts: Parts) -> None:
    space = reference.ReferenceSpace(parts.manifest, parts.weights)

    def width(inputs: list[str]) -> int:
        return sum(space.width(space.features[name]) for name in inputs)

    dim = parts.manifest["tower_dim"]
    _add_tower(rng, parts.weights, "user_tower", width(USER_INPUTS), dim)
    _add_tower(rng, parts.weights, "item_tower", width(ITEM_INPUTS), dim)
    _add_ranker(rng, parts.weights, parts.manifest["ranker"], width(parts.manifest["ranker"]["inputs"]))


# ---- videos ----


def _videos(rng: np.random.Generator, options: Options, creators: int) -> Tensors:
    """All columns but the tower: every safety state, unknown values, a tenth uploaded within the last day."""
    n = options.videos
    tensors: Tensors = {}
    put_strings(tensors, "id", [f"v{i}" for i in range(n)])
    topic = rng.integers(-1, len(TOPICS), n).astype(np.int32)
    put_strings(
        tensors,
        "title",
        [f"A clip about {TOPICS[t]}, no. {i}" if t >= 0 else "" for i, t in enumerate(topic)],
    )
    put_strings(tensors, "creator.id", [f"c{i}" for i in range(creators)])
    put_strings(tensors, "topic.name", list(TOPICS))
    tensors["topic.index"] = topic
    tensors["creator.index"] = np.where(rng.random(n) < 0.03, -1, rng.integers(0, creators, n)).astype(
        np.int32
    )
    tensors["duration_s"] = np.where(rng.random(n) < 0.03, 0, rng.gamma(2, 15, n)).astype(np.float32)
    age_h = np.where(rng.random(n) < 0.1, rng.uniform(0.1, 24, n), rng.uniform(24, 2000, n))
    upload = options.as_of_ms - (age_h * HOUR_MS).astype(np.int64)
    tensors["upload_ms"] = np.where(rng.random(n) < 0.02, reference.UPLOAD_UNKNOWN, upload)
    draw = rng.random(n)
    tensors["safety"] = np.where(draw < 0.05, 0, np.where(draw < 0.1, 2, 1)).astype(np.uint8)
    tensors["min_age"] = np.where(rng.random(n) < 0.03, 255, rng.choice([0, 0, 0, 13, 18], n)).astype(
        np.uint8
    )
    score = rng.beta(1, 30, n)
    tensors["unsafe_score"] = np.where(rng.random(n) < 0.03, np.nan, score).astype(np.float32)
    tensors["field.loudness"] = np.where(rng.random(n) < 0.1, np.nan, rng.normal(-14, 5, n)).astype(
        np.float32
    )
    tensors["field.shape"] = rng.integers(0, len(KINDS) + 1, n).astype(np.int32)
    _add_content(rng, tensors, topic, options.content_dim)
    return tensors


def _add_content(rng: np.random.Generator, tensors: Tensors, topic: np.ndarray, dim: int) -> None:
    """Vectors around their topic's centre; some videos have none."""
    centre = rng.standard_normal((len(TOPICS) + 1, dim))
    vector = centre[topic] + 0.7 * rng.standard_normal((topic.size, dim))
    quantised = np.rint(127 * vector / np.abs(vector).max(axis=1, keepdims=True))
    quantised[rng.random(topic.size) < 0.02] = 0
    norm = np.linalg.norm(quantised, axis=1)
    tensors["content"] = quantised.astype(np.int8)
    tensors["content.scale"] = np.divide(127.0, norm, out=np.zeros_like(norm), where=norm > 0).astype(
        np.float32
    )


def content_vectors(videos: Tensors) -> np.ndarray:
    """float64 [N, content_dim]."""
    return videos["content"].astype(np.float64) / 127.0 * videos["content.scale"].astype(np.float64)[:, None]


def raw_videos(parts: Parts, counters: np.ndarray) -> np.ndarray:
    """Raw video fields of all rows; counters [N, 6] in the order of the built-in totals."""
    videos = parts.videos
    n = videos["duration_s"].size
    duration = videos["duration_s"].astype(np.float64)
    built_in = [
        np.arange(n) + 1,
        videos["creator.index"] + 1,
        videos["topic.index"] + 1,
        np.where(duration > 0, duration, np.nan),
    ]
    declared = [videos[f"field.{f['name']}"] for f in parts.manifest["fields"]["video"]]
    return np.stack([*built_in, *counters.T, *declared], axis=1).astype(np.float64)


def _add_item_vectors(parts: Parts) -> None:
    """`tower`: the item tower's own outputs, so that a video added later gets the same vector."""
    space = reference.ReferenceSpace(parts.manifest, parts.weights)
    raw = raw_videos(parts, np.zeros((parts.videos["safety"].size, 6)))
    rows = space.assemble(ITEM_INPUTS, "video", raw, {"content": content_vectors(parts.videos)})
    parts.videos["tower"] = reference_network.tower(parts.manifest["item_tower"], parts.weights, rows).astype(
        np.float16
    )


# ---- state ----


def _counters(rng: np.random.Generator, n: int) -> np.ndarray:
    """impressions, clicks, finishes, likes, long_views, watch_s: float32 [n, 6]; some were never shown."""
    shown = rng.integers(0, 400, n)
    clicks = rng.binomial(shown, 0.35)
    finishes, likes, long_views = (
        rng.binomial(clicks, 0.4),
        rng.binomial(clicks, 0.06),
        rng.binomial(clicks, 0.6),
    )
    return np.stack([shown, clicks, finishes, likes, long_views, clicks * rng.gamma(2, 6, n)], axis=1).astype(
        np.float32
    )


def _ragged(rng: np.random.Generator, n: int, low: int, high: int) -> np.ndarray:
    """Offsets U32 [n + 1] of n lists of low..high entries."""
    return np.cumsum([0, *rng.integers(low, high + 1, n)]).astype(np.uint32)


def _state(rng: np.random.Generator, options: Options, creators: int) -> Tensors:
    """Histories, follows, friends and counters; viewer 1 has no history, which every reader must bear."""
    v, n = options.viewers, options.videos
    tensors: Tensors = {}
    put_strings(tensors, "viewer.id", [str(i + 1) for i in range(v)])
    tensors["viewer.age"] = np.where(rng.random(v) < 0.1, np.nan, rng.integers(12, 70, v)).astype(np.float32)
    tensors["viewer.counters"] = _counters(rng, v)
    tensors["profile.register_days"] = np.where(rng.random(v) < 0.1, np.nan, rng.integers(0, 900, v)).astype(
        np.float64
    )
    tensors["profile.level.index"] = rng.integers(-1, len(LEVELS), v).astype(np.int32)
    put_strings(tensors, "profile.level.values", list(LEVELS))
    lengths = rng.integers(5, 31, v)
    lengths[0] = 0
    offsets = np.cumsum([0, *lengths]).astype(np.uint32)
    total = int(offsets[-1])
    tensors["recent.offsets"] = offsets
    tensors["recent.video"] = rng.integers(0, n, total).astype(np.int32)
    ages = [np.sort(rng.uniform(60, 14 * 86_400, size))[::-1] for size in lengths]
    tensors["recent.age_s"] = np.concatenate(ages).astype(np.float32)
    watch = rng.gamma(1.5, 10, total).clip(0, 300)
    tensors["recent.watch_s"] = np.where(rng.random(total) < 0.05, np.nan, watch).astype(np.float32)
    tensors["recent.flags"] = rng.integers(0, 16, total).astype(np.uint8)
    for name, column, high in (("follow", "creator", creators), ("friend", "viewer", v)):
        tensors[f"{name}.offsets"] = _ragged(rng, v, 2, 8)
        tensors[f"{name}.{column}"] = rng.integers(0, high, int(tensors[f"{name}.offsets"][-1])).astype(
            np.int32
        )
    tensors["video.counters"] = _counters(rng, n)
    tensors["video.trend"] = rng.exponential(5, n).astype(np.float32)
    return tensors


# ---- golden ----


def _recent(state: Tensors, viewer: np.ndarray) -> tuple[np.ndarray, ...]:
    """Padded recent watches of each viewer: video, age_s, watch_s, flags [n, 50] and count [n]."""
    video = np.full((viewer.size, reference.RECENT_MAX), -1, np.int32)
    watch = np.full(video.shape, np.nan, np.float32)
    age = watch.copy()
    flags = np.zeros(video.shape, np.uint32)
    count = np.zeros(viewer.size, np.int32)
    for i, v in enumerate(viewer):
        begin, end = int(state["recent.offsets"][v]), int(state["recent.offsets"][v + 1])
        begin = max(begin, end - reference.RECENT_MAX)
        count[i] = end - begin
        for array, name in ((video, "video"), (age, "age_s"), (watch, "watch_s"), (flags, "flags")):
            array[i, : count[i]] = state[f"recent.{name}"][begin:end]
    return video, age, watch, flags, count


def _raw_viewers(state: Tensors, viewer: np.ndarray, history: np.ndarray) -> np.ndarray:
    return np.column_stack(
        [
            state["viewer.age"][viewer],
            state["viewer.counters"][viewer],
            history,
            state["profile.register_days"][viewer],
            state["profile.level.index"][viewer] + 1,
            viewer + 1,
        ]
    ).astype(np.float64)


def _raw_contexts(rng: np.random.Generator, parts: Parts, n: int) -> np.ndarray:
    now = np.full(n, parts.manifest["as_of_ms"])
    hours = reference.time_fields(now + rng.integers(0, 48, n) * HOUR_MS, parts.manifest["utc_offset_min"])
    battery = np.where(rng.random(n) < 0.2, np.nan, rng.random(n))
    return np.column_stack([hours, rng.integers(0, len(TABS) + 1, n), battery])


def top_rows(user: np.ndarray, tower: np.ndarray, k: int = 10) -> np.ndarray:
    """Rows of the k largest dot products, best first: int32 [n, k]."""
    return np.argsort(-(user @ tower.T), axis=1, kind="stable")[:, :k].astype(np.int32)


def _golden(rng: np.random.Generator, parts: Parts, state: Tensors) -> Tensors:
    """Cases from the state's viewers and random videos, with float64 outputs."""
    n, manifest, videos = GOLDEN_CASES, parts.manifest, parts.videos
    space = reference.ReferenceSpace(manifest, parts.weights)
    viewer = rng.integers(0, state["viewer.age"].size, n)
    row = rng.integers(0, videos["safety"].size, n).astype(np.int32)
    video, age, watch, flags, count = _recent(state, viewer)
    weight = reference.history_weights(video, flags, count)
    tower, content = videos["tower"].astype(np.float64), content_vectors(videos)
    vectors = {
        "hist_tower": reference.history_vectors(weight, video, tower).astype(np.float32),
        "hist_content": reference.history_vectors(weight, video, content).astype(np.float32),
        "tower": tower[row],
        "content": content[row],
    }
    raw = {
        "viewer": _raw_viewers(state, viewer, reference.history_fields(age, watch, flags, count)),
        "context": _raw_contexts(rng, parts, n),
        "video": raw_videos(parts, state["video.counters"])[row],
    }
    inputs = [space.assemble(USER_INPUTS, e, raw[e], vectors) for e in ("viewer", "context")]
    user = reference_network.tower(manifest["user_tower"], parts.weights, np.concatenate(inputs, axis=1))
    vectors["user_tower"] = user
    matches = reference.history_matches(
        video, flags, count, videos["topic.index"], videos["creator.index"], row
    )
    raw["pair"] = np.column_stack(
        [
            reference.age_hours(np.full(n, manifest["as_of_ms"]), videos["upload_ms"][row]),
            (user * vectors["tower"]).sum(axis=1),
            (vectors["hist_content"] * vectors["content"]).sum(axis=1),
            matches,
        ]
    )
    rows = np.concatenate(
        [space.assemble(manifest["ranker"]["inputs"], e, raw[e], vectors) for e in reference.ENTITIES], axis=1
    )
    return {
        **{f"{entity}.raw": array for entity, array in raw.items()},
        "viewer.hist_tower": vectors["hist_tower"],
        "viewer.hist_content": vectors["hist_content"],
        "video.row": row,
        "out.user_tower": user,
        "out.heads": reference_network.ranker(manifest["ranker"], parts.weights, rows),
        "out.topk": top_rows(user[:64], tower),
    }


# ---- the whole ----


def build(options: Options | None = None) -> Parts:
    """A complete valid bundle in memory."""
    options = options or Options()
    rng = np.random.default_rng(options.seed)
    creators = max(options.videos // 8, 2)
    parts = Parts(make_manifest(options))
    parts.files["weights.safetensors"] = _tables(rng, options, creators)
    parts.files["videos.safetensors"] = _videos(rng, options, creators)
    _add_networks(rng, parts)
    _add_item_vectors(parts)
    state = _state(rng, options, creators)
    parts.files["golden.safetensors"] = _golden(rng, parts, state)
    if options.state:
        parts.files["state/state.safetensors"] = state
    return parts


def write(parts: Parts, folder: Path, mutate: Callable[[Parts], None] | None = None) -> Path:
    """Write all files and seal them with checksums; `mutate` may change the parts before."""
    if mutate is not None:
        mutate(parts)
    for name, tensors in parts.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path)
    (folder / "bundle.json").write_text(json.dumps(parts.manifest, indent=1))
    reseal(folder)
    return folder


def reseal(folder: Path) -> None:
    """Write sizes and checksums of the files as they now are into bundle.json."""
    path = folder / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["files"] = {}
    for name in FILES:
        if (folder / name).exists():
            data = (folder / name).read_bytes()
            manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_text(json.dumps(manifest, indent=1))


def write_safetensors_raw(path: Path, header: str | bytes, data: bytes, length: int | None = None) -> None:
    """A safetensors file of any header text; `length` overrides the header length that the file states."""
    text = header.encode() if isinstance(header, str) else header
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a small random bundle for tests.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--viewers", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="mmoe")
    parser.add_argument("--no-state", dest="state", action="store_false")
    parser.add_argument("--tower-dim", type=int, default=64)
    parser.add_argument("--content-dim", type=int, default=32)
    parser.add_argument("--as-of", type=int, default=Options.as_of_ms, help="UTC milliseconds")
    parser.add_argument("--no-shift", dest="shift_state", action="store_false")
    args = parser.parse_args()
    options = Options(
        args.videos, args.viewers, args.seed, args.architecture, args.state, args.tower_dim, args.content_dim,
        args.as_of, args.shift_state,
    )  # fmt: skip
    write(build(options), args.out)
    print(f"{args.out}: {args.videos} videos, {args.viewers} viewers, {args.architecture}")


if __name__ == "__main__":
    main()
