"""Parameter counts against the modules' own gradients, and sizes that match a budget."""

from __future__ import annotations

import pytest
import torch

from vireo_models.networks import Ranker
from vireo_models.sizing import TOLERANCE, YARDSTICK, Sizes, matched, parameter_count
from vireo_models.watch_time import WATCH_WIDTHS

ARCHITECTURES = ("hard", "moe", "mmoe", "ple")
DEMO = Sizes(experts=4, hidden=64, width=32, tower_hidden=32)


def _live_parameters(ranker: Ranker, width_in: int) -> int:
    """Parameters that some output of some row depends on, by their gradients."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, tensor in ranker.named_parameters():  # all positive, so that every relu is alive
            tensor.copy_(torch.randn_like(tensor) if "gate" in name else tensor.abs() + 0.01)
    parameters = list(ranker.parameters())
    live = [torch.zeros_like(one, dtype=torch.bool) for one in parameters]
    for row in torch.rand(8, 1, width_in, dtype=torch.float64):
        for output in torch.cat(list(ranker(row).values()), dim=1)[0]:
            gradients = torch.autograd.grad(output, parameters, retain_graph=True)
            live = [seen | (gradient != 0) for seen, gradient in zip(live, gradients, strict=True)]
    return sum(int(seen.sum()) for seen in live)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_counted_are_the_parameters_that_matter(architecture: str) -> None:
    spec = Sizes(3, 6, 5, 4).wiring(architecture, (1.0, 4.0))
    ranker = Ranker(spec, 7).double().eval()
    assert parameter_count(spec, 7) == _live_parameters(ranker, 7)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("like", "width_in"), [(YARDSTICK, 256), (DEMO, 240), (Sizes(4, 32, 16, 16), 32)])
def test_sizes_match_the_mmoe(architecture: str, like: Sizes, width_in: int) -> None:
    found = matched(architecture, like, width_in, WATCH_WIDTHS)
    budget = parameter_count(like.wiring("mmoe", WATCH_WIDTHS), width_in)
    count = parameter_count(found.wiring(architecture, WATCH_WIDTHS), width_in)
    assert abs(count - budget) <= TOLERANCE * budget
    assert found.hidden / found.width == pytest.approx(like.hidden / like.width, rel=0.25)
    assert (found.experts, found.tower_hidden) == (like.experts, like.tower_hidden)


def test_the_mmoe_itself_keeps_its_sizes() -> None:
    assert matched("mmoe", DEMO, 240, WATCH_WIDTHS) == DEMO


def test_a_budget_may_be_given() -> None:
    found = matched("ple", DEMO, 240, WATCH_WIDTHS, budget=500_000)
    assert parameter_count(found.wiring("ple", WATCH_WIDTHS), 240) == pytest.approx(500_000, rel=TOLERANCE)


def test_a_budget_below_the_smallest_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ple: no widths .* 300 parameters"):
        matched("ple", DEMO, 240, WATCH_WIDTHS, budget=300)
