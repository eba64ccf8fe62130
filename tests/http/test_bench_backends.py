"""`vireo bench backends`: command line, what it prints and writes on the CPU, the GPU's name out of NVML."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from live import ROOT, run_vireo

# Each wrong value with a right one in its place.
VALUES = [
    ("--backends", "gpu", "cpu"),
    ("--backends", "", "cpu"),
    ("--backends", "cpu,", "cpu,cuda"),
    ("--backends", "cpu,cpu", "cuda,cpu"),
    ("--batches", "0", "1"),
    ("--batches", "257", "256"),
    ("--batches", "1,,2", "1,2"),
    ("--batches", "8,8", "8,9"),
    ("--batches", "8,4", "4,8"),
    ("--batches", "+1", "1"),
    ("--batches", ",".join(map(str, range(1, 18))), ",".join(map(str, range(1, 17)))),
    ("--seconds", "0", "0.01"),
    ("--seconds", "601", "0.02"),
    ("--seconds", "1s", "0.010"),
    ("--seconds", "nan", "0.01"),
    ("--seconds", "0x1", "0.01"),
    ("--calls", "0", "1"),
    ("--calls", "-1", "1"),
    ("--calls", "100001", "2"),
]
SHORT = {"--backends": "cpu", "--batches": "1", "--seconds": "0.01", "--calls": "1"}


def words(bundle: Path, **changed: str) -> list[str]:
    """A short run's command line."""
    flags = {**SHORT, **{f"--{name}": value for name, value in changed.items()}}
    return [
        "bench",
        "backends",
        "--bundle",
        str(bundle),
        *(f"{flag}={value}" for flag, value in flags.items()),
    ]


@pytest.mark.parametrize(("flag", "wrong", "right"), VALUES)
def test_a_wrong_value_is_refused_and_its_twin_is_not(
    bundle: Path, flag: str, wrong: str, right: str
) -> None:
    done = run_vireo(*words(bundle, **{flag[2:]: wrong}))
    first, rest = done.stderr.split("\n", 1)
    assert (done.returncode, done.stdout) == (2, "")
    assert flag in first and rest.startswith("usage:")
    done = run_vireo(*words(bundle, **{flag[2:]: right}))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--calls", "2"], "--calls"),
        (["--batches", "2"], "--batches"),
        (["--backends", "cuda"], "--backends"),
        (["--seconds", "1"], "--seconds"),
        (["--json="], "--json"),
        (["--json"], "--json"),
        (["--listen=127.0.0.1:0"], "--listen"),
        (["here"], "here"),
    ],
)
def test_a_wrong_line_is_refused(bundle: Path, more: list[str], named: str) -> None:
    done = run_vireo(*words(bundle), *more)
    assert done.returncode == 2 and named in done.stderr.split("\n")[0]


def test_it_needs_a_bundle(tmp_path: Path) -> None:
    done = run_vireo("bench", "backends")
    assert done.returncode == 2 and "--bundle" in done.stderr.split("\n")[0]
    done = run_vireo(*words(tmp_path / "none"))
    assert done.returncode == 1 and "none" in done.stderr


def test_the_cpu_is_measured_and_written(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    done = run_vireo(*words(bundle, batches="1,5", calls="50", json=str(file)))
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    (cpu,) = result["backends"]
    assert (cpu["backend"], cpu["measured"], cpu["reason"]) == ("cpu", True, None)
    assert [one["batch"] for one in cpu["results"]] == [1, 5] == result["settings"]["batches"]
    for one in cpu["results"]:
        assert one["calls"] >= 50 and one["requests_per_s"] > 0 and one["millijoules"] is None
        assert all(one[stage]["p99_us"] >= one[stage]["p50_us"] > 0 for stage in ("rank", "both"))
        assert one["both"]["p50_us"] >= one["rank"]["p50_us"]
        shown = f"cpu      {one['batch']:5} {one['calls']:7} {one['requests_per_s']:12.1f}"
        assert shown in done.stdout
    assert (result["settings"]["candidates"], result["settings"]["videos"]) == (300, 300)
    assert result["commit"] and result["hardware"]["cores"] >= 1
    assert list(tmp_path.iterdir()) == [file]


def test_few_calls_have_no_99th_percentile(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    # Of 256 requests, one call lasts longer than the seconds asked for.
    assert run_vireo(*words(bundle, batches="256", calls="2", json=str(file))).returncode == 0
    (one,) = json.loads(file.read_text())["backends"][0]["results"]
    assert one["calls"] == 2 and one["both"]["p99_us"] is None and one["both"]["p50_us"] > 0


def test_a_backend_that_is_not_there_is_named(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    done = run_vireo(*words(bundle, backends="cuda,cpu", json=str(file)))
    assert done.returncode == 0, done.stderr
    cuda, cpu = json.loads(file.read_text())["backends"]
    assert cpu["measured"] and (cpu.get("compared_with") is not None) == cuda["measured"]
    if not cuda["measured"]:  # this build has none, or this machine
        assert cuda["reason"] and f"not measured: {cuda['reason']}" in done.stdout
        alone = run_vireo(*words(bundle, backends="cuda"))
        assert alone.returncode == 1 and cuda["reason"] in alone.stderr and alone.stdout == ""


def test_a_file_that_cannot_be_written_costs_no_run(bundle: Path, tmp_path: Path) -> None:
    done = run_vireo(*words(bundle, json=str(tmp_path / "none/bench.json")))
    assert done.returncode == 1 and "none/bench.json" in done.stderr and done.stdout == ""
    (tmp_path / "folder").mkdir()
    done = run_vireo(*words(bundle, json=str(tmp_path / "folder")))
    assert done.returncode == 1 and "folder" in done.stderr and done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


NVML = """
#include <string.h>
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = COUNT; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = &device[index]; return 0; }
int nvmlDeviceGetName(void *device, char *to, unsigned length) { strncpy(to, "Test GPU", length); return 0; }
int nvmlSystemGetDriverVersion(char *to, unsigned length) { strncpy(to, "1.2", length); return 0; }
#ifdef ENERGY
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj) { *mj = 0; return 0; }
#endif
"""


@pytest.mark.parametrize(
    ("defines", "why"),
    [
        (["-DINIT=0", "-DCOUNT=1", "-DENERGY"], None),
        (["-DINIT=9", "-DCOUNT=1", "-DENERGY"], "NVML does not start: error 9"),
        (["-DINIT=0", "-DCOUNT=2", "-DENERGY"], "NVML sees 2 GPUs, not one"),
        (["-DINIT=0", "-DCOUNT=0", "-DENERGY"], "NVML sees 0 GPUs, not one"),
        (["-DINIT=0", "-DCOUNT=1"], "libnvidia-ml.so.1 is too old"),
    ],
)
def test_the_gpu_is_named_where_the_library_tells(
    bundle: Path, tmp_path: Path, defines: list[str], why: str | None
) -> None:
    """A library of our own stands for NVIDIA's, which comes with the driver."""
    source, library, file = tmp_path / "nvml.c", tmp_path / "libnvidia-ml.so.1", tmp_path / "bench.json"
    source.write_text(NVML)
    subprocess.run(["cc", "-shared", "-fPIC", *defines, "-o", library, source], check=True)
    done = run_vireo(*words(bundle, json=str(file)), env={"LD_LIBRARY_PATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    hardware = json.loads(file.read_text())["hardware"]
    assert hardware["gpu_unknown"] == why
    assert (hardware["gpu"], hardware["driver"]) == ((None, None) if why else ("Test GPU", "1.2"))
    assert (why or "Test GPU, driver 1.2") in done.stdout


def test_the_plot_is_drawn(bundle: Path, tmp_path: Path) -> None:
    file, picture = tmp_path / "bench.json", tmp_path / "bench.png"
    assert run_vireo(*words(bundle, batches="1,2", json=str(file))).returncode == 0
    script = [sys.executable, str(ROOT / "bench/plot.py"), str(file), str(picture)]
    subprocess.run(script, check=True, capture_output=True)
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 5000
    file.write_text(json.dumps({"bench": "feed"}))
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "not a result of `vireo bench backends`" in done.stderr
