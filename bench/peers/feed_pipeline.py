"""The way of a request in a Python service: faiss-cpu, vectorised NumPy, onnxruntime, under Vireo's defaults.

Left out, as Vireo leaves it out here: what was served is not remembered (rerank.record_served=false).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from feed_bundle import F32, HEADS, UNKNOWN_TIME, Bundle

from vireo_models.features_reference import history_fields

SOURCES = ("two_tower", "content", "trending", "social", "subscriptions")
WANTED = {"two_tower": 100, "content": 100, "trending": 50, "social": 50, "subscriptions": 50}
RECENT_MAX, HOUR_MS = 50, 3_600_000.0
CLICK, LIKE, LONG_VIEW, FINISH = 1, 2, 4, 8
SOCIAL_HALF_LIFE_H, SUBSCRIPTION_MAX_AGE_H, FRESH_MAX_AGE_H = 72.0, 336.0, 72.0
ADULT_AGE, LAMBDA = 18, 0.8
CAPS = (("creator", 10, 2, 3), ("topic", 10, 4, 2))  # by, window, most, its place in give_way
FRESHNESS, FRESHNESS_LEVEL = ((10, 1), (30, 3)), 1


class Recent:
    """A viewer's latest watches, oldest first."""

    def __init__(self, bundle: Bundle, viewer: int) -> None:
        span = bundle.recent[viewer] if viewer >= 0 else slice(0, 0)
        self.all = np.unique(bundle.recent_video[span])
        span = slice(max(span.start, span.stop - RECENT_MAX), span.stop)
        self.video, self.flags = bundle.recent_video[span], bundle.recent_flags[span]
        self.time_ms, self.watch_s = bundle.recent_ms[span], bundle.recent_watch_s[span]

    def fields(self, now_ms: float) -> np.ndarray:
        """recent_n and the viewer fields that follow it, [11]."""
        age_s = (np.maximum(now_ms - self.time_ms, 0) / 1000).astype(F32)
        count = np.array([self.video.size])
        return history_fields(age_s[None], self.watch_s[None], self.flags[None], count)[0]

    def weights(self) -> np.ndarray:
        rank = np.arange(self.video.size - 1, -1, -1)
        strong = self.flags & (LIKE | LONG_VIEW | FINISH) > 0
        weight = np.where(strong, 1.0, np.where(self.flags & CLICK > 0, 0.1, 0.0)) * 0.5 ** (rank / 16.0)
        total = weight.sum()
        return (weight / total if total > 0 else weight).astype(F32)


class Pipeline:
    """One process's service of a bundle."""

    def __init__(self, folder: Path, start_ms: int | None = None) -> None:
        faiss.omp_set_num_threads(1)
        self.bundle = Bundle(folder, start_ms)
        self.shown = np.flatnonzero(self.bundle.safe)  # what no viewer may see is in no index
        self.tower_index = faiss.IndexFlatIP(self.bundle.tower.shape[1])
        self.tower_index.add(self.bundle.tower[self.shown])
        self.content_index = faiss.IndexFlatIP(self.bundle.content.shape[1])
        self.content_index.add(self.bundle.content[self.shown])

    # ---- retrieval ----

    def search(
        self, index: Any, query: np.ndarray, skip: np.ndarray, want: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best rows that are not skipped: as many more are asked for."""
        score, place = index.search(query[None, :], min(want + skip.size, index.ntotal))
        row = self.shown[place[0]]
        keep = ~np.isin(row, skip)
        return row[keep][:want], score[0][keep][:want]

    def user_tower(self, raw: np.ndarray, context: np.ndarray, vectors: dict[str, np.ndarray]) -> np.ndarray:
        blocks = self.bundle.blocks
        x = np.concatenate(
            [blocks["tower", "viewer"].rows(raw, vectors), blocks["tower", "context"].rows(context, {})],
            axis=1,
        )
        for weight, bias, relu in self.bundle.layers:
            x = x @ weight + bias
            if relu:
                np.maximum(x, 0, out=x)
        norm = np.linalg.norm(x)
        return (x[0] / norm if norm >= 1e-12 else np.zeros_like(x[0])).astype(F32)

    def social(self, viewer: int, skip: np.ndarray, now_ms: int) -> tuple[np.ndarray, np.ndarray]:
        """Of a friend's watches of one video the strongest counts; friends add up."""
        bundle = self.bundle
        friends = bundle.friends[viewer] if viewer >= 0 else []
        parts = [bundle.recent[f] for f in friends]
        if not parts:
            return np.empty(0, np.int64), np.empty(0)
        at = np.concatenate([np.arange(p.start, p.stop) for p in parts])
        who = np.repeat(np.arange(len(parts)), [p.stop - p.start for p in parts])
        flags = bundle.recent_flags[at]
        weight = np.where(
            flags & LIKE > 0,
            2.0,
            np.where(flags & FINISH > 0, 1.5, np.where(flags & LONG_VIEW > 0, 1.0, 0.0)),
        )
        age_h = np.maximum((now_ms - bundle.recent_ms[at]) / HOUR_MS, 0)
        weight = np.nan_to_num(weight * np.exp2(-age_h / SOCIAL_HALF_LIFE_H))
        video = bundle.recent_video[at]
        keep = (weight > 0) & ~np.isin(video, skip)
        key, weight = video[keep] * len(parts) + who[keep], weight[keep]
        order = np.argsort(key, kind="stable")
        key, weight = key[order], weight[order]
        if not key.size:
            return np.empty(0, np.int64), np.empty(0)
        first = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
        best, row = np.maximum.reduceat(weight, first), key[first] // len(parts)
        start = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
        total, row = np.add.reduceat(best, start), row[start]
        top = np.lexsort((row, -total))[: WANTED["social"]]
        return row[top], total[top]

    def subscriptions(self, viewer: int, skip: np.ndarray, now_ms: int) -> tuple[np.ndarray, np.ndarray]:
        bundle = self.bundle
        creators = bundle.follows[viewer] if viewer >= 0 else []
        parts = [bundle.uploads[c][: WANTED["subscriptions"] + skip.size] for c in creators]
        row = np.concatenate(parts) if parts else np.empty(0, np.int64)
        age_h = (now_ms - bundle.upload_ms[row].astype(np.float64)) / HOUR_MS
        keep = (age_h >= 0) & (age_h <= SUBSCRIPTION_MAX_AGE_H) & (bundle.upload_ms[row] != UNKNOWN_TIME)
        keep &= ~np.isin(row, skip)
        row, age_h = row[keep], age_h[keep]
        top = np.lexsort((row, age_h))[: WANTED["subscriptions"]]
        return row[top], -age_h[top]

    # ---- ranking ----

    def pair_raw(
        self, row: np.ndarray, recent: Recent, now_ms: int, dots: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        bundle = self.bundle
        raw = np.empty((row.size, 8))
        upload = bundle.upload_ms[row]
        raw[:, 0] = np.where(
            upload == UNKNOWN_TIME, np.nan, np.maximum((now_ms - upload.astype(np.float64)) / HOUR_MS, 0)
        )
        raw[:, 1], raw[:, 2] = dots
        long_view = recent.flags & LONG_VIEW > 0
        for at, attribute in ((3, bundle.topic), (5, bundle.creator)):
            mine = attribute[row][:, None]
            same = (mine == attribute[recent.video][None, :]) & (mine >= 0)
            raw[:, at], raw[:, at + 1] = same.sum(axis=1), (same & long_view).sum(axis=1)
        raw[:, 7] = (row[:, None] == recent.video[None, :]).sum(axis=1)
        return raw

    def heads(self, row: np.ndarray, request: np.ndarray, pair: np.ndarray) -> np.ndarray:
        bundle = self.bundle
        x = np.empty((row.size, bundle.width), F32)
        x[:, : bundle.request_width] = request
        x[:, bundle.request_width : bundle.request_width + bundle.video_block.shape[1]] = bundle.video_block[
            row
        ]
        x[:, bundle.request_width + bundle.video_block.shape[1] :] = bundle.blocks["ranker", "pair"].rows(
            pair, {}
        )
        return bundle.ranker.run(None, {"rows": x})[0]

    def score(self, row: np.ndarray, heads: np.ndarray) -> np.ndarray:
        values = {name: heads[:, i] for i, name in enumerate(HEADS)}
        values["duration_s"] = self.bundle.duration_s[row]
        return sum(eval(term, {"__builtins__": {}}, values) for term in self.bundle.terms)  # type: ignore[return-value]

    # ---- guardrails ----

    def allowed(self, row: np.ndarray, score: np.ndarray, viewer: int) -> np.ndarray:
        bundle = self.bundle
        age = float(bundle.age[viewer]) if viewer >= 0 else np.nan
        age = age if age >= 0 else 0.0
        limit = bundle.min_age[row]
        old_enough = np.where(limit == 255, age >= ADULT_AGE, limit <= age)
        return bundle.safe[row] & old_enough & np.isfinite(score)

    def select(self, row: np.ndarray, score: np.ndarray, fresh: np.ndarray, want: int) -> list[int]:
        """Greedy MMR under caps and freshness; rules give way in their order, the lowest level first."""
        bundle = self.bundle
        if not row.size:
            return []
        low, high = float(score.min()), float(score.max())
        quality = (score - low) / (high - low) if high > low else np.ones_like(score)
        direction = bundle.direction[row]
        group = {"creator": bundle.creator[row], "topic": bundle.topic[row]}
        nearest, free = np.zeros(row.size), np.ones(row.size, bool)
        chosen: list[int] = []
        count = {by: np.zeros(row.size, np.int64) for by, *_ in CAPS}
        fresh_placed = 0
        while len(chosen) < want and free.any():
            level = np.zeros(row.size, np.int64)
            if any(
                len(chosen) < by <= want and fresh_placed + by - len(chosen) <= least
                for by, least in FRESHNESS
            ):
                level[~fresh] = FRESHNESS_LEVEL
            for by, _, most, mine in sorted(CAPS, key=lambda cap: cap[3]):
                level[count[by] >= most] = mine
            level[~free] = 99
            value = np.where(level == level.min(), LAMBDA * quality - (1 - LAMBDA) * nearest, -np.inf)
            best = int(value.argmax())
            chosen.append(best)
            free[best] = False
            fresh_placed += int(fresh[best])
            np.maximum(nearest, direction @ direction[best], out=nearest)
            for by, window, _, _ in CAPS:
                if group[by][best] >= 0:
                    count[by][group[by] == group[by][best]] += 1
                if len(chosen) >= window and group[by][chosen[-window]] >= 0:
                    count[by][group[by] == group[by][chosen[-window]]] -= 1
        return chosen

    # ---- the whole ----

    def recommend(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a body of POST /v1/recommend."""
        bundle, now_ms = self.bundle, int(time.time() * 1000)
        viewer = bundle.viewer_of.get(str(request["user_id"]), -1)
        recent = Recent(bundle, viewer)
        excluded = [bundle.row_of[i] for i in request.get("exclude_ids", ()) if i in bundle.row_of]
        skip = np.union1d(recent.all, np.array(excluded, np.int64)) if excluded else recent.all
        weight = recent.weights()
        vectors = {
            "hist_tower": weight @ bundle.tower[recent.video],
            "hist_content": weight @ bundle.content[recent.video],
        }
        viewer_raw, context = (
            bundle.viewer_raw[viewer : viewer + 1 or None].copy(),
            bundle.context_raw(now_ms),
        )
        viewer_raw[0, 7:18] = recent.fields(now_ms)
        vectors["user_tower"] = self.user_tower(viewer_raw, context, vectors)
        found = {
            "two_tower": self.search(self.tower_index, vectors["user_tower"], skip, WANTED["two_tower"]),
            "trending": self._trending(skip),
            "social": self.social(viewer, skip, now_ms),
            "subscriptions": self.subscriptions(viewer, skip, now_ms),
        }
        if recent.video.size:
            found["content"] = self.search(
                self.content_index, vectors["hist_content"], skip, WANTED["content"]
            )
        # A video keeps the place of its best rank, sources in their order.
        ranks = [(name, *found[name]) for name in SOURCES if name in found]
        rows = np.concatenate([part for _, part, _ in ranks])
        order = np.lexsort(
            (
                np.repeat(np.arange(len(ranks)), [part.size for _, part, _ in ranks]),
                np.concatenate([np.arange(part.size) for _, part, _ in ranks]),
            )
        )
        unique, first = np.unique(rows[order], return_index=True)
        row = unique[np.argsort(first)]
        dots = bundle.tower[row] @ vectors["user_tower"], bundle.content[row] @ vectors["hist_content"]
        pair = self.pair_raw(row, recent, now_ms, dots)
        blocks = bundle.blocks
        request_part = np.concatenate(
            [
                blocks["ranker", "viewer"].rows(viewer_raw, vectors),
                blocks["ranker", "context"].rows(context, {}),
            ],
            axis=1,
        )
        heads = self.heads(row, request_part, pair)
        score = self.score(row, heads)
        keep = np.flatnonzero(self.allowed(row, score, viewer))
        chosen = keep[
            self.select(row[keep], score[keep], pair[keep, 0] < FRESH_MAX_AGE_H, request.get("count", 30))
        ]
        return self._answer(request, row[chosen], heads[chosen], score[chosen], ranks)

    def _trending(self, skip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        row = self.bundle.trending[: WANTED["trending"] + skip.size]
        row = row[~np.isin(row, skip)][: WANTED["trending"]]
        return row, np.zeros(row.size)

    def _answer(
        self,
        request: dict[str, Any],
        row: np.ndarray,
        heads: np.ndarray,
        score: np.ndarray,
        ranks: list[tuple[str, np.ndarray, np.ndarray]],
    ) -> dict[str, Any]:
        bundle = self.bundle
        places: dict[int, list[dict[str, Any]]] = {int(r): [] for r in row}
        for name, found, value in ranks:
            for at in np.flatnonzero(np.isin(found, row)):
                places[int(found[at])].append({"name": name, "rank": int(at) + 1, "score": float(value[at])})
        items = [
            {
                "id": bundle.id[r],
                "position": i + 1,
                "score": float(score[i]),
                "heads": dict(zip(HEADS, heads[i].tolist(), strict=True)),
                "sources": places[int(r)],
                "title": bundle.title[r],
                "creator": bundle.creator_id[r],
                "topic": bundle.topic_name[r],
                "duration_s": float(bundle.duration_s[r]),
            }
            for i, r in enumerate(row.tolist())
        ]
        return {
            "request_id": request.get("request_id", ""),
            "model_version": bundle.manifest["model_version"],
            "coverage": {
                "sources": [{"name": n, "status": "ok", "returned": int(f.size)} for n, f, _ in ranks],
                "degraded": [],
            },
            "items": items,
        }
