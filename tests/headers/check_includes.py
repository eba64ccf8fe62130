"""Checks that every room includes only what it may: `python3 tests/headers/check_includes.py`.

Prints TAP, one test a room and one for the contract headers together. Allowed in a room's file: private
headers of its own room, contract headers of itself and of the rooms it uses, its outside libraries in the
files named for them, and the C library. A contract header may include contract headers of its own room and of
the rooms that room uses.
"""

import fnmatch
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rooms import CONTRACTS, ROOMS, ROOT, SOURCE_SUFFIXES, Room, header_owner

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
LIBC = re.compile(
    r"^(assert|complex|ctype|dirent|errno|fcntl|fenv|float|ftw|getopt|inttypes|limits|locale|malloc|math|netdb|poll|"
    r"pthread|sched|semaphore|setjmp|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|stdnoreturn|"
    r"string|strings|syslog|tgmath|threads|time|uchar|ucontext|unistd|wchar|wctype|emmintrin|immintrin|cpuid|execinfo)\.h$"
    r"|^(sys|netinet|arpa|linux)/[a-z_0-9]+\.h$"
)
CXX_LIBRARY = re.compile(r"^[a-z_]+$")


def includes(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, opening bracket and header of each #include of a file."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1), found.group(2)


@cache
def owner_or_error(name: str) -> tuple[str, str]:
    """(room, '') or ('', what is wrong) for a contract header."""
    if not (CONTRACTS / name).is_file():
        return "", f"include/vireo/{name} does not exist"
    try:
        return header_owner(name), ""
    except LookupError as error:
        return "", str(error)


def breach(room: Room, path: Path, bracket: str, header: str) -> str:
    """Why `path` of `room` must not include `header`, or ''."""
    for prefix, files in room.outside.items():
        if header.startswith(prefix):
            return "" if fnmatch.fnmatch(path.name, files) else f"{header} is for {files} alone"
    if header.startswith("vireo/"):
        owner, error = owner_or_error(header.removeprefix("vireo/"))
        if error:
            return error
        return (
            ""
            if owner in (room.name, *room.uses)
            else f"{header} belongs to {owner}, which {room.name} may not use"
        )
    if bracket == '"':
        return (
            ""
            if ".." not in header
            and any((folder / header).is_file() for folder in (path.parent, ROOT / room.folder))
            else f"{header} is not in its room"
        )
    is_cxx = path.suffix in (".cc", ".cu", ".cuh") or (room.cxx and path.parent.name == room.cxx)
    if LIBC.match(header) or (is_cxx and CXX_LIBRARY.match(header)):
        return ""
    return f"{header} is not a library that {room.name} may use"


def room_breaches(room: Room, paths: list[Path]) -> list[str]:
    """One line a breach, with file and line number."""
    found = []
    for path in paths:
        for number, bracket, header in includes(path):
            why = breach(room, path, bracket, header)
            if why:
                found.append(f"{path.relative_to(ROOT)}:{number}: {why}")
    return found


def contract_breaches() -> list[str]:
    """The same for the contract headers, each judged as its owner's file, and without outside libraries."""
    found = []
    for path in sorted(CONTRACTS.glob("*.h")):
        owner, error = owner_or_error(path.name)
        if error:
            found.append(f"include/vireo/{error}")
            continue
        room = next(r for r in ROOMS if r.name == owner)
        found += room_breaches(Room(room.name, room.folder, room.uses), [path])
    return found


def homeless_sources() -> list[str]:
    """Source files under src/ and kernels/ that lie in no room, where no check would see them."""
    folders = tuple(room.folder + "/" for room in ROOMS)
    names = [str(p.relative_to(ROOT)) for top in ("src", "kernels") for p in sorted((ROOT / top).rglob("*"))]
    return [
        f"{name}: in no room"
        for name in names
        if name.endswith(tuple(SOURCE_SUFFIXES)) and not name.startswith(folders)
    ]


def main() -> int:
    """Prints the TAP report; 0 when there is no breach."""
    results = [(f"includes of {room.name}", room_breaches(room, room.sources())) for room in ROOMS]
    results += [
        ("includes of the contract headers", contract_breaches()),
        ("every source in a room", homeless_sources()),
    ]
    print(f"TAP version 13\n1..{len(results)}")
    for name, breaches in results:
        print(f"{'not ok' if breaches else 'ok'} - {name}")
        for line in breaches:
            print(f"  {line}")
    return 1 if any(breaches for _, breaches in results) else 0


if __name__ == "__main__":
    sys.exit(main())
