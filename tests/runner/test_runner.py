"""The test runner itself: whatever goes wrong in a test program must end up as a failed test."""

import sys
import time
from pathlib import Path

import pytest

from harness.groups import Group, Job, all_groups, merge, missing
from harness.process import Finished, run
from harness.reports import FAILED, PASSED, SKIPPED, Case, judged, parse_junit, parse_tap, plain, single

# What Criterion 2.4.1 writes: a crash and a timeout look like a failed assertion, a leak like a pass.
CRITERION = """TAP version 13
1..5
# Criterion v2.4.1
not ok - a::crash  (0.00s)
  ---
  assertions: 0
  ...
ok - a::skip  # SKIP skipped: no data
ok - a::fine  (0.00s)
not ok - a::slow timed out (1.02s)
ok - a::leak  (0.00s)
"""
LEAK = "==4303==ERROR: LeakSanitizer: detected memory leaks\n"
REPORTS = [
    LEAK,
    "==1==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x1\n",
    "WARNING: ThreadSanitizer: data race (pid=1)\n",
    "a.c:9:54: runtime error: signed integer overflow\n",
]


def verdicts(cases: list[Case]) -> list[str]:
    """The verdicts alone."""
    return [case.verdict for case in cases]


def test_criterion_report_is_read() -> None:
    cases = parse_tap(CRITERION, "t")
    assert verdicts(cases) == [FAILED, SKIPPED, PASSED, FAILED, PASSED]
    assert "assertions: 0" in cases[0].output
    assert cases[2].name == "t: a::fine  (0.00s)"


@pytest.mark.parametrize("text", ["", "1..2\nok - one\n", "ok - no plan\n"])
def test_short_report_fails(text: str) -> None:
    assert FAILED in verdicts(parse_tap(text, "t"))


@pytest.mark.parametrize("words", REPORTS)
def test_sanitizer_report_fails_a_passing_program(words: str) -> None:
    passing = [Case("t", PASSED)]
    assert verdicts(judged(passing, Finished(0, words), "t")) == [PASSED, FAILED]
    assert verdicts(single("t", Finished(0, words))) == [FAILED]
    assert judged(passing, Finished(0, "all quiet"), "t") == passing


@pytest.mark.parametrize("status", [None, -11, 3])
def test_bad_end_fails(status: int | None) -> None:
    assert verdicts(judged([Case("t", PASSED)], Finished(status, ""), "t")) == [PASSED, FAILED]
    assert verdicts(single("t", Finished(status, ""))) == [FAILED]


def test_skipped_thread_test_is_seen_as_skipped() -> None:
    assert verdicts(plain("t", Finished(77, "skipped: no data"))) == [SKIPPED]
    assert verdicts(plain("t", Finished(77, REPORTS[0]))) == [FAILED]
    assert verdicts(plain("t", Finished(1, "skipped: no data"))) == [FAILED]
    assert verdicts(plain("t", Finished(0, ""))) == [PASSED]
    assert verdicts(single("t", Finished(77, ""))) == [FAILED]


def test_junit_report_is_read(tmp_path: Path) -> None:
    report = tmp_path / "r.xml"
    body = '<testcase name="a"/><testcase name="b"><failure message="m">why</failure></testcase>'
    body += '<testcase name="c"><error/></testcase><testcase name="d"><skipped/></testcase>'
    report.write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>")
    assert verdicts(parse_junit(report, "t")) == [PASSED, FAILED, FAILED, SKIPPED]
    report.write_text("<testsuites><test")
    assert verdicts(parse_junit(report, "t")) == [FAILED]
    assert verdicts(parse_junit(tmp_path / "none.xml", "t")) == [FAILED]


def ends_soon(state: Path, limit_s: float = 10.0) -> bool:
    """Whether a killed process is gone, or a zombie of a parent that is not ours; a signal takes a moment."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        try:
            if state.read_text().split()[2] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_run_ends_at_its_limit_with_all_its_children() -> None:
    child = "import subprocess as s; p = s.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    done = run([sys.executable, "-c", child], limit_s=2.0)
    assert done.status is None
    assert ends_soon(Path(f"/proc/{done.output.strip()}/stat"))


def test_missing_program_is_reported() -> None:
    assert not run(["./no-such-program"], limit_s=1.0).ended_well


def test_every_group_has_a_job_and_a_missing_one_fails() -> None:
    assert all(group.jobs for group in all_groups())
    assert verdicts(missing("x", "why").work()) == [FAILED]


def test_merged_group_fails_with_one_of_its_jobs() -> None:
    group = Group("tidy", [Job("a", list)], merged=True)
    assert verdicts(merge(group, [Case("a", PASSED), Case("b", FAILED, "why")])) == [FAILED]
    assert verdicts(merge(group, [Case("a", PASSED), Case("b", PASSED)])) == [PASSED]
