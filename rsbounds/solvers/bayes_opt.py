"""Lemma 1's route: a Gaussian process over the nuisance, stopped as soon as L is refuted."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

from rsbounds.solvers._base import Region, Solution, Window, curve_range, on_curve


@dataclass(frozen=True)
class BayesOpt:
    """Bayesian optimisation along the curve with scikit-optimize; proves nothing.

    Costs seconds per level whatever n is (the Gaussian process, not the tail): usable for a
    single row. Source: optimal-certified-radius, Lemma 1 and what follows it.

    Parameters
    ----------
    calls : int
        Evaluations of the tail, at least 10.
    seed : int
        Seed of the search.
    """

    calls: int = 30
    seed: int = 0

    def __call__(self, region: Region, level: float, window: Window, enough: float) -> Solution:
        try:
            from skopt import gp_minimize
        except ImportError:
            raise ImportError(
                "solver 'bayes-opt' needs scikit-optimize; install rsbounds[solvers]"
            ) from None
        start, end = curve_range(region, level, window)
        if end <= start:
            return Solution(0.0, on_curve(region, level, max(start, 1e-300)), math.inf, 0)
        # Search in the angle: the curve's natural length near both of its ends.
        low, high = math.asin(math.sqrt(max(start, 1e-12))), math.asin(math.sqrt(end))

        def loss(angle: list[float]) -> float:
            q1, q2, _ = on_curve(region, level, math.sin(angle[0]) ** 2)
            return -math.log(max(region.probability(q1, q2), 1e-250))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = gp_minimize(
                loss,
                [(low, high)],
                n_calls=self.calls,
                n_initial_points=max(self.calls // 3, 8),
                random_state=self.seed,
                callback=lambda state: state.fun < -math.log(enough) if enough < 1 else False,
            )
        point = on_curve(region, level, math.sin(found.x[0]) ** 2)
        return Solution(math.exp(-found.fun), point, math.inf, len(found.func_vals))
