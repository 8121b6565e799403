"""Data-dependent smoothing in closed form: its ascent, its certificate and its memory.

Classifiers of the line, whose smoothed probabilities are integrals: no model is trained and no
certificate is sampled. What the optimizers reach on a plane and on MNIST is in the section
`smoothing`, what training with them gains in `training`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

import rsbounds
from paper_checks import Check, joined
from rsbounds.regions import Ball

PAPER = "data-dependent-smoothing"
Numbers = NDArray[np.float64]
N, ALPHA = 100_000, 0.001


def run(quick: bool = False) -> Iterator[Check]:
    yield from scales()
    yield from ascent(12 if quick else 400)
    yield from reuse()
    yield from certificate()
    yield from cases()
    yield from disjointness(40 if quick else 400)


def inside(x: float, s: Numbers) -> Numbers:
    """P(|x + s z| < 1): the class of an interval under Gaussian noise."""
    return np.asarray(stats.norm.cdf((1 - x) / s) - stats.norm.cdf((-1 - x) / s))


def certified(p: Numbers, s: Numbers) -> Numbers:
    """The radius that N votes certify where their number is the expected one."""
    k = np.floor(N * p)
    low = np.where(k > 0, stats.beta.ppf(ALPHA, np.maximum(k, 1), N - k + 1), 0.0)
    return np.maximum(s * stats.norm.ppf(np.maximum(low, 1e-300)), 0.0)


def scales() -> Iterator[Check]:
    """Figure 1, 3.3 and 4.4."""
    sigmas = np.geomspace(0.005, 3, 600)
    inputs = (0.0, 0.5, 0.9)
    best = [float(sigmas[certified(inside(x, sigmas), sigmas).argmax()]) for x in inputs]
    yield Check(
        f"{PAPER}, 3.4 and Figure 6", "the sigma that maximizes the radius varies over inputs",
        "one sigma for each of three inputs in an interval",
        f"{joined(best, 3)} at distance 1/0.5/0.1 from the boundary", "the largest at least "
        "twice the smallest", max(best) > 2 * min(best), "`search`, `ddrs`",
    )  # fmt: skip
    small, large = (float(inside(0.9, np.array([s]))[0]) for s in (0.02, 1.5))
    yield Check(
        f"{PAPER}, Figure 1 and 3.3", "a sigma too large for an input near the boundary predicts "
        "it wrongly", "p_A below 1/2 at a large sigma only",
        f"{small:.3f} at sigma 0.02, {large:.3f} at 1.5 (distance 0.1)", "-", large < 0.5 < small,
        "an abstention or another class, never a certificate for the wrong one",
    )  # fmt: skip
    widths = np.geomspace(0.005, 3, 600)
    grid = np.linspace(-0.95, 0.95, 39)
    over = []
    for width in (None, 0.25, 0.5, 1.0):
        at = widths if width is None else np.array([width])
        radii = []
        for x in grid:
            p = np.clip((np.minimum(x + at, 1) - np.maximum(x - at, -1)) / (2 * at), 0, 1)
            k = np.floor(N * p)
            low = np.where(k > 0, stats.beta.ppf(ALPHA, np.maximum(k, 1), N - k + 1), 0.0)
            radii.append(np.maximum(at * (2 * low - 1), 0).max())
        over.append(float(np.mean(radii)))
    yield Check(
        f"{PAPER}, 4.4", "a lambda for each input certifies more in l1 than one for all",
        f"above {max(over[1:]):.4f}, the best of lambda 0.25/0.5/1 (mean l1 radius)",
        f"{over[0]:.4f}", f"{len(grid)} inputs of an interval", over[0] > max(over[1:]),
        "optimizers scale `Uniform` as they do `Gaussian`",
    )  # fmt: skip


SLOPE, SIGMA, SIGMAS = 8.0, 0.25, (0.12, 0.25, 0.5)
Z = np.linspace(-8, 8, 1601)
WEIGHTS = stats.norm.pdf(Z) * (Z[1] - Z[0])


def soft(x: Numbers) -> Numbers:
    """Score of the interval's class."""
    return 0.5 * (1 + np.tanh(0.5 * SLOPE * (1 - np.abs(x))))


def soft_radius(x: Numbers, s: Numbers) -> Numbers:
    """Radius of the soft smoothed classifier, by integration; negative where it is the other's."""
    p = (WEIGHTS * soft(x[:, None] + s[:, None] * Z)).sum(axis=1)
    return np.asarray(s * stats.norm.ppf(np.clip(p, 1e-12, 1 - 1e-12)))


def slant(quantile: Numbers) -> Numbers:
    """Derivative of Phi^-1 where it has that value."""
    return np.asarray(np.sqrt(2 * np.pi) * np.exp(0.5 * quantile**2))


def ascended(x: Numbers, first: float, steps: int, draws: int, rate: float) -> Numbers:
    """Algorithm 1 as printed, for two classes."""
    rng = np.random.default_rng(0)
    s = np.full(len(x), first)
    for _ in range(steps):
        z = rng.standard_normal((len(x), draws))
        y = x[:, None] + s[:, None] * z
        f = soft(y)
        p = np.clip(f.mean(axis=1), 1e-6, 1 - 1e-6)
        slope = (-np.sign(y) * SLOPE * f * (1 - f) * z).mean(axis=1)
        quantile = special.ndtri(p)
        # The class is the one that the samples favour, as the algorithm has it.
        s = s + rate * np.sign(quantile) * (quantile + s * slope * slant(quantile))
        s = np.maximum(s, 1e-3)
    return s


def ascent(count: int) -> Iterator[Check]:
    """3.4: the ascent, and the variance of its gradient."""
    x = np.linspace(-0.99, 0.99, count)
    worse, means, total = [], [], 0
    for sigma in SIGMAS:
        start = soft_radius(x, np.full(count, sigma))
        sure = start > 0
        total += int(sure.sum())
        for draws in (1, 100):
            end = soft_radius(x, ascended(x, sigma, 900, draws, 1e-4))
            worse.append(float((end < start - 1e-9)[sure].mean()))
            means.append(float(np.maximum(end, 0)[sure].mean() / start[sure].mean()))
    yield Check(
        f"{PAPER}, 3.4", "optimizing sigma can at worst yield the radius that there was",
        "0 of the inputs with a smaller radius after Algorithm 1",
        f"{joined(worse, 3)} of them from sigma 0.12/0.25/0.5, each with 1 and 100 draws a step; "
        f"mean radius times {joined(means, 2)}",
        f"exact radii of {total} inputs, 900 steps of 1e-4", max(worse) == 0,
        "true of the maximum, not of a noisy ascent: the better of start and end is kept, judged "
        "on draws that the certificate does not use", "dds-ascent",
    )  # fmt: skip
    sure = soft_radius(x, np.full(count, SIGMA)) > 0
    gains = [
        float(np.maximum(soft_radius(x, ascended(x, SIGMA, k, 100, 1e-4)), 0)[sure].mean())
        for k in (0, 300, 900, 1500)
    ]
    yield Check(
        f"{PAPER}, 4.5 and Figure 7", "more iterations K certify more",
        "mean radius grows over K = 0/300/900/1500", joined(gains),
        f"{int(sure.sum())} inputs of an interval, 100 draws a step",
        all(a < b for a, b in pairwise(gains)),
        "on the line here; on CIFAR-10 and ImageNet not checked",
    )  # fmt: skip
    ratios = []
    for slope in (2.0, 8.0, 50.0):
        for at in (0.0, 0.5, 0.9):
            y = at + SIGMA * Z
            f = 0.5 * (1 + np.tanh(0.5 * slope * (1 - np.abs(y))))
            path = -np.sign(y) * slope * f * (1 - f) * Z
            score = f * (Z**2 - 1) / SIGMA
            variance = [
                float((WEIGHTS * g**2).sum() - (WEIGHTS * g).sum() ** 2) for g in (path, score)
            ]
            ratios.append(variance[0] / variance[1])
    yield Check(
        f"{PAPER}, 3.4", "the reparameterized gradient has a lower variance",
        "ratio to the score function's below 1", f"{min(ratios):.4f} to {max(ratios):.4f}",
        "integrated, nine cases: slope 2/8/50, distance 1/0.5/0.1", max(ratios) < 1,
        "every optimizer differentiates through the noise",
    )  # fmt: skip


def reuse() -> Iterator[Check]:
    """Certificates from the samples of the optimization."""
    n, p, laws, alpha = 100, 0.8, 20, 0.001
    k = np.arange(n + 1)
    lower = np.where(k > 0, stats.beta.ppf(alpha, np.maximum(k, 1), n - k + 1), 0.0)
    once = float(stats.binom.pmf(k, n, p)[lower > p].sum())
    best = 1 - (1 - once) ** laws
    yield Check(
        f"rddrs, 4, and {PAPER}, Algorithm 1", "p_A of the optimization is good enough for the "
        "radius", f"error at most {alpha}",
        f"{best:.4f} where the best of {laws} laws is certified by the votes that chose it",
        f"exact, p_A = {p} under each law, n = {n}", best <= alpha,
        f"with fresh votes {once:.5f}; the certificate never sees a draw of the optimization",
        "ddrs-soft-p",
    )  # fmt: skip
    at = np.array([0.97])
    mean = float((WEIGHTS * soft(at[:, None] + 0.05 * Z)).sum())
    votes = float(inside(0.97, np.array([0.05]))[0])
    other = soft(np.array([0.0]))
    far = float((WEIGHTS * soft(0.0 + 0.25 * Z)).sum())
    votes_far = float(inside(0.0, np.array([0.25]))[0])
    yield Check(
        f"rddrs, 4, and {PAPER}, eq. 2", "the mean of scores may stand for p_A of the votes",
        f"{votes:.4f} and {votes_far:.6f} (votes, near the boundary and far from it)",
        f"{mean:.4f} and {far:.6f} (scores; at most {float(other[0]):.6f} there)", "0.01",
        abs(mean - votes) < 0.01 and abs(far - votes_far) < 0.01,
        "the optimization may use them; votes are certified, or the scores' own mean by "
        "`certify_soft`", "ddrs-soft-p",
    )  # fmt: skip


def certificate() -> Iterator[Check]:
    """3.5: one class on a band around 0, the other elsewhere."""
    half, sigma_0 = 0.2, 0.1
    sigmas = np.geomspace(0.01, 10, 400)

    def answer(x: float) -> tuple[int, float, float]:
        """Class under sigma_0, the sigma that certifies it most, and the radius."""
        band = stats.norm.cdf((half - x) / sigma_0) - stats.norm.cdf((-half - x) / sigma_0)
        own = int(band < 0.5)
        p = stats.norm.cdf((half - x) / sigmas) - stats.norm.cdf((-half - x) / sigmas)
        radii = certified(1 - p if own else p, sigmas)
        return own, float(sigmas[radii.argmax()]), float(radii.max())

    centre, beside = answer(0.0), answer(1.0)
    yield Check(
        f"{PAPER}, 3.5", "the data-dependent classifier may answer differently inside of the "
        "region certified at an input", "a point within R(x) with another answer",
        f"x = 1: class {beside[0]}, sigma {beside[1]:.2f}, R {beside[2]:.2f}; x = 0: class "
        f"{centre[0]}, sigma {centre[1]:.3f}, R {centre[2]:.3f}", "closed form",
        beside[0] != centre[0] and beside[2] > 1.0,
        "R(x; sigma_x) is about the classifier smoothed with sigma_x everywhere; every "
        "certificate says which of the two it is about", "dds-certificate",
    )  # fmt: skip
    memory = rsbounds.MemoryClassifier(model="band", noise="gaussian", dimension=1)
    kept = []
    for x, (own, _, radius) in ((0.0, centre), (1.0, beside)):
        kept.append(memory.add([x], own, Ball([radius], norm="l2")))
    yield Check(
        f"{PAPER}, 3.5", "memory-enhanced and data-dependent classifier are interchangeable",
        f"radius {beside[2]:.3f} at x = 1 after x = 0", f"{kept[1].radius:.3f}", "1e-6",
        abs(kept[1].radius - beside[2]) < 1e-6,
        "only where no regions meet; the memory alone makes it sound (Sukenik et al. 2022), and "
        "its answers depend on the order of inputs, which is kept", "dds-certificate",
    )  # fmt: skip


def cases() -> Iterator[Check]:
    """Figure 2."""
    first = ([0.0, 0.0], 0, 1.0)
    shown = (
        ("left: same class, both are kept", [1.2, 0.0], 0, 0.5, ("no", 0, 0.5)),
        ("middle: inside with another class, it becomes the stored one's, and the region its "
         "largest part inside", [0.6, 0.0], 1, 0.9, ("relabelled", 0, 0.4)),
        ("right: outside with another class, the largest part that does not meet the stored one",
         [1.5, 0.0], 1, 0.9, ("shrunk", 1, 0.5)),
    )  # fmt: skip
    for text, x, own, radius, wanted in shown:
        memory = rsbounds.MemoryClassifier(model="m", noise="gaussian", dimension=2)
        memory.add(first[0], first[1], Ball([first[2]], norm="l2"))
        answer = memory.add(x, own, Ball([radius], norm="l2"))
        got = (answer.adjusted, answer.candidate, answer.radius)
        yield Check(
            f"{PAPER}, Figure 2", text, f"class {wanted[1]}, radius {wanted[2]}",
            f"class {got[1]}, radius {got[2]:.6f} ({got[0]})", "1e-9, never above",
            got[:2] == wanted[:2] and 0 <= wanted[2] - got[2] < 1e-9,
            "`MemoryClassifier`, for every stored region and not only the nearest",
        )  # fmt: skip


def met(points: Numbers, radii: Numbers, classes: Numbers) -> int:
    """Pairs of regions of different classes that meet."""
    gap = np.linalg.norm(points[:, None] - points[None], axis=2) - radii[:, None] - radii
    differ = (classes[:, None] != classes) & (radii[:, None] > 0) & (radii > 0)
    return int((differ & (gap < -1e-12)).sum() // 2)


def disjointness(count: int) -> Iterator[Check]:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 4, (count, 2))
    own, radius = rng.integers(0, 3, count), rng.uniform(0, 0.6, count)
    memory = rsbounds.MemoryClassifier(model="m", noise="gaussian", dimension=2)
    answers = [
        memory.add(x, int(c), Ball([r], norm="l2"))
        for x, c, r in zip(points, own, radius, strict=True)
    ]
    kept = np.array([a.radius for a in answers])
    classes = np.array([a.candidate for a in answers])
    # Literal: where the new region meets none, it is made not to meet it; where it meets one and
    # its centre is outside, nothing is said.
    literal_radius, literal_class = radius.copy(), own.copy()
    for j in range(count):
        for i in range(j):
            distance = float(np.linalg.norm(points[j] - points[i]))
            if literal_class[i] != literal_class[j] and distance <= literal_radius[i]:
                literal_class[j] = literal_class[i]
                literal_radius[j] = min(literal_radius[j], literal_radius[i] - distance)
    overlaps = met(points, literal_radius, literal_class)
    yield Check(
        f"{PAPER}, 3.5", "if R_N+1 and R_i do not intersect, x_N+1 is outside and the classes "
        "differ, R_N+1 is shrunk", "no regions of different classes that meet",
        f"{overlaps} pairs of {count} random inputs", "0", overlaps == 0,
        "if they do intersect (its Figure 2, right)", misprint=True,
    )  # fmt: skip
    ours = met(points, kept, classes)
    yield Check(
        f"{PAPER}, 3.5", "by construction no certified regions with different predictions overlap",
        "0 pairs", f"{ours} of {count} random inputs "
        f"({sum(a.adjusted != 'no' for a in answers)} adjusted)", "0", ours == 0,
        "proven in floating point for balls, cross-polytopes and ellipsoids",
    )  # fmt: skip
    steps = rng.normal(size=(count, 2))
    steps *= (kept * np.sqrt(rng.uniform(0, 0.999, count)) / np.linalg.norm(steps, axis=1))[:, None]
    held = kept > 1e-6
    said = memory.predict((points + steps)[held])
    wrong = int((said != classes[held]).sum())
    yield Check(
        f"{PAPER}, 3.5", "the memory's answer is constant on each certified region",
        "0 points with another answer", f"{wrong} of {int(held.sum())}",
        "one random point of each region", wrong == 0, "`MemoryClassifier.predict`",
    )  # fmt: skip
