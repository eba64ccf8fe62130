"""Bundles that must be refused: one fault each, and words that the message must hold.

`Case.parts` changes the bundle in memory, so that it is written with right checksums; `Case.disk` changes the
files of a sound bundle. `ACCEPTED` are changes that must not be refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from support import tiny_bundle
from support.tiny_bundle import Parts, put_strings, reseal, write_safetensors_raw

WEIGHTS, VIDEOS, GOLDEN, STATE = tiny_bundle.FILES


@dataclass(frozen=True)
class Case:
    """One fault. `says`: all of these stand in the message."""

    name: str
    says: tuple[str, ...]
    parts: Callable[[Parts], Any] | None = None
    disk: Callable[[Path], Any] | None = None


# ---- changes of the manifest ----


def manifest(*path: Any, value: Any) -> Callable[[Parts], None]:
    """Set the value at a path of bundle.json; `value` may be a function of the old one."""

    def change(parts: Parts) -> None:
        at = parts.manifest
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value(at[path[-1]]) if callable(value) else value

    return change


def without(*path: Any) -> Callable[[Parts], None]:
    """Delete a key of bundle.json."""

    def change(parts: Parts) -> None:
        at = parts.manifest
        for step in path[:-1]:
            at = at[step]
        del at[path[-1]]

    return change


def feature(target: str, /, **keys: Any) -> Callable[[Parts], None]:
    """Change keys of a declared feature."""

    def change(parts: Parts) -> None:
        next(f for f in parts.manifest["features"] if f["name"] == target).update(keys)

    return change


# ---- changes of tensors ----


def tensor(file: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Parts], None]:
    """Replace a tensor by a function of it."""

    def apply(parts: Parts) -> None:
        parts.files[file][name] = change(parts.files[file][name].copy())

    return apply


def element(file: str, name: str, at: Any, value: Any) -> Callable[[Parts], None]:
    """Set one element."""

    def change(array: np.ndarray) -> np.ndarray:
        array[at] = value
        return array

    return tensor(file, name, change)


def drop(file: str, name: str) -> Callable[[Parts], None]:
    return lambda parts: parts.files[file].pop(name)


def extra(file: str) -> Callable[[Parts], None]:
    return lambda parts: parts.files[file].update({"surplus": np.zeros(3, np.float32)})


def strings(file: str, name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Parts], None]:
    """Replace a string list by a function of it."""

    def apply(parts: Parts) -> None:
        from vireo_models.features_reference import string_list

        put_strings(parts.files[file], name, change(string_list(parts.files[file], name)))

    return apply


# ---- changes of files ----


def header(file: str, change: Callable[[dict[str, Any], bytes], tuple[Any, bytes]]) -> Callable[[Path], None]:
    """Rewrite a file with its header and data changed, then seal the bundle again."""

    def apply(folder: Path) -> None:
        raw = (folder / file).read_bytes()
        length = int.from_bytes(raw[:8], "little")
        new, data = change(json.loads(raw[8 : 8 + length]), raw[8 + length :])
        text = new if isinstance(new, str) else json.dumps(new)
        write_safetensors_raw(folder / file, text + " " * (-len(text.encode()) % 8), data)
        reseal(folder)

    return apply


def entry(file: str, name: str, /, **keys: Any) -> Callable[[Path], None]:
    """Change keys of one tensor in a header."""

    def change(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        head[name].update(keys)
        return head, data

    return header(file, change)


def reorder(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    return dict(reversed(head.items())), data


def misalign(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """One byte of U8 in front of everything."""
    moved = {
        name: {**e, "data_offsets": [offset + 1 for offset in e["data_offsets"]]} for name, e in head.items()
    }
    return {"shift": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, **moved}, b"\0" + data


def overlap(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    first, second = list(head)[:2]
    head[second]["data_offsets"] = [0, head[second]["data_offsets"][1] - head[second]["data_offsets"][0]]
    return {first: head[first], **{name: head[name] for name in list(head)[1:]}}, data


def twice(head: dict[str, Any], data: bytes) -> tuple[str, bytes]:
    text = json.dumps(head)
    name = next(iter(head))
    return text[:-1] + f', "{name}": {json.dumps(head[name])}' + "}", data


def flip(file: str, at: int) -> Callable[[Path], None]:
    """Change one bit of a file; the checksum stays."""

    def apply(folder: Path) -> None:
        data = bytearray((folder / file).read_bytes())
        data[at] ^= 1
        (folder / file).write_bytes(data)

    return apply


def cut(file: str, keep: Callable[[int], int], seal: bool = False) -> Callable[[Path], None]:
    """Truncate a file to keep(size) bytes."""

    def apply(folder: Path) -> None:
        os.truncate(folder / file, keep((folder / file).stat().st_size))
        if seal:
            reseal(folder)

    return apply


def length_field(value: int) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        raw = (folder / VIDEOS).read_bytes()
        (folder / VIDEOS).write_bytes(value.to_bytes(8, "little") + raw[8:])
        reseal(folder)

    return apply


def text(change: Callable[[str], str]) -> Callable[[Path], None]:
    """Change the text of bundle.json itself."""
    return lambda folder: (folder / "bundle.json").write_text(change((folder / "bundle.json").read_text()))


def listed(**keys: Any) -> Callable[[Path], None]:
    """Change what bundle.json says of the videos file."""

    def change(old: str) -> str:
        loaded = json.loads(old)
        loaded["files"][VIDEOS].update(keys)
        return json.dumps(loaded)

    return text(change)


def without_files(old: str) -> str:
    loaded = json.loads(old)
    del loaded["files"]
    return json.dumps(loaded)


def replaced_by_folder(folder: Path) -> None:
    (folder / VIDEOS).unlink()
    (folder / VIDEOS).mkdir()


def replaced_by_pipe(folder: Path) -> None:
    (folder / VIDEOS).unlink()
    os.mkfifo(folder / VIDEOS)


def _context_fields(count: int) -> Callable[[Parts], None]:
    """Declare more context fields, until there are `count`; the golden cases get a zero for each."""

    def apply(parts: Parts) -> None:
        fields = parts.manifest["fields"]["context"]
        more = [{"name": f"more_{i}", "type": "number"} for i in range(count - len(fields))]
        fields.extend(more)
        raw = parts.golden["context.raw"]
        parts.golden["context.raw"] = np.concatenate([raw, np.zeros((len(raw), len(more)))], axis=1)

    return apply


NAN, INF = float("nan"), float("inf")

FILE_CASES = [
    Case("bundle.json missing", ("bundle.json", "No such file"), disk=lambda f: (f / "bundle.json").unlink()),
    Case("bundle.json empty", ("bundle.json", "empty"), disk=text(lambda t: "")),
    Case("bundle.json cut", ("bundle.json",), disk=text(lambda t: t[:-2])),
    Case("bundle.json text behind", ("bundle.json",), disk=text(lambda t: t + "{}")),
    Case(
        "bundle.json key twice", ("bundle.json",), disk=text(lambda t: t.replace("{", '{"format": "x",', 1))
    ),
    Case("bundle.json is an array", ("bundle.json", "object"), disk=text(lambda t: "[]")),
    Case("bundle.json too deep", ("bundle.json",), disk=text(lambda t: "[" * 5000 + "]" * 5000)),
    Case(
        "bundle.json not UTF-8",
        ("bundle.json",),
        disk=lambda f: (f / "bundle.json").write_bytes(b'{"\xff": 1}'),
    ),
    Case("file missing", (VIDEOS, "No such file"), disk=lambda f: (f / VIDEOS).unlink()),
    Case("listed state missing", (STATE, "No such file"), disk=lambda f: (f / STATE).unlink()),
    Case("file is a folder", (VIDEOS, "regular file"), disk=replaced_by_folder),
    Case("file is a pipe", (VIDEOS, "regular file"), disk=replaced_by_pipe),
    Case("bit flipped in weights", ("checksum", WEIGHTS, "SHA-256"), disk=flip(WEIGHTS, -7)),
    Case("bit flipped in a header", ("checksum", VIDEOS, "SHA-256"), disk=flip(VIDEOS, 40)),
    Case("bit flipped in golden", ("checksum", GOLDEN, "SHA-256"), disk=flip(GOLDEN, -1)),
    Case("bit flipped in state", ("checksum", STATE, "SHA-256"), disk=flip(STATE, -1)),
    Case("file cut", ("checksum", VIDEOS, "bytes"), disk=cut(VIDEOS, lambda n: n - 8)),
    Case("file longer", ("checksum", VIDEOS, "bytes"), disk=cut(VIDEOS, lambda n: n + 8)),
    Case("file cut and sealed", (VIDEOS, "ends at byte"), disk=cut(VIDEOS, lambda n: n - 8, seal=True)),
    Case("file longer and sealed", (VIDEOS, "the tensors end"), disk=cut(VIDEOS, lambda n: n + 8, seal=True)),
    Case("file of 4 bytes", (VIDEOS, "truncated"), disk=cut(VIDEOS, lambda n: 4, seal=True)),
    Case("file empty", (VIDEOS, "truncated"), disk=cut(VIDEOS, lambda n: 0, seal=True)),
    Case("header length huge", (VIDEOS, "header of"), disk=length_field(2**63)),
    Case("header length past the file", (VIDEOS, "truncated"), disk=length_field(1 << 20)),
    Case("header length 0", (VIDEOS, "'{'"), disk=length_field(0)),
    Case("size stated wrong", ("checksum", VIDEOS), disk=listed(bytes=17)),
    Case("size negative", ("bytes", VIDEOS), disk=listed(bytes=-1)),
    Case("digest short", ("sha256", VIDEOS), disk=listed(sha256="00")),
    Case("digest not hex", ("sha256", VIDEOS), disk=listed(sha256="g" * 64)),
    Case("digest of another file", ("checksum", VIDEOS), disk=listed(sha256="0" * 64)),
    Case("unknown key of a file", ("'path'", VIDEOS), disk=listed(path="/etc/passwd")),
    Case("unlisted file", ("unknown key '../x'",), disk=text(lambda t: t.replace(f'"{GOLDEN}"', '"../x"'))),
    Case("files missing", ("'files' is missing",), disk=text(without_files)),
]

HEADER_CASES = [
    Case("tensors overlap", (WEIGHTS, "begins at byte"), disk=header(WEIGHTS, overlap)),
    Case("tensors unsorted", (VIDEOS, "begins at byte"), disk=header(VIDEOS, reorder)),
    Case("tensors misaligned", (WEIGHTS, "not aligned"), disk=header(WEIGHTS, misalign)),
    Case("tensor twice", (WEIGHTS,), disk=header(WEIGHTS, twice)),
    Case("header not JSON", (WEIGHTS, "header"), disk=header(WEIGHTS, lambda h, d: ('{"a":', d))),
    Case("header an array", (WEIGHTS, "'{'"), disk=header(WEIGHTS, lambda h, d: ("[]", d))),
    Case(
        "header deep",
        (WEIGHTS, "header"),
        disk=header(WEIGHTS, lambda h, d: ('{"a":' + "[" * 9000 + "]" * 9000 + "}", d)),
    ),
    Case("unknown dtype", (VIDEOS, "safety", "BOOL"), disk=entry(VIDEOS, "safety", dtype="BOOL")),
    Case("wrong dtype", (VIDEOS, "safety", "I8", "U8"), disk=entry(VIDEOS, "safety", dtype="I8")),
    Case(
        "dtype of another size",
        (VIDEOS, "duration_s", "bytes"),
        disk=entry(VIDEOS, "duration_s", dtype="F64"),
    ),
    Case("negative dimension", (VIDEOS, "safety", "dimension"), disk=entry(VIDEOS, "safety", shape=[-300])),
    Case(
        "shape overflows", (VIDEOS, "safety", "overflows"), disk=entry(VIDEOS, "safety", shape=[2**62, 2**62])
    ),
    Case(
        "shape of rank 5",
        (VIDEOS, "safety", "4 elements"),
        disk=entry(VIDEOS, "safety", shape=[300, 1, 1, 1, 1]),
    ),
    Case("shape too small", (VIDEOS, "safety", "bytes"), disk=entry(VIDEOS, "safety", shape=[299])),
    Case("shape of wrong rank", (VIDEOS, "safety", "[300, 1]"), disk=entry(VIDEOS, "safety", shape=[300, 1])),
    Case("unknown header key", (VIDEOS, "safety", "'x'"), disk=entry(VIDEOS, "safety", x=1)),
]

MANIFEST_CASES = [
    Case("another format", ("format",), manifest("format", value="other")),
    Case("a later version", ("unsupported", "version 2"), manifest("format_version", value=2)),
    Case("version as text", ("format_version",), manifest("format_version", value="1")),
    Case("unknown key", ("'modelversion'",), manifest("modelversion", value="1")),
    Case("model_version missing", ("'model_version' is missing",), without("model_version")),
    Case("model_version with a slash", ("model_version",), manifest("model_version", value="a/b")),
    Case("model_version too long", ("model_version",), manifest("model_version", value="a" * 65)),
    Case("as_of negative", ("as_of_ms",), manifest("as_of_ms", value=-1)),
    Case("as_of real", ("as_of_ms",), manifest("as_of_ms", value=1.5)),
    Case("utc offset", ("utc_offset_min",), manifest("utc_offset_min", value=841)),
    Case("shift_state as number", ("shift_state",), manifest("shift_state", value=1)),
    Case("tower_dim not of 8", ("multiples of 8",), manifest("tower_dim", value=60)),
    Case("tower_dim huge", ("tower_dim",), manifest("tower_dim", value=2**40)),
    Case("tower_dim another", (WEIGHTS, "user_tower.0.weight"), manifest("tower_dim", value=32)),
    Case("no terms", ("satisfaction",), manifest("satisfaction", value=[])),
    Case(
        "term wrong",
        ("satisfaction", "'clicks'", "column 5"),
        manifest("satisfaction", 0, "expression", value="0.3*klick"),
    ),
    Case(
        "term key", ("bundle.json: satisfaction: unknown key 'x'",), manifest("satisfaction", 0, "x", value=1)
    ),
    Case("term twice", ("satisfaction", "'watch'"), manifest("satisfaction", 0, "name", value="watch")),
    Case("field built in", ("viewer field 'age'",), manifest("fields", "viewer", 0, "name", value="age")),
    Case("field type", ("register_days", "'real'"), manifest("fields", "viewer", 0, "type", value="real")),
    Case(
        "vocabulary twice",
        ("'level'", "'low'"),
        manifest("fields", "viewer", 1, "vocab", value=["low", "low"]),
    ),
    Case(
        "vocabulary tensor missing",
        ("'id'", "vocab.none.bytes"),
        manifest("fields", "viewer", 2, "vocab_tensor", value="vocab.none"),
    ),
    Case(
        "vocabulary tensor behind a NUL",
        ("'id'", "'vocab_tensor'"),
        manifest("fields", "viewer", 2, "vocab_tensor", value="vocab.viewer_id\0x"),
    ),
    Case(
        "vocabulary too long",
        ("context field 'tab'", "4096 elements, not 4097"),
        manifest("fields", "context", 0, "vocab", value=[str(i) for i in range(4097)]),
    ),
    Case("fields too many", ("'context'", "1024 elements"), _context_fields(1025)),
    Case("pair fields", ("'pair'",), manifest("fields", "pair", value=[])),
    Case("feature kind", ("'days'", "'sparse'"), feature("days", kind="sparse")),
    Case("feature field", ("'days'", "'nights'"), feature("days", field="nights")),
    Case("feature std 0", ("'days'", "std"), feature("days", std=0)),
    Case("feature clip past float32", ("'days'", "clip"), feature("days", clip=1e39)),
    Case("feature twice", ("'days'",), feature("age", name="days")),
    Case("feature of another entity", ("'days'", "register_days"), feature("days", entity="video")),
    Case("feature table missing", ("'level'", "table.none"), feature("level", table="table.none")),
    Case(
        "feature table of rank 1",
        ("'level'", "user_tower.0.bias"),
        feature("level", table="user_tower.0.bias"),
    ),
    Case(
        "feature table integer",
        ("'level'", "vocab.viewer_id.offsets"),
        feature("level", table="vocab.viewer_id.offsets"),
    ),
    Case("feature width wrong", ("'level'", "'width'"), feature("level", width=5)),
    Case("feature rows wrong", ("'level'", "'rows'"), feature("level", rows=5)),
    Case("bucket rows", ("'age_group'", "7 rows"), feature("age_group", boundaries=[1.0])),
    Case("bucket falls", ("'age_group'", "rise"), feature("age_group", boundaries=[1, 2, 4, 3, 5])),
    Case("input unknown", ("user_tower", "'none'"), manifest("user_tower", "inputs", 2, value="none")),
    Case("input twice", ("user_tower", "'age'"), manifest("user_tower", "inputs", 3, value="age")),
    Case(
        "user tower reads itself",
        ("user_tower", "'user_tower'"),
        manifest("user_tower", "inputs", 0, value="user_tower"),
    ),
    Case(
        "user tower reads videos",
        ("user_tower", "'topic'"),
        manifest("user_tower", "inputs", 0, value="topic"),
    ),
    Case(
        "item tower reads its output",
        ("item_tower", "'tower'"),
        manifest("item_tower", "inputs", 0, value="tower"),
    ),
    Case(
        "item tower reads totals",
        ("item_tower", "'popularity'"),
        manifest("item_tower", "inputs", 0, value="popularity"),
    ),
    Case(
        "item tower reads watch sums",
        ("item_tower", "'video_watch'"),
        manifest("item_tower", "inputs", 0, value="video_watch"),
    ),
    Case("layers empty", ("user_tower", "layers"), manifest("user_tower", "layers", value=[])),
    Case(
        "five layers",
        ("user_tower", "layers"),
        manifest("user_tower", "layers", value=lambda old: [old[0]] * 5),
    ),
    Case(
        "activation",
        ("user_tower", "'gelu'"),
        manifest("user_tower", "layers", 0, "activation", value="gelu"),
    ),
    Case(
        "layer missing",
        (WEIGHTS, "user_tower.9.weight"),
        manifest("user_tower", "layers", 0, "tensor", value="user_tower.9"),
    ),
    Case(
        "layer behind a NUL",
        ("user_tower", "'tensor'"),
        manifest("user_tower", "layers", 0, "tensor", value="user_tower.0\0x"),
    ),
    Case(
        "last layer too narrow",
        ("user_tower", "48 outputs"),
        manifest("user_tower", "layers", value=lambda old: old[:1]),
    ),
    Case(
        "architecture", ("ranker", "'transformer'"), manifest("ranker", "architecture", value="transformer")
    ),
    Case("ranker key", ("ranker", "'depth'"), manifest("ranker", "depth", value=1)),
    Case("ranker input", ("ranker", "'none'"), manifest("ranker", "inputs", 0, value="none")),
    Case("no levels", ("ranker", "levels"), manifest("ranker", "levels", value=[])),
    Case("65 experts", ("level 0", "experts"), manifest("ranker", "levels", 0, "experts", value=65)),
    Case("hidden negative", ("level 0", "hidden"), manifest("ranker", "levels", 0, "hidden", value=-1)),
    Case(
        "hidden another", (WEIGHTS, "ranker.level0.w1"), manifest("ranker", "levels", 0, "hidden", value=31)
    ),
    Case(
        "expert input",
        ("level 0", "expert_input"),
        manifest("ranker", "levels", 0, "expert_input", value=[0, 0, 0, 1]),
    ),
    Case(
        "expert inputs short",
        ("level 0", "expert_input"),
        manifest("ranker", "levels", 0, "expert_input", value=[0]),
    ),
    Case(
        "gate expert past the end",
        ("level 0", "experts"),
        manifest("ranker", "levels", 0, "gates", 0, "experts", value=[4]),
    ),
    Case(
        "gate without experts",
        ("level 0", "experts"),
        manifest("ranker", "levels", 0, "gates", 0, "experts", value=[]),
    ),
    Case(
        "gate lists twice",
        ("level 0", "twice"),
        manifest("ranker", "levels", 0, "gates", 0, "experts", value=[1, 1]),
    ),
    Case("gate input", ("level 0", "input"), manifest("ranker", "levels", 0, "gates", 0, "input", value=1)),
    Case(
        "two gates of a name",
        ("level 0", "'like'"),
        manifest("ranker", "levels", 0, "gates", 0, "name", value="like"),
    ),
    Case("three tasks", ("ranker", "tasks"), manifest("ranker", "tasks", value=lambda old: old[:3])),
    Case(
        "tasks in another order",
        ("task 'click'", "like"),
        manifest("ranker", "tasks", value=lambda old: [old[2], old[1], old[0], old[3]]),
    ),
    Case("task gate", ("task 'click'", "gate"), manifest("ranker", "tasks", 0, "gate", value=4)),
    Case(
        "probability of two outputs",
        ("task 'click'", "widths"),
        manifest("ranker", "tasks", 0, "widths", value=[1, 1]),
    ),
    Case(
        "probability scaled",
        ("task 'click'", "widths"),
        manifest("ranker", "tasks", 0, "widths", value=[2.0]),
    ),
    Case(
        "width negative",
        ("task 'watch_s'", "widths"),
        manifest("ranker", "tasks", 1, "widths", 0, value=-1.0),
    ),
    Case(
        "65 widths", ("task 'watch_s'", "widths"), manifest("ranker", "tasks", 1, "widths", value=[1.0] * 65)
    ),
    Case(
        "a width too many",
        (WEIGHTS, "ranker.task.watch_s.w2"),
        manifest("ranker", "tasks", 1, "widths", value=[1.0] * 9),
    ),
    Case("tower_hidden", (WEIGHTS, "ranker.task.click.w1"), manifest("ranker", "tower_hidden", value=11)),
]

TENSOR_CASES = [
    Case("weights: surplus", (WEIGHTS, "'surplus'"), extra(WEIGHTS)),
    Case("weights: missing", (WEIGHTS, "ranker.level0.b2"), drop(WEIGHTS, "ranker.level0.b2")),
    Case(
        "weights: NaN",
        (WEIGHTS, "ranker.level0.w1", "no number"),
        element(WEIGHTS, "ranker.level0.w1", (1, 2, 3), NAN),
    ),
    Case("weights: infinite table", (WEIGHTS, "table.video"), element(WEIGHTS, "table.video", (4, 1), -INF)),
    Case(
        "weights: infinite F32 table",
        (WEIGHTS, "table.age", "infinite"),
        element(WEIGHTS, "table.age", (4, 1), INF),
    ),
    Case(
        "weights: transposed",
        (WEIGHTS, "user_tower.0.weight"),
        tensor(WEIGHTS, "user_tower.0.weight", lambda a: np.ascontiguousarray(a.T)),
    ),
    Case(
        "weights: double",
        (WEIGHTS, "user_tower.0.weight", "F64"),
        tensor(WEIGHTS, "user_tower.0.weight", lambda a: a.astype(np.float64)),
    ),
    Case(
        "weights: layer too wide",
        (WEIGHTS, "user_tower.0.weight", "4097 outputs"),
        tensor(WEIGHTS, "user_tower.0.weight", lambda a: np.zeros((4097, a.shape[1]), np.float32)),
    ),
    Case(
        "weights: table too wide",
        ("'level'", "4096 columns"),
        tensor(WEIGHTS, "table.level", lambda a: np.zeros((len(a), 4097), np.float32)),
    ),
    Case(
        "weights: bias too long",
        (WEIGHTS, "user_tower.0.bias"),
        tensor(WEIGHTS, "user_tower.0.bias", lambda a: np.append(a, a[:1])),
    ),
    Case("videos: surplus", (VIDEOS, "'surplus'"), extra(VIDEOS)),
    Case("videos: missing", (VIDEOS, "'min_age' is missing"), drop(VIDEOS, "min_age")),
    Case("videos: field missing", (VIDEOS, "field.loudness"), drop(VIDEOS, "field.loudness")),
    Case("videos: field infinite", (VIDEOS, "field.loudness"), element(VIDEOS, "field.loudness", 3, INF)),
    Case("videos: field index", (VIDEOS, "field.shape"), element(VIDEOS, "field.shape", 3, 3)),
    Case(
        "videos: field of another type",
        (VIDEOS, "field.shape"),
        tensor(VIDEOS, "field.shape", lambda a: a.astype(np.float32)),
    ),
    Case("videos: too few", (VIDEOS, "at least 10"), strings(VIDEOS, "id", lambda s: s[:9])),
    Case("videos: id twice", (VIDEOS, "'id'", "'v7'"), strings(VIDEOS, "id", lambda s: ["v7", *s[1:]])),
    Case("videos: id empty", (VIDEOS, "'id'", "0 bytes"), strings(VIDEOS, "id", lambda s: ["", *s[1:]])),
    Case(
        "videos: id too long",
        (VIDEOS, "'id'", "65 bytes"),
        strings(VIDEOS, "id", lambda s: ["x" * 65, *s[1:]]),
    ),
    Case("videos: ids too many", (VIDEOS, "title"), strings(VIDEOS, "id", lambda s: [*s, "one more"])),
    Case(
        "videos: title too long",
        (VIDEOS, "'title'", "513"),
        strings(VIDEOS, "title", lambda s: ["x" * 513, *s[1:]]),
    ),
    Case("videos: title not UTF-8", (VIDEOS, "'title'", "UTF-8"), element(VIDEOS, "title.bytes", 3, 0xFF)),
    Case(
        "videos: offsets fall", (VIDEOS, "id.offsets", "falls"), element(VIDEOS, "id.offsets", 5, 0xFFFFFFFF)
    ),
    Case("videos: offsets begin late", (VIDEOS, "id.offsets", "begins"), element(VIDEOS, "id.offsets", 0, 1)),
    Case(
        "videos: offsets end early",
        (VIDEOS, "id.offsets", "ends"),
        tensor(VIDEOS, "id.bytes", lambda a: np.append(a, a[:1])),
    ),
    Case(
        "videos: offsets signed",
        (VIDEOS, "id.offsets", "I32"),
        tensor(VIDEOS, "id.offsets", lambda a: a.astype(np.int32)),
    ),
    Case(
        "videos: offsets none",
        (VIDEOS, "topic.name.offsets"),
        tensor(VIDEOS, "topic.name.offsets", lambda a: a[:0]),
    ),
    Case("videos: creator past the end", (VIDEOS, "creator.index"), element(VIDEOS, "creator.index", 3, 37)),
    Case("videos: topic below -1", (VIDEOS, "topic.index"), element(VIDEOS, "topic.index", 3, -2)),
    Case(
        "videos: creator twice",
        (VIDEOS, "creator.id", "'c1'"),
        strings(VIDEOS, "creator.id", lambda s: ["c1", *s[1:]]),
    ),
    Case("videos: duration negative", (VIDEOS, "duration_s"), element(VIDEOS, "duration_s", 0, -1)),
    Case("videos: duration NaN", (VIDEOS, "duration_s"), element(VIDEOS, "duration_s", 0, NAN)),
    Case("videos: safety 3", (VIDEOS, "safety", "is 3"), element(VIDEOS, "safety", 9, 3)),
    Case("videos: score above 1", (VIDEOS, "unsafe_score"), element(VIDEOS, "unsafe_score", 9, 1.5)),
    Case("videos: tower zero", (VIDEOS, "'tower'", "row 4"), element(VIDEOS, "tower", 4, 0)),
    Case(
        "videos: tower long",
        (VIDEOS, "'tower'", "row 4"),
        tensor(
            VIDEOS,
            "tower",
            lambda a: a * np.where(np.arange(len(a)) == 4, 1.01, 1)[:, None].astype(np.float16),
        ),
    ),
    Case("videos: tower NaN", (VIDEOS, "'tower'", "row 4"), element(VIDEOS, "tower", (4, 1), NAN)),
    Case(
        "videos: tower F32",
        (VIDEOS, "'tower'", "F32"),
        tensor(VIDEOS, "tower", lambda a: a.astype(np.float32)),
    ),
    Case(
        "videos: content scale",
        (VIDEOS, "'content'", "row"),
        tensor(VIDEOS, "content.scale", lambda a: a * np.float32(1.05)),
    ),
    Case(
        "videos: content scale negative", (VIDEOS, "content.scale"), element(VIDEOS, "content.scale", 0, -1)
    ),
    Case("videos: content narrower", (VIDEOS, "'content'"), tensor(VIDEOS, "content", lambda a: a[:, :24])),
    Case("golden: surplus", (GOLDEN, "'surplus'"), extra(GOLDEN)),
    Case("golden: missing", (GOLDEN, "out.heads"), drop(GOLDEN, "out.heads")),
    Case("golden: no cases", (GOLDEN, "cases"), tensor(GOLDEN, "video.row", lambda a: a[:0])),
    Case("golden: too few rows", (GOLDEN, "viewer.raw"), tensor(GOLDEN, "viewer.raw", lambda a: a[:-1])),
    Case("golden: a field less", (GOLDEN, "pair.raw"), tensor(GOLDEN, "pair.raw", lambda a: a[:, :-1])),
    Case("golden: row past the videos", (GOLDEN, "video.row"), element(GOLDEN, "video.row", 0, 300)),
    Case("golden: rows disagree", (GOLDEN, "video.raw", "case 5"), element(GOLDEN, "video.raw", (5, 0), 0)),
    Case(
        "golden: raw infinite", (GOLDEN, "viewer.raw", "infinite"), element(GOLDEN, "viewer.raw", (5, 1), INF)
    ),
    Case("golden: output NaN", (GOLDEN, "out.heads", "no number"), element(GOLDEN, "out.heads", (5, 1), NAN)),
    Case("golden: output negative", (GOLDEN, "out.heads"), element(GOLDEN, "out.heads", (5, 1), -0.5)),
    Case("golden: top row twice", (GOLDEN, "out.topk", "twice"), tensor(GOLDEN, "out.topk", lambda a: a * 0)),
    Case("golden: top row past the end", (GOLDEN, "out.topk"), element(GOLDEN, "out.topk", (0, 0), 300)),
    Case(
        "golden: history infinite",
        (GOLDEN, "viewer.hist_tower"),
        element(GOLDEN, "viewer.hist_tower", (0, 0), INF),
    ),
    Case("state: surplus", (STATE, "'surplus'"), extra(STATE)),
    Case(
        "state: viewer twice",
        (STATE, "viewer.id", "'2'"),
        strings(STATE, "viewer.id", lambda s: ["2", *s[1:]]),
    ),
    Case("state: age negative", (STATE, "viewer.age"), element(STATE, "viewer.age", 0, -1)),
    Case("state: counter NaN", (STATE, "viewer.counters"), element(STATE, "viewer.counters", (0, 0), NAN)),
    Case(
        "state: five counters",
        (STATE, "viewer.counters"),
        tensor(STATE, "viewer.counters", lambda a: a[:, :5]),
    ),
    Case(
        "state: profile of no field",
        (STATE, "profile.none"),
        lambda p: p.state.update({"profile.none": np.zeros(40)}),
    ),
    Case(
        "state: profile of the id",
        (STATE, "profile.id"),
        lambda p: p.state.update({"profile.id.index": np.zeros(40, np.int32)}),
    ),
    Case("state: profile index", (STATE, "profile.level.index"), element(STATE, "profile.level.index", 0, 3)),
    Case(
        "state: profile infinite",
        (STATE, "profile.register_days"),
        element(STATE, "profile.register_days", 0, INF),
    ),
    Case(
        "state: profile values missing",
        (STATE, "profile.level.values"),
        drop(STATE, "profile.level.values.bytes"),
    ),
    Case("state: history past the videos", (STATE, "recent.video"), element(STATE, "recent.video", 0, 300)),
    Case(
        "state: history of nobody",
        (STATE, "recent.offsets"),
        tensor(STATE, "recent.offsets", lambda a: a[:-1]),
    ),
    Case(
        "state: history offsets",
        (STATE, "recent.offsets", "falls"),
        element(STATE, "recent.offsets", 3, 2**31),
    ),
    Case("state: history age negative", (STATE, "recent.age_s"), element(STATE, "recent.age_s", 0, -1)),
    Case("state: watch infinite", (STATE, "recent.watch_s"), element(STATE, "recent.watch_s", 0, INF)),
    Case("state: flags", (STATE, "recent.flags"), element(STATE, "recent.flags", 0, 16)),
    Case("state: follows nobody", (STATE, "follow.creator"), element(STATE, "follow.creator", 0, -1)),
    Case("state: friend past the end", (STATE, "friend.viewer"), element(STATE, "friend.viewer", 0, 40)),
    Case(
        "state: totals of other videos",
        (STATE, "video.counters"),
        tensor(STATE, "video.counters", lambda a: a[1:]),
    ),
    Case("state: trend NaN", (STATE, "video.trend"), element(STATE, "video.trend", 0, NAN)),
]

REFUSED = [*FILE_CASES, *HEADER_CASES, *MANIFEST_CASES, *TENSOR_CASES]


def _one_golden_case(parts: Parts) -> None:
    for name, array in parts.golden.items():
        parts.golden[name] = array[:1]


def _empty_histories(parts: Parts) -> None:
    parts.state["recent.offsets"][:] = 0
    for name in ("video", "age_s", "watch_s", "flags"):
        parts.state[f"recent.{name}"] = parts.state[f"recent.{name}"][:0]


def _no_profiles(parts: Parts) -> None:
    for name in [name for name in parts.state if name.startswith("profile.")]:
        del parts.state[name]


def _no_viewers(parts: Parts) -> None:
    for name, array in parts.state.items():
        if name.endswith(".offsets"):
            parts.state[name] = array[:1] * 0
        elif not name.startswith("video."):
            parts.state[name] = array[:0]


def _second_viewer_id(parts: Parts) -> None:
    """A declared field whose vocabulary is the tensor of another field."""
    field = {"name": "invited_by", "type": "string", "vocab_tensor": "vocab.viewer_id"}
    parts.manifest["fields"]["viewer"].append(field)
    raw = parts.golden["viewer.raw"]
    parts.golden["viewer.raw"] = np.concatenate([raw, raw[:, :1] * 0], axis=1)


def _metadata(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    return {"__metadata__": {"format": "pt"}, **head}, data


def _unlisted_state(folder: Path) -> None:
    loaded = json.loads((folder / "bundle.json").read_text())
    del loaded["files"][STATE]
    (folder / "bundle.json").write_text(json.dumps(loaded))


def _upper_digests(folder: Path) -> None:
    loaded = json.loads((folder / "bundle.json").read_text())
    for entry_ in loaded["files"].values():
        entry_["sha256"] = entry_["sha256"].upper()
    (folder / "bundle.json").write_text(json.dumps(loaded))


ACCEPTED = [
    Case("no state", (), lambda p: p.files.pop(STATE)),
    Case("one golden case", (), _one_golden_case),
    Case("empty histories", (), _empty_histories),
    Case("no profiles", (), _no_profiles),
    Case("empty titles", (), strings(VIDEOS, "title", lambda s: [""] * len(s))),
    Case("titles of 512 bytes", (), strings(VIDEOS, "title", lambda s: ["ä" * 256] * len(s))),
    Case("ids of 64 bytes", (), strings(VIDEOS, "id", lambda s: ["x" * 64, *s[1:]])),
    Case("unknown uploads", (), tensor(VIDEOS, "upload_ms", lambda a: a * 0 + np.iinfo(np.int64).min)),
    Case("no content at all", (), tensor(VIDEOS, "content.scale", lambda a: a * 0)),
    Case("stated table shape", (), feature("level", width=4, rows=4)),
    Case("1,024 fields", (), _context_fields(1024)),
    Case(
        "4,096 strings",
        (),
        manifest("fields", "context", 0, "vocab", value=[str(i) for i in range(4096)]),
    ),
    Case("empty vocabulary", (), manifest("fields", "context", 0, "vocab", value=[])),
    Case("two fields of one vocabulary", (), _second_viewer_id),
    Case("clip of the largest float32", (), feature("days", clip=3.4028234663852886e38)),
    Case("nobody in the state", (), _no_viewers),
    Case("gate of one expert", (), manifest("ranker", "levels", 0, "gates", 0, "experts", value=[2])),
    Case("non-linear term", (), manifest("satisfaction", 0, "expression", value="max(click, like)")),
    Case("metadata in a header", (), disk=header(VIDEOS, _metadata)),
    Case("digests in capitals", (), disk=_upper_digests),
    Case("a state that is not listed", (), disk=_unlisted_state),
    Case("another file in the folder", (), disk=lambda f: (f / "README.md").write_text("hello")),
]
