"""The program around the server: command line, configuration, check, version, show."""

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from live import BINARY, ROOT, Server, clean_environment, run_vireo, running

USAGE = [
    ([], "a command is missing"),
    (["sevre"], "sevre"),
    (["serve"], "--bundle"),
    (["serve", "--bundle", "x", "--lisen", "127.0.0.1:0"], "--lisen"),
    (["serve", "--bundle"], "--bundle"),
    (["check"], "BUNDLE"),
    (["serve", "--bundle", "x", "--listen", "127.0.0.1:0", "--listen=127.0.0.1:1"], "server.listen"),
    (["serve", "--bundle", "x", "--replay", "--replay"], "server.replay"),
    (["serve", "--bundle", "x", "--set=lanes.count=1", "--set=lanes.count=2"], "lanes.count"),
    (["show", "--count", "99"], "--count"),
    (["show", "--count", " 5"], "--count"),
    (["show", "--count", "5", "--count", "6"], "--count"),
    (["show", "--server", "nonsense"], "nonsense"),
    (["show", "--server", "127.0.0.1:65536"], "65536"),
]
SETTINGS = [
    (["--admin", "127.0.0.1"], {}, "127.0.0.1"),
    (["--set", "lanes.cuont=2"], {}, "lanes.cuont"),
    (["--set", "lanes.count=many"], {}, "lanes.count"),
    (["--set", "lanes.count=0"], {}, "lanes.count"),
    (["--admin", "0.0.0.0:0"], {}, "loopback"),
    ([], {"VIREO_LANES_CUONT": "2"}, "VIREO_LANES_CUONT"),
]


@pytest.mark.parametrize(("words", "named"), USAGE)
def test_a_wrong_command_line_is_refused(words: list[str], named: str) -> None:
    done = run_vireo(*words)
    assert done.returncode == 2
    first, rest = done.stderr.split("\n", 1)
    assert named in first
    assert rest.startswith("usage:")


@pytest.mark.parametrize(("flags", "env", "named"), SETTINGS)
def test_a_wrong_setting_is_refused(bundle: Path, flags: list[str], env: dict[str, str], named: str) -> None:
    done = run_vireo("serve", "--bundle", str(bundle), "--listen=127.0.0.1:0", *flags, env=env)
    assert done.returncode == 2, done.stderr
    assert named in done.stderr


def test_a_wrong_file_names_line_and_column(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "vireo.yaml"
    file.write_text("server:\n  listen: 127.0.0.1:0\n  listn: 127.0.0.1:0\n")
    done = run_vireo("serve", "--bundle", str(bundle), "--config", str(file))
    assert done.returncode == 2
    assert "vireo.yaml:3:" in done.stderr
    assert "listn" in done.stderr
    assert (
        run_vireo("serve", "--bundle", str(bundle), "--config", str(tmp_path / "none.yaml")).returncode == 2
    )


@pytest.mark.parametrize("words", [["help"], ["-h"], ["--help"], ["help", "serve"], ["serve", "-h"]])
def test_help_is_not_an_error(words: list[str]) -> None:
    done = run_vireo(*words)
    assert done.returncode == 0
    assert done.stdout.startswith("usage:") and done.stderr == ""


def scalar_paths(value: object, at: str = "") -> set[str]:
    """The dotted paths of a document's scalars, lists left out."""
    if isinstance(value, dict):
        inner = (scalar_paths(one, f"{at}.{key}" if at else key) for key, one in value.items())
        return set().union(*inner)
    return set() if isinstance(value, list) else {at}


def test_the_admin_port_shows_every_setting(server: Server) -> None:
    """The paths of the table in docs/configuration.md are those of /admin/config, lists aside."""
    text = (ROOT / "docs/configuration.md").read_text()
    documented = set(re.findall(r"^\| `([a-z_.]+)` \|", text, re.MULTILINE))
    shown = server.call("GET", "/admin/config", admin=True).json()
    assert len(documented) > 40
    assert scalar_paths(shown) == documented
    lists = {key for key, value in shown["rerank"].items() if isinstance(value, list)}
    assert lists == {"caps", "freshness", "blocked", "give_way"}
    assert "satisfaction" in shown


def test_flags_win_over_environment_over_file(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "vireo.yaml"
    file.write_text("lanes:\n  count: 3\n  max_batch: 5\n  queue_capacity: 77\n")
    flags = ("--config", str(file), "--set", "lanes.max_batch=6", "--set", "lanes.max_delay_us=11")
    with running(bundle, tmp_path, *flags) as server:
        lanes = server.call("GET", "/admin/config", admin=True).json()["lanes"]
        assert (lanes["count"], lanes["max_batch"], lanes["queue_capacity"], lanes["max_delay_us"]) == (
            3,
            6,
            77,
            11,
        )


def test_a_term_that_does_not_compile_is_refused(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "vireo.yaml"
    file.write_text('satisfaction:\n  - {name: "odd", expression: "2*clack"}\n')
    done = run_vireo("serve", "--bundle", str(bundle), "--config", str(file), "--listen=127.0.0.1:0")
    assert done.returncode == 2
    assert "odd" in done.stderr and "column" in done.stderr


def test_a_device_that_is_not_built_in_is_refused(bundle: Path) -> None:
    words = ["serve", "--bundle", str(bundle), "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]
    done = run_vireo("version")
    if dict(line.split(None, 1) for line in done.stdout.splitlines())["cuda"] == "yes":
        pytest.skip("this build has cuda")
    done = run_vireo(*words, "--set", "compute.backend=cuda")
    assert done.returncode == 2
    assert "compute.backend" in done.stderr
    done = run_vireo("check", "--set", "compute.backend=cuda", str(bundle))
    assert done.returncode == 1
    assert "cuda" in done.stderr
    assert run_vireo("check", "--set", "compute.backend=cpu", str(bundle)).returncode == 0


def test_check_tells_the_memory_needed_and_the_precision(bundle: Path) -> None:
    def check(*settings: str) -> tuple[float, str]:
        done = run_vireo("check", "--set=compute.backend=cpu", *settings, str(bundle))
        assert done.returncode == 0, done.stderr
        mib = re.search(r"on the backend ([\d.]+) MiB: model [\d.]+, 2 lanes of", done.stdout)
        ranker = re.search(r"^self-test .* ranker in (\w+);", done.stdout, re.MULTILINE)
        assert mib and ranker and mib.start() < ranker.start()
        return float(mib[1]), ranker[1]

    plain, large = check("--set=compute.precision=fp32"), check("--set=lanes.max_batch=256")
    assert plain[1] == large[1] == "fp32" and large[0] > 4 * plain[0]
    assert check("--set=compute.precision=fp16")[1] == "fp16"
    done = run_vireo("check", "--set=compute.precision=int9", str(bundle))
    assert done.returncode == 2 and "compute.precision" in done.stderr


def test_a_role_that_no_parent_gave_is_refused(bundle: Path) -> None:
    for role in ("worker", "worker 900 901 902 0 1 0 0", "waiter"):
        words = ["serve", "--bundle", str(bundle), "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]
        done = run_vireo(*words, env={"VR_SERVE_ROLE": role})
        assert done.returncode == 2
        assert "VR_SERVE_ROLE" in done.stderr


def test_a_taken_port_is_named(bundle: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run_vireo("serve", "--bundle", str(bundle), "--listen", address, "--admin=127.0.0.1:0")
    assert done.returncode == 1
    assert address in done.stderr


def test_a_refused_bundle_stops_the_server(bundle: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    weights = broken / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    for words in (
        ["check", str(broken)],
        ["serve", "--bundle", str(broken), "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"],
    ):
        done = run_vireo(*words)
        assert done.returncode == 1
        assert "weights.safetensors" in done.stderr
    assert run_vireo("check", str(tmp_path / "nothing")).returncode == 1


@pytest.mark.parametrize("command", ["version", "check", "help"])
def test_what_cannot_be_printed_is_a_failure(bundle: Path, command: str) -> None:
    words = [command, str(bundle)] if command == "check" else [command]
    for path, status in (("/dev/full", 1), ("/dev/null", 0)):
        with Path(path).open("w") as out:
            done = subprocess.run(
                [str(BINARY), *words],
                stdout=out,
                stderr=subprocess.PIPE,
                timeout=60,
                check=False,
                env=clean_environment(),
            )
        assert (done.returncode, b"No space left" in done.stderr) == (status, status == 1)


def test_the_data_folder_is_made(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a/b"
    with running(bundle, tmp_path, "--data", str(folder)) as server:
        assert folder.is_dir()
        assert "event=state_recovered events=0" in server.log()
        assert (folder / "lock").exists() and (folder / "events").is_dir()


def test_check_prints_what_is_inside(bundle: Path) -> None:
    done = run_vireo("check", str(bundle))
    assert done.returncode == 0, done.stderr
    for word in ("300", "mmoe", "self-test", "passed", "MiB", "40 viewers"):
        assert word in done.stdout


def test_version_says_what_is_built_in() -> None:
    done = run_vireo("version")
    assert done.returncode == 0
    words = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert words["cuda"] in ("yes", "no")
    assert all(words[name] in ("yes", "no") for name in ("faiss", "faiss_gpu", "cuvs"))
    assert run_vireo("help").stdout.startswith("usage:")


def test_show_prints_a_table(server: Server) -> None:
    done = run_vireo("show", "--server", f"127.0.0.1:{server.port}", "--user", "3", "--count", "10")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    rows = [line for line in lines if line[:3].strip().isdigit()]
    assert [int(row[:3]) for row in rows] == list(range(1, 11))
    assert all("by score" in row for row in rows)
    assert any("why it is there" in line for line in lines)


def test_show_passes_no_control_characters_on() -> None:
    """Titles come from uploaders; a terminal would obey an escape, DEL or a C1 control such as U+009B."""
    title = "a\x1b[31mb\x7fc\u009b2Jd\u00e9"
    body = json.dumps({"items": [{"position": 1, "id": "v1", "title": title}]}, ensure_ascii=False).encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [str(BINARY), "show", "--server", f"127.0.0.1:{listener.getsockname()[1]}"]
        show = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body.replace(b"\\u007f", b"\x7f"))
        printed, _ = show.communicate(timeout=20)
    assert show.returncode == 0
    assert "a [31mb c 2Jd\u00e9" in printed


def test_show_gives_up_on_a_server_that_trickles() -> None:
    """Ten seconds are for the whole answer, not for each byte of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [str(BINARY), "show", "--server", f"127.0.0.1:{listener.getsockname()[1]}"]
        show = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        connection, _ = listener.accept()
        with connection:
            limit = time.monotonic() + 13
            while show.poll() is None and time.monotonic() < limit:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(b"H")
                time.sleep(0.2)
            stopped = show.poll()
            show.kill()
        assert show.stderr and "no answer in time" in show.stderr.read()
    assert stopped == 1


def test_show_without_a_server_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = run_vireo("show", "--server", f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert str(port) in done.stderr


def test_the_demo_shows_a_feed_and_stops_on_interrupt(bundle: Path) -> None:
    # A shell cannot trap a signal that was ignored when it started, as in a test run put into the background.
    command = ["env", "--default-signal=INT", str(ROOT / "tools/run_demo.sh"), str(bundle)]
    env = {**clean_environment(), "VIREO_BINARY": str(BINARY)}
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    assert demo.stdout
    lines = []
    for line in demo.stdout:  # blocks until the next line; the test's time limit stands behind it
        lines.append(line)
        if "Ctrl-C" in line:
            break
    demo.send_signal(signal.SIGINT)
    assert demo.wait(15) == 0, "".join(lines)
    text = "".join(lines)
    assert "why it is there" in text
    assert "curl -s http://127.0.0.1:" in text
