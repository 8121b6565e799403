"""Statistical assertions with a stated false-alarm rate.

The sequential ones draw trials until the claim is refuted or accepted. Two gamblers bet on the
trials, one against the claim, with a capital that reaches 1/false_alarm only with probability
``false_alarm`` where the claim is true, and one against its opposite, whose capital reaches 1000
with probability 1e-3 at most where the claim is false (Ville 1939; nonnegative supermartingales,
so that the assertion may look after every trial and stop when it likes). If neither got there
within ``max_trials`` the claim passes as "not refuted".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.bounds.mean import confidence_sequence
from rsbounds.bounds.mean._samples import SIDES, Side, checked_samples, checked_support, to_unit
from rsbounds.bounds.proportion import clopper_pearson_lower
from rsbounds.testing._bets import Odds, Twins, mean_could_reach, mean_reaches
from rsbounds.testing._coverage import outside, split_sides
from rsbounds.testing._trials import (
    MISSED_ALARM,
    Drawn,
    Finding,
    Refuted,
    Verdict,
    batches,
    booleans,
    checked_seed,
    name_of,
    numbers,
    refuted,
)

Event = Callable[[np.random.Generator], Any]
_EPS = float(np.finfo(np.float64).eps)


def assert_error_rate(
    failures: int, trials: int, alpha: float, *, false_alarm: float = 1e-6
) -> None:
    """Fail where the observed failures cannot come from an error probability of alpha.

    For trials that were made already, a number fixed in advance: a procedure whose error
    probability is at most ``alpha`` fails this assertion with probability at most
    ``false_alarm`` (Clopper and Pearson 1934). `assert_probability_at_most` makes its own.

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
    rsbounds.testing.Refuted: 40 failures in 1000 trials: the error probability is at ...
    """
    __tracebackhide__ = True
    _validate.integer("trials", trials, low=1)
    _validate.integer("failures", failures, low=0, high=trials)
    level, chance = _validate.alpha(alpha), _validate.alpha(false_alarm, "false_alarm")
    at_least = float(clopper_pearson_lower(failures, trials, alpha=chance))
    if at_least > level:
        raise Refuted(
            f"{failures} failures in {trials} trials: the error probability is at least "
            f"{at_least:.3g}, claimed at most {level:g}"
        )


def _inside(name: str, value: Any) -> float:
    # Beyond, no capital can be computed, and no number of trials would do.
    return _validate.number(
        name, value, "a number with 0 < value < 1, 1e-12 or more from both",
        lambda v: 1e-12 <= v <= 1.0 - 1e-12,
    )  # fmt: skip


def _checked_trials(max_trials: int | None, default: float) -> int:
    if max_trials is None:
        return math.ceil(default)
    return _validate.integer("max_trials", max_trials, low=1, high=_validate.MAX_N)


def _probability(
    event: Event,
    read: Callable[[Any], NDArray[Any]],
    p: float,
    at_most: bool,
    claim: str,
    name: str,
    false_alarm: float,
    max_trials: int | None,
    seed: int | None,
) -> Finding:
    """Trials of an event until "its probability is at most p" (or at least) is settled."""
    __tracebackhide__ = True
    level = -math.log(_validate.alpha(false_alarm, "false_alarm"))
    most = _checked_trials(max_trials, max(1000.0, 50.0 * level) / min(p, 1.0 - p))
    root = checked_seed(seed)
    odds = Odds(p)
    below, above = odds.against_at_least, odds.against_at_most
    against, opposite = (above, below) if at_most else (below, above)

    def could(n: int) -> bool:
        s = np.array([n if at_most else 0])
        return bool(against(s, n - s)[0] >= level)

    drawn = Drawn(event, np.random.default_rng(root), root, name)
    s = 0
    settled: Verdict = "not refuted"
    for batch in batches(drawn, read, most, could):
        s += sum(int(values.sum()) for values in batch)
        n = drawn.trials
        hits, rest = np.array([s]), np.array([n - s])
        # Where no alternative could have reached it, nothing needs to be integrated.
        if odds.could_reach(s, n - s, level) and against(hits, rest)[0] >= level:
            settled = "refuted"
            break
        if odds.could_reach(s, n - s, -math.log(MISSED_ALARM)) and (
            opposite(hits, rest)[0] >= -math.log(MISSED_ALARM)
        ):
            settled = "accepted"
            break
    drawn.finish()
    low, high = odds.interval(s, drawn.trials, false_alarm)
    found = Finding(settled, s / drawn.trials, low, high, drawn.trials, root, false_alarm)
    if settled == "refuted":
        raise refuted(claim, f"{s} of {drawn.trials} trials", found)
    return found


def assert_probability_at_most(
    event: Event,
    p: float,
    *,
    false_alarm: float = 1e-9,
    max_trials: int | None = None,
    seed: int | None = None,
) -> Finding:
    """Fail where an event is likelier than p.

    An event of probability at most ``p`` fails with probability ``false_alarm`` at most, however
    many trials were made: the capital of bets against it is an average of likelihood ratios of
    larger probabilities against p, each of which has mean at most one per trial, and a
    nonnegative supermartingale from 1 reaches 1/false_alarm with probability at most
    false_alarm (Ville 1939). An event of probability above p is "accepted" with probability
    1e-3 at most, by the same argument; it may be "not refuted" where it is so close to p that
    ``max_trials`` come first. At false_alarm 1e-9 an event of half the probability p takes
    about 51/p trials, one of twice p is caught after about 56/p.

    Parameters
    ----------
    event : callable
        Given a numpy Generator, True or False; or an array (m,) of them, m independent trials.
        All of its randomness comes from the generator.
    p : float
        Probability claimed, strictly between 0 and 1 (by 1e-12 or more).
    false_alarm : float
        Probability of failing a true claim.
    max_trials : int, optional
        Trials after which the claim passes; by default 1000 / min(p, 1 - p), and more where
        false_alarm is below 1e-9: enough to refute a claim that is wrong by a quarter.
    seed : int, optional
        Of the generator; by default a fresh one, which a failure names.

    Returns
    -------
    Finding
        Estimate, interval, trials, seed, and whether the claim was accepted.

    Raises
    ------
    AssertionError
        The claim is refuted; the message has estimate, interval, trials and seed.
    ValueError
        Arguments out of range; an event that raises, gives no booleans, changes its number of
        trials or leaves the generator untouched (with trial and seed); a ``max_trials`` so small
        that nothing could be refuted.

    Examples
    --------
    >>> from rsbounds.testing import assert_probability_at_most
    >>> found = assert_probability_at_most(lambda rng: rng.random(100) < 0.02, 0.05, seed=1)
    >>> found.verdict, found.estimate < 0.05
    ('accepted', True)
    >>> assert_probability_at_most(lambda rng: rng.random() < 0.2, 0.05, seed=1)
    ... # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    rsbounds.testing.Refuted: P(event) <= 0.05 is refuted by 42 of 233 trials; seed=1
      estimate 0.180258 after 233 trials
      interval [0.0545023, 0.390051], each end wrong with probability 1e-09 at most
    ...
    """
    __tracebackhide__ = True
    name = name_of(event, "event")
    return _probability(
        event, booleans, _inside("p", p), True, f"P({name}) <= {p:.12g}", name,
        false_alarm, max_trials, seed,
    )  # fmt: skip


def assert_probability_at_least(
    event: Event,
    p: float,
    *,
    false_alarm: float = 1e-9,
    max_trials: int | None = None,
    seed: int | None = None,
) -> Finding:
    """Fail where an event is less likely than p.

    As `assert_probability_at_most`, with its parameters and errors, for the other direction: an
    event of probability at least ``p`` fails with probability ``false_alarm`` at most (Ville).

    Examples
    --------
    >>> from rsbounds.testing import assert_probability_at_least
    >>> assert_probability_at_least(lambda rng: rng.random(50) < 0.99, 0.9, seed=1).verdict
    'accepted'
    """
    __tracebackhide__ = True
    name = name_of(event, "event")
    return _probability(
        event, booleans, _inside("p", p), False, f"P({name}) >= {p:.12g}", name,
        false_alarm, max_trials, seed,
    )  # fmt: skip


def assert_covers(
    bound: Callable[[Any], Any],
    sampler: Callable[[np.random.Generator], Any],
    truth: float,
    alpha: float,
    *,
    side: Side = "lower",
    false_alarm: float = 1e-9,
    max_trials: int | None = None,
    seed: int | None = None,
) -> Finding:
    """Fail where a bound on ``truth`` is wrong more often than alpha.

    A bound that is wrong with probability ``alpha`` at most fails with probability
    ``false_alarm`` at most; see `assert_probability_at_most`, which this is for the event that
    the bound of a fresh sample excludes the truth.

    Parameters
    ----------
    bound : callable
        Given what the sampler gave, a lower bound; an upper bound with side "upper", a pair
        (lower, upper) with side "both". Arrays (m,) are m independent trials.
    sampler : callable
        Given a numpy Generator, fresh data.
    truth : float
        What the bound is about. A bound that passes it by less than 1e-12 (relative, of 1e-3
        at least) is no error: the truth is a rounded number.
    alpha : float
        Error probability claimed, strictly between 0 and 1.
    side : {"lower", "upper", "both"}
        Which bounds are given.
    false_alarm, max_trials, seed
        As in `assert_probability_at_most`; its errors, and ValueError for a bound that is NaN,
        no number or of changing shape.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.testing import assert_covers
    >>> found = assert_covers(
    ...     lambda k: rsbounds.clopper_pearson_lower(k, 50, alpha=0.05),
    ...     lambda rng: rng.binomial(50, 0.8, size=20), truth=0.8, alpha=0.05, seed=1)
    >>> found.estimate < 0.05
    True
    """
    __tracebackhide__ = True
    _validate.choice("side", side, SIDES)
    true = _validate.number("truth", truth, "a number", lambda v: True)
    if not callable(bound) or not callable(sampler):
        raise ValueError(
            f"bound and sampler are {bound!r} and {sampler!r}; allowed: functions, of data and of "
            "a numpy Generator"
        )
    name = name_of(bound, "bound")

    def wrong(given: Any) -> NDArray[Any]:
        low, high = split_sides(given, side, name)
        if low.ndim > 1 or low.size == 0:
            raise ValueError(
                f"it has shape {low.shape}; allowed: a number, or (m,) for m independent trials"
            )
        if np.isnan(low).any() or np.isnan(high).any():
            raise ValueError("it is NaN; allowed: numbers")
        return outside(low, high, true).reshape(-1)

    return _probability(
        lambda rng: bound(sampler(rng)), wrong, _inside("alpha", alpha), True,
        f"P({name} excludes {true:.6g}) <= {alpha:g}", name, false_alarm, max_trials, seed,
    )  # fmt: skip


def assert_mean_at_least(
    sampler: Callable[[np.random.Generator], Any],
    mean: float,
    *,
    support: tuple[float, float] = (0.0, 1.0),
    false_alarm: float = 1e-9,
    max_trials: int = 100_000,
    seed: int | None = None,
) -> Finding:
    """Fail where the mean of bounded draws is below ``mean``.

    Draws whose mean is at least ``mean`` fail with probability ``false_alarm`` at most: the
    assertion fails where the average capital of constant bets against the claim ever reaches
    1/false_alarm (Ville; the bets of ``confidence_sequence("mixture")``). A smaller mean is
    "accepted" with probability 1e-3 at most.

    Parameters
    ----------
    sampler : callable
        Given a numpy Generator, a number, or an array (m,) of m independent draws.
    mean : float
        Mean claimed, strictly inside the support.
    support : (float, float)
        Interval that every possible draw lies in.
    false_alarm, max_trials, seed
        As in `assert_probability_at_most`, with its errors; draws outside the support too.

    Examples
    --------
    >>> from rsbounds.testing import assert_mean_at_least
    >>> assert_mean_at_least(lambda rng: rng.beta(20, 2, size=10), 0.85, seed=1).verdict
    'accepted'
    """
    __tracebackhide__ = True
    a, b = checked_support(support)
    claimed = _validate.number("mean", mean, f"a number inside ({a:g}, {b:g})", lambda v: a < v < b)
    _validate.alpha(false_alarm, "false_alarm")
    most, root = _checked_trials(max_trials, 0), checked_seed(seed)
    # What rounding on the way to [0, 1] may have done to the mean.
    slack = 16.0 * _EPS * (1.0 + (abs(a) + abs(b)) / (b - a))
    unit = (claimed - a) / (b - a)
    below, above = min(1.0 - unit + slack, 1.0), min(unit + slack, 1.0)
    drawn = Drawn(sampler, np.random.default_rng(root), root, name := name_of(sampler, "sampler"))

    def read(given: Any) -> NDArray[Any]:
        values = numbers(given)
        if values.ndim != 1:
            raise ValueError(f"it has shape {values.shape}; allowed: a number, or (m,) draws")
        rows, gap = checked_samples(values, (a, b), "a draw")
        if gap > 0.0:
            raise ValueError(f"it has type {np.asarray(given).dtype}; allowed: float64, integers")
        unit_draws: NDArray[np.float64] = to_unit(rows, (a, b))[0]
        return unit_draws

    y = np.empty(0)
    settled: Verdict = "not refuted"
    for batch in batches(drawn, read, most, lambda n: mean_could_reach(n, below, false_alarm)):
        y = np.concatenate([y, *batch])
        if mean_reaches(1.0 - y, below, false_alarm):
            settled = "refuted"
            break
        if mean_reaches(y, above, MISSED_ALARM):
            settled = "accepted"
            break
    drawn.finish()
    sequence = confidence_sequence("mixture", alpha=min(2.0 * false_alarm, 0.5), support=(a, b))
    sequence.update(np.clip(a + (b - a) * y, a, b))
    found = Finding(
        settled, float(a + (b - a) * y.mean()),
        float(sequence.lower[0]), float(sequence.upper[0]), y.size, root, false_alarm,
    )  # fmt: skip
    if settled == "refuted":
        raise refuted(f"E({name}) >= {claimed:g}", f"{y.size} draws", found)
    return found


def assert_same_distribution(
    sampler_a: Callable[[np.random.Generator], Any],
    sampler_b: Callable[[np.random.Generator], Any],
    *,
    false_alarm: float = 1e-9,
    max_trials: int = 20_000,
    seed: int | None = None,
) -> Finding:
    """Fail where two samplers draw from different distributions.

    Samplers of one distribution fail with probability ``false_alarm`` at most: where a feature of
    paired draws lies below a threshold for one and not for the other, either way round is as
    likely, and the capital of bets on these fair coins reaches 1/false_alarm with probability
    false_alarm at most (Ville). Thresholds are quantiles of what was drawn before. Nothing ever
    proves two distributions equal, so that a true claim always takes ``max_trials`` draws of
    each and ends as "not refuted". Numbers whose distribution functions are 0.1 apart are told
    apart after about 2,500 pairs; of vectors, coordinates and random directions are compared.

    Parameters
    ----------
    sampler_a, sampler_b : callable
        Given a numpy Generator each its own, a number, (m,) draws or (m, d) draws of vectors.
    false_alarm, max_trials, seed
        As in `assert_probability_at_most`, with its errors; ``max_trials`` counts pairs.

    Returns
    -------
    Finding
        ``estimate`` is the largest difference of two frequencies that was bet on.

    Examples
    --------
    >>> from rsbounds.testing import assert_same_distribution
    >>> assert_same_distribution(
    ...     lambda rng: rng.normal(size=100), lambda rng: rng.standard_normal(100),
    ...     max_trials=2000, seed=1).verdict
    'not refuted'
    """
    __tracebackhide__ = True
    level = -math.log(_validate.alpha(false_alarm, "false_alarm"))
    most, root = _checked_trials(max_trials, 0), checked_seed(seed)
    names = name_of(sampler_a, "sampler_a"), name_of(sampler_b, "sampler_b")
    rngs = [np.random.default_rng([root, i]) for i in range(3)]
    ours = Drawn(sampler_a, rngs[0], root, names[0])
    theirs = Drawn(sampler_b, rngs[1], root, names[1])
    twins = Twins(rngs[2])

    def read(given: Any) -> NDArray[Any]:
        values = numbers(given)
        return values.reshape(len(values), -1)

    shape = 0

    def could(n: int) -> bool:
        return Twins.could_reach(n, Twins.features(shape), level)

    def paired(given: Any) -> NDArray[Any]:
        nonlocal shape
        a, b = read(given), theirs.call(read)
        if a.shape != b.shape:
            raise ValueError(
                f"it gave shape {a.shape} and {names[1]} {b.shape}; allowed: one shape for both"
            )
        shape = a.shape[1]
        return np.stack([a, b], axis=1)

    verdict: Verdict = "not refuted"
    for batch in batches(ours, paired, most, could):
        for pairs in batch:
            twins.take(pairs[:, 0], pairs[:, 1])
        if twins.log_capital() >= level:
            verdict = "refuted"
            break
    ours.finish()
    theirs.finish()
    feature, cut, a, b = twins.clearest()
    found = Finding(verdict, abs(a - b), 0.0, 1.0, twins.pairs, root, false_alarm)
    if verdict == "refuted":
        what = "a draw" if shape == 1 else (
            f"coordinate {feature}" if feature < min(shape, Twins.COORDINATES)
            else "a random direction"
        )  # fmt: skip
        raise Refuted(
            f"{names[0]} and {names[1]} differ after {twins.pairs} draws of each; seed={root}\n"
            f"  {what} is at most {cut:.6g} with frequency {a:.4g} and {b:.4g}\n"
            f"  samplers of one distribution fail so with probability {false_alarm:.3g} at most; "
            f"replay it with seed={root}, false_alarm={false_alarm!r}",
            found,
        )
    return found
