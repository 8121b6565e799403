"""Confidence sequences: any-time coverage, chunks, pickles, refusals."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rsbounds
from rsbounds.bounds.mean import MEAN_METHODS, confidence_sequence, mean_bound, mixture
from rsbounds.bounds.mean._beta_binomial import log_ratio, log_ratio_rows
from rsbounds.bounds.mean._one_sided import log_capital, one_sided_lower
from rsbounds.bounds.mean.beta_binomial import beta_binomial_lower
from rsbounds.testing import anytime_coverage, assert_error_rate, stopping_distribution

NAMES = [name for name in MEAN_METHODS if MEAN_METHODS[name].sequence]


def stream(name, rng, shape):
    return (rng.random(shape) < 0.8) * 1.0 if name == "beta-binomial" else rng.beta(5, 1, shape)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12)
@given(
    cuts=st.lists(st.integers(1, 599), max_size=8), side=st.sampled_from(["lower", "upper", "both"])
)
def test_chunks_do_not_matter(name, cuts, side):
    x = stream(name, np.random.default_rng(0), (2, 600))
    whole = confidence_sequence(name, alpha=0.05, side=side)
    whole.update(x)
    parts = confidence_sequence(name, alpha=0.05, side=side)
    edges = [0, *sorted(set(cuts)), 600]
    for a, b in itertools.pairwise(edges):
        parts.update(x[:, a:b])
        if a % 3 == 0:
            # Looking, or resuming from a pickle, changes nothing.
            parts = pickle.loads(pickle.dumps(parts))
            assert (parts.lower <= parts.upper).all()
    assert parts.n == whole.n == 600
    assert (parts.lower == whole.lower).all()
    assert (parts.upper == whole.upper).all()


@pytest.mark.parametrize("name", NAMES)
def test_bounds_only_improve_and_reflect(name):
    x = stream(name, np.random.default_rng(1), 800)
    straight = confidence_sequence(name, alpha=0.05, support=(-1, 1))
    turned = confidence_sequence(name, alpha=0.05, support=(-1, 1))
    last = -1.0
    for chunk in np.split(2 * x - 1, 8):
        straight.update(chunk)
        turned.update(-chunk)
        np.testing.assert_allclose(straight.lower, -turned.upper, rtol=0, atol=1e-9)
        np.testing.assert_allclose(straight.upper, -turned.lower, rtol=0, atol=1e-9)
        if name != "beta-binomial":
            assert straight.lower[0] >= last
            last = straight.lower[0]
    assert -1 < straight.lower[0] < 2 * x.mean() - 1 < straight.upper[0] < 1


@pytest.mark.parametrize("name", NAMES)
def test_refusals_leave_the_state(name):
    seq = confidence_sequence(name, alpha=0.05)
    assert seq.lower[0] == 0
    assert seq.upper[0] == 1
    seq.update(np.tile([1.0, 0.0, 1.0, 1.0], (2, 30)))
    before = (seq.n, seq.lower.tolist(), seq.upper.tolist())
    state = pickle.dumps(seq)
    for chunk, message in [
        ([[0.0, 1.0]] * 3, r"chunk has 3 row\(s\); allowed: 2, as in the first chunk"),
        ([0.0, 1.0], r"chunk has 1 row\(s\)"),
        ([[1.0, 1.0], [1.0, 1.01]], r"chunk\[1, 1\] is 1.01; allowed: numbers in \[0, 1\]"),
        ([[1.0], [float("nan")]], r"chunk\[1, 0\] is nan"),
        (np.empty((2, 0)), "chunk is empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            seq.update(chunk)
        assert (seq.n, seq.lower.tolist(), seq.upper.tolist()) == before
        assert pickle.dumps(seq) == state
    if name == "beta-binomial":
        with pytest.raises(ValueError, match=r"chunk\[0, 0\] is 0.5; allowed: 0 and 1 only"):
            seq.update([[0.5], [1.0]])
        assert pickle.dumps(seq) == state
    seq.close()
    with pytest.raises(ValueError, match="closed sequence"):
        seq.update([[1.0], [1.0]])
    assert (seq.n, seq.lower.tolist(), seq.upper.tolist()) == before


def test_bad_settings():
    with pytest.raises(ValueError, match="method is 'x'; known: goal"):
        confidence_sequence("x", alpha=0.1)
    for name in ("goal", "hoeffding", "empirical-bernstein", "clopper-pearson"):
        with pytest.raises(
            ValueError,
            match=f"method is '{name}', which has no any-time form; all"
            "owed: mixture, betting, prpl-eb, beta-binomial$",
        ):
            confidence_sequence(name, alpha=0.1)
    for method in ("beta-binomial", MEAN_METHODS["beta-binomial"]()):
        with pytest.raises(ValueError, match="which has no form for a fixed n; allowed: goal, mix"):
            mean_bound([0.0, 1.0], alpha=0.1, method=method)
    with pytest.raises(ValueError, match="method is 'beta-binomial', which has no form"):
        rsbounds.certify_soft(np.ones((1, 9, 2)), 0, noise=rsbounds.Gaussian(1.0), method=method)
    with pytest.raises(ValueError, match="cap is not an option of mixture"):
        confidence_sequence("mixture", alpha=0.1, cap=0.5)
    with pytest.raises(ValueError, match="caps is given without weights"):
        confidence_sequence("mixture", alpha=0.1, caps=(0.5,))
    with pytest.raises(ValueError, match="prior is"):
        confidence_sequence("beta-binomial", alpha=0.1, prior=(0, 1))
    with pytest.raises(ValueError, match="side is 'left'"):
        confidence_sequence(alpha=0.1, side="left")
    with pytest.raises(ValueError, match="support is"):
        confidence_sequence(alpha=0.1, support=(1, 0))


@pytest.mark.parametrize("prior", [(0.5, 0.5), (5.0, 1.0)])
@pytest.mark.parametrize("p", [0.03, 0.5, 0.8, 0.99])
def test_beta_binomial_any_time_exactly(p, prior):
    # Exact: for Bernoulli streams the sequence is a function of (t, successes), and p is
    # outside exactly when the mixture ratio against it reaches 1/alpha.
    alpha = 0.05

    def stop(t, s):
        ratio = np.empty(t + 1)
        where = np.full(t + 1, p)
        log_ratio_rows(s * 1.0, (t - s) * 1.0, where, 1 - where, *prior, ratio)
        outside = ratio >= -np.log(alpha)
        return np.where(outside & (s > t * p), 1, np.where(outside, 2, 0)).astype(np.int8)

    law = stopping_distribution(p, 2000, stop)
    assert 0.001 < sum(times.sum() for times in law.values()) <= alpha
    # The bounds agree with that rule.
    for t in (1, 7, 60, 400):
        s = np.arange(t + 1)
        code = stop(t, s)
        assert ((beta_binomial_lower(s, t, alpha, prior) > p) == (code == 1)).all()
        high = 1 - beta_binomial_lower(t - s, t, alpha, prior[::-1])
        assert ((high < p) == (code == 2)).all()


@pytest.mark.parametrize("prior", [(0.5, 0.5), (5.0, 1.0), (0.01, 30.0), (300.0, 2.0)])
@pytest.mark.parametrize(("p", "alpha"), [(0.03, 0.05), (0.5, 0.6), (0.8, 0.05), (0.97, 0.3)])
def test_one_sided_beta_binomial_any_time_exactly(p, alpha, prior):
    # The bound is a function of (t, successes), so its error is summed exactly; the priors
    # include ones under which the capital does not fall with p by itself.
    def bounds(t, s):
        return one_sided_lower(s, t, alpha, prior), np.ones(t + 1)

    anytime_coverage(bounds, p, 120).assert_at_most(alpha)


def test_one_side_spends_all_of_alpha_there():
    alpha, prior = 0.05, (0.5, 0.5)

    def error(lower):
        found = anytime_coverage(
            lambda t, s: (lower(s, t, alpha, prior), np.ones(t + 1)), 0.8, horizon=300
        )
        return found.worst_error

    assert error(beta_binomial_lower) < 0.4 * alpha
    assert 0.7 * alpha < error(one_sided_lower) <= alpha
    for n, hits, most in [(1000, 950, 0.91), (10_000, 9800, 0.9), (10_000, 5000, 0.98)]:
        votes = np.r_[np.ones(hits), np.zeros(n - hits)]
        widths = {}
        for side in ("lower", "upper", "both"):
            seq = confidence_sequence("beta-binomial", alpha=0.001, side=side)
            seq.update(votes)
            widths[side] = hits / n - seq.lower[0], seq.upper[0] - hits / n
        assert widths["lower"][0] <= most * widths["both"][0]
        assert widths["upper"][1] <= widths["both"][1]
        assert widths["lower"][1] == 1 - hits / n


@pytest.mark.parametrize("prior", [(0.5, 0.5), (2.0, 7.0)])
def test_one_sided_bound_against_a_search(prior):
    # Where the capital falls with p the bound is where it reaches 1/alpha, to the allowance.
    s = np.array([0, 1, 3, 40, 95, 100])
    low, high = np.full(s.size, -60.0), np.full(s.size, 30.0)
    for _ in range(100):
        middle = 0.5 * (low + high)
        p, q = 1 / (1 + np.exp(-middle)), 1 / (1 + np.exp(middle))
        with np.errstate(invalid="ignore"):
            hit = (log_capital(s, 100 - s, p, q, prior) >= -np.log(0.01)) & (p < s / 100)
        low, high = np.where(hit, middle, low), np.where(hit, high, middle)
    want = np.where(s > 0, 1 / (1 + np.exp(-low)), 0.0)
    np.testing.assert_allclose(one_sided_lower(s, 100, 0.01, prior), want, rtol=1e-9, atol=1e-20)


def test_log_capital_against_an_integral():
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(30):
        for s, n, p, a, b in [
            (8, 10, 0.4, 0.5, 0.5),
            (95, 100, 0.9, 2.0, 7.0),
            (3, 400, 1e-3, 1, 1),
        ]:
            cut = mpmath.mpf(p)
            won = mpmath.betainc(a + s, b + n - s, cut, 1) / cut**s / (1 - cut) ** (n - s)
            true = float(mpmath.log(won / mpmath.betainc(a, b, cut, 1)))
            got = log_capital(
                np.array([s]), np.array([n - s]), np.array([p]), np.array([1 - p]), (a, b)
            )[0]
            assert true - 1e-4 < got <= true


def test_mixture_does_not_stall():
    # Normal widths: 4.4 above a mean near 1, and 7 of a rare event, with bets of 0.015 and up.
    n, alpha = 100_000, 0.001
    z = 3.090232306167813
    for p, side in [(0.98, "upper"), (0.01, "lower")]:
        x = (np.random.default_rng(5).random(n) < p) * 1.0
        seq = confidence_sequence("mixture", alpha=alpha, side=side)
        seq.update(x)
        width = seq.upper[0] - x.mean() if side == "upper" else x.mean() - seq.lower[0]
        assert width < 1.75 * z * np.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_ends_of_the_support_in_smaller_floats(kind):
    x = np.where(np.random.default_rng(6).random(400) < 0.8, 0.7, 0.3)
    gap = max(abs(float(kind(v)) - v) for v in (0.3, 0.7))
    for name in ("beta-binomial", "mixture"):
        full = confidence_sequence(name, alpha=0.01, support=(0.3, 0.7))
        full.update(x)
        seq = confidence_sequence(name, alpha=0.01, support=(0.3, 0.7))
        seq.update(x.astype(kind))
        # The samples were moved by up to the gap, so the bounds are wider by as much.
        np.testing.assert_allclose(seq.lower, full.lower - gap, rtol=0, atol=1e-9)
        np.testing.assert_allclose(seq.upper, full.upper + gap, rtol=0, atol=1e-9)
        with pytest.raises(ValueError, match=r"chunk\[0(, 0)?\] is"):
            seq.update(np.nextafter(np.array([0.3], dtype=kind), kind(0)))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("side", ["lower", "upper"])
def test_mixture_any_time_exactly(p, side):
    # With constant bets the capital of a Bernoulli stream is a function of (t, successes),
    # and p is rejected exactly when the capital against it reaches 1/alpha.
    alpha = 0.05
    mean = p if side == "lower" else 1 - p
    caps, weights = np.array(mixture.CAPS)[:, None], np.array(mixture.WEIGHTS)[:, None]

    def stop(t, s):
        log = s * np.log1p(caps * (1 / mean - 1)) + (t - s) * np.log1p(-caps)
        with np.errstate(over="ignore"):
            return ((weights * np.exp(log)).sum(axis=0) >= 1 / alpha).astype(np.int8)

    law = stopping_distribution(mean, 2000, stop)
    assert 0.005 < law[1].sum() <= alpha
    # The object agrees with that rule on a path.
    x = (np.random.default_rng(3).random(300) < mean) * 1.0
    seq = confidence_sequence("mixture", alpha=alpha, side=side)
    seq.update(x if side == "lower" else 1 - x)
    rejected = seq.lower[0] > p if side == "lower" else seq.upper[0] < p
    s = np.cumsum(x)
    assert rejected == any(stop(t, np.array([s[t - 1]]))[0] for t in range(1, 301))


@pytest.mark.parametrize("name", ["prpl-eb", "betting"])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_any_time_error_over_every_path(name, p):
    # These bets depend on the whole path, so every path of 14 draws is followed.
    n, alpha = 14, 0.3
    paths = np.array(list(itertools.product((0.0, 1.0), repeat=n)))
    chance = np.where(paths == 1, p, 1 - p).prod(axis=1)
    seq = confidence_sequence(name, alpha=alpha)
    seq.update(paths)
    # Running intersections: wrong at some time is wrong at the end.
    wrong = (seq.lower > p + 1e-12) | (seq.upper < p - 1e-12)
    assert chance[wrong].sum() <= alpha


@pytest.mark.parametrize("name", ["prpl-eb", "betting", "mixture"])
@pytest.mark.parametrize("p", [0.5, 0.95])
def test_any_time_error_by_simulation(name, p):
    # False alarm of a correct sequence: 1e-6 (assert_error_rate).
    alpha = 0.05
    x = (np.random.default_rng([7, int(100 * p)]).random((1500, 2000)) < p) * 1.0
    seq = confidence_sequence(name, alpha=alpha, side="lower")
    seq.update(x)
    assert_error_rate(int((seq.lower > p).sum()), 1500, alpha)


def test_simulation_of_skewed_scores():
    rng = np.random.default_rng(8)
    x = rng.beta(50, 0.5, (1500, 1000))
    for name in ("prpl-eb", "betting", "mixture"):
        seq = confidence_sequence(name, alpha=0.1)
        seq.update(x)
        wrong = (seq.lower > 50 / 50.5) | (seq.upper < 50 / 50.5)
        assert_error_rate(int(wrong.sum()), 1500, 0.1)


def test_log_ratio_against_mpmath():
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(50):
        for s, n, p, a, b in [
            (3, 10, 0.1, 0.5, 0.5), (99_000, 100_000, 0.985, 0.5, 0.5), (0, 50, 0.3, 2.0, 7.0),
            (10**6, 10**6, 0.99999, 0.5, 0.5), (5, 10**9, 1e-9, 0.5, 0.5),
        ]:  # fmt: skip
            true = (
                mpmath.log(mpmath.beta(a + s, b + n - s)) - mpmath.log(mpmath.beta(a, b))
                - s * mpmath.log(mpmath.mpf(p)) - (n - s) * mpmath.log(1 - mpmath.mpf(p))
            )  # fmt: skip
            got = log_ratio(float(s), float(n - s), p, 1 - p, a, b)
            assert got <= true
            assert got == pytest.approx(float(true), abs=1e-4)
