"""A seeded simulator of a short-video platform, with its ground truth.

``simulate(SimulationParams(...))`` draws a platform (``sim_world``), lets its viewers open the app hour by
hour, answers them with a logging policy that mixes popularity, noisy interest and chance, and records what
they do (``sim_behaviour``). The first ``history_days`` become the history without times, the rest the log.
One seed gives one data set, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from tqdm import tqdm

from .. import schema
from ..schema import Dataset, as_dtype, finish_of, make_frame, watch_of
from .sim_behaviour import PAGE, TABS, Behaviour, Outcomes
from .sim_titles import FORMATS, MOODS, TOPICS
from .sim_world import (
    COUNTRIES,
    DAY_MS,
    DEVICES,
    LANGUAGES,
    Videos,
    Viewers,
    World,
    dot,
    make_world,
)

HOUR_MS = 3_600_000
HISTORY_LENGTH = 50
TAB_SHARE = np.array([0.18, 0.10, 0.72])  # of sessions, in the order of TABS
# Share of a day's sessions that start in each hour.
DAY_CURVE = np.array([3, 2, 1, 1, 1, 1, 2, 4, 5, 4, 4, 4, 6, 6, 5, 4, 4, 5, 6, 7, 9, 10, 8, 5], float)
DAY_CURVE /= DAY_CURVE.sum()
# Candidates of a request: a uniform draw for each position, then popular ones, ones of liked topics, any.
POPULAR, LIKED, ANY = 20, 26, 10


def _timestamp(text: str) -> pd.Timestamp | None:
    """The moment that a text names, or None."""
    try:
        moment = pd.Timestamp(text)
    except ValueError:
        return None
    return moment if isinstance(moment, pd.Timestamp) and moment.tz is None else None


@dataclass(frozen=True)
class SimulationParams:
    """Size and seed of a simulated platform."""

    seed: int = 1
    viewers: int = 5000
    videos: int = 20000
    creators: int = 1500
    days: int = 28
    history_days: int = 10
    sessions_per_day: float = 0.4
    random_share: float = 0.1
    follows: float = 10.0
    friends: float = 8.0
    conflict: float = 0.0  # of clicks with finishes and likes, sim_behaviour.py
    position_bias: float = 1.0  # how fast looking at a page ends
    policy_affinity: float = 0.5  # weight of the true affinity in the logging policy
    policy_popularity: float = 0.25  # and of the logarithm of a video's clicks so far
    start: str = "2026-01-05"

    def __post_init__(self) -> None:
        lows = {"viewers": 2, "videos": 100, "creators": 1, "days": 1, "history_days": 0, "seed": 0}
        for name, low in lows.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise ValueError(f"{name}={value}: a whole number of at least {low} is wanted")
        highs = {
            "sessions_per_day": 20.0,
            "random_share": 1.0,
            "conflict": 1.0,
            "position_bias": 100.0,
            "policy_affinity": 10.0,
            "policy_popularity": 10.0,
            "follows": 40.0,
            "friends": 1000.0,
        }
        for name, high in highs.items():
            if not 0 <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)} is outside 0..{high:g}")
        if _timestamp(self.start) is None:
            raise ValueError(f"start={self.start}: a day as 2026-01-05 is wanted")

    @classmethod
    def parse(cls, text: str) -> SimulationParams:
        """From ``name=value,name=value``; an unknown name is an error."""
        kinds = {field.name: type(field.default) for field in fields(cls)}
        values = {}
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            if name not in kinds:
                raise ValueError(f"{name!r} is none of {', '.join(kinds)}")
            try:
                values[name] = kinds[name](value)
            except ValueError as error:
                raise ValueError(f"{name}={value}: a value as {getattr(cls, name)} is wanted") from error
        return cls(**values)

    @property
    def start_ms(self) -> int:
        """First millisecond of the log."""
        return int(pd.Timestamp(self.start).value // 1_000_000)

    @property
    def first_ms(self) -> int:
        """First millisecond of the history."""
        return self.start_ms - self.history_days * DAY_MS

    @property
    def as_of_ms(self) -> int:
        """End of the log."""
        return self.start_ms + self.days * DAY_MS


def simulate(params: SimulationParams | None = None, progress: bool = False) -> Dataset:
    """Runs the simulator; ``progress`` shows a bar over the hours."""
    params = params or SimulationParams()
    world = make_world(
        seed=params.seed,
        viewers=params.viewers,
        videos=params.videos,
        creators=params.creators,
        first_ms=params.first_ms,
        as_of_ms=params.as_of_ms,
        follows=params.follows,
        friends=params.friends,
    )
    platform = _Platform(world, params)
    for hour in tqdm(range(params.first_ms, params.as_of_ms, HOUR_MS), disable=not progress, unit="h"):
        platform.run_hour(hour)
    return _dataset(params, world, platform.behaviour, platform.log())


class _Groups:
    """Videos of each topic or creator, in order of upload."""

    def __init__(self, group: np.ndarray, count: int, upload_ms: np.ndarray) -> None:
        self.order = np.argsort(group, kind="stable")
        self.start = np.searchsorted(group[self.order], np.arange(count + 1))
        self.upload = upload_ms[self.order]
        self.group = group[self.order]

    def uploaded(self, time_ms: int) -> np.ndarray:
        """How many videos of each group are there at a time."""
        there = self.group[self.upload <= time_ms]
        return np.bincount(there, minlength=len(self.start) - 1)

    def pick(self, rng: np.random.Generator, group: np.ndarray, there: np.ndarray) -> np.ndarray:
        """A video of each group, half of the time one of the latest; -1 where the group is empty."""
        size = there[group]
        new = np.minimum(rng.exponential(12.0, group.shape).astype(np.int64), size - 1)
        late = rng.random(group.shape) < 0.5
        place = np.where(late, size - 1 - new, (rng.random(group.shape) * size).astype(np.int64))
        return np.where(size > 0, self.order[np.minimum(self.start[group] + place, len(self.order) - 1)], -1)


@dataclass(frozen=True)
class _Requests:
    """r requests of the same moment of their sessions."""

    viewer: np.ndarray
    time_ms: np.ndarray
    tab: np.ndarray


class _Platform:
    """The logging policy with what it knows, and the log it writes."""

    def __init__(self, world: World, params: SimulationParams) -> None:
        self.world, self.params = world, params
        self.behaviour = Behaviour(world, params.conflict, params.position_bias)
        self.rng = np.random.default_rng(np.random.SeedSequence((params.seed, 7)))
        viewers, videos = len(world.viewers.activity), len(world.videos.topic)
        self.popularity = np.zeros(videos)  # clicks, halved every day
        self.seen = np.zeros((viewers, (videos + 7) // 8), np.uint8)  # a bit a video
        self.busy_until = np.zeros(viewers)
        self.topics = _Groups(world.videos.topic, len(TOPICS), world.videos.upload_ms)
        self.creators = _Groups(world.videos.creator, len(world.creators.topic), world.videos.upload_ms)
        self.followed = {(int(viewer), int(creator)) for viewer, creator in world.follows}
        self.taste_noise = self.rng.standard_normal((viewers, len(TOPICS)))
        self.parts: list[dict[str, np.ndarray]] = []
        self.requests = 0

    def run_hour(self, hour_ms: int) -> None:
        """All sessions that start in one hour."""
        if (hour_ms - self.params.first_ms) % DAY_MS == 0:
            self._start_day(hour_ms)
        self.popularity *= 0.5 ** (1 / 24)
        sessions = self._sessions(hour_ms)
        self.there = int(np.searchsorted(self.world.videos.upload_ms, hour_ms, side="right"))
        if len(sessions.viewer) == 0 or self.there == 0:
            return
        self.topics_there = self.topics.uploaded(hour_ms)
        self.creators_there = self.creators.uploaded(hour_ms)
        weight = (self.popularity[: self.there] + 0.2) ** 0.8
        self.popular_sum = np.cumsum(weight)
        self._run_sessions(sessions)

    def _start_day(self, time_ms: int) -> None:
        """Renews the follow lists and the guesses of each viewer's topics."""
        self.follows = np.array(sorted(self.followed), np.int64).reshape(-1, 2)
        count = len(self.seen)
        self.follow_start = np.searchsorted(self.follows[:, 0], np.arange(count + 1))
        interest = self.behaviour.interest(np.arange(count), np.full(count, time_ms))
        near = 4 * np.einsum("vd,kd->vk", interest, self.world.topic_place, optimize=False)
        weight = np.exp(1.1 * near + 0.8 * self.taste_noise)
        self.topic_sum = np.cumsum(weight / weight.sum(axis=1, keepdims=True), axis=1)

    def _sessions(self, hour_ms: int) -> _Requests:
        """Who opens the app in this hour, when and where; at most one session a viewer, never two at once."""
        people, rng = self.world.viewers, self.rng
        local = hour_ms / HOUR_MS + 0.5 - people.shift_h
        weekend = 1.25 if pd.Timestamp(hour_ms, unit="ms").dayofweek >= 5 else 1.0
        rate = (
            self.params.sessions_per_day
            * people.activity
            * weekend
            * DAY_CURVE[np.floor(local).astype(int) % 24]
        )
        start = hour_ms + rng.random(len(rate)) * HOUR_MS
        opens = (rng.random(len(rate)) < -np.expm1(-rate)) & (start > self.busy_until)
        viewer = np.flatnonzero(opens)
        tab = np.searchsorted(TAB_SHARE.cumsum(), rng.random(len(viewer)))
        follows_none = self.follow_start[viewer] == self.follow_start[viewer + 1]
        following = TABS.index("following")
        tab = np.where((tab == following) & follows_none, TABS.index("for_you"), tab)
        return _Requests(viewer, np.floor(start[viewer]).astype(np.int64), tab)

    def _run_sessions(self, sessions: _Requests) -> None:
        """Request after request; a session goes on with probability 0.4, and only until the end of the
        log.
        """
        while len(sessions.viewer):
            seconds = self._answer(sessions)
            self.busy_until[sessions.viewer] = sessions.time_ms + 1000 * seconds
            later = sessions.time_ms + np.floor(1000 * (seconds + 2)).astype(np.int64)
            on = (self.rng.random(len(later)) < 0.4) & (later < self.params.as_of_ms)
            sessions = _Requests(sessions.viewer[on], later[on], sessions.tab[on])

    def _answer(self, asked: _Requests) -> np.ndarray:
        """Fills one page for each request, records what happens; returns the seconds each page took."""
        video, at_random = self._choose(asked)
        row, position = np.nonzero(video >= 0)
        shown = video[row, position]
        # The position is the one on the page, without the gaps that too few candidates leave.
        position = (np.cumsum(video >= 0, axis=1) - 1)[row, position]
        viewer, time_ms, tab = asked.viewer[row], asked.time_ms[row], asked.tab[row]
        outcomes = self.behaviour.draw(self.rng, viewer, shown, time_ms, tab, position)
        np.bitwise_or.at(self.seen, (viewer, shown >> 3), (1 << (shown & 7)).astype(np.uint8))
        np.add.at(self.popularity, shown, outcomes.click)
        follow = self._new_follows(viewer, shown, outcomes)
        self.parts.append(
            {
                "request_id": self.requests + row + 1,
                "viewer": viewer,
                "video": shown,
                "time_ms": time_ms,
                "tab": tab,
                "position": position,
                "is_random": at_random[video >= 0],
                "follow": follow,
            }
            | {
                name: getattr(outcomes, name)
                for name in ("click", "like", "share", "hate", "long_view", "play_s")
            }
        )
        self.requests += len(asked.viewer)
        return np.bincount(row, outcomes.play_s + 0.8, len(asked.viewer))

    def _new_follows(self, viewer: np.ndarray, video: np.ndarray, outcomes: Outcomes) -> np.ndarray:
        """Which wishes to follow are new; the "following" tab knows them from the next day on."""
        follow = np.zeros(len(viewer), bool)
        for row in np.flatnonzero(outcomes.follow):
            edge = (int(viewer[row]), int(self.world.videos.creator[video[row]]))
            follow[row] = edge not in self.followed
            self.followed.add(edge)
        return follow

    def _choose(self, asked: _Requests) -> tuple[np.ndarray, np.ndarray]:
        """Videos [r, PAGE] (-1 none) and which of them chance alone put there [r, PAGE]."""
        candidates = self._candidates(asked)
        barred = self._barred(asked.viewer, candidates)
        score = self._scores(asked, candidates)
        score[barred] = -np.inf
        score[:, :PAGE] = -np.inf  # the uniform draws have their own way onto the page
        order = np.argsort(-score, axis=1, kind="stable")[:, :PAGE]
        page = np.take_along_axis(candidates, order, axis=1)
        page[np.take_along_axis(score, order, axis=1) == -np.inf] = -1
        lucky = self.rng.random(page.shape) < self.params.random_share
        lucky &= ~barred[:, :PAGE] & (asked.tab != TABS.index("following"))[:, None]
        return np.where(lucky, candidates[:, :PAGE], page), lucky

    def _candidates(self, asked: _Requests) -> np.ndarray:
        rng, count = self.rng, len(asked.viewer)
        uniform = rng.integers(0, self.there, (count, PAGE + ANY))
        popular = np.searchsorted(self.popular_sum, rng.random((count, POPULAR)) * self.popular_sum[-1])
        draw = rng.random((count, LIKED))
        topic = (draw[:, :, None] > self.topic_sum[asked.viewer][:, None, :-1]).sum(axis=2)
        liked = self.topics.pick(rng, topic, self.topics_there)
        candidates = np.concatenate([uniform, popular, liked], axis=1)
        follows = np.flatnonzero(asked.tab == TABS.index("following"))
        candidates[follows, PAGE:] = self._followed(asked.viewer[follows], candidates.shape[1] - PAGE)
        return candidates

    def _followed(self, viewer: np.ndarray, width: int) -> np.ndarray:
        start, end = self.follow_start[viewer], self.follow_start[viewer + 1]
        place = start[:, None] + (self.rng.random((len(viewer), width)) * (end - start)[:, None]).astype(
            np.int64
        )
        return self.creators.pick(self.rng, self.follows[place, 1], self.creators_there)

    def _barred(self, viewer: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Missing, shown before, or further to the left among the candidates."""
        bit = self.seen[viewer[:, None], candidates >> 3] >> (candidates & 7) & 1
        order = np.argsort(candidates, axis=1, kind="stable")
        ordered = np.take_along_axis(candidates, order, axis=1)
        again = np.zeros(candidates.shape, bool)
        np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        return (candidates < 0) | (bit == 1) | again

    def _scores(self, asked: _Requests, candidates: np.ndarray) -> np.ndarray:
        """A part of the true affinity, popularity, a lift for new uploads, and noise."""
        interest = self.behaviour.interest(asked.viewer, asked.time_ms)
        affinity = 4 * dot(interest[:, None], self.world.videos.place[candidates])
        age_h = (asked.time_ms[:, None] - self.world.videos.upload_ms[candidates]) / HOUR_MS
        score = (
            self.params.policy_affinity * affinity
            + self.params.policy_popularity * np.log1p(self.popularity[candidates])
            + 0.4 * np.exp(-np.maximum(age_h, 0) / 72)
        )
        return score + self.rng.standard_normal(candidates.shape)

    def log(self) -> pd.DataFrame:
        """Everything that was shown, by time, request and position."""
        if not self.parts:
            raise ValueError("nobody opened the app: more viewers, days or sessions_per_day are wanted")
        names = self.parts[0]
        frame = pd.DataFrame({name: np.concatenate([part[name] for part in self.parts]) for name in names})
        order = np.lexsort((frame["position"], frame["request_id"], frame["time_ms"]))
        return frame.iloc[order].reset_index(drop=True)


def _dataset(params: SimulationParams, world: World, behaviour: Behaviour, log: pd.DataFrame) -> Dataset:
    old = (log["time_ms"] < params.start_ms).to_numpy()
    impressions = _impressions(world, log[~old])
    viewers, viewer_fields = _viewers(world.viewers)
    videos, video_fields = _videos(world.videos)
    return Dataset(
        name="simulate",
        as_of_ms=params.as_of_ms,
        utc_offset_min=0,
        impressions=impressions,
        history=_history(log[old]),
        viewers=viewers,
        videos=videos,
        follows=_follows(world, log, params.start_ms),
        friends=make_frame(
            schema.FRIEND_COLUMNS, {"viewer": world.friends[:, 0], "friend": world.friends[:, 1]}
        ),
        viewer_fields=viewer_fields,
        video_fields=video_fields,
        truth=behaviour,
        notes=_notes(params),
    ).validate()


def _impressions(world: World, log: pd.DataFrame) -> pd.DataFrame:
    video = log["video"].to_numpy()
    duration = _known_durations(world.videos)[video]
    play = log["play_s"].to_numpy(np.float32)
    day = pd.to_datetime(log["time_ms"], unit="ms").dt.strftime("%Y%m%d").astype(np.int32)
    values = dict(log.items()) | {
        "request_id": pd.factorize(log["request_id"])[0] + 1,
        "tab": np.asarray(TABS)[log["tab"]],
        "day": day,
        "play_s": play,
        "watch_s": watch_of(play),
        "duration_s": duration,
        "finish": finish_of(play, duration),
    }
    return make_frame(schema.IMPRESSION_COLUMNS, values)


def _known_durations(videos: Videos) -> np.ndarray:
    return np.where(videos.duration_known, videos.duration_s, 0.0).astype(np.float32)


def _history(old: pd.DataFrame) -> pd.DataFrame:
    kept = old.sort_values(["viewer", "time_ms", "request_id", "position"], kind="stable")
    kept = kept.groupby("viewer", sort=False).tail(HISTORY_LENGTH)
    values = {name: kept[name] for name in ("viewer", "video", "long_view", "like")}
    values["pos"] = kept.groupby("viewer", sort=False).cumcount()
    return make_frame(schema.HISTORY_COLUMNS, values)


def _follows(world: World, log: pd.DataFrame, start_ms: int) -> pd.DataFrame:
    """Edges older than the log, then those made in it."""
    new = log[log["follow"]]
    times = new["time_ms"].where(new["time_ms"] >= start_ms, schema.UNKNOWN_MS)
    ids = np.asarray([_creator_id(row) for row in range(len(world.creators.topic))])
    values = {
        "viewer": np.concatenate([world.follows[:, 0], new["viewer"]]),
        "creator": ids[np.concatenate([world.follows[:, 1], world.videos.creator[new["video"]]])],
        "time_ms": np.concatenate([np.full(len(world.follows), schema.UNKNOWN_MS), times]),
    }
    return make_frame(schema.FOLLOW_COLUMNS, values)


def _creator_id(row: int) -> str:
    return f"c{row + 1:04d}"


def _names(names: tuple[str, ...], codes: np.ndarray) -> np.ndarray:
    """Names of codes; "" for -1."""
    return np.asarray((*names, ""))[codes]


def _viewers(viewers: Viewers) -> tuple[pd.DataFrame, list[schema.Field]]:
    columns = {
        "id": as_dtype([str(row + 1) for row in range(len(viewers.age))], "str"),
        "age": viewers.age.astype(np.float32),
        "country": as_dtype(_names(COUNTRIES, viewers.country), "str"),
        "language": as_dtype(_names(LANGUAGES, viewers.language), "str"),
        "device": as_dtype(_names(DEVICES, viewers.device), "str"),
        "picked_topic": as_dtype(_names(TOPICS, viewers.picked_topic), "str"),
        "register_days": viewers.register_days.astype(np.int32),
    }
    texts = ["country", "language", "device", "picked_topic"]
    return pd.DataFrame(columns), [*((name, "str") for name in texts), ("register_days", "int")]


def _videos(videos: Videos) -> tuple[pd.DataFrame, list[schema.Field]]:
    width = max(5, len(str(len(videos.topic))))
    columns = {
        "id": as_dtype([f"v{row + 1:0{width}d}" for row in range(len(videos.topic))], "str"),
        "creator": as_dtype([_creator_id(row) for row in videos.creator], "str"),
        "topic": as_dtype(_names(TOPICS, videos.topic), "str"),
        "title": as_dtype(videos.title, "str"),
        "upload_ms": videos.upload_ms,
        "duration_s": _known_durations(videos),
        "safety": as_dtype(videos.safety, "str"),
        "min_age": videos.min_age.astype(np.int16),
        "unsafe_score": videos.unsafe_score.astype(np.float32),
        "mood": as_dtype(_names(MOODS, videos.mood), "str"),
        "format": as_dtype(_names(FORMATS, videos.style), "str"),
        "language": as_dtype(_names(LANGUAGES, videos.language), "str"),
        "orientation": as_dtype(np.where(videos.landscape, "landscape", "portrait"), "str"),
        "sharpness": videos.sharpness.astype(np.float32),
    }
    texts = ["mood", "format", "language", "orientation"]
    return pd.DataFrame(columns), [*((name, "str") for name in texts), ("sharpness", "float")]


def _notes(params: SimulationParams) -> list[str]:
    settings = ", ".join(f"{field.name}={getattr(params, field.name)}" for field in fields(params))
    return [
        f"simulated platform: {settings}",
        "days are UTC; position is logged and biases what is examined; friends and safety are invented",
        f"pages of {PAGE} by popularity, noisy interest and chance; is_random marks uniform draws",
        "the time of an impression is that of its request; the policy does not filter by safety or age",
    ]
