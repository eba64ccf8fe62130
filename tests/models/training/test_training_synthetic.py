"""The synthetic tasks: the generator's relations, replicas that learn as if alone, and the known order."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vireo_models.__main__ import main
from vireo_models.experiments.replicas import Replicas
from vireo_models.experiments.synthetic import Settings, compare, summarise, verdicts
from vireo_models.experiments.synthetic_tasks import NOISE, label_correlation, make_problems
from vireo_models.networks import Ranker
from vireo_models.sizing import Sizes

LONG = os.environ.get("VIREO_LONG") == "1"
TASKS = ("first", "second")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_the_cosine_of_the_weights_is_what_was_asked_for() -> None:
    problems = make_problems((-0.5, 0.0, 0.9, 1.0), range(5), dim=12)
    one, other = problems.weights[:, 0], problems.weights[:, 1]
    cosine = torch.cosine_similarity(one, other, dim=1).view(4, 5)
    assert torch.allclose(cosine, torch.tensor([[-0.5], [0.0], [0.9], [1.0]]).expand(4, 5), atol=1e-5)
    assert torch.allclose(one.norm(dim=1), torch.ones(20), atol=1e-5)


def test_labels_follow_the_formula_and_the_noise_its_variance() -> None:
    problems = make_problems((0.5,), (3,), dim=6, sinusoids=2)
    x, y = problems.sample(20_000, torch.Generator().manual_seed(1))
    for task in (0, 1):
        z = x[0].numpy() @ problems.weights[0, task].numpy()
        wanted = z + np.sin(z + 1) + np.sin(2 * z + 2)
        assert (y[0, :, task].numpy() - wanted).std() == pytest.approx(NOISE, rel=0.03)


def test_labels_grow_alike_with_the_cosine() -> None:
    found = label_correlation(make_problems((0.0, 0.5, 0.9, 1.0), range(6)))
    assert found == sorted(found)
    assert abs(found[0]) < 0.1
    assert found[-1] > 0.98


def test_a_correlation_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.5"):
        make_problems((1.5,), (0,))


@pytest.mark.parametrize("architecture", ["hard", "mmoe", "ple"])
def test_a_replica_learns_what_it_would_alone(architecture: str) -> None:
    """Second of three replicas against one module trained by PyTorch's own Adam."""
    spec = Sizes(3, 6, 4, 4).wiring(architecture, (), TASKS)
    generator = torch.Generator().manual_seed(2)
    data = [(torch.randn(3, 16, 5, generator=generator), torch.randn(3, 16, 2)) for _ in range(30)]
    replicas, batches = Replicas(spec, 5, (1, 2, 3)), iter(data)
    replicas.train(lambda: next(batches), len(data), torch.tensor([0.1, 0.01, 0.001]))
    torch.manual_seed(2)
    alone = Ranker(spec, 5).eval()
    adam = torch.optim.Adam(alone.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda step: 0.5 * (1 + np.cos(np.pi * step / len(data)))
    )
    for x, y in data:
        loss = ((torch.cat(list(alone(x[1]).values()), dim=1) - y[1]) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    for name, tensor in alone.state_dict().items():
        assert torch.allclose(replicas.parameters[name][1], tensor, atol=1e-5), name


def test_the_paper_s_order_comes_out() -> None:
    """Single gate and MMoE in short: apart where tasks differ, together where they are one."""
    settings = Settings(
        correlations=(0.5, 1.0), seeds=8, steps=200, dim=8, architectures=("moe", "mmoe"), rates=(0.03,)
    )
    found = compare(settings)
    apart, alike = found["advantage"]["moe"]
    assert apart["low"] > 0
    assert found["growth"]["moe"]["low"] > 0
    assert abs(alike["value"]) < 0.5 * apart["value"]
    assert found["loss"]["mmoe"][0]["value"] < 1.0  # of labels with a variance of about 2.4
    assert "larger at 0.5 than at 1.0: yes" in verdicts(found)[0]


def test_verdicts_say_so_when_the_order_does_not_come_out() -> None:
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal((2, 20))
    settings = {"correlations": (0.5, 1.0)}
    losses = {"moe": np.full((2, 20), 0.5) + noise, "mmoe": np.full((2, 20), 0.5)}
    undecided = verdicts({"settings": settings} | summarise(losses, (0.5, 1.0)))
    assert "not decided" in undecided[0] and "no difference seen" in undecided[1]
    losses = {"moe": np.array([[0.3] * 20, [0.4] * 20]) + noise, "mmoe": np.full((2, 20), 0.5)}
    against = verdicts({"settings": settings} | summarise(losses, (0.5, 1.0)))
    assert ": no, -0." in against[0] and ": yes, -0." in against[1]


def test_one_command_writes_table_json_and_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["experiment", "synthetic", "--out", str(tmp_path / "s"), "--seeds", "2", "--steps", "3"]) == 0
    )
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "s" / "synthetic.json").read_text())
    assert set(found["architectures"]) == {"hard", "moe", "mmoe", "ple"}
    counts = [one["parameters"] for one in found["architectures"].values()]
    assert max(counts) <= 1.02 * min(counts)
    assert (tmp_path / "s" / "synthetic.txt").read_text().strip() in printed
    assert (tmp_path / "s" / "synthetic.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("option", [["--seeds", "1"], ["--steps", "0"]])
def test_too_little_is_refused(option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "synthetic", "--out", str(tmp_path / "s"), *option]) == 2
    assert " ".join(option) in capsys.readouterr().err


@pytest.mark.skipif(not LONG, reason="two minutes: VIREO_LONG=1")
def test_the_whole_experiment_gives_the_known_order() -> None:
    found = compare(Settings())
    assert found["growth"]["moe"]["low"] > 0
    assert found["growth"]["hard"]["high"] > 0
    assert all(one["low"] > 0 for one in found["advantage"]["hard"])
    assert found["advantage"]["moe"][-1]["high"] > 0
