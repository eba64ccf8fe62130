"""Writes a run as a bundle (docs/bundle.md): atomically, with checksums, golden cases and, if asked, the
viewers' state.

The folder appears under its name only when it is whole and the C code has opened it; a failed export
leaves nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import save_file

from . import features_reference as reference
from . import native
from .data import counters
from .features import Declaration
from .golden import ReferenceModel, Tensors, golden_tensors
from .pipeline import Run
from .rows import Watches, unpack

SATISFACTION = (
    {"name": "clicks", "expression": "0.3*click"},
    {"name": "watch", "expression": "0.01*watch_s"},
    {"name": "finishes", "expression": "1.0*finish"},
    {"name": "likes", "expression": "5.0*like"},
)
SAFETY = {"unknown": 0, "safe": 1, "unsafe": 2}
HALF_TABLES = ("tower.video", "tower.creator", "ranker.video", "ranker.creator")  # large tables: float16
# The item tower runs for videos that the bundle does not know; those read row 0 of its id table. The outputs
# for the others are stored. The other rows stay behind.
ITEM_IDS = "tower.video"
GOLDEN_CASES = 128
FIELD_RECENT = ("video", "age_s", "watch_s", "flags")


def put_strings(tensors: Tensors, name: str, texts: Sequence[str]) -> None:
    """Stores a string list: NAME.bytes and NAME.offsets."""
    encoded = [text.encode() for text in texts]
    tensors[f"{name}.bytes"] = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    tensors[f"{name}.offsets"] = np.cumsum([0, *map(len, encoded)]).astype(np.uint32)


# ---- weights ----


def weight_tensors(run: Run) -> Tensors:
    """Network weights, tables and long vocabularies; float16 where the values are many and small."""
    assert run.towers is not None and run.ranker is not None
    found: dict[str, torch.Tensor] = {}
    found |= (
        run.towers.user.export("user_tower")
        | run.towers.item.export("item_tower")
        | run.ranker.ranker.export()
    )
    for tables in (run.towers.tables, run.ranker.tables):
        found |= {name: tables[name].detach() for name in tables.names}
    tensors = {name: tensor.numpy() for name, tensor in found.items()}
    if ITEM_IDS in tensors:
        tensors[ITEM_IDS] = tensors[ITEM_IDS][:1]
    for name in HALF_TABLES:
        if name in tensors:
            tensors[name] = tensors[name].astype(np.float16)
    for entity, listed in run.declaration.fields.items():
        for one in listed:
            if "vocab_tensor" in one:
                put_strings(tensors, one["vocab_tensor"], run.declaration.vocabularies[entity, one["name"]])
    return tensors


# ---- videos ----


def _title(text: str, limit: int = 512) -> str:
    return text if len(text.encode()) <= limit else text.encode()[:limit].decode(errors="ignore")


def video_tensors(run: Run) -> Tensors:
    """videos.safetensors of the run's catalogue."""
    videos, tensors = run.data.videos, Tensors()
    creator, creators = run.data.creators
    topic, topics = run.data.topics
    put_strings(tensors, "id", videos["id"].tolist())
    put_strings(tensors, "title", [_title(text) for text in videos["title"]])
    put_strings(tensors, "creator.id", creators)
    put_strings(tensors, "topic.name", topics)
    tensors["creator.index"], tensors["topic.index"] = creator.astype(np.int32), topic.astype(np.int32)
    tensors["duration_s"] = videos["duration_s"].to_numpy(np.float32)
    tensors["upload_ms"] = videos["upload_ms"].to_numpy(np.int64)
    tensors["safety"] = videos["safety"].map(SAFETY).to_numpy(np.uint8)
    least = videos["min_age"].to_numpy(np.int64)
    tensors["min_age"] = np.where((least < 0) | (least > 254), 255, least).astype(np.uint8)
    tensors["unsafe_score"] = videos["unsafe_score"].to_numpy(np.float32)
    _declared_video_fields(run, tensors)
    assert run.items is not None
    tensors["tower"], tensors["content"], tensors["content.scale"] = (
        run.items,
        run.content_codes,
        run.content_scale,
    )
    return tensors


def _declared_video_fields(run: Run, tensors: Tensors) -> None:
    names = run.declaration.field_names("video")
    raw = run.maker.video_raw(np.arange(len(run.data.videos)))
    for one in run.declaration.fields["video"]:
        column = raw[:, names.index(one["name"])]
        dtype = np.int32 if one["type"] == "string" else np.float32
        tensors[f"field.{one['name']}"] = column.astype(dtype)


# ---- state ----


def state_tensors(run: Run, state: counters.State) -> Tensors:
    """state.safetensors: what is known of every viewer and video at ``state``'s moment."""
    data, tensors = run.data, Tensors()
    put_strings(tensors, "viewer.id", data.viewers["id"].tolist())
    tensors["viewer.age"] = data.viewers["age"].to_numpy(np.float32)
    tensors["viewer.counters"] = state.viewer.astype(np.float32)
    for one in run.declaration.fields.get("viewer", []):
        _profile(tensors, one, data.viewers[one["name"]])
    _recent(tensors, unpack(state.recent), state.time_ms)
    creator_row = {name: row for row, name in enumerate(data.creators[1])}
    follows = data.follows[data.follows["creator"].isin(creator_row)]
    _ragged(
        tensors,
        "follow",
        "creator",
        follows["viewer"],
        follows["creator"].map(creator_row),
        len(data.viewers),
    )
    friends = data.friends
    _ragged(tensors, "friend", "viewer", friends["viewer"], friends["friend"], len(data.viewers))
    tensors["video.counters"] = state.video.astype(np.float32)
    tensors["video.trend"] = counters.trend_at(data, state.time_ms).astype(np.float32)
    return tensors


def _profile(tensors: Tensors, one: dict[str, Any], column: pd.Series) -> None:
    name = f"profile.{one['name']}"
    if one["type"] != "string":
        tensors[name] = column.to_numpy(np.float64)
        return
    codes, values = pd.factorize(column.replace("", None), sort=True)
    tensors[f"{name}.index"] = codes.astype(np.int32)
    put_strings(tensors, f"{name}.values", [str(value) for value in values])


def _recent(tensors: Tensors, watches: Watches, now_ms: int) -> None:
    there = np.arange(watches.video.shape[1]) < watches.count[:, None]
    age = np.where(watches.time_ms >= 0, (now_ms - watches.time_ms) / 1000.0, np.nan)
    columns = {"video": watches.video, "age_s": age, "watch_s": watches.watch_s, "flags": watches.flags}
    dtypes = {"video": np.int32, "age_s": np.float32, "watch_s": np.float32, "flags": np.uint8}
    tensors["recent.offsets"] = np.cumsum([0, *watches.count]).astype(np.uint32)
    for name in FIELD_RECENT:
        tensors[f"recent.{name}"] = columns[name][there].astype(dtypes[name])


def _ragged(tensors: Tensors, name: str, target: str, owner: pd.Series, other: pd.Series, count: int) -> None:
    order = np.lexsort((other.to_numpy(), owner.to_numpy()))
    sizes = np.bincount(owner.to_numpy(np.int64), minlength=count)
    tensors[f"{name}.offsets"] = np.cumsum([0, *sizes]).astype(np.uint32)
    tensors[f"{name}.{target}"] = other.to_numpy()[order].astype(np.int32)


# ---- manifest ----


def manifest(run: Run, version: str, shift_state: bool) -> dict[str, Any]:
    """bundle.json without ``files``."""
    assert run.towers is not None and run.ranker is not None
    declaration: Declaration = run.declaration
    return {
        "format": "vireo-bundle",
        "format_version": 1,
        "model_version": version,
        "as_of_ms": int(run.data.as_of_ms),
        "utc_offset_min": int(run.data.utc_offset_min),
        "shift_state": shift_state,
        "data": "; ".join([run.data.name, *run.data.notes]),
        "tower_dim": declaration.tower_dim,
        "content_dim": declaration.content_dim,
        **declaration.exported(),
        "user_tower": {
            "inputs": declaration.user_inputs,
            "layers": run.towers.user.description("user_tower"),
        },
        "item_tower": {
            "inputs": declaration.item_inputs,
            "layers": run.towers.item.description("item_tower"),
        },
        "ranker": run.ranker.ranker.spec | {"inputs": declaration.ranker_inputs},
        "satisfaction": list(SATISFACTION),
    }


# ---- golden ----


def _golden(
    run: Run, described: dict[str, Any], weights: Tensors, state: counters.State, seed: int
) -> Tensors:
    """Cases of viewers in their state at as_of and random videos, tabs and hours; every tenth viewer has
    no past."""
    rng = np.random.default_rng(seed)
    data, maker = run.data, run.maker
    viewer = rng.integers(0, len(data.viewers), GOLDEN_CASES).astype(np.int32)
    video = rng.integers(0, len(data.videos), GOLDEN_CASES).astype(np.int32)
    tab = rng.integers(0, len(data.tabs) + 1, GOLDEN_CASES).astype(np.float64)
    query = maker.state_query(state, viewer, video, tab)
    query.recent.end[::10] = query.recent.start[::10]
    query.viewer_totals[::10] = 0
    watches = unpack(query.recent)
    weight = reference.history_weights(watches.video, watches.flags, watches.count)
    assert run.items is not None
    tower = run.items.astype(np.float32)
    hist = {
        "hist_tower": reference.history_vectors(weight, watches.video, tower),
        "hist_content": reference.history_vectors(weight, watches.video, run.content),
    }
    moments = query.now_ms + rng.integers(0, 168, GOLDEN_CASES) * 3_600_000
    raw = {
        "viewer": _reference_viewer(run, query, watches),
        "context": np.column_stack([reference.time_fields(moments, data.utc_offset_min), tab]),
        "video": maker.video_raw(video, query.video_totals),
        "pair": _reference_pair(run, video, watches, moments),
    }
    return golden_tensors(ReferenceModel(described, weights), raw, video, hist, tower, run.content)


def _reference_viewer(run: Run, query: Any, watches: Watches) -> np.ndarray:
    age = run.data.viewers["age"].to_numpy(np.float64)[query.viewer]
    age_s = watches.age_s(query.now_ms)
    recent = reference.history_fields(age_s, watches.watch_s, watches.flags, watches.count)
    return np.column_stack([age, query.viewer_totals, recent, run.maker.viewer_declared[query.viewer]])


def _reference_pair(run: Run, video: np.ndarray, watches: Watches, moments: np.ndarray) -> np.ndarray:
    upload = run.data.videos["upload_ms"].to_numpy(np.int64)[video]
    matches = reference.history_matches(
        watches.video, watches.flags, watches.count, run.maker.topic, run.maker.creator, video
    )
    unfilled = np.zeros(len(video))
    return np.column_stack([reference.age_hours(moments, upload), unfilled, unfilled, matches])


# ---- writing ----


def write_bundle(
    run: Run,
    folder: Path,
    version: str,
    shift_state: bool = False,
    state_watches: int = counters.RECENT_LENGTH,
) -> Path:
    """Writes, checks and moves the bundle to ``folder``, replacing a bundle that is there.

    ``state_watches`` is how many recent watches of a viewer the state keeps. Raises native.NativeError
    when the C code refuses the bundle, and then leaves what was there before.
    """
    described = manifest(run, version, shift_state)
    weights = weight_tensors(run)
    state = counters.state_at(run.data, run.data.as_of_ms, length=state_watches)
    parts = {
        "weights.safetensors": weights,
        "videos.safetensors": video_tensors(run),
        "golden.safetensors": _golden(run, described, weights, state, run.config.seed),
        "state/state.safetensors": state_tensors(run, state),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(temporary, described, parts)
        native.check_bundle(temporary)
        temporary.chmod(0o755)
        _replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write(folder: Path, described: dict[str, Any], parts: dict[str, Tensors]) -> None:
    files = {}
    for name, tensors in parts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path)
        path.chmod(0o644)
        content = path.read_bytes()
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    text = json.dumps({**described, "files": files}, indent=1, allow_nan=False)
    (folder / "bundle.json").write_text(text + "\n")


def check_target(folder: Path) -> None:
    """FileExistsError where ``folder`` is something that a bundle must not replace."""
    if folder.is_dir() and ((folder / "bundle.json").exists() or not any(folder.iterdir())):
        return
    if folder.exists():
        raise FileExistsError(f"{folder} holds something that is not a bundle")


def _replace(temporary: Path, folder: Path) -> None:
    """Renames ``temporary`` to ``folder``; what was there is moved aside first and removed at the end, or
    moved back on failure."""
    check_target(folder)
    if not folder.exists():
        temporary.rename(folder)
        return
    aside = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    try:
        temporary.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    shutil.rmtree(aside)


__all__ = ["check_target", "put_strings", "write_bundle"]
