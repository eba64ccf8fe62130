"""Checks that every contract header compiles alone, as C11 and as C++17: `python3
tests/headers/check_headers.py`.

Prints TAP, one test a header. Each is included twice, so that a missing guard shows, with warnings as errors.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rooms import CONTRACTS, ROOT

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-fsyntax-only"]
LANGUAGES = (
    ("C11", [os.environ.get("CC", "cc"), "-std=c11", "-Wstrict-prototypes"], ".c"),
    ("C++17", [os.environ.get("CXX", "c++"), "-std=c++17"], ".cc"),
)


def compile_alone(header: Path, folder: Path) -> str:
    """The compilers' complaints about a header, or ''."""
    complaints = []
    for language, command, suffix in LANGUAGES:
        source = folder / f"{header.stem}{suffix}"
        line = f'#include "vireo/{header.name}"\n'
        source.write_text(line + line + "int vr_header_compiles;\n", encoding="utf-8")
        done = subprocess.run(
            [*command, *WARNINGS, "-I", str(ROOT / "include"), str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            complaints.append(f"as {language}:\n{done.stderr}")
    return "".join(complaints)


def main() -> int:
    """Prints the TAP report; 0 when all compile and there is at least one."""
    headers = sorted(CONTRACTS.rglob("*.h"))
    failed = 0 if headers else 1
    print(f"TAP version 13\n1..{len(headers)}")
    with tempfile.TemporaryDirectory() as folder:
        for header in headers:
            complaint = compile_alone(header, Path(folder))
            failed += bool(complaint)
            print(f"{'not ok' if complaint else 'ok'} - {header.name} compiles alone")
            for line in complaint.splitlines():
                print(f"  {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
