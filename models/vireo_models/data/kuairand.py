"""Reads KuaiRand-Pure into the schema.

``load(folder)`` takes either of two forms and finds out which one it has: the publisher's own files
(``log_standard_*.csv``, ``user_features_pure.csv``, ``video_features_basic_pure.csv``) or an excerpt with the
last 50 impressions of each user before 25 April 2022 in a history file of its own. Plain and gzip CSV are
read.

The publisher's ``video_features_statistic_pure.csv`` sums up the whole month, the judged days included, and
``log_random_*.csv`` follows another policy; neither is read. Of either form the same days are used:
impressions from 25 April to 6 May, or to a later day that is asked for, and the 50 before them as history.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from .. import schema
from ..schema import Dataset, Field, finish_of, make_frame, watch_of
from .clean import CleanReport, clean_log

UTC_OFFSET_MIN = 8 * 60  # the log's days are China's
HISTORY_LENGTH = 50
FIRST_DAY = 20220425
LAST_DAY = 20220506

LOG_COLUMNS = [
    "user_id",
    "video_id",
    "date",
    "time_ms",
    "is_click",
    "is_like",
    "is_follow",
    "is_forward",
    "is_hate",
    "long_view",
    "play_time_ms",
    "duration_ms",
    "is_rand",
    "tab",
]
HISTORY_COLUMNS = ["user_id", "pos", "video_id", "long_view", "is_like"]
ONEHOT = [f"onehot_feat{i}" for i in range(18)]
USER_NUMBERS = ["follow_user_num", "fans_user_num", "friend_user_num", "register_days"]
USER_TEXTS = [
    "user_active_degree",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    *ONEHOT,
]
VIDEO_SOURCE = [
    "video_id",
    "author_id",
    "video_type",
    "upload_dt",
    "upload_type",
    "visible_status",
    "video_duration",
    "server_width",
    "server_height",
    "music_id",
    "music_type",
    "tag",
]
VIDEO_TEXTS = ["video_type", "upload_type", "music_type"]
# Numbers that may be missing: clean-up drops such rows of the log, an attribute of a video is then unknown.
LOG_OPTIONAL = ["play_time_ms", "duration_ms"]
VIDEO_OPTIONAL = ["visible_status", "video_duration", "server_width", "server_height", "music_id"]

ATTRIBUTION = "KuaiRand (Gao et al., CIKM 2022, doi 10.1145/3511808.3557624), CC BY-SA 4.0"


class DataError(ValueError):
    """A file, column or value that the loader needs is not there or makes no sense; the text names it."""


def load(folder: str | Path, last_day: int = LAST_DAY) -> Dataset:
    """Reads, cleans and checks KuaiRand-Pure up to ``last_day`` (YYYYMMDD); raises :class:`DataError` naming
    the file or column that is missing or wrong."""
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    publisher = _publisher_folder(root)
    log, history, users, videos = _read_publisher(publisher) if publisher else _read_excerpt(root)
    log = log[(log["date"] >= FIRST_DAY) & (log["date"] <= last_day)].reset_index(drop=True)
    as_of = local_midnight_ms(last_day) + 86_400_000
    return _build(log, history, users, videos, as_of, "publisher's files" if publisher else "excerpt")


def _publisher_folder(root: Path) -> Path | None:
    """The folder with log_standard_*.csv: ``root`` or, as the publisher's archive unpacks, ``root/data``."""
    for folder in (root, root / "data"):
        if any(folder.glob("log_standard_*.csv*")):
            return folder
    return None


def _find(folder: Path, pattern: str) -> list[Path]:
    """Files that match ``pattern``, .csv or .csv.gz, one of each name; an error when there is none."""
    found = {path.name.removesuffix(".gz"): path for path in sorted(folder.glob(pattern + "*"))}
    found = {name: path for name, path in found.items() if name.endswith(".csv")}
    if not found:
        raise DataError(f"{folder / pattern}: no such file (nor with .gz)")
    return list(found.values())


def _read(
    path: Path, columns: list[str], texts: Collection[str] = (), optional: Collection[str] = ()
) -> pd.DataFrame:
    """``columns`` of a file. All but ``texts`` are numbers; all but those and ``optional`` are there."""
    try:
        have = pd.read_csv(path, nrows=0).columns
        missing = [name for name in columns if name not in have]
        if not missing:
            frame = pd.read_csv(path, usecols=columns, dtype=dict.fromkeys(texts, str))[columns]
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path.name}: {error}") from error
    if missing:
        raise DataError(f"{path.name}: column {missing[0]} is missing")
    numbers = [name for name in columns if name not in texts]
    if not len(frame):
        return frame.astype(dict.fromkeys(numbers, np.int64))
    for name in numbers:
        _check_numbers(path.name, frame[name], name in optional)
    return frame


def _check_numbers(file: str, column: pd.Series, optional: bool) -> None:
    numbers = pd.to_numeric(column, errors="coerce")
    bad = (numbers.isna() & (column.notna() | (not optional))).to_numpy()
    if bad.any():
        row = int(np.argmax(bad))
        what = "is missing" if pd.isna(column.iloc[row]) else f"{column.iloc[row]!r} is not a number"
        raise DataError(f"{file}, line {row + 2}: {column.name} {what}")


def _read_entities(
    path: Path, columns: list[str], texts: Collection[str], optional: Collection[str] = ()
) -> pd.DataFrame:
    """A table of users or videos: one row for each id, the first of ``columns``."""
    frame = _read(path, columns, texts, optional)
    again = frame[columns[0]].duplicated().to_numpy()
    if again.any():
        row = int(np.argmax(again))
        its = f"{columns[0]} {frame[columns[0]].iloc[row]}"
        raise DataError(f"{path.name}, line {row + 2}: {its} is repeated")
    return frame


def _read_log(path: Path) -> pd.DataFrame:
    return _read(path, LOG_COLUMNS, optional=LOG_OPTIONAL)


def _read_users(path: Path) -> pd.DataFrame:
    return _read_entities(path, ["user_id", *USER_TEXTS, *USER_NUMBERS], USER_TEXTS)


def _read_videos(path: Path) -> pd.DataFrame:
    return _read_entities(path, VIDEO_SOURCE, [*VIDEO_TEXTS, "tag", "upload_dt"], VIDEO_OPTIONAL)


def _read_excerpt(root: Path) -> tuple[pd.DataFrame, ...]:
    log = pd.concat([_read_log(path) for path in _find(root, "log_2*.csv")], ignore_index=True)
    history = pd.concat(
        [_read(path, HISTORY_COLUMNS) for path in _find(root, "history_*.csv")], ignore_index=True
    )
    users = _read_users(_find(root, "user_features.csv")[0])
    return log, history, users, _read_videos(_find(root, "video_features.csv")[0])


def _read_publisher(root: Path) -> tuple[pd.DataFrame, ...]:
    log = pd.concat([_read_log(path) for path in _find(root, "log_standard_*.csv")], ignore_index=True)
    users = _read_users(_find(root, "user_features_pure.csv")[0])
    videos = _read_videos(_find(root, "video_features_basic_pure.csv")[0])
    return log, _last_of_each(log[log["date"] < FIRST_DAY]), users, videos


def _last_of_each(before: pd.DataFrame) -> pd.DataFrame:
    """The last 50 impressions of each user, oldest first, as the excerpt's history file has them."""
    ordered = before.sort_values(["user_id", "time_ms"], kind="stable")
    ordered = ordered.groupby("user_id", sort=False).tail(HISTORY_LENGTH)
    ordered = ordered.assign(pos=ordered.groupby("user_id", sort=False).cumcount())
    return ordered[HISTORY_COLUMNS].reset_index(drop=True)


def _rows(values: pd.Series, ids: pd.Series, file: str) -> np.ndarray:
    """Rows of ``values`` in ``ids``; an id that is not there is an error."""
    rows = pd.Index(ids).get_indexer(pd.Index(values))
    if (rows < 0).any():
        raise DataError(f"{file}: {values.name} {values.iloc[int(np.argmax(rows < 0))]} has no row")
    return rows.astype(np.int32)


def _build(
    log: pd.DataFrame,
    history: pd.DataFrame,
    users: pd.DataFrame,
    videos: pd.DataFrame,
    as_of: int,
    form: str,
) -> Dataset:
    users = users.sort_values("user_id").reset_index(drop=True)
    videos = videos.sort_values("video_id").reset_index(drop=True)
    raw = _raw_impressions(log, users, videos)
    kept, report = clean_log(raw, first_ms=local_midnight_ms(FIRST_DAY) - 86_400_000, end_ms=as_of)
    impressions = _impressions(kept)
    viewers, viewer_fields = _viewers(users)
    catalogue, video_fields = _videos(videos)
    return Dataset(
        name="kuairand",
        as_of_ms=as_of,
        utc_offset_min=UTC_OFFSET_MIN,
        impressions=impressions,
        history=_history(history, users, videos),
        viewers=viewers,
        videos=catalogue,
        follows=_follows(impressions, catalogue),
        friends=make_frame(schema.FRIEND_COLUMNS, {"viewer": [], "friend": []}),
        viewer_fields=viewer_fields,
        video_fields=video_fields,
        notes=_notes(form, report),
    ).validate()


def local_midnight_ms(day: int) -> int:
    """00:00 China time of a YYYYMMDD day, as UTC milliseconds."""
    return int(pd.Timestamp(str(day)).value // 1_000_000) - UTC_OFFSET_MIN * 60_000


def _raw_impressions(log: pd.DataFrame, users: pd.DataFrame, videos: pd.DataFrame) -> pd.DataFrame:
    flags = {
        "click": "is_click",
        "like": "is_like",
        "follow": "is_follow",
        "share": "is_forward",
        "hate": "is_hate",
    }
    columns = {name: log[source] > 0 for name, source in flags.items()}
    return pd.DataFrame(
        columns
        | {
            "viewer": _rows(log["user_id"], users["user_id"], "user features"),
            "video": _rows(log["video_id"], videos["video_id"], "video features"),
            "time_ms": log["time_ms"].astype(np.int64),
            "day": log["date"],
            "tab": log["tab"].astype(str),
            "long_view": log["long_view"] > 0,
            "play_s": log["play_time_ms"].to_numpy() / 1000.0,
            "duration_s": log["duration_ms"].to_numpy() / 1000.0,
            "is_random": log["is_rand"] > 0,
        }
    )


def _impressions(kept: pd.DataFrame) -> pd.DataFrame:
    """The log has no request id: what one viewer got at one millisecond is taken for one request."""
    new_request = ~kept.duplicated(["time_ms", "viewer"])
    values = dict(kept.items()) | {
        "request_id": np.cumsum(new_request),
        "position": np.full(len(kept), -1),
        "watch_s": watch_of(kept["play_s"].to_numpy()),
        "finish": finish_of(kept["play_s"].to_numpy(), kept["duration_s"].to_numpy()),
    }
    return make_frame(schema.IMPRESSION_COLUMNS, values)


def _history(history: pd.DataFrame, users: pd.DataFrame, videos: pd.DataFrame) -> pd.DataFrame:
    values = {
        "viewer": _rows(history["user_id"], users["user_id"], "user features"),
        "pos": history["pos"],
        "video": _rows(history["video_id"], videos["video_id"], "video features"),
        "long_view": history["long_view"] > 0,
        "like": history["is_like"] > 0,
    }
    frame = make_frame(schema.HISTORY_COLUMNS, values)
    return frame.sort_values(["viewer", "pos"], kind="stable").reset_index(drop=True)


def _code_text(column: pd.Series) -> pd.Series:
    """Encoded features as text: "1.0" becomes "1", a missing value ""."""
    return column.fillna("").astype("str").str.removesuffix(".0")


def _viewers(users: pd.DataFrame) -> tuple[pd.DataFrame, list[Field]]:
    columns = {"id": users["user_id"].astype("str"), "age": np.full(len(users), np.nan, np.float32)}
    columns |= {name: _code_text(users[name]) for name in USER_TEXTS}
    columns |= {name: users[name].astype(np.int64) for name in USER_NUMBERS}
    fields = [(name, "str") for name in USER_TEXTS] + [(name, "int") for name in USER_NUMBERS]
    return pd.DataFrame(columns), fields


def _upload_ms(day: pd.Series) -> pd.Series:
    """00:00 China time of each upload day (text, may be missing), as UTC milliseconds."""
    local = pd.to_datetime(day, format="%Y-%m-%d", errors="coerce")
    bad = day[local.isna() & day.notna()]
    if len(bad):
        raise DataError(f"video features: upload_dt {bad.iloc[0]!r} is not a day as 2022-04-09")
    uploaded = local.astype("datetime64[ms]").astype(np.int64) - UTC_OFFSET_MIN * 60_000
    return uploaded.where(day.notna(), schema.UNKNOWN_MS).astype(np.int64)


def _videos(videos: pd.DataFrame) -> tuple[pd.DataFrame, list[Field]]:
    tag = videos["tag"].fillna("").astype("str")
    visible = (videos["visible_status"] == 0).to_numpy()
    columns = {
        "id": videos["video_id"].astype("str"),
        "creator": videos["author_id"].astype("str"),
        "topic": tag.str.split(",").str[0],
        "title": pd.array([""] * len(videos), dtype="str"),
        "upload_ms": _upload_ms(videos["upload_dt"]),
        "duration_s": (videos["video_duration"].fillna(0) / 1000).astype(np.float32),
        "safety": pd.array(np.where(visible, "safe", "unknown"), dtype="str"),
        "min_age": np.where(visible, 0, -1).astype(np.int16),
        "unsafe_score": np.where(visible, 0, np.nan).astype(np.float32),
        "tags": tag,
        "server_width": videos["server_width"].astype(np.float32),
        "server_height": videos["server_height"].astype(np.float32),
    }
    columns |= {name: _code_text(videos[name]) for name in VIDEO_TEXTS}
    columns["music"] = videos["music_id"].astype("str").where(videos["music_id"] > 0, "")
    numbers = ["server_width", "server_height"]
    texts = ["tags", *VIDEO_TEXTS, "music"]
    return pd.DataFrame(columns), [(name, "str") for name in texts] + [(name, "float") for name in numbers]


def _follows(impressions: pd.DataFrame, videos: pd.DataFrame) -> pd.DataFrame:
    """First follow of each (viewer, creator); the log has no other edges."""
    rows = impressions[impressions["follow"]]
    creator = videos["creator"].to_numpy()[rows["video"]]
    frame = make_frame(
        schema.FOLLOW_COLUMNS, {"viewer": rows["viewer"], "creator": creator, "time_ms": rows["time_ms"]}
    )
    return frame[~frame.duplicated(["viewer", "creator"])].reset_index(drop=True)


def _notes(form: str, report: CleanReport) -> list[str]:
    return [
        f"{ATTRIBUTION}; read from the {form}",
        "request_id: one a viewer and millisecond; position unknown; no friends; follows only of the log",
        "no titles, no viewer ages; visible_status 0 counts as safe for every age; topic is the first tag",
        "upload time: a day without an hour, taken as 00:00 China time",
        "history: the last 50 impressions of a viewer before 25 April 2022, without time and watch time",
        *(f"clean-up, {line}" for line in report.lines()),
    ]
