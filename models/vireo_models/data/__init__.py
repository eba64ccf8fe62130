"""Sources of data, clean-up, labels, days and point-in-time counters; all of them speak
:mod:`vireo_models.schema`.
"""

from __future__ import annotations

from ..schema import Dataset


def load(spec: str, last_day: int | None = None) -> Dataset:
    """Data set named as on the command line: ``kuairand:DIR``, ``simulate`` or
    ``simulate:viewers=500,days=14``.

    ``last_day`` (YYYYMMDD) asks for days of KuaiRand after those that models are trained on.
    """
    kind, _, rest = spec.partition(":")
    if kind == "kuairand" and rest:
        from . import kuairand

        return kuairand.load(rest, max(last_day or 0, kuairand.LAST_DAY))
    if kind == "simulate":
        from .simulate import SimulationParams, simulate

        return simulate(SimulationParams.parse(rest))
    raise ValueError(f"{spec!r} names no data: kuairand:DIR, simulate or simulate:name=value,... is wanted")
