"""Planted faults of experts and gates are named; the healthy twin has none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vireo_models.health import expert_health
from vireo_models.networks import Ranker, wiring
from vireo_models.report import gate_table, problem_table, text_table

WIDTH = 10


def _ranker(architecture: str = "mmoe") -> Ranker:
    torch.manual_seed(5)
    return Ranker(wiring(architecture, 4, 12, 8, 6, (1.0, 4.0)), WIDTH).eval()


def _health(ranker: Ranker) -> dict:
    x = torch.randn(400, WIDTH, generator=torch.Generator().manual_seed(1))
    return expert_health(ranker, x.split(150))


def _zero_weights(ranker: Ranker) -> None:
    ranker.levels[0].w2[2] = 0


def _dead_relu(ranker: Ranker) -> None:
    ranker.levels[0].b2[1] = -1e6


def _no_load(ranker: Ranker) -> None:
    ranker.levels[0].gate_b[:, 3] = -8.0


def _collapsed(ranker: Ranker) -> None:
    ranker.levels[0].gate_b[2, 1] = 12.0  # the third gate is that of like


FAULTS = [
    (_zero_weights, "level 0, expert 2: dead, all its weights are zero"),
    (_dead_relu, "level 0, expert 1: dead, its output is zero on every row"),
    (_no_load, "level 0, expert 3: dead, no gate gives it more than 0.0001"),
    (_collapsed, "level 0, gate like: collapsed, expert 1 has 1.000 of its weight"),
]


@pytest.mark.parametrize("architecture", ["hard", "moe", "mmoe", "ple"])
def test_a_healthy_ranker_has_no_problem(architecture: str) -> None:
    assert _health(_ranker(architecture))["problems"] == []


@pytest.mark.parametrize(("plant", "text"), FAULTS)
def test_a_planted_fault_is_the_only_one_named(plant: Callable[[Ranker], None], text: str) -> None:
    ranker = _ranker()
    with torch.no_grad():
        plant(ranker)
    found = _health(ranker)
    assert len(found["problems"]) == 1
    assert found["problems"][0].startswith(text)
    assert text in text_table(problem_table({"health": found}))


def test_a_fault_in_the_second_level_of_ple_is_named_there() -> None:
    ranker = _ranker("ple")
    with torch.no_grad():
        ranker.levels[1].b2[6] = -1e6
    assert _health(ranker)["problems"] == ["level 1, expert 6: dead, its output is zero on every row"]


def test_loads_and_entropies_are_those_of_the_gate_weights() -> None:
    ranker = _ranker()
    with torch.no_grad():
        ranker.levels[0].gate_b.copy_(torch.randn(4, 4))
        found = _health(ranker)
        x = torch.randn(400, WIDTH, generator=torch.Generator().manual_seed(1))
        weights = ranker.gate_weights(x)[0]
    for one, weight in zip(found["gates"], weights, strict=True):
        assert one["mean"] == pytest.approx(weight.mean(dim=0).tolist(), abs=1e-6)
        assert one["std"] == pytest.approx(weight.std(dim=0, correction=0).tolist(), abs=1e-5)
        entropy = torch.distributions.Categorical(probs=weight).entropy().mean() / torch.log(
            torch.tensor(4.0)
        )
        assert one["entropy"] == pytest.approx(float(entropy), abs=1e-5)
    assert found["experts"][3]["load"]["like"] == pytest.approx(found["gates"][2]["mean"][3])
    assert found["experts"][0]["most_load"] == max(found["experts"][0]["load"].values())


def test_equal_weights_have_entropy_one_and_a_lone_expert_none() -> None:
    ranker = _ranker()
    with torch.no_grad():
        ranker.levels[0].gate_w.zero_()
    assert _health(ranker)["gates"][0]["entropy"] == pytest.approx(1.0)
    found = _health(_ranker("hard"))
    assert found["gates"][0]["entropy"] is None
    assert gate_table({"health": found})[1] == ["0, all", "1.000", ""]
