"""The parity table: how far each kernel was from its reference in the emulator.

The tests of tests/kernels/ write a row for each comparison that passed (support_parity.h), each program to a
file of its own. Here they become one line an operation. An operation without rows, with too few seeds or
above its bound fails the table, and so does a row that nobody expects: then the list below is out of date.
"""

import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.reports import FAILED, PASSED, Case

NAME = "parity table"
LEAST_SEEDS = 4
# Operations as the tests name them, in the order of the table.
OPERATIONS = (
    "gather",
    "gather f16",
    "pool_rows",
    "normalize",
    "linear",
    "linear f16",
    "linear f16, float64",
    "linear f16, library",
    "expert_mix",
    "expert_mix f16",
    "task_heads",
    "task_heads f16",
    "ranker f16",
    "ranker f16, library",
    "scan f16",
    "scan f16, codes",
    "scan int8",
    "scan int8, codes",
    "k-means",
    "ivf",
)


@dataclass
class Line:
    """What is known of one operation. `error`: the worst, in bounds; `runs`: a case under a seed is one."""

    runs: int = 0
    seeds: set[int] = field(default_factory=set)
    error: float = 0.0
    bound: str = ""


def read_rows(text: str, lines: dict[str, Line]) -> None:
    """Adds a file's rows; ValueError for what is no row."""
    for row in text.splitlines():
        operation, cases, seed, error, bound = row.split("\t")
        line = lines.setdefault(operation, Line())
        line.runs += int(cases)
        line.seeds.add(int(seed))
        worst = float(error)
        line.error = worst if math.isnan(worst) or worst > line.error else line.error  # NaN stays
        line.bound = bound


def complaints(lines: dict[str, Line]) -> list[str]:
    """What is wrong with the table."""
    wrong = [f"{name}: nothing was compared" for name in OPERATIONS if name not in lines]
    for name, line in lines.items():
        if name not in OPERATIONS:
            wrong.append(f"{name}: not an operation that is known")
        if len(line.seeds) < LEAST_SEEDS:
            wrong.append(f"{name}: {len(line.seeds)} seeds, at least {LEAST_SEEDS}")
        if not line.error <= 1.0:
            wrong.append(f"{name}: {line.error} bounds off")
    return wrong


def table(lines: dict[str, Line]) -> str:
    """One line an operation."""
    rows = [f"{'operation':<21}{'cases x seeds':>13}{'seeds':>7}{'worst/bound':>13}  bound"]
    known = [name for name in OPERATIONS if name in lines]
    for name in known + sorted(set(lines) - set(known)):
        line = lines[name]
        rows.append(f"{name:<21}{line.runs:>13}{len(line.seeds):>7}{line.error:>13.3g}  {line.bound}")
    return "\n".join(rows)


@dataclass(frozen=True)
class ParityTable:
    """The table of one run of the tests, whose programs write to `folder`."""

    folder: Path

    def file_of(self, program: str) -> Path:
        """Where a test program's rows go."""
        return self.folder / f"{program}.tsv"

    def clear(self) -> None:
        """Before the tests: no row of an earlier run stays."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def close(self) -> tuple[Case, str]:
        """After them: the verdict, and the table to print."""
        lines: dict[str, Line] = {}
        unread = list(self._unread(lines))
        wrong = [*unread, *complaints(lines)]
        words = "".join(f"{line}\n" for line in wrong)
        return Case(NAME, FAILED if wrong else PASSED, words), table(lines)

    def _unread(self, lines: dict[str, Line]) -> Iterable[str]:
        """Files that hold no rows, the others' being added."""
        for path in sorted(self.folder.glob("*.tsv")):
            try:
                read_rows(path.read_text(encoding="utf-8"), lines)
            except ValueError as error:
                yield f"{path.name}: no row: {error}"
