"""Bounds on a mean: sections 3.3 and 5 of optimal-certified-radius.

Widths are medians over 20 seeded repeats at alpha = 0.001; the whole table is in
[widths.md](widths.md).

![widths over the normal width](widths.svg)
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

import rsbounds
from paper_checks import FOLDER, Check, joined
from paper_checks._figures import figure, save
from rsbounds._text import complete_file

PAPER = "optimal-certified-radius"
ALPHA = 0.001
SIZES = (100, 1000, 10_000, 100_000)
CASES = {
    "Beta(20,2)": (lambda r, n: r.beta(20, 2, n), math.sqrt(40 / (22**2 * 23))),
    "Bernoulli(.95)": (lambda r, n: (r.random(n) < 0.95) * 1.0, math.sqrt(0.95 * 0.05)),
    "Beta(50,.5)": (lambda r, n: r.beta(50, 0.5, n), math.sqrt(25 / (50.5**2 * 51.5))),
}
METHODS = ("prpl-eb", "betting", "mixture", "goal")


def theoretical_bernstein(sigma: float, n: int) -> float:
    """One-sided Bernstein with the variance known, ln(1/alpha) in both terms."""
    level = math.log(1 / ALPHA)
    return sigma * math.sqrt(2 * level / n) + 2 * level / (3 * n)


def empirical_bernstein(sigma: float, n: int) -> float:
    """Maurer and Pontil with the true variance in place of the sample's."""
    level = math.log(2 / ALPHA)
    return sigma * math.sqrt(2 * level / n) + 7 * level / (3 * (n - 1))


def measured(name: str, n: int, method: str, repeats: int = 20, **options: object) -> float:
    """Median distance of the lower bound from the sample mean."""
    draw = CASES[name][0]
    x = np.array([draw(np.random.default_rng([0, r]), n) for r in range(repeats)])
    bound = rsbounds.mean_bound(x, alpha=ALPHA, method=method, axis=1, **options)
    return float(np.median(x.mean(axis=1) - bound.lower))


def excess(n: int, repeats: int) -> NDArray[np.float64]:
    """Width of PrPl-EB for fixed n less the first-order term, times n, of each repeat."""
    draw, sigma = CASES["Beta(20,2)"]
    found = []
    for repeat in range(repeats):
        x = draw(np.random.default_rng([0, repeat]), n)
        lower = rsbounds.mean_bound(x, alpha=ALPHA, method="prpl-eb", running=False).lower
        found.append(float(x.mean() - lower[0]) - sigma * math.sqrt(-2 * math.log(ALPHA) / n))
    return n * np.array(found)


def table(sizes: tuple[int, ...] = SIZES, repeats: int = 20) -> dict[str, dict[str, list[float]]]:
    """Widths over z_{1-alpha} sigma/sqrt(n), per distribution and bound."""
    z = 3.090232306167813
    rows: dict[str, dict[str, list[float]]] = {}
    for name, (_, sigma) in CASES.items():
        unit = [z * sigma / math.sqrt(n) for n in sizes]
        widths = {
            "theoretical Bernstein": [theoretical_bernstein(sigma, n) for n in sizes],
            "empirical Bernstein, formula": [empirical_bernstein(sigma, n) for n in sizes],
            "empirical Bernstein": [
                measured(name, n, "empirical-bernstein", repeats) for n in sizes
            ],
            "PrPl-EB, no running maximum": [
                measured(name, n, "prpl-eb", repeats, running=False) for n in sizes
            ],
        }
        widths |= {m if m != "prpl-eb" else "PrPl-EB":
                   [measured(name, n, m, repeats) for n in sizes]
                   for m in METHODS}  # fmt: skip
        rows[name] = {
            key: [w / u for w, u in zip(values, unit, strict=True)]
            for key, values in widths.items()
        }
    return rows


def write(rows: dict[str, dict[str, list[float]]]) -> None:
    """The table as Markdown, and the figure where matplotlib is there."""
    lines = [
        "# Widths of lower bounds on a mean",
        "",
        f"Median over 20 seeded repeats at alpha = {ALPHA}, divided by the normal width "
        "z_{1-alpha} sigma/sqrt(n).",
        "Written by `make paper-checks` (`paper_checks/check_mean_widths.py`).",
    ]
    for name, bounds in rows.items():
        lines += ["", f"## {name}", "", "| bound | " + " | ".join(f"n = {n}" for n in SIZES) + " |"]
        lines += ["|---" * (len(SIZES) + 1) + "|"]
        for key, values in bounds.items():
            lines.append(f"| {key} | " + " | ".join(f"{v:.3f}" for v in values) + " |")
    with complete_file(FOLDER / "widths.md") as stream:
        stream.write("\n".join(lines) + "\n")
    made = figure("widths", len(rows))
    if made is None:
        return
    picture, panels = made
    for axes, (name, bounds) in zip(panels, rows.items(), strict=True):
        for key in ("theoretical Bernstein", "empirical Bernstein", "PrPl-EB", "mixture", "goal"):
            axes.loglog(SIZES, bounds[key], marker="o", markersize=3, label=key)
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set(title=name, xlabel="n", ylabel="width / normal width")
    panels[-1].legend(fontsize=8)
    save(picture, "widths")


def printed_proposition_2(n: int, delta: float) -> float:
    """Worst exact one-sided error of Proposition 2 as printed, Bernoulli on a grid of p."""
    s = np.arange(n + 1)
    mean = s / n
    variance = mean * (1 - mean) * n / (n - 1)
    level = math.log(1 / delta)
    lower = mean - np.sqrt(2 * variance * level / n) - 7 * level / (3 * (n - 1))
    grid = np.linspace(0.001, 0.999, 999)
    return max(float(binom.pmf(s, n, p)[lower > p].sum()) for p in grid)


def printed_proposition_3(x: NDArray[np.float64]) -> float:
    """Half-width of Proposition 3 as printed at t = n."""
    n = x.size
    t = np.arange(1, n + 1)
    mean = 0.5 + np.cumsum(x) / (t + 1)
    sigma2 = 0.25 + np.cumsum((x - mean) ** 2) / (t + 1)
    before = np.concatenate([[0.25], sigma2[:-1]])
    bet = np.minimum(np.sqrt(2 * math.log(2 / ALPHA) / (before * np.log1p(t))), 1 - 1e-12)
    v = 4 * (x - np.concatenate([[0.5], mean[:-1]])) ** 2
    psi = (-np.log1p(-bet) - bet) / 4
    return float(math.sqrt((2 * math.log(2 / ALPHA) + (v * psi).sum()) / bet.sum()))


def missing_factor(alpha: float = 0.05, n: int = 1000, repeats: int = 4000) -> tuple[float, float]:
    """Any-time miss rates of the two-sided PrPl-EB with v_i = (X_i - mu)^2, and with the 4."""
    worst = [0.0, 0.0]
    t = np.arange(1, n + 1)
    level = math.log(2 / alpha)
    for p in (0.05, 0.1, 0.5):
        x = (np.random.default_rng(int(100 * p)).random((repeats, n)) < p) * 1.0
        mean = (0.5 + x.cumsum(axis=1)) / (t + 1)
        sigma2 = (0.25 + ((x - mean) ** 2).cumsum(axis=1)) / (t + 1)
        start = np.full((repeats, 1), 0.25)
        before = np.hstack([start, sigma2[:, :-1]])
        bet = np.minimum(np.sqrt(2 * level / (before * t * np.log1p(t))), 0.5)
        gap2 = (x - np.hstack([2 * start, mean[:, :-1]])) ** 2
        psi = (-np.log1p(-bet) - bet) / 4
        for i, factor in enumerate((1, 4)):
            radius = (level + (factor * gap2 * psi).cumsum(axis=1)) / bet.cumsum(axis=1)
            centre = (bet * x).cumsum(axis=1) / bet.cumsum(axis=1)
            miss = (abs(centre - p) > radius).any(axis=1).mean()
            worst[i] = max(worst[i], float(miss))
    return worst[0], worst[1]


def printed_terms() -> Iterator[Check]:
    """The running mean, the variance and the cap of Proposition 3, and the Bernstein widths."""
    t, x = 1000, 0.9
    mean = 0.5 + t * x / (t + 1)
    yield Check(
        f"{PAPER}, Proposition 3", "mu_t = 1/2 + sum X_i/(t + 1)",
        f"near {x} for {t} values of {x}", f"{mean:.4f}", "0.01", abs(mean - x) < 0.01,
        f"(1/2 + sum X_i)/(t + 1) = {(0.5 + t * x) / (t + 1):.4f}", "ocr-proposition-3",
        misprint=True,
    )  # fmt: skip
    # A constant at its own running mean: nothing is added to the first term.
    printed, right = 0.25, 0.25 / (t + 1)
    yield Check(
        f"{PAPER}, Proposition 3", "sigma_t^2 = 1/4 + sum (X_i - mu_i)^2/(t + 1)",
        "near 0 for a constant", f"{printed} at least, the largest variance that there is",
        "0.01", printed < 0.01, f"(1/4 + sum (X_i - mu_i)^2)/(t + 1), here down to {right:.5f}",
        "ocr-proposition-3", misprint=True,
    )  # fmt: skip
    cap = np.array([0.5, 0.9, 0.999, 1.0])
    with np.errstate(divide="ignore"):
        psi = -np.log1p(-cap) - cap
    yield Check(
        f"{PAPER}, Proposition 3", "lambda_t is capped at 1", "psi_E(lambda) finite",
        "/".join(f"{v:.2f}" for v in psi) + " at lambda 0.5/0.9/0.999/1 (4 psi_E)", "-",
        bool(np.isfinite(psi).all()), "c = 1/2; at 1 the interval is everything for ever",
        "ocr-proposition-3", misprint=True,
    )  # fmt: skip
    n, alpha = 200, 0.05
    s = np.arange(n + 1)
    errors = []
    for level in (math.log(1 / alpha), math.log(2 / alpha)):
        grid = np.linspace(0.005, 0.995, 199)
        sigma = np.sqrt(grid * (1 - grid))[:, None]
        lower = s / n - sigma * math.sqrt(2 * level / n) - 2 * math.log(1 / alpha) / (3 * n)
        mass = binom.pmf(s, n, grid[:, None])
        errors.append(float((mass * (lower > grid[:, None])).sum(axis=1).max()))
    yield Check(
        f"{PAPER}, 5.1", "the one-sided theoretical Bernstein width has ln(2/alpha) in its first "
        "term", "needed for an error of at most 0.05",
        f"error {errors[0]:.4f} with ln(1/alpha) there, {errors[1]:.4f} with ln(2/alpha)",
        f"exact, Bernoulli, 199 p, n = {n}", errors[0] > alpha,
        "valid, but one-sided it is ln(1/alpha) in both terms: "
        f"{math.sqrt(math.log(2 / ALPHA) / math.log(1 / ALPHA)):.3f} times narrower at alpha "
        f"{ALPHA}; the rows above compare like with like", misprint=True,
    )  # fmt: skip


def adaptivity(repeats: int = 20) -> Iterator[Check]:
    """3.1.2 and 3.3.2: scores against votes, variance-adaptive against not."""
    sigma = CASES["Beta(20,2)"][1]
    sizes = (100, 1000, 10_000)
    fixed = [math.sqrt(math.log(1 / ALPHA) / (2 * n)) for n in sizes]
    adaptive = [measured("Beta(20,2)", n, "empirical-bernstein", repeats) for n in sizes]
    yield Check(
        f"{PAPER}, 3.3.2", "Hoeffding is overly wide where the variance is small, empirical "
        "Bernstein is not", f"below {joined(fixed)} at n = 1e2/1e3/1e4 (Beta(20,2))",
        joined(adaptive), f"every n; sigma = {sigma:.3f}",
        all(a < f for a, f in zip(adaptive, fixed, strict=True)),
        "at n = 100 its 7 ln(2/delta)/(3(n - 1)) is the larger part: Hoeffding is tighter there, "
        "and `goal` tighter than both: "
        + joined(measured("Beta(20,2)", n, "goal", repeats) for n in sizes),
    )  # fmt: skip
    mean = 20 / 22
    votes, scores = [], []
    for n in sizes:
        k = np.random.default_rng(n).binomial(n, mean, repeats)
        lower = rsbounds.clopper_pearson_lower(k, n, alpha=ALPHA)
        votes.append(float(np.median(k / n - lower)))
        scores.append(measured("Beta(20,2)", n, "goal", repeats))
    yield Check(
        f"{PAPER}, 3.1.2", "scores are statistically more efficient than votes",
        f"below {joined(votes)} (votes of the same mean, n = 1e2/1e3/1e4)", joined(scores),
        f"every n, medians over {repeats} repeats",
        all(s < v for s, v in zip(scores, votes, strict=True)),
        "`goal` on Beta(20,2) against Clopper-Pearson; another smoothed classifier, to be sure",
    )  # fmt: skip


def every_sequence(n: int) -> Iterator[Check]:
    """Exact errors on Bernoulli streams: all 2^n of them."""
    alpha = 0.05
    streams = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(float)
    ones = streams.sum(axis=1)
    grid = np.linspace(0.02, 0.98, 97)
    worst = {}
    for method in ("empirical-bernstein", *METHODS):
        lower = rsbounds.mean_bound(streams, alpha=alpha, method=method, axis=1).lower
        worst[method] = max(
            float((p**ones * (1 - p) ** (n - ones))[lower > p + 1e-12].sum()) for p in grid
        )
    yield Check(
        f"{PAPER}, 5.1", "betting gives exact coverage at every n, the predictable plug-in too",
        f"error at most {alpha}", ", ".join(f"{m} {e:.4f}" for m, e in worst.items()),
        f"exact, every Bernoulli stream of {n}, 97 p", max(worst.values()) <= alpha,
        "`mean_bound`; at most alpha, not exactly alpha: a stream of few values cannot do better",
    )  # fmt: skip


def run(quick: bool = False) -> Iterator[Check]:
    yield from widths(quick)
    yield from propositions(200 if quick else 4000)
    yield from printed_terms()
    yield from adaptivity(2 if quick else 20)
    yield from every_sequence(6 if quick else 12)


def widths(quick: bool) -> Iterator[Check]:
    """5.1: the table, and the limit of the width."""
    rows = table((100, 1000), 3) if quick else table()
    if not quick:
        write(rows)
    beta = rows["Beta(20,2)"]
    yield Check(
        f"{PAPER}, 5.1", "PrPl-EB is tighter than empirical Bernstein",
        "/".join(f"below {v:.2f}" for v in beta["empirical Bernstein"]),
        "/".join(f"{v:.2f}" for v in beta["PrPl-EB"]), "every n, every distribution of widths.md",
        all(
            a < b
            for bounds in rows.values()
            for a, b in zip(bounds["PrPl-EB"], bounds["empirical Bernstein"], strict=True)
        ),
        "shown: Beta(20,2), n = 1e2 to 1e5; `goal` reaches "
        + "/".join(f"{v:.2f}" for v in beta["goal"]),
    )  # fmt: skip
    n = 10_000 if quick else 1_000_000
    sigma = CASES["Beta(20,2)"][1]
    ratio = measured("Beta(20,2)", n, "prpl-eb", repeats=5, running=False) / (
        theoretical_bernstein(sigma, n)
    )
    yield Check(
        f"{PAPER}, 5.1", "PrPl-EB for fixed n has the first-order width of theoretical Bernstein",
        f"1 (ratio of widths, n = {n:.0e})", f"{ratio:.3f}", "0.02", abs(ratio - 1) < 0.02,
        "one-sided, ln(1/alpha) on both sides; the tuning for a fixed n, not the sequence's",
    )  # fmt: skip
    sizes = (10_000,) if quick else (10_000, 100_000, 1_000_000)
    second = [excess(n, 5 if quick else 20) for n in sizes]
    middle = [float(np.median(values)) for values in second]
    # Of a median, where the values are near normal.
    errors = [1.25 * float(v.std(ddof=1)) / math.sqrt(len(v)) for v in second]
    target = -2 * math.log(ALPHA) / 3
    yield Check(
        f"{PAPER}, 5.1", "its width minus the first-order term is 2 ln(1/alpha)/(3n) + o(1/n)",
        f"{target:.1f} (n times that difference)",
        f"{joined(middle, 1)} at n = 1e4/1e5/1e6 (standard errors {joined(errors, 2)})",
        "10 % at the largest n", abs(middle[-1] / target - 1) < 0.1,
        "the measured width, not a formula; the limit is far: nothing of it shows at n = 1e5",
    )  # fmt: skip


def propositions(repeats: int) -> Iterator[Check]:
    """Propositions 2 and 3 as printed."""
    errors = {n: printed_proposition_2(n, 0.05) for n in (10, 50, 200)}
    yield Check(
        f"{PAPER}, Proposition 2", "one-sided with ln(1/delta) in both terms",
        "error at most 0.05", "/".join(f"{e:.4f}" for e in errors.values()) + " at n = 10/50/200",
        "exact enumeration over Bernoulli(p), 999 p", max(errors.values()) <= 0.05,
        "no violation found, and no theorem: Maurer and Pontil 2009, Theorem 4, has ln(2/delta); "
        "`empirical-bernstein` uses that", "ocr-proposition-2",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    printed = [printed_proposition_3(rng.beta(20, 2, n)) for n in (1000, 10_000, 100_000)]
    rate = printed[-1] / printed[-2]
    yield Check(
        f"{PAPER}, Proposition 3", "half-width under a square root, lambda without 1/t, cap 1",
        f"shrinks as 1/sqrt(n): {10**-0.5:.3f} from n = 1e4 to 1e5",
        f"{rate:.3f} (half-widths {', '.join(f'{w:.3f}' for w in printed)})", "0.05",
        abs(rate - 10**-0.5) < 0.05,
        "`prpl-eb` is Theorem 2 of Waudby-Smith and Ramdas 2023", "ocr-proposition-3",
        misprint=True,
    )  # fmt: skip
    without, with_four = missing_factor(repeats=repeats)
    yield Check(
        f"{PAPER}, Proposition 3", "v_i is left undefined; (X_i - mu)^2 without the factor 4",
        "any-time miss rate at most 0.05", f"{without:.3f} (with the 4: {with_four:.3f})",
        f"{repeats} streams of 1000, p = .05, .1, .5; standard error "
        f"{math.sqrt(without * (1 - without) / repeats):.3f}", without <= 0.05,
        "v_i = 4 (X_i - mu_{i-1})^2 with psi_E = (-ln(1-l) - l)/4", "prpl-eb-factor",
        misprint=True,
    )  # fmt: skip
