"""Training of the multi-task ranker on rows of the log.

``RankRows`` holds transformed features of the rows and the vectors of their own moment; ``RankerModel``
assembles them and predicts the four heads. Click, like and finish have a log loss, watch time that of its
bins (watch_time.py). Training stops by the tune day; calibration.py follows.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .config import RankerConfig
from .features_reference import ENTITIES
from .networks import TASKS, Assemble, Column, Ranker, Tables, dropout
from .position import PositionTower, joined
from .rows import chunks
from .watch_time import BinLoss, readings
from .weighting import Weighting


@dataclass
class RankRows:
    """Transformed rows: blocks by entity and vectors by name."""

    dense: dict[str, Tensor]  # float32 [n, D] by entity
    index: dict[str, Tensor]  # int64 [n, I] by entity
    vectors: dict[str, Tensor]  # float16 or float32 [n, width] by name
    video: Tensor  # int64 [n]
    content: Tensor  # float32 [videos, content_dim], gathered by video
    labels: Tensor  # float32 [n, 4]
    known: Tensor  # bool [n, 4]
    position: Tensor  # int64 [n], on the page, -1 unknown; no input of the ranker

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor | slice) -> RankRows:
        def picked(one: Tensor) -> Tensor:  # index_select copies whole rows, which indexing does not
            return one[rows] if isinstance(rows, slice) else one.index_select(0, rows)

        return RankRows(
            {entity: picked(block) for entity, block in self.dense.items()},
            {entity: picked(block) for entity, block in self.index.items()},
            {name: picked(vector) for name, vector in self.vectors.items()},
            picked(self.video), self.content, picked(self.labels), picked(self.known),
            picked(self.position),
        )  # fmt: skip

    def to(self, device: torch.device) -> RankRows:
        """The rows on ``device``."""
        return RankRows(
            *(
                {name: one.to(device) for name, one in part.items()}
                for part in (self.dense, self.index, self.vectors)
            ),
            *(one.to(device) for one in (self.video, self.content, self.labels, self.known, self.position)),
        )

    def batch_vectors(self) -> dict[str, Tensor]:
        """All vectors of these rows as float32."""
        found = {name: vector.float() for name, vector in self.vectors.items()}
        return found | {"content": self.content.index_select(0, self.video)}


class RankerModel(nn.Module):
    """Assembled rows -> ranker. ``columns`` is the layout of each entity's block."""

    def __init__(
        self,
        columns: Mapping[str, list[Column]],
        shapes: Mapping[str, tuple[int, int]],
        spec: Mapping[str, Any],
        config: RankerConfig,
    ) -> None:
        super().__init__()
        self.tables = Tables(shapes)
        # Tab too: a request may name none, or one that the log never had.
        unknown = dict.fromkeys(("ranker.video", "ranker.creator", "ranker.tab"), config.unknown_rate)
        self.blocks = nn.ModuleDict(
            {name: Assemble(columns[name], self.tables, unknown) for name in ENTITIES}
        )
        self.width = sum(block.width for block in self.blocks.values())
        self.ranker = Ranker(spec, self.width, config.dropout)
        self.input_dropout = config.input_dropout
        self.watch_loss = BinLoss(config.watch_labels)
        self.weighting = Weighting(config.loss_weighting, config.loss_weight)
        tab = next((one for one in columns["context"] if one.table == "ranker.tab"), None)
        self.tab_slot = tab.slot if tab is not None else -1
        with_tower = config.position_tower and tab is not None
        self.position_tower = PositionTower(tab.rows) if with_tower else None

    def assemble(self, rows: RankRows) -> Tensor:
        """[n, width], ordered viewer, context, video, pair."""
        vectors = rows.batch_vectors()
        parts = [self.blocks[name](rows.dense[name], rows.index[name], vectors) for name in ENTITIES]
        return torch.cat(parts, dim=1)

    def forward(self, rows: RankRows) -> dict[str, Tensor]:
        x = dropout(self.assemble(rows), self.input_dropout, self.training)
        return self.ranker(x)

    def biased(self, rows: RankRows) -> dict[str, Tensor]:
        """The logits of training: those of ``forward`` and, where there is one, the position's tower."""
        logits = {name: one.float() for name, one in self(rows).items()}
        if self.position_tower is None:
            return logits
        ratio = self.position_tower(rows.position, self.tabs(rows))
        return {name: joined(logits[name], ratio[:, column]) for column, name in enumerate(TASKS)}

    def tabs(self, rows: RankRows) -> Tensor:
        """Table rows of the tab [n]."""
        return rows.index["context"][:, self.tab_slot]

    @torch.no_grad()
    def predict(self, rows: RankRows) -> np.ndarray:
        """Heads, float64 [n, 4]."""
        self.eval()
        parts = [
            self.ranker.heads(self(rows.take(part))).double().numpy() for part in chunks(len(rows), 16_384)
        ]
        return np.concatenate(parts)

    def watch_readings(self, rows: RankRows) -> dict[str, np.ndarray]:
        """Median and typical watch_s of each row [n]."""
        return readings(self.logits(rows)["watch_s"], self.ranker.widths_watch_s)

    @torch.no_grad()
    def logits(self, rows: RankRows, biased: bool = False) -> dict[str, Tensor]:
        """Logits of all rows by task; ``biased`` ones are those of training."""
        self.eval()
        made = self.biased if biased else self
        parts = [made(rows.take(part)) for part in chunks(len(rows), 16_384)]
        return {name: torch.cat([part[name] for part in parts]) for name in TASKS}


# ---- losses ----


def task_losses(
    model: RankerModel,
    logits: Mapping[str, Tensor],
    labels: Tensor,
    known: Tensor,
    unclicked_share: float = 1.0,
) -> dict[str, Tensor]:
    """Mean loss of each task over the rows whose label is known.

    Where only a share of the rows without a click is there, the odds of a click among them are the true ones
    over that share: the logit is raised by as much, so that the head itself stays true. For the other tasks
    such a row stands for those that are not there.
    """
    found = {}
    unclicked = labels[:, TASKS.index("click")] == 0
    weight = torch.where(unclicked, 1 / unclicked_share, 1.0)
    for column, name in enumerate(TASKS):
        target, mask = labels[:, column], known[:, column]
        if name == "watch_s":
            each = model.watch_loss.each(logits[name], target, model.ranker.widths_watch_s)
        else:
            raised = math.log(unclicked_share) if name == "click" else 0.0
            each = nn.functional.binary_cross_entropy_with_logits(
                logits[name][:, 0] - raised, target, reduction="none"
            )
        counted = mask if name == "click" else mask * weight
        found[name] = (each * counted).sum() / counted.sum().clamp_min(1)
    return found


# ---- training ----


@dataclass
class RankerHistory:
    """Losses of each epoch, and the epoch that was kept (1-based)."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best: int = 0


class WeightAverage:
    """Exponential moving average of a model's parameters."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay, self.steps = copy.deepcopy(model), decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)


def _optimizer(model: RankerModel, config: RankerConfig) -> torch.optim.Optimizer:
    """Adam with large epsilons, most of all for the tables: a row that few impressions touch has small
    gradients, which Adam would blow up to full steps, so that rare ids learn noise. On KuaiRand it is
    worth 0.002 of AUC."""
    groups = [
        {"params": list(model.ranker.parameters()), "weight_decay": config.weight_decay},
        {"params": list(model.tables.parameters()), "lr": config.table_lr, "eps": config.table_epsilon},
        *model.weighting.groups(),
    ]
    if model.position_tower is not None:
        # Few numbers that many rows speak for: full steps from small gradients are what they want.
        groups.append({"params": list(model.position_tower.parameters()), "lr": 0.05, "eps": 1e-8})
    return torch.optim.Adam(groups, lr=config.lr, eps=config.epsilon, fused=True)


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=generator)
    for start in range(0, max(count - size // 2, 1), size):
        yield order[start : start + size]


@torch.no_grad()
def evaluate_losses(model: RankerModel, rows: RankRows) -> dict[str, float]:
    """Mean loss of each task over all rows."""
    found = task_losses(model, model.logits(rows, biased=True), rows.labels, rows.known)
    return {name: float(loss) for name, loss in found.items()}


def _epoch(
    model: RankerModel, average: WeightAverage, rows: RankRows, config: RankerConfig,
    optimizer: torch.optim.Optimizer, generator: torch.Generator, autocast: torch.autocast,
) -> float:  # fmt: skip
    model.train()
    total, steps = 0.0, 0
    for picked in _batches(len(rows), config.batch, generator):
        batch = rows.take(picked)
        with autocast:
            logits = model.biased(batch)
        losses = task_losses(model, logits, batch.labels, batch.known, config.unclicked_share)
        loss = model.weighting.total(losses, model.ranker.levels[-1].w2)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        model.weighting.normalise()
        average.update(model)
        total, steps = total + sum(float(one.detach()) for one in losses.values()), steps + 1
    return total / max(steps, 1)


def relative_loss(losses: Mapping[str, float], base: Mapping[str, float]) -> float:
    """Mean over tasks of loss / loss of the constant prediction: tasks count alike at any base rate."""
    return float(np.mean([losses[name] / max(base[name], 1e-9) for name in TASKS]))


def constant_losses(model: RankerModel, rows: RankRows) -> dict[str, float]:
    """Losses of the best constant prediction."""
    logits = {}
    for column, name in enumerate(TASKS):
        target = rows.labels[rows.known[:, column], column]
        if name == "watch_s":
            best = model.watch_loss.constant(target, model.ranker.widths_watch_s)
        else:
            best = torch.logit(target.mean().nan_to_num().clamp(1e-6, 1 - 1e-6))[None]
        logits[name] = best.expand(len(rows), -1)
    found = task_losses(model, logits, rows.labels, rows.known)
    return {name: float(loss) for name, loss in found.items()}


def mixed_precision(precision: str, device: torch.device) -> torch.autocast:
    """The context of the forward pass: bf16 products over fp32 weights where asked for, or where ``auto``
    finds a GPU that has them. Losses and evaluation are always fp32."""
    able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    wanted = precision == "bf16" or (precision == "auto" and able)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


class RankerTrainer:
    """The training of one ranker, epoch by epoch: model, average, optimiser, losses and the best so far.

    With ``tune`` rows the epoch with the least loss there is kept and training stops when it gets no better,
    else exactly ``epochs`` are run.
    """

    def __init__(
        self,
        model: RankerModel,
        fit: RankRows,
        tune: RankRows | None,
        config: RankerConfig,
        seed: int,
        epochs: int | None = None,
    ) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if model.position_tower is not None:
            model.position_tower.set_shares(fit.position, model.tabs(fit))
        self.autocast = mixed_precision(config.precision, device)
        self.model, self.fit, self.config = model.to(device), fit.to(device), config
        self.tune = None if tune is None else tune.to(device)
        self.generator = torch.Generator().manual_seed(seed)
        self.optimizer, self.average = _optimizer(model, config), WeightAverage(model, config.average)
        self.history = RankerHistory()
        self.best_loss, self.best_state = float("inf"), None
        self.base = constant_losses(model, self.tune) if self.tune is not None else {}
        self.epochs = epochs or config.epochs

    def state(self) -> dict[str, Any]:
        """Everything that later epochs depend on."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "average_steps": self.average.steps,
            "optimizer": self.optimizer.state_dict(),
            "rng": self.generator.get_state(),
            "epochs": self.history.epochs,
            "best": [self.history.best, self.best_loss],
            "best_state": self.best_state,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """The reverse of ``state``."""
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.average.steps = state["average_steps"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["rng"])
        self.history.epochs = list(state["epochs"])
        self.history.best, self.best_loss = state["best"]
        self.best_state = state["best_state"]

    def finished(self) -> bool:
        """Whether all epochs are run, or the last ones brought nothing."""
        done = len(self.history.epochs)
        return done >= self.epochs or (
            self.tune is not None and done - self.history.best >= self.config.patience
        )

    def epoch(self) -> dict[str, Any]:
        """Runs the next epoch; returns its losses."""
        number = len(self.history.epochs) + 1
        loss = _epoch(
            self.model, self.average, self.fit, self.config, self.optimizer, self.generator, self.autocast
        )
        entry: dict[str, Any] = {"epoch": number, "fit": loss}
        if self.tune is None:
            self.history.best = number
        else:
            entry["tune"] = evaluate_losses(self.average.model, self.tune)
            entry["relative"] = relative_loss(entry["tune"], self.base)
            if entry["relative"] < self.best_loss:
                self.best_loss, self.history.best = entry["relative"], number
                self.best_state = copy.deepcopy(self.average.model.state_dict())
        self.history.epochs.append(entry)
        return entry

    def kept(self) -> RankerModel:
        """The averaged model of the best epoch, the one to use."""
        if self.best_state is not None:
            self.average.model.load_state_dict(self.best_state)
        return self.average.model.cpu().eval()


def train_ranker(
    trainer: RankerTrainer, after_epoch: Callable[[dict[str, Any]], None] = lambda _: None
) -> tuple[RankerModel, RankerHistory]:
    """Runs the epochs that are left, with a call after each; the model to use and the losses."""
    bar = tqdm(total=trainer.epochs, initial=len(trainer.history.epochs), desc="ranker", leave=False)
    with bar:
        while not trainer.finished():
            entry = trainer.epoch()
            bar.update()
            bar.set_postfix(fit=f"{entry['fit']:.4f}")
            after_epoch(entry)
    return trainer.kept(), trainer.history
