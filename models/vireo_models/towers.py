"""Two-tower retrieval: viewer and video networks whose dot product ranks what will be watched long.

The loss is a softmax over sampled videos: those of the batch (sampled as often as they are watched) and
uniform draws; each logit is lowered by the log of the video's expected number of draws (logQ correction,
Yi et al., RecSys 2019), so that the towers estimate the viewer's own distribution and not its ratio to
popularity. The user tower reads the weighted mean of the item tower's outputs over recent watches, so
both are trained through the history too.

Training goes forward in time (``train_progressively``): first the history rows, then day by day. The
vectors of a ranker row come from towers that have seen only the days before it: otherwise ``dot_tower``
would know the labels of its own row, and the ranker would trust it more than it deserves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .config import TowerConfig
from .data import counters
from .features import Declaration
from .networks import Assemble, Column, Tables, TowerLayers
from .rows import Histories, Query, RowMaker, chunks

torch.sparse.check_sparse_tensor_invariants.disable()  # the places come from checked tables

HARD_FROM, HARD_TO = 20, 200  # places of the towers' ranking that hard negatives come from
POSITIVE = counters.LONG_VIEW | counters.LIKE


@dataclass
class ViewerBlock:
    """What the user tower reads of n rows."""

    dense: Tensor  # float32 [n, D]
    index: Tensor  # int64 [n, I]
    hist_video: Tensor  # int64 [n, 50]
    hist_weight: Tensor  # float32 [n, 50]
    hist_content: Tensor  # float16 [n, content_dim]

    def __len__(self) -> int:
        return len(self.dense)

    def take(self, rows: Tensor) -> ViewerBlock:
        return ViewerBlock(
            self.dense[rows],
            self.index[rows],
            self.hist_video[rows],
            self.hist_weight[rows],
            self.hist_content[rows],
        )


@dataclass
class Samples:
    """Positives to learn from: ``item[i]`` was watched long by a viewer in the state ``block[i]``."""

    item: Tensor  # int64 [n], video rows
    day: np.ndarray  # int32 [n], YYYYMMDD; 0 for history rows
    block: ViewerBlock


def torch_columns(maker: RowMaker, declaration: Declaration, names: list[str], entity: str) -> list[Column]:
    """Layout of ``names`` as the networks take it."""
    shapes = declaration.table_shapes(names)
    return [
        Column(
            c.name,
            c.kind,
            c.width,
            c.slot,
            c.table or "",
            c.vector or "",
            shapes.get(c.table or "", (0, 0))[0],
        )
        for c in maker.space.columns(names, entity)
    ]


def history_vector(table: Tensor, block: ViewerBlock) -> Tensor:
    """Weighted mean of the rows of ``table`` [videos, dim] over recent watches: [n, dim]."""
    return weighted_mean(block.hist_video, block.hist_weight, table)


def weighted_mean(video: Tensor, weight: Tensor, table: Tensor) -> Tensor:
    """video, weight [n, 50] and table [videos, dim] -> [n, dim]; a sparse product, as most weights are 0."""
    there = weight > 0
    row = torch.arange(len(video))[:, None].expand_as(video)[there]
    place = torch.stack([row, video[there]])
    matrix = torch.sparse_coo_tensor(place, weight[there].to(table.dtype), (len(video), len(table)))
    return torch.sparse.mm(matrix, table)


class TowerModel(nn.Module):
    """User and item tower over one catalogue; ``content`` is float32 [videos, content_dim]."""

    def __init__(self, maker: RowMaker, config: TowerConfig, content: np.ndarray) -> None:
        super().__init__()
        declaration, videos = maker.declaration, len(maker.data.videos)
        shapes = declaration.table_shapes([*declaration.user_inputs, *declaration.item_inputs])
        self.tables = Tables(shapes)
        unknown = {"tower.video": config.unknown_rate, "tower.creator": config.unknown_rate}
        user_columns = torch_columns(maker, declaration, declaration.user_inputs, "viewer")
        item_columns = torch_columns(maker, declaration, declaration.item_inputs, "video")
        self.user_rows, self.item_rows = (
            Assemble(user_columns, self.tables),
            Assemble(item_columns, self.tables, unknown),
        )
        self.user = TowerLayers(self.user_rows.width, [*config.user_layers, config.dim], config.dropout)
        self.item = TowerLayers(self.item_rows.width, [*config.item_layers, config.dim], config.dropout)
        dense, index = maker.space.transform(
            declaration.item_inputs, "video", maker.video_raw(np.arange(videos))
        )
        self.register_buffer("item_dense", torch.from_numpy(dense), persistent=False)
        self.register_buffer("item_index", torch.from_numpy(index).long(), persistent=False)
        self.register_buffer("content", torch.from_numpy(content), persistent=False)

    def item_vectors(self, unknown_videos: bool = False) -> Tensor:
        """[videos, dim]; ``unknown_videos`` shows every id as unknown, as for a video uploaded later."""
        index = self.item_index
        if unknown_videos:
            slot = next(column.slot for column in self.item_rows.columns if column.table == "tower.video")
            index = index.clone()
            index[:, slot] = 0
        return self.item(self.item_rows(self.item_dense, index, {"content": self.content}))

    def user_vectors(self, block: ViewerBlock, items: Tensor) -> Tensor:
        """[n, dim] for viewers whose history vector is taken over ``items`` [videos, dim]."""
        vectors = {"hist_tower": history_vector(items, block), "hist_content": block.hist_content.float()}
        return self.user(self.user_rows(block.dense, block.index, vectors))


# ---- samples ----


def viewer_block(maker: RowMaker, query: Query, content: np.ndarray) -> ViewerBlock:
    """The user tower's view of the rows of ``query``; content float32 [videos, content_dim]."""
    names = maker.declaration.user_inputs
    dense, index = maker.space.transform(names, "viewer", maker.viewer_raw(query))
    histories = maker.histories(query.recent)
    return ViewerBlock(
        torch.from_numpy(dense),
        torch.from_numpy(index).long(),
        torch.from_numpy(histories.video).long(),
        torch.from_numpy(histories.weight),
        torch.from_numpy(history_content(histories, content)),
    )


def history_content(histories: Histories, content: np.ndarray) -> np.ndarray:
    """hist_content of each row, float16 [n, content_dim]."""
    table = torch.from_numpy(content)
    video, weight = torch.from_numpy(histories.video).long(), torch.from_numpy(histories.weight)
    parts = [weighted_mean(video[p], weight[p], table).half().numpy() for p in chunks(len(video), 16_384)]
    return np.concatenate(parts)


def positives(maker: RowMaker, config: TowerConfig) -> tuple[np.ndarray, counters.Recent, np.ndarray]:
    """Events to learn from: their numbers in ``maker.events``, what came before, and viewers.

    A positive is a long view or like of a video that is not among the viewer's recent watches, as recall
    counts it.
    """
    known = maker.events
    viewer = np.repeat(np.arange(len(known.offsets) - 1), np.diff(known.offsets))
    event = np.flatnonzero(known.flags & POSITIVE)
    start, end = known.offsets[viewer[event]], event.copy()
    logged = known.time_ms[event] >= 0
    before = counters.recent_at(maker.data, known, viewer[event][logged], known.time_ms[event][logged])
    end[logged] = before.end
    start = np.maximum(start, end - counters.RECENT_LENGTH)
    enough = end - start >= np.where(logged, 1, config.least_context)
    recent = counters.Recent(known, start[enough], end[enough])
    event = event[enough]
    fresh = _not_recent(recent, known.video[event])
    recent = counters.Recent(known, recent.start[fresh], recent.end[fresh])
    return event[fresh], recent, viewer[event[fresh]]


def _not_recent(recent: counters.Recent, video: np.ndarray) -> np.ndarray:
    """bool [n]: the video is not among the recent watches of its row."""
    steps = np.arange(counters.RECENT_LENGTH)
    found = np.ones(len(video), bool)
    for part in chunks(len(video)):
        index = recent.start[part][:, None] + steps
        there = index < recent.end[part][:, None]
        same = recent.events.video[np.where(there, index, 0)] == video[part][:, None]
        found[part] = ~(same & there).any(axis=1)
    return found


def _sample_query(viewer: np.ndarray, video: np.ndarray, recent: counters.Recent) -> Query:
    none = np.zeros((len(viewer), 6))
    nothing, nowhere = np.zeros(len(viewer), np.int64), np.full(len(viewer), -1, np.int64)
    return Query(viewer, video, nothing, np.zeros(len(viewer)), recent, none, none, nowhere)


def tower_query(maker: RowMaker, config: TowerConfig, rng: np.random.Generator) -> tuple[Query, np.ndarray]:
    """Rows of all positives (the first part thinned to ``most_samples``) and the log's day of each.

    The log's day and not that of the time: an impression that began before midnight may be booked on the
    day after, and its row of the ranker then has the vectors of that day.
    """
    event, recent, viewer = positives(maker, config)
    day = maker.events.day[event]
    old = np.flatnonzero(day == 0)
    if len(old) > config.most_samples:
        drop = rng.permutation(old)[config.most_samples :]
        keep = np.setdiff1d(np.arange(len(day)), drop)
        event, viewer, day = event[keep], viewer[keep], day[keep]
        recent = counters.Recent(recent.events, recent.start[keep], recent.end[keep])
    return _sample_query(viewer, maker.events.video[event], recent), day


def make_samples(maker: RowMaker, query: Query, day: np.ndarray, content: np.ndarray) -> Samples:
    """Samples of the rows of ``tower_query``."""
    return Samples(torch.from_numpy(query.video.astype(np.int64)), day, viewer_block(maker, query, content))


# ---- loss ----


def sampled_softmax(
    user: Tensor,
    items: Tensor,
    target: Tensor,
    drawn: Tensor,
    log_expected: Tensor,
    temperature: float,
    hard: Tensor | None = None,
) -> Tensor:
    """Mean loss of n positives against the batch's own videos, ``drawn`` ones and each row's ``hard`` ones.

    user [n, dim], items [videos, dim], target [n], drawn [m] and hard [n, h] video rows; log_expected
    [videos] is the log of how often a video is expected among the n + m candidates, zeros for no
    correction. Hard ones are not drawn by chance and get none. A candidate equal to a row's target is
    struck out of that row.
    """
    candidates = torch.cat([target, drawn])
    logits = user @ items[candidates].T / temperature - log_expected[candidates]
    same = candidates[None, :] == target[:, None]
    same[torch.arange(len(target)), torch.arange(len(target))] = False
    logits = logits.masked_fill(same, float("-inf"))
    if hard is not None:
        own = torch.einsum("nd,nhd->nh", user, items[hard]) / temperature
        logits = torch.cat([logits, own.masked_fill(hard == target[:, None], float("-inf"))], dim=1)
    return nn.functional.cross_entropy(logits, torch.arange(len(target)))


@torch.no_grad()
def hard_negatives(
    user: Tensor, items: Tensor, block: ViewerBlock, count: int, generator: torch.Generator
) -> Tensor:
    """``count`` videos for each row [n, count] from places HARD_FROM to HARD_TO of the towers' own ranking,
    recent watches left out: near misses and not the very best, which are often positives yet to come
    (Huang et al., KDD 2020)."""
    scores = user @ items.T
    watched = torch.zeros_like(scores).scatter_add_(1, block.hist_video, block.hist_weight)
    ranked = scores.masked_fill_(watched > 0, float("-inf")).topk(min(HARD_TO, len(items)), dim=1).indices
    first = min(HARD_FROM, ranked.shape[1] // 2)
    picked = torch.randint(first, ranked.shape[1], (len(user), count), generator=generator)
    return ranked.gather(1, picked)


def log_expected_draws(target_count: Tensor, batch: int, uniform: int) -> Tensor:
    """log E[draws of each video] among ``batch`` positives and ``uniform`` draws, from its count of
    positives [videos]."""
    share = target_count / target_count.sum().clamp_min(1)
    return torch.log((batch * share + uniform / len(target_count)).clamp_min(1e-9))


# ---- training ----


class TowerTrainer:
    """Adam over a model; ``run`` makes passes over the samples of one part of the log after another."""

    def __init__(self, model: TowerModel, config: TowerConfig, seed: int) -> None:
        self.model, self.config = model, config
        tables = list(model.tables.parameters())
        others = [*model.user.parameters(), *model.item.parameters()]
        groups = [
            {"params": others},
            {"params": tables, "eps": config.table_epsilon},
        ]  # why: ranker.py, _optimizer
        self.optimizer = torch.optim.Adam(groups, lr=config.lr, weight_decay=config.weight_decay)
        self.rng = torch.Generator().manual_seed(seed)
        self.losses: list[dict[str, Any]] = []
        self.part, self.epoch = 0, 0  # parts that are done, and passes over the next one
        self.after_epoch: Callable[[], None] = lambda: None

    def state(self) -> dict[str, Any]:
        """Everything that later passes depend on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "losses": self.losses,
            "place": [self.part, self.epoch],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """The reverse of ``state``."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["rng"])
        self.losses = list(state["losses"])
        self.part, self.epoch = state["place"]

    def run(self, samples: Samples, rows: np.ndarray, epochs: int, lr: float, label: str) -> None:
        """``epochs`` passes over the samples ``rows``, those that are done left out; the rate falls to a
        tenth along a cosine."""
        if len(rows):
            log_expected = self._log_expected(samples, rows)
            self.model.train()
            bar = tqdm(range(self.epoch, epochs), desc=f"towers, {label}", leave=False)
            for epoch in bar:
                loss = self._pass(
                    samples, rows, log_expected, lambda done, at=epoch: (at + done) / epochs, lr
                )
                self.losses.append({"part": label, "epoch": epoch + 1, "loss": loss})
                bar.set_postfix(loss=f"{loss:.4f}")
                self.epoch = epoch + 1
                self.after_epoch()
            self.model.eval()
        self.part, self.epoch = self.part + 1, 0

    def _log_expected(self, samples: Samples, rows: np.ndarray) -> Tensor:
        """The correction of the softmax for the samples ``rows``, [videos]."""
        videos = len(self.model.content)
        if not self.config.logq:
            return torch.zeros(videos)
        counts = torch.bincount(samples.item[rows], minlength=videos).float()
        return log_expected_draws(counts, min(self.config.batch, len(rows)), self.config.uniform_negatives)

    def _pass(
        self,
        samples: Samples,
        rows: np.ndarray,
        log_expected: Tensor,
        share: Callable[[float], float],
        lr: float,
    ) -> float:
        """One pass in a new order; ``share`` of the whole training by the share of the pass. Mean loss."""
        batch = min(self.config.batch, len(rows))
        steps = max(len(rows) // batch, 1)
        order = torch.randperm(len(rows), generator=self.rng).numpy()
        total = 0.0
        for step in range(steps):
            self._set_rate(lr * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * share(step / steps)))))
            picked = torch.from_numpy(rows[order[step * batch : (step + 1) * batch]])
            total += self._step(samples, picked, log_expected)
        return total / steps

    def _set_rate(self, lr: float) -> None:
        others, tables = self.optimizer.param_groups
        others["lr"], tables["lr"] = float(lr), float(lr * self.config.table_speed)

    def _step(self, samples: Samples, picked: Tensor, log_expected: Tensor) -> float:
        config, block = self.config, samples.block.take(picked)
        items = self.model.item_vectors()
        user = self.model.user_vectors(block, items)
        drawn = torch.randint(len(items), (config.uniform_negatives,), generator=self.rng)
        hard = None
        if config.hard_negatives:
            hard = hard_negatives(user, items, block, config.hard_negatives, self.rng)
        target = samples.item[picked]
        loss = sampled_softmax(user, items, target, drawn, log_expected, config.temperature, hard)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


@torch.no_grad()
def served_items(model: TowerModel) -> np.ndarray:
    """Item vectors as the bundle holds them: float16, [videos, dim]."""
    model.eval()
    return model.item_vectors().numpy().astype(np.float16)


@torch.no_grad()
def serve_users(model: TowerModel, block: ViewerBlock, items: np.ndarray) -> np.ndarray:
    """User tower outputs float32 [n, dim] over the vectors ``items`` that the bundle holds."""
    model.eval()
    table = torch.from_numpy(items.astype(np.float32))
    rows = torch.arange(len(block))
    parts = [model.user_vectors(block.take(rows[part]), table).numpy() for part in chunks(len(block), 16_384)]
    return np.concatenate(parts)


def train_progressively(
    trainer: TowerTrainer, samples: Samples, later_days: list[int], before: Callable[[int], None]
) -> None:
    """All before the first of ``later_days`` at once (history rows are day 0), then each of them, from where
    ``trainer`` is; ``before(day)`` is called when the towers know exactly what came before the day."""
    config = trainer.config
    if trainer.part == 0:
        first = np.flatnonzero(samples.day < later_days[0])
        trainer.run(samples, first, config.epochs, config.lr, "first part")
    for day in later_days[max(trainer.part - 1, 0) :]:
        if trainer.epoch == 0:
            before(day)
        rows = np.flatnonzero(samples.day == day)
        trainer.run(samples, rows, config.day_epochs, config.day_lr, str(day))
