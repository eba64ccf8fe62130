"""The selector's greedy DPP against a greedy in NumPy that knows nothing of Cholesky factors.

At every step the oracle computes log det of the whole kernel of (chosen + candidate) for every remaining
candidate with `slogdet`; the C code's choice must be the largest, ties within 1e-5 aside. The kernel is the
one that src/feed/gain.h documents.
"""

import os
import subprocess
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VIREO_BUILD_DIR", ROOT / "build" / "release"))
PROGRAM = BUILD.parent / "asan" / "tests" / "oracle_dpp"
CASES = 200
NUGGET = 0.01
TIE = 1e-5  # cosines are float32


class Problem:
    """One case: score [n], vector [n, dim] with unit or zero rows, theta below 1, positions to fill."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.count = int(rng.integers(5, 70))
        self.dim = int(rng.choice([8, 16, 64]))
        self.want = int(rng.integers(1, min(self.count, 40) + 1))
        self.theta = np.float32(rng.uniform(0.0, 0.95))
        self.score = rng.gamma(2.0, 3.0, self.count).astype(np.float32)
        centre = rng.standard_normal((4, self.dim))
        vector = centre[rng.integers(0, 4, self.count)] + rng.uniform(0.1, 2.0) * rng.standard_normal(
            (self.count, self.dim)
        )
        vector /= np.linalg.norm(vector, axis=1, keepdims=True)
        vector[rng.random(self.count) < 0.05] = 0.0
        self.vector = vector.astype(np.float32)

    def packed(self) -> bytes:
        """The case as oracle/dpp.c reads it."""
        head = np.array([self.count, self.dim, self.want], dtype="<u4").tobytes()
        return head + self.theta.tobytes() + self.score.tobytes() + self.vector.tobytes()

    def kernel(self) -> np.ndarray:
        """L = diag(q) S diag(q), float64 [n, n]."""
        score = self.score.astype(np.float64)
        quality = (score - score.min()) / (score.max() - score.min())
        theta = float(self.theta)
        weight = np.exp(theta * quality / (2.0 * (1.0 - theta)))
        vector = self.vector.astype(np.float64)
        norm = np.linalg.norm(vector, axis=1, keepdims=True)
        unit = np.divide(vector, norm, out=np.zeros_like(vector), where=norm > 0)
        similarity = (1.0 - NUGGET) * 0.5 * (1.0 + unit @ unit.T)
        np.fill_diagonal(similarity, 1.0)
        return weight[:, None] * similarity * weight[None, :]


def step_values(kernel: np.ndarray, chosen: list[int], theta: float) -> np.ndarray:
    """(1 - theta) * log det of chosen + i for every candidate i; -inf for those chosen already."""
    values = np.full(len(kernel), -np.inf)
    for i in set(range(len(kernel))) - set(chosen):
        rows = [*chosen, i]
        sign, logdet = np.linalg.slogdet(kernel[np.ix_(rows, rows)])
        assert sign > 0
        values[i] = (1.0 - theta) * logdet
    return values


def run_program(problems: list[Problem]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Chosen candidates and gains of every case."""
    done = subprocess.run(
        [PROGRAM], input=b"".join(p.packed() for p in problems), capture_output=True, check=True
    )
    results, at = [], 0
    for problem in problems:
        chosen = np.frombuffer(done.stdout, "<u4", problem.want, at)
        gain = np.frombuffer(done.stdout, "<f4", problem.want, at + 4 * problem.want)
        results.append((chosen, gain))
        at += 8 * problem.want
    assert at == len(done.stdout)
    return results


def test_every_step_maximises_the_determinant() -> None:
    """200 random cases, every step of each."""
    rng = np.random.default_rng(20260103)
    problems = [Problem(rng) for _ in range(CASES)]
    for number, (problem, (chosen, gain)) in enumerate(zip(problems, run_program(problems), strict=True)):
        kernel, theta = problem.kernel(), float(problem.theta)
        before = 0.0
        for position, candidate in enumerate(chosen):
            values = step_values(kernel, [int(c) for c in chosen[:position]], theta)
            assert values[candidate] >= values.max() - TIE, f"case {number}, position {position + 1}"
            assert abs(values[candidate] - before - gain[position]) < 1e-4
            before = values[candidate]


def test_the_oracle_refuses_another_order() -> None:
    """The comparison has teeth: choosing by score alone fails it."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(20):
        problem = Problem(rng)
        kernel, theta = problem.kernel(), float(problem.theta)
        order = [int(i) for i in np.argsort(-problem.score)[: problem.want]]
        for position, candidate in enumerate(order):
            values = step_values(kernel, order[:position], theta)
            if values[candidate] < values.max() - TIE:
                wrong += 1
                break
    assert wrong > 10
