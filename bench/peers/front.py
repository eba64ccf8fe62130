"""The HTTP front without a feed behind it: Vireo's loop beside nginx `return` and libevent's evhttp.

    run.py front [--short]

POST of a small JSON body, one loop, one worker, one thread. "fixed": 1.5 KB that are always the same, so that
parsing, routing and sending are left. "print": the body is parsed and checked and a feed of 30 items printed,
by the same code in both fronts (bench/front.c). Told is the CPU of the server's processes at a rate that all
hold, by `vireo bench load` with 32 keep-alive connections, in turns; medians. nginx is the machine's;
where it or bench_front is missing it is "not there".
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import urllib.request

import frame

from feed import VIREO, cpu_s, free_port, running

FRONT = frame.ROOT / "build/release/bench/bench_front"
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


def posted(url: str, body: str) -> str:
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
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


def cpu_us(url: str, pid: int, rate: float, seconds: float) -> float:
    """CPU microseconds of a request at that rate."""
    file, requests = frame.FOLDER / "load.json", frame.FOLDER / "front.jsonl"
    words = ["--url", url, "--requests", str(requests), "--rate", str(rate), "--seconds", str(seconds)]
    words += ["--connections", "32", "--no-warm-up", "--json", str(file)]
    before = cpu_s(pid)
    subprocess.run([str(VIREO), "bench", "load", *words], check=True, stdout=subprocess.DEVNULL)
    result = json.loads(file.read_text(encoding="utf-8"))
    if result["lost"] > 0:
        raise SystemExit(f"{url}: {result['lost']:.1%} of the requests got no answer at {rate} a second")
    return 1e6 * (cpu_s(pid) - before) / result["ok"]


def start(stack: contextlib.ExitStack, name: str, command: list[str], port: int) -> tuple[str, int]:
    """A side: where it answers, and its process."""
    url = f"http://127.0.0.1:{port}/v1/recommend"
    return url, stack.enter_context(running(command, url, name))


def front(stack: contextlib.ExitStack, side: str, what: str) -> tuple[str, int]:
    port = free_port()
    return start(stack, f"{side}-{what}", [str(FRONT), side, what, str(port)], port)


def main(words: list[str]) -> int:
    rounds, seconds, rate = (5, 1.0, 4000.0) if "--short" in words else (9, 5.0, 8000.0)
    if not FRONT.exists():
        frame.finish("front", [], {}, not_there={"front": "bench_front is not built (-DVIREO_BENCH=ON)"})
        return 0
    body = '{"user_id":"42","count":30}'
    frame.FOLDER.mkdir(parents=True, exist_ok=True)
    (frame.FOLDER / "front.jsonl").write_text(body + "\n", encoding="utf-8")
    not_there, sizes = {}, {}
    with contextlib.ExitStack() as stack:
        sides = {(what, "vireo"): front(stack, "own", what) for what in ("fixed", "print")}
        sides |= {(what, "evhttp"): front(stack, "evhttp", what) for what in ("fixed", "print")}
        port = free_port()
        command = nginx(posted(sides["fixed", "vireo"][0], body), port)
        if isinstance(command, str):
            not_there["nginx"] = command
        else:
            sides["fixed", "nginx"] = start(stack, "nginx", command, port)
        for (what, name), (url, _) in sides.items():
            text = posted(url, body)
            sizes[what] = len(text)
            if text != posted(sides[what, "vireo"][0], body):
                raise SystemExit(f"{name} answers something else")
        found: dict[tuple[str, str], list[float]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side, (url, pid) in sides.items():
                found[side].append(cpu_us(url, pid, rate, seconds))
    medians = {side: frame.median(values) for side, values in found.items()}
    rows = [
        frame.row(
            f"{what}, {sizes[what]:,} bytes, CPU of a request / {name}",
            medians[what, "vireo"],
            medians[what, name],
            "us",
            less=True,
        )
        for what, name in sides
        if name != "vireo"
    ]
    settings = {"rate": rate, "seconds": seconds, "rounds": rounds, "connections": 32, "bytes": sizes}
    told = {" ".join(side): values for side, values in found.items()}
    frame.finish("front", rows, settings, not_there=not_there, more={"cpu_us": told})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
