"""The bet that replicates a digital option on a sum whose third moment is known.

To have 1/alpha at the end if the samples come out high, and nothing else, is a digital option;
its price, the capital over 1/alpha, is the probability p that it pays under the mean that is
bet against. Under the normal law that is Phi(y), and the bet phi(y)/(Phi(y) sd), sd that of the
sum of what is left (Kulldorff 1993 and Browne 1999 for Brownian motion). Where few samples
carry the variance that is far off. Here samples fall short by the third moment over the
second, s, as often as gives the variance: N falls, Poisson with mean k^2 = variance/s^2, and the
option pays if there are few enough of them. With the square roots of Poisson numbers near
normal, P(N <= r^2 - 3/4) = Phi(2 (r - k)); one fall more costs the share 1 - P(N <= r^2 - 7/4) / p
of the capital, which is the bet times s.

Any bet is valid: nothing here is more than a guess of what is good, and rounding is harmless.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri_exp

from rsbounds._kernels import kernel

#: Falls, as the root of their number, from which the logarithm of P is taken as straight.
MANY = 5.0

_LOWEST = -40.0
_STEPS = 1024
_ROOT_TWO, _ROOT_TWO_PI = math.sqrt(2.0), math.sqrt(2.0 * math.pi)


def _quantile_table() -> NDArray[np.float64]:
    """Phi^-1(p) for log p from _LOWEST to 0 in equal steps; finite at the end, never used."""
    log_p = np.linspace(_LOWEST, 0.0, _STEPS + 1)
    return np.append(ndtri_exp(log_p[:-1]), 9.0)


_QUANTILES = _quantile_table()


@kernel
def quantile(p: float) -> float:
    """Phi^-1(p), interpolated, for p in (0, 1); not below Phi^-1(e^-40)."""
    small = min(p, 1.0 - p)
    if small < 5e-18:
        return float(_QUANTILES[0]) if p < 0.5 else -float(_QUANTILES[0])
    place = (math.log(small) - _LOWEST) * (_STEPS / -_LOWEST)
    index = int(place)
    y = float(_QUANTILES[index] + (place - index) * (_QUANTILES[index + 1] - _QUANTILES[index]))
    return y if p < 0.5 else -y


@kernel
def stake(p: float, deviation: float, s: float) -> float:
    """The bet at a price p.

    Parameters
    ----------
    p : float
        Capital over the capital aimed at; at most 0 it is taken as very small.
    deviation : float
        Standard deviation of the sum of what is left, under the mean bet against, positive.
    s : float
        Size of a fall; negative where the samples rise.

    Returns
    -------
    float
        A stake, 0 or more, perhaps infinite: what little is left is to be risked.
    """
    if p >= 1.0:
        return 0.0
    p = max(p, 1e-17)
    y = quantile(p)
    root = deviation + 0.5 * s * y
    if s > 0.0 and deviation < MANY * s:
        root /= s
        if root <= 1.0:
            return 1.0 / s if root > 0.0 else math.inf
        after = 2.0 * (math.sqrt(root * root - 1.0) - deviation / s)
        return max(1.0 - 0.5 * math.erfc(-after / _ROOT_TWO) / p, 0.0) / s
    # Half a fall back: the middle of the step.
    square = root * root - (0.5 * s * s if s > 0.0 else 0.0)
    hazard = math.exp(-0.5 * y * y) / (_ROOT_TWO_PI * p)
    slope = hazard / max(math.sqrt(max(square, 0.0)), 0.05 * deviation)
    # (1 - e^-z)/z at z = s slope, by its series; a rise is the same from the other side.
    z = abs(s) * slope
    series = 1.0 + z * (0.5 + z / 6.0)
    if s < 0.0:
        return slope * min(series, 4.0)
    return slope * series / (1.0 + z * series)
