"""The simulator: same seed, same bytes; rates of a short-video app; a truth that the log agrees with.

Mean true value at the top 20 of all videos at the end of the log, of 300 viewers, default size (5,000
viewers, 20,000 videos), for satisfaction 0.3 click + 0.01 watch_s + finish + 5 like:

random 0.37    trend 0.82    click rate 1.14    own topics only 0.80    oracle 2.32

Topic explains 32 % of the affinity of a viewer to videos; `test_oracle_beats_popularity_beats_chance` checks
the order on a small platform.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from vireo_models.data import counters, load
from vireo_models.data.sim_behaviour import TABS, TASTES, Behaviour, examination
from vireo_models.data.simulate import SimulationParams, simulate
from vireo_models.schema import UNKNOWN_MS, Dataset

TABLES = ("impressions", "history", "viewers", "videos", "follows", "friends")
FOR_YOU = TABS.index("for_you")


def digest(data: Dataset) -> str:
    total = hashlib.sha256()
    for table in TABLES:
        frame = getattr(data, table)
        total.update(",".join(frame.columns).encode())
        total.update(pd.util.hash_pandas_object(frame, index=True).to_numpy().tobytes())
    return total.hexdigest()


def truth_of(data: Dataset, log: pd.DataFrame) -> dict[str, np.ndarray]:
    columns = (log[name].to_numpy() for name in ("viewer", "video", "time_ms"))
    return data.truth.expected(*columns, log["tab"], log["position"].to_numpy())


def test_same_seed_same_bytes() -> None:
    params = SimulationParams(seed=5, viewers=60, videos=300, creators=20, days=4, history_days=2)
    first = digest(simulate(params))
    assert digest(simulate(params)) == first
    other = SimulationParams(seed=6, viewers=60, videos=300, creators=20, days=4, history_days=2)
    assert digest(simulate(other)) != first


def test_rates_are_those_of_a_short_video_app(platform: Dataset) -> None:
    log = platform.impressions
    assert 0.30 < log["click"].mean() < 0.50
    assert 0.01 < log["like"].mean() < 0.04
    assert 0.10 < (log["finish"] == 1).mean() < 0.25
    assert 2.5 < log["watch_s"].median() < 7
    assert log["watch_s"].quantile(0.99) > 15 * log["watch_s"].median()
    assert 0.05 < (log["play_s"] == 0).mean() < 0.25
    assert 0.03 < log["is_random"].mean() < 0.12
    known = log["duration_s"] > 0
    assert 0.05 < (log["play_s"] > log["duration_s"])[known].mean() < 0.25
    assert 0.001 < (~known).mean() < 0.05


def test_log_agrees_with_the_truth(platform: Dataset) -> None:
    """Observed means within four standard errors of the expected ones, overall and in each fifth of them."""
    log = platform.impressions
    truth = truth_of(platform, log)
    observed = {name: log[name].to_numpy(np.float64) for name in truth}
    for name, expected in truth.items():
        known = observed[name] >= 0  # finish is -1 where the duration is unknown
        y, e = observed[name][known], expected[known]
        fifth = np.searchsorted(np.quantile(e, [0.2, 0.4, 0.6, 0.8]), e)
        for part in (np.ones(len(e), bool), *(fifth == number for number in range(5))):
            error = (y[part] - e[part]).std() / np.sqrt(part.sum())
            assert abs(y[part].mean() - e[part].mean()) < 4 * error, name


def test_watch_truth_holds_for_long_videos(platform: Dataset) -> None:
    """The cap of 300 s is in the closed form: outcomes of the longest videos, drawn 20,000 times."""
    durations = platform.truth.world.videos.duration_s
    video = np.repeat(np.argsort(-durations)[:20], 1000)
    assert durations[video].min() > 200 and durations[video].max() > 350
    viewer = np.random.default_rng(1).integers(0, len(platform.viewers), len(video))
    time_ms, tab, position = (np.full(len(video), value) for value in (platform.as_of_ms, FOR_YOU, 0))
    drawn = platform.truth.draw(np.random.default_rng(2), viewer, video, time_ms, tab, position)
    truth = platform.truth.expected(viewer, video, time_ms, tab, position)
    watch = np.minimum(drawn.play_s, 300.0)
    assert (watch == 300.0).mean() > 0.01
    error = (watch - truth["watch_s"]).std() / np.sqrt(len(watch))
    assert abs(watch.mean() - truth["watch_s"].mean()) < 4 * error


def test_examination_falls_with_position(platform: Dataset) -> None:
    log = platform.impressions
    by_position = log[log["is_random"]].groupby("position")["click"].mean()
    assert by_position.iloc[:3].mean() > by_position.iloc[-3:].mean()
    share = examination(np.full(8, FOR_YOU), np.arange(8))
    assert (np.diff(share) < 0).all() and share[0] == 1.0
    unknown = examination(np.array([0, 1, 2]), np.array([-1, -1, -1]))
    means = [examination(np.full(8, tab), np.arange(8)).mean() for tab in range(3)]
    np.testing.assert_allclose(unknown, means)


def test_the_position_bias_of_a_world_is_set(platform: Dataset) -> None:
    """Five times the speed at which looking ends, and none at all."""
    columns = (np.arange(8), np.arange(8), np.full(8, platform.as_of_ms), FOR_YOU, np.arange(8))
    world, usual = platform.truth.world, platform.truth.expected(*columns)["click"]
    found = {bias: Behaviour(world, 0.0, bias).expected(*columns)["click"] for bias in (0.0, 1.0, 5.0)}
    np.testing.assert_array_equal(found[1.0], usual)
    looked = 1 / (1 + 0.15 * np.arange(8))
    np.testing.assert_allclose(found[5.0], found[0.0] * looked)
    given = platform.truth.given(*columns[:4])
    np.testing.assert_allclose(found[0.0], given["click"])


def test_tasks_of_a_world_with_conflict_oppose_each_other(platform: Dataset) -> None:
    """In each community clicks rise with one axis of the place and finishes fall with another one; the axis
    that one community clicks by is what another one's finishes fall with."""
    world, videos = platform.truth.world, np.arange(len(platform.videos))
    opposed, place = Behaviour(world, 1.0), world.videos.place
    pairs = set()
    for community in range(TASTES**2):
        members = np.flatnonzero(world.viewers.community == community)
        if not len(members):
            continue
        given = opposed.given(members[0], videos, np.int64(platform.as_of_ms), FOR_YOU)
        by_axis = {
            name: [np.corrcoef(place[:, axis], np.log(p / (1 - p)))[0, 1] for axis in range(TASTES)]
            for name, p in given.items()
        }
        axes = int(np.argmax(by_axis["click"])), int(np.argmin(by_axis["finish"]))
        assert by_axis["click"][axes[0]] > 0.5 and by_axis["finish"][axes[1]] < -0.5
        assert axes == (community % TASTES, community // TASTES)
        pairs.add(axes)
    assert len(pairs) > 8
    agreed = Behaviour(world, 0.0).given(3, videos, np.int64(platform.as_of_ms), FOR_YOU)
    assert np.corrcoef(agreed["click"], agreed["finish"])[0, 1] > 0.3


def test_tabs_differ_by_name_and_number(platform: Dataset) -> None:
    columns = (np.arange(50), np.arange(50), np.full(50, platform.as_of_ms))
    named = platform.truth.expected(*columns, np.full(50, "discover"), 0)
    numbered = platform.truth.expected(*columns, 0, 0)
    np.testing.assert_array_equal(named["click"], numbered["click"])
    assert (platform.truth.expected(*columns, FOR_YOU, 0)["click"] > named["click"]).all()
    with pytest.raises(ValueError, match="tab"):
        platform.truth.expected(*columns, np.full(50, "nowhere"), 0)


def top_values(data: Dataset, viewer: int, scores: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean true satisfaction of the 20 best videos by each score; `oracle` is ranked by the truth itself."""
    count = len(data.videos)
    truth = data.truth.expected(np.full(count, viewer), np.arange(count), data.as_of_ms - 1, FOR_YOU, 0)
    value = 0.3 * truth["click"] + 0.01 * truth["watch_s"] + truth["finish"] + 5.0 * truth["like"]
    return {
        name: value[np.argsort(-score)[:20]].mean() for name, score in (scores | {"oracle": value}).items()
    }


def topic_scores(data: Dataset, viewer: int) -> np.ndarray:
    """The viewer's true liking of each video's topic: the most that topics alone can tell."""
    world = data.truth.world
    interest = data.truth.interest(np.array([viewer]), np.array([data.as_of_ms]))[0]
    return (world.topic_place @ interest)[world.videos.topic]


def test_oracle_beats_popularity_beats_chance(platform: Dataset) -> None:
    video = counters.state_at(platform, platform.as_of_ms).video
    rng = np.random.default_rng(4)
    scores = {"chance": rng.random(len(video)), "popular": (video[:, 1] + 2.0) / (video[:, 0] + 5.0)}
    rows = [top_values(platform, v, scores | {"topic": topic_scores(platform, v)}) for v in range(100)]
    mean = pd.DataFrame(rows).mean()
    assert mean["popular"] > 1.4 * mean["chance"]
    assert mean["topic"] > 1.3 * mean["chance"]
    assert mean["oracle"] > 1.4 * mean["popular"]
    assert mean["oracle"] > 1.4 * mean["topic"]


def test_interest_is_only_partly_topic(platform: Dataset) -> None:
    count = len(platform.videos)
    shares = []
    for viewer in range(60):
        affinity = platform.truth.affinity(
            np.full(count, viewer), np.arange(count), np.full(count, platform.as_of_ms)
        )
        shares.append(np.corrcoef(affinity, topic_scores(platform, viewer))[0, 1] ** 2)
    assert 0.1 < np.mean(shares) < 0.6


def test_interests_drift(platform: Dataset) -> None:
    everyone = np.arange(len(platform.viewers))
    start = platform.as_of_ms - 14 * 86_400_000
    begin, soon, end = (
        platform.truth.interest(everyone, np.full(len(everyone), time))
        for time in (start, start + 3_600_000, platform.as_of_ms)
    )
    near = (begin * soon).sum(axis=1) / np.linalg.norm(begin, axis=1) / np.linalg.norm(soon, axis=1)
    far = (begin * end).sum(axis=1) / np.linalg.norm(begin, axis=1) / np.linalg.norm(end, axis=1)
    assert near.min() > 0.999 and 0.5 < far.mean() < 0.97


def test_friends_are_alike(platform: Dataset) -> None:
    community = platform.truth.world.viewers.community
    friends = platform.friends
    same = (community[friends["viewer"]] == community[friends["friend"]]).mean()
    rng = np.random.default_rng(0)
    chance = (community[friends["viewer"]] == rng.permutation(community)[friends["friend"]]).mean()
    assert same > 5 * chance
    assert 4 < len(friends) / len(platform.viewers) < 12


def test_uploads_go_on_and_nothing_is_shown_before(
    platform: Dataset, platform_params: SimulationParams
) -> None:
    upload = platform.videos["upload_ms"].to_numpy()
    log = platform.impressions
    assert (upload[log["video"]] <= log["time_ms"]).all()
    day = (upload[upload >= platform_params.start_ms] - platform_params.start_ms) // 86_400_000
    assert (np.bincount(day, minlength=14) > 20).all() and upload.max() < platform.as_of_ms
    new = log["time_ms"] - upload[log["video"]] < 86_400_000
    assert 0.02 < new.mean() < 0.5


def test_a_video_is_shown_once_to_a_viewer(platform: Dataset) -> None:
    assert not platform.impressions.duplicated(["viewer", "video"]).any()
    pages = platform.impressions.groupby("request_id")
    assert (
        pages.size().max() == 8
        and (pages["viewer"].nunique() == 1).all()
        and (pages["time_ms"].nunique() == 1).all()
    )
    assert (pages["position"].min() == 0).all() and (pages["position"].max() == pages.size() - 1).all()


def test_safety_and_ages(platform: Dataset) -> None:
    videos, age = platform.videos, platform.viewers["age"]
    share = videos["safety"].value_counts(normalize=True)
    assert 0.85 < share["safe"] < 0.99 and share["unsafe"] > 0.003 and share["unknown"] > 0.01
    assert {-1, 0, 13, 18} <= set(videos["min_age"])
    scores = videos.groupby("safety")["unsafe_score"].mean()
    assert scores["unsafe"] > 0.6 and scores["safe"] < 0.2 and videos["unsafe_score"].isna().any()
    assert 0.03 < age.isna().mean() < 0.15 and 0.04 < (age < 18).mean() < 0.18


def test_titles_and_ids(platform: Dataset) -> None:
    assert platform.viewers["id"].iloc[[0, -1]].tolist() == ["1", "400"]
    assert platform.videos["id"].iloc[0] == "v00001"
    titles = platform.videos["title"]
    assert titles.str.len().between(8, 90).all() and titles.nunique() > 0.5 * len(titles)
    assert not titles.str.contains(r"[{}]").any() and titles.str[0].str.isupper().all()


def test_follows_are_old_or_in_the_log(platform: Dataset) -> None:
    follows, log = platform.follows, platform.impressions
    new = follows[follows["time_ms"] != UNKNOWN_MS]
    assert len(new) == log["follow"].sum() > 0 and len(follows) > 5 * len(platform.viewers)
    creator = platform.videos["creator"].to_numpy()[log["video"][log["follow"]]]
    assert set(zip(new["viewer"], new["creator"], strict=True)) == set(
        zip(log["viewer"][log["follow"]], creator, strict=True)
    )


def test_history_is_older_and_at_most_50(platform: Dataset) -> None:
    size = platform.history.groupby("viewer").size()
    assert size.max() == 50 and size.min() >= 1 and len(size) > 0.8 * len(platform.viewers)
    met = platform.history.merge(platform.impressions[["viewer", "video"]], on=["viewer", "video"])
    assert len(met) == 0


@pytest.mark.parametrize(
    "text, problem",
    [
        ("viewers=1", "viewers=1"),
        ("viewers=x", "viewers=x: a value as 5000 is wanted"),
        ("wheels=4", "'wheels'"),
        ("random_share=2", "random_share"),
    ],
)
def test_parameters_are_checked(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        SimulationParams.parse(text)


def test_named_on_the_command_line() -> None:
    data = load("simulate:viewers=40,videos=200,creators=12,days=5,history_days=1,seed=9")
    assert len(data.viewers) == 40 and data.impressions["day"].nunique() == 5
    with pytest.raises(ValueError, match="names no data"):
        load("csv:somewhere")


@pytest.mark.parametrize(
    "text", ["follows=0,friends=0", "history_days=0", "random_share=1", "random_share=0", "days=1"]
)
def test_extreme_settings_give_a_valid_log(text: str) -> None:
    """``simulate`` validates what it makes; a catalogue smaller than the demand leaves shorter pages."""
    data = load(f"simulate:viewers=50,videos=100,creators=5,days=3,history_days=1,sessions_per_day=5,{text}")
    assert len(data.impressions) > 100
    if "friends=0" in text:
        assert len(data.friends) == 0
    if text == "history_days=0":
        assert len(data.history) == 0


@pytest.mark.parametrize("share, low, high", [(0, 0.0, 0.0), (0.5, 0.4, 0.5), (1, 0.8, 1.0)])
def test_share_of_uniform_draws(share: float, low: float, high: float) -> None:
    """A uniform draw that the viewer has seen leaves its place to the policy; followed creators have no such
    draws.
    """
    data = load(f"simulate:viewers=100,videos=5000,days=2,history_days=0,random_share={share}")
    log = data.impressions
    assert low <= log["is_random"][log["tab"] != "following"].mean() <= high
    assert not log["is_random"][log["tab"] == "following"].any()
