"""The simulated platform before anyone opens the app: topics, creators, videos, viewers, follows and friends.

``make_world`` draws everything from one seed. Interests and videos live in one latent space of ``DIM``
dimensions in which topic, creator's style and a hidden vibe of the video are directions; attributes show only
part of a video's place there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .sim_titles import FORMATS, MOODS, TOPICS, make_titles

DIM = 16
KNOT_MS = 84 * 3_600_000  # interests are given every 3.5 days and are linear between
DAY_MS = 86_400_000
COMMUNITIES = 30
LANGUAGES = ("en", "es", "de")
LANGUAGE_SHARE = (0.65, 0.25, 0.10)
DEVICES = ("android", "ios", "web")
COUNTRIES = ("US", "GB", "ES", "MX", "DE", "AT")  # two for each language
FORMAT_SECONDS = (14.0, 28.0, 65.0, 100.0)  # median duration, in the order of FORMATS


@dataclass(frozen=True)
class Creators:
    """c creators; everything here is hidden but the id and what their videos show."""

    topic: np.ndarray  # int [c], the one they mostly make
    style: np.ndarray  # [c, DIM], unit
    quality: np.ndarray  # [c], sd 1
    output: np.ndarray  # [c], share of all uploads
    language: np.ndarray  # int [c]
    risk: np.ndarray  # [c], probability that an upload is unsafe


@dataclass(frozen=True)
class Videos:
    """n videos in order of upload."""

    creator: np.ndarray  # int [n]
    topic: np.ndarray  # int [n]
    place: np.ndarray  # [n, DIM], unit, hidden
    quality: np.ndarray  # [n], hidden
    upload_ms: np.ndarray  # int64 [n], rising
    duration_s: np.ndarray  # [n], true
    duration_known: np.ndarray  # bool [n]
    mood: np.ndarray  # int [n], a noisy view of the vibe
    style: np.ndarray  # int [n], into FORMATS
    language: np.ndarray  # int [n]
    landscape: np.ndarray  # bool [n]
    sharpness: np.ndarray  # [n], a noisy view of quality
    unsafe: np.ndarray  # bool [n], true
    safety: np.ndarray  # "safe", "unsafe", "unknown" as the platform has it
    min_age: np.ndarray  # int [n], -1 unknown
    unsafe_score: np.ndarray  # [n], NaN unknown
    title: list[str]


@dataclass(frozen=True)
class Viewers:
    """v viewers."""

    interest: np.ndarray  # [v, knots, DIM], about unit length, hidden
    knots_from_ms: int
    community: np.ndarray  # int [v], hidden
    activity: np.ndarray  # [v], sessions a day, hidden
    shift_h: np.ndarray  # [v], hours that their day is late, hidden
    click_bias: np.ndarray  # [v], hidden
    like_bias: np.ndarray  # [v], hidden
    age: np.ndarray  # [v], years, NaN unknown
    language: np.ndarray  # int [v]
    country: np.ndarray  # int [v]
    device: np.ndarray  # int [v]
    register_days: np.ndarray  # int [v]
    picked_topic: np.ndarray  # int [v], named at registration, -1 none


@dataclass(frozen=True)
class World:
    """All that exists; edges are pairs of rows."""

    topic_place: np.ndarray  # [topics, DIM], unit
    topic_hour: np.ndarray  # [topics], hour of the day at which a topic is liked most
    creators: Creators
    videos: Videos
    viewers: Viewers
    follows: np.ndarray  # int [f, 2], viewer and creator, older than the log
    friends: np.ndarray  # int [g, 2], both directions


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _random_units(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return _unit(rng.standard_normal((*shape, DIM)))


def dot(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Row-wise dot product over the last axis, without BLAS, so that one seed gives the same bytes."""
    return np.einsum("...d,...d->...", left, right)


def make_world(
    *,
    seed: int,
    viewers: int,
    videos: int,
    creators: int,
    first_ms: int,
    as_of_ms: int,
    follows: float,
    friends: float,
) -> World:
    """Draws the platform; ``follows`` and ``friends`` are the mean numbers of edges of a viewer."""
    rngs = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(5)]
    topic_place = _random_units(rngs[0], len(TOPICS))
    topic_hour = rngs[0].uniform(0, 24, len(TOPICS))
    made = make_creators(rngs[0], creators)
    catalogue = make_videos(rngs[1], made, topic_place, videos, first_ms, as_of_ms)
    people = make_viewers(rngs[2], topic_place, viewers, first_ms, as_of_ms)
    return World(
        topic_place=topic_place,
        topic_hour=topic_hour,
        creators=made,
        videos=catalogue,
        viewers=people,
        follows=make_follows(rngs[3], people, made, topic_place, follows),
        friends=make_friends(rngs[4], people, friends),
    )


def make_creators(rng: np.random.Generator, count: int) -> Creators:
    """Few creators upload most videos; one in twenty is prone to unsafe ones."""
    output = rng.pareto(1.3, count) + 0.3
    return Creators(
        topic=rng.integers(0, len(TOPICS), count),
        style=_random_units(rng, count),
        quality=rng.standard_normal(count),
        output=output / output.sum(),
        language=rng.choice(len(LANGUAGES), count, p=LANGUAGE_SHARE),
        risk=np.where(rng.random(count) < 0.05, 0.25, 0.012),
    )


def make_videos(
    rng: np.random.Generator,
    creators: Creators,
    topic_place: np.ndarray,
    count: int,
    first_ms: int,
    as_of_ms: int,
) -> Videos:
    """Uploads before and throughout the log; where a video lies is 37 % topic, 20 % creator, 43 % its own
    vibe.
    """
    creator = rng.choice(len(creators.topic), count, p=creators.output)
    own = rng.random(count) < 0.8
    topic = np.where(own, creators.topic[creator], rng.integers(0, len(TOPICS), count))
    vibe = _random_units(rng, count)
    quality = 0.6 * creators.quality[creator] + 0.8 * rng.standard_normal(count)
    mood = _moods(rng, vibe)
    style = _formats(rng, topic, count)
    upload_ms = _uploads(rng, count, first_ms, as_of_ms)
    unsafe = rng.random(count) < creators.risk[creator]
    safety, unsafe_score = _reviews(rng, unsafe, as_of_ms - upload_ms)
    return Videos(
        creator=creator,
        topic=topic,
        place=_unit(0.6 * topic_place[topic] + 0.45 * creators.style[creator] + 0.65 * vibe),
        quality=quality,
        upload_ms=upload_ms,
        duration_s=_durations(rng, style),
        duration_known=rng.random(count) >= 0.01,
        mood=mood,
        style=style,
        language=np.where(rng.random(count) < 0.92, creators.language[creator], rng.integers(0, 3, count)),
        landscape=rng.random(count) < np.where(style >= 2, 0.4, 0.1),
        sharpness=0.5 * quality + rng.standard_normal(count),
        unsafe=unsafe,
        safety=safety,
        min_age=_min_ages(rng, unsafe),
        unsafe_score=unsafe_score,
        title=make_titles(rng, topic, mood, style),
    )


def _moods(rng: np.random.Generator, vibe: np.ndarray) -> np.ndarray:
    """The mood that the vibe is nearest to, seen through noise."""
    axes = _random_units(rng, len(MOODS))
    near = np.einsum("nd,md->nm", vibe, axes, optimize=False)
    return np.argmax(near + 0.15 * rng.standard_normal(near.shape), axis=1)


def _formats(rng: np.random.Generator, topic: np.ndarray, count: int) -> np.ndarray:
    """Each topic has its own mix of formats; clips are the most frequent."""
    mix = rng.dirichlet((4.0, 1.6, 1.6, 1.2), len(TOPICS)).cumsum(axis=1)
    return np.minimum((rng.random(count)[:, None] > mix[topic]).sum(axis=1), len(FORMATS) - 1)


def _durations(rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Whole milliseconds, 4 s to 15 min."""
    seconds = np.asarray(FORMAT_SECONDS)[style] * np.exp(0.55 * rng.standard_normal(len(style)))
    return np.round(np.clip(seconds, 4.0, 900.0), 3)


def _uploads(rng: np.random.Generator, count: int, first_ms: int, as_of_ms: int) -> np.ndarray:
    """45 % are older than the log (a month on average, at most 120 days), the others come evenly until
    as_of.
    """
    older = rng.random(count) < 0.45
    age = np.minimum(rng.exponential(30 * DAY_MS, count), 120 * DAY_MS)
    during = rng.uniform(first_ms, as_of_ms, count)
    return np.sort(np.where(older, first_ms - 1 - age, during).astype(np.int64))


def _reviews(
    rng: np.random.Generator, unsafe: np.ndarray, age_ms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Review result and classifier's score; nothing of the last two hours and 3 % of the rest is reviewed."""
    count = len(unsafe)
    score = np.where(unsafe, rng.beta(6, 2, count), rng.beta(1, 20, count))
    unknown = (rng.random(count) < 0.03) | (age_ms < 2 * 3_600_000)
    safety = np.where(unknown, "unknown", np.where(unsafe, "unsafe", "safe"))
    return safety, np.where(unknown & (rng.random(count) < 0.7), np.nan, score)


def _min_ages(rng: np.random.Generator, unsafe: np.ndarray) -> np.ndarray:
    draw = rng.random(len(unsafe))
    restricted = np.select([draw < 0.01, draw < 0.04, draw < 0.12], [-1, 18, 13], 0)
    return np.where(unsafe & (restricted == 0), 16, restricted)


def make_viewers(
    rng: np.random.Generator, topic_place: np.ndarray, count: int, first_ms: int, as_of_ms: int
) -> Viewers:
    """Viewers belong to communities of taste; each drifts on a random walk of its own."""
    centre = _unit(topic_place[rng.integers(0, len(TOPICS), (COMMUNITIES, 3))].sum(axis=1))
    centre = _unit(centre + 0.8 * _random_units(rng, COMMUNITIES))
    community = rng.integers(0, COMMUNITIES, count)
    own = _unit(topic_place[rng.integers(0, len(TOPICS), (count, 2))].sum(axis=1))
    base = _unit(0.7 * centre[community] + 0.6 * own + 0.5 * _random_units(rng, count))
    knots = int((as_of_ms - first_ms) // KNOT_MS) + 2
    language = rng.choice(len(LANGUAGES), count, p=LANGUAGE_SHARE)
    return Viewers(
        interest=_drift(rng, base, knots),
        knots_from_ms=first_ms,
        community=community,
        activity=rng.gamma(1.2, 1 / 1.2, count),
        shift_h=rng.normal(0, 2.5, count),
        click_bias=0.4 * rng.standard_normal(count),
        like_bias=0.7 * rng.standard_normal(count),
        age=_ages(rng, count),
        language=language,
        country=2 * language + (rng.random(count) < 0.3),
        device=rng.choice(len(DEVICES), count, p=(0.55, 0.35, 0.10)),
        register_days=rng.integers(0, 1500, count),
        picked_topic=_picked_topics(rng, base, topic_place),
    )


def _drift(rng: np.random.Generator, base: np.ndarray, knots: int) -> np.ndarray:
    path = [base]
    for _ in range(knots - 1):
        path.append(_unit(path[-1] + 0.18 * _random_units(rng, len(base))))
    return np.stack(path, axis=1)


def _ages(rng: np.random.Generator, count: int) -> np.ndarray:
    """13 to 80 years, one in ten a minor; 8 % unknown."""
    adult = np.clip(18 + rng.gamma(2.2, 7.0, count), 18, 80)
    age = np.floor(np.where(rng.random(count) < 0.1, rng.uniform(13, 18, count), adult))
    return np.where(rng.random(count) < 0.08, np.nan, age)


def _picked_topics(rng: np.random.Generator, base: np.ndarray, topic_place: np.ndarray) -> np.ndarray:
    near = np.einsum("vd,kd->vk", base, topic_place, optimize=False)
    picked = np.argmax(near + 0.25 * rng.standard_normal(near.shape), axis=1)
    return np.where(rng.random(len(base)) < 0.4, -1, picked)


def make_follows(
    rng: np.random.Generator, viewers: Viewers, creators: Creators, topic_place: np.ndarray, mean: float
) -> np.ndarray:
    """Of 40 creators met by chance (the busy ones more often) those nearest to the viewer's taste, through
    noise.
    """
    count, drawn = len(viewers.community), 40
    met = rng.choice(len(creators.topic), (count, drawn), p=creators.output)
    place = _unit(0.6 * topic_place[creators.topic] + 0.45 * creators.style)
    liking = 4 * dot(viewers.interest[:, :1], place[met]) + 0.4 * creators.quality[met]
    rank = np.argsort(-(liking + rng.standard_normal(liking.shape)), axis=1, kind="stable").argsort(axis=1)
    chosen = rank < np.minimum(rng.poisson(mean, count), drawn)[:, None]
    viewer, slot = np.nonzero(chosen)
    return np.unique(np.column_stack([viewer, met[viewer, slot]]), axis=0)


def make_friends(rng: np.random.Generator, viewers: Viewers, mean: float) -> np.ndarray:
    """Two of three friendships are within a community of taste, one of three is by chance."""
    count = len(viewers.community)
    asked = np.repeat(np.arange(count), rng.poisson(mean / 2 * rng.gamma(1.5, 1 / 1.5, count)))
    order = np.argsort(viewers.community, kind="stable")
    start = np.searchsorted(viewers.community[order], np.arange(COMMUNITIES + 1))
    group = viewers.community[asked]
    size = start[group + 1] - start[group]
    similar = order[start[group] + (rng.random(len(asked)) * size).astype(int)]
    other = np.where(rng.random(len(asked)) < 0.67, similar, rng.integers(0, count, len(asked)))
    pairs = np.column_stack([asked, other])[asked != other]
    return np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
