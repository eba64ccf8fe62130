"""Reading what test programs report: TAP, JUnit XML and the sanitizers' words."""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from harness.process import Finished

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
SKIP_STATUS = 77  # of a plain program that found nothing to test with, as Automake and Meson have it

SANITIZER = re.compile(
    r"(ERROR|WARNING): (Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|: runtime error: "
)
TAP_RESULT = re.compile(r"^(?P<verdict>ok|not ok)\b[\s\d]*-?\s*(?P<name>.*?)(?P<skip>\s+# SKIP\b.*)?$")
TAP_PLAN = re.compile(r"^1\.\.(\d+)")


@dataclass(frozen=True)
class Case:
    """One test's verdict, with the output to show when it failed."""

    name: str
    verdict: str
    output: str = ""


def parse_tap(text: str, prefix: str) -> list[Case]:
    """The cases of a TAP report; indented lines are a result's details, and a short report is a failure."""
    cases: list[Case] = []
    planned = None
    for line in text.splitlines():
        plan, result = TAP_PLAN.match(line), TAP_RESULT.match(line)
        if plan:
            planned = int(plan.group(1))
        elif result:
            verdict = FAILED if result["verdict"] == "not ok" else SKIPPED if result["skip"] else PASSED
            cases.append(Case(f"{prefix}: {result['name']}", verdict))
        elif cases and cases[-1].verdict == FAILED and line.startswith(" "):
            last = cases[-1]
            cases[-1] = Case(last.name, last.verdict, f"{last.output}{line}\n")
    if planned is None or planned != len(cases):
        cases.append(Case(f"{prefix}: report", FAILED, f"{len(cases)} results reported, {planned} planned\n"))
    return cases


def _junit_case(element: ElementTree.Element, prefix: str) -> Case:
    name = f"{prefix}: {element.get('classname', '')}::{element.get('name', '')}"
    for kind in ("failure", "error"):
        found = element.find(kind)
        if found is not None:
            return Case(name, FAILED, found.text or found.get("message", ""))
    return Case(name, SKIPPED if element.find("skipped") is not None else PASSED)


def parse_junit(path: Path, prefix: str) -> list[Case]:
    """The cases of a JUnit XML file; a missing or broken file is a failure."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        return [Case(f"{prefix}: report", FAILED, f"no readable report: {error}\n")]
    return [_junit_case(element, prefix) for element in root.iter("testcase")]


def judged(cases: list[Case], done: Finished, prefix: str) -> list[Case]:
    """Adds a failed case when the program's end or its output says what its own report does not."""
    if any(case.verdict == FAILED for case in cases):
        return (
            [*cases, Case(f"{prefix}: output", FAILED, done.output)]
            if SANITIZER.search(done.output)
            else cases
        )
    if SANITIZER.search(done.output):
        return [*cases, Case(f"{prefix}: sanitizer report", FAILED, done.output)]
    if not done.ended_well:
        return [*cases, Case(f"{prefix}: {done.why()}", FAILED, done.output)]
    return cases


def single(name: str, done: Finished) -> list[Case]:
    """The one case of a program that is a test as a whole."""
    passed = done.ended_well and not SANITIZER.search(done.output)
    return [Case(name, PASSED if passed else FAILED, "" if passed else f"{done.why()}\n{done.output}")]


def plain(name: str, done: Finished) -> list[Case]:
    """The one case of a plain test program, which may say by its exit status that it was skipped."""
    if done.status == SKIP_STATUS and not SANITIZER.search(done.output):
        return [Case(name, SKIPPED, done.output)]
    return single(name, done)
