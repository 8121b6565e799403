"""When to look: sample sizes at which a bound is computed."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rsbounds import _validate


def geometric_looks(first: int, last: int, ratio: float = 2.0) -> tuple[int, ...]:
    """Sample sizes that grow by a constant factor and end at ``last``.

    Parameters
    ----------
    first, last : int
        Smallest and largest sample size, 1 <= first <= last.
    ratio : float
        Largest factor between neighbours, above 1.

    Returns
    -------
    tuple of int
        Increasing sample sizes, from ``first`` to ``last`` in as few equal factors as ``ratio``
        allows, rounded; ``last`` alone where it equals ``first``.

    Raises
    ------
    ValueError
        first, last or ratio out of range.

    See Also
    --------
    rsbounds.Adaptive : Looks at these sizes, and stops when more draws would gain little.

    Examples
    --------
    >>> geometric_looks(1000, 100_000)
    (1000, 1931, 3728, 7197, 13895, 26827, 51795, 100000)
    """
    start = _validate.integer("first", first, low=1)
    stop = _validate.integer("last", last, low=start)
    _validate.number("ratio", ratio, "a finite number > 1", lambda v: 1 < v < math.inf)
    steps = max(math.ceil(math.log(stop / start) / math.log(ratio) - 1e-9), 0)
    if steps == 0:
        return (stop,)
    return checked_looks(round(start * (stop / start) ** (i / steps)) for i in range(steps + 1))


def checked_looks(looks: Iterable[int]) -> tuple[int, ...]:
    """Increasing sample sizes, at least one; duplicates are dropped."""
    sizes = sorted(
        {_validate.integer("looks", size, low=1, high=_validate.MAX_N) for size in looks}
    )
    if not sizes:
        raise ValueError("looks is empty; allowed: at least one sample size")
    return tuple(sizes)
