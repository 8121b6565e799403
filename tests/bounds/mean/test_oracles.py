"""Plain-Python implementations from the published formulas, and exact rational capital."""

import math
from fractions import Fraction
from statistics import NormalDist

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from rsbounds.bounds.mean import _capital, _option, goal, mean_bound, mixture
from rsbounds.sequential import confidence_sequence

RNG = np.random.default_rng(11)
ROWS = [
    RNG.beta(20, 2, 300),
    (RNG.random(300) < 0.9) * 1.0,
    RNG.beta(50, 0.5, 300),
    RNG.random(300),
    np.ones(40),
    np.r_[np.zeros(20), np.ones(200)],
]


def prpl_eb(x, alpha, fixed, running=True, cap=0.5):
    """ERRATA, PrPl-EB as published, one-sided."""
    n, total, squares = len(x), 0.0, 0.0
    mu, sigma2 = 0.5, 0.25
    won = paid = bets = 0.0
    best = last = 0.0
    for t, value in enumerate(x, start=1):
        budget = n if fixed else t * math.log(1 + t)
        bet = min(math.sqrt(2 * math.log(1 / alpha) / (sigma2 * budget)), cap)
        v = 4 * (value - mu) ** 2
        psi = (-math.log(1 - bet) - bet) / 4
        won += bet * value
        paid += v * psi
        bets += bet
        total += value
        mu = (0.5 + total) / (t + 1)
        squares += (value - mu) ** 2
        sigma2 = (0.25 + squares) / (t + 1)
        last = max((won - math.log(1 / alpha) - paid) / bets, 0.0)
        best = max(best, last)
    return best if running else last


def plug_in(x, alpha, fixed):
    n, total, squares, sigma2 = len(x), 0.0, 0.0, 0.25
    for t, value in enumerate(x, start=1):
        budget = n if fixed else t * math.log(1 + t)
        yield math.sqrt(2 * math.log(1 / alpha) / (sigma2 * budget))
        total += value
        squares += (value - (0.5 + total) / (t + 1)) ** 2
        sigma2 = (0.25 + squares) / (t + 1)


def best_capital(x, m, bets):
    """Largest log capital over time of the bets against m."""
    log, best = 0.0, 0.0
    for value, bet in zip(x, bets, strict=True):
        log += math.log1p(bet * (value - m))
        best = max(best, log)
    return best


def bisect(rejected):
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low


# No enumeration could tell ln(1/alpha) from the ln(2/alpha) that is proven: both are wide.
@pytest.mark.parametrize("alpha", [0.3, 0.001, 1e-100])
def test_the_plain_bounds_are_their_theorems(alpha):
    for row in ROWS:
        n, x = len(row), [Fraction(value) for value in row.tolist()]
        mean = sum(x) / n
        variance = sum((value - mean) ** 2 for value in x) / (n - 1)
        with mpmath.workdps(40):
            centre, spread = (mpmath.mpf(v.numerator) / v.denominator for v in (mean, variance))
            log_two, log_one = mpmath.log(2 / mpmath.mpf(alpha)), -mpmath.log(mpmath.mpf(alpha))
            width = mpmath.sqrt(2 * spread * log_two / n) + 7 * log_two / (3 * (n - 1))
            for method, wide in (
                ("empirical-bernstein", width),
                ("hoeffding", mpmath.sqrt(log_one / (2 * n))),
            ):
                exact = max(centre - wide, mpmath.mpf(0))
                found = mean_bound(row, alpha=alpha, method=method).lower[0]
                assert found <= exact
                assert exact - found <= 1e-12


@pytest.mark.parametrize("alpha", [0.1, 0.001])
@pytest.mark.parametrize("x", ROWS, ids=range(len(ROWS)))
def test_prpl_eb(x, alpha):
    for running in (True, False):
        got = mean_bound(x, alpha=alpha, method="prpl-eb", running=running).lower[0]
        want = prpl_eb(x, alpha, True, running)
        assert want - 1e-9 <= got <= want + 1e-15
    stream = confidence_sequence("prpl-eb", alpha=alpha, side="lower")
    stream.update(x)
    assert stream.lower[0] == pytest.approx(prpl_eb(x, alpha, False), abs=1e-9)


@pytest.mark.parametrize("cap", [0.3, 0.75, 0.99])
@pytest.mark.parametrize("x", ROWS, ids=range(len(ROWS)))
def test_betting(x, cap):
    alpha = 0.01
    for fixed in (True, False):
        wish = list(plug_in(x, alpha, fixed))
        want = bisect(
            lambda m, wish=wish: (
                m > 0 and best_capital(x, m, [min(w, cap / m) for w in wish]) >= math.log(1 / alpha)
            )
        )
        if fixed:
            got = mean_bound(x, alpha=alpha, method="betting", cap=cap).lower[0]
        else:
            stream = confidence_sequence("betting", alpha=alpha, side="lower", cap=cap)
            stream.update(x)
            got = stream.lower[0]
        assert want - 2e-10 <= got <= want + 1e-12


@pytest.mark.parametrize("x", ROWS, ids=range(len(ROWS)))
def test_mixture(x):
    alpha = 0.01

    def rejected(m):
        capital = np.array(mixture.WEIGHTS)
        for value in x:
            capital = capital * (1 - np.array(mixture.CAPS) * (1 - value / m))
            if capital.sum() >= 1 / alpha:
                return True
        return False

    got = mean_bound(x, alpha=alpha, method="mixture").lower[0]
    want = bisect(lambda m: m > 0 and rejected(m))
    assert want - 2e-10 <= got <= want + 1e-12


@pytest.mark.parametrize("alpha", [0.01, 1e-6])
@pytest.mark.parametrize("x", ROWS, ids=range(len(ROWS)))
def test_the_capital_at_the_bound_is_there_at_60_digits(x, alpha):
    # The bound claims that the capital of its own floating-point bets reached 1/alpha.
    with mpmath.workdps(60):
        m = mpmath.mpf(float(mean_bound(x, alpha=alpha, method="mixture").lower[0]))
        shares = np.array(mixture.WEIGHTS) / (np.sum(mixture.WEIGHTS) * (1 + 16 * 2.0**-52))
        capital = [mpmath.mpf(float(w)) for w in shares]
        caps = [mpmath.mpf(c) for c in mixture.CAPS]
        best = mpmath.mpf(0)
        for value in x:
            ratio = mpmath.mpf(float(value)) / m
            capital = [w * (1 - c + c * ratio) for w, c in zip(capital, caps, strict=True)]
            best = max(best, sum(capital))
        assert best >= 1 / mpmath.mpf(alpha)

        m = mpmath.mpf(float(mean_bound(x, alpha=alpha, method="betting").lower[0]))
        bets = np.empty(len(x))
        _capital.plug_in_bets(x, alpha, len(x), bets)
        total = best = mpmath.mpf(1)
        for value, bet in zip(x, bets, strict=True):
            stake = min(mpmath.mpf(float(bet)), mpmath.mpf(0.75) / m)
            total *= 1 + stake * (mpmath.mpf(float(value)) - m)
            best = max(best, total)
        assert best >= 1 / mpmath.mpf(alpha)


@given(
    st.floats(0, 1), st.floats(1e-9, 1), st.floats(1e-9, 1), st.floats(0, 50), st.floats(0.01, 0.99)
)
def test_a_factor_falls_with_the_candidate(x, a, b, wish, cap):
    low, high = sorted((Fraction(a), Fraction(b)))
    value, want, most = Fraction(x), Fraction(wish), Fraction(cap)
    at = [1 + min(want, most / m) * (value - m) for m in (low, high)]
    assert at[0] >= at[1] > 0


def test_weights_never_exceed_one():
    for weights in (mixture.WEIGHTS, goal.Goal().weights):
        shares = np.array(weights) / (np.sum(weights) * (1 + 16 * 2.0**-52))
        assert sum(Fraction(float(w)) for w in shares) <= 1


NORMAL = NormalDist()


def exact_stake(p, deviation, s):
    """The bet of `_option`, from its definition."""
    if p >= 1:
        return 0.0
    p = max(p, 1e-17)
    y = NORMAL.inv_cdf(p)
    r = deviation + s * y / 2
    if s > 0 and deviation / s < _option.MANY:
        r /= s
        if r <= 1:
            return 1 / s if r > 0 else math.inf
        return max(1 - NORMAL.cdf(2 * (math.sqrt(r * r - 1) - deviation / s)) / p, 0) / s
    square = r * r - (s * s / 2 if s > 0 else 0)
    slope = NORMAL.pdf(y) / p / max(math.sqrt(max(square, 0)), deviation / 20)
    z = abs(s) * slope
    series = 1 + z / 2 + z * z / 6
    return slope * min(series, 4) if s < 0 else slope * series / (1 + z * series)


def goal_capital(x, m, n, alpha, caps, weights, pilot, bet=exact_stake):
    """Total capital of the goal-reaching bets against m, from their definition."""
    capital = list(weights)
    lift = -NORMAL.inv_cdf(alpha / goal.AIM) / 2
    total, squares, cubes, best, held = goal.PRIOR_WEIGHT / 2, 0.0, 0.0, 0.0, 0
    for i, value in enumerate(x):
        mean = min(total / (i + goal.PRIOR_WEIGHT), 1)
        fall = (goal.PRIOR_FALLS * mean - cubes) / (squares + goal.PRIOR_FALLS)
        if i < pilot:
            spread = math.sqrt((squares + goal.PILOT_SQUARES) / (i + 1) * (n - i))
            wish = bet(alpha / goal.AIM, spread + lift * max(fall, 0), fall)
        elif i >= held:
            size, variance = min(fall, m), (squares + goal.PRIOR_SQUARES) / (i + 1)
            under = max(variance + size * (mean - m), goal.LEAST * variance)
            wish = bet(sum(capital) * alpha / goal.AIM, math.sqrt(under * (n - i)), size)
            held = i + max(1, min(goal.MOST_HELD, (n - i) // goal.STEPS_LEFT))
        capital = [
            w * (1 + min(wish, c / m) * (value - m)) for w, c in zip(capital, caps, strict=True)
        ]
        best = max(best, sum(capital))
        total += value
        step = value - total / (i + 1 + goal.PRIOR_WEIGHT)
        squares += step**2
        cubes += step**3
    return best


@pytest.mark.parametrize("x", ROWS, ids=range(len(ROWS)))
def test_goal(x):
    alpha, n = 0.01, len(x)
    method = goal.Goal()
    pilot = math.ceil(goal.PILOT_SHARE * n)
    grid = goal._grid(x[:pilot], n, alpha)
    assert (np.diff(grid) > 0).all()
    assert grid[-1] == 1.0
    got = mean_bound(x, alpha=alpha, method="goal").lower[0]
    cell = int(np.searchsorted(grid, got)) if got > 0 else -1
    settings = (n, alpha, method.caps, method.weights, pilot)
    if got > 0:
        assert grid[cell] == got
        # The bound is a candidate that was rejected, not the nearest one that was not.
        assert goal_capital(x, got, *settings, bet=_option.stake) >= (1 - 1e-9) / alpha
    # The table of quantiles is interpolated: allow the decision to differ by one cell.
    want = 0
    while goal_capital(x, grid[want], *settings) >= 1 / alpha:
        want += 1
    assert abs((want - 1) - cell) <= 1


def replay(x, m, alpha, method):
    """Capital against m over time, of the kernel's bets: in its arithmetic, and exact."""
    n, weights = len(x), np.array(method.weights) / (sum(method.weights) * (1 + 16 * 2.0**-52))
    pilot = math.ceil(goal.PILOT_SHARE * n)
    mean, variance, fall = np.empty(n), np.empty(n), np.empty(n)
    goal._shape(x, mean, variance, fall)
    openings = np.empty(pilot)
    goal._openings(variance, fall, pilot, alpha / goal.AIM, openings)
    capital = [float(w) for w in weights]
    exact, there = [mpmath.mpf(w) for w in capital], mpmath.mpf(float(m))
    path = [(sum(capital), sum(exact))]
    i = 0
    while i < n:
        wish, stop = openings[min(i, pilot - 1)], i + 1
        if i >= pilot:
            p = sum(capital) * (alpha / goal.AIM)
            wish = goal._bet(p, m, mean[i], variance[i], fall[i], n - i)
            stop = i + goal._held(i, n)
        bets = [min(float(wish), c / m) for c in method.caps]
        for value in x[i:stop].tolist():
            capital = [
                w * ((1.0 - bet * m) + bet * value) for w, bet in zip(capital, bets, strict=True)
            ]
            gains = [1 + mpmath.mpf(bet) * (mpmath.mpf(value) - there) for bet in bets]
            exact = [w * gain for w, gain in zip(exact, gains, strict=True)]
        path.append((sum(capital), sum(exact)))
        i = stop
    return path


MIXED = goal.Goal(caps=(0.5, 0.999), weights=(0.4, 0.6))


@pytest.mark.parametrize("method", [goal.Goal(), MIXED], ids=["one cap", "two caps"])
@pytest.mark.parametrize("alpha", [0.01, 1e-6])
@pytest.mark.parametrize("x", [*ROWS, RNG.beta(9, 1, 3000)], ids=range(len(ROWS) + 1))
def test_the_goal_was_reached_at_60_digits(x, alpha, method):
    found = float(method.lower(x[None], alpha)[0])
    grid = goal._grid(x[: math.ceil(goal.PILOT_SHARE * len(x))], len(x), alpha)
    limit = _capital.threshold(len(x), alpha, max(method.caps))
    with mpmath.workdps(60):
        if found > 0:
            reached = [exact for quick, exact in replay(x, found, alpha, method) if quick >= limit]
            assert reached
            assert reached[0] >= 1 / mpmath.mpf(alpha)
        after = float(grid[np.searchsorted(grid, found, side="right")])
        assert all(quick < limit for quick, _ in replay(x, after, alpha, method))


@pytest.mark.parametrize("m", [0.1, 0.5, 0.9, 0.97])
def test_the_goal_is_bet_on_fairly(m):
    # Over every path of votes whose mean is m the capital is one on average, exactly.
    n, alpha = 9, 0.05
    with mpmath.workdps(40):
        total = mpmath.mpf(0)
        for path in range(2**n):
            x = np.array([float(path >> i & 1) for i in range(n)])
            chance = mpmath.mpf(m) ** int(x.sum()) * (1 - mpmath.mpf(m)) ** int(n - x.sum())
            total += chance * replay(x, m, alpha, goal.Goal())[-1][1]
        assert abs(total - 1) < 1e-14


def test_quantile_table():
    for p in (*np.geomspace(1e-15, 0.5, 200), *(1 - np.geomspace(1e-9, 0.5, 200))):
        assert _option.quantile(p) == pytest.approx(NORMAL.inv_cdf(p), abs=2e-3)
    assert _option.quantile(1e-300) == _option.quantile(0.0) == -_option.quantile(1.0)


def test_the_stake_replicates_options_on_normal_and_poisson_sums():
    for p in np.geomspace(1e-12, 0.9, 40):
        hazard = NORMAL.pdf(NORMAL.inv_cdf(p)) / p
        for s in (-1e-9, 0.0, 1e-9):
            assert _option.stake(p, 30.0, s) == pytest.approx(hazard / 30.0, rel=1e-2)
    # Of N falls, at most k: one fall more leaves P(N < k) of P(N <= k).
    for mean in (3.0, 8.0, 24.0, 60.0, 400.0):
        for k in range(math.ceil(mean - 3.5 * math.sqrt(mean)), math.floor(mean)):
            if k > 1:
                p, less = poisson.cdf(k, mean), poisson.cdf(k - 1, mean)
                for s in (1.0, 0.3):
                    found = s * _option.stake(p, math.sqrt(mean) * s, s)
                    assert found == pytest.approx(1 - less / p, rel=0.17), (mean, k)


@given(st.floats(0, 2), st.floats(0, 1e6), st.floats(-1, 1), st.sampled_from([1.0, 1e-3, 1e-9]))
def test_no_stake_is_negative_or_not_a_number(p, deviation, s, scale):
    assert _option.stake(p, max(deviation * scale, 1e-12), s * scale) >= 0


def test_running_moments_are_those_of_the_samples():
    x = RNG.beta(3, 1, 4000)
    mean, variance, fall = np.empty(4000), np.empty(4000), np.empty(4000)
    goal._shape(x, mean, variance, fall)
    assert mean[-1] == pytest.approx(x.mean(), rel=1e-3)
    assert variance[-1] == pytest.approx(x.var(), rel=0.02)
    third = ((x.mean() - x) ** 3).mean()
    assert fall[-1] == pytest.approx(third / x.var(), rel=0.1)


def test_bets_do_not_see_the_sample_they_are_placed_on():
    x = RNG.random(50)
    for changed in (10, 49):
        other = x.copy()
        other[changed] = 1 - other[changed]
        first, second = np.empty(50), np.empty(50)
        for y, out in ((x, first), (other, second)):
            _capital.plug_in_bets(y, 0.01, 0, out)
        assert (first[: changed + 1] == second[: changed + 1]).all()
        for place in range(3):
            shapes = np.empty((2, 3, 50))
            for y, out in zip((x, other), shapes, strict=True):
                goal._shape(y, *out)
            assert (shapes[0, place, : changed + 1] == shapes[1, place, : changed + 1]).all()


def test_the_grid_rests_on_the_pilot_alone():
    x = RNG.beta(20, 2, 2000)
    other = x.copy()
    other[40:] = RNG.random(1960)
    assert (goal._grid(x[:40], 2000, 0.01) == goal._grid(other[:40], 2000, 0.01)).all()
