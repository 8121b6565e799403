"""Binomial tails and normal quantiles with error bounds, and safe-side inversion.

The kernels here are scalar, ``nogil`` and cached; the methods loop over them. Nothing in
this module knows what a bound is for. Two conventions hold throughout:

* a probability travels as the pair ``(p, q)`` with ``q = 1 - p``, and whichever of the two
  is small carries full relative accuracy;
* every routine that feeds a certificate comes with a bound on its own error, and the
  caller spends that bound on the safe side.
"""

from __future__ import annotations

import math

import numpy as np

from rsbounds._kernels import apart, part

EPS = 2.220446049250313e-16

# stirlerr(m) = log(m!) - log(sqrt(2 pi m) (m/e)^m) for m = 0..15, computed with mpmath at
# 50 digits: mp.log(mp.factorial(m)) - mp.log(mp.sqrt(2*mp.pi*m)*(m/mp.e)**m). Entry 0 is
# never used in a formula (terms with m = 0 are handled by their closed form).
_STIRLERR = np.array(
    [
        0.0,
        0.08106146679532726,
        0.0413406959554093,
        0.02767792568499834,
        0.020790672103765093,
        0.016644691189821193,
        0.013876128823070748,
        0.01189670994589177,
        0.010411265261972096,
        0.009255462182712733,
        0.00833056343336287,
        0.007573675487951841,
        0.00694284010720953,
        0.006408994188004207,
        0.0059513701127588475,
        0.005554733551962801,
    ]
)


@part
def stirlerr(m: float) -> float:
    """Error of Stirling's formula, log(m!) - log(sqrt(2 pi m) (m/e)^m), m >= 1."""
    if m < 16:
        return float(_STIRLERR[int(m)])
    m2 = m * m
    # Five terms: the first one left out, 691/(360360 m^11), is below 1.1e-16 from m = 16 on.
    return (
        1.0 / 12.0
        - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - (1.0 / 1188.0) / m2) / m2) / m2) / m2
    ) / m


@part
def deviance(x: float, mean: float) -> float:
    """X log(x/mean) + mean - x without cancellation, x > 0, mean > 0 (Loader 2000)."""
    d = x - mean
    if abs(d) < 0.1 * (x + mean):
        v = d / (x + mean)
        total = d * v
        if abs(total) < 1e-300:
            return total
        term = 2.0 * x * v
        v2 = v * v
        for j in range(1, 1000):
            term *= v2
            following = total + term / (2 * j + 1)
            if following == total:
                break
            total = following
        return total
    if mean > 0.5 * x:
        r = -d / x
        return x * (r - math.log1p(r))
    return x * math.log(x / mean) + mean - x


@apart
def log_binom_pmf(k: float, n: float, p: float, q: float) -> float:
    """Log P(Bin(n, p) = k) in saddle-point form; q = 1 - p is passed for its accuracy."""
    if k == 0:
        return n * math.log1p(-p) if p < 0.5 else n * math.log(q)
    if k == n:
        return n * math.log1p(-q) if q < 0.5 else n * math.log(p)
    correction = stirlerr(n) - stirlerr(k) - stirlerr(n - k)
    exponent = correction - deviance(k, n * p) - deviance(n - k, n * q)
    return exponent + 0.5 * math.log(n / (2.0 * math.pi * k * (n - k)))


@apart
def _tail_fraction(k: float, n: float, p: float, q: float) -> tuple[float, float]:
    """Continued fraction F with P(Bin(n, p) >= k) = k q pmf(k) / F, and its relative error.

    For p <= k/(n+1) every partial numerator and denominator is positive, so the forward
    recurrence loses no accuracy and successive convergents bracket the value (DiDonato and
    Morris 1992, procedure BFRAC; the fraction ends because n - k + 1 is an integer).
    """
    a = k
    b = n - k + 1.0
    lam = k * q - b * p
    first = a * (lam + 1.0) / (a + 1.0)
    num_prev, num = 1.0, first
    den_prev, den = 0.0, 1.0
    value = first
    alpha_1 = 0.0
    m = 0.0
    while m + 1.0 < b:
        m += 1.0
        a2m = a + 2.0 * m - 1.0
        mbm = m * (b - m) * p
        alpha_m = (a + m - 1.0) * (a + b + m - 1.0) * p * mbm / (a2m * a2m)
        beta_m = m + mbm / a2m + (a + m) * (lam + 1.0 + m * (1.0 + q)) / (a + 2.0 * m + 1.0)
        if m == 1.0:
            alpha_1 = alpha_m
        num_next = beta_m * num + alpha_m * num_prev
        den_next = beta_m * den + alpha_m * den_prev
        num_prev, num = num, num_next
        den_prev, den = den, den_next
        if num > 1e250:
            num_prev *= 1e-250
            num *= 1e-250
            den_prev *= 1e-250
            den *= 1e-250
        latest = num / den
        converged = abs(latest - value) <= 1e-16 * latest
        value = latest
        if converged:
            break
    # lam is a difference: its rounding error EPS (k q + b p) moves F = first + alpha_1/D_1
    # by at most max(d first, alpha_1/D_1^2) <= max(1, (F - first)^2/alpha_1) times as much.
    sensitivity = 1.0
    if alpha_1 > 0.0:
        sensitivity = max(1.0, (value - first) * (value - first) / alpha_1)
    error = 10.0 * EPS * (m + 1.0) + 2.0 * EPS * (k * q + b * p) * sensitivity / value
    return value, error


@apart
def upper_tail(k: float, n: float, p: float, q: float) -> tuple[float, float, float]:
    """Log of P(Bin(n, p) >= k), its derivative in p, and a bound on the error of the log.

    Requires 1 <= k <= n and 0 < p, q < 1. Read the third number as: the true logarithm for
    *these* floating-point p and q = 1 - p differs from the first by no more than that.
    """
    if p * (n + 1.0) <= k:
        fraction, error = _tail_fraction(k, n, p, q)
        log_pmf = log_binom_pmf(k, n, p, q)
        log_tail = math.log(k) + math.log(q) + log_pmf - math.log(fraction)
        slope = fraction / (p * q)
        return log_tail, slope, error + _pmf_error(k, n, p, log_pmf)
    # In the bulk: one minus the other tail, which is at most about a half there.
    m = n - k + 1.0
    fraction, error = _tail_fraction(m, n, q, p)
    log_pmf = log_binom_pmf(m, n, q, p)
    other = math.exp(math.log(m) + math.log(p) + log_pmf - math.log(fraction))
    other = min(other, 1.0 - EPS)
    tail = 1.0 - other
    slope = other * fraction / (p * q * tail)
    error = (error + _pmf_error(m, n, q, log_pmf)) * other / tail + 2.0 * EPS / tail
    return math.log1p(-other), slope, error


@part
def _pmf_error(k: float, n: float, p: float, log_pmf: float) -> float:
    # Roundings of n p and n q move the log by EPS |k - n p| each; the deviances, whose sum is
    # about -log_pmf, are good to 12 EPS of themselves; the logarithms cost a few ulps.
    size = abs(log_pmf) + math.log(n + 1.0)
    return EPS * (30.0 + 15.0 * size + 3.0 * abs(k - n * p))


@apart
def _binomial_guess(k: float, n: float, alpha: float) -> tuple[float, float]:
    """Rough p with P(Bin(n, p) >= k) near alpha (Abramowitz and Stegun 26.5.22)."""
    a = k
    b = n - k + 1.0
    if a > 1.0 and b > 1.0:
        y = -normal_quantile(alpha) if alpha < 0.5 else normal_quantile(1.0 - alpha)
        r = (y * y - 3.0) / 6.0
        s = 1.0 / (2.0 * a - 1.0)
        t = 1.0 / (2.0 * b - 1.0)
        h = 2.0 / (s + t)
        w = y * math.sqrt(max(h + r, 0.0)) / h - (t - s) * (r + 5.0 / 6.0 - 2.0 / (3.0 * h))
        w = min(max(w, -300.0), 300.0)
        odds = a / b * math.exp(-2.0 * w)
        return odds / (1.0 + odds), 1.0 / (1.0 + odds)
    return a / (a + b), b / (a + b)


@apart
def proportion_lower(k: float, n: float, alpha: float) -> tuple[float, float]:
    """Largest p proven to satisfy P(Bin(n, p) >= k) <= alpha, as the pair (p, 1 - p).

    The first number is rounded down and the second up. Newton's method on the log of the
    tail, which is concave in p and in log p (the tail is a beta distribution function), so
    in exact arithmetic every iterate after the first lies on the safe side; the last step
    aims below alpha by the proven evaluation error.
    """
    if k <= 0:
        return 0.0, 1.0
    log_alpha = math.log(alpha)
    if k == n:
        q = -math.expm1(log_alpha / n) * (1.0 + 8.0 * EPS)
        p = math.exp(log_alpha / n) * (1.0 - 8.0 * EPS * (1.0 - log_alpha / n))
        return min(p, 1.0), min(q, 1.0)
    if k == 1:
        p = -math.expm1(math.log1p(-alpha) / n) * (1.0 - 8.0 * EPS)
        return p, min((1.0 - p) * (1.0 + EPS), 1.0)
    p, q = _binomial_guess(k, n, alpha)
    return polish_proportion_lower(k, n, log_alpha, p, q)


@apart
def polish_proportion_lower(
    k: float, n: float, log_alpha: float, p: float, q: float
) -> tuple[float, float]:
    """The Newton iteration of `proportion_lower` from a starting pair (2 <= k <= n - 1)."""
    for _ in range(200):
        log_tail, slope, error = upper_tail(k, n, p, q)
        gap = log_alpha - log_tail - 2.0 * error - 4.0 * EPS * (1.0 - log_alpha)
        step = gap / slope
        if p <= 0.5:
            # Step in log p: the tail behaves like p^k there.
            p *= math.exp(min(max(step / p, -50.0), 1.0))
            if p > 0.75:
                p = 0.75
            q = 1.0 - p
        else:
            # Step in q = 1 - p; a start that is far off may ask for more than there is.
            q = min(max(q - step, 0.01 * q), 0.5 * (1.0 + q))
            p = 1.0 - q
        # What Newton leaves is about f''/(2 f') step^2 in p, where for a normal tail
        # f''/f' = f'/z^2 and z^2 is near -2 log alpha.
        if slope * step * step <= 2e-15 * (1.0 - 2.0 * log_alpha) * min(p, q):
            break
    if p <= 0.5:
        p *= 1.0 - 8.0 * EPS
        return p, min((1.0 - p) * (1.0 + EPS), 1.0)
    q *= 1.0 + 8.0 * EPS
    return (1.0 - q) * (1.0 - EPS), q


@part
def _normal_tail_quantile(p: float) -> float:
    """X >= 0 with P(Z > x) = p for 1e-300 <= p <= 1/2."""
    t = math.sqrt(-2.0 * math.log(p))
    # Abramowitz and Stegun 26.2.23 (error below 4.5e-4), then two steps of Halley's method.
    x = t - (2.515517 + 0.802853 * t + 0.010328 * t * t) / (
        1.0 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t * t * t
    )
    for _ in range(2):
        density = math.exp(-0.5 * x * x) * 0.3989422804014327
        u = (0.5 * math.erfc(x * 0.7071067811865476) - p) / density
        x += u / (1.0 - 0.5 * x * u)
    return x


@part
def normal_quantile(p: float) -> float:
    """Phi^-1(p), to a few ulps for p <= 1/2 (pass 1 - p and negate for the other half)."""
    if p <= 0.0:
        return -math.inf
    if p >= 1.0:
        return math.inf
    if p < 1e-300:
        return -37.1
    if p <= 0.5:
        return -_normal_tail_quantile(p)
    return _normal_tail_quantile(1.0 - p)


@apart
def probit_down(p: float, q: float) -> float:
    """A number not above Phi^-1 of the true probability, for a pair rounded down."""
    if p <= q:
        if p < 1e-300:
            return -math.inf
        x = -_normal_tail_quantile(p)
    else:
        if q < 1e-300:
            return 37.0
        x = _normal_tail_quantile(q)
    return x - 8.0 * EPS * (1.0 + abs(x))


@apart
def probit_up(p: float, q: float) -> float:
    """A number not below Phi^-1 of the true probability, for a pair rounded up."""
    return -probit_down(q, p)


@apart
def margin_down(p_a: float, q_a: float, p_b: float, q_b: float, probit: bool) -> float:
    """g(p_A, p_B) rounded down, for p_A rounded down and p_B rounded up."""
    if probit:
        high = probit_up(p_b, q_b)
        low = probit_down(p_a, q_a)
        if low == -math.inf or high == math.inf:
            return -math.inf
        value = low - high
        return value - 2.0 * EPS * abs(value)
    # Cancellation where both are near one: use the small numbers instead.
    value = p_a - p_b if p_a + p_b <= 1.0 else q_b - q_a
    return max(value - 2.0 * EPS * (abs(value) + EPS), -1.0)
