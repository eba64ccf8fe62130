"""What the store serves against the same recomputed from its log by the plain Python reader.

Random streams of events (duplicates, any order of times, batches of any size, restarts in between) are told
to a durable store. Then the log is read with models/vireo_models/data/events.py, labels are made from the
definitions in docs/architecture.md with a loop over everything, and each answer must be the same.
"""

import math
import os
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vireo_models.data.events import TYPES, Event, event_table, read_events

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VIREO_BUILD_DIR", ROOT / "build" / "release"))
PROGRAM = BUILD.parent / "asan" / "tests" / "oracle_state_log"
LONG = os.environ.get("VIREO_LONG", "") not in ("", "0")
T0 = 1_700_000_000_000
RECENT = 10
HALF_LIFE_MS = 2 * 3_600_000
DURATIONS = (0.0, 4.0, 12.5, 40.0, 310.0)
USERS, VIDEOS, REQUESTS = 3, 5, 3
CLICK, LIKE, LONG_VIEW, FINISH = 1, 2, 4, 8

EVENTS = st.tuples(
    st.integers(0, 60),  # id: repeats come about
    st.integers(0, REQUESTS - 1),
    st.integers(0, USERS - 1),
    st.integers(0, VIDEOS - 1),
    st.integers(0, len(TYPES) - 1),
    st.integers(0, 20_000),  # minutes are far apart, so that decay shows
    st.integers(0, 400),
)
BATCHES = st.lists(
    st.tuples(st.lists(EVENTS, min_size=1, max_size=20), st.booleans()), min_size=1, max_size=12
)


def told_line(event: tuple[int, ...]) -> str:
    number, request, user, video, kind, second, tenths = event
    watch = tenths / 8 if TYPES[kind] == "play" else 0
    words = (f"e{number}", f"r{request}", f"u{user}", f"v{video}", kind, T0 + second * 1000 + number, watch)
    return " ".join(map(str, ("event", *words, DURATIONS[video])))


def flags_and_watch(events: list[Event]) -> tuple[int, float]:
    """The labels of one impression from all its events."""
    kinds = {event.type for event in events}
    played = sum(event.watch_s for event in events if event.type == "play")
    duration = events[0].duration_s
    watched = max(played, duration) if "finish" in kinds else played
    flags = (CLICK if "click" in kinds else 0) | (LIKE if "like" in kinds else 0)
    if watched >= (min(duration, 18) if duration > 0 else 18) - 1e-4:
        flags |= LONG_VIEW
    if duration > 0 and watched >= 0.95 * duration - 1e-4:
        flags |= FINISH
    return flags, min(watched, 300.0)


def counters_of(impressions: list[list[Event]]) -> list[float]:
    labels = [flags_and_watch(events) for events in impressions]
    sums = [sum(1.0 for flags, _ in labels if flags & bit) for bit in (CLICK, FINISH, LIKE, LONG_VIEW)]
    return [float(len(labels)), *sums, sum(watch for _, watch in labels)]


def trend_of(log: list[Event], video: str, now_ms: int) -> float:
    """Decayed weights of a video: each label counts at the time of the event that brought it."""
    weight = 0.0
    so_far: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in log:
        if event.video_id != video:
            continue
        events = so_far[event.user_id, event.request_id]
        before = flags_and_watch(events)[0] if events else 0
        events.append(event)
        rose = flags_and_watch(events)[0] & ~before
        value = (rose & CLICK != 0) * 1.0 + (rose & FINISH != 0) * 2.0 + (rose & LIKE != 0) * 4.0
        weight += value * 0.5 ** (max(0, now_ms - event.time_ms) / HALF_LIFE_MS)
    return weight


def ask(folder: Path, lines: list[str]) -> list[str]:
    done = subprocess.run(
        [str(PROGRAM), str(folder)],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check_counters(words: list[str], impressions: list[list[Event]]) -> None:
    assert [float(word) for word in words] == pytest.approx(counters_of(impressions), abs=2e-3)


def check_viewer(answer: str, impressions: dict[str, list[Event]]) -> None:
    """Counters, recent watches and what was seen of one viewer."""
    counters, recent, seen = (part.split() for part in answer.split(";"))
    check_counters(counters[1:], list(impressions.values()))
    times = sorted((min(e.time_ms for e in events), key) for key, events in impressions.items())
    assert len(recent) == min(RECENT, len(times))
    for told in recent:
        video, time_ms, flags, watch = told.split(":")
        match = [
            events
            for events in impressions.values()
            if events[0].video_id == video and min(e.time_ms for e in events) == int(time_ms)
        ]
        assert match, told
        labels = [flags_and_watch(events) for events in match]
        assert any(int(flags) == f and float(watch) == pytest.approx(w, abs=1e-3) for f, w in labels), told
    assert [int(told.split(":")[1]) for told in recent] == [time_ms for time_ms, _ in times[-RECENT:]]
    assert sorted(seen) == sorted({events[0].video_id for events in impressions.values()})


def check_answers(answers: list[str], log: list[Event], now_ms: int) -> None:
    """Everything that the store said against the log."""
    by_impression: dict[tuple[str, str, str], list[Event]] = defaultdict(list)
    for event in log:
        by_impression[event.user_id, event.video_id, event.request_id].append(event)
    for user in range(USERS):
        mine = {str(key): events for key, events in by_impression.items() if key[0] == f"u{user}"}
        check_viewer(answers[user], mine)
    for video in range(VIDEOS):
        events = [events for key, events in by_impression.items() if key[1] == f"v{video}"]
        check_counters(answers[USERS + video].split()[1:], events)
    told = {name: float(score) for name, score in (w.split(":") for w in answers[-1].split()[1:])}
    expected = {f"v{video}": trend_of(log, f"v{video}", now_ms) for video in range(VIDEOS)}
    assert told == pytest.approx({name: score for name, score in expected.items() if score > 0}, rel=1e-5)


def expected_verdicts(batches: list[tuple[list[tuple[int, ...]], bool]]) -> list[str]:
    known: set[int] = set()
    lines = []
    for batch, _ in batches:
        verdicts = []
        for event in batch:
            verdicts.append(int(event[0] in known))
            known.add(event[0])
        lines.append("told " + " ".join(map(str, verdicts)))
    return lines


@settings(
    max_examples=400 if LONG else 30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches=BATCHES)
def test_what_is_served_is_what_the_log_says(
    batches: list[tuple[list[tuple[int, ...]], bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    now_ms = T0 + 30_000_000
    lines: list[str] = []
    for batch, restart in batches:
        lines += [*map(told_line, batch), "tell", *(["restart"] if restart else [])]
    lines += [f"viewer u{user}" for user in range(USERS)] + [f"video v{video}" for video in range(VIDEOS)]
    answers = ask(folder, [*lines, f"trending {now_ms}"])
    told = [line for line in answers if line.startswith("told")]
    assert told == expected_verdicts(batches)
    log = list(read_events(folder / "events"))
    distinct = {event[0]: event for batch, _ in reversed(batches) for event in reversed(batch)}
    assert {event.event_id for event in log} == {f"e{number}" for number in distinct}
    assert [event.sequence for event in log] == list(range(1, len(distinct) + 1))
    assert all(math.isfinite(event.watch_s) for event in log)
    check_answers(answers[-(USERS + VIDEOS + 1) :], log, now_ms)


def test_the_table_and_the_events_are_the_same(tmp_path: Path) -> None:
    lines = [told_line((n, n % 3, n % 2, n % 5, n % 8, n, n)) for n in range(100)]
    ask(tmp_path, [*lines, "tell"])
    table = event_table(tmp_path / "events")
    events = list(read_events(tmp_path / "events"))
    assert table["event_id"].tolist() == [event.event_id for event in events] == [f"e{n}" for n in range(100)]
    assert table["type"].tolist() == [TYPES[n % 8] for n in range(100)]
    later = list(read_events(tmp_path / "events", 61))
    assert [event.sequence for event in later] == list(range(61, 101))
