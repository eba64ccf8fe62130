"""Comparisons that repeat: ``python -m vireo_models experiment NAME --out DIR``.

Each experiment is a module here with ``run(options)``, which leaves its tables, JSON and plots in the folder
and returns the tables as text. The options stand here, so that reading them imports no PyTorch.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path


def add_parsers(experiments: argparse._SubParsersAction) -> None:
    """One parser for each experiment."""
    synthetic = experiments.add_parser("synthetic", help="architectures on tasks of set relatedness")
    synthetic.add_argument("--seeds", type=int, default=20)
    synthetic.add_argument("--steps", type=int, default=1000)
    opposed = experiments.add_parser("opposed", help="architectures where tasks agree and where they oppose")
    opposed.add_argument("--seeds", type=int, default=20)
    opposed.add_argument("--steps", type=int, default=1500)
    architectures = experiments.add_parser("architectures", help="the four rankers on one log")
    architectures.add_argument("--data", required=True, help="as train takes it")
    architectures.add_argument("--config", type=Path, help="settings; the widths are those of the MMoE")
    architectures.add_argument("--seeds", type=int, default=5)
    architectures.add_argument("--trials", type=int, default=1, help="of each, by Optuna; 1: as configured")
    variants = experiments.add_parser("variants", help="one part of the ranker in several ways")
    variants.add_argument("--set", required=True, choices=("watch", "calibration", "weighting", "position"))
    variants.add_argument("--data", required=True, help="as train takes it")
    variants.add_argument("--config", type=Path, help="settings that all of them share")
    variants.add_argument("--seeds", type=int, default=3)
    retrieval = experiments.add_parser("retrieval", help="negatives of the towers, and the marks beside them")
    retrieval.add_argument("--data", required=True, help="as train takes it")
    retrieval.add_argument("--config", type=Path, help="settings of the towers")
    retrieval.add_argument("--seed", type=int)
    for parser in (synthetic, opposed, architectures, variants, retrieval):
        parser.add_argument("--out", required=True, type=Path, help="folder for the results")


def run(options: argparse.Namespace) -> str:
    """Runs the experiment that ``options.experiment`` names; returns its tables."""
    return importlib.import_module(f".{options.experiment}", __name__).run(options)
