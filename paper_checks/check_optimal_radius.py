"""Exact margin bounds from counts: sections 3 and 4 of optimal-certified-radius.

Errors are summed over every outcome of n draws; the points p are a choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

import rsbounds
from paper_checks import Check, joined
from rsbounds.bounds.margin._inner import plug_in_region
from rsbounds.solvers import SOLVERS, Window
from rsbounds.solvers._taylor import coefficients, polynomial
from rsbounds.testing import exact_coverage, margin_coverage, outcomes, simplex_grid

PAPER = "optimal-certified-radius"
Numbers = NDArray[np.float64]


def run(quick: bool = False) -> Iterator[Check]:
    yield from separate(12 if quick else 30)
    yield from definitions()
    yield from tail()
    yield from search(quick)
    yield from taylor()
    yield from solvers(1 if quick else 20)
    yield from tightness(5 if quick else 200)


def errs(
    bound: Numbers, n: int, points: Sequence[Numbers], truth: Callable[[Numbers], Numbers]
) -> float:
    """Largest error probability of a bound that is given at each outcome of three classes."""
    return exact_coverage(lambda _: bound, n, np.array(points), truth=truth).worst_error


def pmf(table: NDArray[np.int64], p: Numbers) -> Numbers:
    return np.asarray(stats.multinomial.pmf(table, table[0].sum(), p))


def separate(n: int) -> Iterator[Check]:
    """Section 3: naive estimates, the empirical runner-up, two Clopper-Pearson bounds."""
    p = np.array([0.6, 0.25, 0.15])
    table = outcomes(n, 3)
    naive = (table[:, 0] - table[:, 1:].max(axis=1)) / n
    error = errs(naive, n, [p], lambda q: q[:, 0] - q[:, 1])
    yield Check(
        f"{PAPER}, 3.2", "the empirical estimate may overstate the true robustness",
        "an error probability far above 0.001", f"{error:.3f} (n = {n}, p = (0.6, 0.25, 0.15))",
        "exact", error > 0.1, "bounds only; `Certificates` keep no plug-in radius",
    )  # fmt: skip

    p = np.array([0.4, 0.31, 0.29])
    second = 1 + table[:, 1:].argmax(axis=1)
    mass = pmf(table, p)
    above = float(mass[p[0] - p[second] > p[0] - 0.31 + 1e-12].sum())
    yield Check(
        f"{PAPER}, 3.3", "the margin to the empirical runner-up is conservative, because the "
        "maximum is at least its score",
        "P(margin to it > true margin) = 0", f"{above:.3f} (n = {n}, p = (0.4, 0.31, 0.29))",
        "exact", above == 0, "the argument points the other way: a score below the maximum makes "
        "the margin larger", "ocr-runner-up",
    )  # fmt: skip
    alpha = 0.05
    fixed = margin_coverage(
        "bonferroni", n=n, classes=3, alpha=alpha, scale="linear", points=simplex_grid(3, 20)
    )
    yield Check(
        f"{PAPER}, 3.3.1", "eq. 4 to 6 hold with 1 - alpha, at the largest other count",
        f"error at most {alpha}", f"{fixed.worst_error:.4f} (K = 3, n = {n}), A fixed", "exact",
        fixed.worst_error <= alpha, "intersection-union: the true runner-up is one fixed class, "
        "and its bound is never smaller; `bonferroni`", "ocr-runner-up",
    )  # fmt: skip
    first = table.argmax(axis=1)
    found = []
    for method in ("bonferroni", "exact"):
        chosen = rsbounds.margin_lower_bound(
            table, first, alpha=alpha, scale="linear", method=method
        ).lower
        ranked = [(p, np.sort(p)[::-1]) for p in simplex_grid(3, 20)]
        found.append(max(
            float(pmf(table, p)[chosen > np.where(p[first] == r[0], r[0] - r[1], p[first] - r[0])
                                + 1e-12].sum())
            for p, r in ranked
        ))  # fmt: skip
    yield Check(
        f"{PAPER}, 3.1.1 and 4.2", "A may be the class with the highest count of the same sample",
        f"error at most {alpha}",
        f"{found[1]:.4f} for the joint bound of section 4; {found[0]:.4f} for eq. 4 to 6",
        f"exact, K = 3, n = {n}", found[1] <= alpha,
        "A from other counts (`select_top`); with the same ones there are two ways to err",
        "ocr-runner-up",
    )  # fmt: skip
    worst = 0.0
    for count, total in ((3, 20), (17, 20), (950, 1000), (1, 1000)):
        tail_low = optimize.brentq(
            lambda q, k=count, m=total: stats.binom.sf(k - 1, m, q) - 0.0005, 1e-9, 1 - 1e-9,
            xtol=1e-15,
        )  # fmt: skip
        tail_up = optimize.brentq(
            lambda q, k=count, m=total: stats.binom.cdf(k, m, q) - 0.0005, 1e-9, 1 - 1e-9,
            xtol=1e-15,
        )  # fmt: skip
        printed = (
            stats.beta.ppf(0.0005, count, total - count + 1),
            stats.beta.ppf(1 - 0.0005, count + 1, total - count),
        )
        worst = max(worst, abs(tail_low - printed[0]), abs(tail_up - printed[1]))
    yield Check(
        f"{PAPER}, eq. 4 and 5", "Clopper-Pearson as quantiles of beta distributions",
        "difference to the inverted binomial tails 0",
        "0 within 1e-10" if worst < 1e-10 else f"{worst:.1g}", "1e-10", worst < 1e-10,
        "`clopper_pearson_lower`, `clopper_pearson_upper`",
    )  # fmt: skip


def definitions() -> Iterator[Check]:
    """Section 4.1."""
    product = math.comb(6, 3) * math.comb(6, 2) * math.comb(6, 1)
    yield Check(
        f"{PAPER}, 4.1", "the multinomial coefficient is a product of binomials",
        f"{math.factorial(6) // (6 * 2 * 1)} for (3, 2, 1) of 6", str(product), "0",
        product == math.factorial(6) // 12, "n! / (x_1! ... x_m!)", "ocr-coefficient",
        misprint=True,
    )  # fmt: skip
    p = np.array([0.45, 0.25, 0.2, 0.1])
    four, three = outcomes(12, 4), outcomes(12, 3)
    one = np.bincount(four[:, 0] - four[:, 1] + 12, weights=pmf(four, p))
    other = np.bincount(
        three[:, 0] - three[:, 1] + 12, weights=pmf(three, np.array([*p[:2], p[2:].sum()]))
    )
    gap = float(abs(one - other).max())
    yield Check(
        f"{PAPER}, 4.1", "where g depends on p_1 and p_2 only, three cells are enough",
        "difference 0", "0 within 1e-12" if gap < 1e-12 else f"{gap:.1g}", "1e-12 (K = 4, n = 12)",
        gap < 1e-12, "`exact` works on three cells per competitor",
    )  # fmt: skip


def tail() -> Iterator[Check]:
    """(7), (8): the tail without the observed value, on one proportion."""
    n, alpha = 20, 0.05
    strict = [1.0 if x == n else stats.beta.ppf(alpha, x + 1, n - x) for x in range(n + 1)]
    weak = [0.0 if x == 0 else stats.beta.ppf(alpha, x, n - x + 1) for x in range(n + 1)]
    grid = np.linspace(0.01, 0.99, 99)
    errors = [
        exact_coverage(lambda k, b=bound: np.array(b)[k], n, grid).worst_error
        for bound in (strict, weak)
    ]
    yield Check(
        f"{PAPER}, eq. 7-8", "1 - P(estimate <= observed) gives a valid bound",
        f"error at most {alpha}", f"{errors[0]:.3f} (n = {n}, one proportion)", "exact, 99 p",
        errors[0] <= alpha, f"the observed value is inside the tail: error {errors[1]:.3f}",
        "ocr-tail", misprint=True,
    )  # fmt: skip


def tails(table: NDArray[np.int64], level: float, sums: Numbers) -> Numbers:
    """(n + n + 1,) P(X_1 - X_2 >= k) for k = -n..n, the largest over q with q1 - q2 = level."""
    n = int(table[0].sum())
    best = np.zeros(2 * n + 2)
    for s in np.unique(np.maximum(sums, abs(level))):
        q = np.array([(s + level) / 2, (s - level) / 2, 1 - s]).clip(0, 1)
        law = np.bincount(table[:, 0] - table[:, 1] + n, weights=pmf(table, q), minlength=2 * n + 1)
        best = np.maximum(best, np.append(law[::-1].cumsum()[::-1], 0.0))
    return best


def search(quick: bool) -> Iterator[Check]:
    """4.2: Pi(L), Lemma 1, and a heuristic that decides."""
    n, alpha = 10, 0.05
    table = outcomes(n, 3)
    levels = np.linspace(-0.95, 0.95, 14 if quick else 77)
    every = np.linspace(0, 1, 11 if quick else 101)
    supremum = np.array([tails(table, level, every) for level in levels])
    least = float(np.diff(np.maximum.accumulate(supremum, axis=0), axis=0).min())
    falls = float(np.diff(supremum, axis=0).min())
    yield Check(
        f"{PAPER}, 4.2", "Pi(L) is nondecreasing in L", "no step down",
        "none" if min(falls, least) > -1e-12 else f"{falls:.2g}",
        f"{len(levels)} L, {len(every)} q each, every observed value (n = {n})", falls > -1e-12,
        "so halving finds the bound",
    )  # fmt: skip
    observed = table[:, 0] - table[:, 1] + n
    # Heuristic minima: one point of each curve, at the sum that was seen or at a random one (the
    # first of a Bayesian search).
    seen = (table[:, 0] + table[:, 1]) / n
    starts = np.random.default_rng(0).uniform(0, 1, len(table))
    heuristic, random = (
        np.array(
            [[tails(table, level, np.array([s]))[k] for level in levels]
             for k, s in zip(observed, sums, strict=True)]
        )
        for sums in (seen, starts)
    )  # fmt: skip
    bounds = []
    for values in (heuristic, random, supremum[:, observed].T):
        accepted = np.logical_and.accumulate(values <= alpha, axis=1)
        bounds.append(np.where(accepted[:, 0], levels[accepted.sum(axis=1) - 1], -1.0))
    # Only the one competitor is bounded: two classes and the rest.
    points = [p for p in simplex_grid(3, 10) if p[1] >= p[2]]
    errors = [errs(b, n, points, lambda q: q[:, 0] - q[:, 1]) for b in bounds]
    high = [int((b > bounds[2] + 1e-12).sum()) for b in bounds]
    yield Check(
        f"{PAPER}, 4.2", "a heuristic minimum of the program may decide the binary search",
        f"error at most {alpha}", f"{errors[1]:.4f} with one random point of each curve (bound too "
        f"high at {high[1]} of {len(table)} outcomes), {errors[0]:.4f} with the point at the sum "
        f"that was seen ({high[0]})",
        f"exact, n = {n}, {len(points)} p; with the optimum {errors[2]:.4f}",
        max(errors) <= alpha, "a level is accepted only with a proven bound on the optimum "
        "(branch and bound); a heuristic may only refute", "ocr-heuristic",
    )  # fmt: skip
    refuted = heuristic > alpha
    wrong = refuted & (levels[None, :] < bounds[2][:, None] - 1e-12)
    yield Check(
        f"{PAPER}, Lemma 1", "a q with Pi(observed | q) <= 1 - alpha shows that the bound is at "
        "most L", "no such L below the bound", f"{int(wrong.sum())} of {int(refuted.sum())}",
        f"every outcome of n = {n}", not wrong.any(), "refutations cost no proof",
    )  # fmt: skip
    right = refuted & (levels[None, :] <= bounds[2][:, None])
    yield Check(
        f"{PAPER}, 4.2, after Lemma 1", "then the bound is on the right side of L",
        "the bound above L for each", f"{int(right.sum())} of {int(refuted.sum())}",
        f"every outcome of n = {n}", bool(right[refuted].all()),
        "on the left, as the lemma and the rest of that sentence say", misprint=True,
    )  # fmt: skip


def taylor() -> Iterator[Check]:
    """Lemma 2."""
    p1 = np.linspace(0.5, 0.999, 200)[:, None]
    p2 = np.minimum(np.linspace(0.001, 0.5, 100)[None, :], 1 - p1)
    true = stats.norm.ppf(p1) - stats.norm.ppf(p2)
    gaps = []
    for order in (1, 3, 7, 15):
        value = np.vectorize(lambda q, m=order: polynomial(q - 0.5, m))
        gaps.append(float((value(p1) - value(p2) - true).max()))
    yield Check(
        f"{PAPER}, Lemma 2", "with p_1 >= 1/2 the Taylor polynomial's margin is at most the "
        "probit margin", "excess at most 0",
        "none" if max(gaps) < 1e-12 else f"{max(gaps):.2g}",
        "orders 1 to 15 at 1/2, 20,000 pairs", max(gaps) < 1e-12,
        "expanded at 1/2, where every coefficient is positive; p_2 <= 1/2 follows. "
        "`exact` needs no series", "ocr-lemma-2",
    )  # fmt: skip
    z = stats.norm.ppf(0.8)
    slope = 1 / stats.norm.pdf(z)
    excess = float((slope * (p1 - p2) - true).max())
    yield Check(
        f"{PAPER}, Lemma 2", "the point of expansion is not stated; at 0.8, order 1",
        "excess at most 0", f"{excess:.3f}", "the same pairs", excess <= 0,
        "at 1/2 only", "ocr-lemma-2", misprint=True,
    )  # fmt: skip
    grid = np.linspace(0.001, 0.999, 400)
    pairs = grid[:, None] >= grid[None, :]
    quantile = stats.norm.ppf(grid)
    value = np.vectorize(lambda q: polynomial(q - 0.5, 3))(grid)
    over = (value[:, None] - value) - (quantile[:, None] - quantile)
    low = float(over[pairs & (grid[:, None] < 0.5)].max())
    yield Check(
        f"{PAPER}, Lemma 2", "p_1 >= 1/2 must be assumed, and tested",
        "an excess above 0 at some p_2 <= p_1 < 1/2", "none" if low < 1e-12 else f"{low:.3f}",
        "order 3, every pair of 200 p below 1/2", low > 1e-12,
        "the series at 1/2 is at most the probit margin wherever p_1 >= p_2: what it leaves out "
        "rises with p. `signomial` keeps the paper's test, and gives it a share of alpha",
        "ocr-lemma-2",
    )  # fmt: skip
    yield from fallback(30)
    c1, c3 = coefficients(3)[:2]
    # c1 (q - 1/2) + c3 (q - 1/2)^3 in powers of q.
    powers = [-c1 / 2 - c3 / 8, c1 + 0.75 * c3, -1.5 * c3, c3]
    yield Check(
        f"{PAPER}, 4.3", "the Taylor polynomial is a posynomial", "all coefficients positive",
        ", ".join(f"{c:.3f}" for c in powers) + " (order 3, powers of q)", "0",
        min(powers) > 0, "a signomial, which is what the program needs",
    )  # fmt: skip


def fallback(n: int) -> Iterator[Check]:
    """4.3: two procedures, and a test that says which."""
    alpha = 0.05
    table = outcomes(n, 3)
    joint, apart = (
        rsbounds.margin_lower_bound(table, 0, alpha=alpha, scale="probit", method=m).lower
        for m in ("exact", "bonferroni")
    )
    test = rsbounds.clopper_pearson_lower(table[:, 0], n, alpha=alpha) >= 0.5
    bound = np.where(test, joint, apart)
    points = [p for p in simplex_grid(3, 20) if 0 < p[0] < 1 and 0 < p[1:].max() < 1]
    worst = errs(
        bound, n, points, lambda q: stats.norm.ppf(q[:, 0]) - stats.norm.ppf(q[:, 1:].max(axis=1))
    )
    yield Check(
        f"{PAPER}, 4.3", "test p_1 >= 1/2 by Clopper-Pearson; the joint bound if it passes, two "
        "intervals if not", f"error at most {alpha}, each at alpha", f"{worst:.4f}",
        f"exact, K = 3, n = {n}, {len(points)} p", worst <= alpha,
        "no violation found, and no proof: the three could err in turn. `signomial` shares alpha "
        "between them, which is proven",
    )  # fmt: skip


def solvers(instances: int) -> Iterator[Check]:
    """The signomial and Bayesian heuristics against the proven optimum, on the same instances."""
    proof = SOLVERS["branch-and-bound"]()
    for name, package in (("signomial", "cvxpy"), ("bayes-opt", "skopt")):
        try:
            __import__(package)
        except ImportError:
            print(f"  no {package} here: {name} is not checked")
            continue
        for n in (10, 20, 50):
            rng = np.random.default_rng([n, 11])
            ratios: list[float] = []
            while len(ratios) < instances:
                x = rng.multinomial(n, rng.dirichlet([3.0, 1.0, 0.7]))
                if x[0] <= x[1] + 1:
                    continue
                region = plug_in_region(int(x[0]), int(x[1]), n, "linear")
                level = float((x[0] - x[1]) / n - rng.uniform(0.1, 0.4))
                certified = proof(region, level, Window(), 1.0)
                found = SOLVERS[name]()(region, level, Window(), 1.0)
                ratios.append(found.value / certified.upper)
            share = float(np.mean([r >= 1 - 1e-4 for r in ratios]))
            yield Check(
                f"{PAPER}, 4.2", f"{name} finds the optimum of the inner program, n = {n}",
                "all of the instances", f"{share:.2f} of {len(ratios)}, worst {min(ratios):.4f}",
                "1e-4 relative to the proven optimum", share == 1.0,
                "never above the proof; a level is accepted only with the proof",
            )  # fmt: skip


def tightness(rows: int) -> Iterator[Check]:
    """Section 4's promise: the joint bound beats two separate ones."""
    rng = np.random.default_rng(0)
    gains, larger = [], []
    for scale in ("linear", "probit"):
        for n in (100, 1000, 10_000):
            counts = rng.multinomial(n, [0.85, 0.1, 0.03, 0.02], size=rows)
            exact, apart = (
                rsbounds.margin_lower_bound(counts, 0, alpha=0.001, scale=scale, method=m).lower
                for m in ("exact", "bonferroni")
            )
            gains.append(f"{scale} n={n}: {exact.mean():.4f} against {apart.mean():.4f}")
            larger.append(bool(exact.mean() > apart.mean()))
    yield Check(
        f"{PAPER}, 4", "the exact bound is tighter than Bonferroni-corrected intervals",
        "mean bound larger in every case", "; ".join(gains),
        f"{rows} rows of counts each, the same for both", all(larger), "`exact`, the default",
    )  # fmt: skip
    errors = [
        margin_coverage(
            "exact", n=12, classes=3, alpha=0.05, scale=scale, points=simplex_grid(3, 12)
        ).worst_error
        for scale in ("linear", "probit")
    ]
    yield Check(
        f"{PAPER}, 4", "it is a lower confidence bound: error at most alpha", "at most 0.05",
        f"{joined(errors)} (linear/probit, K = 3, n = 12)", "exact", max(errors) <= 0.05,
        "`exact`, every number with a proof of its optimum",
    )  # fmt: skip
