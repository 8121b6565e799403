"""The margin at every time at once."""

import json
import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

import rsbounds
from rsbounds.sequential import _margin_sequence as inner
from rsbounds.testing import assert_error_rate

GAUSS = rsbounds.Gaussian(sigma=0.5)
UNIFORM = rsbounds.Uniform(half_width=1.0)


def lower_of(votes, noise=GAUSS, prior=None, **options):
    top = np.zeros(len(votes), int)
    if prior is not None:
        top = rsbounds.select_top(np.tile(prior, (len(votes), 1)), independent=True)
    run = rsbounds.MarginSequence(top, noise=noise, **options)
    run.update(votes)
    return run.lower


@pytest.mark.parametrize("noise", [GAUSS, UNIFORM])
@pytest.mark.parametrize("prior", [None, (60, 30, 10)])
def test_error_probability_exactly(noise, prior):
    # A bound above the truth at any time up to n, a look after every draw of three classes.
    alpha, n, worst = 0.05, 25, 0.0
    places = np.arange(n + 2)
    a, b = np.meshgrid(places, places, indexing="ij")
    for p in [(0.6, 0.3, 0.1), (0.8, 0.2 - 1e-9, 1e-9), (0.5, 0.25, 0.25)]:
        second = max(p[1:])
        truth = p[0] - second if noise is UNIFORM else ndtri(p[0]) - ndtri(second)
        mass = np.zeros((n + 2, n + 2))
        mass[0, 0], total = 1.0, 0.0
        for t in range(1, n + 1):
            grown = mass * p[2]
            grown[1:] += mass[:-1] * p[0]
            grown[:, 1:] += mass[:, :-1] * p[1]
            inside = (a + b <= t) & (grown > 0)
            votes = np.stack([a[inside], b[inside], t - a[inside] - b[inside]], axis=1)
            hit = lower_of(votes, noise, prior, alpha=alpha, n_target=20) > truth
            at = np.flatnonzero(inside.reshape(-1))[hit]
            total += grown.reshape(-1)[at].sum()
            grown.reshape(-1)[at] = 0.0
            mass = grown
        worst = max(worst, total / alpha)
    print(f"worst error over alpha, {noise}, prior {prior}: {worst:.3f}")
    assert worst <= 1.0


def test_error_rate_of_long_runs():
    # False alarm of a correct sequence: 1e-6 (assert_error_rate).
    rng, rows, alpha = np.random.default_rng(1), 200, 0.1
    p = np.array([0.7, 0.25, 0.03, 0.02])
    run = rsbounds.MarginSequence(
        np.zeros(rows, int), noise=GAUSS, alpha=alpha, n_target=1000
    )  # fmt: skip
    n, before = 0, run.lower
    while n < 10_000:
        more = 4 + n // 3
        run.update(rng.multinomial(more, p, size=rows))
        n += more
        assert (run.lower >= before).all()
        before = run.lower
    assert_error_rate(int((run.lower > ndtri(0.7) - ndtri(0.25)).sum()), rows, alpha)
    assert (run.lower > 0).all()


def test_the_heights_lie_above_the_curve_to_the_last_digit():
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        for margin in (1e-6, 0.01, 0.7, 4.0, 30.0, 74.0):
            for slope in inner.SLOPES[::5].tolist():
                u, v = inner._line(slope, margin, True)
                z = -mpmath.mpf(slope) / mpmath.mpf(margin) - mpmath.mpf(margin) / 2
                s = mpmath.exp(mpmath.mpf(slope))
                true = mpmath.ncdf(z + mpmath.mpf(margin)) - s * mpmath.ncdf(z)
                assert true <= mpmath.mpf(u)
                assert mpmath.mpf(v) <= 1 - true
                assert u <= true + mpmath.mpf("1e-11") * (1 + s)


def literal(votes, margin, prior, n_target, alpha):
    """The capital against a margin, bet by bet, and its weights from their description."""
    stake = inner.stakes(inner.SLOPES, n_target, alpha)
    s = np.exp(inner.SLOPES)[:, None]
    z = -inner.SLOPES[:, None] / margin - margin / 2
    u = ndtr(z + margin) - s * ndtr(z)
    n = sum(prior)
    p_a, p_c = (prior[0] + 0.5) / (n + 1.5), (prior[1] + 0.5) / (n + 1.5)
    z_a, z_c = ndtri(p_a), ndtri(p_c)
    spread = [z * math.sqrt(2 * math.pi) * math.exp(z * z / 2) for z in (z_a, z_c)]
    sd = math.sqrt((spread[0] ** 2 * p_a * (1 - p_a) + spread[1] ** 2 * p_c * (1 - p_c)) / n)
    variance = p_a + s**2 * p_c - (p_a - s * p_c) ** 2
    best = 0.9 * np.sqrt(-2 * math.log(alpha) / (n_target * variance))
    near = np.exp(
        -0.5 * ((np.log(s) - max((z_c**2 - z_a**2) / 2, 0)) / max(sd, 0.15)) ** 2
        - 0.5 * (np.log(stake / best) / 0.8) ** 2
    )
    even = np.exp(-0.3 * np.log(s)) + 0 * stake
    weights = 0.1 * even / even.sum() + 0.9 * near / near.sum()
    gains = votes[0] * np.log1p(stake * (1 - u)) + votes[1] * np.log1p(-stake * (s + u))
    return math.log((weights * np.exp(gains + votes[2] * np.log1p(-stake * u))).sum())


def test_the_bound_is_where_the_capital_reaches_the_level():
    votes, prior = (880, 90, 30), (85, 10, 5)
    found = lower_of(np.array([votes]), prior=prior, n_target=1000, alpha=0.001)[0]
    level = -math.log(0.001)
    # The quantile that places the weights is good to 5e-4.
    assert literal(votes, found, prior, 1000, 0.001) >= level - 0.01
    assert literal(votes, found + 0.01, prior, 1000, 0.001) < level
    margins = np.linspace(0.01, 3.0, 200)
    capital = [literal(votes, m, prior, 1000, 0.001) for m in margins]
    assert (np.diff(capital) <= 0).all()


def test_it_is_near_the_bound_for_one_n():
    rng = np.random.default_rng(4)
    p = rng.dirichlet([6, 1, 0.5, 0.5], size=60)
    p = p[p.argmax(axis=1) == 0][:40]
    for noise, n in [(GAUSS, 1000), (GAUSS, 100_000), (UNIFORM, 10_000)]:
        votes, earlier = rng.multinomial(n, p), rng.multinomial(100, p)
        here = earlier.argmax(axis=1) == 0
        votes, p = votes[here], p[here]
        top = rsbounds.select_top(earlier[here], independent=True)
        run = rsbounds.MarginSequence(top, noise=noise, n_target=n)
        run.update(votes)
        fixed = rsbounds.certify(votes, 0 * top.top, noise=noise, alpha=0.001).margin_lower
        rival = p[:, 1:].max(axis=1)
        truth = p[:, 0] - rival if noise is UNIFORM else ndtri(p[:, 0]) - ndtri(rival)
        seen = (run.lower > 0) & (fixed > 0)
        ratio = (truth - run.lower)[seen].mean() / (truth - fixed)[seen].mean()
        print(f"shortfall over exact, {noise}, n = {n}: {ratio:.3f}")
        assert 1.0 < ratio < 1.45


def test_counts_and_settings_are_the_state():
    def fresh(**changes):
        settings = {"noise": GAUSS, "n_target": 500, "alpha": 0.01, "index": [3, 5]}
        top = rsbounds.select_top([[9, 1, 0], [2, 7, 1]], independent=True)
        return rsbounds.MarginSequence(changes.pop("top", top), **{**settings, **changes})

    run = fresh()
    assert run.lower.tolist() == [-math.inf, -math.inf]
    run.update([[90, 5, 5], [10, 85, 5]])
    state = json.loads(json.dumps(run.state()))
    other = fresh()
    other.restore(state)
    assert other.lower.tolist() == run.lower.tolist()
    assert other.radius.tolist() == GAUSS.radius(run.lower).tolist()
    assert other.certificates().radius.tolist() == other.radius.tolist()
    for changes, message in [
        ({"alpha": 0.001}, "state has alpha 0.01; allowed: 0.001"),
        ({"n_target": 100}, "state has n_target 500; allowed: 100"),
        ({"noise": rsbounds.Gaussian(sigma=0.25)}, "state has law"),
        ({"top": [0, 1]}, "state has prior"),
        ({"index": [5, 3]}, r"state has index \[3, 5\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            fresh(**changes).restore(state)
    with pytest.raises(ValueError, match="allowed: counts that have grown"):
        other.restore({**state, "counts": [[89, 6, 5], [10, 85, 5]]})


def test_edges_of_the_sequence():
    run = rsbounds.MarginSequence([0, rsbounds.NO_CLASS, 1], noise=UNIFORM)
    run.update([[10**9, 0], [10**9, 0], [10**9, 0]])
    assert 0.9999 < run.lower[0] < 1
    assert run.lower[1:].tolist() == [-1, -1]
    assert run.radius[0] < 1
    many = rsbounds.MarginSequence(0, noise=GAUSS)
    many.update([10**11, 1])
    assert 5 < many.lower[0] < 14
    # The same votes with parts of a row left out.
    many.update([0, 0])
    assert many.n[0] == 10**11 + 1
    for arguments, message in [
        ({"noise": None}, "noise is None"),
        ({"n_target": 0}, "n_target is 0"),
        ({"alpha": 1.0}, "alpha is 1.0"),
        ({"top": -7}, "top"),
    ]:
        with pytest.raises(ValueError, match=message):
            rsbounds.MarginSequence(**{"top": 0, "noise": GAUSS, **arguments})
    with pytest.raises(ValueError, match="counts has 3 columns; allowed: 2 as before"):
        many.update([1, 1, 1])
