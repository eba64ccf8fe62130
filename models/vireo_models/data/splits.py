"""Days: what is fitted, tuned, calibrated and reported on, in that order of time, never at random.

``split(dataset)`` gives the days of definitions: for KuaiRand fit to 2 May, tune and stop on 3 May, calibrate
on 4 May, report on 5 and 6 May 2022; for any other source the analogous last four days. Other days of report
may be asked for: the day before them calibrates, the one before that stops, all earlier ones are fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..schema import Dataset
from .labels import day_start_ms

KUAIRAND_DAYS = ((20220503,), (20220504,), (20220505, 20220506))


@dataclass(frozen=True)
class Days:
    """Which local days (YYYYMMDD) serve what, and the impressions of each part (row numbers, in time
    order).
    """

    fit_days: tuple[int, ...]
    tune_days: tuple[int, ...]
    calibrate_days: tuple[int, ...]
    report_days: tuple[int, ...]
    fit: np.ndarray
    tune: np.ndarray
    calibrate: np.ndarray
    report: np.ndarray
    tune_ms: int  # local 00:00 of the first day of the part, UTC
    calibrate_ms: int
    report_ms: int


def split(data: Dataset, report: tuple[int, ...] | None = None) -> Days:
    """Splits the impressions by the log's own local day; an error when the log has too few days."""
    present = tuple(int(day) for day in np.unique(data.impressions["day"]))
    if report:
        return _split(data, present, *_days_before(present, report), report)
    tune, calibrate, report = KUAIRAND_DAYS if data.name == "kuairand" else _last_days(present)
    return _split(data, present, tune, calibrate, report)


def _days_before(
    present: tuple[int, ...], report: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    earlier = [day for day in present if day < min(report)]
    if len(earlier) < 3:
        raise ValueError(
            f"{len(earlier)} days of impressions before {min(report)}: fit, tune, calibrate need 3"
        )
    return (earlier[-2],), (earlier[-1],)


def _last_days(present: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    if len(present) < 5:
        raise ValueError(
            f"{len(present)} days of impressions: fit, tune, calibrate and two days of report need 5"
        )
    return present[-4:-3], present[-3:-2], present[-2:]


def _split(data: Dataset, present: tuple[int, ...], *parts: tuple[int, ...]) -> Days:
    tune, calibrate, report = parts
    missing = [day for part in parts for day in part if day not in present]
    if missing:
        raise ValueError(f"the log has no impressions on {missing[0]}")
    fit = tuple(day for day in present if day < tune[0])
    if not fit:
        raise ValueError(f"the log has no impressions before {tune[0]}")
    column = data.impressions["day"].to_numpy()
    rows = [np.flatnonzero(np.isin(column, part)) for part in (fit, tune, calibrate, report)]
    starts = [day_start_ms(part[0], data.utc_offset_min) for part in parts]
    return Days(fit, tune, calibrate, report, *rows, *starts)
