"""Satisfaction terms evaluated by the C code against the same expressions in NumPy, on 10,000 random rows."""

from __future__ import annotations

import numpy as np
import pytest

from vireo_models import native

ROWS = 10_000
DEFAULT = [
    ("clicks", "0.3*click"),
    ("watch", "0.01*watch_s"),
    ("finishes", "1.0*finish"),
    ("likes", "5.0*like"),
]
# Each as muParser has it and as Python has it.
EXPRESSIONS = [
    ("watch_s/duration_s", "watch_s/duration_s"),
    ("sqrt(watch_s)*click", "np.sqrt(watch_s)*click"),
    (
        "max(click, like, finish) - min(click, like)",
        "np.maximum(np.maximum(click, like), finish) - np.minimum(click, like)",
    ),
    ("click > 0.5 ? 2*like : finish^2", "np.where(click > 0.5, 2*like, finish**2)"),
    ("log(1 + watch_s) + exp(-duration_s/60)", "np.log(1 + watch_s) + np.exp(-duration_s/60)"),
    ("(click >= 0.25 && like < 0.5) || finish == 0", "((click >= 0.25) & (like < 0.5)) | (finish == 0)"),
    ("-(click - 2)*(like + 1e-3)/(finish + 0.5)", "-(click - 2)*(like + 1e-3)/(finish + 0.5)"),
    ("abs(sin(watch_s)) + sum(click, like, finish)", "np.abs(np.sin(watch_s)) + click + like + finish"),
]


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """heads float32 [ROWS, 4] and duration_s float32 [ROWS]."""
    rng = np.random.default_rng(7)
    heads = rng.random((ROWS, 4)).astype(np.float32)
    heads[:, 1] = rng.gamma(1.2, 15, ROWS)
    heads[rng.random(ROWS) < 0.05, 3] = 0
    return heads, rng.gamma(2, 20, ROWS).astype(np.float32) + 1


def in_numpy(expression: str, heads: np.ndarray, duration_s: np.ndarray) -> np.ndarray:
    """float64 [ROWS]"""
    names = dict(zip(("click", "watch_s", "like", "finish"), heads.astype(np.float64).T, strict=True))
    return np.asarray(
        eval(expression, {"np": np, "duration_s": duration_s.astype(np.float64), **names}), np.float64
    )


def test_the_default_terms(rows: tuple[np.ndarray, np.ndarray]) -> None:
    value, score, linear = native.evaluate_terms(DEFAULT, *rows)
    expected = np.stack([in_numpy(expression, *rows) for _, expression in DEFAULT], axis=1)
    assert linear
    assert np.allclose(value, expected, rtol=1e-7, atol=0)
    assert np.allclose(score, expected.sum(axis=1), rtol=1e-7, atol=0)


@pytest.mark.parametrize(("expression", "python"), EXPRESSIONS)
def test_expressions(expression: str, python: str, rows: tuple[np.ndarray, np.ndarray]) -> None:
    value, score, linear = native.evaluate_terms([("one", expression), ("two", "like")], *rows)
    expected = in_numpy(python, *rows)
    assert linear == (expression == "watch_s/duration_s")
    assert np.allclose(value[:, 0], expected, rtol=2e-7, atol=1e-12)
    assert np.allclose(score, expected + rows[0][:, 2], rtol=2e-7, atol=1e-12)
    assert np.ptp(value[:, 0]) > 0


def random_expression(rng: np.random.Generator, depth: int) -> str:
    """Arithmetic that Python and muParser read alike."""
    if depth == 0 or rng.random() < 0.2:
        names = ["click", "watch_s", "like", "finish", "duration_s", f"{rng.uniform(0.1, 9):.3f}"]
        return str(rng.choice(names))
    left, right = (random_expression(rng, depth - 1) for _ in range(2))
    operator = rng.choice(["+", "-", "*", "/"])
    return f"({left} {operator} {right})" if rng.random() < 0.7 else f"{left} {operator} ({right} + 1.5)"


def test_random_expressions(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """Operator precedence, brackets and numbers: 200 random expressions on 200 rows each."""
    rng = np.random.default_rng(8)
    heads, duration_s = rows[0][:200], rows[1][:200]
    for _ in range(200):
        expression = random_expression(rng, 4)
        value, score, _ = native.evaluate_terms([("one", expression)], heads, duration_s)
        with np.errstate(all="ignore"):
            expected = np.broadcast_to(in_numpy(expression, heads, duration_s), (200,)).astype(np.float32)
        assert np.allclose(value[:, 0], expected, rtol=1e-5, equal_nan=True), expression
        assert np.array_equal(np.isnan(score), ~np.isfinite(value[:, 0])), expression


def test_refusals_reach_python() -> None:
    heads, duration_s = np.zeros((1, 4)), np.ones(1)
    with pytest.raises(native.NativeError, match="term 'watch', column 6: Unexpected token"):
        native.evaluate_terms([("watch", "0.01*wacth_s")], heads, duration_s)
    with pytest.raises(native.NativeError, match="0 terms"):
        native.evaluate_terms([], heads, duration_s)
