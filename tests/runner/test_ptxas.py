"""The verdict on kernels: words recorded from nvcc 13.0, good and bad."""

import subprocess
import sys
from pathlib import Path

import pytest

from nvcc.ptxas import Usage, complaints, demangled, parse, table, unguarded

ROOT = Path(__file__).resolve().parents[2]
SELECT = "_ZN47_GLOBAL__N__e309847a_14_scan_select_cu_ab95f35418scan_select_kernelE12vr_scan_pass"
SCAN = "_ZN39_GLOBAL__N__05f00ba2_7_scan_cu_116c6f5715scan_f16_kernelILj{}ELb{}EEEv12vr_scan_passj"
POOL = "_ZN45_GLOBAL__N__f3c6a164_12_pool_rows_cu_47e26e7420pool_rows_f32_kernelENS_9pool_argsE"
QUIET = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"
SPILLED = "24 bytes stack frame, 20 bytes spill stores, 24 bytes spill loads"
FRAMED = "72 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"
USED = "Used 42 registers, used 1 barriers, 1024 bytes smem, 536 bytes cmem[0], 84 bytes cmem[2]"
UNUSED_VARIABLE = 'odd.cu(1): warning #177-D: variable "unused" was declared but never referenced'
PTXAS_WARNING = "ptxas warning : Setting .minnctapersm ignored"


def words(name: str, arch: str = "sm_80", frame: str = QUIET, used: str = USED) -> str:
    """What nvcc prints of one kernel."""
    return (
        f"ptxas info    : Compiling entry function '{name}' for '{arch}'\n"
        f"ptxas info    : Function properties for {name}\n"
        f"    {frame}\n"
        f"ptxas info    : {used}\n"
        "ptxas info    : Compile time = 111.932 ms\n"
    )


HEAD = "ptxas info    : 0 bytes gmem\n"
BOTH = HEAD + words(SELECT) + HEAD + words(SELECT, "sm_90a", used="Used 45 registers, used 1 barriers")


def test_kernels_are_read() -> None:
    assert parse(BOTH) == [
        Usage("scan_select_kernel", "sm_80", 42, 1024, 0, 0, 0),
        Usage("scan_select_kernel", "sm_90a", 45, 0, 0, 0, 0),
    ]
    assert demangled([SCAN.format(64, 0)]) == ["scan_f16_kernel<64u, false>"]
    assert parse("") == [] == demangled([])


def test_a_good_file_has_no_complaints() -> None:
    assert complaints("select.cu", BOTH, 0, 1, ("sm_80", "sm_90a")) == []
    four = "".join(words(SCAN.format(d, sample)) for d in (32, 64) for sample in (0, 1))
    assert complaints("scan.cu", four, 0, 1, ("sm_80",)) == []
    assert complaints("seam_cuda.cu", "", 0, 0, ()) == []


@pytest.mark.parametrize(
    "frame", [SPILLED, FRAMED, QUIET.replace("0 bytes spill loads", "4 bytes spill loads")]
)
def test_local_memory_in_a_hot_kernel_fails(frame: str) -> None:
    found = complaints("select.cu", words(SELECT, frame=frame), 0, 1, ("sm_80",))
    assert found == [f"scan_select_kernel for sm_80: {frame}"]
    cold = words(POOL, frame=frame)
    assert complaints("pool_rows.cu", cold, 0, 1, ("sm_80",)) == []
    assert parse(cold)[0].uses_local_memory and not parse(cold)[0].is_hot


@pytest.mark.parametrize("warning", [UNUSED_VARIABLE, PTXAS_WARNING, "nvcc warning : Support for offline"])
def test_a_warning_fails(warning: str) -> None:
    assert complaints("select.cu", f"{warning}\n{words(SELECT)}", 0, 1, ("sm_80",)) == [warning]


def test_a_failed_run_fails_with_all_its_words() -> None:
    for status in (1, 2, -11, None):
        found = complaints("select.cu", "error: expected a ';'", status, 1, ("sm_80",))
        assert str(status) in found[0] and "expected a ';'" in found[1]


def test_a_kernel_or_architecture_that_is_missing_fails() -> None:
    assert "sm_90a" in complaints("select.cu", words(SELECT), 0, 1, ("sm_80", "sm_90a"))[0]
    assert "the source has 2" in complaints("select.cu", words(SELECT), 0, 2, ("sm_80",))[0]
    assert complaints("select.cu", "", 0, 1, ("sm_80",)) != []


@pytest.mark.parametrize("left_out", ["bytes stack frame", "registers"])
def test_words_that_are_not_understood_fail(left_out: str) -> None:
    text = "\n".join(line for line in words(SELECT).splitlines() if left_out not in line)
    assert "scan_select_kernel" in complaints("select.cu", text, 0, 1, ("sm_80",))[0]
    assert "scan_select_kernel" in complaints("select.cu", text + "\n" + words(POOL), 0, 2, ("sm_80",))[0]


def test_a_renamed_hot_kernel_is_missed() -> None:
    names = [
        "scan_f16_kernel",
        "linear_f32_kernel",
        "expert_mix_kernel",
        "task_heads_kernel",
        "gather_kernel",
    ]
    every = [Usage(name, "sm_80", 32, 0, 0, 0, 0) for name in names]
    assert unguarded(every) == []
    assert unguarded(every[1:]) == ["scan"]


def test_the_table_shows_every_kernel_and_spill() -> None:
    usages = parse(words(SELECT, frame=SPILLED) + words(POOL, "sm_90a"))
    lines = table(usages, ("sm_80", "sm_90a")).splitlines()
    assert lines[-2].split() == ["pool_rows_f32_kernel", "-", "42", "/", "1024", "/", "0"]
    assert lines[-1].split() == ["scan_select_kernel", "42", "/", "1024", "/", "44+24", "-"]


def test_without_a_toolkit_there_is_one_skipped_test(tmp_path: Path) -> None:
    old = tmp_path / "nvcc"
    old.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 12.4, V12.4.131'\n")
    old.chmod(0o755)
    script = str(ROOT / "tests/nvcc/check_kernels.py")
    env = {"CUDACXX": str(old), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "TAP version 13\n1..1\nok - skipped: no CUDA toolkit # SKIP\n"
