"""The written report of a run: metrics.json, config.yaml, tables as text and one self-contained
report.html with plots."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment

from .config import Config

Metrics = dict[str, Any]
Table = list[list[str]]

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Training report: {{ data.name }}</title>
<style>
 body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
 table { border-collapse: collapse; margin: 1rem 0; }
 td { padding: .25rem .8rem; text-align: right; }
 td:first-child { text-align: left; }
 tr { border-bottom: 1px solid #dde1e7; }
 tr:first-child { font-weight: 600; }
 .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
 .plots svg { width: 100%; height: auto; }
 pre { background: #f4f5f7; padding: 1rem; overflow-x: auto; font-size: 13px; }
</style></head><body>
<h1>Training report</h1>
<p>Data: <b>{{ data.name }}</b>, {{ data.impressions }} impressions. Judged on {{ days.report | join(", ") }};
fitted on {{ days.fit[0] }} to {{ days.fit[-1] }}, stopped by {{ days.tune | join(", ") }}, calibrated on
{{ days.calibrate | join(", ") }}.</p>
<ul>{% for note in data.notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% for title, rows in tables %}<h2>{{ title }}</h2>
<table>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table>
{% endfor %}
<div class="plots">{% for plot in plots %}<div>{{ plot | safe }}</div>{% endfor %}</div>
<h2>Settings</h2><pre>{{ config }}</pre>
</body></html>
"""


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def interval_text(one: dict[str, float] | None, digits: int = 4) -> str:
    """A signed difference with its interval, "" for none."""
    return (
        ""
        if one is None
        else f"{one['value']:+.{digits}f} [{one['low']:+.{digits}f}, {one['high']:+.{digits}f}]"
    )


RIVALS = ("linear", "boosting")
BINARY = ("click", "finish", "like")
# Title, reading of the model, reading of the rival, figure, gain, digits of the watch-time rows.
WATCH_ROWS = (
    ("XAUC of the typical value", "model_typical", "log", "xauc", "xauc_gain", 4),
    ("RMSE of log1p (gain: of squares)", "model_typical", "log", "log_rmse", "log_mse_gain", 4),
    ("MAE of the median, s", "model_median", "log", "mae", "mae_gain", 3),
    ("XAUC of E[watch_s]", "model", "mean", "xauc", "mean_xauc_gain", 4),
    ("MAE of E[watch_s], s", "model", "mean", "mae", "mean_mae_gain", 3),
    ("RMSE of E[watch_s], s (gain: of squares)", "model", "mean", "rmse", "mean_mse_gain", 3),
    ("E[watch_s] / observed mean", "model", "mean", "mean_ratio", "", 3),
)


def _rivals(one: Metrics) -> list[str]:
    return [rival for rival in RIVALS if rival in one["rivals"]]


def probability_table(found: Metrics) -> Table:
    """AUC and log loss of click, finish and like beside their rivals, and the calibration error."""
    rivals = _rivals(found["ranker"]["click"])
    rows = [["", "model", *(cell for rival in rivals for cell in (rival, "gain [95 %]"))]]
    for name in BINARY:
        one = found["ranker"][name]
        for title, figure, digits in (("AUC", "auc", 4), ("log loss", "log_loss", 5), ("ECE", "ece", 4)):
            cells = [f"{name}, {title}", _number(one["model"][figure], digits)]
            for rival in rivals:
                other = one["rivals"][rival]
                gain = interval_text(other.get(f"{figure}_gain"), digits)
                cells += [_number(other[figure], digits), gain]
            rows.append(cells)
    return rows


def watch_table(found: Metrics) -> Table:
    """watch_s beside its rivals: mean with mean; order, log scale and median with expm1 of a mean log1p."""
    one = found["ranker"]["watch_s"]
    rivals = _rivals(one)
    rows = [["watch_s", "model", *(cell for rival in rivals for cell in (rival, "gain [95 %]"))]]
    for title, ours, theirs, figure, gain, digits in WATCH_ROWS:
        cells = [title, _number(one[ours][figure], digits)]
        for rival in rivals:
            other = one["rivals"][rival]
            cells += [_number(other[theirs][figure], digits), interval_text(other.get(gain), digits)]
        rows.append(cells)
    return rows


def decile_table(found: Metrics) -> Table:
    """Predicted and observed mean of watch_s in each decile of the prediction."""
    rows = [["decile", "predicted, s", "observed, s", "ratio"]]
    for number, one in enumerate(found["ranker"]["watch_s"]["calibration"], start=1):
        ratio = one["predicted"] / max(one["observed"], 1e-9)
        rows.append(
            [str(number), _number(one["predicted"], 2), _number(one["observed"], 2), _number(ratio, 3)]
        )
    return rows


def recall_table(found: Metrics) -> Table:
    """recall@100 and @500 with intervals."""
    rows = [["retrieval", "recall@100", "over popularity [95 %]", "recall@500", "over popularity [95 %]"]]
    for name in ("towers", "cold_start", "popularity", "svd"):
        if name not in found["retrieval"]:
            continue
        cuts = [found["retrieval"][name][f"recall@{k}"] for k in (100, 500)]
        cells = [
            cell
            for one in cuts
            for cell in (_number(one["value"]), interval_text(one.get("over_popularity")))
        ]
        rows.append([name.replace("_", " "), *cells])
    return rows


def gate_table(found: Metrics) -> Table:
    """Mean weight of each expert by gate, and the gate's entropy (1: all experts alike, 0: one alone)."""
    gates = found["health"]["gates"]
    experts = range(max(expert for one in gates for expert in one["experts"]) + 1)
    rows = [["level, gate", *(f"expert {expert}" for expert in experts), "entropy"]]
    for one in gates:
        mean = dict(zip(one["experts"], one["mean"], strict=True))
        cells = [_number(mean.get(expert), 3) for expert in experts]
        rows.append([f"{one['level']}, {one['gate']}", *cells, _number(one["entropy"], 3)])
    return rows


def problem_table(found: Metrics) -> Table:
    """What is wrong with experts and gates, a line each."""
    return [[line] for line in found["health"]["problems"] or ["no dead expert, no collapsed gate"]]


def feature_table(found: Metrics) -> Table:
    """Each feature, by what click loses without it."""
    rows = [["feature", "coverage, fit", "report", "drift (PSI)", "unseen ids", "AUC alone"]]
    rows[0] += ["click loses", "watch_s loses", "like loses", "finish loses"]
    by_name = found["features"]["by_name"]
    for name in sorted(by_name, key=lambda name: -by_name[name]["importance"]["click"]):
        one = by_name[name]
        alone = max(one.get("auc_alone", {}).items(), key=lambda pair: pair[1], default=("", None))
        cells = [_number(value, 3) for value in one.get("coverage", (None, None))]
        cells += [_number(one.get("psi"), 3), _number(one.get("unseen"), 3)]
        cells += [f"{_number(alone[1], 3)} {alone[0]}".strip()]
        lost = [one["importance"][head] for head in ("click", "watch_s", "like", "finish")]
        rows.append([name, *cells, *(_number(value) for value in lost)])
    return rows


def alarm_table(found: Metrics) -> Table:
    """Features that know the future, a line each."""
    return [[line] for line in found["features"]["alarms"] or ["no feature knows the future"]]


def tables(found: Metrics) -> list[tuple[str, Table]]:
    """Titles and tables of the report."""
    rows, viewers = found["ranker"]["rows"], found["ranker"]["viewers"]
    made = [
        (f"Probabilities, {rows} impressions of {viewers} viewers", probability_table(found)),
        ("Watch time", watch_table(found)),
        ("Watch time by decile of the prediction", decile_table(found)),
        (
            f"Retrieval, {found['retrieval']['targets']} targets of {found['retrieval']['viewers']} viewers",
            recall_table(found),
        ),
    ]
    if "features" in found:
        made += [("Features", feature_table(found)), ("Leakage alarms", alarm_table(found))]
    if "health" in found:
        made += [("Gates and experts", gate_table(found)), ("Expert health", problem_table(found))]
    if "truth" in found["ranker"]:
        made.append(("Against the simulator's truth", _truth_table(found["ranker"]["truth"])))
    return made


def _truth_table(truth: Metrics) -> Table:
    rows = [["head", "correlation with the truth", "AUC of the truth itself"]]
    rows += [
        [name, _number(one["correlation"], 3), _number(one.get("best_auc"))] for name, one in truth.items()
    ]
    return rows


def text_table(rows: Table) -> str:
    """Aligned columns, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def as_text(found: Metrics) -> str:
    """All tables as text, with the data that they are about."""
    days = found["days"]
    head = f"Data: {found['data']['name']}; judged on {', '.join(map(str, days['report']))}"
    parts = [f"{title}\n{text_table(rows)}" for title, rows in tables(found)]
    return "\n\n".join([head, *parts])


def as_json(found: Metrics) -> str:
    """The figures as JSON, which knows no NaN: a figure that is not finite (the AUC of one class) is null."""
    return json.dumps(_finite(found), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(folder: Path, found: Metrics, config: Config) -> None:
    """Writes metrics.json, config.yaml, tables.txt and report.html into ``folder``."""
    from .plots import all_plots

    folder.mkdir(parents=True, exist_ok=True)
    settings = config.as_yaml()
    (folder / "metrics.json").write_text(as_json(found))
    (folder / "config.yaml").write_text(settings)
    (folder / "tables.txt").write_text(as_text(found) + "\n")
    page = Environment(autoescape=True).from_string(PAGE)
    html = page.render(
        data=found["data"], days=found["days"], tables=tables(found), plots=all_plots(found), config=settings
    )
    (folder / "report.html").write_text(html)
