"""The HTTP front alone: a small fixed answer by `vireo serve`, by nginx `return` and by libevent's evhttp.

    run.py front [--short]

GET of Vireo's /healthz, one loop, one worker and one thread; the others answer the same bytes. What a request
costs beside the making of its answer is in it: parse, route, send. Told is the CPU of the server's processes
at a rate that all hold, by `vireo bench load` with 32 keep-alive connections, in turns; medians. nginx and a
C compiler with libevent are taken from the machine; where one is missing it is "not there".
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import frame

from feed import VIREO, cpu_s, free_port, running

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port} reuseport; default_type application/json;
        location / {{ return 200 '{text}'; }}
    }}
}}
"""


def body_of(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def nginx(text: str, port: int) -> list[str] | str:
    """A command, or why there is none."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        return "nginx is not installed"
    folder = frame.FOLDER / "nginx"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, text=text), encoding="utf-8")
    return [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]


def evhttp(text: str, port: int) -> list[str] | str:
    program = frame.FOLDER / "evhttp"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libevent"], capture_output=True, text=True, check=False
    )
    source = str(Path(__file__).parent / "evhttp.c")
    if flags.returncode != 0:
        return "libevent's development files are not installed"
    built = subprocess.run(["cc", "-O2", source, "-o", str(program), *flags.stdout.split()], check=False)
    return [str(program), str(port), text] if built.returncode == 0 else "evhttp.c was not built"


def cpu_us(url: str, pid: int, rate: float, seconds: float) -> float:
    """CPU microseconds of a request at that rate."""
    file = frame.FOLDER / "load.json"
    words = ["--url", url, "--method", "GET", "--rate", str(rate), "--seconds", str(seconds)]
    words += ["--connections", "32", "--no-warm-up", "--json", str(file)]
    before = cpu_s(pid)
    subprocess.run([str(VIREO), "bench", "load", *words], check=True, stdout=subprocess.DEVNULL)
    result = json.loads(file.read_text(encoding="utf-8"))
    if result["lost"] > 0:
        raise SystemExit(f"{url}: {result['lost']:.1%} of the requests got no answer at {rate} a second")
    return 1e6 * (cpu_s(pid) - before) / result["ok"]


def main(words: list[str]) -> int:
    rounds, seconds, rate = (5, 1.0, 4000.0) if "--short" in words else (9, 5.0, 8000.0)
    port = free_port()
    serve = [str(VIREO), "serve", "--bundle", str(frame.ROOT / "models/demo"), "--set", "server.loops=1"]
    serve += ["--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0"]
    not_there, sides = {}, {}
    with contextlib.ExitStack() as stack:
        url = f"http://127.0.0.1:{port}/healthz"
        sides["vireo"] = (url, stack.enter_context(running(serve, url, "vireo")))
        text = body_of(url)
        for name, make in (("nginx", nginx), ("evhttp", evhttp)):
            port = free_port()
            command, url = make(text, port), f"http://127.0.0.1:{port}/healthz"
            if isinstance(command, str):
                not_there[name] = command
                continue
            sides[name] = (url, stack.enter_context(running(command, url, name)))
            if body_of(url) != text:
                raise SystemExit(f"{name} answers something else")
        found: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, (url, pid) in sides.items():
                found[name].append(cpu_us(url, pid, rate, seconds))
    medians = {name: frame.median(values) for name, values in found.items()}
    rows = [
        frame.row(
            f"GET of {len(text)} bytes, CPU of a request / {name}",
            medians["vireo"],
            medians[name],
            "us",
            less=True,
        )
        for name in sides
        if name != "vireo"
    ]
    settings = {"rate": rate, "seconds": seconds, "rounds": rounds, "connections": 32, "bytes": len(text)}
    frame.finish("front", rows, settings, not_there=not_there, more={"cpu_us": found})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
