"""Plots of a run's metrics, each as SVG text for the report; colours tell model, baseline and truth apart
everywhere."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

MODEL, BASELINE, MARK, GREY = "#2563a8", "#d08a2e", "#5a9a68", "#8a8f98"
Metrics = dict[str, Any]


def _error(one: dict[str, float]) -> list[list[float]]:
    """A 95 % interval as the error of matplotlib: [[below], [above]]."""
    return [[one["value"] - one["low"]], [one["high"] - one["value"]]]


def draw(paint: Callable[[Axes], None], width: float = 5.2, height: float = 3.4) -> str:
    """One set of axes painted by ``paint``, as an SVG element."""
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(alpha=0.25)
    paint(axes)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    return text.getvalue()[text.getvalue().index("<svg") :]


def tower_losses(axes: Axes, found: Metrics) -> None:
    entries = found["training"]["towers"]
    axes.plot(range(1, len(entries) + 1), [one["loss"] for one in entries], color=MODEL, marker="o", ms=3)
    edges = [i for i in range(1, len(entries)) if entries[i]["part"] != entries[i - 1]["part"]]
    for edge in edges:
        axes.axvline(edge + 0.5, color=GREY, lw=0.6, ls=":")
    axes.set(
        title="Towers: sampled softmax loss", xlabel="pass (dotted: next part of the log)", ylabel="loss"
    )


def ranker_losses(axes: Axes, found: Metrics) -> None:
    entries = [one for one in found["training"]["ranker"] if "tune" in one]
    epochs = [one["epoch"] for one in entries]
    for name in entries[0]["tune"] if entries else []:
        first = entries[0]["tune"][name]
        axes.plot(epochs, [one["tune"][name] / first for one in entries], marker="o", ms=3, label=name)
    axes.axvline(found["training"]["best_epoch"], color=GREY, ls="--", lw=1)
    axes.set(
        title="Ranker: loss on the tune day", xlabel="epoch (dashed: kept)", ylabel="loss / loss of epoch 1"
    )
    axes.legend(frameon=False)


RIVALS = {"linear": (0.15, BASELINE, "linear"), "boosting": (0.3, MARK, "gradient boosting")}


def _aucs(one: Metrics) -> list[tuple[float, str, str, dict[str, float]]]:
    """Shift, colour, label and AUC of the model and its rivals."""
    found = [(0.0, MODEL, "model", one["model"]["auc_interval"])]
    return found + [(*RIVALS[name], other["auc_interval"]) for name, other in one["rivals"].items()]


def auc_bars(axes: Axes, found: Metrics) -> None:
    names = ["click", "finish", "like"]
    for place, name in enumerate(names):
        for shift, colour, label, one in _aucs(found["ranker"][name]):
            text = label if place == 0 else None
            style = {"fmt": "o", "color": colour, "capsize": 3, "label": text}
            axes.errorbar(place + shift, one["value"], yerr=_error(one), **style)
    axes.set_xticks(range(len(names)), names)
    axes.set(title="AUC with 95 % intervals over viewers", ylabel="AUC")
    axes.legend(frameon=False)


def gains(axes: Axes, found: Metrics) -> None:
    wanted = [(name, "auc_gain", f"{name} AUC") for name in ("click", "finish", "like")]
    wanted.append(("watch_s", "xauc_gain", "watch XAUC"))
    for place, (name, key, _) in enumerate(wanted):
        for rival, other in found["ranker"][name]["rivals"].items():
            shift, colour, label = RIVALS[rival]
            text = f"over {label}" if place == 0 else None
            style = {"fmt": "o", "color": colour, "capsize": 3, "label": text}
            axes.errorbar(other[key]["value"], place + shift, xerr=_error(other[key]), **style)
    axes.axvline(0, color=GREY, lw=1)
    axes.set_yticks(range(len(wanted)), [label for _, _, label in wanted])
    axes.set(title="Gain over the baselines, paired", xlabel="difference, 95 % interval")
    if found["ranker"]["click"]["rivals"]:
        axes.legend(frameon=False)


def calibration(axes: Axes, found: Metrics, name: str) -> None:
    parts = found["ranker"][name]["calibration"]
    predicted, observed = [one["predicted"] for one in parts], [one["observed"] for one in parts]
    limit = max([*predicted, *observed]) * 1.05
    axes.plot([0, limit], [0, limit], color=GREY, lw=1, ls="--")
    axes.plot(predicted, observed, marker="o", ms=4, color=MODEL)
    unit = " s" if name == "watch_s" else ""
    axes.set(title=f"{name} by decile of the prediction", xlabel=f"predicted{unit}", ylabel=f"observed{unit}")


def recalls(axes: Axes, found: Metrics) -> None:
    colours = {"towers": MODEL, "cold_start": MODEL, "popularity": BASELINE, "svd": MARK}
    names = [name for name in colours if name in found["retrieval"]]
    for shift, cut in ((-0.2, "recall@100"), (0.2, "recall@500")):
        for place, name in enumerate(names):
            one = found["retrieval"][name][cut]
            axes.bar(
                place + shift,
                one["value"],
                0.36,
                color=colours[name],
                alpha=0.55 if cut.endswith("500") else 1.0,
                yerr=_error(one),
                capsize=2,
            )
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set(title="recall@100 (dark) and @500 (pale)", ylabel="recall")


def gates(axes: Axes, found: Metrics, level: int) -> None:
    """Mean weight that each gate of a level gives to each expert."""
    rows = [one for one in found["health"]["gates"] if one["level"] == level]
    experts = sorted({expert for one in rows for expert in one["experts"]})
    left = [0.0] * len(rows)
    for expert in experts:
        share = [
            one["mean"][one["experts"].index(expert)] if expert in one["experts"] else 0.0 for one in rows
        ]
        axes.barh(range(len(rows)), share, left=left, label=f"expert {expert}", height=0.6)
        left = [a + b for a, b in zip(left, share, strict=True)]
    axes.set_yticks(range(len(rows)), [one["gate"] for one in rows])
    axes.set(title=f"Gate use by task, level {level}", xlabel="mean weight")
    axes.legend(
        frameon=False, ncols=min(len(experts), 4), loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8
    )


def expert_load(axes: Axes, found: Metrics) -> None:
    """Greatest mean weight of each expert, and the share of rows on which it gives anything."""
    rows = found["health"]["experts"]
    places = range(len(rows))
    axes.bar(places, [one["most_load"] for one in rows], 0.6, color=MODEL, label="greatest mean weight")
    axes.plot(places, [one["active"] for one in rows], "_", color=BASELINE, ms=14, label="rows with output")
    axes.set_xticks(places, [f"{one['level']}.{one['expert']}" for one in rows])
    axes.set(title="Expert load", xlabel="level.expert", ylim=(0, 1.05))
    axes.legend(frameon=False, fontsize=8)


def importances(axes: Axes, found: Metrics, most: int = 15) -> None:
    """What click and watch time lose when a feature is shuffled, the most important ones."""
    by_name = {name: one["importance"] for name, one in found["features"]["by_name"].items()}
    names = sorted(by_name, key=lambda name: -max(by_name[name]["click"], by_name[name]["watch_s"]))[:most]
    for shift, head, colour in ((-0.2, "click", MODEL), (0.2, "watch_s", MARK)):
        places = [place + shift for place in range(len(names))]
        axes.barh(places, [by_name[name][head] for name in names], 0.38, color=colour, label=head)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set(title="What is lost without a feature", xlabel="AUC (XAUC of watch_s)")
    axes.legend(frameon=False)


def architecture_lines(axes: Axes, correlations: Sequence[float], loss: Mapping[str, list[Metrics]]) -> None:
    """Losses of architectures by the correlation of their tasks, with intervals."""
    colours = {"hard": BASELINE, "moe": GREY, "mmoe": MODEL, "ple": MARK}
    for shift, (name, each) in enumerate(loss.items()):
        places = [p + 0.004 * shift for p in correlations]
        errors = [[value for one in each for value in _error(one)[side]] for side in (0, 1)]
        values = [one["value"] for one in each]
        axes.errorbar(places, values, yerr=errors, fmt="-o", ms=4, capsize=3, color=colours[name], label=name)
    axes.set(
        title="Loss by relatedness of the tasks, equal parameters",
        xlabel="cosine of the tasks' weights",
        ylabel="mean squared error",
    )
    axes.legend(frameon=False)


def all_plots(found: Metrics) -> list[str]:
    """Every plot of the report as SVG, in order."""
    levels = sorted({one["level"] for one in found["health"]["gates"]})
    painters: list[Callable[[Axes], None]] = [
        lambda axes: auc_bars(axes, found),
        lambda axes: gains(axes, found),
        lambda axes: recalls(axes, found),
        lambda axes: calibration(axes, found, "watch_s"),
        *(lambda axes, name=name: calibration(axes, found, name) for name in ("click", "finish", "like")),
        *(lambda axes, level=level: gates(axes, found, level) for level in levels),
        lambda axes: expert_load(axes, found),
        lambda axes: importances(axes, found),
        lambda axes: tower_losses(axes, found),
        lambda axes: ranker_losses(axes, found),
    ]
    return [draw(paint) for paint in painters]
