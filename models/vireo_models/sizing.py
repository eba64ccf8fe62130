"""Parameter counts of the ranker's architectures, and sizes that give each of them the same count.

A comparison of architectures is fair only between networks of one size: ``matched`` gives the hidden and
output width of the experts at which an architecture has the parameters of a budget, with the number of
experts, the tasks' towers and the ratio of the two widths as in the sizes it is to be like.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .networks import TASKS, wiring

TOLERANCE = 0.01  # of the budget
MOST_WIDTH = 4096  # of an expert's output in the search; a budget that needs more is refused


@dataclass(frozen=True)
class Sizes:
    """Widths of a ranker, as ``networks.wiring`` takes them."""

    experts: int  # shared ones in PLE, where each task has one more; hard sharing has one
    hidden: int
    width: int
    tower_hidden: int

    def wiring(
        self, architecture: str, watch_widths: Sequence[float], tasks: Sequence[str] = TASKS
    ) -> dict[str, Any]:
        return wiring(
            architecture, self.experts, self.hidden, self.width, self.tower_hidden, watch_widths, tasks
        )


YARDSTICK = Sizes(experts=8, hidden=512, width=256, tower_hidden=128)  # over 256 inputs
"""The MMoE that the server's speed is measured with, docs/benchmarks.md."""


def parameter_count(spec: Mapping[str, Any], width_in: int) -> int:
    """Parameters of the ranker ``spec`` over ``width_in`` inputs that can change an output.

    A gate's weights for experts that it does not list are stored but never read, and a gate over one
    expert gives 1 whatever it holds: neither counts. Embedding tables are the same in every architecture.
    """
    count, inputs = 0, width_in
    for level in spec["levels"]:
        expert = level["hidden"] * (inputs + 1) + level["width"] * (level["hidden"] + 1)
        listed = sum(len(gate["experts"]) for gate in level["gates"] if len(gate["experts"]) > 1)
        count += level["experts"] * expert + listed * (inputs + 1)
        inputs = level["width"]
    for task in spec["tasks"]:
        count += spec["tower_hidden"] * (inputs + 1) + len(task["widths"]) * (spec["tower_hidden"] + 1)
    return count


def matched(
    architecture: str,
    like: Sizes,
    width_in: int,
    watch_widths: Sequence[float],
    tasks: Sequence[str] = TASKS,
    budget: int | None = None,
) -> Sizes:
    """Sizes of ``architecture`` with ``budget`` parameters, by default those of the MMoE ``like``.

    ValueError where no widths come within 1 % of it.
    """

    def count(sizes: Sizes, kind: str = architecture) -> int:
        return parameter_count(sizes.wiring(kind, watch_widths, tasks), width_in)

    wanted = budget if budget is not None else count(like, "mmoe")
    scaled = _widest(like, wanted, count)
    widths = range(max(1, scaled.width // 2), min(2 * scaled.width + 1, MOST_WIDTH) + 1)
    near = [_with_hidden(replace(scaled, width=width), wanted, count) for width in widths]
    good = [one for one in near if abs(count(one) - wanted) <= TOLERANCE * wanted]
    if not good:
        best = min((count(one) for one in near), key=lambda found: abs(found - wanted))
        raise ValueError(
            f"{architecture}: no widths of its experts come within 1 % of {wanted} parameters; "
            f"the nearest have {best}"
        )
    ratio = like.hidden / like.width
    return min(good, key=lambda one: abs(math.log(one.hidden / one.width / ratio)))


def _widest(like: Sizes, wanted: int, count: Callable[[Sizes], int]) -> Sizes:
    """The widest experts in the ratio of ``like`` that stay within ``wanted`` parameters, at least 1 wide."""

    def at(width: int) -> Sizes:
        return replace(like, width=width, hidden=max(1, round(width * like.hidden / like.width)))

    low, high = 1, MOST_WIDTH
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(at(middle)) <= wanted else (low, middle - 1)
    return at(low)


def _with_hidden(sizes: Sizes, wanted: int, count: Callable[[Sizes], int]) -> Sizes:
    """``sizes`` with the hidden width that comes nearest to ``wanted``: the count is affine in it."""
    one, two = (count(replace(sizes, hidden=hidden)) for hidden in (1, 2))
    return replace(sizes, hidden=max(1, 1 + round((wanted - one) / (two - one))))
