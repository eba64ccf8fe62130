"""A plain reader of the server's event log (docs/event-log.md), independent of the C one.

``read_events`` gives the events of a folder of segments in order, ``event_table`` the same as a table: what
data sets are built from. A log that lost acknowledged events raises ``DamagedLogError``; a torn end is passed
over, so that a log may be read while a server writes to it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

TYPES = ("impression", "click", "play", "finish", "like", "share", "skip", "dislike")
KIND_EVENT = 1
MAGIC = b"VIREOLOG"
VERSION = 1
SEGMENT_HEADER = struct.Struct("<8sIIQqII")
FRAME_HEAD = struct.Struct("<II")
RECORD_HEAD = struct.Struct("<QIBBHqqff")
FIELD_HEAD = struct.Struct("<BxH")
RECORD_MAX_BYTES = 65536
ALIGN = 8
SEGMENT_NAME = re.compile(r"\d{20}\.log")
FIELD_NAMES = {
    1: "event_id",
    2: "request_id",
    3: "user_id",
    4: "video_id",
    5: "model_version",
    6: "experiment",
    7: "arm",
    8: "source",
}


class DamagedLogError(ValueError):
    """Bytes that were acknowledged are not what was written."""


@dataclass(frozen=True)
class Event:
    """One record of the log; times in milliseconds since 1970, texts empty and position 0 where unknown."""

    sequence: int
    received_ms: int
    time_ms: int
    type: str
    event_id: str
    request_id: str
    user_id: str
    video_id: str
    watch_s: float
    duration_s: float
    position: int
    model_version: str
    experiment: str
    arm: str
    source: str


@dataclass(frozen=True)
class Header:
    """What a segment's first 40 bytes say."""

    first: int
    store_ms: int


def _crc_table() -> np.ndarray:
    """Remainders of all bytes for CRC-32C, uint32 [256]."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table


CRC_TABLE = _crc_table()


def crc32c(rows: np.ndarray) -> np.ndarray:
    """CRC-32C of each row of bytes, uint8 [n, length] -> uint32 [n]."""
    crc = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows.T:
        crc = CRC_TABLE[(crc ^ column) & 0xFF] ^ (crc >> 8)
    return crc ^ np.uint32(0xFFFFFFFF)


def segments(folder: Path) -> list[Path]:
    """The segments of a log, oldest first."""
    return sorted(path for path in folder.iterdir() if SEGMENT_NAME.fullmatch(path.name))


def read_header(data: bytes, path: Path) -> Header:
    """The header of a segment."""
    if len(data) < SEGMENT_HEADER.size or not data.startswith(MAGIC):
        raise DamagedLogError(f"{path}: no segment of an event log")
    _, version, _, first, store_ms, _, crc = SEGMENT_HEADER.unpack_from(data)
    if crc32c(np.frombuffer(data[:36], np.uint8)[None])[0] != crc:
        raise DamagedLogError(f"{path}: its header does not have its checksum")
    if version != VERSION:
        raise DamagedLogError(f"{path}: version {version}, this reader knows {VERSION}")
    return Header(first, store_ms)


def _padded(length: int) -> int:
    return -(-(FRAME_HEAD.size + length) // ALIGN) * ALIGN


def _frame_length(data: bytes, at: int) -> int:
    """The payload's length of what may be a frame; 0 where it is none for sure."""
    if at + FRAME_HEAD.size > len(data):
        return 0
    length, _ = FRAME_HEAD.unpack_from(data, at)
    fits = RECORD_HEAD.size <= length <= RECORD_MAX_BYTES and at + _padded(length) <= len(data)
    return length if fits else 0


def _frames(data: bytes) -> np.ndarray:
    """Where frames begin, by their lengths alone, and those lengths: int64 [n, 2]."""
    found = []
    at = SEGMENT_HEADER.size
    while (length := _frame_length(data, at)) != 0:
        found.append((at, length))
        at += _padded(length)
    return np.array(found, np.int64).reshape(-1, 2)


def _intact(data: bytes, frames: np.ndarray) -> np.ndarray:
    """Which frames have their checksum, bool [n]."""
    array = np.frombuffer(data, np.uint8)
    good = np.zeros(len(frames), bool)
    for length in np.unique(frames[:, 1]):
        rows = np.flatnonzero(frames[:, 1] == length)
        begins = frames[rows, 0][:, None]
        covered = np.concatenate([np.arange(4), np.arange(8, 8 + length)])
        stored = array[begins + np.arange(4, 8)].copy().view("<u4")[:, 0]
        good[rows] = crc32c(array[begins + covered]) == stored
    return good


def _whole_records(data: bytes, first: int, end: int | None) -> tuple[list[tuple[int, int]], int]:
    """(place, length) of the records that count, and the byte behind them."""
    frames = _frames(data)
    good = _intact(data, frames)
    at = SEGMENT_HEADER.size
    records = []
    for (place, length), intact in zip(frames.tolist(), good.tolist(), strict=True):
        expected = first + len(records)
        (sequence,) = struct.unpack_from("<Q", data, place + FRAME_HEAD.size)
        if not intact or sequence != expected or (end is not None and expected >= end):
            break
        records.append((place, length))
        at = place + _padded(length)
    return records, at


def _later_group(data: bytes, at: int, expected: int) -> bool:
    """A record behind ``at`` whose group begins behind it too: ``at`` had been synced before."""
    for place in range(at + ALIGN, len(data), ALIGN):
        length = _frame_length(data, place)
        if length and _intact(data, np.array([[place, length]]))[0]:
            sequence, group = struct.unpack_from("<QI", data, place + FRAME_HEAD.size)
            if sequence > expected and group < place - at:
                return True
    return False


def _decode(data: bytes, place: int, length: int) -> Event | None:
    """The event at a place; None for a record of another kind."""
    payload = place + FRAME_HEAD.size
    sequence, _, kind, number, position, time_ms, received_ms, watch_s, duration_s = RECORD_HEAD.unpack_from(
        data, payload
    )
    if kind != KIND_EVENT:
        return None
    texts = dict.fromkeys(FIELD_NAMES.values(), "")
    at, end = payload + RECORD_HEAD.size, payload + length
    while at < end:
        tag, size = FIELD_HEAD.unpack_from(data, at)
        at += FIELD_HEAD.size
        if tag in FIELD_NAMES:
            texts[FIELD_NAMES[tag]] = data[at : at + size].decode("utf-8", "surrogateescape")
        at += size
    return Event(
        sequence=sequence,
        received_ms=received_ms,
        time_ms=time_ms,
        type=TYPES[number],
        watch_s=watch_s,
        duration_s=duration_s,
        position=position,
        **texts,
    )


def _read_segment(path: Path, following: Path | None, first: int) -> Iterator[Event]:
    """The events of one segment from a sequence on."""
    data = path.read_bytes()
    header = read_header(data, path)
    end = int(following.stem) if following else None
    records, at = _whole_records(data, header.first, end)
    expected = header.first + len(records)
    for place, length in records[max(0, first - header.first) :]:
        event = _decode(data, place, length)
        if event is not None:
            yield event
    damaged = expected < end if end is not None else _later_group(data, at, expected)
    if damaged:
        raise DamagedLogError(f"{path}: damaged at byte {at}: record {expected} is not what was written")


def read_events(folder: Path | str, first: int = 1) -> Iterator[Event]:
    """The events of a log from sequence ``first`` on, in order. DamagedLogError, OSError."""
    found = segments(Path(folder))
    for path, following in zip_longest(found, found[1:]):
        if following is None or int(following.stem) > first:
            yield from _read_segment(path, following, first)


def event_table(folder: Path | str, first: int = 1) -> pd.DataFrame:
    """The same as a table, one row an event."""
    return pd.DataFrame(list(read_events(folder, first)), columns=[field.name for field in fields(Event)])
