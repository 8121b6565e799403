"""Margins and Lipschitz constants: section 2 of optimal-certified-radius."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import rsbounds
from paper_checks import Check

PAPER = "optimal-certified-radius"
Numbers = NDArray[np.float64]


def run(quick: bool = False) -> Iterator[Check]:
    yield from margins(200 if quick else 20_000)
    yield from maps(200 if quick else 20_000)


def margins(trials: int) -> Iterator[Check]:
    rng = np.random.default_rng(0)
    # Softmax of W x with orthonormal rows of W: Lipschitz with 1/2 (l2 to l2).
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    x, y = (scale * rng.standard_normal((trials, 6)) for scale in (3.0, 3.0))
    y = x + (y - x) * rng.uniform(0, 1, (trials, 1))
    one, other = (rsbounds.softmax(z @ basis.T) for z in (x, y))
    top = one.argmax(axis=1)[:, None]

    def margin(p: Numbers) -> Numbers:
        rest = p.copy()
        np.put_along_axis(rest, top, -np.inf, axis=1)
        return np.take_along_axis(p, top, 1)[:, 0] - rest.max(axis=1)

    drop = margin(one) - margin(other)
    ratio = float((drop / (math.sqrt(2) * 0.5 * np.linalg.norm(x - y, axis=1))).max())
    # F = ((1 + u x)/2, (1 - u x)/2) has L = 1/sqrt(2) and margin u x: the bound is attained.
    u = basis[0]
    constant = float(np.linalg.norm(np.stack([u / 2, -u / 2]), 2))
    attained = float(u @ u) / (math.sqrt(2) * constant)
    yield Check(
        f"{PAPER}, Proposition 1", "M(F, x) > sqrt(2) L r keeps the answer within r",
        "margin falls by at most sqrt(2) L |delta| (ratio at most 1)",
        f"ratio {ratio:.3f} at most in {trials} pairs; a linear F attains {attained:.3f}", "1e-9",
        ratio <= 1 + 1e-9, "`lipschitz_radius`, `Lipschitz`: the constant is tight",
    )  # fmt: skip
    found = float(rsbounds.lipschitz_radius(0.5, constant=0.25))
    yield Check(
        f"{PAPER}, eq. 2", "R_1 = M / (sqrt(2) L)", f"{0.5 / (math.sqrt(2) * 0.25):.9f}",
        f"{found:.9f}", "1e-12, never above",
        0 <= 0.5 / (math.sqrt(2) * 0.25) - found < 1e-12, "`lipschitz_radius`, rounded down",
    )  # fmt: skip
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    grid, steep = np.linspace(-2, 2, 801), 4.0
    slopes = []
    for sigma in (0.05, 0.25, 1.0):
        p = 1 / (1 + np.exp(-steep * (grid[:, None] + sigma * nodes)))
        slopes.append(float((weights * steep * p * (1 - p)).sum(axis=1).max()))
    yield Check(
        f"{PAPER}, 2.4", "smoothing does not raise the Lipschitz constant",
        f"at most {steep / 4:.1f} (a logistic function)",
        "/".join(f"{s:.4f}" for s in slopes) + " at sigma 0.05/0.25/1", "1e-9",
        max(slopes) <= steep / 4 + 1e-9,
        "R_1 may use the base classifier's constant, as `Lipschitz` does",
    )  # fmt: skip


def projected(z: Numbers) -> Numbers:
    """Nearest point of the simplex, by bisection on the threshold."""
    low, high = z.min(axis=1) - 1.0, z.max(axis=1)
    for _ in range(80):
        middle = 0.5 * (low + high)
        above = np.maximum(z - middle[:, None], 0).sum(axis=1) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.maximum(z - low[:, None], 0)


def maps(trials: int) -> Iterator[Check]:
    rng = np.random.default_rng(1)
    x = 2 * rng.standard_normal((trials, 5))
    y = x + rng.standard_normal((trials, 5)) * 10.0 ** rng.uniform(-4, 1, (trials, 1))
    length = np.linalg.norm(x - y, axis=1)
    found = [
        float((np.linalg.norm(name(x) - name(y), axis=1) / length).max())
        for name in (rsbounds.softmax, rsbounds.sparsemax)
    ]
    yield Check(
        f"{PAPER}, 2.4", "softmax and sparsemax are 1-Lipschitz", "ratios at most 1",
        f"softmax {found[0]:.3f}, sparsemax {found[1]:.3f}", f"1e-9, {trials} pairs",
        max(found) <= 1 + 1e-9, "`soft_lipschitz`: softmax is Lipschitz with 1/2, twice as good",
    )  # fmt: skip
    gap = float(abs(rsbounds.sparsemax(x) - projected(x)).max())
    yield Check(
        f"{PAPER}, 2.1", "sparsemax is the projection onto the simplex", "difference 0",
        "0 within 1e-12" if gap < 1e-12 else f"{gap:.1g}", "1e-12 (against bisection)",
        gap < 1e-12, "`sparsemax`",
    )  # fmt: skip
