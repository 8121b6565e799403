"""Radius formulas of all four papers.

A half-space is the worst case of the Gaussian formula and of the uniform one, so there the
formula must equal the distance at which the smoothed answer flips; that distance is found by
integrating the noise's density, without the formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy import integrate, optimize, stats

import rsbounds
from paper_checks import Check, joined


def run(quick: bool = False) -> Iterator[Check]:
    yield from gaussian()
    yield from uniform(20 if quick else 2000)
    yield from cohen()


def mass(sigma: float, low: float, high: float, shift: float) -> float:
    """Probability of low < shift + sigma z < high, by integration."""
    ends = np.clip([low - shift, high - shift], -12 * sigma, 12 * sigma)
    found, _ = integrate.quad(
        lambda t: math.exp(-0.5 * (t / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi)),
        *ends, points=[0.0] if ends[0] < 0 < ends[1] else None, epsabs=1e-13,
    )  # fmt: skip
    return float(found)


def flip(difference: Callable[[float], float], furthest: float) -> float:
    """Shift at which p_A - p_B becomes 0."""
    return float(optimize.brentq(difference, 0.0, furthest, xtol=1e-12))


def gaussian() -> Iterator[Check]:
    # A half-space at distance d: its smoothed answer flips at d exactly.
    sigma, distance = 0.25, 0.4
    gap = 2 * distance / sigma  # Phi^-1(p_A) - Phi^-1(p_B)
    yield Check(
        "rddrs, eq. 1", "R = sigma^2/2 (Phi^-1(p_A) - Phi^-1(p_B))",
        f"{distance} (distance of a half-space, sigma {sigma})", f"{sigma**2 / 2 * gap:.4f}",
        "1e-12", math.isclose(sigma**2 / 2 * gap, distance),
        "`Gaussian`: sigma/2 (Cohen et al. 2019, Theorem 1)", "rddrs-eq1", misprint=True,
    )  # fmt: skip
    sigma = 2.0
    gap = 2 * distance / sigma
    yield Check(
        "rddrs, eq. 1", "the same with sigma = 2, where it is unsound",
        f"at most {distance}", f"{sigma**2 / 2 * gap:.4f}", "1e-12",
        sigma**2 / 2 * gap <= distance, "the printed radius passes the boundary", "rddrs-eq1",
        misprint=True,
    )  # fmt: skip
    yield Check(
        "rddrs, eq. 2", "R(C): r = Phi^-1(p_A) - Phi^-1(p_B), without the half",
        f"{distance / sigma:.4f} (in units of sigma)", f"{gap:.4f}", "1e-12",
        gap <= distance / sigma, "half of it; with p_B = 1 - p_A it is Phi^-1(p_A)", "rddrs-eq2",
        misprint=True,
    )  # fmt: skip
    flips, radii = [], []
    for sigma, low, high in ((0.25, 0.2, 0.2), (0.5, 0.3, 0.9), (1.0, 2.5, 2.6)):
        p_a, p_b = mass(sigma, -math.inf, low, 0), mass(sigma, high, math.inf, 0)
        flips.append(
            flip(
                lambda t, s=sigma, a=low, b=high: (
                    mass(s, -math.inf, a, t) - mass(s, b, math.inf, t)
                ),
                4.0,
            )
        )
        radii.append(rsbounds.Gaussian(sigma).radius(stats.norm.ppf(p_a) - stats.norm.ppf(p_b)))
    for source in ("adre-t-certify, eq. 2", "data-dependent-smoothing, eq. 1",
                   "optimal-certified-radius, eq. 3"):  # fmt: skip
        yield Check(
            source, "R = sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)) is tight: half-spaces flip there",
            joined(flips, 9) + " (found by integration, three cases)",
            joined((float(r) for r in radii), 9), "1e-9",
            bool(np.allclose(flips, np.array(radii, dtype=float), rtol=0, atol=1e-9)),
            "`Gaussian`, rounded down",
        )  # fmt: skip
    p = np.linspace(0.0005, 0.9995, 1000)
    high, low = p[:, None], p[None, :]
    pairs = (high > low) & (high + low <= 1 + 1e-12)
    rise = stats.norm.ppf(p)
    slope = ((rise[:, None] - rise)[pairs]) / (high - low)[pairs]
    least = math.sqrt(2 * math.pi)
    yield Check(
        "adre-t-certify, large margin training", "R >= phi sigma/2 (p_A - p_B), phi > 0 the least "
        "derivative of Phi^-1", f"phi = {least:.6f}", f"least ratio {slope.min():.6f}",
        "1e-5, every pair of 1000 p with p_A + p_B <= 1",
        bool(slope.min() >= least - 1e-9 and slope.min() < least + 1e-5),
        "the linear margin certifies Gaussian noise too, never with more than `probit` does",
    )  # fmt: skip


def uniform(trials: int) -> Iterator[Check]:
    width, distance = 0.8, 0.3
    law = rsbounds.Uniform(width)
    p_a = (width + distance) / (2 * width)

    def leans(t: float) -> float:
        return (min(max(distance - t, -width), width) + width) / (2 * width) - 0.5

    radius = float(law.radius(2 * p_a - 1))
    yield Check(
        "data-dependent-smoothing, 4.4", "R_1 = lambda (p_A - p_B) is tight: a half-line flips "
        "there", f"{flip(leans, 1.0):.9f}", f"{radius:.9f}", "1e-9",
        abs(flip(leans, 1.0) - radius) < 1e-9, "`Uniform`",
    )  # fmt: skip
    # Cubes a shift apart: total variation against the l1 norm of the shift over 2 lambda.
    rng = np.random.default_rng(0)
    worst = 0.0
    for dimension in (1, 2, 10, 784):
        shift = rng.dirichlet(np.full(dimension, 0.3), trials) * rng.uniform(0, 2, (trials, 1))
        overlap = np.clip(1 - shift / (2 * width), 0, 1).prod(axis=1)
        worst = max(worst, float(((1 - overlap) / (shift.sum(axis=1) / (2 * width))).max()))
    yield Check(
        "data-dependent-smoothing, 4.4", "R_1 holds in l1 for every classifier: shifted cubes "
        "differ by at most |delta|_1/(2 lambda)", "ratio at most 1, and 1 along one axis",
        f"{worst:.9f}", f"{4 * trials} shifts in 1 to 784 dimensions",
        0.999 < worst <= 1 + 1e-12, "`Uniform`, norm l1",
    )  # fmt: skip


def cohen() -> Iterator[Check]:
    """The closed form where every vote agrees, and the least count that certifies."""
    n, alpha = 100_000, 0.001
    found = rsbounds.certify(
        [[n, 0], [n - 1, 1]], 0, noise=rsbounds.Gaussian(1.0), alpha=alpha, method="complement"
    ).radius
    closed = stats.norm.ppf(alpha ** (1 / n))
    second = stats.norm.ppf(
        optimize.brentq(lambda p: stats.binom.sf(n - 2, n, p) - alpha, 0.99, 1 - 1e-9, xtol=1e-15)
    )
    yield Check(
        "Cohen et al. 2019, CERTIFY", "with every vote the radius is sigma Phi^-1(alpha^(1/n))",
        f"{closed:.6f} sigma (n = 1e5, alpha 0.001); with one vote less {second:.6f} (the tail "
        "inverted)", joined((float(r) for r in found), 6), "1e-6, never above",
        bool(np.allclose(found, [closed, second], atol=1e-6) and found[0] <= closed + 1e-12),
        "`complement`",
    )  # fmt: skip
