"""How short could a valid linear bound be? `python tests/benchmarks/bench_floor.py [--quick]`.

For every valid lower bound L(X) at level 1 - alpha and every p, E_p[(g(p) - L)+] is the integral
over theta < g(p) of P_p(L <= theta), and {L > theta} is a test of {g <= theta} of level alpha:
its power at p is at most that of the Neyman-Pearson test of one point q with g(q) = theta
(Pratt 1961). So no valid bound has a smaller mean half-width than the integral of one minus that
power, less alpha (1 - g(p)), whatever statistic it uses. Restricted to outcomes in a set S (rows
in which three classes were seen), the test may spend its alpha on S alone.

First table: complete enumeration at fixed p. Second: the half-width ratio asked of `exact` in
bench_exact.py, for p the votes of cifar10_resnet110_sigma0.25_counts.tsv, with the class of the
most votes as top (as there), and with the label.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from bench_exact import ALPHA, data_file, limit, thinned
from scipy.special import gammaln, ndtri, xlogy

import rsbounds
from rsbounds.bounds.margin._orderings import restricted

POINTS = [
    (0.3, 0.3, 0.4),
    (0.5, 0.45, 0.05),
    (0.6, 0.3, 0.1),
    (0.7, 0.28, 0.02),
    (0.8, 0.15, 0.05),
    (0.9, 0.07, 0.03),
    (0.95, 0.04, 0.01),
]


class Outcomes:
    """Outcomes (x1, x2, x3) that p gives all but 1e-12 of its probability."""

    def __init__(self, p: np.ndarray, n: int) -> None:
        spans = []
        for share in p[:2]:
            reach = 9 * np.sqrt(n * share * (1 - share)) + 30
            low, high = max(n * share - reach, 0), min(n * share + reach, n)
            spans.append(np.arange(int(low), int(high) + 1))
        x1, x2 = (grid.ravel() for grid in np.meshgrid(*spans, indexing="ij"))
        keep = x1 + x2 <= n
        self.x1, self.x2 = x1[keep], x2[keep]
        self.x3 = n - self.x1 - self.x2
        self.ways = gammaln(n + 1) - sum(gammaln(x + 1) for x in (self.x1, self.x2, self.x3))

    def log_mass(self, q: np.ndarray) -> np.ndarray:
        return self.ways + xlogy(self.x1, q[0]) + xlogy(self.x2, q[1]) + xlogy(self.x3, q[2])


def floor_of_mean(
    p: np.ndarray, n: int, alpha: float, weight: np.ndarray | float, at: Outcomes, steps: int
) -> float:
    """Least E_p[(g(p) - L) weight] of a valid bound; weight is P(S | outcome)."""
    log_p = at.log_mass(p)
    mass = np.exp(log_p) * weight
    seen = mass.sum()
    lost = max(1 - np.exp(log_p).sum(), 0.0)
    g = p[0] - p[1]
    spread = np.sqrt((p[0] + p[1] - g * g) / n)
    levels = np.linspace(max(g - 9 * spread, -0.999), g, steps)
    missed = []
    for level in levels[:-1]:
        at_q, _, _ = restricted(p[0], p[1], p[2], level, False, False, 0.5 * p[1])
        q = np.array([at_q + level, at_q, 1 - 2 * at_q - level])
        log_q = at.log_mass(q)
        order = np.argsort(log_q - log_p)
        cost, gain = (np.exp(log_q) * weight)[order], mass[order]
        spent = np.cumsum(cost)
        i = min(np.searchsorted(spent, alpha), len(spent) - 1)
        # The outcome on the edge counts as far as alpha reaches: a randomised test.
        share = min(1.0 - (spent[i] - alpha) / max(cost[i], 1e-300), 1.0)
        missed.append(max(seen - gain[:i].sum() - share * gain[i] - lost, 0.0))
    missed.append(max(seen - alpha, 0.0))
    return float(np.trapezoid(missed, levels) - alpha * (1 - g))


def at_points(n: int) -> None:
    print(f"mean half-width over the mean normal one, n = {n}, every outcome")
    print("p                    floor   exact")
    x1, x2 = (grid.ravel() for grid in np.meshgrid(*[np.arange(n + 1)] * 2, indexing="ij"))
    keep = x1 + x2 <= n
    x1, x2 = x1[keep], x2[keep]
    # The third cell in votes of one each: never the runner-up that is bounded.
    rest = n - x1 - x2
    table = np.zeros((len(x1), 2 + n), dtype=np.int64)
    table[:, 0], table[:, 1] = x1, x2
    table[:, 2:] = np.arange(n) < rest[:, None]
    lower = rsbounds.margin_lower_bound(table, 0, alpha=ALPHA, scale="linear", method="exact").lower
    for point in POINTS:
        p = np.array(point)
        at = Outcomes(p, n)
        g = p[0] - p[1]
        ways = gammaln(n + 1) - gammaln(x1 + 1) - gammaln(x2 + 1) - gammaln(rest + 1)
        mass = np.exp(ways + xlogy(x1, p[0]) + xlogy(x2, p[1]) + xlogy(rest, p[2]))
        normal = np.sqrt(((x1 + x2) / n - ((x1 - x2) / n) ** 2) / n) * -ndtri(ALPHA)
        unit = (mass * normal).sum()
        floor = floor_of_mean(p, n, ALPHA, 1.0, at, 120)
        print(f"{point!s:20} {floor / unit:.4f}  {(mass * (g - lower)).sum() / unit:.4f}")


def three_seen(rest: np.ndarray, at: Outcomes, n: int) -> np.ndarray:
    """P(three or more classes seen), given the votes of the top class and the runner-up."""
    share = rest / rest.sum()
    k = np.arange(n + 1)
    none = k == 0
    one = np.where(none, 0.0, (share[:, None] ** k).sum(axis=0))
    known = (at.x1 > 0).astype(int) + (at.x2 > 0)
    more = 1 - none - one
    return np.select([known == 2, known == 1], [1.0 - none[at.x3], more[at.x3]], 0.0)


def on_rows(counts: np.ndarray, tops: np.ndarray, n: int, seeds: int) -> tuple[float, float]:
    """Floor of the half-width ratio over rows with three classes seen, and that of exact."""
    # plug-in - L = (plug-in - g) + (g - L): the first by enumeration for the runner-up class,
    # by simulation what another class has more.
    need = drift = 0.0
    second = np.empty(len(counts), dtype=np.int64)
    for i, (row, top) in enumerate(zip(counts, tops, strict=True)):
        p10 = row / row.sum()
        p10[top] = -1
        second[i] = p10.argmax()
        rest = np.delete(row / row.sum(), [top, second[i]])
        p = np.array([row[top] / row.sum(), p10[second[i]], rest.sum()])
        at = Outcomes(p, n)
        weight = three_seen(rest, at, n)
        need += floor_of_mean(p, n, ALPHA, weight, at, 60)
        drift += (np.exp(at.log_mass(p)) * weight * ((at.x1 - at.x2) / n - p[0] + p[1])).sum()
    total = np.zeros(3)
    for seed in range(seeds):
        table = thinned(counts, n, seed)
        keep = (table > 0).sum(axis=1) >= 3
        table, top = table[keep], tops[keep]
        index = np.arange(len(table))
        lower = rsbounds.margin_lower_bound(
            table, top, alpha=ALPHA, scale="linear", method="exact"
        ).lower
        x1, x2 = table[index, top], table[index, second[keep]]
        table[index, top] = -1
        most = table.max(axis=1)
        margin, best = limit(x1 / n, most / n, n, "linear")
        total += [(x2 - most).sum() / n, (margin - best).sum(), (margin - lower).sum()]
    total /= seeds
    return (total[0] + drift + need) / total[1], total[2] / total[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="n = 100 only")
    options = parser.parse_args()
    at_points(100)
    path = data_file()
    if path is None:
        print("bench_floor: data folder not found (set RSBOUNDS_DATA); no rows measured")
        return 0
    data = np.loadtxt(path, skiprows=1, dtype=np.int64)
    data = data[(data[:, :10] > 0).sum(axis=1) >= 3]
    counts, labels = data[:, :10], data[:, 10]
    print("half-width ratio over rows with three or more classes seen, mean over thinning seeds")
    print("top         n     seeds  floor   exact")
    for n, seeds in ((100, 200),) if options.quick else ((100, 200), (1000, 40)):
        for name, tops in (("most votes", counts.argmax(axis=1)), ("label", labels)):
            floor, ours = on_rows(counts, tops, n, seeds)
            print(f"{name:11} {n:<5} {seeds:<6} {floor:.4f}  {ours:.4f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
