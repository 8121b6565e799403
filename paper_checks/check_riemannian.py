"""Ellipsoids and the geometry of matrices: formulas of rddrs.

Gradients are compared with central differences along symmetric directions, the certified set with
what a half-space allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats

from paper_checks import Check, joined
from rsbounds.regions import Ellipsoid

Numbers = NDArray[np.float64]


def run(quick: bool = False) -> Iterator[Check]:
    yield from covariance()
    yield from volume()
    yield from gradients()
    yield from manifold(5 if quick else 100)


def covariance() -> Iterator[Check]:
    # Noise C z against a half-space with normal u at distance d: p_A = Phi(d / |C u|).
    axes, distance = np.array([0.25, 4.0]), 0.5
    reached = []
    for u in np.eye(2):
        r = distance / float(np.linalg.norm(axes * u))  # Phi^-1(p_A)
        reached.append((r * axes @ u, r * np.sqrt(axes) @ u))
    right, printed = (float(max(pair[i] for pair in reached)) for i in (0, 1))
    yield Check(
        "rddrs, 2 and 3", "with y = x + C Z the certified set is norm(C^-1/2 delta) <= r, "
        "semi-axes r sqrt(lambda_i)", f"at most {distance}, the distance of a half-space",
        f"{printed:.4f} (C = diag(0.25, 4), half-spaces along the axes)", "1e-12",
        printed <= distance + 1e-12,
        f"noise C z has covariance C^2: semi-axes r lambda_i reach {right:.4f}",
        "rddrs-covariance", misprint=True,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((200_000, 2)) * axes
    spread = draws.var(axis=0)
    yield Check(
        "rddrs, 3", "smoothing with N(0, C) is y = x + C Z", "variances 0.25, 4",
        joined(spread, 3), "1 % (200,000 draws)",
        bool(np.allclose(spread, axes, rtol=0.01)), "`FullGaussian` takes the C of x + C z",
        "rddrs-covariance", misprint=True,
    )  # fmt: skip


def volume() -> Iterator[Check]:
    dimension = 784
    half = np.full(dimension, 0.5, dtype=np.float32)
    root = float(np.sqrt(np.prod(half.astype(np.float64))))
    mean = math.exp(float(np.log(half.astype(np.float64)).mean()))
    yield Check(
        "rddrs, eq. 4 and 5", "the objective is r times the square root of the product of axes",
        "0.5 r where every axis is 0.5 (a ball of that radius)",
        f"{root:.1e} r at d = 784 (in float32 {float(np.sqrt(np.prod(half))):g} r)", "1e-9",
        math.isclose(root, 0.5, rel_tol=1e-9),
        f"the d-th root, in logs: {mean:.4f} r; `proxy_radius`", "rddrs-root", misprint=True,
    )  # fmt: skip
    axes = np.array([[0.3, 0.7, 1.9]])
    region = Ellipsoid([0.8], axes=axes)
    inner = float(region.inscribed_radius()[0])
    proxy = float(region.proxy_radius()[0])
    yield Check(
        "rddrs, eq. 4", "min_i theta_i r >= r_iso encloses the isotropic region",
        f"largest ball inside: {0.8 * 0.3:.4f} (min theta_i r)",
        f"{inner:.4f}; proxy radius {proxy:.4f} (r times the geometric mean "
        f"{0.8 * np.prod(axes) ** (1 / 3):.4f})", "1e-9", abs(inner - 0.24) < 1e-9,
        "every certificate states inscribed and proxy radius",
    )  # fmt: skip


SYMMETRIC = np.array([[0.3, -0.2, 0.1], [-0.2, 0.5, 0.4], [0.1, 0.4, -0.7]])
POINT = np.array([[0.9, 0.2, 0.1], [0.2, 0.5, -0.1], [0.1, -0.1, 1.3]])


def along(value: object, step: float = 1e-6) -> float:
    """Derivative of a function of C in the direction `SYMMETRIC`, by central differences."""
    one, other = (value(POINT + s * SYMMETRIC) for s in (step, -step))  # type: ignore[operator]
    return float((one - other) / (2 * step))


def inner(c: Numbers, a: Numbers, b: Numbers) -> float:
    """Affine-invariant metric at C."""
    return float(np.trace(np.linalg.solve(c, a) @ np.linalg.solve(c, b)))


def gradients() -> Iterator[Check]:
    c = POINT
    values, vectors = np.linalg.eigh(c)

    def geometric(m: Numbers) -> float:
        return float(np.linalg.det(m)) ** (1 / 3)

    wanted = {"P": along(geometric), "K": along(lambda m: float(np.linalg.eigvalsh(m)[0]))}
    least = np.outer(vectors[:, 0], vectors[:, 0])
    right = {"P": geometric(c) / 3 * np.linalg.inv(c), "K": least}
    # B_ij from d numbers (nabla P)_i: the derivatives by the eigenvalues are the only d there are.
    slopes = {"P": geometric(c) / 3 / values, "K": np.array([1.0, 0.0, 0.0])}
    printed = {name: 0.5 * (g[:, None] + g[None, :]) for name, g in slopes.items()}
    for name in ("P", "K"):
        ours = inner(c, c @ right[name] @ c, SYMMETRIC)
        theirs = inner(c, c @ printed[name] @ c, SYMMETRIC)
        letter = {"P": "B", "K": "D"}[name]
        yield Check(
            "rddrs, 3", f"nabla {name} = C {letter} C with {letter}_ij = ((nabla {name})_i + "
            f"(nabla {name})_j)/2", f"{wanted[name]:.6f} (derivative along a direction)",
            f"{theirs:.6f} with (nabla {name})_i the derivative by the i-th eigenvalue", "1e-6",
            math.isclose(theirs, wanted[name], abs_tol=1e-6),
            f"a matrix has d x d derivatives, not d: C E C with E the Euclidean gradient, "
            f"symmetrised, gives {ours:.6f}", "rddrs-gradients", misprint=True,
        )  # fmt: skip

    # G(C) = E F(x + C Z) with F a logistic function: a one-dimensional integral in closed form.
    u, bias = np.array([1.0, -0.5, 2.0]), 0.4
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()

    def smoothed(m: Numbers) -> float:
        t = bias + float(np.linalg.norm(m @ u)) * nodes
        return float((weights / (1 + np.exp(-t))).sum())

    slope = float(np.linalg.norm(c @ u))
    p = 1 / (1 + np.exp(-(bias + slope * nodes)))
    # E[F'(y) Z] = (C u / |C u|) E[F'(b + s t) t], so E[A] = sym(u (C u)^T) times a number.
    number = float((weights * p * (1 - p) * nodes).sum()) / slope
    a = number * 0.5 * (np.outer(u, c @ u) + np.outer(c @ u, u))
    found, expected = inner(c, c @ a @ c, SYMMETRIC), along(smoothed)
    yield Check(
        "rddrs, 3", "nabla G(C) = C E[A] C, A_ij = (Z_j dF_i + Z_i dF_j)/2",
        f"{expected:.8f} (derivative along a direction)", f"{found:.8f}", "1e-7",
        math.isclose(found, expected, abs_tol=1e-7), "`rddrs` of rsbounds_torch.optimizers",
    )  # fmt: skip
    q = smoothed(c)
    through = expected / float(stats.norm.pdf(stats.norm.ppf(q)))
    direct = along(lambda m: float(stats.norm.ppf(smoothed(m))))
    yield Check(
        "rddrs, 3", "nabla R: each nabla p divided by Phi'(Phi^-1(p))", f"{direct:.8f}",
        f"{through:.8f}", "1e-7", math.isclose(direct, through, abs_tol=1e-7),
    )  # fmt: skip


def exponential(y: Numbers, direction: Numbers) -> Numbers:
    """Exp of the paper."""
    root = linalg.sqrtm(y).real
    back = np.linalg.inv(root)
    return np.asarray(root @ linalg.expm(back @ direction @ back) @ root)


def distances(y: Numbers, z: Numbers) -> tuple[float, float]:
    """Of the paper's formula, read as tr(log(.)^2), and as (tr log(.))^2; both roots."""
    logs = np.log(linalg.eigvalsh(z, y))
    return float(np.sqrt((logs**2).sum())), float(abs(logs.sum()))


def within(difference: float) -> str:
    """In words that rounding does not change."""
    return "1 within 1e-6" if difference < 1e-6 else f"1 within {difference:.1g}"


def manifold(trials: int) -> Iterator[Check]:
    square, outside = distances(np.eye(2), np.diag([2.0, 0.5]))
    yield Check(
        "rddrs, 3", "d^2(Y, Z) = tr(log(Y^-1/2 Z Y^-1/2))^2, the square outside the trace",
        "above 0 for Y = I, Z = diag(2, 1/2)", f"{outside:.4f}", "0", outside > 0,
        f"the square belongs inside: d = {square:.4f}", misprint=True,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    worst = turned = 0.0
    for _ in range(trials):
        y, z = (a @ a.T + 0.1 * np.eye(4) for a in rng.standard_normal((2, 4, 4)))
        direction = rng.standard_normal((4, 4))
        direction = direction + direction.T
        direction *= 1.5 / math.sqrt(inner(y, direction, direction))
        worst = max(worst, abs(distances(y, exponential(y, direction))[0] / 1.5 - 1))
        g = rng.standard_normal((4, 4))
        moved = distances(g @ y @ g.T, g @ z @ g.T)[0]
        turned = max(turned, abs(moved / distances(y, z)[0] - 1))
    yield Check(
        "rddrs, 3", "Exp_Y(Delta) is the metric's exponential: it goes as far as Delta is long",
        "ratio of lengths 1", within(worst), f"1e-6, {trials} random matrices", worst < 1e-6,
        "`rddrs`, without geomstats",
    )  # fmt: skip
    yield Check(
        "rddrs, 1 and 3", "the geometry does not change under rotations of the input (nor any "
        "invertible map)", "ratio of distances 1", within(turned),
        f"1e-6, {trials} random pairs", turned < 1e-6,
        "the method's areas are in the section `smoothing`",
    )  # fmt: skip
    steps, draws, others = 100, 20_000, 100
    yield Check(
        "rddrs, 4", "the method is slower than the others, because of 20,000 draws a step",
        "more evaluations than ANCER's", f"{steps * draws:,} against {steps * others:,} per input",
        "counted from the settings in section 4", draws > others,
        "`rddrs` draws 400 a step and keeps running averages; `rotated` draws no more than "
        "`ancer`",
    )  # fmt: skip
