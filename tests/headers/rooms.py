"""The table of rooms: which rooms and outside libraries each may use, and which contract headers are whose.

It is the design's table in a form that check_includes.py reads. A header in include/vireo/ belongs to the
room of its name (state.h), or to the one that has a source file of the same stem (queue.h: src/base/queue.c
or queue_*.c); where that does not tell, name the owner in OWNERS.
"""

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "include" / "vireo"
SOURCE_SUFFIXES = {".c", ".cc", ".cu", ".cuh", ".h"}


@dataclass(frozen=True)
class Room:
    """A room: its folder, the rooms it may use, and the files that may include each outside header prefix."""

    name: str
    folder: str
    uses: tuple[str, ...] = ()
    outside: dict[str, str] = field(default_factory=dict)  # header prefix -> glob of file names
    cxx: str = ""  # folder below it whose headers are C++ too

    def sources(self) -> list[Path]:
        """Every C, C++ and CUDA file of the room, private headers included."""
        return sorted(p for p in (ROOT / self.folder).rglob("*") if p.suffix in SOURCE_SUFFIXES)


ROOMS = (
    Room("base", "src/base", (), {"yaml.h": "config*"}),
    Room("json", "src/json", ("base",), {"simdjson.h": "*.cc"}),
    Room("model", "src/model", ("json", "base"), {"muParserDLL.h": "*.c", "openssl/": "*.c"}),
    Room("compute", "src/compute", ("base",), {"cblas.h": "openblas*.c", "faiss/": "faiss*.cc"}),
    Room(
        "kernels",
        "kernels",
        ("compute", "base"),
        {
            "cuda_runtime.h": "kernel.cuh",
            "cuda_fp16.h": "numbers.cuh",
            "cublasLt.h": "seam_matmul_cuda.cu",
            "faiss/": "knn_faiss.cc",
            "cuvs/": "knn_cuvs.c",
            "sanitizer/": "*.cc",
        },
        "emulator",
    ),
    Room("state", "src/state", ("model", "base"), {"lmdb.h": "driver_lmdb.c"}),
    Room("feed", "src/feed", ("state", "model", "compute", "base")),
    Room(
        "bench",
        "src/bench",
        ("feed", "state", "model", "compute", "json", "base"),
        {"dlfcn.h": "nvml.c"},
    ),
    Room(
        "server",
        "src/server",
        ("bench", "feed", "state", "model", "compute", "json", "base"),
        {"event2/": "*", "vireo/backend_cuda.h": "main.c"},
    ),
)

# Owners that the file names do not tell.
OWNERS = {"backend.h": "compute", "backend_cuda.h": "kernels", "engine.h": "feed"}


def _matches(stem: str, source: Path) -> bool:
    return source.suffix != ".h" and (source.stem == stem or source.stem.startswith(stem + "_"))


def header_owner(name: str) -> str:
    """The room that owns include/vireo/NAME; raises LookupError with what to do when it cannot be told."""
    if name in OWNERS:
        return OWNERS[name]
    stem = Path(name).stem
    if any(room.name == stem for room in ROOMS):
        return stem
    exact = [r.name for r in ROOMS if any(s.stem == stem and s.suffix != ".h" for s in r.sources())]
    owners = exact or [r.name for r in ROOMS if any(_matches(stem, s) for s in r.sources())]
    if len(owners) != 1:
        found = " and ".join(owners) or "no room"
        raise LookupError(f"{name}: {found} has {stem}.c; name its owner in tests/headers/rooms.py")
    return owners[0]
