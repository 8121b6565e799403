"""Widths of the bounds on a mean: section 5 of optimal-certified-radius.

The table of the comparison and its figure are written to ``widths.md`` and ``widths.svg``
beside this script.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

import rsbounds
from paper_checks import FOLDER, Check
from rsbounds._text import complete_file

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


def table() -> dict[str, dict[str, list[float]]]:
    """Widths over z_{1-alpha} sigma/sqrt(n), per distribution and bound."""
    z = 3.090232306167813
    rows: dict[str, dict[str, list[float]]] = {}
    for name, (_, sigma) in CASES.items():
        unit = [z * sigma / math.sqrt(n) for n in SIZES]
        widths = {
            "theoretical Bernstein": [theoretical_bernstein(sigma, n) for n in SIZES],
            "empirical Bernstein, formula": [empirical_bernstein(sigma, n) for n in SIZES],
            "empirical Bernstein": [measured(name, n, "empirical-bernstein") for n in SIZES],
            "PrPl-EB, no running maximum": [
                measured(name, n, "prpl-eb", running=False) for n in SIZES
            ],
        }
        widths |= {m if m != "prpl-eb" else "PrPl-EB": [measured(name, n, m) for n in SIZES]
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
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError:
        return
    # The same numbers make the same file.
    rcParams["svg.hashsalt"] = "widths"
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, (name, bounds) in zip(figure.subplots(1, 3), rows.items(), strict=True):
        for key in ("theoretical Bernstein", "empirical Bernstein", "PrPl-EB", "mixture", "goal"):
            axes.loglog(SIZES, bounds[key], marker="o", markersize=3, label=key)
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set(title=name, xlabel="n", ylabel="width / normal width")
    axes.legend(fontsize=8)
    with complete_file(FOLDER / "widths.svg", "wb") as stream:
        figure.savefig(stream, format="svg", metadata={"Date": None})


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


def run() -> Iterator[Check]:
    rows = table()
    write(rows)
    paper = "optimal-certified-radius"
    beta = rows["Beta(20,2)"]
    yield Check(
        f"{paper}, 5.1", "PrPl-EB is tighter than empirical Bernstein (Beta(20,2), n = 1e2..1e5)",
        "/".join(f"below {v:.2f}" for v in beta["empirical Bernstein"]),
        "/".join(f"{v:.2f}" for v in beta["PrPl-EB"]), "every n, every distribution of widths.md",
        all(
            a < b
            for bounds in rows.values()
            for a, b in zip(bounds["PrPl-EB"], bounds["empirical Bernstein"], strict=True)
        ),
        "`goal` reaches " + "/".join(f"{v:.2f}" for v in beta["goal"]) + "; table in widths.md, "
        "figure in widths.svg",
    )  # fmt: skip
    n = 1_000_000
    sigma = CASES["Beta(20,2)"][1]
    ratio = measured("Beta(20,2)", n, "prpl-eb", repeats=5, running=False) / (
        theoretical_bernstein(sigma, n)
    )
    yield Check(
        f"{paper}, 5.1", "PrPl-EB for fixed n has the first-order width of theoretical Bernstein",
        "1 (ratio of widths, n = 1e6)", f"{ratio:.3f}", "0.02", abs(ratio - 1) < 0.02,
        "one-sided, ln(1/alpha) on both sides; the tuning for a fixed n, not the sequence's",
    )  # fmt: skip
    second = [
        (
            n
            * (measured("Beta(20,2)", n, "prpl-eb", running=False)
               - sigma * math.sqrt(-2 * math.log(ALPHA) / n))
        )
        for n in (10_000, 100_000, 1_000_000)
    ]  # fmt: skip
    target = -2 * math.log(ALPHA) / 3
    yield Check(
        f"{paper}, 5.1", "its width minus the first-order term is 2 ln(1/alpha)/(3n) + o(1/n)",
        f"{target:.1f} (n times that difference)",
        "/".join(f"{s:.1f}" for s in second) + " at n = 1e4/1e5/1e6", "10 %",
        abs(second[-1] / target - 1) < 0.1,
        "medians over 20 repeats, about a unit of noise each; the measured width, not a formula",
    )  # fmt: skip
    errors = {n: printed_proposition_2(n, 0.05) for n in (10, 50, 200)}
    yield Check(
        f"{paper}, Proposition 2", "one-sided with ln(1/delta) in both terms",
        "error at most 0.05", "/".join(f"{e:.4f}" for e in errors.values()) + " at n = 10/50/200",
        "exact enumeration over Bernoulli(p), 999 p", max(errors.values()) <= 0.05,
        "no violation found, and no theorem: Maurer and Pontil 2009, Theorem 4, has ln(2/delta); "
        "`empirical-bernstein` uses that",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    printed = [printed_proposition_3(rng.beta(20, 2, n)) for n in (1000, 10_000, 100_000)]
    rate = printed[-1] / printed[-2]
    yield Check(
        f"{paper}, Proposition 3", "half-width under a square root, lambda without 1/t, cap 1",
        f"shrinks as 1/sqrt(n): {10**-0.5:.3f} from n = 1e4 to 1e5",
        f"{rate:.3f} (half-widths {', '.join(f'{w:.3f}' for w in printed)})", "0.05",
        abs(rate - 10**-0.5) < 0.05,
        "`prpl-eb` is Theorem 2 of Waudby-Smith and Ramdas 2023",
    )  # fmt: skip
    without, with_four = missing_factor()
    yield Check(
        f"{paper}, Proposition 3", "v_i is left undefined; (X_i - mu)^2 without the factor 4",
        "any-time miss rate at most 0.05", f"{without:.3f} (with the 4: {with_four:.3f})",
        "4000 streams of 1000, p = .05, .1, .5", without <= 0.05,
        "v_i = 4 (X_i - mu_{i-1})^2 with psi_E = (-ln(1-l) - l)/4",
    )  # fmt: skip
