"""Training of the multi-task ranker on rows of the log.

``RankRows`` holds transformed features of the rows and the vectors of their own moment; ``RankerModel``
assembles them and predicts the four heads. Click, like and finish have a log loss; watch time has one
output a bin, trained on the share of the bin that was watched, so that the widths times the probabilities
add up to the mean of watch_s. Training stops by the tune day; ``fit_calibration`` fits one affine map of the
logits for each head on the calibration day and folds it into the task's last layer.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .config import RankerConfig
from .features_reference import ENTITIES
from .networks import TASKS, Assemble, Column, Ranker, Tables
from .rows import chunks

# Edges of the watch-time bins in seconds: narrow where most watches end, wide in the long tail.
WATCH_EDGES = (
    0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60, 75, 90, 110, 130, 160, 190, 230, 300,
)  # fmt: skip
WATCH_WIDTHS = tuple(float(b - a) for a, b in itertools.pairwise(WATCH_EDGES))


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

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor | slice) -> RankRows:
        return RankRows(
            {entity: block[rows] for entity, block in self.dense.items()},
            {entity: block[rows] for entity, block in self.index.items()},
            {name: vector[rows] for name, vector in self.vectors.items()},
            self.video[rows], self.content, self.labels[rows], self.known[rows],
        )  # fmt: skip

    def to(self, device: torch.device) -> RankRows:
        """The rows on ``device``."""
        return RankRows(
            *(
                {name: one.to(device) for name, one in part.items()}
                for part in (self.dense, self.index, self.vectors)
            ),
            *(one.to(device) for one in (self.video, self.content, self.labels, self.known)),
        )

    def batch_vectors(self) -> dict[str, Tensor]:
        """All vectors of these rows as float32."""
        found = {name: vector.float() for name, vector in self.vectors.items()}
        return found | {"content": self.content[self.video]}


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

    def assemble(self, rows: RankRows) -> Tensor:
        """[n, width], ordered viewer, context, video, pair."""
        vectors = rows.batch_vectors()
        parts = [self.blocks[name](rows.dense[name], rows.index[name], vectors) for name in ENTITIES]
        return torch.cat(parts, dim=1)

    def forward(self, rows: RankRows) -> dict[str, Tensor]:
        x = nn.functional.dropout(self.assemble(rows), self.input_dropout, self.training)
        return self.ranker(x)

    @torch.no_grad()
    def predict(self, rows: RankRows) -> np.ndarray:
        """Heads, float64 [n, 4]."""
        self.eval()
        parts = [
            self.ranker.heads(self(rows.take(part))).double().numpy() for part in chunks(len(rows), 16_384)
        ]
        return np.concatenate(parts)

    @torch.no_grad()
    def logits(self, rows: RankRows) -> dict[str, Tensor]:
        """Logits of all rows by task."""
        self.eval()
        parts = [self(rows.take(part)) for part in chunks(len(rows), 16_384)]
        return {name: torch.cat([part[name] for part in parts]) for name in TASKS}


# ---- losses ----


def watch_shares(watch_s: Tensor, widths: Tensor) -> Tensor:
    """Share of each bin that was watched: clip((y - t_k) / width_k, 0, 1), [n, K]."""
    start = torch.cumsum(widths, 0) - widths
    return ((watch_s[:, None] - start) / widths).clamp(0, 1)


def bin_weights(widths: Tensor) -> Tensor:
    """How much a bin counts in the loss, adding up to 1: between alike (which orders best) and by width
    (the mean)."""
    weight = widths.sqrt()
    return weight / weight.sum()


def task_losses(
    model: Ranker, logits: Mapping[str, Tensor], labels: Tensor, known: Tensor
) -> dict[str, Tensor]:
    """Mean loss of each task over the rows whose label is known."""
    found = {}
    for column, name in enumerate(TASKS):
        target, mask = labels[:, column], known[:, column]
        if name == "watch_s":
            shares = watch_shares(target, model.widths_watch_s)
            each = nn.functional.binary_cross_entropy_with_logits(logits[name], shares, reduction="none")
            each = each @ bin_weights(model.widths_watch_s)
        else:
            each = nn.functional.binary_cross_entropy_with_logits(
                logits[name][:, 0], target, reduction="none"
            )
        found[name] = (each * mask).sum() / mask.sum().clamp_min(1)
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
        for own, new in zip(self.model.parameters(), model.parameters(), strict=True):
            own.lerp_(new, 1 - decay)


def _optimizer(model: RankerModel, config: RankerConfig) -> torch.optim.Optimizer:
    """Adam with large epsilons, most of all for the tables: a row that few impressions touch has small
    gradients, which Adam would blow up to full steps, so that rare ids learn noise. On KuaiRand it is
    worth 0.002 of AUC."""
    groups = [
        {"params": list(model.ranker.parameters()), "weight_decay": config.weight_decay},
        {"params": list(model.tables.parameters()), "lr": config.table_lr, "eps": config.table_epsilon},
    ]
    return torch.optim.Adam(groups, lr=config.lr, eps=config.epsilon)


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=generator)
    for start in range(0, max(count - size // 2, 1), size):
        yield order[start : start + size]


def _weighted(losses: Mapping[str, Tensor], config: RankerConfig) -> Tensor:
    return torch.stack([config.loss_weight[name] * loss for name, loss in losses.items()]).sum()


@torch.no_grad()
def evaluate_losses(model: RankerModel, rows: RankRows) -> dict[str, float]:
    """Mean loss of each task over all rows."""
    found = task_losses(model.ranker, model.logits(rows), rows.labels, rows.known)
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
            logits = model(batch)
        logits = {name: one.float() for name, one in logits.items()}
        loss = _weighted(task_losses(model.ranker, logits, batch.labels, batch.known), config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        average.update(model)
        total, steps = total + float(loss.detach()), steps + 1
    return total / max(steps, 1)


def relative_loss(losses: Mapping[str, float], base: Mapping[str, float]) -> float:
    """Mean over tasks of loss / loss of the constant prediction: tasks count alike at any base rate."""
    return float(np.mean([losses[name] / max(base[name], 1e-9) for name in TASKS]))


def constant_losses(model: RankerModel, rows: RankRows) -> dict[str, float]:
    """Losses of the best constant prediction."""
    logits = {}
    for column, name in enumerate(TASKS):
        target, mask = rows.labels[:, column], rows.known[:, column]
        shares = watch_shares(target, model.ranker.widths_watch_s) if name == "watch_s" else target[:, None]
        mean = (shares * mask[:, None]).sum(0) / mask.sum().clamp_min(1)
        logits[name] = torch.logit(mean.clamp(1e-6, 1 - 1e-6)).expand(len(target), -1)
    found = task_losses(model.ranker, logits, rows.labels, rows.known)
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


# ---- calibration ----


@dataclass(frozen=True)
class Affine:
    """z -> slope * z + shift on a head's logits."""

    slope: float
    shift: float


def fit_affine(logits: Tensor, target: Tensor, weight: Tensor, prior: float = 20.0) -> Affine:
    """Least weighted log loss over slope and shift; logits and target [n, K], weight [K].

    With the bins' widths as weights the shift's equation makes the mean of the head that of watch_s
    exactly. The slope is held near 1 by ``prior`` rows' worth of evidence, which matters only where
    positives are few.
    """
    z, y = logits.double(), target.double()
    weight = weight.double() / weight.double().sum()
    parameters = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-10
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        each = nn.functional.binary_cross_entropy_with_logits(
            z * parameters[0] + parameters[1], y, reduction="none"
        )
        loss = (each @ weight).mean() + 0.5 * prior / max(len(z), 1) * (parameters[0] - 1) ** 2
        loss.backward()
        return loss

    optimizer.step(closure)
    slope, shift = parameters.detach().tolist()
    return Affine(max(slope, 0.05), shift)


def fit_calibration(model: RankerModel, rows: RankRows) -> dict[str, Affine]:
    """The affine map of each head on the rows of the calibration day."""
    logits, found = model.logits(rows), {}
    for column, name in enumerate(TASKS):
        known = rows.known[:, column]
        target = rows.labels[known, column]
        widths = model.ranker.widths_watch_s if name == "watch_s" else torch.ones(1)
        shares = watch_shares(target, widths) if name == "watch_s" else target[:, None]
        found[name] = fit_affine(logits[name][known], shares, widths)
    return found


@torch.no_grad()
def fold(model: RankerModel, maps: Mapping[str, Affine]) -> None:
    """Writes the maps into the last layer of each task."""
    for name, one in maps.items():
        task = model.ranker.tasks[name]
        task.w2.mul_(one.slope)
        task.b2.mul_(one.slope).add_(one.shift)


def medians(logits: Tensor, widths: Tensor) -> np.ndarray:
    """Median watch_s of each row [n] from the bins: the probability of passing the middle of bin k is
    about its share.

    The bins' shares fall with k in truth but not always in the prediction, so they are made to fall first.
    """
    share = torch.cummin(torch.sigmoid(logits.double()), dim=1).values.numpy()
    width = widths.double().numpy()
    middle = np.cumsum(width) - width / 2
    below = (share >= 0.5).sum(axis=1)
    rows = np.arange(len(share))
    left, right = np.maximum(below - 1, 0), np.minimum(below, len(width) - 1)
    x0, x1 = np.where(below > 0, middle[left], 0.0), middle[right]
    s0, s1 = np.where(below > 0, share[rows, left], 1.0), share[rows, right]
    t = np.clip((s0 - 0.5) / np.maximum(s0 - s1, 1e-9), 0, 1)
    return np.where(below == len(width), width.sum(), x0 + t * (x1 - x0))


def typical_watch(logits: Tensor, widths: Tensor) -> np.ndarray:
    """expm1 of the mean of log1p(watch_s) [n], from the bins' logits [n, K]: each bin adds its step of log1p.

    It is what a regression on log1p estimates, and orders pairs better than the mean, ruled by the long tail.
    """
    edges = torch.cat([torch.zeros(1), torch.cumsum(widths, 0)]).double()
    steps = torch.diff(torch.log1p(edges))
    return torch.expm1(torch.sigmoid(logits.double()) @ steps).numpy()


def watch_readings(model: RankerModel, rows: RankRows) -> dict[str, np.ndarray]:
    """Median and typical watch_s of each row [n], from the same bins as E[watch_s]."""
    logits, widths = model.logits(rows)["watch_s"], model.ranker.widths_watch_s
    return {"median": medians(logits, widths), "typical": typical_watch(logits, widths)}
