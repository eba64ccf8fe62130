"""The tiny run on the simulator: what it learns, what it writes, and that what it writes is right."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_training import DATA, TinyRun, needs_library, small_config

from support import reference_network
from vireo_models import config, native
from vireo_models import features_reference as reference
from vireo_models.data import load
from vireo_models.judge import JudgeError, judge_bundle


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _numbers(one)
    elif isinstance(value, list):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, (int, float)):
        yield float(value)


def test_every_figure_is_finite(tiny_run: TinyRun) -> None:
    numbers = list(_numbers(tiny_run.metrics))
    assert len(numbers) > 200
    assert all(math.isfinite(number) for number in numbers)


def test_it_learns(tiny_run: TinyRun) -> None:
    ranker, retrieval = tiny_run.metrics["ranker"], tiny_run.metrics["retrieval"]
    assert ranker["click"]["model"]["auc"] > 0.62
    assert ranker["finish"]["model"]["auc"] > 0.62
    assert ranker["truth"]["click"]["correlation"] > 0.4
    assert ranker["truth"]["watch_s"]["correlation"] > 0.4
    assert ranker["truth"]["click"]["best_auc"] > ranker["click"]["model"]["auc"]
    gain = retrieval["towers"]["recall@100"]["over_popularity"]
    assert gain["low"] > 0


def test_probabilities_and_seconds_are_calibrated(tiny_run: TinyRun) -> None:
    ranker = tiny_run.metrics["ranker"]
    for name in ("click", "finish"):
        assert ranker[name]["model"]["mean"] == pytest.approx(ranker[name]["rate"], rel=0.15)
    assert ranker["watch_s"]["model"]["mean_ratio"] == pytest.approx(1, abs=0.15)


def test_each_head_stands_beside_its_rivals(tiny_run: TinyRun) -> None:
    """Differences are those of the figures beside them, and the rivals have learnt something too."""
    ranker = tiny_run.metrics["ranker"]
    for name in ("click", "finish", "like"):
        ours, rivals = ranker[name]["model"], ranker[name]["rivals"]
        assert set(rivals) == {"linear", "boosting"}
        for one in rivals.values():
            assert one["auc_gain"]["value"] == pytest.approx(ours["auc"] - one["auc"])
            assert one["log_loss_gain"]["value"] == pytest.approx(one["log_loss"] - ours["log_loss"])
            assert one["auc_gain"]["low"] <= one["auc_gain"]["value"] <= one["auc_gain"]["high"]
            assert name == "like" or one["auc"] > 0.6
    watch = ranker["watch_s"]
    for one in watch["rivals"].values():
        error = one["mean"]["rmse"] ** 2 - watch["model"]["rmse"] ** 2
        assert one["mean_mse_gain"]["value"] == pytest.approx(error)
        log_error = one["log"]["log_rmse"] ** 2 - watch["model_typical"]["log_rmse"] ** 2
        assert one["log_mse_gain"]["value"] == pytest.approx(log_error)
    assert "boosting" in tiny_run.printed
    assert tiny_run.metrics["baselines"]["boosting"]["click"]["trials"] == 1


def test_different_viewers_get_different_videos(tiny_run: TinyRun) -> None:
    assert tiny_run.metrics["retrieval"]["spread"]["distinct_lists"] > 0.9


def test_losses_fall(tiny_run: TinyRun) -> None:
    training = tiny_run.metrics["training"]
    first = [one["loss"] for one in training["towers"] if one["part"] == "first part"]
    assert first[-1] < first[0]
    relative = [one["relative"] for one in training["ranker"]]
    assert min(relative) == relative[training["best_epoch"] - 1] < 1.0


def test_the_folder_holds_the_report(tiny_run: TinyRun) -> None:
    page = (tiny_run.folder / "report.html").read_text()
    assert page.count("<svg") == 12
    assert "simulated platform" in page
    assert "http-equiv" not in page and "src=" not in page  # self-contained
    assert config.load(tiny_run.folder / "config.yaml") == small_config(data=DATA, seed=3)
    assert "Data: simulate" in tiny_run.printed


def test_the_bundle_opens_and_a_changed_one_does_not(tiny_run: TinyRun, tmp_path: Path) -> None:
    native.check_bundle(tiny_run.bundle)
    for path in tiny_run.bundle.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(tiny_run.bundle)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    native.check_bundle(tmp_path)
    tensors = load_file(tmp_path / "videos.safetensors")
    tensors["tower"] = tensors["tower"][::-1].copy()
    save_file(tensors, tmp_path / "videos.safetensors")
    with pytest.raises(native.NativeError, match=r"videos\.safetensors"):
        native.check_bundle(tmp_path)


def test_every_feature_is_reported_and_none_knows_the_future(tiny_run: TinyRun) -> None:
    found = tiny_run.metrics["features"]
    manifest = json.loads((tiny_run.bundle / "bundle.json").read_text())
    assert set(found["by_name"]) == set(manifest["ranker"]["inputs"])
    assert found["alarms"] == []
    assert "no feature knows the future" in tiny_run.printed
    by_name = found["by_name"]
    assert by_name["video"]["unseen"] > 0  # videos appear until the end
    assert by_name["hour"]["coverage"] == [1.0, 1.0]
    assert max(one["importance"]["click"] for one in by_name.values()) > 0.01
    assert all(0 <= one["psi"] < 10 for one in by_name.values() if "psi" in one)


def test_the_experts_of_the_run_are_healthy(tiny_run: TinyRun) -> None:
    health = tiny_run.metrics["health"]
    assert [one["gate"] for one in health["gates"]] == ["click", "watch_s", "like", "finish"]
    assert len(health["experts"]) == 3
    assert health["problems"] == []


def test_no_half_written_folder_is_left(tiny_run: TinyRun) -> None:
    assert [path.name for path in tiny_run.folder.iterdir() if path.name.startswith(".")] == []


def test_golden_equals_the_numpy_reference(tiny_run: TinyRun) -> None:
    """PyTorch's golden outputs against the NumPy networks on the inputs that the file holds."""
    manifest = json.loads((tiny_run.bundle / "bundle.json").read_text())
    weights = load_file(tiny_run.bundle / "weights.safetensors")
    videos = load_file(tiny_run.bundle / "videos.safetensors")
    golden = load_file(tiny_run.bundle / "golden.safetensors")
    space = reference.ReferenceSpace(manifest, weights)
    row = golden["video.row"]
    scale = videos["content.scale"].astype(np.float64)[:, None]
    vectors = {
        "hist_tower": golden["viewer.hist_tower"],
        "hist_content": golden["viewer.hist_content"],
        "user_tower": golden["out.user_tower"],
        "tower": videos["tower"][row],
        "content": (videos["content"].astype(np.float64) / 127 * scale)[row],
    }
    raw = {entity: golden[f"{entity}.raw"] for entity in reference.ENTITIES}
    inputs = manifest["user_tower"]["inputs"]
    rows = np.concatenate([space.assemble(inputs, e, raw[e], vectors) for e in ("viewer", "context")], axis=1)
    user = reference_network.tower(manifest["user_tower"], weights, rows)
    assert np.abs(user - golden["out.user_tower"]).max() < 1e-9
    inputs = manifest["ranker"]["inputs"]
    rows = np.concatenate([space.assemble(inputs, e, raw[e], vectors) for e in reference.ENTITIES], axis=1)
    heads = reference_network.ranker(manifest["ranker"], weights, rows)
    assert np.abs(heads / golden["out.heads"] - 1).max() < 1e-5  # content is float32 there, float64 here
    dots = (golden["out.user_tower"] * videos["tower"][row].astype(np.float64)).sum(axis=1)
    assert np.allclose(raw["pair"][:, 1], dots, atol=1e-9)
    top = np.argsort(-(user[:64] @ videos["tower"].astype(np.float64).T), axis=1)[:, :10]
    assert (top == golden["out.topk"]).mean() > 0.95


def test_video_columns_equal_the_data(tiny_run: TinyRun) -> None:
    data = load(DATA)
    videos = load_file(tiny_run.bundle / "videos.safetensors")
    assert reference.string_list(videos, "id") == data.videos["id"].tolist()
    creators = reference.string_list(videos, "creator.id")
    assert [creators[i] for i in videos["creator.index"]] == data.videos["creator"].tolist()
    codes = {0: "unknown", 1: "safe", 2: "unsafe"}
    assert [codes[code] for code in videos["safety"]] == data.videos["safety"].tolist()
    assert np.abs(np.linalg.norm(videos["tower"].astype(np.float64), axis=1) - 1).max() < 2e-3


def test_state_equals_the_data_at_as_of(tiny_run: TinyRun) -> None:
    data = load(DATA)
    state = load_file(tiny_run.bundle / "state" / "state.safetensors")
    assert reference.string_list(state, "viewer.id") == data.viewers["id"].tolist()
    log = data.impressions
    assert state["viewer.counters"][:, 0].sum() == len(log)
    assert state["video.counters"][:, 1].sum() == log["click"].sum()
    viewer = int(log["viewer"].iloc[-1])
    begin, end = state["recent.offsets"][viewer : viewer + 2]
    mine = log[log["viewer"] == viewer].iloc[-int(end - begin) :]
    newest = state["recent.video"][begin:end][-min(len(mine), int(end - begin)) :]
    assert newest.tolist() == mine["video"].tolist()[-len(newest) :]
    age = (data.as_of_ms - int(mine["time_ms"].iloc[-1])) / 1000
    assert state["recent.age_s"][end - 1] == pytest.approx(age, rel=1e-6)
    assert len(state["friend.viewer"]) == len(data.friends)
    known = data.follows["creator"].isin(set(data.videos["creator"]))
    assert len(state["follow.creator"]) == known.sum()


def test_the_exported_files_give_the_figures_of_the_run(tiny_run: TinyRun) -> None:
    """The bundle read back and judged: float16, int8 and folding cost next to nothing."""
    found = judge_bundle(tiny_run.bundle, load(DATA), draws=20)
    for name in ("click", "finish"):
        expected = tiny_run.metrics["ranker"][name]["model"]
        assert found["ranker"][name]["model"]["auc"] == pytest.approx(expected["auc"], abs=2e-3)
        assert found["ranker"][name]["model"]["log_loss"] == pytest.approx(expected["log_loss"], abs=2e-3)
    one, other = found["retrieval"]["towers"], tiny_run.metrics["retrieval"]["towers"]
    assert one["recall@100"]["value"] == pytest.approx(other["recall@100"]["value"], abs=0.01)


def test_another_catalogue_is_refused(tiny_run: TinyRun) -> None:
    with pytest.raises(JudgeError, match="catalogue"):
        judge_bundle(tiny_run.bundle, load("simulate:viewers=50,videos=300,creators=30,days=8"), draws=5)


def test_a_day_that_the_log_lacks_is_refused_even_beside_others(tiny_run: TinyRun) -> None:
    data = load(DATA)
    with pytest.raises(JudgeError, match="on 20270101"):
        judge_bundle(tiny_run.bundle, data, (int(data.impressions["day"].iloc[-1]), 20270101), draws=5)


def test_days_without_a_target_are_refused(tiny_run: TinyRun) -> None:
    data = load(DATA)
    data.impressions["long_view"] = False
    with pytest.raises(ValueError, match="no recall"):
        judge_bundle(tiny_run.bundle, data, draws=5)


def test_towers_of_a_rows_vectors_have_not_seen_its_day(tiny_run: TinyRun) -> None:
    """The days that the towers learn at once give the ranker no rows."""
    days, training = tiny_run.metrics["days"], tiny_run.metrics["training"]
    log = load(DATA).impressions
    usable = [day for day in days["fit"] if day not in days["towers_first"]]
    assert training["ranker_rows"] == log["day"].isin(usable).sum()
    parts = [one["part"] for one in training["towers"]]
    assert parts.index(str(usable[0])) > parts.index("first part")


def test_future_impressions_do_not_change_earlier_rows() -> None:
    """Rows of the ranker before a moment are the same when everything after it is cut off."""
    from vireo_models.features import declare
    from vireo_models.rows import RowMaker

    needs_library()
    data = load(DATA)
    whole = RowMaker(data, declare(data, 64, 64))
    query = whole.log_query()
    cut = len(data.impressions) // 2
    moment = int(data.impressions["time_ms"].iloc[cut])
    rows = np.flatnonzero(data.impressions["time_ms"].to_numpy() < moment)
    data.impressions = data.impressions.iloc[: len(rows)].reset_index(drop=True)
    part = RowMaker(data, whole.declaration)
    earlier = part.log_query()
    assert np.array_equal(whole.viewer_raw(query.take(rows)), part.viewer_raw(earlier), equal_nan=True)
    assert np.array_equal(
        whole.video_raw(query.video[rows], query.video_totals[rows]),
        part.video_raw(earlier.video, earlier.video_totals),
        equal_nan=True,
    )
