"""The PyTorch modules against the NumPy reference of the C code's tests, for all four architectures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support import reference_network
from vireo_models import networks

WIDTHS = (1.0, 2.0, 7.0, 20.0)


def _ranker(architecture: str) -> networks.Ranker:
    torch.manual_seed(4)
    spec = networks.wiring(architecture, 3, 10, 6, 5, WIDTHS)
    ranker = networks.Ranker(spec, 12).double().eval()
    with torch.no_grad():
        for tensor in ranker.parameters():
            tensor.add_(0.3 * torch.randn_like(tensor))
    return ranker


@pytest.mark.parametrize("architecture", ["hard", "moe", "mmoe", "ple"])
def test_ranker_equals_the_reference(architecture: str) -> None:
    ranker, x = _ranker(architecture), torch.randn(40, 12, dtype=torch.float64)
    tensors = {name: tensor.numpy() for name, tensor in ranker.export().items()}
    expected = reference_network.ranker(ranker.spec, tensors, x.numpy())
    with torch.no_grad():
        found = ranker.heads(ranker(x)).numpy()
    assert np.abs(found - expected).max() < 1e-12


@pytest.mark.parametrize("architecture", ["hard", "moe", "mmoe", "ple"])
def test_wiring_keeps_the_format_rules(architecture: str) -> None:
    spec = networks.wiring(architecture, 4, 16, 8, 4, WIDTHS)
    inputs = 1
    for level in spec["levels"]:
        assert len(level["expert_input"]) == level["experts"]
        assert all(0 <= source < inputs for source in level["expert_input"])
        for gate in level["gates"]:
            assert 0 <= gate["input"] < inputs
            assert len(set(gate["experts"])) == len(gate["experts"]) > 0
            assert all(0 <= expert < level["experts"] for expert in gate["experts"])
        inputs = len(level["gates"])
    assert [task["name"] for task in spec["tasks"]] == ["click", "watch_s", "like", "finish"]
    assert all(0 <= task["gate"] < inputs for task in spec["tasks"])


def test_wiring_refuses_an_unknown_architecture() -> None:
    with pytest.raises(ValueError, match="cgc"):
        networks.wiring("cgc", 4, 16, 8, 4, WIDTHS)


def test_gate_weights_sum_to_one() -> None:
    ranker = _ranker("ple")
    for level in ranker.gate_weights(torch.randn(9, 12, dtype=torch.float64)):
        for weight in level:
            assert torch.allclose(weight.sum(dim=1), torch.ones(9, dtype=torch.float64))


def test_loading_reverses_export() -> None:
    one, other = _ranker("mmoe"), networks.Ranker(_ranker("mmoe").spec, 12).double().eval()
    other.load(one.export())
    x = torch.randn(5, 12, dtype=torch.float64)
    assert torch.equal(one.heads(one(x)), other.heads(other(x)))


def test_tower_equals_the_reference() -> None:
    torch.manual_seed(1)
    layers = networks.TowerLayers(7, [9, 4]).double().eval()
    tensors = {name: tensor.numpy() for name, tensor in layers.export("user_tower").items()}
    x = torch.randn(30, 7, dtype=torch.float64)
    expected = reference_network.tower({"layers": layers.description("user_tower")}, tensors, x.numpy())
    with torch.no_grad():
        found = layers(x).numpy()
    assert np.abs(found - expected).max() < 1e-12
    assert np.allclose(np.linalg.norm(found, axis=1), 1)


def test_a_vanishing_row_stays_zero() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert networks.normalised(rows).tolist() == [[0.0, 0.0], pytest.approx([0.6, 0.8])]


def test_unknown_rate_shows_row_zero_in_training_only() -> None:
    tables = networks.Tables({"ids": (5, 3)})
    block = networks.Assemble([networks.Column("id", "table", 3, table="ids", rows=5)], tables, {"ids": 1.0})
    index, none = torch.tensor([[2], [4]]), torch.zeros(2, 0)
    assert torch.equal(block.train()(none, index, {}), tables["ids"][torch.tensor([0, 0])])
    assert torch.equal(block.eval()(none, index, {}), tables["ids"][torch.tensor([2, 4])])
