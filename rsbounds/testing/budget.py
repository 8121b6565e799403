"""One false-alarm budget for many statistical assertions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from rsbounds import _validate
from rsbounds.testing import statistical
from rsbounds.testing._trials import Finding, Refuted

#: Assertions that have about the same share; later ones have less and less.
_FLAT = 100


class Assertions:
    """The statistical assertions, sharing one false-alarm budget however many there will be.

    The k-th assertion has the share 100/((k + 99)(k + 100)) of the budget: these add to 1, so
    that by the union bound any number of true claims together fail with probability
    ``false_alarm`` at most. A smaller share costs trials by its logarithm only.

    Parameters
    ----------
    false_alarm : float
        Probability that any true claim fails.
    seed : int, optional
        Makes the trials of every assertion reproducible; by default each has a fresh seed.

    Attributes
    ----------
    made, trials : int
        Assertions so far, and the trials of those that ended.
    spent : float
        Their shares of the budget.

    Examples
    --------
    >>> from rsbounds.testing import Assertions
    >>> assertions = Assertions(false_alarm=1e-6, seed=0)
    >>> found = assertions.probability_at_most(lambda rng: rng.random(100) < 0.02, 0.05)
    >>> found.verdict, assertions.made, f"{assertions.spent:.2g}"
    ('accepted', 1, '9.9e-09')
    """

    def __init__(self, false_alarm: float = 1e-6, seed: int | None = None) -> None:
        self.false_alarm = _validate.alpha(false_alarm, "false_alarm")
        if seed is not None:
            _validate.integer("seed", seed, low=0)
        self._seed = seed
        self._place = ""
        self._here = 0
        self.made = self.trials = 0
        self.spent = 0.0

    def enter(self, place: str) -> None:
        """Seeds from here on belong to a place (a test), whatever ran before it."""
        self._place, self._here = place, 0

    def _run(self, assertion: Callable[..., Finding], *given: Any, **options: Any) -> Finding:
        __tracebackhide__ = True
        if "false_alarm" in options:
            raise ValueError(
                f"false_alarm is {options['false_alarm']!r} for an assertion that shares a "
                "budget; allowed: none, or the function of the same name in rsbounds.testing"
            )
        k = self.made + 1
        share = self.false_alarm * _FLAT / ((k + _FLAT - 1) * (k + _FLAT))
        if self._seed is not None and options.get("seed") is None:
            text = f"{self._seed}:{self._place}:{self._here}"
            options["seed"] = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
        self._here += 1
        # Spent before the outcome is known, also where it is an error.
        self.made += 1
        self.spent += share
        try:
            found = assertion(*given, false_alarm=share, **options)
        except Refuted as failure:
            if failure.finding is not None:
                self.trials += failure.finding.trials
            raise
        self.trials += found.trials
        return found

    def probability_at_most(self, event: Any, p: float, **options: Any) -> Finding:
        """`assert_probability_at_most`, at this assertion's share of the budget."""
        __tracebackhide__ = True
        return self._run(statistical.assert_probability_at_most, event, p, **options)

    def probability_at_least(self, event: Any, p: float, **options: Any) -> Finding:
        """`assert_probability_at_least`, at this assertion's share of the budget."""
        __tracebackhide__ = True
        return self._run(statistical.assert_probability_at_least, event, p, **options)

    def mean_at_least(self, sampler: Any, mean: float, **options: Any) -> Finding:
        """`assert_mean_at_least`, at this assertion's share of the budget."""
        __tracebackhide__ = True
        return self._run(statistical.assert_mean_at_least, sampler, mean, **options)

    def covers(
        self, bound: Any, sampler: Any, truth: float, alpha: float, **options: Any
    ) -> Finding:
        """`assert_covers`, at this assertion's share of the budget."""
        __tracebackhide__ = True
        return self._run(statistical.assert_covers, bound, sampler, truth, alpha, **options)

    def same_distribution(self, sampler_a: Any, sampler_b: Any, **options: Any) -> Finding:
        """`assert_same_distribution`, at this assertion's share of the budget."""
        __tracebackhide__ = True
        return self._run(statistical.assert_same_distribution, sampler_a, sampler_b, **options)
