"""KuaiRand: counts of the real excerpt, the publisher's form, and errors that name what is missing."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vireo_models.data import counters, kuairand, load
from vireo_models.data.kuairand import DataError
from vireo_models.data.labels import retrieval_targets, task_labels
from vireo_models.data.splits import split
from vireo_models.schema import Dataset

CHINA_MS = 8 * 3_600_000


@pytest.fixture(scope="module")
def real(kuairand_folder: Path) -> Dataset:
    return load(f"kuairand:{kuairand_folder}")


def test_counts_of_the_real_log(real: Dataset) -> None:
    """Counts and rates that the data's own description gives."""
    assert len(real.impressions) == 198_895 - 5_312
    assert len(real.history) == 817_187
    assert len(real.viewers) == 27_285 and len(real.videos) == 7_583
    assert "clean-up, repeated: 5312" in real.notes
    log = real.impressions
    assert log["click"].mean() == pytest.approx(0.44, abs=0.01)
    assert log["long_view"].mean() == pytest.approx(0.31, abs=0.01)
    assert log["like"].mean() == pytest.approx(0.017, abs=0.001)
    assert (log["finish"] == 1).mean() == pytest.approx(0.16, abs=0.01)
    assert (log["duration_s"] == 0).mean() == pytest.approx(0.016, abs=0.001)
    assert (log["play_s"] == 0).mean() == pytest.approx(0.10, abs=0.01)
    quantiles = log["play_s"].quantile([0.5, 0.9, 0.99]).to_numpy()
    np.testing.assert_allclose(quantiles, [4.6, 62, 209], rtol=0.05)  # those include repeated rows


def test_real_log_against_the_raw_file(real: Dataset, kuairand_folder: Path) -> None:
    """Click rates by tab, finishes and the history, computed from the files once more."""
    raw = pd.read_csv(kuairand_folder / "log_2022-04-25_to_2022-05-06.csv.gz")
    raw = raw.sort_values("play_time_ms").drop_duplicates(["user_id", "video_id", "time_ms"], keep="last")
    finish = (raw["duration_ms"] > 0) & (raw["play_time_ms"] >= 0.95 * raw["duration_ms"])
    log = real.impressions
    assert (log["finish"] == 1).sum() == finish.sum()
    assert (log["finish"] == -1).sum() == (raw["duration_ms"] == 0).sum()
    by_tab = log.groupby("tab", observed=True)["click"].mean()
    assert by_tab["0"] == pytest.approx(0.09, abs=0.01) and by_tab["1"] == pytest.approx(0.49, abs=0.01)
    assert log["watch_s"].to_numpy(float).sum() == pytest.approx(
        raw["play_time_ms"].clip(upper=300_000).sum() / 1000, rel=1e-6
    )
    ids = real.viewers["id"].to_numpy()[log["viewer"]].astype(int)
    assert ids.sum() == raw["user_id"].sum()


def test_days_of_the_real_log(real: Dataset) -> None:
    """The log's own day is China's; rows around midnight may begin on the day before, never on the one
    after.
    """
    log = real.impressions
    local = pd.to_datetime(log["time_ms"] + CHINA_MS, unit="ms")
    own = local.dt.strftime("%Y%m%d").astype(int)
    assert (own <= log["day"]).all() and (own == log["day"]).mean() > 0.99
    assert (local.dt.hour[own != log["day"]] >= 21).all()
    days = split(real)
    assert days.fit_days[0] == 20220425 and days.fit_days[-1] == 20220502
    assert days.tune_days == (20220503,) and days.calibrate_days == (20220504,)
    assert days.report_days == (20220505, 20220506)
    assert sum(len(part) for part in (days.fit, days.tune, days.calibrate, days.report)) == len(log)
    assert pd.Timestamp(days.report_ms + CHINA_MS, unit="ms") == pd.Timestamp("2022-05-05")
    assert log["time_ms"].iloc[days.calibrate].max() < days.report_ms


def test_entities_of_the_real_log(real: Dataset) -> None:
    assert (real.videos["safety"] == "safe").all() and (real.videos["unsafe_score"] == 0).all()
    assert len(real.topics[1]) == 43 and len(real.creators[1]) == 6_510
    assert len(real.friends) == 0 and 0 < len(real.follows) <= real.impressions["follow"].sum()
    assert not any("_pure" in note for note in real.notes)
    assert {name for name, _ in real.viewer_fields} >= {"user_active_degree", "onehot_feat3", "register_days"}


def test_retrieval_targets_of_the_real_log(real: Dataset) -> None:
    targets = retrieval_targets(real, [20220505, 20220506])
    log = real.impressions
    judged = log[(log["day"] >= 20220505) & log["long_view"] & (log["time_ms"] >= targets.frozen_ms)]
    pairs = set(zip(judged["viewer"], judged["video"], strict=True))
    for index, viewer in enumerate(targets.viewers[:200]):
        assert not np.isin(targets.targets(index), targets.met(index)).any()
        assert {(viewer, video) for video in targets.targets(index)} <= pairs
    assert 0 < len(targets.target_videos) < len(pairs)


def test_counters_of_the_real_log(real: Dataset) -> None:
    """The newest row of an active viewer knows all of their earlier ones."""
    totals = counters.totals(real, "viewer")
    assert totals[:, 0].max() + 1 >= real.impressions.groupby("viewer").size().max() - 1
    state = counters.state_at(real, real.as_of_ms)
    assert state.video[:, 0].sum() == len(real.impressions)
    assert state.viewer[:, 5].sum() == pytest.approx(
        real.impressions["watch_s"].to_numpy(float).sum(), rel=1e-9
    )
    assert task_labels(real.impressions).values[:, 1].max() == 300


PUBLISHED_LOG = {
    "user_id": [5, 5, 9, 9, 9, 5],
    "video_id": [20, 21, 20, 21, 21, 21],
    "date": [20220420, 20220424, 20220425, 20220506, 20220506, 20220507],
    "hourmin": [0] * 6,
    "time_ms": [1650400000000, 1650800000000, 1650860000000, 1651800000000, 1651800000000, 1651890000000],
    "is_click": [1, 0, 1, 0, 1, 1],
    "is_like": [0, 1, 0, 0, 1, 0],
    "is_follow": [0, 0, 0, 0, 1, 0],
    "is_comment": [0] * 6,
    "is_forward": [0] * 6,
    "is_hate": [0] * 6,
    "long_view": [1, 0, 1, 0, 1, 1],
    "play_time_ms": [9000, 0, 9500, 100, 400000, 5],
    "duration_ms": [10000, 0, 10000, 0, 0, 0],
    "is_rand": [0] * 6,
    "tab": [1, 1, 0, 1, 1, 1],
}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Six rows in the publisher's form, in two log files."""
    folder = tmp_path / "KuaiRand-Pure" / "data"
    folder.mkdir(parents=True)
    log = pd.DataFrame(PUBLISHED_LOG)
    log.iloc[:2].to_csv(folder / "log_standard_4_08_to_4_21_pure.csv", index=False)
    log.iloc[2:].to_csv(folder / "log_standard_4_22_to_5_08_pure.csv", index=False)
    users = {name: ["a", "b"] for name in kuairand.USER_TEXTS} | {
        name: [1, 2] for name in kuairand.USER_NUMBERS
    }
    pd.DataFrame({"user_id": [9, 5]} | users).to_csv(folder / "user_features_pure.csv", index=False)
    videos = {name: [1, 2] for name in kuairand.VIDEO_SOURCE} | {
        "video_id": [20, 21],
        "visible_status": [0, 1],
        "upload_dt": ["2022-04-09", "2022-04-10"],
        "tag": ["7,8", None],
        "video_duration": [10000.0, None],
    }
    pd.DataFrame(videos).to_csv(folder / "video_features_basic_pure.csv", index=False)
    (folder / "video_features_statistic_pure.csv").write_text("not read\n")
    return folder


def test_publisher_form(published: Path) -> None:
    data = kuairand.load(published.parent)
    assert data.viewers["id"].tolist() == ["5", "9"]
    assert data.history.to_numpy().tolist() == [[0, 0, 0, True, False], [0, 1, 1, False, True]]
    log = data.impressions
    assert log["day"].tolist() == [20220425, 20220506] and log["viewer"].tolist() == [1, 1]
    assert log["watch_s"].tolist() == [9.5, 300.0] and log["finish"].tolist() == [1, -1]
    assert log["request_id"].tolist() == [1, 2] and (log["position"] == -1).all()
    assert data.videos["safety"].tolist() == ["safe", "unknown"] and data.videos["topic"].tolist() == [
        "7",
        "",
    ]
    assert data.videos["duration_s"].tolist() == [10.0, 0.0]
    assert data.follows.to_numpy().tolist() == [[1, "2", 1651800000000]]
    assert any("publisher" in note for note in data.notes)


@pytest.mark.parametrize(
    "name", ["log_standard_4_22_to_5_08_pure.csv", "user_features_pure.csv", "video_features_basic_pure.csv"]
)
def test_missing_column_is_named(published: Path, name: str) -> None:
    table = pd.read_csv(published / name)
    for column in ("time_ms", "register_days", "tag"):
        if column in table:
            table.drop(columns=column).to_csv(published / name, index=False)
            with pytest.raises(DataError, match=f"{name}.*{column}"):
                kuairand.load(published)


@pytest.mark.parametrize("name", ["user_features_pure.csv", "video_features_basic_pure.csv"])
def test_missing_file_is_named(published: Path, name: str) -> None:
    (published / name).unlink()
    with pytest.raises(DataError, match=name):
        kuairand.load(published)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("time_ms", None, "line 3: time_ms is missing"),
        ("tab", None, "line 3: tab is missing"),
        ("is_click", None, "line 3: is_click is missing"),
        ("long_view", "yes", "line 3: long_view 'yes' is not a number"),
        ("date", "2022-04-25", "line 3: date '2022-04-25' is not a number"),
    ],
)
def test_a_bad_value_of_the_log_is_named(published: Path, column: str, value: object, message: str) -> None:
    path = published / "log_standard_4_22_to_5_08_pure.csv"
    log = pd.read_csv(path).astype({column: object})
    log.loc[1, column] = value
    log.to_csv(path, index=False)
    with pytest.raises(DataError, match=f"{path.name}, {message}"):
        kuairand.load(published)


def test_a_row_without_play_time_is_dropped_and_counted(published: Path) -> None:
    path = published / "log_standard_4_22_to_5_08_pure.csv"
    log = pd.read_csv(path)
    log.loc[0, "play_time_ms"] = np.nan
    log.to_csv(path, index=False)
    data = kuairand.load(published)
    assert len(data.impressions) == 1 and "clean-up, bad play: 1" in data.notes


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("user_features_pure.csv", "register_days", None, "line 2: register_days is missing"),
        ("video_features_basic_pure.csv", "author_id", None, "line 2: author_id is missing"),
        ("video_features_basic_pure.csv", "upload_dt", "soon", "upload_dt 'soon' is not a day"),
    ],
)
def test_a_bad_feature_is_named(published: Path, name: str, column: str, value: object, message: str) -> None:
    table = pd.read_csv(published / name).astype({column: object})
    table.loc[0, column] = value
    table.to_csv(published / name, index=False)
    with pytest.raises(DataError, match=message):
        kuairand.load(published)


@pytest.mark.parametrize("name", ["user_features_pure.csv", "video_features_basic_pure.csv"])
def test_a_repeated_entity_is_named(published: Path, name: str) -> None:
    table = pd.read_csv(published / name)
    pd.concat([table, table.iloc[:1]]).to_csv(published / name, index=False)
    with pytest.raises(DataError, match=f"{name}, line 4: .*_id .* is repeated"):
        kuairand.load(published)


def test_gzip_is_read_and_a_broken_file_is_named(published: Path) -> None:
    path = published / "log_standard_4_22_to_5_08_pure.csv"
    whole, expected = path.read_bytes(), kuairand.load(published).impressions
    path.unlink()
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(whole))
    pd.testing.assert_frame_equal(kuairand.load(published).impressions, expected)
    for broken in (gzip.compress(whole)[:-20], whole, b""):
        packed.write_bytes(broken)
        with pytest.raises(DataError, match=packed.name):
            kuairand.load(published)


def test_later_days_are_read_when_asked_for(published: Path) -> None:
    assert kuairand.load(published).impressions["day"].max() == 20220506
    later = load(f"kuairand:{published}", last_day=20220507)
    assert later.impressions["day"].tolist() == [20220425, 20220506, 20220507]
    assert later.as_of_ms == kuairand.local_midnight_ms(20220508)
    earlier = load(f"kuairand:{published}", last_day=20220501)
    assert earlier.impressions["day"].max() == 20220506


def test_missing_folder_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        kuairand.load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="log_2"):
        kuairand.load(tmp_path)


def test_unknown_user_is_named(published: Path) -> None:
    users = pd.read_csv(published / "user_features_pure.csv")
    users.iloc[:1].to_csv(published / "user_features_pure.csv", index=False)
    with pytest.raises(DataError, match="user_id 5"):
        kuairand.load(published)
