"""What ptxas says of kernels (`nvcc -Xptxas -v`), and what of it is bad: warnings, and registers that went
to memory in a hot kernel. check_kernels.py compiles; tests/runner/test_ptxas.py holds recorded words
against this.
"""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

# Kernels that a request waits for, by how their names begin. They may use no local memory at all.
HOT = ("scan", "select", "linear", "expert_mix", "task_heads", "gather")

ENTRY = re.compile(r"ptxas info\s*: Compiling entry function '([^']+)' for '([^']+)'")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"ptxas info\s*: Used (\d+) registers(.*)")
SHARED = re.compile(r"(\d+) bytes smem")
WARNING = re.compile(r"\bwarning\b", re.IGNORECASE)


@dataclass(frozen=True)
class Usage:
    """One kernel on one architecture; bytes but for registers. shared: without what a launch asks for."""

    kernel: str
    arch: str
    registers: int
    shared: int
    stack: int
    stores: int
    loads: int

    @property
    def is_hot(self) -> bool:
        return self.kernel.startswith(HOT)

    @property
    def uses_local_memory(self) -> bool:
        return self.stack + self.stores + self.loads > 0

    def words(self) -> str:
        spills = f"{self.stores} bytes spill stores, {self.loads} bytes spill loads"
        return f"{self.kernel} for {self.arch}: {self.stack} bytes stack frame, {spills}"


def demangled(names: list[str]) -> list[str]:
    """The names as in the source, without namespaces and parameters: scan_f16_kernel<64u, false>."""
    if not names:
        return []
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    plain = [
        re.sub(r"\(anonymous namespace\)::|_GLOBAL__N__\w+::|^void ", "", n) for n in done.stdout.split("\n")
    ]
    return [name.split("(")[0] for name in plain[: len(names)]]


def parse(output: str) -> list[Usage]:
    """The kernels in nvcc's output. ValueError for words that this does not understand: a tool that changed
    its words must not look like one that found nothing."""
    heads, numbers = [], []
    frame: tuple[int, ...] | None = None
    for line in output.splitlines():
        if entry := ENTRY.search(line):
            if len(heads) != len(numbers):
                raise ValueError(f"no registers were reported for {heads[-1][0]}")
            heads.append((entry[1], entry[2]))
            frame = None
        elif found := FRAME.search(line):
            frame = tuple(int(number) for number in found.groups())
        elif (used := USED.search(line)) and len(heads) == len(numbers) + 1:
            if frame is None:
                raise ValueError(f"no stack frame was reported for {heads[-1][0]}")
            shared = SHARED.search(used[2])
            numbers.append((int(used[1]), int(shared[1]) if shared else 0, *frame))
    if len(heads) != len(numbers):
        raise ValueError(f"no registers were reported for {heads[-1][0]}")
    names = demangled([mangled for mangled, _ in heads])
    return [Usage(n, arch, *five) for n, (_, arch), five in zip(names, heads, numbers, strict=True)]


def complaints(name: str, output: str, status: int | None, kernels: int, archs: Iterable[str]) -> list[str]:
    """What is wrong with the compilation of a file that holds `kernels` kernel definitions."""
    wrong = [line.strip() for line in output.splitlines() if WARNING.search(line)]
    if status != 0:
        return [f"{name}: nvcc ended with {status}", *output.splitlines()]
    try:
        usages = parse(output)
    except ValueError as error:
        return [*wrong, f"{name}: {error}"]
    wrong += [usage.words() for usage in usages if usage.is_hot and usage.uses_local_memory]
    for arch in archs:
        found = {usage.kernel.split("<")[0] for usage in usages if usage.arch == arch}
        if len(found) != kernels:
            wrong.append(f"{name}: {len(found)} kernels were reported for {arch}, the source has {kernels}")
    return wrong


def unguarded(usages: Iterable[Usage]) -> list[str]:
    """Prefixes of HOT that no kernel has: a kernel that was renamed would no longer be watched. `select`
    stands for one that is not part of a scan; there need be none."""
    names = {usage.kernel for usage in usages}
    return [hot for hot in HOT if hot != "select" and not any(name.startswith(hot) for name in names)]


def table(usages: list[Usage], archs: Iterable[str]) -> str:
    """A line a kernel, a column an architecture."""
    archs = list(archs)
    cells: dict[str, dict[str, str]] = {}
    for usage in usages:
        local = f"{usage.stores + usage.loads}" + (f"+{usage.stack}" if usage.stack else "")
        cells.setdefault(usage.kernel, {})[usage.arch] = f"{usage.registers} / {usage.shared} / {local}"
    wide = max([len("kernel"), *(len(kernel) for kernel in cells)])
    lines = ["registers / static shared bytes / spilled bytes (+ stack frame)", ""]
    lines.append(f"{'kernel':<{wide}}  " + "".join(f"{arch:>16}" for arch in archs))
    for kernel in sorted(cells):
        lines.append(f"{kernel:<{wide}}  " + "".join(f"{cells[kernel].get(arch, '-'):>16}" for arch in archs))
    return "\n".join(lines) + "\n"
