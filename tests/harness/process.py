"""Running a program under a deadline, with all that it started ended afterwards."""

import contextlib
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finished:
    """How a program ended: exit status (None past the deadline) and output, stdout and stderr together."""

    status: int | None
    output: str

    @property
    def ended_well(self) -> bool:
        return self.status == 0

    def why(self) -> str:
        """The end in words, for a failure's first line."""
        if self.status is None:
            return "ran past its time limit"
        return f"killed by signal {-self.status}" if self.status < 0 else f"exit status {self.status}"


def end_group(leader: int) -> None:
    """Kills whatever is left of the process group that `leader` began."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def run(command: list[str], *, limit_s: float, env: dict[str, str] | None = None) -> Finished:
    """Runs a command in the repository root, its output through a file that no stray child holds open."""
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return Finished(127, f"{command[0]}: {error.strerror}")
        try:
            status: int | None = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end_group(child.pid)
            child.wait()
        output.seek(0)
        return Finished(status, output.read().decode("utf-8", "replace"))
