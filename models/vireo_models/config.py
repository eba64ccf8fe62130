"""Settings of a training run, with the values that were used for the figures in docs/models.md.

A YAML file given as ``--config`` replaces any of them by section (``ranker: {experts: 8}``); an unknown or
repeated name and a value of another type or out of range are refused. A run writes all it used as
config.yaml, which repeats it. JSON is read too, being YAML.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


class ConfigError(ValueError):
    """A setting that is not known or does not fit; the text names it."""


@dataclass
class TowerConfig:
    """Two-tower retrieval."""

    dim: int = 64
    id_width: int = 64  # of the item tower's id embedding
    user_layers: list[int] = field(default_factory=lambda: [128])  # hidden ones
    item_layers: list[int] = field(default_factory=lambda: [128])
    temperature: float = 0.08
    batch: int = 1024
    logq: bool = True  # correct the softmax by how often a video is drawn
    uniform_negatives: int = 512  # beside those of the batch
    hard_negatives: int = 0  # a row, from the places after its best in the towers' own ranking
    epochs: int = 4  # over the first part
    day_epochs: int = 2  # over each later day
    lr: float = 0.003
    day_lr: float = 0.0005
    table_speed: float = 10.0  # learning rate of the tables over that of the layers
    table_epsilon: float = 1e-3
    weight_decay: float = 1e-5
    dropout: float = 0.1
    unknown_rate: float = 0.1  # share of videos and creators shown as unknown, so that cold videos work
    least_context: int = 3  # earlier watches that a training positive needs
    most_samples: int = 400_000  # positives of the first part


@dataclass
class RankerConfig:
    """Multi-task ranker."""

    architecture: str = "mmoe"
    precision: str = "auto"  # of training: fp32, bf16 (mixed), or bf16 where there is a GPU that has it
    experts: int = 4
    hidden: int = 128
    width: int = 64
    tower_hidden: int = 32
    batch: int = 1024
    lr: float = 0.0013
    epsilon: float = 1e-4  # of Adam, see ranker.py
    weight_decay: float = 1e-7
    table_lr: float = 0.0038
    table_epsilon: float = 1e-3
    dropout: float = 0.15
    input_dropout: float = 0.03
    unknown_rate: float = 0.05
    epochs: int = 10
    patience: int = 3
    average: float = 0.998  # of the moving average of the weights; 0 switches it off
    most_rows: int = 1_000_000
    unclicked_share: float = 1.0  # of the fit rows without a click that are learnt from
    watch_bins: str = "fixed"  # edges of the watch-time bins: fixed, or quantiles of the fit rows
    watch_labels: str = (
        "shares"  # what a bin is trained on: the share watched, or whether it exceeds its start
    )
    position_tower: bool = False  # in training, beside the heads, where the log has positions
    loss_weighting: str = "fixed"  # or learnt: uncertainty, gradnorm
    loss_weight: dict[str, float] = field(
        default_factory=lambda: {"click": 1.0, "watch_s": 1.0, "like": 1.0, "finish": 1.0}
    )


@dataclass
class Config:
    """All settings of a run. The first five may be given on the command line too, which wins."""

    data: str = ""  # kuairand:DIR, simulate or simulate:name=value,...
    report_days: list[int] = field(default_factory=list)  # YYYYMMDD; none: the days of data/splits.py
    refit: bool = False  # export models refitted on all days
    baselines: bool = True
    boosting_trials: int = 8  # settings tried for each model of the gradient boosting
    tensorboard: bool = False  # write the losses for TensorBoard into the run's folder
    content_dim: int = 64
    id_width: int = 8  # of the ranker's video embedding
    seed: int = 1
    threads: int = 1  # more of them stall on a machine that others use too
    bootstrap: int = 500
    tower: TowerConfig = field(default_factory=TowerConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def as_yaml(self) -> str:
        """Every setting, as ``load`` reads it."""
        return yaml.safe_dump(self.as_dict(), sort_keys=False, default_flow_style=None)


ARCHITECTURES = ("hard", "moe", "mmoe", "ple")
CHOICES = {
    "architecture": ARCHITECTURES,
    "precision": ("auto", "fp32", "bf16"),
    "loss_weighting": ("fixed", "uncertainty", "gradnorm"),
    "watch_bins": ("fixed", "quantile"),
    "watch_labels": ("shares", "exceeds"),
}
SHARES = ("unclicked_share",)  # above 0, at most 1
RATES = ("dropout", "input_dropout", "unknown_rate", "average")  # at least 0, below 1
FROM_ZERO = (
    "seed",
    "day_epochs",
    "uniform_negatives",
    "hard_negatives",
    "least_context",
    "weight_decay",
    "loss_weight",
)
MOST_HIDDEN_LAYERS = 3  # a bundle's tower has up to 4 layers


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers (1e-4 is one, which YAML 1.1 takes for text), and no name twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key) for key, _ in node.value]
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"{twice[0]!r} is there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"), list("-+0123456789.")
)


def load(path: str | Path | None, seed: int | None = None) -> Config:
    """Defaults, replaced by what the file says; ``seed`` wins over both."""
    config = Config()
    if path is not None:
        try:
            replaced = yaml.load(Path(path).read_text(), _Loader)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: {error}") from error
        update(config, {} if replaced is None else replaced, "")
    if seed is not None:
        config.seed = seed
        _check_number("seed", seed)
    return config


def update(target: Any, values: Any, where: str) -> None:
    """Replaces settings of ``target`` (a section) by ``values``, an object."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where or 'configuration'}: an object is wanted")
    known = target if isinstance(target, dict) else {one.name for one in dataclasses.fields(target)}
    for name, value in values.items():
        path = f"{where}.{name}" if where else name
        if name not in known:
            raise ConfigError(f"{path}: no such setting")
        _replace(target, name, value, path)


def _replace(target: Any, name: str, value: Any, path: str) -> None:
    current = target[name] if isinstance(target, dict) else getattr(target, name)
    if dataclasses.is_dataclass(current) or isinstance(current, dict):
        update(current, value, path)
        return
    if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(current):
        raise ConfigError(f"{path}: {type(value).__name__} given, {type(current).__name__} wanted")
    _check(path, value)
    if isinstance(target, dict):
        target[name] = value
    else:
        setattr(target, name, value)


# ---- ranges: what would fail later, or make no sense ----


def _check(path: str, value: Any) -> None:
    name = path.rpartition(".")[2]
    if name in CHOICES and value not in CHOICES[name]:
        raise ConfigError(f"{path}: {value!r} is none of {', '.join(CHOICES[name])}")
    if name == "report_days":
        _check_days(path, value)
    elif isinstance(value, list):
        _check_layers(path, value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_number(path, value)


def _check_layers(path: str, widths: list[Any]) -> None:
    if len(widths) > MOST_HIDDEN_LAYERS or any(type(width) is not int or width < 1 for width in widths):
        raise ConfigError(f"{path}: up to {MOST_HIDDEN_LAYERS} whole numbers of at least 1 are wanted")


def _check_days(path: str, days: list[Any]) -> None:
    for day in days:
        if not re.fullmatch(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", str(day)) or type(day) is not int:
            raise ConfigError(f"{path}: {day!r} is not a day as 20220505")


def _check_number(path: str, value: float) -> None:
    names = path.split(".")
    if any(name in RATES for name in names):
        good, wanted = 0 <= value < 1, "at least 0 and below 1"
    elif any(name in SHARES for name in names):
        good, wanted = 0 < value <= 1, "above 0 and at most 1"
    elif any(name in FROM_ZERO for name in names):
        good, wanted = 0 <= value < math.inf, "at least 0"
    else:
        good, wanted = 0 < value < math.inf, "above 0"
    if not good:
        raise ConfigError(f"{path}: {value} is not {wanted}")
