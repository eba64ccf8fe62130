"""The ranker of a bundle, Vireo beside what one would use instead, on one thread, in one run.

    python bench/ranker.py BUNDLE BENCH_RANKER [--rows 300] [--turns 15] [--json OUT] [--peers PYTHON]

BUNDLE comes from bench/yardstick.py with the inputs `vectors` (256 columns) or `cross` (and 32 of the pair).
BENCH_RANKER is the program (build/release/bench/bench_ranker). The peers get the same weights and the same
rows: onnxruntime in float32 on the plain graph and on one whose viewer part is hoisted, onnxruntime int8
(quantize_dynamic, signed weights by output) on both, OpenVINO in bfloat16. They are measured by this script
run with PYTHON, which needs numpy, safetensors, onnx, onnxruntime and openvino; one that is missing is
written down as "not there". Each turn measures everybody once; figures are medians of CPU time, and the
largest difference of a probability from float64 stands beside each.
"""

import argparse
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

import numpy as np
from safetensors.numpy import load_file

HEADS = ("click", "watch_s", "like", "finish")
CALLS = 5

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


def serve_peers(bundle: Path, rows: int) -> int:
    """The other half: names and errors on a line, then figures of one turn for each line that comes in."""
    network, missing = Network(bundle, rows), {}
    want = network.heads()
    onnx = optional("onnx", missing)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peers = onnx_peers(onnx, network, missing, folder) if onnx is not None else []
        peers += openvino_peers(network, missing, folder)
        found = [{"engine": title, **errors(np.asarray(call()), want)} for title, call in peers]
        print(json.dumps({"peers": found, "missing": missing}), flush=True)
        for _ in sys.stdin:
            print(json.dumps([measure(call) for _, call in peers]), flush=True)
    return 0


def errors(got: Array, want: Array) -> dict[str, float]:
    """The largest differences: of a probability, and of the seconds relative to them (or to one second)."""
    off = np.abs(got.astype(np.float64) - want)
    return {
        "probability_error": float(off[:, [0, 2, 3]].max()),
        "watch_error": float((off[:, 1] / np.maximum(np.abs(want[:, 1]), 1)).max()),
    }


def vireo_turn(program: Path, bundle: Path, rows: int, heads: Path) -> list[dict[str, Any]]:
    words = [str(program), str(bundle), str(rows), "3", str(heads)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    want = Network(arguments.bundle, arguments.rows).heads()
    words = [arguments.peers, __file__, str(arguments.bundle), "-", "--rows", str(arguments.rows)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as other,
    ):
        assert other.stdin is not None and other.stdout is not None
        first = json.loads(other.stdout.readline())
        figures: dict[str, list[float]] = {}
        results: dict[str, dict[str, Any]] = {peer["engine"]: peer for peer in first["peers"]}
        for _ in range(arguments.turns):
            for line in vireo_turn(
                arguments.program, arguments.bundle, arguments.rows, Path(folder) / "heads"
            ):
                name = f"Vireo {line['precision']}"
                got = np.fromfile(Path(folder) / f"heads.{line['precision']}", np.float32).reshape(
                    -1, len(HEADS)
                )
                results.setdefault(name, {"engine": name, **errors(got, want)})
                results[name].setdefault("of_limit", []).append(line["of_limit"])
                figures.setdefault(name, []).append(line["us"])
            other.stdin.write("turn\n")
            other.stdin.flush()
            for peer, us in zip(first["peers"], json.loads(other.stdout.readline()), strict=True):
                figures.setdefault(peer["engine"], []).append(us)
        other.stdin.close()
    for name, result in results.items():
        us = float(np.median(figures[name]))
        result |= {"us": us, "requests_per_s": 1e6 / us}
        if "of_limit" in result:
            result["of_limit"] = float(np.median(result["of_limit"]))
    return {
        "rows": arguments.rows,
        "turns": arguments.turns,
        "missing": first["missing"],
        "results": list(results.values()),
    }


def show(outcome: dict[str, Any]) -> None:
    print(f"{'engine':36} {'requests/s':>10} {'us':>8} {'probability':>12} {'watch':>9} {'of FMA limit':>13}")
    for result in outcome["results"]:
        limit = f"{result['of_limit']:.2f}" if "of_limit" in result else ""
        print(
            f"{result['engine']:36} {result['requests_per_s']:10.0f} {result['us']:8.0f} "
            f"{result['probability_error']:12.1e} {result['watch_error']:9.1e} {limit:>13}"
        )
    for name, why in outcome["missing"].items():
        print(f"{name}: {why}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("program", type=Path)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peers", default=sys.executable)
    arguments = parser.parse_args()
    if str(arguments.program) == "-":
        return serve_peers(arguments.bundle, arguments.rows)
    outcome = run(arguments)
    show(outcome)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(outcome, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
