"""Lemma 1's route: a Gaussian process over the nuisance, stopped as soon as L is refuted."""

from __future__ import annotations

import math
import threading
import warnings
from dataclasses import dataclass

from rsbounds.solvers._base import Region, Solution, Window, curve_range, on_curve, polished

_LOCK = threading.Lock()


@dataclass(frozen=True)
class BayesOpt:
    """Bayesian optimisation along the curve with scikit-optimize; proves nothing.

    A Gaussian process proposes points by expected improvement and finds the hill; a local
    search between the best point's neighbours finds its top. About 30 ms per proposal
    whatever n is (the Gaussian process, not the tail), so half a second per level that is
    not refuted: usable for single rows at any n, not for tables. Source:
    optimal-certified-radius, Lemma 1 and what follows it.

    Parameters
    ----------
    calls : int
        Evaluations of the tail before the local search, at least 10.
    seed : int
        Seed of the search.
    """

    calls: int = 12
    seed: int = 0

    def __call__(self, region: Region, level: float, window: Window, enough: float) -> Solution:
        try:
            from skopt import Optimizer
            from skopt.learning import GaussianProcessRegressor
            from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern
        except ImportError:
            raise ImportError(
                "solver 'bayes-opt' needs scikit-optimize; install rsbounds[solvers]"
            ) from None
        start, end = curve_range(region, level, window)
        start = max(start, 1e-30)
        end = max(end, start)
        # Search in the angle: the curve's natural length near both of its ends.
        low, high = (math.asin(math.sqrt(min(q, 1.0))) for q in (start, end))
        seen: list[tuple[float, float]] = []

        def evaluate(angle: float) -> float:
            q1, q2, _ = on_curve(region, level, math.sin(angle) ** 2)
            value = region.probability(q1, q2)
            seen.append((angle, value))
            # Values range over hundreds of powers of ten; ranks are all that matters.
            return math.log1p(-math.log(min(max(value, 1e-290), 1.0)))

        def best() -> Solution:
            angle, value = max(seen, key=lambda pair: pair[1])
            point = on_curve(region, level, math.sin(angle) ** 2)
            return Solution(value, point, math.inf, len(seen))

        evaluate(low)
        if seen[-1][1] > enough or high - low < 1e-12:
            return best()
        evaluate(high)
        # Filters of warnings belong to the process, not to a thread.
        with _LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            process = GaussianProcessRegressor(
                kernel=ConstantKernel(1.0, (1e-2, 1e3)) * Matern(0.2, (1e-2, 1e1), nu=2.5),
                normalize_y=True,
                noise=1e-8,
                n_restarts_optimizer=0,
                random_state=self.seed,
            )
            optimizer = Optimizer(
                [(low, high)],
                base_estimator=process,
                n_initial_points=8,
                initial_point_generator="sobol",
                acq_func="EI",
                acq_optimizer="sampling",
                acq_optimizer_kwargs={"n_points": 300},
                random_state=self.seed,
            )
            for _ in range(self.calls):
                if seen[-1][1] > enough:
                    return best()
                asked = optimizer.ask()
                optimizer.tell(asked, evaluate(asked[0]))
        if seen[-1][1] > enough:
            return best()
        found = best()
        angles = sorted({angle for angle, _ in seen})
        at = next(i for i, a in enumerate(angles) if math.sin(a) ** 2 == found.point[1])
        below, above = angles[max(at - 1, 0)], angles[min(at + 1, len(angles) - 1)]
        value, point, used = polished(
            region,
            level,
            2.0 * math.log(math.sin(below)),
            2.0 * math.log(math.sin(above)),
        )
        if value > found.value:
            return Solution(value, point, math.inf, len(seen) + used)
        return Solution(found.value, found.point, math.inf, len(seen) + used)
