"""Models exchanged while the server runs: by the admin port, by a watched folder, back again, refused."""

import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live import ROOT, Answer, Connection, Server, request_bytes, running

sys.path[:0] = [str(ROOT / "models"), str(ROOT / "tests")]

from support import tiny_bundle  # noqa: E402

QUIET = ("--set", "rerank.record_served=false", "--replay")
MOMENT = 1_800_000_000_000


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three bundles of the same videos and viewers with other weights: tiny-mmoe-1, -2, -3."""
    root = tmp_path_factory.mktemp("bundles")
    made = []
    for seed in (1, 2, 3):
        options = tiny_bundle.Options(videos=120, viewers=20, seed=seed)
        made.append(tiny_bundle.write(tiny_bundle.build(options), root / f"v{seed}"))
    return made


@pytest.fixture
def server(bundles: list[Path], tmp_path: Path) -> Iterator[Server]:
    with running(bundles[0], tmp_path, *QUIET) as one:
        yield one


def load(server: Server, path: Path) -> Answer:
    return server.call("POST", "/admin/models/load", {"path": str(path)}, admin=True)


def rollback(server: Server) -> Answer:
    return server.call("POST", "/admin/models/rollback", admin=True)


def models(server: Server) -> list[dict[str, Any]]:
    return server.call("GET", "/admin/models", admin=True).json()["models"]


def states(server: Server) -> list[tuple[str, str]]:
    return [(one["model_version"], one["state"]) for one in models(server)]


def served(server: Server) -> tuple[str, list[tuple[str, float]]]:
    """The version that answers, and a feed's ids and scores at one moment."""
    feed = server.recommend("3", count=10, time=MOMENT)
    return feed["model_version"], [(item["id"], item["score"]) for item in feed["items"]]


def await_version(server: Server, version: str, limit_s: float = 10.0) -> None:
    limit = time.monotonic() + limit_s
    while served(server)[0] != version:
        assert time.monotonic() < limit, server.log()
        time.sleep(0.02)


def metric(server: Server, sample: str) -> float:
    lines = server.call("GET", "/metrics", admin=True).body.decode().splitlines()
    return float(next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"{sample} ")))


def test_a_load_serves_and_a_rollback_brings_back_the_same_answers(
    server: Server, bundles: list[Path]
) -> None:
    first = served(server)
    assert first[0] == "tiny-mmoe-1"
    told = load(server, bundles[1])
    assert told.status == 200, told.body
    assert (told.json()["state"], told.json()["model_version"]) == ("serving", "tiny-mmoe-2")
    second = served(server)
    assert second[0] == "tiny-mmoe-2" and second[1] != first[1]
    assert server.call("GET", "/readyz").json()["model_version"] == "tiny-mmoe-2"
    assert load(server, bundles[2]).status == 200
    assert states(server) == [
        ("tiny-mmoe-1", "retired"), ("tiny-mmoe-2", "previous"), ("tiny-mmoe-3", "serving"),
    ]  # fmt: skip
    back = rollback(server)
    assert (back.status, back.json()["model_version"]) == (200, "tiny-mmoe-2")
    assert served(server) == second
    assert states(server)[1:] == [("tiny-mmoe-2", "serving"), ("tiny-mmoe-3", "withdrawn")]
    again = rollback(server)
    assert (again.status, again.json()["code"]) == (409, "conflict")
    assert load(server, bundles[0]).status == 200
    assert served(server) == first
    assert metric(server, 'vireo_model_loads_total{result="ok"}') == 4
    assert metric(server, "vireo_model_rollbacks_total") == 1


def flip_a_byte(folder: Path) -> None:
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def cut(folder: Path) -> None:
    path = folder / "videos.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def other_golden(folder: Path) -> None:
    parts = tiny_bundle.build(tiny_bundle.Options(videos=120, viewers=20, seed=2))
    parts.golden["out.heads"][:, 0] = 1 - parts.golden["out.heads"][:, 0]
    tiny_bundle.write(parts, folder)


def other_format(folder: Path) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**manifest, "format_version": 99}))


def half_manifest(folder: Path) -> None:
    text = (folder / "bundle.json").read_text()
    (folder / "bundle.json").write_text(text[: len(text) // 2])


def no_videos(folder: Path) -> None:
    (folder / "videos.safetensors").unlink()


BAD: list[tuple[Callable[[Path], None], str, str]] = [
    (flip_a_byte, "checksum", "weights.safetensors: its SHA-256"),
    (cut, "checksum", "videos.safetensors"),
    (other_golden, "checksum", "golden"),
    (other_format, "unsupported", "format version 99"),
    (half_manifest, "format", "bundle.json"),
    (no_videos, "not_found", "videos.safetensors"),
    (shutil.rmtree, "not_found", "No such file"),
]


def test_a_bad_bundle_leaves_everything_as_it_was(
    server: Server, bundles: list[Path], tmp_path: Path
) -> None:
    before = served(server)
    for number, (spoil, code, words) in enumerate(BAD, 1):
        folder = tmp_path / spoil.__name__
        shutil.copytree(bundles[1], folder)
        spoil(folder)
        answer = load(server, folder)
        problem = answer.json()
        assert (answer.status, problem["code"]) == (422, code), problem
        assert words in problem["detail"], problem
        assert served(server) == before
        assert [one["state"] for one in models(server)] == ["serving"] + number * ["failed"]
        assert models(server)[-1]["error"] == problem["detail"]
        assert metric(server, 'vireo_model_loads_total{result="failed"}') == number
        assert server.log().count("event=model_refused") == number
    assert rollback(server).status == 409, "what was refused is no version to go back from"
    good = tmp_path / "good"
    shutil.copytree(bundles[1], good)
    assert load(server, good).status == 200
    assert served(server)[0] == "tiny-mmoe-2"


def test_odd_requests_are_refused_and_load_nothing(server: Server, bundles: list[Path]) -> None:
    bodies: list[tuple[Any, int]] = [
        ({}, 400), ({"path": ""}, 400), ({"path": 5}, 400), ({"path": "x" * 4096}, 400), ([], 400),
        (b"", 400),
        ({"path": str(bundles[1]), "force": True}, 400), ({"path": "a\0b"}, 400), ({"path": "x" * 4095}, 422),
        ({"path": str(bundles[1] / "bundle.json")}, 422), ({"path": "/"}, 422), ({"path": "/dev/zero"}, 422),
    ]  # fmt: skip
    for body, status in bodies:
        assert server.call("POST", "/admin/models/load", body, admin=True).status == status, body
    assert server.call("POST", "/admin/models/rollback", {"to": 1}, admin=True).status == 400
    assert server.call("POST", "/admin/models/load", {"path": str(bundles[1])}).status == 404, (
        "admin port alone"
    )
    assert served(server)[0] == "tiny-mmoe-1"
    assert load(server, bundles[1]).status == 200


def test_one_load_at_a_time(server: Server, bundles: list[Path]) -> None:
    body = json.dumps({"path": str(bundles[1])}).encode()
    request = request_bytes("POST", "/admin/models/load", body)
    for _ in range(20):
        with Connection(server.admin) as one, Connection(server.admin) as other:
            one.send(request)
            other.send(request)
            got = sorted([one.answer().status, other.answer().status])
        if got == [200, 409]:
            break
    assert got == [200, 409]
    assert load(server, bundles[2]).status == 200, "another one may come after it"


def test_a_client_that_goes_away_does_not_stop_its_load(server: Server, bundles: list[Path]) -> None:
    body = json.dumps({"path": str(bundles[1])}).encode()
    with Connection(server.admin) as connection:
        connection.send(request_bytes("POST", "/admin/models/load", body))
    await_version(server, "tiny-mmoe-2")


def copy_to(bundle: Path, folder: Path) -> None:
    """As an exporter does: beside its place, then renamed into it."""
    beside = folder.parent / f".{folder.name}.new"
    shutil.copytree(bundle, beside)
    (beside / "bundle.json").touch()
    beside.rename(folder)


def test_a_watched_folder_serves_its_newest_bundle(bundles: list[Path], tmp_path: Path) -> None:
    watched = tmp_path / "models"
    watched.mkdir()
    flags = (*QUIET, "--set", f"model.watch={watched}", "--set", "model.watch_ms=20")
    with running(bundles[0], tmp_path, *flags) as server:
        incomplete = watched / "later"
        shutil.copytree(bundles[2], incomplete)
        (incomplete / "bundle.json").rename(incomplete / "not yet")
        copy_to(bundles[1], watched / "b")
        await_version(server, "tiny-mmoe-2")
        copy_to(bundles[1], watched / "c")
        server.await_log("event=model_serves", 3)
        shutil.copytree(bundles[2], watched / ".spoilt")
        flip_a_byte(watched / ".spoilt")
        (watched / ".spoilt" / "bundle.json").touch()
        (watched / ".spoilt").rename(watched / "spoilt")
        server.await_log("event=model_refused")
        time.sleep(0.2)
        assert server.log().count("event=model_refused") == 1, "what was refused is not tried again"
        assert served(server)[0] == "tiny-mmoe-2"
        (incomplete / "not yet").touch()
        (incomplete / "not yet").rename(incomplete / "bundle.json")
        await_version(server, "tiny-mmoe-3")
        assert rollback(server).status == 200
        time.sleep(0.2)
        assert served(server)[0] == "tiny-mmoe-2", "what was rolled back is not taken up again"
        assert {one["origin"] for one in models(server)} == {"start", "watch"}


def test_a_link_that_is_swapped_is_followed(bundles: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(bundles[0])
    with running(
        link, tmp_path, *QUIET, "--set", f"model.watch={link}", "--set", "model.watch_ms=20"
    ) as server:
        time.sleep(0.2)
        assert len(models(server)) == 1, "what serves is not loaded again"
        for target, version in ((bundles[1], "tiny-mmoe-2"), (bundles[0], "tiny-mmoe-1")):
            beside = tmp_path / "beside"
            beside.symlink_to(target)
            beside.rename(link)
            await_version(server, version)
        assert models(server)[-1]["path"] == str(bundles[0].resolve())


def test_reloads_at_load_cost_no_request(server: Server, bundles: list[Path]) -> None:
    versions: dict[str, int] = {}
    wrong: list[Any] = []
    over = threading.Event()

    def ask(viewer: int) -> None:
        body = json.dumps({"user_id": viewer, "count": 5, "timeout_ms": 30000}).encode()
        with Connection(server.port) as connection:
            while not over.is_set():
                connection.send(request_bytes("POST", "/v1/recommend", body))
                answer = connection.answer()
                feed = answer.json()
                if answer.status != 200 or len(feed["items"]) != 5:
                    wrong.append(feed)
                    return
                version = feed["model_version"]
                versions[version] = versions.get(version, 0) + 1

    askers = [threading.Thread(target=ask, args=(viewer,)) for viewer in range(1, 5)]
    for asker in askers:
        asker.start()
    for turn in range(6):
        assert load(server, bundles[(turn + 1) % 2]).status == 200
        time.sleep(0.1)
    over.set()
    for asker in askers:
        asker.join()
    assert not wrong, wrong[:1]
    assert set(versions) == {"tiny-mmoe-1", "tiny-mmoe-2"}
