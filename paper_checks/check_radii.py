"""Radius formulas: sigma/2, the factor in R(C), and the tail that must hold the observation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import stats

from paper_checks import Check
from rsbounds.testing import exact_coverage


def run() -> Iterator[Check]:
    # A half-space at distance d is the worst case: its smoothed answer flips at d exactly.
    sigma, distance = 0.25, 0.4
    gap = 2 * distance / sigma  # Phi^-1(p_A) - Phi^-1(p_B)
    yield Check(
        "rddrs, eq. 1", "R = sigma^2/2 (Phi^-1(p_A) - Phi^-1(p_B))",
        f"{distance} (distance of a half-space, sigma {sigma})", f"{sigma**2 / 2 * gap:.4f}",
        "1e-12", math.isclose(sigma**2 / 2 * gap, distance),
        "Gaussian: sigma/2 (Cohen et al. 2019, Theorem 1)",
    )  # fmt: skip
    sigma = 2.0
    gap = 2 * distance / sigma
    yield Check(
        "rddrs, eq. 1", "the same with sigma = 2, where it is unsound",
        f"at most {distance}", f"{sigma**2 / 2 * gap:.4f}", "1e-12",
        sigma**2 / 2 * gap <= distance, "the printed radius passes the boundary",
    )  # fmt: skip
    yield Check(
        "rddrs, eq. 2", "R(C): r = Phi^-1(p_A) - Phi^-1(p_B), without the half",
        f"{distance / sigma:.4f} (in units of sigma)", f"{gap:.4f}", "1e-12",
        gap <= distance / sigma, "half of it; with p_B = 1 - p_A it is Phi^-1(p_A)",
    )  # fmt: skip

    # optimal-certified-radius (7), (8): the bound from the tail without the observed value,
    # on one proportion: L = sup{p : P(X > x) <= alpha}.
    n, alpha = 20, 0.05
    strict = [1.0 if x == n else stats.beta.ppf(alpha, x + 1, n - x) for x in range(n + 1)]
    weak = [0.0 if x == 0 else stats.beta.ppf(alpha, x, n - x + 1) for x in range(n + 1)]
    errors = [
        exact_coverage(
            lambda k, b=bound: np.array(b)[k], n, np.linspace(0.01, 0.99, 99)
        ).worst_error
        for bound in (strict, weak)
    ]
    yield Check(
        "optimal-certified-radius, eq. 7-8", "1 - P(estimate <= observed) gives a valid bound",
        f"error at most {alpha}", f"{errors[0]:.3f} (n = {n}, one proportion)", "0",
        errors[0] <= alpha,
        f"the observed value is inside the tail: error {errors[1]:.3f}",
    )  # fmt: skip
    product = math.comb(6, 3) * math.comb(6, 2) * math.comb(6, 1)
    yield Check(
        "optimal-certified-radius, 4.1", "the multinomial coefficient is a product of binomials",
        f"{math.factorial(6) // (6 * 2 * 1)} for (3, 2, 1) of 6", str(product), "0",
        product == math.factorial(6) // 12, "n! / (x_1! ... x_m!)",
    )  # fmt: skip
