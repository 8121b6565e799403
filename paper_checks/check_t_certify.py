"""T-Certify: its bounds, its proofs and its grid (Feng et al. 2020).

Errors are summed over every outcome of n draws, so they have no error of their own; only the
points p on which they were computed are a choice. What T-Certify gains on counts is in the
section `t_certify_curves`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import rsbounds
from paper_checks import Check, joined
from rsbounds.testing import exact_coverage, margin_coverage, outcomes, simplex_grid

PAPER = "adre-t-certify"
Numbers = NDArray[np.float64]


def run(quick: bool = False) -> Iterator[Check]:
    yield from intervals(*((15, 8) if quick else (25, 20)))
    yield from fractions_and_grid(quick)
    yield from sums()
    yield from majority()
    yield from objective()


def upper(counts: Numbers, n: int, level: float) -> Numbers:
    """Clopper-Pearson's upper bound, by inverting the beta distribution."""
    bound = stats.beta.ppf(1 - level, counts + 1, np.maximum(n - counts, 1))
    return np.asarray(np.where(counts == n, 1.0, bound))


def lower(counts: Numbers, n: int, level: float) -> Numbers:
    """Clopper-Pearson's lower bound."""
    bound = stats.beta.ppf(level, np.maximum(counts, 1), n - counts + 1)
    return np.asarray(np.where(counts == 0, 0.0, bound))


def summed_upper(others: NDArray[np.int64], n: int, level: float) -> float:
    """The paper's upper bound on p_B: where the sum of the tails is the level, by bisection."""
    if others.max() >= n:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if stats.binom.cdf(others, n, middle).sum() > level:
            low = middle
        else:
            high = middle
    return high


def probability(table: NDArray[np.int64], p: Numbers, event: NDArray[np.bool_]) -> float:
    return float(stats.multinomial.pmf(table, table[0].sum(), p)[event].sum())


def intervals(n: int, steps: int) -> Iterator[Check]:
    alpha = 0.05
    table = outcomes(n, 3)
    low = lower(table[:, 0], n, alpha / 2)
    rows, inverse = np.unique(table[:, 1:], axis=0, return_inverse=True)
    high = np.array([summed_upper(row, n, alpha / 2) for row in rows])[inverse]
    # Swapped: an upper bound above p_1 is no error, it is what one hopes for.
    high_a, low_b = upper(table[:, 0], n, alpha / 2), lower(table[:, 1:].max(axis=1), n, alpha / 2)
    right, swapped = [], []
    points = [p for p in simplex_grid(3, steps) if p.min() > 0]
    for p in points:
        rival = p[1:].max()
        right.append(probability(table, p, (low > p[0]) | (high < rival)))
        swapped.append(probability(table, p, (high_a > p[0]) | (low_b < rival)))
    yield Check(
        f"{PAPER}, eq. 15", "P(lower(p_A) > p_1 or upper(p_B) < max p_c) <= alpha, alpha' fixed",
        f"at most {alpha}", f"{max(right):.4f} (K = 3, n = {n}, alpha' = alpha/2)",
        f"exact, {len(points)} points p", max(right) <= alpha,
        f"with the bars swapped, as some copies print it, that event has probability "
        f"{min(swapped):.3f} to {max(swapped):.3f}", "tcertify-bars",
    )  # fmt: skip

    yield from theorem_1_and_step(n, alpha, high, table)

    # Simultaneous intervals for all classes, with the class taken from the same counts.
    first = table.argmax(axis=1)
    lows, highs = lower(table, n, alpha / 6), upper(table, n, alpha / 6)
    index = np.arange(len(table))
    others = highs.copy()
    others[index, first] = -1.0
    certified = lows[index, first] > others.max(axis=1)
    worst = max(
        probability(table, p, certified & (p[first] < p.max())) for p in simplex_grid(3, 2 * steps)
    )
    yield Check(
        f"{PAPER}, robustness certification", "without knowing the top class, intervals for all "
        "class probabilities are not sufficient for a rigorous certificate",
        f"an error above {alpha}", f"{worst:.4f} with exact simultaneous intervals",
        f"exact, K = 3, n = {n}", worst > alpha,
        "they are sufficient (a union bound over 2K intervals), only wide; the class from other "
        "counts (`select_top`) costs nothing of alpha",
    )  # fmt: skip


def theorem_1_and_step(
    n: int, alpha: float, high: Numbers, table: NDArray[np.int64]
) -> Iterator[Check]:
    draws, p_a = 100, 0.45
    k = np.arange(draws + 1)
    shown = [
        float(stats.binom.pmf(k, draws, p_a)[bound(k, draws, 0.0005) > 0.5].sum())
        for bound in (upper, lower)
    ]
    yield Check(
        f"{PAPER}, Theorem 1, proof", "on not abstaining, that is upper(p_A) > 1/2, the top class "
        "is right", f"at most 0.001 at p_A = {p_a}, where another class may have 0.55",
        f"{shown[0]:.3f} (n = {draws})", "exact", shown[0] <= 0.001,
        f"it abstains unless lower(p_A) > 1/2: {shown[1]:.5f}", "tcertify-bars", misprint=True,
    )  # fmt: skip
    p = np.array([0.64, 0.35, 0.01])
    event = high < p[1]
    chance = probability(table, p, event)
    tails = stats.binom.cdf(table[event, 1], n, high[event])
    yield Check(
        f"{PAPER}, Proposition 1, proof", "P(upper(p_B) < p_c) <= alpha_c = P(Bin(n, upper(p_B)) "
        "<= N_c)", f"at least {chance:.1e}, that probability at p = (0.64, 0.35, 0.01), for every "
        "outcome",
        f"alpha_c down to {tails.min():.1e} (n = {n})", "exact", bool(chance <= tails.min()),
        "alpha_c depends on the counts, so the step is none. The conclusion holds: upper(p_B) is "
        "never below Clopper-Pearson's bound at the largest other count, which is valid alone",
    )  # fmt: skip


def fractions_and_grid(quick: bool) -> Iterator[Check]:
    rng = np.random.default_rng(0)
    rows = rng.multinomial(1000, [0.8, 0.12, 0.05, 0.03], size=200)
    full, whole = (
        rsbounds.margin_lower_bound(rows, 0, alpha=0.001, scale="probit", method=m, **o).lower
        for m, o in (("t-certify", {"fractions": (1.0,)}), ("complement", {}))
    )
    yield Check(
        f"{PAPER}, experiments", "at alpha = 1.0 the radius is CERTIFY's", "difference 0",
        f"{np.abs(full - whole).max():.1g}", "0", bool((full == whole).all()),
        "1.0 as a fraction of alpha", "tcertify-grid",
    )  # fmt: skip
    k = np.arange(51)
    levels = [
        float(stats.binom.pmf(k, 50, 0.8)[lower(k, 50, level) > 0.8].sum())
        for level in (0.1, 0.9, 0.0001)
    ]
    yield Check(
        f"{PAPER}, experiments", "we search over alpha = 0.1, 0.2, ..., 1.0",
        "each level at most the 0.001 of the text",
        f"error of lower(p_A) at level 0.1/0.9: {joined(levels[:2], 3)} (p = 0.8, n = 50)",
        "exact", max(levels[:2]) <= 0.001,
        f"they are fractions of alpha: 0.1 of 0.001 errs {levels[2]:.5f}", "tcertify-grid",
        misprint=True,
    )  # fmt: skip
    sizes = ((2, 11, 20), (3, 7, 8)) if quick else ((2, 23, 60), (3, 17, 24), (4, 9, 12))
    worst = {"one": 0.0, "best": 0.0}
    for classes, n, steps in sizes:
        for scale in ("linear", "probit"):
            for alpha in (0.001, 0.05, 0.3):
                for name, options in (("one", {"fractions": (0.5,)}), ("best", {})):
                    found = margin_coverage(
                        "t-certify", n=n, classes=classes, alpha=alpha, scale=scale,
                        points=simplex_grid(classes, steps), **options,
                    )  # fmt: skip
                    worst[name] = max(worst[name], found.worst_error / alpha)
    said = f"exact, K = 2 to {sizes[-1][0]}, n <= {sizes[0][1]}"
    yield Check(
        f"{PAPER}, Proposition 1", "for one alpha' fixed in advance the radius holds with 1 - "
        "alpha", "at most 1 alpha", f"{worst['one']:.3f} alpha", said, worst["one"] <= 1,
        "`t-certify` with one fraction, guarantee 'proven'; `runner-up` with a planned split",
    )  # fmt: skip
    yield Check(
        f"{PAPER}, Theorem 1", "the maximum over the grid of fractions holds with 1 - alpha",
        "at most 1 alpha", f"{worst['best']:.3f} alpha", said, worst["best"] <= 1,
        "no violation found, and no proof: the paper's covers one fraction fixed in advance; "
        "guarantee 'enumerated'", "tcertify-maximum",
    )  # fmt: skip
    table = outcomes(12 if quick else 40, 3)
    ours, theirs = (
        rsbounds.margin_lower_bound(table, 0, alpha=0.001, scale="probit", method=m).lower
        for m in ("t-certify", "complement")
    )
    yield Check(
        f"{PAPER}, robustness certification", "T-Certify's radius is never below CERTIFY's",
        "every outcome", f"{float((ours >= theirs).mean()):.3f} of the outcomes; larger at "
        f"{float((ours > theirs).mean()):.3f}", f"every outcome of n = {table[0].sum()}, K = 3",
        bool((ours >= theirs).all()), "the fraction 1.0 is in the grid",
    )  # fmt: skip


def sums() -> Iterator[Check]:
    alpha, n = 0.05, 20
    alone = max(
        margin_coverage(
            "runner-up", n=n, classes=3, alpha=alpha, scale=scale, split=0.5,
            points=simplex_grid(3, 20),
        ).worst_error
        for scale in ("linear", "probit")
    )  # fmt: skip
    rng = np.random.default_rng(0)
    rows = rng.multinomial(1000, [0.55, *[0.05] * 9], size=200)
    means = [
        rsbounds.margin_lower_bound(rows, 0, alpha=0.001, scale="probit", method=m, **o).lower
        for m, o in (("t-certify", {"fractions": (0.5,)}), ("runner-up", {"split": 0.5}))
    ]
    gain = float((means[1] - means[0]).mean())
    yield Check(
        f"{PAPER}, eq. 14", "the upper bound on p_B needs the tails of all other classes, summed",
        "without the sum an error above alpha",
        f"largest count alone: error {alone:.4f} at alpha {alpha} (K = 3, n = {n})", "exact",
        bool(alone > alpha),
        f"valid but loose: by the intersection-union argument the largest count is enough; ten "
        f"classes, n = 1000: {gain:.4f} of probit margin lost. `runner-up` drops the sum",
        "tcertify-sum",
    )  # fmt: skip


def majority() -> Iterator[Check]:
    alpha, n = 0.05, 30
    table = outcomes(n, 3)
    free, bound = (
        rsbounds.margin_lower_bound(
            table, 0, alpha=alpha, scale="probit", method="t-certify", require_majority=rule
        ).lower
        for rule in (False, True)
    )
    more = (free > 0) & ~(bound > 0)
    points = [p for p in simplex_grid(3, 20) if p[0] <= 0.5]
    worst = exact_coverage(
        lambda _: free, n, np.array(points),
        truth=lambda q: stats.norm.ppf(q[:, 0]) - stats.norm.ppf(q[:, 1:].max(axis=1)),
    ).worst_error  # fmt: skip
    yield Check(
        f"{PAPER}, Algorithm 2", "lower(p_A) > 1/2 must be required, or the top class may be wrong",
        "without it an error above alpha where p_A <= 1/2",
        f"{worst:.4f} at alpha {alpha}; {int(more.sum())} of {len(table)} outcomes are certified "
        "without it only", f"exact, K = 3, n = {n}", worst > alpha,
        "not needed where p_B is bounded too: lower(p_A) > upper(p_B) is enough; "
        "`require_majority` keeps the paper's rule", "tcertify-majority",
    )  # fmt: skip


def objective() -> Iterator[Check]:
    # (10) for two classes: p the smoothed probability of the right one.
    p = np.exp(np.linspace(math.log(1e-12), math.log(0.5), 4000))
    risk = -np.log(p) - 2 * 1.0 * stats.norm.ppf(1 - p)
    least = int(risk.argmin())
    yield Check(
        f"{PAPER}, eq. 10", "the radius as a regularizer has bad minima: surely wrong is better "
        "than undecided", f"risk below ln 2 = {math.log(2):.3f} at some p < 1/2",
        f"{risk[least]:.3f} at p = {p[least]:.4f} (lambda' = 1, two classes)", "-",
        bool(risk[least] < math.log(2) and 0 < least < len(p) - 1),
        "`macer` counts the radius only where the smoothed answer is right",
    )  # fmt: skip
    z = np.linspace(-9, 9, 6001)
    weights = stats.norm.pdf(z) * (z[1] - z[0])
    margin = np.linspace(-2, 2, 41)[:, None]
    gaps = []
    for slope in (1.0, 3.0, 10.0):
        soft = (weights * 0.5 * (1 + np.tanh(0.5 * slope * (margin + z)))).sum(axis=1)
        gaps.append(float(abs(soft - stats.norm.cdf(margin[:, 0])).max()))
    yield Check(
        f"{PAPER}, eq. 8", "averages of scores approximate the smoothed class probabilities",
        "difference near 0",
        f"{joined(gaps, 3)} at most where the logit has slope 1/3/10 per sigma",
        "0.05, each slope", max(gaps) < 0.05,
        "only where the base classifier is sharp; training may use it, certificates count votes",
    )  # fmt: skip
