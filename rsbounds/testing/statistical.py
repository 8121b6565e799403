"""Statistical assertions with a stated false-alarm rate."""

from __future__ import annotations

from rsbounds import _validate
from rsbounds.bounds.proportion import clopper_pearson_lower


def assert_error_rate(
    failures: int, trials: int, alpha: float, *, false_alarm: float = 1e-6
) -> None:
    """Fail where the observed failures cannot come from an error probability of alpha.

    A procedure whose error probability is at most ``alpha`` fails this assertion with
    probability at most ``false_alarm`` (Clopper and Pearson 1934).

    Parameters
    ----------
    failures, trials : int
        Wrong statements, and independent trials.
    alpha : float
        Error probability that is claimed.
    false_alarm : float
        Probability of failing a correct procedure.

    Raises
    ------
    AssertionError
        The claim is refuted.
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> from rsbounds.testing import assert_error_rate
    >>> assert_error_rate(failures=4, trials=1000, alpha=0.001)
    >>> assert_error_rate(failures=40, trials=1000, alpha=0.001)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: 40 failures in 1000 trials: the error probability is at least 0.0169, ...
    """
    _validate.integer("trials", trials, low=1)
    _validate.integer("failures", failures, low=0, high=trials)
    level, chance = _validate.alpha(alpha), _validate.alpha(false_alarm, "false_alarm")
    at_least = float(clopper_pearson_lower(failures, trials, alpha=chance))
    if at_least > level:
        raise AssertionError(
            f"{failures} failures in {trials} trials: the error probability is at least "
            f"{at_least:.3g}, claimed at most {level:g}"
        )
