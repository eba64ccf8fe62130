"""Health of a ranker's experts and gates on rows of the log: load, activity, entropy, and what is wrong.

An expert is dead when its output is zero on every row or when no gate gives it a noticeable weight; a gate
has collapsed when it gives nearly all weight to one expert on nearly every row, so that its task has lost
its mixture. Both cost quality in silence: the loss falls all the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from .networks import Ranker

LEAST_LOAD = 0.02  # of the weight of the gate that uses an expert most
LEAST_ENTROPY = 0.05  # of a gate, mean over rows, of the entropy of equal weights
Report = dict[str, Any]


class _LevelSums:
    """What one level did, added up over batches."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec, self.rows = spec, 0
        gates = [len(gate["experts"]) for gate in spec["gates"]]
        self.weight = [torch.zeros(count, dtype=torch.float64) for count in gates]
        self.square = [torch.zeros(count, dtype=torch.float64) for count in gates]
        self.entropy = [0.0] * len(gates)
        self.active = torch.zeros(spec["experts"], dtype=torch.float64)

    def add(self, experts: Tensor, weights: list[Tensor]) -> None:
        """experts [experts, n, width]; weights of each gate [n, listed]."""
        self.rows += experts.shape[1]
        self.active += (experts != 0).any(dim=2).sum(dim=1)
        for g, weight in enumerate(weights):
            w = weight.double()
            self.weight[g] += w.sum(dim=0)
            self.square[g] += (w * w).sum(dim=0)
            self.entropy[g] += float(torch.special.entr(w).sum())

    def gates(self, level: int) -> list[Report]:
        """``mean`` and ``std`` of each listed expert's weight, and the ``entropy`` of each gate from 0 (one
        expert) to 1 (all alike), none where there is nothing to choose."""
        found = []
        for g, gate in enumerate(self.spec["gates"]):
            mean, most = self.weight[g] / self.rows, math.log(len(gate["experts"]))
            spread = (self.square[g] / self.rows - mean**2).clamp_min(0).sqrt()
            entropy = self.entropy[g] / self.rows / most if most > 0 else None
            one = {"level": level, "gate": gate["name"], "experts": gate["experts"]}
            found.append(one | {"mean": mean.tolist(), "std": spread.tolist(), "entropy": entropy})
        return found

    def experts(self, level: int, weights_zero: list[bool]) -> list[Report]:
        """Load of each expert by gate, its greatest, and the share of rows on which it gives anything."""
        found = []
        for e in range(self.spec["experts"]):
            load = {
                gate["name"]: float(self.weight[g][gate["experts"].index(e)] / self.rows)
                for g, gate in enumerate(self.spec["gates"])
                if e in gate["experts"]
            }
            one = {"level": level, "expert": e, "load": load, "most_load": max(load.values(), default=0.0)}
            found.append(one | {"active": float(self.active[e] / self.rows), "zero_weights": weights_zero[e]})
        return found


@torch.no_grad()
def expert_health(ranker: Ranker, batches: Iterable[Tensor]) -> Report:
    """``gates``, ``experts`` and ``problems`` (texts that name them) over input rows [n, in]."""
    ranker.eval()
    sums = [_LevelSums(spec) for spec in ranker.spec["levels"]]
    for x in batches:
        inputs = [x]
        for level, seen in zip(ranker.levels, sums, strict=True):
            seen.add(level.expert_outputs(inputs), level.gate_weights(inputs))
            inputs = level(inputs)
    gates, experts = [], []
    for number, (level, seen) in enumerate(zip(ranker.levels, sums, strict=True)):
        zero = [not bool(level.w2[e].any()) or not bool(level.w1[e].any()) for e in range(len(level.w1))]
        gates += seen.gates(number)
        experts += seen.experts(number, zero)
    return {"gates": gates, "experts": experts, "problems": problems(gates, experts)}


def problems(gates: list[Report], experts: list[Report]) -> list[str]:
    """Dead experts and collapsed gates, one text each."""
    found = []
    for one in experts:
        where = f"level {one['level']}, expert {one['expert']}: dead"
        if one["zero_weights"]:
            found.append(f"{where}, all its weights are zero")
        elif one["active"] == 0:
            found.append(f"{where}, its output is zero on every row")
        elif one["most_load"] < LEAST_LOAD:
            found.append(f"{where}, no gate gives it more than {one['most_load']:.4f} of its weight")
    for one in gates:
        if one["entropy"] is not None and one["entropy"] < LEAST_ENTROPY:
            place = max(range(len(one["mean"])), key=lambda i: one["mean"][i])
            found.append(
                f"level {one['level']}, gate {one['gate']}: collapsed, expert {one['experts'][place]} has "
                f"{one['mean'][place]:.3f} of its weight, entropy {one['entropy']:.3f}"
            )
    return found
