"""Vireo's own indexes beside faiss-cpu, hnswlib and usearch: one thread, recall beside every speed.

    python3 bench/peers/run.py [--short] knn

Vectors are unit, 64-d: clustered ones are a centre (one a hundred rows) plus normal noise of length 0.7, the
others have no clusters; queries are made alike. Truth is NumPy's, in float32. For recall .95 and .99 each
index takes the first of its settings that reaches it on all queries; speeds are medians of rounds in which
all sides take turns. Vireo's library is bench/knn.c of the release build with -DVIREO_BENCH=ON.
"""

from __future__ import annotations

import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import frame
import numpy as np

DIM, K = 64, 100
BATCHES = (1, 16, 64)
TARGETS = (0.95, 0.99)
PROBES = (2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)
EF = (100, 128, 160, 200, 256, 320, 400, 512, 768, 1024)

Search = Callable[[np.ndarray], np.ndarray]


@dataclass
class Index:
    """One index: how it is searched, what it cost, and its settings from quick to thorough (exact: none)."""

    name: str
    search: Search
    bytes: float
    build_s: float
    settings: tuple[int, ...] = ()
    choose: Callable[[int], None] | None = None

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("vireo")


def vectors(rng: np.random.Generator, rows: int, centres: np.ndarray | None) -> np.ndarray:
    noise = rng.standard_normal((rows, DIM), dtype=np.float32)
    if centres is not None:
        noise = centres[rng.integers(0, len(centres), rows)] + noise * np.float32(0.7 / np.sqrt(DIM))
    return np.ascontiguousarray(noise / np.linalg.norm(noise, axis=1, keepdims=True))


def truth(data: np.ndarray, queries: np.ndarray) -> np.ndarray:
    found = np.empty((len(queries), K), np.int64)
    for first in range(0, len(queries), 32):
        score = queries[first : first + 32] @ data.T
        found[first : first + 32] = np.argpartition(-score, K, axis=1)[:, :K]
    return found


def recall(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, true, strict=True)]))


# ---- Vireo ----


def library() -> ctypes.CDLL:
    found = sorted((frame.ROOT / "build/release").rglob("libbench_knn.so"))
    if not found:
        raise SystemExit("knn: build/release has no libbench_knn.so: bench/run.sh builds it")
    lib = ctypes.CDLL(str(found[0]))
    lib.knn_open.restype = ctypes.c_void_p
    lib.knn_error.restype = ctypes.c_char_p
    lib.knn_build_s.restype = ctypes.c_double
    lib.knn_bytes.restype = ctypes.c_uint64
    for name in ("knn_build_s", "knn_bytes", "knn_close"):
        getattr(lib, name).argtypes = [ctypes.c_void_p]
    lib.knn_probes.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    return lib


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def ours(lib: ctypes.CDLL, data: np.ndarray, kind: str, lists: int) -> Index:
    """Stored as halves, as the server has the item vectors."""
    handle = lib.knn_open(pointer(data), len(data), DIM, kind.encode(), 1, lists)
    if not handle:
        raise SystemExit(f"knn: {kind}: {lib.knn_error().decode()}")
    this = ctypes.c_void_p(handle)

    def search(queries: np.ndarray) -> np.ndarray:
        row, score = np.empty((len(queries), K), np.int32), np.empty((len(queries), K), np.float32)
        if lib.knn_search(this, pointer(queries), len(queries), K, pointer(row), pointer(score)) != 0:
            raise SystemExit(f"knn: {kind}: {lib.knn_error().decode()}")
        return row

    index = Index(f"vireo {kind}", search, float(lib.knn_bytes(this)), float(lib.knn_build_s(this)))
    if kind == "ivf":
        index.settings = PROBES
        index.choose = lambda probes: lib.knn_probes(this, probes)
    return index


# ---- the peers ----


def faiss_index(data: np.ndarray, factory: str, bytes_each: float) -> Index:
    import faiss

    faiss.omp_set_num_threads(1)
    begun = time.perf_counter()
    index = faiss.index_factory(DIM, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(data)
    index.add(data)
    built = time.perf_counter() - begun
    out = Index(f"faiss {factory}", lambda q: index.search(q, K)[1], bytes_each * len(data), built)
    if factory.startswith("IVF"):
        out.settings, out.choose = PROBES, lambda probes: setattr(index, "nprobe", probes)
    return out


def hnswlib_index(data: np.ndarray) -> Index:
    import hnswlib

    begun = time.perf_counter()
    index = hnswlib.Index(space="ip", dim=DIM)
    index.init_index(max_elements=len(data), M=32, ef_construction=200)
    index.set_num_threads(1)
    index.add_items(data, num_threads=1)
    built = time.perf_counter() - begun
    search = lambda q: index.knn_query(q, k=K, num_threads=1)[0]  # noqa: E731
    return Index("hnswlib M=32", search, float(index.index_file_size()), built, EF, index.set_ef)


def usearch_index(data: np.ndarray) -> Index:
    from usearch.index import Index as Usearch

    begun = time.perf_counter()
    index = Usearch(ndim=DIM, metric="ip", dtype="f16", connectivity=32, expansion_add=200)
    index.add(np.arange(len(data)), data, threads=1)
    built = time.perf_counter() - begun

    def search(queries: np.ndarray) -> np.ndarray:
        keys = index.search(queries, K, threads=1).keys
        return keys.reshape(len(queries), K)

    size = float(index.memory_usage)
    return Index("usearch f16", search, size, built, EF, lambda ef: setattr(index, "expansion_search", ef))


def every_index(data: np.ndarray, graphs: bool, missing: dict[str, str]) -> list[Index]:
    lib, lists = library(), max(64, 4 * int(np.sqrt(len(data))) // 64 * 64)
    made = [ours(lib, data, kind, lists) for kind in ("exact", "exact_int8", "ivf")]
    peers: list[tuple[str, Callable[[], Index]]] = [
        ("faiss Flat", lambda: faiss_index(data, "Flat", 4 * DIM)),
        ("faiss SQfp16", lambda: faiss_index(data, "SQfp16", 2 * DIM)),
        ("faiss SQ8", lambda: faiss_index(data, "SQ8", DIM)),
        ("faiss IVF fp16", lambda: faiss_index(data, f"IVF{lists},SQfp16", 2 * DIM + 8)),
        ("faiss IVF int8", lambda: faiss_index(data, f"IVF{lists},SQ8", DIM + 8)),
    ]
    if graphs:
        peers += [("hnswlib", lambda: hnswlib_index(data)), ("usearch", lambda: usearch_index(data))]
    for name, make in peers:
        try:
            made.append(make())
        except ImportError as error:
            missing[name] = str(error)
    return made


# ---- measuring ----


def per_query_us(index: Index, queries: np.ndarray, batch: int, at_least_s: float) -> float:
    """Of one round."""
    count, begun = 0, time.perf_counter()
    while True:
        first = (count * batch) % (len(queries) - batch + 1)
        index.search(queries[first : first + batch])
        count += 1
        spent = time.perf_counter() - begun
        if spent >= at_least_s:
            return spent / (count * batch) * 1e6


def in_turns(sides: list[Index], queries: np.ndarray, batch: int, at_least_s: float) -> dict[str, float]:
    """Queries/s of each, medians of five rounds after one that warms up."""
    spent: dict[str, list[float]] = {index.name: [] for index in sides}
    for round_number in range(6):
        for index in sides:
            took = per_query_us(index, queries, batch, at_least_s)
            if round_number > 0:
                spent[index.name].append(took)
    return {name: 1e6 / statistics.median(values) for name, values in spent.items()}


def settle(index: Index, queries: np.ndarray, true: np.ndarray, target: float) -> float | None:
    """The first setting that reaches the recall is chosen; the recall, None where none does."""
    for setting in index.settings or (0,):
        if index.choose is not None:
            index.choose(setting)
        reached = recall(
            np.concatenate([index.search(queries[i : i + 64]) for i in range(0, len(queries), 64)]), true
        )
        if reached >= target:
            return reached
    return None


def compared(what: str, speeds: dict[str, float]) -> dict[str, Any]:
    own = max((speed for name, speed in speeds.items() if name.startswith("vireo")), default=None)
    peer = max((speed for name, speed in speeds.items() if not name.startswith("vireo")), default=None)
    return frame.row(what, own, peer, "queries/s")


def measure(label: str, data: np.ndarray, queries: np.ndarray, graphs: bool, at_least_s: float,
            missing: dict[str, str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:  # fmt: skip
    true, indexes = truth(data, queries), every_index(data, graphs, missing)
    rows: list[dict[str, Any]] = []
    every: list[dict[str, Any]] = []

    def note(target: str, sides: list[Index], reached: dict[str, float]) -> None:
        for batch in BATCHES:
            speeds = in_turns(sides, queries, batch, at_least_s)
            rows.append(compared(f"{target} {batch} queries, {label}", speeds))
            told = {"data": label, "target": target, "batch": batch}
            every.extend(
                {**told, "index": name, "recall": reached[name], "queries_per_s": speed}
                for name, speed in speeds.items()
            )

    exact = [index for index in indexes if not index.settings]
    reached = {index.name: settle(index, queries, true, 0.999) or 0.0 for index in exact}
    note("exact", [index for index in exact if reached[index.name] >= 0.999], reached)
    for target in TARGETS:
        found = {index.name: settle(index, queries, true, target) for index in indexes if index.settings}
        sides = [index for index in indexes if found.get(index.name)]
        note(f"ivf .{round(100 * target)}", sides, {name: value for name, value in found.items() if value})
    size = {index.name: (index.bytes / len(data), index.build_s) for index in indexes}
    every.append({"data": label, "bytes_a_vector_and_build_s": size})
    own, graph = size["vireo ivf"], size.get("hnswlib M=32")
    if graph:
        rows.append(
            frame.row(f"bytes a vector, ivf / hnswlib, {label}", own[0], graph[0], "bytes", less=True)
        )
        rows.append(frame.row(f"build, ivf / hnswlib, {label}", own[1], graph[1], "s", less=True))
    return rows, every


def main(words: list[str]) -> None:
    short = "--short" in words
    rows_of_data = 100_000 if short else 1_000_000
    rng = np.random.default_rng(1)
    rows: list[dict[str, Any]] = []
    every: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    centres = vectors(rng, rows_of_data // 100, None)
    sets = [("clustered", centres)] if short else [("clustered", centres), ("no clusters", None)]
    for label, around in sets:
        data, queries = vectors(rng, rows_of_data, around), vectors(rng, 256, around)
        more = measure(label, data, queries, not short, 0.05 if short else 0.3, missing)
        rows += more[0]
        every += more[1]
    settings = {"rows": rows_of_data, "dim": DIM, "k": K, "threads": 1, "queries": 256}
    if short:
        missing["hnswlib, usearch"] = "their graphs take minutes to build; the long form has them"
    frame.finish("knn", rows, settings, not_there=missing, more={"every": every})


if __name__ == "__main__":
    main(sys.argv[1:])
