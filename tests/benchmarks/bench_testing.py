"""Speed and sharpness of `rsbounds.testing`: python tests/benchmarks/bench_testing.py.

Part 1: exact coverage. Part 2: trials of `assert_probability_at_most`, exactly, over the
information limits (looks as the assertion takes them). Part 3: runs of true assertions at the edge
of their claim (``--runs``), and how many of them failed. Part 4: cost of an assertion, and pairs
until two distributions are told apart.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from _timing import least, machine
from scipy import stats

import rsbounds
from rsbounds.testing import (
    Refuted,
    assert_probability_at_most,
    assert_same_distribution,
    exact_coverage,
    stopping_distribution,
)
from rsbounds.testing._bets import Odds
from rsbounds.testing._trials import MISSED_ALARM, next_look


def looks(most):
    found, t = set(), 1
    while t < most:
        found.add(t)
        t = next_look(t)
    return found | {most}


def rule(p, false_alarm, most):
    """Code 1 where "at most p" is refuted, -1 where it is accepted."""
    odds, when = Odds(p), looks(most)

    def stop(t, s):
        if t not in when:
            return np.zeros(t + 1, dtype=np.int8)
        refuted = odds.against_at_most(s, t - s) >= -math.log(false_alarm)
        accepted = odds.against_at_least(s, t - s) >= -math.log(MISSED_ALARM)
        return np.where(refuted, 1, np.where(accepted, -1, 0)).astype(np.int8)

    return stop


def kl(q, p):
    return q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))


def enumeration():
    print("1. exact coverage, CPU seconds")
    rng = np.random.default_rng(0)
    points = rng.dirichlet([1, 1, 1], size=200)
    low = rsbounds.clopper_pearson_lower(np.arange(1001), 1000, alpha=0.05)
    for name, limit, call in (
        ("K = 3, n = 40, 200 points", 2.0, lambda: exact_coverage(
            lambda t: rsbounds.clopper_pearson_lower(t[:, 0], 40, alpha=0.05), 40, points)),
        ("binomial n = 1000, 1000 points", 1.0, lambda: exact_coverage(
            lambda k: low[k], 1000, np.linspace(0, 1, 1000))),
    ):  # fmt: skip
        print(f"  {name}: {least(call):.3f} (to be under {limit:g})", flush=True)


def trials_needed():
    print("2. trials times p, false_alarm 1e-9, missed alarm 1e-3 (dynamic programming)")
    for p in (0.2, 0.05, 0.01):
        most = int(250 / p)
        for q, code, limit, goal in (
            (p / 2, -1, -math.log(MISSED_ALARM) / kl(p / 2, p), 80),
            (2 * p, 1, -math.log(1e-9) / kl(2 * p, p), 120),
        ):
            law = stopping_distribution(q, most, rule(p, 1e-9, most))[code]
            times = np.arange(most + 1)
            quantile = [times[np.argmax(np.cumsum(law) >= v)] * p for v in (0.5, 0.9, 0.99)]
            print(
                f"  p {p:g}, event {q:g}: mean {(law * times).sum() / law.sum() * p:.1f}, median "
                f"{quantile[0]:.1f}, 90 % {quantile[1]:.1f}, 99 % {quantile[2]:.1f}; decided "
                f"{law.sum():.5f}; limit {limit * p:.1f}, goal {goal}",
                flush=True,
            )


def false_alarms(runs):
    print(f"3. {runs} runs of true assertions at their edge, false_alarm 0.01")
    p, most = 0.2, 300
    exact = stopping_distribution(p, most, rule(p, 0.01, most))[1].sum()
    failed = 0
    for seed in range(runs):
        try:
            assert_probability_at_most(
                lambda rng: rng.random() < p, p, false_alarm=0.01, max_trials=most, seed=seed
            )
        except Refuted:
            failed += 1
    allowed = int(stats.binom.ppf(1 - 1e-3, runs, 0.01))
    print(
        f"  P(event) = p = {p}, up to {most} trials: {failed} failed, {runs * exact:.1f} expected "
        f"exactly, {allowed} allowed (0.01 of the runs, at one in a thousand)",
        flush=True,
    )


def costs():
    print("4. CPU seconds of an assertion, after the first")
    for name, event in (
        ("one trial a call", lambda rng: rng.random() < 0.001),
        ("a thousand a call", lambda rng: rng.random(1000) < 0.001),
    ):
        found = assert_probability_at_most(event, 0.002, seed=0)
        cost = least(lambda e=event: assert_probability_at_most(e, 0.002, seed=0), 3)
        print(f"  {name}: {cost:.3f} for {found.trials} trials ({found.verdict})", flush=True)
    for name, other in (
        ("normal against shifted by 0.25 (Kolmogorov 0.1)", lambda r: r.normal(0.25, 1, 50)),
        ("normal against standard deviation 1.5", lambda r: r.normal(0, 1.5, 50)),
    ):
        taken = []
        for seed in range(10):
            try:
                assert_same_distribution(lambda r: r.normal(size=50), other, seed=seed)
                taken.append(math.inf)
            except Refuted as failure:
                taken.append(failure.finding.trials)
        print(f"  {name}: told apart after {np.median(taken):.0f} pairs (median of 10)", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    arguments = parser.parse_args()
    print(machine())
    enumeration()
    trials_needed()
    false_alarms(arguments.runs)
    costs()


if __name__ == "__main__":
    main()
