"""The networks of a bundle as PyTorch modules: input rows, the two towers' layers and the ranker over any
wiring.

Everything here follows docs/bundle.md tensor by tensor, so that export writes what these modules hold.
``Assemble`` turns transformed features (numbers, table rows, vectors) into the input row of a network;
``Ranker`` is one class for hard sharing, single-gate MoE, MMoE and PLE: its wiring is the ``ranker``
object of bundle.json.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

TASKS = ("click", "watch_s", "like", "finish")


@dataclass(frozen=True)
class Column:
    """How one feature lands in an input row: ``kind`` is dense, table or vector."""

    name: str
    kind: str
    width: int
    slot: int = 0  # dense: column in the dense block; table: column in the index block
    table: str = ""  # name of the embedding table
    vector: str = ""  # name of the vector
    rows: int = 0  # rows of the table


class Tables(nn.Module):
    """Embedding tables by their bundle name (dots and all), shared by every feature that names them."""

    def __init__(self, shapes: Mapping[str, tuple[int, int]], std: float = 0.05) -> None:
        super().__init__()
        self.names = sorted(shapes)
        self.tables = nn.ParameterList(nn.Parameter(torch.randn(*shapes[name]) * std) for name in self.names)
        self._position = {name: i for i, name in enumerate(self.names)}

    def __getitem__(self, name: str) -> nn.Parameter:
        return self.tables[self._position[name]]


class Assemble(nn.Module):
    """dense [n, D], index [n, I] and vectors {name: [n, width]} of one entity -> its part of the row, [n,
    width]."""

    def __init__(
        self, columns: Sequence[Column], tables: Tables, unknown_rate: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.tables = tables
        self.unknown_rate = dict(
            unknown_rate or {}
        )  # table -> share of rows shown as unknown (row 0) in training
        self.width = sum(column.width for column in self.columns)

    def forward(self, dense: Tensor, index: Tensor, vectors: Mapping[str, Tensor]) -> Tensor:
        parts = [self._part(column, dense, index, vectors) for column in self.columns]
        return torch.cat(parts, dim=1) if parts else dense.new_zeros(len(dense), 0)

    def _part(self, column: Column, dense: Tensor, index: Tensor, vectors: Mapping[str, Tensor]) -> Tensor:
        if column.kind == "dense":
            return dense[:, column.slot : column.slot + 1]
        if column.kind == "vector":
            return vectors[column.vector]
        rows = index[:, column.slot]
        rate = self.unknown_rate.get(column.table, 0.0)
        if self.training and rate > 0:
            rows = torch.where(torch.rand(len(rows), device=rows.device) < rate, torch.zeros_like(rows), rows)
        return nn.functional.embedding(rows, self.tables[column.table])


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """``nn.functional.dropout`` with the rate in 256ths. On the CPU eight entries share one random number:
    drawing one for each took a seventh of a training step."""
    kept = 256 - round(256 * rate)
    if not training or kept == 256:
        return x
    if x.is_cuda:
        return nn.functional.dropout(x, 1 - kept / 256, True)
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    mask = words.view(torch.uint8)[: x.numel()].view(x.shape) < kept
    return x * mask.to(x.dtype).mul_(256 / kept)


def normalised(x: Tensor) -> Tensor:
    """Rows divided by their L2 norm; rows shorter than 1e-12 become zeros."""
    norm = x.norm(dim=1, keepdim=True)
    return torch.where(norm < 1e-12, torch.zeros_like(x), x / norm.clamp_min(1e-12))


class TowerLayers(nn.Module):
    """1 to 4 linear layers with relu between them, then L2 normalisation: [n, in] -> [n, widths[-1]]."""

    def __init__(self, width_in: int, widths: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [width_in, *widths]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = dropout(torch.relu(layer(x)), self.dropout, self.training)
        return normalised(self.layers[-1](x))

    def description(self, prefix: str) -> list[dict[str, str]]:
        """The ``layers`` of bundle.json; tensors are named prefix.0, prefix.1, ..."""
        last = len(self.layers) - 1
        return [
            {"tensor": f"{prefix}.{i}", "activation": "none" if i == last else "relu"}
            for i in range(len(self.layers))
        ]

    def export(self, prefix: str) -> dict[str, Tensor]:
        """Tensors by their name in weights.safetensors."""
        found: dict[str, Tensor] = {}
        for i, layer in enumerate(self.layers):
            found[f"{prefix}.{i}.weight"] = layer.weight.detach()
            found[f"{prefix}.{i}.bias"] = layer.bias.detach()
        return found

    def load(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """The reverse of ``export``."""
        with torch.no_grad():
            for name, own in self.export(prefix).items():
                own.copy_(tensors[name])


# ---- wirings ----


def _gate(name: str, source: int, experts: Sequence[int]) -> dict[str, Any]:
    return {"name": name, "input": source, "experts": list(experts)}


def _level(
    hidden: int, width: int, expert_input: Sequence[int], gates: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "experts": len(expert_input),
        "hidden": hidden,
        "width": width,
        "expert_input": list(expert_input),
        "gates": gates,
    }


def _ple_levels(experts: int, hidden: int, width: int, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Two levels of progressive layered extraction (Tang et al., RecSys 2020): each task has an expert of
    its own beside ``experts`` shared ones; in the first level a gate over all experts feeds the shared
    experts of the second."""
    shared = list(range(experts))
    every = list(range(experts + len(tasks)))
    task_gates = [[experts + t, *shared] for t in range(len(tasks))]
    first = [_gate(task, 0, task_gates[t]) for t, task in enumerate(tasks)] + [_gate("shared", 0, every)]
    inputs = [len(tasks)] * experts + list(range(len(tasks)))
    second = [_gate(task, t, task_gates[t]) for t, task in enumerate(tasks)]
    return [_level(hidden, width, [0] * len(every), first), _level(hidden, width, inputs, second)]


def wiring(
    architecture: str,
    experts: int,
    hidden: int,
    width: int,
    tower_hidden: int,
    watch_widths: Sequence[float],
    tasks: Sequence[str] = TASKS,
) -> dict[str, Any]:
    """The ``ranker`` object of bundle.json without ``inputs``: hard, moe, mmoe or ple. Hard sharing has one
    expert, whatever ``experts`` says; PLE has that many shared ones."""
    if architecture == "hard":
        levels = [_level(hidden, width, [0], [_gate("all", 0, [0])])]
    elif architecture == "moe":
        levels = [_level(hidden, width, [0] * experts, [_gate("all", 0, range(experts))])]
    elif architecture == "mmoe":
        levels = [_level(hidden, width, [0] * experts, [_gate(task, 0, range(experts)) for task in tasks])]
    elif architecture == "ple":
        levels = _ple_levels(experts, hidden, width, tasks)
    else:
        raise ValueError(f"architecture {architecture!r} is none of hard, moe, mmoe, ple")
    one_gate = len(levels[-1]["gates"]) == 1
    described = [
        {
            "name": task,
            "gate": 0 if one_gate else t,
            "widths": list(watch_widths) if task == "watch_s" else [1.0],
        }
        for t, task in enumerate(tasks)
    ]
    return {"architecture": architecture, "levels": levels, "tower_hidden": tower_hidden, "tasks": described}


# ---- the ranker ----


def _weight(*shape: int) -> nn.Parameter:
    """Kaiming-uniform weights over the last dimension."""
    bound = (3.0 / shape[-1]) ** 0.5
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class Level(nn.Module):
    """Experts and gates of one level: inputs (list of [n, in]) -> one [n, width] for each gate."""

    def __init__(self, spec: Mapping[str, Any], width_in: int, dropout: float) -> None:
        super().__init__()
        count, hidden, width = spec["experts"], spec["hidden"], spec["width"]
        self.expert_input: list[int] = list(spec["expert_input"])
        self.gates: list[dict[str, Any]] = list(spec["gates"])
        self.w1, self.b1 = _weight(count, hidden, width_in), nn.Parameter(torch.zeros(count, hidden))
        self.w2, self.b2 = _weight(count, width, hidden), nn.Parameter(torch.zeros(count, width))
        self.gate_w = nn.Parameter(torch.randn(len(self.gates), count, width_in) * 0.01)
        self.gate_b = nn.Parameter(torch.zeros(len(self.gates), count))
        unlisted = torch.full((len(self.gates), count), float("-inf"))
        for g, gate in enumerate(self.gates):
            unlisted[g, gate["experts"]] = 0.0
        self.register_buffer("unlisted", unlisted, persistent=False)
        self.dropout = dropout

    def expert_outputs(self, inputs: Sequence[Tensor]) -> Tensor:
        """All experts' outputs, [experts, n, width]."""
        if len(set(self.expert_input)) == 1:
            x = inputs[self.expert_input[0]]
            hidden = (x @ self.w1.flatten(0, 1).T).view(len(x), *self.b1.shape).transpose(0, 1)
        else:
            x = torch.stack([inputs[i] for i in self.expert_input])
            hidden = torch.bmm(x, self.w1.transpose(1, 2))
        hidden = torch.relu(hidden + self.b1[:, None, :])
        hidden = dropout(hidden, self.dropout, self.training)
        return torch.relu(torch.bmm(hidden, self.w2.transpose(1, 2)) + self.b2[:, None, :])

    def mixtures(self, inputs: Sequence[Tensor]) -> Tensor:
        """Weights of every gate over all experts, [n, gates, experts]; 0 for those that a gate does not list.
        Gates that read the same input are one product."""
        logits: list[Tensor] = [inputs[0]] * len(self.gates)
        for source in {gate["input"] for gate in self.gates}:
            mine = [g for g, gate in enumerate(self.gates) if gate["input"] == source]
            every = len(mine) == len(self.gates)
            weight, bias = (self.gate_w, self.gate_b) if every else (self.gate_w[mine], self.gate_b[mine])
            product = inputs[source] @ weight.flatten(0, 1).T + bias.flatten()
            for g, one in zip(mine, product.split(weight.shape[1], dim=1), strict=True):
                logits[g] = one
        return torch.softmax(torch.stack(logits, dim=1) + self.unlisted, dim=2)

    def gate_weights(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """For each gate its weights over the experts it lists, [n, listed]."""
        weights = self.mixtures(inputs)
        return [weights[:, g, gate["experts"]] for g, gate in enumerate(self.gates)]

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        experts = self.expert_outputs(inputs)
        mixed = torch.bmm(self.mixtures(inputs).to(experts.dtype), experts.transpose(0, 1))
        return list(mixed.unbind(dim=1))


class Task(nn.Module):
    """A task's tower: [n, width] -> logits [n, K]."""

    def __init__(self, width: int, hidden: int, widths: Sequence[float]) -> None:
        super().__init__()
        self.w1, self.b1 = _weight(hidden, width), nn.Parameter(torch.zeros(hidden))
        self.w2, self.b2 = _weight(len(widths), hidden), nn.Parameter(torch.zeros(len(widths)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.w1.T + self.b1) @ self.w2.T + self.b2


class Ranker(nn.Module):
    """Input rows [n, in] -> logits {task: [n, K]}; ``heads`` turns them into the four predictions."""

    def __init__(self, spec: Mapping[str, Any], width_in: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.spec = dict(spec)
        widths = [width_in, *(level["width"] for level in spec["levels"])]
        self.levels = nn.ModuleList(
            Level(level, width, dropout) for level, width in zip(spec["levels"], widths[:-1], strict=True)
        )
        self.tasks = nn.ModuleDict(
            {task["name"]: Task(widths[-1], spec["tower_hidden"], task["widths"]) for task in spec["tasks"]}
        )
        self.gate_of = {task["name"]: task["gate"] for task in spec["tasks"]}
        for task in spec["tasks"]:
            self.register_buffer(f"widths_{task['name']}", torch.tensor(task["widths"]), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        inputs = [x]
        for level in self.levels:
            inputs = level(inputs)
        return {name: task(inputs[self.gate_of[name]]) for name, task in self.tasks.items()}

    def gate_weights(self, x: Tensor) -> list[list[Tensor]]:
        """Gate weights of every level, for reports and explanations."""
        inputs, found = [x], []
        for level in self.levels:
            found.append(level.gate_weights(inputs))
            inputs = level(inputs)
        return found

    def heads(self, logits: Mapping[str, Tensor]) -> Tensor:
        """[n, 4]: P(click), E[watch_s], P(like), P(finish)."""
        columns = [
            (torch.sigmoid(logits[name]) * getattr(self, f"widths_{name}")).sum(dim=1) for name in TASKS
        ]
        return torch.stack(columns, dim=1)

    def export(self) -> dict[str, Tensor]:
        """Tensors by their name in weights.safetensors."""
        found: dict[str, Tensor] = {}
        for number, level in enumerate(self.levels):
            found |= {
                f"ranker.level{number}.{name}": getattr(level, name) for name in ("w1", "b1", "w2", "b2")
            }
            found |= {
                f"ranker.level{number}.gate.w": level.gate_w,
                f"ranker.level{number}.gate.b": level.gate_b,
            }
        for name, task in self.tasks.items():
            found |= {f"ranker.task.{name}.{part}": getattr(task, part) for part in ("w1", "b1", "w2", "b2")}
        return {name: tensor.detach() for name, tensor in found.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """The reverse of ``export``."""
        with torch.no_grad():
            for name, own in self.export().items():
                own.copy_(tensors[name])
