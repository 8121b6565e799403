"""The any-time test of the margin: valid after every draw, at every point of the null."""

import json
import math
import pickle

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

import rsbounds
from rsbounds.noises import Noise
from rsbounds.sequential import _tangents
from rsbounds.testing import assert_error_rate

GAUSS = rsbounds.Gaussian(sigma=0.5)
UNIFORM = rsbounds.Uniform(half_width=1.0)


class Laplace(Noise):
    """A curve that is no margin scale (Teng et al. 2020)."""

    name = "laplace-here"
    norm = "l1"
    curve_only = True

    def roc(self, r, b):
        e, b = np.exp(-np.asarray(r, dtype=float) / 0.5), np.asarray(b, dtype=float)
        middle = 1 - e / (4 * np.maximum(b, 1e-300))
        return np.where(
            b <= e / 2, b / np.maximum(e, 1e-300), np.where(b <= 0.5, middle, 1 - e * (1 - b))
        )


def laplace_curve(r, b):
    """h of the Laplace law, from its own three pieces."""
    law, e = Laplace(), math.exp(-r / 0.5)
    c = 1 - law.roc(r, b)
    d = np.maximum(1 - c, 1e-300)
    back = np.where(c <= 0.5, c * e, np.where(c <= 1 - e / 2, e / (4 * d), 1 - (1 - c) / e))
    return 1 - back


def curve(law, r, b):
    if law is GAUSS:
        return ndtr(ndtri(b) + 4 * r)
    return b + r / UNIFORM.radius_per_margin if law is UNIFORM else laplace_curve(r, b)


def end(law, r):
    """Where the rest is empty: h(b) = 1 - b."""
    if law is GAUSS:
        return ndtr(-2 * r)
    return (1 - r / UNIFORM.radius_per_margin) / 2 if law is UNIFORM else 0.5 * math.exp(-r / 0.5)


LAWS = [(GAUSS, 0.1), (GAUSS, 0.6), (UNIFORM, 0.3), (Laplace(), 0.3)]


def test_every_bet_loses_everywhere_on_the_null():
    # The null is convex: its ends and the points of its curve are enough.
    worst = -1.0
    for law, r in [*LAWS, (GAUSS, 1e-9), (GAUSS, 4.0), (UNIFORM, 0.999), (Laplace(), 2.0)]:
        if law.curve_only:
            lines = _tangents.curve_lines(law, r)
        else:
            lines = _tangents.scale_lines(r / law.radius_per_margin, law.scale)
        factors = np.exp(_tangents.bets(lines)[0])
        b = end(law, r) * np.append(np.exp(-np.geomspace(1e-9, 300, 3000)), [1.0, 0.0])
        a = np.minimum(curve(law, r, b), 1 - b)
        mean = a[:, None] * factors[0] + b[:, None] * factors[1]
        mean += np.maximum(1 - a - b, 0)[:, None] * factors[2]
        worst = max(worst, mean.max() - 1)
        # Other ends of the null: all votes for c, none for either.
        assert factors[1].max() <= 1
        assert factors[2].max() <= 1
    assert worst <= 5e-16, worst


def test_lines_lie_above_the_gaussian_curve_to_the_last_digit():
    # With the slope rounded up before the height was computed, they did not.
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        for t in (1e-12, 0.01, 0.8, 4.0, 20.0, 60.0):
            lines = _tangents.scale_lines(t, "probit")
            for s, u, v in zip(lines.s.tolist(), lines.u.tolist(), lines.v.tolist(), strict=True):
                if not 0 < s < 1e100:
                    continue
                z = -mpmath.log(mpmath.mpf(s)) / t - mpmath.mpf(t) / 2
                slope, shift = mpmath.mpf(s), mpmath.mpf(t)
                beyond = mpmath.ncdf(-(z + shift)) + slope * mpmath.ncdf(z)
                assert mpmath.mpf(v) <= beyond
                assert mpmath.mpf(u) >= 1 - beyond
                assert beyond - mpmath.mpf(v) <= 1e-10 * beyond


def crossing(p, n, level, capital):
    """Exact probability that a capital of (A, c, rest) ever reaches a level, looks after all."""
    mass = np.zeros((n + 2, n + 2))
    mass[0, 0] = 1.0
    total = 0.0
    a, c = np.meshgrid(np.arange(n + 2), np.arange(n + 2), indexing="ij")
    for t in range(1, n + 1):
        grown = mass * p[2]
        grown[1:] += mass[:-1] * p[0]
        grown[:, 1:] += mass[:, :-1] * p[1]
        inside = (a + c <= t) & (grown > 0)
        votes = np.stack([a[inside], c[inside], t - a[inside] - c[inside]], axis=1)
        hit = capital(votes) >= level
        at = np.flatnonzero(inside.reshape(-1))[hit]
        flat = grown.reshape(-1)
        total += flat[at].sum()
        flat[at] = 0.0
        mass = grown
    return total


def one_rival(law, r, prior=None):
    """The capital against one competitor, from cells: the larger one, valid by itself."""
    top = 0 if prior is None else rsbounds.select_top([prior], independent=True)
    test = rsbounds.MarginTest(r, top, noise=law)

    def capital(votes):
        return test.capital_of(votes, np.zeros(len(votes), dtype=np.int64))

    return capital


@pytest.mark.parametrize(("law", "r"), LAWS)
def test_error_probability_exactly(law, r):
    # Null points on the curve, its ends, and with next to no third cell; a look after each draw.
    worst = 0.0
    last = end(law, r)
    for prior in (None, (60, 30, 10)):
        capital = one_rival(law, r, prior)
        for share in (1.0, 1 - 1e-9, 0.8, 0.3, 0.05, 1e-3, 1e-9)[:: 2 if prior else 1]:
            b = last * share
            a = min(float(curve(law, r, b)), 1 - b)
            p = (a, b, max(1 - a - b, 0.0))
            looks = [(0.05, 60), (0.001, 25)] if share in (1.0, 0.3) and not prior else [(0.05, 25)]
            for alpha, n in looks:
                worst = max(worst, crossing(p, n, -math.log(alpha), capital) / alpha)
    print(f"worst error over alpha, {law}, r = {r}: {worst:.3f}")
    assert worst <= 1.0
    assert worst > 0.02, "the test should use its alpha"


@pytest.mark.parametrize(
    ("r", "share", "classes"), [(0.1, 0.6, 3), (0.1, 0.999, 10), (0.4, 0.05, 30), (0.4, 1e-3, 3)]
)
def test_error_rate_of_long_runs(r, share, classes):
    # False alarm of a correct test: 1e-6 (assert_error_rate).
    alpha, rows = 0.05, 400
    b = end(GAUSS, r) * share
    a = float(curve(GAUSS, r, b))
    p = np.array([a, b, *[(1 - a - b) / (classes - 2)] * (classes - 2)])
    rng = np.random.default_rng(5)
    top = rsbounds.select_top(
        np.tile(np.maximum(rng.multinomial(100, p), [101] + [0] * (classes - 1)), (rows, 1)),
        independent=True,
    )
    test = rsbounds.MarginTest(r, top, noise=GAUSS)
    ever, n = np.zeros(rows, dtype=bool), 0
    while n < 10_000:
        more = 1 + n // 8
        test.update(rng.multinomial(more, p, size=rows))
        n += more
        ever |= test.proven(alpha=alpha)
    assert_error_rate(int(ever.sum()), rows, alpha)


def test_the_capital_is_the_mixture_of_its_bets():
    # Written out bet by bet, and with another order of the same votes.
    prior, votes = [70, 20, 10], np.array([[812, 101, 87]])
    test = rsbounds.MarginTest(0.2, rsbounds.select_top([prior], independent=True), noise=GAUSS)
    assert test.log_capital.tolist() == [0.0]
    test.update(votes // 2)
    test.update(votes - votes // 2)
    factors, liked = _tangents.bets(_tangents.scale_lines(0.8, "probit"))
    weights = np.exp(_tangents.weights())
    assert weights.sum() <= 1
    won = np.exp(np.array([812, 101, 87]) @ factors)
    posterior = weights * np.exp(np.array(prior) @ liked)
    posterior /= posterior.sum()
    want = math.log(0.1 * (weights * won).sum() + 0.9 * (posterior * won).sum())
    # The margin is a shade more than 0.8.
    assert want - 1e-8 <= test.log_capital[0] <= want


def test_the_capital_is_rounded_down_for_any_number_of_draws():
    # Against the same bets with 60 digits; the counts are near the null, where terms cancel.
    mpmath = pytest.importorskip("mpmath")
    lines = _tangents.scale_lines(2 * (0.8 * (1 + 1e-14) / 2 + 1e-15), "probit")
    test = rsbounds.MarginTest(0.2, 0, noise=GAUSS)
    weights = _tangents.weights().tolist()
    for n, extra in [(10**2, 0), (10**6, 3000), (10**9, 10**5), (10**12, 3 * 10**6)]:
        c = int(0.13 * n)
        a = int(curve(GAUSS, 0.2, 0.13) * n) + extra
        found = test.capital_of(np.array([[a, c, n - a - c]]), np.zeros(1, dtype=np.int64))[0]
        with mpmath.workdps(60):
            total, k = mpmath.mpf(0), 0
            for s, u, v in zip(lines.s.tolist(), lines.u.tolist(), lines.v.tolist(), strict=True):
                for x in _tangents._STAKES.tolist():
                    bet = -mpmath.expm1(-mpmath.mpf(x)) / (mpmath.mpf(s) + mpmath.mpf(u))
                    log = a * mpmath.log1p(bet * v) + c * mpmath.log1p(-bet * (s + mpmath.mpf(u)))
                    log += (n - a - c) * mpmath.log1p(-bet * u)
                    total += mpmath.exp(log + weights[k])
                    k += 1
            true = mpmath.log(total)
            assert found <= true
            assert true - found <= 1e-9 + 1e-14 * n, n


def test_more_votes_for_the_rival_never_help():
    rng = np.random.default_rng(3)
    capital = one_rival(GAUSS, 0.3, (50, 30, 20))
    votes = rng.multinomial(400, [0.7, 0.1, 0.2], size=200)
    moved = votes + np.array([0, 1, -1])
    assert (capital(moved) <= capital(votes) + 1e-9).all()


def test_it_beats_the_binary_test_and_says_yes_below_one_half():
    law = rsbounds.Gaussian(sigma=0.25)
    p = np.array([0.45, *[0.55 / 99] * 99])
    rng = np.random.default_rng(0)
    test = rsbounds.MarginTest(0.25, 0, noise=law)
    test.update(rng.multinomial(10_000, p))
    # Phi^-1(.45) - Phi^-1(.0055) = 2.4 > 2, with less than half of the votes.
    assert test.proven(alpha=0.001)[0]
    # With two classes there is nothing but the binary test.
    from rsbounds.bounds.mean._one_sided import log_capital

    two = rsbounds.MarginTest(0.25, 0, noise=law)
    two.update([930, 70])
    one = log_capital(np.array([930]), np.array([70]), ndtr([1.0]), ndtr([-1.0]), (0.5, 0.5))
    assert two.log_capital[0] > one[0] - 2.0


def test_radii_without_an_answer_are_never_proven():
    for law, r in [(GAUSS, 1e300), (GAUSS, 60.0), (rsbounds.Uniform(0.5), 0.6), (Laplace(), 400.0)]:
        test = rsbounds.MarginTest(r, 0, noise=law)
        test.update([10**9, 0])
        assert test.log_capital[0] <= 0
    test = rsbounds.MarginTest([0.1, 0.2], [rsbounds.NO_CLASS, 1], noise=GAUSS)
    test.update([[0, 500], [0, 500]])
    assert test.proven(alpha=0.01).tolist() == [False, True]


def test_counts_are_the_state():
    top = rsbounds.select_top([[9, 1], [8, 2]], independent=True)
    test = rsbounds.MarginTest([0.1, 0.2], top, noise=GAUSS, index=[4, 7])
    test.update([[90, 10], [70, 30]])
    state = json.loads(json.dumps(test.state()))
    other = rsbounds.MarginTest([0.1, 0.2], top, noise=GAUSS, index=[4, 7])
    other.restore(state)
    assert other.log_capital.tolist() == test.log_capital.tolist()
    assert pickle.loads(pickle.dumps(other)).n.tolist() == [100, 100]
    for change, message in [
        ({"radius": [0.1, 0.3]}, r"state has radius \[0.1, 0.3\]; allowed: \[0.1, 0.2\]"),
        ({"prior": [[9, 1], [9, 1]]}, "state has prior"),
        ({"prior": None}, "state has prior None"),
        ({"law": {"name": "gaussian", "sigma": 0.25}}, "state has law"),
        ({"top": [1, 0]}, r"state has top \[1, 0\]"),
        ({"index": [7, 4]}, r"state has index \[7, 4\]; allowed: \[4, 7\]"),
        ({"counts": [[90, 9], [70, 30]]}, "allowed: counts that have grown"),
        ({"counts": None}, "allowed: counts that have grown"),
        ({"counts": [[90.5, 10], [70, 30]]}, "whole numbers"),
        ({"more": 1}, "state has "),
    ]:
        with pytest.raises(ValueError, match=message):
            other.restore({**state, **change})
    assert other.log_capital.tolist() == test.log_capital.tolist()


def test_what_a_margin_test_refuses():
    class Curveless(Laplace):
        name = "curveless"
        roc = Noise.roc

    for arguments, message in [
        ({"radius": 0.0}, "radius is 0.0"),
        ({"radius": math.inf}, "radius is inf"),
        ({"radius": 1e-300}, "radius is 1e-300 with gaussian"),
        ({"noise": 0.5}, "noise is 0.5"),
        ({"noise": Curveless()}, "a law without a curve"),
        ({"top": -1.5}, "top"),
        ({"index": [0.5]}, r"index is \[0.5\]"),
        ({"radius": [0.1, 0.2], "top": rsbounds.select_top([[3, 1]])}, "allowed: 2, as many as"),
    ]:
        with pytest.raises(ValueError, match=message):
            rsbounds.MarginTest(**{"radius": 0.5, "top": 0, "noise": GAUSS, **arguments})
    test = rsbounds.MarginTest(0.5, 0, noise=GAUSS)
    test.update([3, 1])
    for bad in ([[3, 1], [1, 1]], [-1, 2], [0.5, 1], [3, 1, 1], [10**12, 0]):
        with pytest.raises(ValueError, match="allowed"):
            test.update(bad)
    assert test.counts.tolist() == [[3, 1]]
    chosen = rsbounds.MarginTest(0.5, rsbounds.select_top([[30, 11]]), noise=GAUSS)
    with pytest.raises(ValueError, match="same val"):
        chosen.update([30, 11])


def test_a_law_that_has_only_a_curve():
    law = Laplace()
    test = rsbounds.Decide([0.2, 0.2], [0, 0], noise=law, no="futile", limit=10_000)
    while test.active.any():
        test.update([[95, 3, 2], [50, 40, 10]])
    assert test.status.tolist() == ["yes", "futile"]
    assert test.certificates().radius.tolist() == [0.2, 0.0]
    for options in ({}, {"no": "futile", "competitors": "complement"}):
        with pytest.raises(ValueError, match="allowed: laws with a margin scale"):
            rsbounds.Decide(0.2, 0, noise=law, **options)
