"""The groups of tests and how each is run. Everything is found by its name in the source tree, so a test that
was not built is a failure and a group without tests is one too.

A group is a list of jobs; a job is one program run, done when the builds that it needs are. Jobs run side by
side; groups marked late, whose tests start servers and mostly wait, come when nothing else runs any more.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.parity import ParityTable
from harness.process import ROOT, run
from harness.reports import FAILED, PASSED, Case, judged, parse_junit, parse_tap, plain, single

LONG = os.environ.get("VIREO_LONG", "") not in ("", "0")
LIMIT_S = 6000.0 if LONG else 600.0
FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS", "10"))
BUILD = ROOT / "build"
REPORTS = BUILD / "reports"
VENV = ROOT / ".venv" / "bin"
ROOMS = ("base", "json", "model", "compute", "kernels", "state", "feed", "device", "bench", "server")
FUZZ_RUNS = re.compile(r"stat::number_of_executed_units:\s*([1-9]\d*)")

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:check_initialization_order=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": f"second_deadlock_stack=1:suppressions={ROOT / 'tests/thread/tsan.supp'}",
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Job:
    """One run: a name, the work, and the presets that must be built before."""

    name: str
    work: Callable[[], list[Case]]
    needs: tuple[str, ...] = ()


@dataclass
class Group:
    """Jobs under one heading. `merged`: their cases count as one test. `parity`: a table that they fill."""

    name: str
    jobs: list[Job] = field(default_factory=list)
    late: bool = False
    merged: bool = False
    parity: ParityTable | None = None


def missing(name: str, why: str) -> Job:
    """A job that stands for tests that should exist."""
    return Job(name, lambda: [Case(name, FAILED, why + "\n")])


def tool(name: str) -> str:
    """A Python environment's tool, or the one on the PATH."""
    return str(VENV / name) if (VENV / name).exists() else name


def tracked(*patterns: str) -> list[Path]:
    """Source files of the project matching the patterns, build folders apart."""
    tops = ("include", "src", "kernels", "tests", "bench")
    return sorted(p for top in tops for pattern in patterns for p in (ROOT / top).rglob(pattern))


def command_job(name: str, command: list[str], needs: tuple[str, ...] = ()) -> Job:
    """A job that is one test: a command that must succeed."""
    return Job(name, lambda: single(name, run(command, limit_s=LIMIT_S)), needs)


def tap_script_job(name: str, script: str) -> Job:
    """A job that runs one of our Python checks and reads its TAP."""

    def work() -> list[Case]:
        done = run([sys.executable, script], limit_s=LIMIT_S)
        return judged(parse_tap(done.output, name), done, name)

    return Job(name, work)


def lint_group() -> Group:
    """Format, includes, headers, Python style, shell and Dockerfile."""
    sources = [str(p) for p in tracked("*.c", "*.h", "*.cc", "*.cu", "*.cuh")]
    jobs = [
        command_job("clang-format", ["clang-format", "--dry-run", "-Werror", *sources])
        if sources
        else missing("clang-format", "no C source found"),
        tap_script_job("includes", "tests/headers/check_includes.py"),
        tap_script_job("headers", "tests/headers/check_headers.py"),
        command_job("ruff check", [tool("ruff"), "check", "--quiet", "models", "tests", "bench"]),
        command_job("ruff format", [tool("ruff"), "format", "--check", "models", "tests", "bench"]),
        command_job("hadolint", [tool("hadolint"), "Dockerfile"]),
    ]
    return Group("lint", jobs)


# The analyzer's deep walk through calls takes nine tenths of clang-tidy's time: the long run takes it.
SHALLOW = ["-Xclang", "-analyzer-config", "-Xclang", "mode=shallow"]


def tidy_group() -> Group:
    """clang-tidy over the rooms' C files: one test, a run for each file."""
    jobs = []
    depth = [] if LONG else [f"--extra-arg={word}" for word in SHALLOW]
    for source in sorted((ROOT / "src").rglob("*.c")):
        command = ["clang-tidy", "--quiet", "-p", str(BUILD / "asan"), *depth, str(source)]
        jobs.append(command_job(str(source.relative_to(ROOT)), command, ("asan",)))
    return Group("clang-tidy", jobs, merged=True)


def criterion_job(room: str, source: Path, parity: ParityTable) -> Job:
    """One Criterion executable of the asan build: TAP to a file, printed words kept for failures."""
    name = f"test_{room}_{source.stem.removeprefix('test_')}"

    def work() -> list[Case]:
        report = REPORTS / f"{name}.tap"
        report.unlink(missing_ok=True)
        per_test = "1200" if LONG else "120"
        command = [
            str(BUILD / "asan/tests" / name),
            f"--tap={report}",
            "--color=never",
            "--timeout",
            per_test,
            "-j1",
        ]
        env = {**SANITIZER_ENV, **ONE_THREAD, "VIREO_PARITY": str(parity.file_of(name))}
        done = run(command, limit_s=LIMIT_S, env=env)
        if not report.exists():
            return [Case(name, FAILED, f"{done.why()}, no report\n{done.output}")]
        return judged(parse_tap(report.read_text(encoding="utf-8"), name), done, name)

    return Job(name, work, ("asan",))


def criterion_group() -> Group:
    """The C tests of every room under ASan and UBSan, and the kernels' parity table."""
    jobs = []
    parity = ParityTable(REPORTS / "parity")
    for room in ROOMS:
        sources = sorted((ROOT / "tests" / room).glob("test_*.c"))
        jobs += [criterion_job(room, source, parity) for source in sources]
        if not sources:
            jobs.append(missing(f"tests of {room}", f"tests/{room}/ has no test_*.c"))
    return Group("criterion", jobs, parity=parity)


def thread_job(source: Path) -> Job:
    """One thread test of the tsan build."""
    name = "thread_" + source.stem.removeprefix("test_")

    def work() -> list[Case]:
        done = run([str(BUILD / "tsan/tests" / name)], limit_s=LIMIT_S, env={**SANITIZER_ENV, **ONE_THREAD})
        return plain(name, done)

    return Job(name, work, ("tsan",))


def thread_group() -> Group:
    """Plain programs under ThreadSanitizer."""
    return Group("threads", [thread_job(s) for s in sorted((ROOT / "tests/thread").glob("test_*.c"))])


def fuzz_job(source: Path) -> Job:
    """One fuzz target: the committed corpus, then FUZZ_SECONDS of new inputs, kept in the build folder."""
    target = source.stem
    name = target.removeprefix("fuzz_")
    corpus = ROOT / "tests/fuzz/corpus" / name
    grown, found = BUILD / "fuzz/grown" / name, BUILD / "fuzz/found" / name

    def work() -> list[Case]:
        if not corpus.is_dir() or not any(corpus.iterdir()):
            return [Case(target, FAILED, f"tests/fuzz/corpus/{name}/ is missing or empty\n")]
        for folder in (grown, found):
            folder.mkdir(parents=True, exist_ok=True)
        options = [
            f"-max_total_time={FUZZ_SECONDS}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
        ]
        options.append(f"-artifact_prefix={found}/")
        words = corpus.parent.parent / f"{name}.dict"
        if words.exists():
            options.append(f"-dict={words}")
        command = [str(BUILD / "fuzz/tests" / target), *options, str(grown), str(corpus)]
        done = run(command, limit_s=FUZZ_SECONDS + LIMIT_S, env={**SANITIZER_ENV, **ONE_THREAD})
        if done.ended_well and not FUZZ_RUNS.search(done.output):
            return [Case(target, FAILED, "no input was executed\n" + done.output)]
        return single(target, done)

    return Job(target, work, ("fuzz",))


def fuzz_group() -> Group:
    """The libFuzzer targets."""
    return Group("fuzz", [fuzz_job(s) for s in sorted((ROOT / "tests/fuzz").glob("fuzz_*.c"))])


def sanitizer_files(folder: Path, prefix: str) -> list[Case]:
    """A failed case for each report that a server under test left behind."""
    return [
        Case(f"{prefix}: {p.name}", FAILED, p.read_text(errors="replace")) for p in sorted(folder.glob("*"))
    ]


def pytest_job(folder: Path, extra_env: dict[str, str], needs: tuple[str, ...]) -> Job:
    """The test files of one folder (not of those below it) in one pytest run."""
    name = str(folder.relative_to(ROOT))
    slug = name.replace("/", "-")

    def work() -> list[Case]:
        if not (VENV / "python").exists():
            return [Case(name, FAILED, "there is no .venv: run `make deps-test`\n")]
        left = REPORTS / f"{slug}-sanitizers"
        shutil.rmtree(left, ignore_errors=True)
        left.mkdir(parents=True)
        report = REPORTS / f"{slug}.xml"
        report.unlink(missing_ok=True)
        files = sorted(str(p) for p in folder.glob("test_*.py"))
        command = [
            str(VENV / "python"),
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *files,
        ]
        env = {key: f"{value}:log_path={left}/report" for key, value in SANITIZER_ENV.items()}
        env |= {"VIREO_BUILD_DIR": str(BUILD / "release"), **extra_env}
        env.setdefault("VIREO_BINARY", os.environ.get("VIREO_BINARY", str(BUILD / "release/vireo")))
        done = run(command, limit_s=2 * LIMIT_S, env=env)
        return [*judged(parse_junit(report, name), done, name), *sanitizer_files(left, name)]

    return Job(name, work, needs)


def pytest_group(area: str, *, late: bool, needs: tuple[str, ...] = ("release",)) -> Group:
    """The pytest files under tests/AREA, a run for each folder."""
    folders = sorted({p.parent for p in (ROOT / "tests" / area).rglob("test_*.py")})
    env = {} if late else ONE_THREAD
    return Group(area, [pytest_job(folder, env, needs) for folder in folders], late=late)


def cuda_group() -> Group:
    """nvcc over the kernels, all architectures; one skipped case where there is no CUDA toolkit."""
    return Group("cuda", [tap_script_job("nvcc", "tests/nvcc/check_kernels.py")])


def all_groups() -> list[Group]:
    """Every group, in the order of reports; a group without jobs gets one that fails."""
    groups = [
        lint_group(),
        tidy_group(),
        pytest_group("runner", late=False, needs=()),
        criterion_group(),
        thread_group(),
        fuzz_group(),
        cuda_group(),
    ]
    groups += [
        pytest_group("models", late=False),
        pytest_group("oracle", late=True, needs=("release", "asan")),
    ]
    groups.append(pytest_group("http", late=True))
    groups.append(pytest_group("device", late=True, needs=("asan",)))
    for group in groups:
        if not group.jobs:
            group.jobs.append(missing(f"{group.name}: no tests", "nothing of this group was found in tests/"))
    return groups


def merge(group: Group, cases: list[Case]) -> list[Case]:
    """One case in place of many, with the output of those that failed."""
    bad = [case for case in cases if case.verdict == FAILED]
    output = "".join(f"{case.name}\n{case.output}" for case in bad)
    return [Case(f"{group.name}: {len(cases)} files", FAILED if bad else PASSED, output)]
