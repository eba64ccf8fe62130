"""Towers and ranker of a bundle in NumPy float64, written from docs/bundle.md; the oracle of golden outputs.

Rows are assembled inputs, float64 [n, width]; weights come from the bundle's tensors by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Tensors = Mapping[str, np.ndarray]


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """x [n, in], weight [out, in], bias [out] -> [n, out]."""
    return x @ weight.astype(np.float64).T + bias.astype(np.float64)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def normalise(x: np.ndarray) -> np.ndarray:
    """Rows divided by their L2 norm; rows shorter than 1e-12 become zeros."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.where(norm < 1e-12, 0.0, x / np.maximum(norm, 1e-12))


def tower(spec: Mapping[str, Any], tensors: Tensors, x: np.ndarray) -> np.ndarray:
    """`user_tower` or `item_tower` of bundle.json on rows x [n, in] -> unit vectors [n, tower_dim]."""
    for layer in spec["layers"]:
        x = linear(x, tensors[f"{layer['tensor']}.weight"], tensors[f"{layer['tensor']}.bias"])
        x = relu(x) if layer["activation"] == "relu" else x
    return normalise(x)


def level(
    index: int, spec: Mapping[str, Any], tensors: Tensors, inputs: list[np.ndarray]
) -> list[np.ndarray]:
    """One level: its inputs, each [n, in] -> the output of each gate, each [n, width]."""
    w1, b1, w2, b2 = (tensors[f"ranker.level{index}.{name}"] for name in ("w1", "b1", "w2", "b2"))
    experts = [
        relu(linear(relu(linear(inputs[source], w1[e], b1[e])), w2[e], b2[e]))
        for e, source in enumerate(spec["expert_input"])
    ]
    gate_w, gate_b = tensors[f"ranker.level{index}.gate.w"], tensors[f"ranker.level{index}.gate.b"]
    outputs = []
    for g, gate in enumerate(spec["gates"]):
        listed = gate["experts"]
        weights = softmax(linear(inputs[gate["input"]], gate_w[g][listed], gate_b[g][listed]))
        outputs.append(sum(weights[:, i : i + 1] * experts[e] for i, e in enumerate(listed)))
    return outputs


def ranker(spec: Mapping[str, Any], tensors: Tensors, x: np.ndarray) -> np.ndarray:
    """`ranker` of bundle.json on rows x [n, in] -> heads [n, 4]."""
    outputs = [x]
    for index, level_spec in enumerate(spec["levels"]):
        outputs = level(index, level_spec, tensors, outputs)
    heads = []
    for task in spec["tasks"]:
        w1, b1, w2, b2 = (tensors[f"ranker.task.{task['name']}.{name}"] for name in ("w1", "b1", "w2", "b2"))
        logits = linear(relu(linear(outputs[task["gate"]], w1, b1)), w2, b2)
        heads.append(sigmoid(logits) @ np.asarray(task["widths"], dtype=np.float64))
    return np.stack(heads, axis=1)
