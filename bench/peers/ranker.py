"""Vireo's ranker beside onnxruntime and OpenVINO: a request of 300 rows, one thread, errors beside speeds.

    python3 bench/peers/run.py [--short] ranker

The yardstick bundles of bench/yardstick.py (made here), `vectors` (256 columns) and `cross` (and 32 of the
pair); the peers get the same weights and rows: onnxruntime in float32 and int8 (quantize_dynamic, weights by
output), OpenVINO in float32 and bfloat16, each on the plain graph and on one whose viewer part is hoisted.
Vireo is bench/ranker.c of the release build with -DVIREO_BENCH=ON, which hoists always. Each turn measures
everybody once; figures are medians of the process's CPU time, which others on the machine disturb less than
the clock's, and errors are the largest against float64.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import frame
import numpy as np
from safetensors.numpy import load_file

HEADS = ("click", "watch_s", "like", "finish")
CALLS, ROWS = 5, 300

Array = np.ndarray


class Network:
    """The ranker's weights and one request's rows, as bench_ranker makes them."""

    def __init__(self, bundle: Path, rows: int) -> None:
        self.manifest = json.loads((bundle / "bundle.json").read_text())
        self.weights = load_file(bundle / "weights.safetensors")
        videos, golden = load_file(bundle / "videos.safetensors"), load_file(bundle / "golden.safetensors")
        row = (3 + 7919 * np.arange(rows)) % len(videos["tower"])
        content = (
            videos["content"][row].astype(np.float32) / np.float32(127) * videos["content.scale"][row, None]
        )
        self.viewer = np.concatenate(
            [golden["out.user_tower"][0].astype(np.float32), golden["viewer.hist_tower"][0]]
        )[None]
        self.own = np.concatenate([videos["tower"][row].astype(np.float32), content], axis=1)
        if "cross" in self.manifest["ranker"]["inputs"]:
            bounds = next(f for f in self.manifest["features"] if f["name"] == "cross")["boundaries"]
            place = 1 + np.searchsorted(bounds, np.arange(rows), side="right")
            self.own = np.concatenate([self.own, self.weights["table.cross"][place]], axis=1)

    def level(self, name: str) -> Array:
        return self.weights[f"ranker.level0.{name}"]

    def tasks(self) -> list[tuple[int, Array, Array, Array, Array, Array]]:
        """Gate, w1, b1, w2, b2 and widths of each."""
        return [
            (
                task["gate"],
                *(self.weights[f"ranker.task.{task['name']}.{part}"] for part in ("w1", "b1", "w2", "b2")),
                np.asarray(task["widths"], np.float32),
            )
            for task in self.manifest["ranker"]["tasks"]
        ]

    def heads(self) -> Array:
        """float64 [rows, 4]."""
        x = np.concatenate([np.repeat(self.viewer, len(self.own), 0), self.own], axis=1).astype(np.float64)
        hidden = np.maximum(np.einsum("ri,ehi->erh", x, self.level("w1")) + self.level("b1")[:, None], 0)
        expert = np.maximum(hidden @ self.level("w2").transpose(0, 2, 1) + self.level("b2")[:, None], 0)
        logit = np.einsum("ri,gei->rge", x, self.level("gate.w")) + self.level("gate.b")
        gate = np.exp(logit - logit.max(2, keepdims=True))
        mix = np.einsum("rge,erw->rgw", gate / gate.sum(2, keepdims=True), expert)
        out = []
        for at, w1, b1, w2, b2, widths in self.tasks():
            z = np.maximum(mix[:, at] @ w1.T + b1, 0) @ w2.T + b2
            out.append((widths / (1 + np.exp(-z))).sum(1))
        return np.stack(out, 1)


def graph(onnx: Any, network: Network, hoisted: bool) -> bytes:
    """One model: x [rows, in] (plain), or viewer [1, v] and own [rows, o] (hoisted) to heads [rows, 4]."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes: list[Any] = []
    constants: list[Any] = []
    viewer, own = network.viewer.shape[1], network.own.shape[1]

    def constant(name: str, value: Array) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def dense(x: str, name: str, weight: Array, bias: Array | None) -> str:
        """x @ weight.T + bias."""
        y = node("MatMul", [x, constant(f"{name}.w", weight.T)], f"{name}.product")
        return y if bias is None else node("Add", [y, constant(f"{name}.b", bias)], f"{name}.sum")

    def first(name: str, weight: Array, bias: Array) -> str:
        if not hoisted:
            return dense("x", name, weight, bias)
        once = dense("viewer", f"{name}.viewer", weight[:, :viewer], bias)
        each = dense("own", f"{name}.own", weight[:, viewer:], None)
        return node("Add", [each, once], f"{name}.both")

    w1, gate_w = network.level("w1"), network.level("gate.w")
    experts, gates = w1.shape[0], gate_w.shape[0]
    outputs = []
    for e in range(experts):
        hidden = node("Relu", [first(f"e{e}.first", w1[e], network.level("b1")[e])], f"e{e}.hidden")
        second = dense(hidden, f"e{e}.second", network.level("w2")[e], network.level("b2")[e])
        outputs.append(
            node(
                "Unsqueeze",
                [node("Relu", [second], f"e{e}.out"), constant(f"e{e}.axis", np.asarray([1]))],
                f"e{e}.one",
            )
        )
    stacked = node("Concat", outputs, "experts", axis=1)  # [rows, experts, width]
    logit = first("gates", gate_w.reshape(gates * experts, -1), network.level("gate.b").reshape(-1))
    shaped = node(
        "Reshape", [logit, constant("gates.shape", np.asarray([-1, gates, experts]))], "gates.shaped"
    )
    mix = node("MatMul", [node("Softmax", [shaped], "gates.soft", axis=2), stacked], "mix")
    mixes = [f"mix{g}" for g in range(gates)]
    nodes.append(helper.make_node("Split", [mix], mixes, axis=1, num_outputs=gates))
    heads = []
    for t, (at, t1, b1, t2, b2, widths) in enumerate(network.tasks()):
        own_mix = node("Squeeze", [f"mix{at}", constant(f"t{t}.axis", np.asarray([1]))], f"t{t}.mix")
        hidden = node("Relu", [dense(own_mix, f"t{t}.first", t1, b1)], f"t{t}.hidden")
        chance = node("Sigmoid", [dense(hidden, f"t{t}.last", t2, b2)], f"t{t}.chance")
        heads.append(node("MatMul", [chance, constant(f"t{t}.widths", widths[:, None])], f"t{t}.head"))
    node("Concat", heads, "heads", axis=1)
    real = onnx.TensorProto.FLOAT
    inputs = {"viewer": [1, viewer], "own": ["rows", own]} if hoisted else {"x": ["rows", viewer + own]}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "ranker",
            [helper.make_tensor_value_info(name, real, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info("heads", real, ["rows", len(heads)])],
            constants,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    return model.SerializeToString()


Peer = tuple[str, Callable[[], Array]]


def optional(name: str, missing: dict[str, str]) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing[name] = f"not there: {error}"
        return None


def onnx_peers(onnx: Any, network: Network, missing: dict[str, str], folder: Path) -> list[Peer]:
    runtime = optional("onnxruntime", missing)
    quantization = optional("onnxruntime.quantization", missing)
    if runtime is None or quantization is None:
        return []
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    x = np.concatenate([np.repeat(network.viewer, len(network.own), 0), network.own], axis=1)
    peers: list[Peer] = []
    for hoisted in (False, True):
        name, feed = (
            ("hoisted", {"viewer": network.viewer, "own": network.own}) if hoisted else ("plain", {"x": x})
        )
        path = folder / f"{name}.onnx"
        path.write_bytes(graph(onnx, network, hoisted))
        eight = folder / f"{name}.int8.onnx"
        quantization.quantize_dynamic(path, eight, per_channel=True, weight_type=quantization.QuantType.QInt8)
        for kind, file in (("fp32", path), ("int8", eight)):
            session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            peers.append(
                (
                    f"onnxruntime {runtime.__version__} {kind} {name}",
                    lambda s=session, f=feed: s.run(None, f)[0],
                )
            )
    return peers


def openvino_peers(network: Network, missing: dict[str, str], folder: Path) -> list[Peer]:
    openvino = optional("openvino", missing)
    if openvino is None or not (folder / "plain.onnx").exists():
        return []
    core = openvino.Core()
    x = np.concatenate([np.repeat(network.viewer, len(network.own), 0), network.own], axis=1)
    peers: list[Peer] = []
    for name, feed in (("plain", {"x": x}), ("hoisted", {"viewer": network.viewer, "own": network.own})):
        for kind in ("f32", "bf16"):
            model = core.read_model(folder / f"{name}.onnx")
            model.reshape({key: list(value.shape) for key, value in feed.items()})
            settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": kind}
            request = core.compile_model(model, "CPU", settings).create_infer_request()
            version = openvino.__version__.split("-")[0]
            peers.append(
                (
                    f"OpenVINO {version} {kind} {name}",
                    lambda r=request, f=feed: np.asarray(r.infer(f)["heads"]),
                )
            )
    return peers


def measure(call: Callable[[], Array]) -> float:
    """Microseconds of CPU a call, all threads of this process."""
    call()
    start = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - start) / CALLS * 1e6


def errors(got: Array, want: Array) -> dict[str, float]:
    """The largest differences: of a probability, and of the seconds relative to them (or to one second)."""
    off = np.abs(got.astype(np.float64) - want)
    return {
        "probability_error": float(off[:, [0, 2, 3]].max()),
        "watch_error": float((off[:, 1] / np.maximum(np.abs(want[:, 1]), 1)).max()),
    }


def program() -> Path:
    found = sorted((frame.ROOT / "build/release").rglob("bench_ranker"))
    if not found:
        raise SystemExit("ranker: build/release has no bench_ranker: bench/run.sh builds it")
    return found[0]


def vireo_turn(bundle: Path, heads: Path) -> list[dict[str, Any]]:
    words = [str(program()), str(bundle), str(ROWS), "3", str(heads)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


class Side:
    """One engine: its times and its errors."""

    def __init__(self, name: str, found: dict[str, float]) -> None:
        self.name, self.errors = name, found
        self.us: list[float] = []
        self.of_limit: list[float] = []

    @property
    def speed(self) -> float:
        """Requests a second."""
        return 1e6 / frame.median(self.us)

    def told(self) -> dict[str, Any]:
        limit = {"of_limit": frame.median(self.of_limit)} if self.of_limit else {}
        return {"engine": self.name, "requests_per_s": self.speed, **self.errors, **limit}


def take_turns(bundle: Path, turns: int, missing: dict[str, str]) -> dict[str, Side]:
    """All sides by name, Vireo's as "vireo KIND"."""
    network = Network(bundle, ROWS)
    want = network.heads()
    onnx = optional("onnx", missing)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peers = onnx_peers(onnx, network, missing, folder) if onnx is not None else []
        peers += openvino_peers(network, missing, folder)
        sides = {title: Side(title, errors(np.asarray(call()), want)) for title, call in peers}
        for _ in range(turns):
            for line in vireo_turn(bundle, folder / "heads"):
                title = f"vireo {line['kind']}"
                got = np.fromfile(folder / f"heads.{line['kind']}", np.float32).reshape(-1, len(HEADS))
                side = sides.setdefault(title, Side(title, errors(got, want)))
                side.us.append(line["us"])
                side.of_limit.append(line["of_limit"])
            for title, call in peers:
                sides[title].us.append(measure(call))
    return sides


def best(sides: dict[str, Side], *words: str) -> Side | None:
    """The quickest peer whose name holds one of the words."""
    found = [side for side in sides.values() if any(word in side.name for word in words)]
    found = [side for side in found if not side.name.startswith("vireo")]
    return max(found, key=lambda side: side.speed, default=None)


def rows_of(inputs: str, sides: dict[str, Side]) -> list[dict[str, Any]]:
    """float32 against onnxruntime on both graphs, and with a video table; then the lower precisions."""
    own = sides["vireo fp32"]
    rows = []
    for graph_name in ("plain", "hoisted"):
        peer = best(sides, f"fp32 {graph_name}")
        told = f"{inputs}: fp32 hoisted / onnxruntime {graph_name}"
        told = told if graph_name == "plain" else f"{inputs}: fp32 / onnxruntime's hoisted graph"
        rows.append(frame.row(told, own.speed, peer.speed if peer else None, "requests/s"))
    own, peer = sides["vireo fp32_table"], best(sides, "fp32 plain")
    told = f"{inputs}: fp32 table / onnxruntime plain"
    rows.append(frame.row(told, own.speed, peer.speed if peer else None, "requests/s"))
    return rows + lower_rows(inputs, sides, "") + lower_rows(inputs, sides, "_table")


def lower_rows(inputs: str, sides: dict[str, Side], kind: str) -> list[dict[str, Any]]:
    """The quicker of bfloat16 and int8 against the best of the others' lower precisions, errors too."""
    lower = [sides[name] for name in (f"vireo bf16{kind}", f"vireo int8{kind}") if name in sides]
    peer = best(sides, " int8 ", " bf16 ")
    rows = []
    for side in sorted(lower, key=lambda one: -one.speed):
        best_what = "int8 table" if kind else "int8 hoisted"
        what = best_what if side.speed == max(one.speed for one in lower) else "the other"
        name = side.name.removeprefix("vireo ")
        rows.append(
            frame.row(f"{inputs}: {what} ({name}) / {peer.name if peer else 'none'}", side.speed,
                      peer.speed if peer else None, "requests/s")
        )  # fmt: skip
        rows.append(
            frame.row(f"{inputs}: error of a probability, {name}", side.errors["probability_error"],
                      peer.errors["probability_error"] if peer else None, "", less=True)
        )  # fmt: skip
    return rows


def main(words: list[str]) -> None:
    turns = 5 if "--short" in words else 15
    os.environ["OMP_NUM_THREADS"] = "1"
    missing: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    every: list[dict[str, Any]] = []
    for inputs in ("vectors", "cross"):
        bundle = frame.FOLDER / f"yardstick-{inputs}"
        make = [sys.executable, str(frame.ROOT / "bench/yardstick.py"), str(bundle), "5000", inputs]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        sides = take_turns(bundle, turns, missing)
        rows += rows_of(inputs, sides)
        every += [{"inputs": inputs, **side.told()} for side in sides.values()]
    for one in every:
        limit = f"{one['of_limit']:.2f} of the FMA limit" if "of_limit" in one else ""
        print(
            f"{one['inputs']:8} {one['engine']:36} {one['requests_per_s']:6.0f}/s "
            f"probability {one['probability_error']:.1e} watch {one['watch_error']:.1e} {limit}"
        )
    settings = {"rows": ROWS, "turns": turns, "threads": 1, "videos": 5000}
    frame.finish("ranker", rows, settings, not_there=missing, more={"every": every})


if __name__ == "__main__":
    main(sys.argv[1:])
