"""The parity table: what the kernels' tests leave becomes one line an operation; what is missing fails."""

from pathlib import Path

import pytest

from harness.groups import Group, Job
from harness.parity import LEAST_SEEDS, OPERATIONS, ParityTable
from harness.reports import FAILED, PASSED, Case
from run_all import run_groups

WORST = 0.25


def whole() -> dict[str, list[str]]:
    """The rows of each operation as good tests leave them: 3 cases under each seed."""
    seeds = range(1, LEAST_SEEDS + 1)
    return {name: [f"{name}\t3\t{seed}\t{WORST / seed}\t1e-5 |x|\n" for seed in seeds] for name in OPERATIONS}


def closed(folder: Path, rows: dict[str, list[str]]) -> tuple[Case, str]:
    """The verdict and the table of these rows, in two programs' files."""
    table = ParityTable(folder)
    table.clear()
    for i, lines in enumerate(rows.values()):
        with table.file_of(f"test_kernels_{i % 2}").open("a") as file:
            file.writelines(lines)
    return table.close()


def test_a_whole_table_passes_and_is_printed_in_order(tmp_path: Path) -> None:
    case, text = closed(tmp_path / "parity", whole())
    assert (case.verdict, case.output) == (PASSED, "")
    lines = text.splitlines()[1:]
    assert [line[:21].strip() for line in lines] == list(OPERATIONS)
    assert all(
        line[21:].split() == [str(3 * LEAST_SEEDS), str(LEAST_SEEDS), "0.25", "1e-5", "|x|"] for line in lines
    )


def test_no_rows_at_all_fail(tmp_path: Path) -> None:
    case, _ = closed(tmp_path / "parity", {})
    assert case.verdict == FAILED
    assert all(f"{name}: nothing was compared" in case.output for name in OPERATIONS)


@pytest.mark.parametrize("name", [OPERATIONS[0], OPERATIONS[-1]])
@pytest.mark.parametrize(
    ("row", "words"),
    [
        (None, "nothing was compared"),
        ("{}\t3\t1\t0.1\tb\n", "1 seeds, at least 4"),
        ("{}\t3\t1\t1.5\tb\n", "1.5 bounds off"),
        ("{}\t3\t1\tnan\tb\n", "nan bounds off"),
        ("{}\t3\t1\tinf\tb\n", "inf bounds off"),
    ],
)
def test_one_operation_that_is_wrong_fails(tmp_path: Path, name: str, row: str | None, words: str) -> None:
    rows = whole()
    if row is None:
        del rows[name]
    elif "seeds" in words:
        rows[name] = [row.format(name)]
    else:
        rows[name].append(row.format(name))
    case, _ = closed(tmp_path / "parity", rows)
    assert case.verdict == FAILED
    assert case.output == f"{name}: {words}\n"


@pytest.mark.parametrize("text", ["gather\t3\t1\n", "gather\tmany\t1\t0.1\tb\n", "words\n"])
def test_what_is_no_row_fails(tmp_path: Path, text: str) -> None:
    case, _ = closed(tmp_path / "parity", {**whole(), "torn": [text]})
    assert case.verdict == FAILED
    assert "no row" in case.output


def test_an_operation_that_is_not_known_fails(tmp_path: Path) -> None:
    rows = [row.replace("gather\t", "scatter\t") for row in whole()["gather"]]
    case, text = closed(tmp_path / "parity", {**whole(), "scatter": rows})
    assert case.verdict == FAILED
    assert "scatter: not an operation that is known" in case.output
    assert text.splitlines()[-1].startswith("scatter ")


def group_that_writes(folder: Path, rows: dict[str, list[str]]) -> Group:
    """A group whose one test passes and leaves these rows."""
    table = ParityTable(folder)

    def work() -> list[Case]:
        table.file_of("test").write_text("".join("".join(lines) for lines in rows.values()))
        return [Case("test", PASSED)]

    return Group("criterion", [Job("test", work)], parity=table)


def test_the_runner_prints_the_table_and_counts_its_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = run_groups([group_that_writes(tmp_path / "parity", whole())])
    assert [case.verdict for case in cases] == [PASSED, PASSED]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:2] == ["criterion", "2"]
    assert [line.strip()[:21].strip() for line in printed[2:]] == list(OPERATIONS)


def test_rows_of_an_earlier_run_count_for_nothing(tmp_path: Path) -> None:
    closed(tmp_path / "parity", whole())
    cases = run_groups([group_that_writes(tmp_path / "parity", {})])
    assert [case.verdict for case in cases] == [PASSED, FAILED]
