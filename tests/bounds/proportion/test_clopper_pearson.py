import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mpf
from scipy import stats

import rsbounds
from rsbounds.testing import exact_coverage
from rsbounds.testing.strategies import alphas

mpmath.mp.dps = 50

SIZES = [1, 2, 3, 10, 1000, 10**5, 10**7, 10**9]
ALPHAS = [0.5, 0.3, 0.05, 1e-3, 1e-6, 1e-9, 1e-15]


def reference_lower(k, n, alpha, start):
    """The exact bound by Newton's method on the tail in 50 digits, and 1 minus it.

    Terms of the tail are summed by their ratio; the tail is written with the small one of p
    and 1 - p as the unknown, so that nothing cancels.
    """
    k, n = int(k), int(n)
    log_choose = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
    p = mpf(start)
    for _ in range(60):
        q = 1 - p
        log_pmf = log_choose + k * mpmath.log(p) + (n - k) * mpmath.log(q)
        # sum_{j>=k} pmf(j)/pmf(k) = 2F1(1, k - n; k + 1; -p/q), by Gauss' continued fraction
        # evaluated from the back.
        ratio = continued_ratio(k, n, p, q)
        gap = mpmath.log(mpf(alpha)) - log_pmf - mpmath.log(ratio)
        step = gap * ratio * p / k
        p += step
        if abs(step) < min(p, 1 - p) * mpf(10) ** -30:
            break
    return p, 1 - p


def continued_ratio(k, n, p, q):
    """sum_{j >= k} P(j)/P(k): the incomplete beta fraction in its Numerical-Recipes form."""
    a, b, x = k, n - k + 1, p
    # I_x(a, b) = x^a y^b / (a B(a, b)) * h and pmf(k) = x^k y^(n-k) / (k B(k, n-k+1)).
    tiny = mpf(10) ** -200
    c, d = mpf(1), 1 - (a + b) * x / (a + 1)
    d = 1 / (d if d != 0 else tiny)
    h = d
    for m in range(1, 400_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 + even * d, 1 + even / c
        d = 1 / (d if d != 0 else tiny)
        c = c if c != 0 else tiny
        h *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 + odd * d, 1 + odd / c
        d = 1 / (d if d != 0 else tiny)
        c = c if c != 0 else tiny
        h *= d * c
        if abs(d * c - 1) < mpf(10) ** -40:
            return h * q
    raise AssertionError("no convergence")


@pytest.mark.parametrize("n", SIZES)
def test_to_1e12_and_never_unsound_against_50_digits(n):
    for k in sorted(k for k in {1, n // 2, n - 1, n} if k >= 1):
        for alpha in ALPHAS:
            if n >= 10**9 and alpha > 0.05 and 1 < k < n - 1:
                continue  # the reference takes minutes; the next test covers the centre
            got = float(rsbounds.clopper_pearson_lower(k, n, alpha=alpha))
            got_upper = float(rsbounds.clopper_pearson_upper(n - k, n, alpha=alpha))
            if k == n:
                log_p = mpmath.log(mpf(alpha)) / n
                p, q = mpmath.exp(log_p), -mpmath.expm1(log_p)
            else:
                p, q = reference_lower(k, n, alpha, got)
            assert 0 <= (p - mpf(got)) / p <= 1e-12, (k, n, alpha)
            assert 0 <= (mpf(got_upper) - q) / q <= 1e-12, (k, n, alpha)


@pytest.mark.parametrize("n", [10**7, 10**9])
def test_centre_of_large_samples_against_a_normal_expansion(n):
    # k = n/2, alpha = 1/2: the beta median; Kerman's expansion is good to O(1/n^2) relative.
    k = n // 2
    got = float(rsbounds.clopper_pearson_lower(k, n, alpha=0.5))
    median = stats.beta.ppf(0.5, k, n - k + 1)
    assert got <= median * (1 + 1e-12)
    assert got == pytest.approx((k - 1 / 3) / (n + 1 / 3), rel=1e-11)


def test_edges():
    assert rsbounds.clopper_pearson_lower(0, 10, alpha=0.05) == 0.0
    assert rsbounds.clopper_pearson_upper(10, 10, alpha=0.05) == 1.0
    assert rsbounds.clopper_pearson_lower(10, 10, alpha=0.05) <= 0.05**0.1
    assert rsbounds.clopper_pearson_lower(1, 1, alpha=0.05) == pytest.approx(0.05, rel=1e-14)
    assert rsbounds.clopper_pearson_lower(3, 10, alpha=0.999) > 0.3
    assert rsbounds.clopper_pearson_lower([], [], alpha=0.05).shape == (0,)


@given(st.data(), st.integers(1, 10**6), alphas(1e-10, 0.5))
def test_agrees_with_scipy(data, n, alpha):
    k = data.draw(st.integers(0, n))
    lower = rsbounds.clopper_pearson_lower(k, n, alpha=alpha)
    upper = rsbounds.clopper_pearson_upper(k, n, alpha=alpha)
    assert 0 <= lower <= k / n * (1 + 1e-12) or alpha > 0.3
    if k > 0:
        assert lower == pytest.approx(stats.beta.ppf(alpha, k, n - k + 1), rel=1e-8)
    if k < n:
        assert upper == pytest.approx(stats.beta.isf(alpha, k + 1, n - k), rel=1e-8)


def test_agrees_with_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    for k in (0, 1, 37, 99, 100):
        theirs = proportion_confint(k, 100, alpha=0.01, method="beta")
        ours = rsbounds.clopper_pearson_interval(k, 100, alpha=0.01)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-300)


def test_broadcasts_and_equals_the_scalar_call():
    k, n = np.array([[1, 5, 9]]), np.array([[10], [20]])
    alpha = np.array([[[0.05]], [[0.001]]])
    got = rsbounds.clopper_pearson_lower(k, n, alpha=alpha)
    assert got.shape == (2, 2, 3)
    assert got[1, 0, 2] == rsbounds.clopper_pearson_lower(9, 10, alpha=0.001)
    many = np.random.default_rng(0).integers(0, 1001, 20_000)
    table = rsbounds.clopper_pearson_upper(many, 1000, alpha=0.01)
    some = slice(0, 50)
    each = [float(rsbounds.clopper_pearson_upper(int(c), 1000, alpha=0.01)) for c in many[some]]
    assert table[some].tolist() == each


def test_does_not_depend_on_threads(monkeypatch):
    k = np.random.default_rng(0).integers(0, 10**6, 30_000)
    monkeypatch.setenv("RSBOUNDS_NUM_THREADS", "1")
    one = rsbounds.clopper_pearson_lower(k, 10**6, alpha=0.001)
    monkeypatch.setenv("RSBOUNDS_NUM_THREADS", "3")
    three = rsbounds.clopper_pearson_lower(k, 10**6, alpha=0.001)
    assert (one == three).all()
    monkeypatch.setenv("RSBOUNDS_NUM_THREADS", "none")
    with pytest.raises(ValueError, match="RSBOUNDS_NUM_THREADS is 'none'"):
        rsbounds.clopper_pearson_lower(k, 10**6, alpha=0.001)


@pytest.mark.parametrize("n", [1, 4, 30])
@pytest.mark.parametrize("alpha", [0.3, 0.05, 1e-3])
def test_exact_coverage(n, alpha):
    # At every p: the supremum is beside the bounds, and it is alpha.
    for side, bound in (
        ("lower", rsbounds.clopper_pearson_lower),
        ("upper", rsbounds.clopper_pearson_upper),
    ):
        found = exact_coverage(lambda k, b=bound: b(k, n, alpha=alpha), n, side=side)
        found.assert_at_most(alpha)
        assert found.worst_error >= alpha * (1 - 1e-6)


def test_randomized_has_error_probability_alpha():
    # Averaged over a grid of uniforms (midpoints), the error is alpha for every p inside.
    from rsbounds.bounds.proportion.clopper_pearson import lower_pairs

    n, alpha, cuts = 12, 0.05, 400
    errors = []
    for u in (np.arange(cuts) + 0.5) / cuts:

        def lower(k, u=u):
            size = np.full(k.size, n), np.full(k.size, alpha), np.full(k.size, u)
            return lower_pairs(k, *size)[0]

        errors.append(exact_coverage(lower, n, (0.2, 0.5, 0.9)).errors)
    assert np.mean(errors, axis=0) == pytest.approx(alpha, rel=0.02)


def test_randomized_is_tighter_seeded_and_explicit():
    k = np.arange(0, 51)
    plain = rsbounds.clopper_pearson_lower(k, 50, alpha=0.01)
    drawn = rsbounds.clopper_pearson_lower(k, 50, alpha=0.01, randomized=True, seed=3)
    again = rsbounds.clopper_pearson_lower(k, 50, alpha=0.01, randomized=True, seed=3)
    other = rsbounds.clopper_pearson_lower(k, 50, alpha=0.01, randomized=True, seed=4)
    assert (drawn >= plain).all()
    assert (drawn == again).all()
    assert (drawn != other).any()
    # Its defining equation, by scipy.
    u = np.random.Generator(np.random.Philox(3)).random(51)
    inside = drawn > 0
    tail = stats.binom.sf(k, 50, drawn) + u * stats.binom.pmf(k, 50, drawn)
    np.testing.assert_allclose(tail[inside & (drawn < 1)], 0.01, rtol=1e-9)
    with pytest.raises(ValueError, match="seed is None"):
        rsbounds.clopper_pearson_lower(k, 50, alpha=0.01, randomized=True)
    with pytest.raises(ValueError, match="only with randomized=True"):
        rsbounds.clopper_pearson_lower(k, 50, alpha=0.01, seed=1)


@settings(max_examples=60)
@given(st.data(), st.integers(1, 10**9), alphas())
def test_monotone_in_k_and_alpha_and_symmetric(data, n, alpha):
    k = data.draw(st.integers(0, n - 1))
    low = [float(rsbounds.clopper_pearson_lower(j, n, alpha=alpha)) for j in (k, k + 1)]
    assert low[0] <= low[1]
    assert rsbounds.clopper_pearson_lower(k, n, alpha=alpha / 2) <= low[0]
    upper = float(rsbounds.clopper_pearson_upper(n - k, n, alpha=alpha))
    assert upper == pytest.approx(1 - low[0], abs=1e-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2, 0.1), "k is 3 with n = 2; allowed: k <= n"),
        ((-1, 2, 0.1), "k is -1"),
        ((1.5, 2, 0.1), "k is 1.5"),
        ((float("nan"), 2, 0.1), "k is nan"),
        (("a", 2, 0.1), "k is 'a'"),
        ((1, 0, 0.1), "n is 0"),
        ((1, 10**13, 0.1), "n is 10000000000000"),
        ((1, 2, 0.0), "alpha is 0.0"),
        ((1, 2, 1.0), "alpha is 1.0"),
        ((1, 2, float("nan")), "alpha is nan"),
        (([1, 2], [1, 2, 3], 0.1), "broadcast together"),
    ],
)
def test_bad_input_is_named(arguments, message):
    k, n, alpha = arguments
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        rsbounds.clopper_pearson_lower(k, n, alpha=alpha)
