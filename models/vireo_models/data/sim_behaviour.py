"""How simulated viewers behave, once as random outcomes for the log and once as exact expectations: the
ground truth.

Whether an item is examined depends on tab and position; whether an examined one is clicked on interest,
quality, language, freshness, hour and viewer; how long it plays on the click, interest, quality and duration.
All expectations are closed forms of the same numbers that the outcomes are drawn from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..schema import FINISH_SHARE, WATCH_CAP_S
from .sim_world import DIM, KNOT_MS, World, dot

TABS = ("discover", "following", "for_you")
TAB_BIAS = np.array([-1.3, -0.25, -0.6])
EXAMINATION_DECAY = np.array([0.15, 0.05, 0.03])  # examined with 1 / (1 + decay * position)
PAGE = 8
LONG_VIEW_S = 18.0
LOOP_MEAN = 0.2  # a finished video plays on for this share of its duration on average
SKIP_AT_ONCE = 0.12  # examined, not clicked, not played at all
TASTES = 4  # axes of the latent space that tastes of a world with conflict lie along
TASTE_GAIN = 3.0  # of them over the affinity: its opposite is what a world with conflict is about
HOUR_MS = 3_600_000.0


@dataclass(frozen=True)
class Outcomes:
    """What n impressions led to."""

    click: np.ndarray  # bool [n], and so on
    like: np.ndarray
    follow: np.ndarray
    share: np.ndarray
    hate: np.ndarray
    long_view: np.ndarray
    play_s: np.ndarray  # whole milliseconds


@dataclass(frozen=True)
class _Forces:
    """Parameters of the behaviour at n impressions, each [n]."""

    examined: np.ndarray  # probability
    click: np.ndarray  # probability, examined
    finish: np.ndarray  # probability of at least 0.95 of the duration, clicked
    shape: np.ndarray  # of an unfinished play: 0.95 * duration * U^shape
    skip_mean_s: np.ndarray  # mean play of an unclicked one
    like_finished: np.ndarray  # probability, clicked and finished
    like_unfinished: np.ndarray
    affinity: np.ndarray
    duration: np.ndarray


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logistic function."""
    return 1.0 / (1.0 + np.exp(-x))


class Behaviour:
    """The true behaviour of a world; serves as ``Dataset.truth``.

    ``conflict`` from 0 to 1 says how far tasks oppose each other. At 0 clicks, finishes and likes all go by
    the viewer's affinity. At 1 each community clicks by one of four tastes and finishes and likes against
    another one, so that what a taste does for one task in one community it undoes for another elsewhere.
    ``position_bias`` says how fast looking at a page ends, over the speed that EXAMINATION_DECAY has.
    """

    def __init__(self, world: World, conflict: float = 0.0, position_bias: float = 1.0) -> None:
        self.world, self.conflict, self.position_bias = world, conflict, position_bias

    def affinity(self, viewer: np.ndarray, video: np.ndarray, time_ms: np.ndarray) -> np.ndarray:
        """How well the video fits the viewer's interest of that time; about standard normal over random
        pairs.
        """
        return np.sqrt(DIM) * dot(self.interest(viewer, time_ms), self.world.videos.place[video])

    def interest(self, viewer: np.ndarray, time_ms: np.ndarray) -> np.ndarray:
        """Interest [n, DIM] of viewers at times, linear between the knots and constant outside them."""
        knots = self.world.viewers.interest
        place = (np.asarray(time_ms, np.float64) - self.world.viewers.knots_from_ms) / KNOT_MS
        place = np.clip(place, 0.0, knots.shape[1] - 1.000001)
        left = place.astype(np.int64)
        share = (place - left)[:, None]
        return (1 - share) * knots[viewer, left] + share * knots[viewer, left + 1]

    def _pulls(
        self, viewer: np.ndarray, video: np.ndarray, affinity: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What clicks go by, and what finishes and likes go by, [n] each; about standard normal."""
        if self.conflict == 0.0:
            return affinity, affinity
        community, place = self.world.viewers.community[viewer], self.world.videos.place[video]
        rows, own = np.arange(len(community)), (1 - self.conflict) * affinity
        reach = self.conflict * TASTE_GAIN * np.sqrt(DIM)
        click = place[rows, community % TASTES]
        depth = place[rows, community // TASTES % TASTES]
        return own + reach * click, own - reach * depth

    def _forces(
        self,
        viewer: np.ndarray,
        video: np.ndarray,
        time_ms: np.ndarray,
        tab: np.ndarray,
        position: np.ndarray,
    ) -> _Forces:
        videos, viewers = self.world.videos, self.world.viewers
        affinity, depth = self._pulls(viewer, video, self.affinity(viewer, video, time_ms))
        quality = videos.quality[video]
        size = np.log(videos.duration_s[video] / 25.0)
        like = -4.8 + 0.5 * depth + 0.4 * quality + viewers.like_bias[viewer]
        return _Forces(
            examined=examination(tab, position, self.position_bias),
            click=sigmoid(self._click_logit(viewer, video, time_ms, tab, affinity)),
            finish=sigmoid(-0.75 + 0.5 * depth + 0.35 * quality - 0.85 * size),
            shape=np.exp(np.clip(0.2 - 0.25 * depth + 0.3 * size, -2, 2)),
            skip_mean_s=3.2 * np.exp(0.2 * depth),
            like_finished=sigmoid(like + 1.6),
            like_unfinished=sigmoid(like),
            affinity=affinity,
            duration=videos.duration_s[video],
        )

    def _click_logit(
        self,
        viewer: np.ndarray,
        video: np.ndarray,
        time_ms: np.ndarray,
        tab: np.ndarray,
        affinity: np.ndarray,
    ) -> np.ndarray:
        videos, viewers = self.world.videos, self.world.viewers
        hours = np.asarray(time_ms, np.float64) / HOUR_MS
        age_h = np.maximum(hours - videos.upload_ms[video] / HOUR_MS, 0.0)
        foreign = videos.language[video] != viewers.language[viewer]
        phase = 2 * np.pi * (hours - self.world.topic_hour[videos.topic[video]]) / 24.0
        return (
            TAB_BIAS[tab]
            + 0.95 * affinity
            + 0.55 * videos.quality[video]
            + viewers.click_bias[viewer]
            - 0.8 * foreign
            + 0.3 * np.exp(-age_h / 48.0)
            + 0.25 * np.cos(phase)
            + 0.2 * videos.unsafe[video]
        )

    def draw(
        self,
        rng: np.random.Generator,
        viewer: np.ndarray,
        video: np.ndarray,
        time_ms: np.ndarray,
        tab: np.ndarray,
        position: np.ndarray,
    ) -> Outcomes:
        """Random outcomes of n impressions; ``tab`` is a number of TABS."""
        forces = self._forces(viewer, video, time_ms, tab, position)
        chance = rng.random((8, len(forces.click)))
        examined = chance[0] < forces.examined
        click = examined & (chance[1] < forces.click)
        finish = chance[2] < forces.finish
        play = np.where(click, _clicked_play(forces, finish, chance[3]), _skipped_play(forces, chance[3:5]))
        play = np.round(np.where(examined, play, 0.0), 3)
        like = click & (chance[5] < np.where(finish, forces.like_finished, forces.like_unfinished))
        eager = sigmoid(forces.affinity - 6.0)
        return Outcomes(
            click=click,
            like=like,
            follow=click & (chance[6] < eager),
            share=click & (chance[7] < 0.8 * eager),
            hate=examined & ~click & (chance[6] < sigmoid(-7.5 - forces.affinity)),
            long_view=(play > 0) & (play >= np.minimum(forces.duration, LONG_VIEW_S)),
            play_s=play,
        )

    def expected(
        self,
        viewer: np.ndarray,
        video: np.ndarray,
        time_ms: np.ndarray,
        tab: np.ndarray,
        position: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """True probabilities of ``click``, ``like``, ``finish`` and mean ``watch_s`` [n], not given a click.

        ``tab`` holds names or numbers of TABS, ``position`` -1 for the mean over a page. Finish is told for
        the true duration also where the catalogue does not know it. Scalars are spread over the other
        arguments.
        """
        viewer, video, time_ms, tab, position = np.broadcast_arrays(
            viewer, video, time_ms, tab_codes(tab), position
        )
        forces = self._forces(viewer, video, time_ms, tab, position)
        click = forces.examined * forces.click
        skip = forces.examined * (1.0 - forces.click)
        like = forces.finish * forces.like_finished + (1.0 - forces.finish) * forces.like_unfinished
        mean = {"watch_s": click * _clicked_watch(forces) + skip * _skipped_watch(forces)}
        mean["finish"] = click * forces.finish + skip * _skipped_finish(forces)
        return {"click": click, "like": click * like, **mean}

    def given(
        self, viewer: np.ndarray, video: np.ndarray, time_ms: np.ndarray, tab: np.ndarray
    ) -> dict[str, np.ndarray]:
        """True probabilities of ``click`` once looked at and of ``finish`` once clicked, [n]."""
        viewer, video, time_ms, tab = np.broadcast_arrays(viewer, video, time_ms, tab_codes(tab))
        forces = self._forces(viewer, video, time_ms, tab, np.zeros_like(tab))
        return {"click": forces.click, "finish": forces.finish}


def tab_codes(tab: np.ndarray) -> np.ndarray:
    """Numbers of TABS for names (or categories); numbers stay."""
    values = np.asarray(tab)
    if values.dtype.kind in "iu":
        return values
    codes = np.searchsorted(TABS, values.astype(str))
    known = np.asarray(TABS)[np.minimum(codes, len(TABS) - 1)] == values.astype(str)
    if not known.all():
        raise ValueError(f"a tab is none of {', '.join(TABS)}")
    return codes


def examination(tab: np.ndarray, position: np.ndarray, bias: float = 1.0) -> np.ndarray:
    """Probability that the item at a position is looked at; the mean over a page where the position is -1."""
    decay = bias * EXAMINATION_DECAY
    mean = (1.0 / (1.0 + decay[:, None] * np.arange(PAGE))).mean(axis=1)
    return np.where(position < 0, mean[tab], 1.0 / (1.0 + decay[tab] * np.maximum(position, 0)))


def _clicked_play(forces: _Forces, finish: np.ndarray, chance: np.ndarray) -> np.ndarray:
    whole = forces.duration * (FINISH_SHARE - LOOP_MEAN * np.log1p(-chance))
    # Rounding to milliseconds must not lift an unfinished play to the threshold.
    part = np.minimum(
        FINISH_SHARE * forces.duration * chance**forces.shape, FINISH_SHARE * forces.duration - 0.002
    )
    return np.where(finish, np.ceil(whole * 1000) / 1000, part)


def _skipped_play(forces: _Forces, chance: np.ndarray) -> np.ndarray:
    play = np.minimum(-forces.skip_mean_s * np.log1p(-chance[0]), forces.duration)
    return np.where(chance[1] < SKIP_AT_ONCE, 0.0, play)


def _clicked_watch(forces: _Forces) -> np.ndarray:
    """Mean of min(play, 300) given a click."""
    start, loop = FINISH_SHARE * forces.duration, LOOP_MEAN * forces.duration
    room = np.maximum(WATCH_CAP_S - start, 0.0)
    whole = np.minimum(start, WATCH_CAP_S) - loop * np.expm1(-room / loop)
    # U^shape * start passes the cap where U is above `edge`.
    edge = np.minimum(WATCH_CAP_S / start, 1.0) ** (1.0 / forces.shape)
    part = start * edge ** (forces.shape + 1.0) / (forces.shape + 1.0) + WATCH_CAP_S * (1.0 - edge)
    return forces.finish * whole + (1.0 - forces.finish) * part


def _skipped_watch(forces: _Forces) -> np.ndarray:
    """Mean of min(play, 300) given an examined item without a click; the play ends with the video."""
    limit = np.minimum(forces.duration, WATCH_CAP_S)
    return -(1.0 - SKIP_AT_ONCE) * forces.skip_mean_s * np.expm1(-limit / forces.skip_mean_s)


def _skipped_finish(forces: _Forces) -> np.ndarray:
    return (1.0 - SKIP_AT_ONCE) * np.exp(-FINISH_SHARE * forces.duration / forces.skip_mean_s)
