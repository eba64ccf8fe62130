"""Builds and runs every test of the project: `python3 tests/run_all.py [GROUP...]`, which is what `make test`
does.

Prints a line a group, the output of what failed, and at the end exactly `N passed, N failed, N skipped`. The
exit status is 0 only when nothing failed and something ran. VIREO_LONG=1 and FUZZ_SECONDS lengthen it (`make
test-long`); VIREO_BINARY names another server for the live tests.
"""

import os
import sys
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

from harness.groups import LIMIT_S, REPORTS, Group, Job, all_groups, merge
from harness.process import Finished, run
from harness.reports import FAILED, PASSED, SKIPPED, Case

CPUS = os.cpu_count() or 1
SHOWN_LINES = 80  # of a failed test's output

Builds = dict[str, "Future[Finished]"]


def build(preset: str) -> Finished:
    """Configures and builds a preset; every target is tried, so that all errors show at once."""
    configured = run(["cmake", "--preset", preset], limit_s=LIMIT_S)
    if not configured.ended_well:
        return configured
    jobs = str(max(1, CPUS // 2))
    return run(
        ["cmake", "--build", "--preset", preset, "--parallel", jobs, "--", "-k", "0"], limit_s=3 * LIMIT_S
    )


def run_job(job: Job, builds: Builds) -> tuple[list[Case], float]:
    """A job's cases and its seconds, its builds apart."""
    broken = [preset for preset in job.needs if not builds[preset].result().ended_well]
    if broken:
        return [Case(job.name, FAILED, f"not run: the {' and '.join(broken)} build failed\n")], 0.0
    begun = time.monotonic()
    try:
        cases = job.work()
    except Exception as error:  # the runner's own fault must not hide the other tests' results
        cases = [Case(job.name, FAILED, f"the test runner broke: {error!r}\n")]
    if not cases:
        cases = [Case(job.name, FAILED, "reported no test at all\n")]
    return cases, time.monotonic() - begun


def compiler_words(output: str) -> str:
    """A build's output without the steps that went well."""
    return "\n".join(line for line in output.splitlines() if not line.startswith(("[", "-- ")))


def shortened(output: str) -> str:
    """The last lines of an output, indented."""
    lines = output.rstrip().splitlines()
    left_out = [f"... {len(lines) - SHOWN_LINES} lines before ..."] if len(lines) > SHOWN_LINES else []
    return "\n".join("    " + line for line in [*left_out, *lines[-SHOWN_LINES:]])


def report(name: str, cases: list[Case], seconds: float) -> None:
    """A group's line, then what failed."""
    counts = Counter(case.verdict for case in cases)
    numbers = "".join(f"{counts[verdict]:>6} {verdict}" for verdict in (PASSED, FAILED, SKIPPED))
    print(f"{name:<11}{numbers} {seconds:>8.1f} s", flush=True)
    for case in cases:
        if case.verdict == FAILED:
            print(f"  FAILED {case.name}\n{shortened(case.output)}", flush=True)


def start_builds(groups: list[Group], pool: ThreadPoolExecutor) -> Builds:
    """Queues the builds needed ahead of every job, so that no job waits for a build queued behind it."""
    order = ("asan", "release", "fuzz", "tsan")
    needed = {preset for group in groups for job in group.jobs for preset in job.needs}
    return {preset: pool.submit(build, preset) for preset in order if preset in needed}


def finish_group(group: Group, results: list[tuple[list[Case], float]]) -> list[Case]:
    """Gathers a group's cases and prints them."""
    cases = [case for found, _ in results for case in found]
    table = ""
    if group.merged:
        cases = merge(group, cases)
    if group.parity is not None:
        verdict, table = group.parity.close()
        cases.append(verdict)
    report(group.name, cases, sum(seconds for _, seconds in results))
    if table:
        print("\n".join("    " + line for line in table.splitlines()), flush=True)
    return cases


def run_groups(groups: list[Group]) -> list[Case]:
    """Runs all; the groups marked late come after the others."""
    cases: list[Case] = []
    for group in groups:
        if group.parity is not None:
            group.parity.clear()
    with ThreadPoolExecutor(CPUS) as pool:
        builds = start_builds(groups, pool)
        for late in (False, True):
            together = [group for group in groups if group.late is late]
            futures = [[pool.submit(run_job, job, builds) for job in group.jobs] for group in together]
            for group, waiting in zip(together, futures, strict=True):
                cases += finish_group(group, [future.result() for future in waiting])
        cases += report_builds(builds)
    return cases


def report_builds(builds: Builds) -> list[Case]:
    """A failed case for each build that failed, with the compiler's words."""
    broken = [
        Case(f"build {preset}", FAILED, compiler_words(future.result().output))
        for preset, future in builds.items()
        if not future.result().ended_well
    ]
    if broken:
        report("build", broken, 0.0)
    return broken


def main(names: list[str]) -> int:
    """Runs the named groups, or all."""
    groups = all_groups()
    unknown = set(names) - {group.name for group in groups}
    if unknown:
        print(f"no such group: {', '.join(sorted(unknown))}; there are: {', '.join(g.name for g in groups)}")
        return 2
    REPORTS.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    cases = run_groups([group for group in groups if not names or group.name in names])
    counts = Counter(case.verdict for case in cases)
    print(f"in {time.monotonic() - begun:.0f} s")
    print(f"{counts[PASSED]} passed, {counts[FAILED]} failed, {counts[SKIPPED]} skipped")
    return 0 if counts[FAILED] == 0 and counts[PASSED] > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
