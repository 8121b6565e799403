"""The exact bound for many draws: which test each point of the table has, and what is left."""

from __future__ import annotations

import math

from rsbounds._kernels import apart
from rsbounds._numerics import normal_quantile
from rsbounds.bounds.margin._rows import Found
from rsbounds.bounds.margin.runner_up import separate_bound
from rsbounds.solvers._large import Window, largest_level, least_second

#: Margins below this are tested by the runner-up bound.
LOSING = -0.1


@apart
def many_draws(
    window: Window, alpha: float, beta: float, split: float, found: Found
) -> tuple[bool, float, float]:
    """(whether points with n q2 <= few are left, least and largest result that those can give).

    Each q is tested by a rule that q alone chooses: margins below ``LOSING``, and below zero
    where n q2 <= few, by the runner-up bound; else half-planes where n q2 >= few; else the
    ordering. The result is the smallest margin in the confidence set that is not rejected;
    where no q is left, it is in ``found``.
    """
    n, x1, x2, probit = window.n, window.x1, window.x2, window.probit
    level = alpha - beta
    simple, _, _ = separate_bound(float(x1), float(x2), float(n), level, split, probit)
    base = max(found.lower, simple)
    if simple < LOSING:
        found.lower, found.log_p = base, math.log(alpha)
        return False, base, base
    base = max(found.lower, LOSING)
    share = window.few / n
    most = math.inf
    if window.b2 > share:
        if probit:
            high = normal_quantile(x1 / n) if x1 < 0.5 * n else -normal_quantile(1.0 - x1 / n)
            high -= normal_quantile(max(x2, 1) / n)
            high = min(high, 40.0)
        else:
            high = (x1 - x2) / n
        target = math.log(level) - 1e-12
        most, cells, used = largest_level(window, base, max(high, base), target)
        found.cells += cells
        found.used += used
        most -= 1e-14 * (1.0 + abs(most))
        if least_second(window, most) > share:
            found.lower, found.log_p = max(found.lower, most), math.log(alpha)
            return False, most, most
    if simple < 0.0:
        found.lower, found.log_p = max(found.lower, min(simple, most)), math.log(alpha)
        return False, simple, most
    return True, 0.0, most
