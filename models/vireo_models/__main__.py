"""Command line: ``python -m vireo_models train | evaluate | search | experiment | demo``.

    python -m vireo_models train --config run.yaml --out DIR
    python -m vireo_models train --data kuairand:DIR --out DIR [--config FILE] [--seed N] [--refit]
        [--resume] [--report-days 20220501,20220502]
    python -m vireo_models train --data simulate:viewers=500,videos=2000 --out DIR
    python -m vireo_models evaluate --bundle DIR --data kuairand:DIR [--days 20220505,20220506]
    python -m vireo_models search --data kuairand:DIR --minutes 30 --out DIR
    python -m vireo_models experiment synthetic --out DIR [--seeds N] [--steps N]
    python -m vireo_models experiment opposed --out DIR [--seeds N] [--steps N]
    python -m vireo_models experiment architectures --data kuairand:DIR --out DIR [--seeds N] [--trials N]
    python -m vireo_models experiment variants --set watch --data kuairand:DIR --out DIR [--seeds N]
    python -m vireo_models experiment retrieval --data kuairand:DIR --out DIR
    python -m vireo_models demo --out models/demo

``train`` leaves DIR/bundle (what `vireo serve --bundle` takes), DIR/report.html, metrics.json, tables.txt
and config.yaml.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from . import experiments

if TYPE_CHECKING:
    from .config import Config


def _days(text: str) -> tuple[int, ...]:
    """Days of an option, YYYYMMDD,..."""
    try:
        for day in text.split(","):
            datetime.strptime(day, "%Y%m%d")
        return tuple(sorted({int(day) for day in text.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not YYYYMMDD,...") from None


def _check_place(folder: Path) -> None:
    """Refuses a folder that cannot be made, before hours of training and not after them."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is not a folder")
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{there} is not writable")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vireo_models", description="Training, evaluation and export of Vireo's models."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train, evaluate and export a bundle")
    train.add_argument("--data", help="kuairand:DIR, simulate or simulate:name=value,...")
    train.add_argument("--out", required=True, type=Path, help="folder of the run")
    train.add_argument("--config", type=Path, help="YAML file that replaces settings")
    train.add_argument("--seed", type=int)
    train.add_argument("--resume", action="store_true", help="go on where a stopped run in --out was")
    train.add_argument("--tensorboard", action="store_true", default=None, help="losses for TensorBoard")
    train.add_argument(
        "--refit",
        action="store_true",
        default=None,
        help="export models refitted on all days, the report's days included",
    )
    train.add_argument(
        "--report-days", type=_days, help="YYYYMMDD,...: judge on these, calibrate and stop on the two before"
    )
    train.add_argument(
        "--no-baselines", dest="baselines", action="store_false", default=None,
        help="skip the baselines",
    )  # fmt: skip
    judge = commands.add_parser("evaluate", help="judge a bundle on days of a log")
    judge.add_argument("--bundle", required=True, type=Path)
    judge.add_argument("--data", required=True)
    judge.add_argument("--days", type=_days, help="YYYYMMDD,...; default: the days of report")
    judge.add_argument("--json", type=Path, help="file for the figures")
    search = commands.add_parser("search", help="settings of the ranker within a time budget, by Optuna")
    search.add_argument("--data", help="as train takes it")
    search.add_argument("--config", type=Path, help="YAML file to start from")
    search.add_argument("--seed", type=int)
    search.add_argument("--minutes", type=float, required=True, help="for all of it")
    search.add_argument("--out", required=True, type=Path, help="folder for best.yaml and search.json")
    experiment = commands.add_parser("experiment", help="a comparison that repeats: table, JSON and plot")
    experiments.add_parsers(experiment.add_subparsers(dest="experiment", required=True))
    demo = commands.add_parser("demo", help="make the demo bundle")
    demo.add_argument("--out", required=True, type=Path)
    demo.add_argument("--seed", type=int, default=1)
    return parser


def _settings(options: argparse.Namespace) -> Config:
    """The configuration file with what the command line says in its place."""
    from . import config as settings

    config = settings.load(options.config, options.seed)
    names = ("data", "refit", "baselines", "tensorboard")
    given = {name: getattr(options, name, None) for name in names}
    if getattr(options, "report_days", None) is not None:
        given["report_days"] = list(options.report_days)
    settings.update(config, {name: value for name, value in given.items() if value is not None}, "")
    if not config.data:
        raise ValueError("no data: --data, or data in the configuration file, is wanted")
    return config


def _train(options: argparse.Namespace) -> None:
    from . import report
    from .data import load
    from .evaluate import full_report, run_baselines
    from .export import check_target, write_bundle
    from .keeper import Keeper
    from .pipeline import refit, train

    started = time.monotonic()
    _check_place(options.out)
    check_target(options.out / "bundle")
    config = _settings(options)
    keeper = Keeper(options.out, config, options.resume)
    data = load(config.data)
    run = train(data, config, keeper)
    found = full_report(run, run_baselines(run) if config.baselines else None)
    found["refit"] = config.refit
    found["seconds"] = round(time.monotonic() - started)  # without the refit
    report.write(options.out, found, config)
    print(report.as_text(found), flush=True)
    version = f"{data.name}-{config.ranker.architecture}-{config.seed}"
    write_bundle(refit(run) if config.refit else run, options.out / "bundle", version)
    keeper.finish()
    seconds = round(time.monotonic() - started)
    print(f"\n{options.out / 'bundle'}: {version}; report: {options.out / 'report.html'}; {seconds} s")


def _evaluate(options: argparse.Namespace) -> None:
    from .data import load
    from .judge import judge_bundle
    from .report import as_json, as_text

    if options.json:
        _check_place(options.json.parent)
    data = load(options.data, max(options.days) if options.days else None)
    found = judge_bundle(options.bundle, data, options.days)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(as_json(found))
    print(as_text(found))


def _search(options: argparse.Namespace) -> None:
    from . import search
    from .data import load

    if not 0 < options.minutes < float("inf"):
        raise ValueError(f"--minutes {options.minutes}: above 0 is wanted")
    _check_place(options.out)
    config = _settings(options)
    search.optuna()  # before the data is read
    print(search.write(options.out, *search.search(load(config.data), config, options.minutes)))


def _experiment(options: argparse.Namespace) -> None:
    _check_place(options.out)
    print(experiments.run(options))


def _demo(options: argparse.Namespace) -> None:
    from .demo import make_demo
    from .export import check_target

    _check_place(options.out)
    check_target(options.out)
    print(make_demo(options.out, options.seed))


COMMANDS = {
    "train": _train,
    "evaluate": _evaluate,
    "search": _search,
    "experiment": _experiment,
    "demo": _demo,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status (2: what was asked for cannot be done)."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "passive"
    )  # waiting threads sleep, so that a busy machine is not stalled
    from .native import NativeError

    try:
        COMMANDS[options.command](options)
    except (ValueError, OSError, NativeError) as error:
        print(f"vireo_models: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
