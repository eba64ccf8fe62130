"""Heads of the C engine against onnxruntime on graphs built here from the bundle's tensors and wiring alone.

Features come from the NumPy reference, the networks from onnx.helper: neither shares a line with the C code.
"""

from __future__ import annotations

from pathlib import Path

import engine_rows
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vireo_models.features_reference import ENTITIES, ReferenceSpace

ROWS = 1000
PROBABILITY = 1e-4  # the most that a probability may differ
WATCH = 1e-3  # seconds, or relative above one second
HEADS = ("click", "watch_s", "like", "finish")


class Graph:
    """A graph in the making; tensors are named, `x` is its one input, float32 [n, width]."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def linear(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        return self.add("Gemm", x, self.constant(weight), self.constant(bias), transB=1)

    def relu_linear(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        return self.add("Relu", self.linear(x, weight, bias))

    def run(self, output: str, width: int, x: np.ndarray) -> np.ndarray:
        """x [n, inputs] -> the tensor `output` [n, width]."""
        graph = helper.make_graph(
            self.nodes,
            "parity",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, x.shape[1]])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, width])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run([output], {"x": x.astype(np.float32)})[0]


def run_user_tower(bundle: engine_rows.Bundle, x: np.ndarray) -> np.ndarray:
    """Assembled rows -> unit vectors float32 [n, tower_dim]."""
    graph, name = Graph(), "x"
    for layer in bundle.manifest["user_tower"]["layers"]:
        make = graph.relu_linear if layer["activation"] == "relu" else graph.linear
        tensors = (bundle.weights[f"{layer['tensor']}.{kind}"] for kind in ("weight", "bias"))
        name = make(name, *tensors)
    return graph.run(graph.add("LpNormalization", name, axis=1, p=2), bundle.manifest["tower_dim"], x)


def add_level(
    graph: Graph, bundle: engine_rows.Bundle, number: int, spec: dict, inputs: list[str]
) -> list[str]:
    """One level's gates as tensor names; `inputs` are those it may read."""
    w1, b1, w2, b2, gate_w, gate_b = (
        bundle.weights[f"ranker.level{number}.{name}"]
        for name in ("w1", "b1", "w2", "b2", "gate.w", "gate.b")
    )
    experts = [
        graph.relu_linear(graph.relu_linear(inputs[source], w1[e], b1[e]), w2[e], b2[e])
        for e, source in enumerate(spec["expert_input"])
    ]
    outputs = []
    for g, gate in enumerate(spec["gates"]):
        listed = gate["experts"]
        logits = graph.linear(inputs[gate["input"]], gate_w[g][listed], gate_b[g][listed])
        weights = graph.add("Softmax", logits, axis=1)
        terms = []
        for i, e in enumerate(listed):
            column = graph.add("Gather", weights, graph.constant(np.array([i], np.int64)), axis=1)
            terms.append(graph.add("Mul", column, experts[e]))
        outputs.append(graph.add("Sum", *terms))
    return outputs


def run_ranker(bundle: engine_rows.Bundle, x: np.ndarray) -> np.ndarray:
    """Assembled rows -> heads float32 [n, 4]."""
    graph, spec = Graph(), bundle.manifest["ranker"]
    outputs = ["x"]
    for number, level in enumerate(spec["levels"]):
        outputs = add_level(graph, bundle, number, level, outputs)
    heads = []
    for task in spec["tasks"]:
        w1, b1, w2, b2 = (bundle.weights[f"ranker.task.{task['name']}.{n}"] for n in ("w1", "b1", "w2", "b2"))
        logits = graph.linear(graph.relu_linear(outputs[task["gate"]], w1, b1), w2, b2)
        widths = graph.constant(np.asarray(task["widths"], np.float32)[:, None])
        heads.append(graph.add("MatMul", graph.add("Sigmoid", logits), widths))
    return graph.run(graph.add("Concat", *heads, axis=1), len(HEADS), x)


def expected(bundle: engine_rows.Bundle, rows: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(user tower, heads) by onnxruntime."""
    space = ReferenceSpace(bundle.manifest, bundle.weights)
    row = rows["video.row"]
    vectors = {name: rows[f"viewer.{name}"] for name in ("hist_tower", "hist_content")}
    vectors |= {"tower": bundle.tower[row], "content": bundle.content[row]}

    def assemble(names: list[str], entities: tuple[str, ...]) -> np.ndarray:
        blocks = [space.assemble(names, e, rows[f"{e}.raw"], vectors) for e in entities]
        return np.concatenate(blocks, axis=1)

    user = run_user_tower(bundle, assemble(bundle.manifest["user_tower"]["inputs"], ("viewer", "context")))
    vectors["user_tower"] = user
    pair = rows["pair.raw"].copy()
    pair[:, 1] = (user.astype(np.float64) * vectors["tower"]).sum(axis=1)
    pair[:, 2] = (vectors["hist_content"].astype(np.float64) * vectors["content"]).sum(axis=1)
    rows["pair.raw"] = pair
    return user, run_ranker(bundle, assemble(bundle.manifest["ranker"]["inputs"], ENTITIES))


@pytest.mark.parametrize("name", engine_rows.bundle_names())
def test_heads_equal_onnxruntime(name: str, tmp_path: Path) -> None:
    bundle = engine_rows.open_bundle(name, tmp_path)
    rows = engine_rows.draw_rows(bundle, ROWS, seed=5)
    order = (*engine_rows.TENSORS, "video.row", "video.raw", "pair.raw")
    words = engine_rows.ask(
        bundle, "exact", "score", [np.array([ROWS], np.uint32), *(rows[name] for name in order)], tmp_path
    )
    dim = bundle.manifest["tower_dim"]
    heads, user = engine_rows.split(words, ((ROWS, 4), np.float32), ((ROWS, dim), np.float32))
    want_user, want = expected(bundle, rows)
    assert np.abs(user - want_user).max() < PROBABILITY
    for h, head in enumerate(HEADS):
        off = np.abs(heads[:, h] - want[:, h])
        print(
            f"{Path(name).name} {head}: largest difference {off.max():.2e}, spread {np.ptp(want[:, h]):.3g}"
        )
        assert np.ptp(want[:, h]) > 0, "rows that all score the same prove nothing"
        limit = WATCH * np.maximum(np.abs(want[:, h]), 1.0) if head == "watch_s" else PROBABILITY
        assert (off <= limit).all(), f"{head}: {off.max()}"
