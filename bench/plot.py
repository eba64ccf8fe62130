"""A picture of what `vireo bench backends --json FILE` wrote: requests a second and stages by batch size.

python bench/plot.py FILE PICTURE.png
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STAGES = {"retrieve": ":", "rank": "--", "both": "-"}
COLOURS = {"cpu": "tab:blue", "cuda": "tab:green"}


def draw(result: dict[str, Any], picture: Path) -> None:
    """Two panels, logarithmic both ways: a factor looks the same everywhere."""
    figure, (rate, time) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for side in result["backends"]:
        if not side["measured"]:
            continue
        name, colour = side["backend"], COLOURS.get(side["backend"])
        batches = [one["batch"] for one in side["results"]]
        rates = [one["requests_per_s"] for one in side["results"]]
        rate.plot(batches, rates, marker="o", color=colour, label=name)
        if crossover := side.get("crossover_batch"):
            rate.axvline(crossover, color=colour, linewidth=0.8, linestyle=":")
        for stage, line in STAGES.items():
            times = [one[stage]["p50_us"] for one in side["results"]]
            time.plot(batches, times, line, marker=".", color=colour, label=f"{name} {stage}")
    for panel, title in ((rate, "requests a second"), (time, "a batch: p50, microseconds")):
        panel.set(xscale="log", yscale="log", xlabel="batch", title=title)
        panel.grid(alpha=0.3, which="both")
        panel.legend()
    hardware, settings = result["hardware"], result["settings"]
    machine = f"{hardware['cpu']}, {hardware['gpu'] or 'no GPU known'}"
    figure.suptitle(f"{settings['model_version']}, {settings['videos']} videos, one lane — {machine}")
    figure.savefig(picture, dpi=120)


def main(words: list[str]) -> int:
    """0: drawn; 2: wrong words, or a file of something else."""
    if len(words) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    result = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    if result.get("bench") != "engine":
        print(f"{words[0]}: not a result of `vireo bench backends`", file=sys.stderr)
        return 2
    draw(result, Path(words[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
