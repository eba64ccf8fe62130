"""A server whose device fails, live: the program on the emulated device (tests/device/emulated_main.c).

A test plans a fault by a file in a folder that the program watches. The emulator is slow under the
sanitizers, so candidates are few and deadlines long.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/http"))

from live import Connection, Server, clean_environment, request_bytes, start  # noqa: E402
from test_openapi import validator  # noqa: E402

BINARY = ROOT / "build/asan/vireo_emulated"
SETTINGS = {
    "lanes.default_timeout_ms": 60000,
    "lanes.count": 1,
    "compute.device_timeout_ms": 20000,
    "sources.two_tower.budget_us": 10000000,
    "sources.content.budget_us": 10000000,
    "sources.two_tower.count": 8,
    "sources.content.count": 8,
    "sources.trending.count": 4,
    "sources.social.count": 2,
    "sources.subscriptions.count": 2,
    "rerank.record_served": "false",
    "server.loops": "2",
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of 120 videos and 20 viewers."""
    assert BINARY.exists(), f"{BINARY} is missing: build the preset asan"
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    script = ROOT / "tests/support/tiny_bundle.py"
    words = [str(folder), "--videos", "120", "--viewers", "20", "--seed", "1"]
    subprocess.run([sys.executable, str(script), *words], check=True, capture_output=True)
    return folder


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    """The folder in which faults are planned."""
    folder = tmp_path / "faults"
    folder.mkdir()
    return folder


def plan(faults: Path, name: str, at: int = 1) -> None:
    """Plans a fault and waits until the program has taken note of it."""
    beside = faults / f"{name}.new"
    beside.write_text(str(at))
    beside.rename(faults / name)
    limit = time.monotonic() + 20
    while (faults / name).exists():
        assert time.monotonic() < limit, f"nobody took {name}"
        time.sleep(0.002)


def flags_of(**changed: Any) -> list[str]:
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changed.items()}
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


@contextlib.contextmanager
def serving(bundle: Path, faults: Path, **changed: Any) -> Iterator[Server]:
    """A server with a device, which must stop cleanly at the end of the block and leave no process."""
    env = {"EMULATED_FAULTS": str(faults), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    server = start(bundle, faults.parent, *flags_of(**changed), binary=BINARY, env=env)
    try:
        server.recommend(1, count=5)  # the lane has made its slot, so that a fault meets a batch
        yield server
        if server.process.poll() is None:
            assert server.stop(limit_s=60) == 0, server.log()
        limit = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in server.workers()):
            assert time.monotonic() < limit, "a worker is left"
            time.sleep(0.02)
    finally:
        for pid in [*server.workers(), server.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.process.wait()


def degraded(server: Server, user: int | str = 3) -> list[str]:
    """What a feed says of the device, and of the ranker."""
    feed = server.recommend(user, count=5)
    assert len(feed["items"]) == 5
    return [word for word in feed["coverage"]["degraded"] if word.startswith(("device_", "ranker_"))]


def ready(server: Server) -> dict[str, Any]:
    answer = server.call("GET", "/readyz", admin=True)
    assert answer.status == 200, answer.body
    validator("Ready").validate(answer.json())
    return answer.json()["device"]


def metric(server: Server, name: str) -> float:
    lines = server.call("GET", "/metrics", admin=True).body.decode().splitlines()
    return float(next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"{name} ")))


def await_state(server: Server, state: str, limit_s: float = 60.0) -> None:
    limit = time.monotonic() + limit_s
    while ready(server)["state"] != state:
        assert time.monotonic() < limit, f"{ready(server)}\n{server.log()}"
        time.sleep(0.05)


class Load:
    """Viewers who ask one feed after the other, each on a new connection; every answer is kept."""

    def __init__(self, server: Server, viewers: int) -> None:
        self.server = server
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.asked = 0
        self.words: list[list[str]] = []
        self.wrong: list[str] = []
        self.threads = [threading.Thread(target=self.ask, args=(i,)) for i in range(viewers)]

    def ask_once(self, viewer: int) -> None:
        with self.lock:
            self.asked += 1
            name = f"load-{self.asked}"
        body = json.dumps({"user_id": viewer + 1, "count": 5, "request_id": name}).encode()
        with Connection(self.server.port, limit_s=60) as connection:
            connection.send(request_bytes("POST", "/v1/recommend", body, "Connection: close\r\n"))
            answer = connection.answer()
            twice = not connection.is_closed()
        feed = answer.json()
        good = answer.status == 200 and feed["request_id"] == name and len(feed["items"]) == 5 and not twice
        with self.lock:
            if good:
                self.words.append([w for w in feed["coverage"]["degraded"] if w.startswith("device_")])
            else:
                self.wrong.append(f"{answer.status} {answer.body!r}")

    def ask(self, viewer: int) -> None:
        while not self.stopping.is_set():
            try:
                self.ask_once(viewer)
            except OSError as error:
                with self.lock:
                    self.wrong.append(repr(error))
            self.stopping.wait(0.002)

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def check(self) -> None:
        """Every request was answered, once, with a feed."""
        assert not self.wrong, self.wrong[:3]
        assert len(self.words) == self.asked

    def said(self, word: str) -> int:
        return sum(words == [word] for words in self.words)


@pytest.mark.parametrize(("fault", "timeout_ms"), [("lost", 60000), ("hang", 10000)])
def test_a_device_beyond_use_costs_no_request(
    bundle: Path, faults: Path, fault: str, timeout_ms: int
) -> None:
    """The worker answers what it holds on the CPU and ends with 75; the next gets the device back."""
    with serving(bundle, faults, compute__device_timeout_ms=timeout_ms) as server:
        assert ready(server) == {"state": "up"}
        assert degraded(server) == []
        with Load(server, 2) as load:
            time.sleep(1.0)
            plan(faults, fault, 7)
            server.await_log("event=worker_ended status=75")
            server.await_log("event=device_up restarts=1")
            time.sleep(1.0)
        load.check()
        assert load.said(f"device_{fault}") > 0
        assert load.said("device_down") > 0
        assert load.words[-1] == []
        assert degraded(server) == []
        assert ready(server) == {"state": "up"}
        assert metric(server, "vireo_worker_restarts") == 1
        assert metric(server, "vireo_device_up") == 1
        assert len(server.workers()) == 2
        assert server.log().count("event=device_probed status=ok") == 1


def test_on_the_cpu_meanwhile_it_says_so(bundle: Path, faults: Path) -> None:
    with serving(bundle, faults) as server:
        (faults / "absent").touch()
        plan(faults, "lost")
        assert degraded(server) == ["device_lost"]
        server.await_log("event=ready", 2)
        assert degraded(server) == ["device_down"]
        assert ready(server) == {"state": "down", "reason": "lost"}
        assert metric(server, "vireo_device_up") == 0
        assert metric(server, 'vireo_device_failures_total{reason="lost"}') == 1
        assert metric(server, 'vireo_feed_backend_batches_total{backend="device"}') == 0
        server.await_log("event=device_probed status=unsupported")
        (faults / "absent").unlink()
        await_state(server, "up")
        assert degraded(server) == []


def test_an_error_or_a_lack_of_memory_costs_one_batch(bundle: Path, faults: Path) -> None:
    with serving(bundle, faults) as server:
        for fault, word in (("error", "device_error"), ("no_memory", "device_no_memory")):
            plan(faults, fault, 5)
            assert degraded(server) == [word]
            assert degraded(server) == []
        assert metric(server, "vireo_feed_replayed_batches_total") == 2
        assert metric(server, 'vireo_device_failures_total{reason="no_memory"}') == 1
        assert len(server.workers()) == 1


def test_three_in_a_row_take_it_out_of_use_without_another_worker(bundle: Path, faults: Path) -> None:
    with serving(bundle, faults) as server:
        for _ in range(3):
            plan(faults, "no_memory", 3)
            assert degraded(server) == ["device_no_memory"]
        assert ready(server) == {"state": "down", "reason": "no_memory"}
        assert degraded(server) == ["device_down"]
        await_state(server, "up")
        assert degraded(server) == []
        assert len(server.workers()) == 1


@pytest.mark.parametrize(("fault", "reason"), [("absent", "absent"), ("full", "no_memory")])
def test_without_a_device_at_start_it_serves_on_the_cpu(
    bundle: Path, faults: Path, fault: str, reason: str
) -> None:
    (faults / fault).touch()
    with serving(bundle, faults) as server:
        assert server.log().count("event=device_unavailable") == 1
        assert degraded(server) == ["device_down"]
        assert ready(server) == {"state": "down", "reason": reason}
        (faults / fault).unlink()
        await_state(server, "up")
        assert degraded(server) == []
        assert len(server.workers()) == 1


def run_emulated(faults: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**clean_environment(), "EMULATED_FAULTS": str(faults)}
    return subprocess.run(
        [str(BINARY), *words], capture_output=True, text=True, timeout=60, env=env, check=False
    )


@pytest.mark.parametrize("fault", ["absent", "full"])
def test_a_device_that_must_be_there_and_is_not(bundle: Path, faults: Path, fault: str) -> None:
    (faults / fault).touch()
    words = ["serve", "--bundle", str(bundle), "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]
    done = run_emulated(faults, *words, *flags_of(compute__backend="cuda"))
    assert done.returncode == 1
    assert "compute.backend: cuda: " in done.stderr
    assert done.stderr.count("event=worker_started") == 1
    (faults / fault).unlink()
    with serving(bundle, faults, compute__backend="cuda") as server:
        assert degraded(server) == []
        plan(faults, "lost")  # later it is as with auto
        assert degraded(server) == ["device_lost"]
        server.await_log("event=device_up restarts=1")


def test_check_computes_on_the_configured_backend(bundle: Path, faults: Path) -> None:
    on_device = run_emulated(faults, "check", "--set", "compute.backend=cuda", str(bundle))
    assert on_device.returncode == 0, on_device.stderr
    assert "backend          cuda\n" in on_device.stdout and "passed" in on_device.stdout
    (faults / "absent").touch()
    assert run_emulated(faults, "check", "--set=compute.backend=cuda", str(bundle)).returncode == 1
    fallen_back = run_emulated(faults, "check", str(bundle))
    assert fallen_back.returncode == 0
    assert "cpu, for cuda does not open" in fallen_back.stdout
    on_cpu = run_emulated(faults, "check", "--set=compute.backend=cpu", str(bundle))
    assert on_cpu.returncode == 0 and "backend          cpu\n" in on_cpu.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_parent_drains_the_worker(bundle: Path, faults: Path, number: int) -> None:
    with serving(bundle, faults) as server:
        body = json.dumps({"user_id": "4", "count": 5}).encode()
        with Connection(server.port, limit_s=60) as waiting:
            waiting.send(request_bytes("POST", "/v1/recommend", body))
            time.sleep(0.2)
            # As a terminal or a service manager does: everyone is told, and the parent tells the worker too.
            os.kill(server.workers()[0], number)
            server.process.send_signal(number)
            answer = waiting.answer()
            assert answer.status == 200 and len(answer.json()["items"]) == 5
        assert server.process.wait(30) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
        assert len(server.workers()) == 1


def test_a_signal_during_a_handover_leaves_nobody_waiting(bundle: Path, faults: Path) -> None:
    """Nobody follows then: the worker that is leaving answers those that wait for the next one."""
    asking = request_bytes("POST", "/v1/recommend", b'{"user_id": "4", "count": 5}')
    with serving(bundle, faults) as server, Connection(server.port, limit_s=60) as kept:
        plan(faults, "lost")
        kept.send(asking)
        assert kept.answer().json()["coverage"]["degraded"][-1:] == ["device_lost"]
        server.await_log("event=handing_over")
        with Connection(server.port, limit_s=60) as waiting:  # kept stays open, and the worker for a second
            waiting.send(asking)
            server.process.send_signal(signal.SIGTERM)
            assert waiting.answer().status == 200
        assert server.process.wait(30) == 0
        assert len(server.workers()) == 1


def test_a_second_signal_ends_it_at_once(bundle: Path, faults: Path) -> None:
    with serving(bundle, faults) as server, Connection(server.port, limit_s=60) as waiting:
        plan(faults, "hang")
        waiting.send(request_bytes("POST", "/v1/recommend", b'{"user_id": "4"}'))
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        server.await_log("event=draining")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 1
        assert waiting.is_closed()


def test_a_worker_outlives_its_parent_only_to_drain(bundle: Path, faults: Path) -> None:
    with serving(bundle, faults) as server:
        worker = server.workers()[0]
        server.process.kill()
        server.process.wait()
        server.await_log("event=parent_gone")
        limit = time.monotonic() + 30
        while Path(f"/proc/{worker}").exists():
            assert time.monotonic() < limit
            time.sleep(0.02)
        assert "event=stopped clean=true" in server.log()


def test_a_killed_worker_is_followed(bundle: Path, faults: Path) -> None:
    """Connections made while there is none wait in the backlog and are answered by the next."""
    with serving(bundle, faults) as server:
        for count in (1, 2):
            os.kill(server.workers()[-1], signal.SIGKILL)
            with Load(server, 4) as load:
                server.await_log("event=ready", count + 1)
                time.sleep(0.3)
            load.check()
            assert load.said("device_down") > 0
        assert server.log().count("event=worker_ended signal=9") == 2


@pytest.fixture(scope="module")
def other(bundle: Path) -> Path:
    """A bundle of the same videos and viewers with other weights."""
    folder = bundle.parent / "other"
    words = [str(folder), "--videos", "120", "--viewers", "20", "--seed", "2"]
    subprocess.run([sys.executable, str(ROOT / "tests/support/tiny_bundle.py"), *words], check=True)
    return folder


def load_model(server: Server, path: Path) -> str:
    """Loads at idle priority, beside whatever else the machine does."""
    body = json.dumps({"path": str(path)}).encode()
    with Connection(server.admin, limit_s=120) as connection:
        connection.send(request_bytes("POST", "/admin/models/load", body))
        answer = connection.answer()
    assert answer.status == 200, answer.body
    return answer.json()["model_version"]


def version(server: Server) -> str:
    return server.call("GET", "/readyz").json()["model_version"]


def test_another_model_goes_onto_the_device_and_outlives_its_worker(
    bundle: Path, faults: Path, other: Path
) -> None:
    """The next worker loads what was serving, and its probe tries that; the command line's if it is gone."""
    copy = shutil.copytree(other, faults.parent / "copy")
    with serving(bundle, faults) as server:
        assert load_model(server, copy) == "tiny-mmoe-2"
        assert degraded(server) == []
        assert metric(server, 'vireo_feed_backend_batches_total{backend="cpu"}') == 0
        plan(faults, "lost")
        assert degraded(server) == ["device_lost"]
        server.await_log("event=device_up restarts=1")
        assert version(server) == "tiny-mmoe-2"
        assert degraded(server) == []
        copy.rename(faults.parent / "moved")
        os.kill(server.workers()[-1], signal.SIGKILL)
        server.await_log("event=ready", 3)
        assert version(server) == "tiny-mmoe-1"


def test_a_model_loaded_while_the_device_is_down_goes_there_when_it_is_back(
    bundle: Path, faults: Path, other: Path
) -> None:
    with serving(bundle, faults) as server:
        (faults / "absent").touch()
        plan(faults, "lost")
        assert degraded(server) == ["device_lost"]
        server.await_log("event=ready", 2)
        assert load_model(server, other) == "tiny-mmoe-2"
        assert degraded(server) == ["device_down"]
        (faults / "absent").unlink()
        await_state(server, "up")
        assert degraded(server) == []
        assert version(server) == "tiny-mmoe-2"
        answer = server.call("POST", "/admin/models/rollback", admin=True)
        assert answer.json()["model_version"] == "tiny-mmoe-1"
        assert degraded(server) == []


@pytest.mark.parametrize("kind", ["bundle", "term"])
def test_a_worker_that_cannot_start_is_not_followed(bundle: Path, faults: Path, kind: str) -> None:
    file = faults.parent / "vireo.yaml"
    file.write_text('satisfaction:\n  - {name: "odd", expression: "2*clack"}\n' if kind == "term" else "{}\n")
    folder = bundle if kind == "term" else faults
    words = ["serve", "--bundle", str(folder), "--config", str(file)]
    done = run_emulated(faults, *words, "--listen=127.0.0.1:0", "--admin=127.0.0.1:0")
    assert done.returncode == (2 if kind == "term" else 1)
    assert done.stderr.count("event=worker_started") == 1


def test_on_the_cpu_alone_there_is_no_parent(bundle: Path, faults: Path) -> None:
    with serving(bundle, faults, compute__backend="cpu") as server:
        assert degraded(server) == []
        assert "device" not in server.call("GET", "/readyz").json()
        assert server.workers() == []
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
        assert children == ""
