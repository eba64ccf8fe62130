"""A strict reader of Prometheus' text format 0.0.4, with the naming rules that promtool checks."""

import math
import re

HELP = re.compile(r"# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (\S.*)")
TYPE = re.compile(r"# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)")
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*"'
SAMPLE = re.compile(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


def _labels(text: str | None) -> Labels:
    return tuple(sorted(tuple(pair.split("=", 1)) for pair in re.findall(LABEL, text or "")))  # type: ignore[misc]


def parse(text: str) -> tuple[dict[str, str], Samples]:
    """Types by family and all samples; AssertionError for whatever the format or the naming rules forbid."""
    assert text.endswith("\n")
    types: dict[str, str] = {}
    samples: Samples = {}
    helped = ""
    for line in text.splitlines():
        if line.startswith("# HELP"):
            found = HELP.fullmatch(line)
            assert found, line
            helped = found[1]
            assert helped not in types, f"{helped} twice"
        elif line.startswith("# TYPE"):
            found = TYPE.fullmatch(line)
            assert found and found[1] == helped, line
            types[helped] = found[2]
        else:
            found = SAMPLE.fullmatch(line)
            assert found, line
            family = (
                re.sub(r"_(bucket|sum|count)$", "", found[1]) if types[helped] == "histogram" else found[1]
            )
            assert family == helped, f"{line} stands under {helped}"
            key = (found[1], _labels(found[2]))
            assert key not in samples, f"{line} twice"
            samples[key] = float(found[3])
    for name, kind in types.items():
        check_name(name, kind)
    check_histograms(types, samples)
    return types, samples


def check_name(name: str, kind: str) -> None:
    """promtool's rules: counters end with _total and nothing else does, base units, no abbreviations."""
    assert name.endswith("_total") == (kind == "counter"), name
    assert not re.search(r"_(ms|us|milliseconds|microseconds|kilobytes|mb|kb|minutes|hours)(_|$)", name), name
    assert not re.search(r"_(counter|gauge|histogram)(_|$)", name), name
    assert name == name.lower(), name


def check_histograms(types: dict[str, str], samples: Samples) -> None:
    """Buckets rise with le, end with +Inf, and +Inf equals the count; there is a sum."""
    series: dict[tuple[str, Labels], list[tuple[float, float]]] = {}
    for (name, labels), value in samples.items():
        if name.endswith("_bucket") and types.get(name.removesuffix("_bucket")) == "histogram":
            bound = math.inf
            rest = tuple(pair for pair in labels if pair[0] != "le")
            for key, text in labels:
                if key == "le":
                    bound = math.inf if text == '"+Inf"' else float(text.strip('"'))
            series.setdefault((name.removesuffix("_bucket"), rest), []).append((bound, value))
    for (name, labels), buckets in series.items():
        assert buckets == sorted(buckets), (name, labels)
        assert [b for _, b in buckets] == sorted(b for _, b in buckets), (name, labels)
        assert buckets[-1][0] == math.inf, (name, labels)
        assert buckets[-1][1] == samples[(f"{name}_count", labels)], (name, labels)
        assert (f"{name}_sum", labels) in samples, (name, labels)
