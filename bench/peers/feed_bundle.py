"""A bundle as a Python service would hold it: arrays, precomputed blocks, an ONNX graph of the ranker."""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))

from vireo_models.features_reference import BUILT_IN, ReferenceSpace, string_list, time_fields

UNKNOWN_TIME = np.iinfo(np.int64).min
HEADS = ("click", "watch_s", "like", "finish")
F32 = np.float32


class Block:
    """The features of one entity among some inputs: raw rows in, float32 columns out, few operations."""

    def __init__(self, space: ReferenceSpace, names: list[str], entity: str, tensors: dict[str, Any]) -> None:
        position = {name: i for i, name in enumerate(space.field_names(entity))}
        columns = space.columns(names, entity)
        features = [space.features[column.name] for column in columns]
        self.width = sum(column.width for column in columns)
        self.vectors = [(c.vector, c.offset, c.width) for c in columns if c.kind == "vector"]
        dense = [(c, f) for c, f in zip(columns, features, strict=True) if f["kind"] == "dense"]
        rates = [(c, f) for c, f in zip(columns, features, strict=True) if f["kind"] == "rate"]
        self.fields = np.array([position[f["field"]] for _, f in dense], dtype=np.int64)
        self.num = np.array([position[f["numerator"]] for _, f in rates], dtype=np.int64)
        self.den = np.array([position[f["denominator"]] for _, f in rates], dtype=np.int64)
        self.at = np.array([c.offset for c, _ in dense + rates], dtype=np.int64)
        both = [f for _, f in dense + rates]
        self.log = np.array([f["scale"] == "log1p" for f in both], dtype=bool)
        self.logit = np.array([f["scale"] == "logit" for f in both], dtype=bool)
        self.mean, self.std, self.clip = (np.array([f[key] for f in both]) for key in ("mean", "std", "clip"))
        self.strength = np.array([f["strength"] for _, f in rates])
        self.prior = np.array([f["prior"] for _, f in rates]) * self.strength
        self.tables = [
            (c.offset, c.width, position[f["field"]], tensors[f["table"]].astype(F32), f.get("boundaries"))
            for c, f in zip(columns, features, strict=True)
            if c.kind == "table"
        ]

    def rows(self, raw: np.ndarray, vectors: dict[str, np.ndarray]) -> np.ndarray:
        """raw [n, fields] float64 -> [n, width] float32."""
        out = np.empty((raw.shape[0], self.width), F32)
        if self.at.size:
            num, den = np.nan_to_num(raw[:, self.num]), np.nan_to_num(raw[:, self.den])
            rate = (np.maximum(num, 0) + self.prior) / (np.maximum(den, 0) + self.strength)
            x = np.concatenate([raw[:, self.fields], rate], axis=1)
            x[:, self.log] = np.log1p(np.maximum(x[:, self.log], 0))
            odds = np.clip(x[:, self.logit], 1e-6, 1 - 1e-6)
            x[:, self.logit] = np.log(odds / (1 - odds))
            out[:, self.at] = np.nan_to_num(np.clip((x - self.mean) / self.std, -self.clip, self.clip))
        for offset, width, field, table, boundaries in self.tables:
            value = raw[:, field]
            known = ~np.isnan(value)
            if boundaries is not None:
                index = np.where(known, 1 + np.searchsorted(boundaries, value, side="right"), 0)
            else:
                index = np.rint(np.where(known, value, 0)).astype(np.int64)
                index[(index < 0) | (index >= len(table))] = 0
            out[:, offset : offset + width] = table[index]
        for name, offset, width in self.vectors:
            out[:, offset : offset + width] = vectors[name]
        return out


def ranker_graph(spec: dict[str, Any], tensors: dict[str, Any], width: int) -> onnx.ModelProto:
    """rows [n, width] -> heads [n, 4], as a framework's exporter lays a network out."""
    nodes: list[Any] = []
    weights: list[Any] = []

    def constant(name: str, value: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def dense(x: str, w: np.ndarray, b: np.ndarray, name: str, *, relu: bool) -> str:
        """x [n, in], w [out, in]."""
        y = node(
            "Gemm",
            [x, constant(f"{name}.w", w.T.astype(F32)), constant(f"{name}.b", b.astype(F32))],
            f"{name}.z",
        )
        return node("Relu", [y], f"{name}.y") if relu else y

    outputs = ["rows"]
    for number, level in enumerate(spec["levels"]):
        w1, b1, w2, b2 = (tensors[f"ranker.level{number}.{k}"] for k in ("w1", "b1", "w2", "b2"))
        experts = [
            dense(
                dense(outputs[source], w1[e], b1[e], f"l{number}e{e}.1", relu=True),
                w2[e],
                b2[e],
                f"l{number}e{e}.2",
                relu=True,
            )
            for e, source in enumerate(level["expert_input"])
        ]
        gate_w, gate_b = tensors[f"ranker.level{number}.gate.w"], tensors[f"ranker.level{number}.gate.b"]
        axis = constant(f"l{number}.axis", np.array([1], np.int64))
        lifted = [node("Unsqueeze", [one, axis], f"{one}.u") for one in experts]
        mixed = []
        for g, gate in enumerate(level["gates"]):
            name, listed = f"l{number}g{g}", gate["experts"]
            logits = dense(outputs[gate["input"]], gate_w[g][listed], gate_b[g][listed], name, relu=False)
            share = node("Softmax", [logits], f"{name}.s", axis=1)
            share = node("Unsqueeze", [share, axis], f"{name}.su")  # [n, 1, listed]
            stack = node("Concat", [lifted[e] for e in listed], f"{name}.c", axis=1)  # [n, listed, width]
            product = node("MatMul", [share, stack], f"{name}.m")
            mixed.append(node("Squeeze", [product, axis], f"{name}.y"))
        outputs = mixed
    heads = []
    for task in spec["tasks"]:
        name = task["name"]
        w1, b1, w2, b2 = (tensors[f"ranker.task.{name}.{k}"] for k in ("w1", "b1", "w2", "b2"))
        hidden = dense(outputs[task["gate"]], w1, b1, f"{name}.1", relu=True)
        chance = node("Sigmoid", [dense(hidden, w2, b2, f"{name}.2", relu=False)], f"{name}.p")
        widths = constant(f"{name}.widths", np.array(task["widths"], F32)[:, None])
        heads.append(node("MatMul", [chance, widths], f"{name}.head"))
    node("Concat", heads, "heads", axis=1)
    graph = helper.make_graph(
        nodes,
        "ranker",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("heads", TensorProto.FLOAT, ["n", 4])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """One thread, all graph optimisations, no spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def spans(offsets: np.ndarray) -> list[slice]:
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(offsets)]


class Bundle:
    """What does not depend on a request; times are moved to `start_ms` where the bundle says so."""

    def __init__(self, folder: Path, start_ms: int | None = None) -> None:
        self.manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        self.tensors = load_file(folder / "weights.safetensors")
        videos = load_file(folder / "videos.safetensors")
        state = load_file(folder / "state" / "state.safetensors")
        self.space = ReferenceSpace(self.manifest, self.tensors)
        self.as_of_ms = int(self.manifest["as_of_ms"])
        start_ms = int(time.time() * 1000) if start_ms is None else start_ms
        self.shift_ms = start_ms - self.as_of_ms if self.manifest["shift_state"] else 0
        self._take_videos(videos, state)
        self._take_viewers(state)
        self._make_blocks()

    def _take_videos(self, videos: dict[str, np.ndarray], state: dict[str, np.ndarray]) -> None:
        self.id = string_list(videos, "id")
        self.title = string_list(videos, "title")
        creators, topics = string_list(videos, "creator.id"), string_list(videos, "topic.name")
        self.creator, self.topic = videos["creator.index"], videos["topic.index"]
        self.creator_id = [creators[i] if i >= 0 else "" for i in self.creator]
        self.topic_name = [topics[i] if i >= 0 else "" for i in self.topic]
        self.duration_s = videos["duration_s"]
        upload = videos["upload_ms"].astype(np.int64)
        self.upload_ms = np.where(upload == UNKNOWN_TIME, UNKNOWN_TIME, upload + self.shift_ms)
        self.min_age = videos["min_age"]
        self.safe = (videos["safety"] == 1) & (videos["unsafe_score"] <= 0.5)
        self.tower = videos["tower"].astype(F32)
        self.content = videos["content"].astype(F32) / F32(127) * videos["content.scale"][:, None]
        norm = np.linalg.norm(self.content, axis=1, keepdims=True)
        self.direction = np.divide(self.content, norm, out=np.zeros_like(self.content), where=norm > 0)
        self.row_of = {name: i for i, name in enumerate(self.id)}
        count = len(self.id)
        raw = np.full((count, len(self.space.field_names("video"))), np.nan)
        raw[:, 0] = np.arange(count) + 1
        raw[:, 1], raw[:, 2] = self.creator + 1, self.topic + 1
        raw[:, 3] = np.where(self.duration_s > 0, self.duration_s, np.nan)
        raw[:, 4:10] = state["video.counters"]
        for i, name in enumerate(self.space.field_names("video")[len(BUILT_IN["video"]) :]):
            raw[:, len(BUILT_IN["video"]) + i] = videos[f"field.{name}"]
        self.video_raw = raw
        trend = state["video.trend"]
        self.trending = np.argsort(-trend, kind="stable")[: int((trend > 0).sum())].astype(np.int64)
        newest = np.lexsort((np.arange(count), -self.upload_ms))
        by_creator = newest[np.argsort(self.creator[newest], kind="stable")]
        edges = np.searchsorted(self.creator[by_creator], np.arange(len(creators) + 1))
        self.uploads = [by_creator[a:b] for a, b in itertools.pairwise(edges)]

    def _take_viewers(self, state: dict[str, np.ndarray]) -> None:
        self.viewer_of = {name: i for i, name in enumerate(string_list(state, "viewer.id"))}
        count = len(self.viewer_of)
        self.age = state["viewer.age"]
        names = self.space.field_names("viewer")
        raw = np.full((count + 1, len(names)), np.nan)  # the last row is a new viewer
        raw[:count, 0], raw[:count, 1:7], raw[count, 1:7] = self.age, state["viewer.counters"], 0
        for i, name in enumerate(names[len(BUILT_IN["viewer"]) :], len(BUILT_IN["viewer"])):
            raw[:, i] = self._profile(state, name, count)
        self.viewer_raw = raw
        self.recent = spans(state["recent.offsets"])
        self.recent_video = state["recent.video"].astype(np.int64)
        self.recent_ms = self.as_of_ms + self.shift_ms - state["recent.age_s"].astype(np.float64) * 1000
        self.recent_watch_s, self.recent_flags = state["recent.watch_s"], state["recent.flags"]
        self.follows = [np.unique(state["follow.creator"][s]) for s in spans(state["follow.offsets"])]
        self.friends = [np.unique(state["friend.viewer"][s]) for s in spans(state["friend.offsets"])]

    def _profile(self, state: dict[str, np.ndarray], name: str, count: int) -> np.ndarray:
        """A declared viewer field: number, or string as index in the vocabulary plus one."""
        declared = next(f for f in self.space.declared["viewer"] if f["name"] == name)
        values = np.full(count + 1, np.nan if declared["type"] == "number" else 0.0)
        if declared["type"] == "number":
            if f"profile.{name}" in state:
                values[:count] = state[f"profile.{name}"]
        elif name == "id":
            values[:count] = self.space.codes("viewer", "id", list(self.viewer_of))
        elif f"profile.{name}.index" in state:
            codes = np.append(
                self.space.codes("viewer", name, string_list(state, f"profile.{name}.values")), 0.0
            )
            values[:count] = codes[state[f"profile.{name}.index"]]
        return values

    def _make_blocks(self) -> None:
        tower, ranker = self.manifest["user_tower"], self.manifest["ranker"]
        blocks = {
            (part, entity): Block(self.space, spec["inputs"], entity, self.tensors)
            for part, spec in (("tower", tower), ("ranker", ranker))
            for entity in ("viewer", "context", "video", "pair")
        }
        self.blocks = blocks
        self.video_block = blocks["ranker", "video"].rows(
            self.video_raw, {"tower": self.tower, "content": self.content}
        )
        self.layers = [
            (
                np.ascontiguousarray(self.tensors[f"{layer['tensor']}.weight"].T.astype(F32)),
                self.tensors[f"{layer['tensor']}.bias"].astype(F32),
                layer["activation"] == "relu",
            )
            for layer in tower["layers"]
        ]
        self.request_width = blocks["ranker", "viewer"].width + blocks["ranker", "context"].width
        self.width = self.request_width + self.video_block.shape[1] + blocks["ranker", "pair"].width
        self.ranker = session(ranker_graph(ranker, self.tensors, self.width))
        self.terms = [
            compile(one["expression"].replace("^", "**"), one["name"], "eval")
            for one in self.manifest["satisfaction"]
        ]

    def context_raw(self, now_ms: int) -> np.ndarray:
        names = self.space.field_names("context")
        raw = np.full((1, len(names)), np.nan)
        for i, field in enumerate(self.space.declared["context"], len(BUILT_IN["context"])):
            raw[0, i] = np.nan if field["type"] == "number" else 0.0
        raw[0, :2] = time_fields(np.array([now_ms]), int(self.manifest["utc_offset_min"]))[0]
        return raw
