"""Compiles every kernel for every architecture and judges what ptxas says: `python3
tests/nvcc/check_kernels.py`.

Prints TAP, one test a file of kernels/ and one for the list of hot kernels; the table of registers, shared
memory and spills goes to build/reports/kernels.txt and, as comments, to the output. Without a CUDA toolkit it
is one skipped test. One nvcc run a file does all architectures; only device code is made, which needs no GPU.
seam_cuda.cu, all host code, is compiled whole.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ptxas import complaints, parse, table, unguarded

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "build/reports/kernels.txt"
ARCHS = ("sm_80", "sm_86", "sm_89", "sm_90a")
LEAST_TOOLKIT = 13
FLAGS = ["-std=c++17", "-O3", "-DNDEBUG", "-Xptxas=-v", "-Xcompiler=-Wall,-Wextra"]
# GCC cannot see that a struct is used only where the function that fills it has succeeded.
FLAGS += ["-Xcompiler=-Wno-maybe-uninitialized"]
KERNEL = re.compile(r"^\s*(?:template\s*<[^>]*>\s*)?__global__\b", re.MULTILINE)


def find_nvcc() -> str | None:
    """The compiler of a toolkit that is new enough."""
    nvcc = os.environ.get("CUDACXX") or shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        return None
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release (\d+)\.", version)
    return nvcc if release and int(release[1]) >= LEAST_TOOLKIT else None


def compile_file(nvcc: str, source: Path, kernels: int) -> tuple[int, str]:
    """nvcc's status and words. Without kernels: an object file, so that the host compiler speaks too."""
    targets = [f"-gencode=arch=compute_{a[3:]},code={a}" for a in ARCHS]
    includes = ["-I", str(ROOT / "include"), "-I", str(ROOT / "kernels")]
    kind = "--fatbin" if kernels else "-c"
    command = [nvcc, *FLAGS, *targets, *includes, kind, str(source), "-o", os.devnull]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def report(usages: list, failed: int) -> None:
    """Writes the table and prints it as comments, with the local memory that is allowed."""
    text = table(usages, ARCHS)
    allowed = [f"local memory, not hot: {u.words()}" for u in usages if u.uses_local_memory and not u.is_hot]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(text + "".join(f"{line}\n" for line in allowed), encoding="utf-8")
    for line in [*text.splitlines(), *allowed, f"{failed} failed"]:
        print(f"# {line}")


def verdict(name: str, wrong: list[str]) -> int:
    """Prints one TAP result with its reasons."""
    print(f"{'not ok' if wrong else 'ok'} - {name}")
    for line in wrong:
        print(f"  {line}")
    return 1 if wrong else 0


def main() -> int:
    """Compiles all; 0 when nothing is wrong or there is nothing to compile with."""
    print("TAP version 13")
    nvcc = find_nvcc()
    if nvcc is None:
        print("1..1\nok - skipped: no CUDA toolkit # SKIP")
        return 0
    sources = sorted((ROOT / "kernels").glob("*.cu"))
    kernels = [len(KERNEL.findall(source.read_text(encoding="utf-8"))) for source in sources]
    print(f"1..{len(sources) + 1}")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = list(pool.map(lambda job: compile_file(nvcc, *job), zip(sources, kernels, strict=True)))
    failed, usages = 0, []
    for source, count, (status, output) in zip(sources, kernels, results, strict=True):
        wrong = complaints(source.name, output, status, count, ARCHS if count else ())
        failed += verdict(f"{source.name}, {count} kernels", wrong)
        if status == 0:
            usages += parse(output)
    failed += verdict(
        "every hot kernel is there", [f"no kernel is called {hot}..." for hot in unguarded(usages)]
    )
    report(usages, failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
