"""Tails and quantiles against 50-digit arithmetic."""

import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from rsbounds import _numerics

mpmath.mp.dps = 50


def direct_tail(k, n, p):
    """P(Bin(n, p) >= k) by direct summation in 50 digits."""
    p = mpf(p)
    terms = (mpmath.binomial(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))
    return mpmath.fsum(terms)


@pytest.mark.parametrize("n", [1, 2, 3, 17, 60])
def test_tail_and_its_error_bound_against_direct_summation(n):
    for k in {1, 2, n // 2, n - 1, n} & set(range(1, n + 1)):
        for p in (1e-12, 1e-3, 0.2, 0.5, 0.77, 0.999, 1 - 1e-9):
            got, slope, error = _numerics.upper_tail(float(k), float(n), p, 1.0 - p)
            true = mpmath.log(direct_tail(k, n, p))
            assert abs(true - mpf(got)) <= error
            assert error < 1e-11
            pmf = mpmath.binomial(n, k) * mpf(p) ** k * (1 - mpf(p)) ** (n - k)
            assert slope == pytest.approx(float(k * pmf / p / direct_tail(k, n, p)), rel=1e-9)


@pytest.mark.parametrize(("k", "n", "p"), [(50_300, 100_000, 0.5), (7, 100_000, 2e-5)])
def test_tail_of_many_draws_against_a_sum_over_all_terms(k, n, p):
    log_pmf = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
    term = mpmath.exp(log_pmf + k * mpmath.log(p) + (n - k) * mpmath.log(1 - mpf(p)))
    total, j = mpf(0), k
    while term > mpf(10) ** -60 and j <= n:
        total += term
        term *= mpf(n - j) / (j + 1) * mpf(p) / (1 - mpf(p))
        j += 1
    got, _, error = _numerics.upper_tail(float(k), float(n), p, 1.0 - p)
    assert abs(mpmath.log(total) - mpf(got)) <= error < 1e-10


def test_stirling_errors():
    for m in [*range(1, 40), 100, 10**6, 10**12]:
        true = (
            mpmath.loggamma(m + 1)
            - mpmath.log(2 * mpmath.pi * m) / 2
            - m * mpmath.log(mpf(m) / mpmath.e)
        )
        assert _numerics.stirlerr(float(m)) == pytest.approx(float(true), rel=1e-15, abs=2e-16)


def test_deviance():
    rng = np.random.default_rng(1)
    for _ in range(3000):
        x = float(rng.integers(1, 10**6))
        mean = x * math.exp(rng.normal() * 10.0 ** rng.uniform(-8, 1))
        true = mpf(x) * mpmath.log(mpf(x) / mpf(mean)) + mpf(mean) - mpf(x)
        assert _numerics.deviance(x, mean) == pytest.approx(float(true), rel=12 * _numerics.EPS)


def test_normal_quantiles_bracket_the_truth():
    rng = np.random.default_rng(2)
    small = np.concatenate([10.0 ** rng.uniform(-299, -0.31, 300), rng.uniform(0, 0.5, 300), [0.5]])
    for p in small:
        q = 1.0 - p
        low, high = _numerics.probit_down(p, q), _numerics.probit_up(p, q)
        assert mpmath.ncdf(mpf(low)) <= mpf(p) <= mpmath.ncdf(mpf(high))
        assert high - low <= 1e-13 * (1 + abs(low))
        # The other half of the line, with the small number in q.
        low, high = _numerics.probit_down(q, p), _numerics.probit_up(q, p)
        assert mpmath.ncdf(-mpf(high)) <= mpf(p) <= mpmath.ncdf(-mpf(low))


def test_margins_of_certain_events():
    assert _numerics.margin_down(0.0, 1.0, 0.5, 0.5, True) == -math.inf
    assert _numerics.margin_down(0.5, 0.5, 1.0, 0.0, True) == -math.inf
    assert _numerics.margin_down(0.0, 1.0, 1.0, 0.0, False) == -1.0


def test_a_cached_kernel_is_not_used_once_another_file_changed(tmp_path):
    # A copy of the package; _numerics changes behind a cached caller in another file.
    import os
    import shutil
    import subprocess
    import sys
    from pathlib import Path

    source = Path(_numerics.__file__).parent
    shutil.copytree(source, tmp_path / "rsbounds", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import rsbounds; print(float(rsbounds.clopper_pearson_lower(0, 9, alpha=0.1)))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def run():
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env=environment, cwd=tmp_path,
        )  # fmt: skip
        return float(done.stdout)

    assert run() == run() == 0.0
    changed = tmp_path / "rsbounds" / "_numerics.py"
    text = changed.read_text()
    marked = text.replace("        return 0.0, 1.0\n", "        return 0.125, 0.875\n", 1)
    assert marked != text
    changed.write_text(marked)
    assert run() == 0.125
