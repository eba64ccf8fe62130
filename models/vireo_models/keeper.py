"""What a run keeps while it trains: checkpoints to resume from, and its losses for TensorBoard.

A checkpoint is one file, written beside the old one and renamed over it, so that a run killed at any moment
leaves a whole one. It holds everything that the rest of the run depends on (weights, optimisers, generators,
losses, vectors), so that a resumed run ends with the very bits of one that was never stopped.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import torch

from .config import Config

State = dict[str, Any]
FILE = "checkpoint.pt"


class Keeper:
    """Checkpoints in ``folder``; without a folder nothing is kept. Parts of the state have names, as
    "towers" and "ranker", and each write keeps the other parts as they were."""

    def __init__(
        self, folder: Path | None = None, config: Config | None = None, resume: bool = False
    ) -> None:
        self.path = folder / FILE if folder is not None else None
        self.settings = json.dumps((config or Config()).as_dict(), sort_keys=True)
        self.parts: State = {}
        self.board: Any = None
        if self.path is not None and resume:
            self.parts = _read(self.path, self.settings)
        if folder is not None and config is not None and config.tensorboard:
            self.board = _board(folder)

    def save(self, part: str, state: State) -> None:
        """Writes ``state`` as the part named ``part``, with PyTorch's own generator."""
        if self.path is None:
            return
        self.parts[part] = copy.deepcopy(state) | {"generator": torch.get_rng_state()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        with temporary.open("wb") as file:
            torch.save({"settings": self.settings, "parts": self.parts}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

    def load(self, part: str) -> State | None:
        """The part named ``part``, or None; PyTorch's generator becomes what it was then."""
        state = self.parts.get(part)
        if state is not None:
            torch.set_rng_state(state["generator"])
        return state

    def scalars(self, name: str, step: int, values: dict[str, float]) -> None:
        """Losses for TensorBoard, where it is asked for."""
        if self.board is not None:
            for key, value in values.items():
                self.board.add_scalar(f"{name}/{key}", value, step)
            self.board.flush()

    def finish(self) -> None:
        """The run is done: nothing is left to resume."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        if self.board is not None:
            self.board.close()


def _read(path: Path, settings: str) -> State:
    if not path.exists():
        return {}
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        theirs, parts = found["settings"], found["parts"]
    except Exception as error:  # whatever a damaged file makes of the reader
        raise ValueError(f"{path}: not a checkpoint: {str(error).partition('.')[0]}") from error
    if theirs != settings:
        raise ValueError(f"{path}: of a run with other settings; resume it with its own, or remove it")
    return parts


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "tensorboard: true needs the package tensorboard: pip install tensorboard"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
