"""Which order statistic lies below a quantile, with a stated error probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds.bounds.proportion.clopper_pearson import clopper_pearson_upper


def lower_rank(n: int, b: ArrayLike, *, alpha: float) -> NDArray[np.int64]:
    """The largest j for which P(Y < Y_(j)) <= b with probability at least 1 - alpha.

    Y_(1) <= .. <= Y_(n) are n independent draws of Y in order. The values y with P(Y < y) <= b are
    those up to some y*, which have probability at least b together. If P(Y < Y_(j)) > b, then at
    most j - 1 draws are among them, with probability at most P(Bin(n, b) <= j - 1). That is at most
    alpha exactly where the Clopper-Pearson upper bound at j - 1 of n is at most b. Y needs no
    density: ties only help. By symmetry P(Y > Y_(n + 1 - j)) <= b for the same j.

    Parameters
    ----------
    n : int
        Draws, fixed in advance.
    b : float array_like
        Probabilities from 0 to 1.
    alpha : float
        Error probability.

    Returns
    -------
    int64 ndarray
        Ranks from 1 to n; 0 where there is none.

    Raises
    ------
    ValueError
        n below 1, b outside [0, 1], or alpha out of range.

    Examples
    --------
    >>> from rsbounds.bounds.proportion import lower_rank
    >>> lower_rank(1000, [0.5, 0.1, 0.001], alpha=0.001)
    array([451,  72,   0])
    """
    _validate.integer("n", n, low=1, high=_validate.MAX_N)
    level = _validate.alpha(alpha)
    given = _validate.real_array("b", b)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"b is {b!r}; allowed: probabilities from 0 to 1")
    distinct, back = np.unique(given, return_inverse=True)
    # Upper bounds rise with the count: they are at most b up to `low` - 1, and not from `high` - 1.
    low = np.zeros(distinct.size, dtype=np.int64)
    high = np.full(distinct.size, n + 1, dtype=np.int64)
    while (high - low > 1).any():
        middle = (low + high) // 2
        fits = clopper_pearson_upper(np.maximum(middle - 1, 0), n, alpha=level) <= distinct
        open_ = high - low > 1
        low, high = np.where(open_ & fits, middle, low), np.where(open_ & ~fits, middle, high)
    return np.asarray(low[back].reshape(given.shape))
