"""Bounds on the mean of bounded samples, at a fixed n and at every time.

`MeanMethod` has the contract of a method, `ConfidenceSequence` that of its any-time form, each
with an example. To add one: a file with a `MeanMethod`, which names its
`ConfidenceSequence` if it has one, and one line here (or an entry point of the group
``rsbounds.mean_bounds`` in your own package). The contract tests and `rsbounds methods` then
pick it up.
"""

from __future__ import annotations

from rsbounds._types import Guarantee
from rsbounds.bounds.mean._base import (
    MEAN_METHODS,
    AnyTimeOnly,
    MeanMethod,
    confidence_sequence,
    mean_bound,
    mean_method,
)
from rsbounds.bounds.mean._samples import Side
from rsbounds.bounds.mean._sequence import ConfidenceSequence

MEAN_METHODS.register("goal", "rsbounds.bounds.mean.goal:Goal")
MEAN_METHODS.register("mixture", "rsbounds.bounds.mean.mixture:Mixture")
MEAN_METHODS.register("betting", "rsbounds.bounds.mean.betting:Betting")
MEAN_METHODS.register("prpl-eb", "rsbounds.bounds.mean.prpl_eb:PrPlEB")
MEAN_METHODS.register(
    "empirical-bernstein", "rsbounds.bounds.mean.empirical_bernstein:EmpiricalBernstein"
)
MEAN_METHODS.register("hoeffding", "rsbounds.bounds.mean.hoeffding:Hoeffding")
MEAN_METHODS.register("clopper-pearson", "rsbounds.bounds.mean.clopper_pearson:ClopperPearson")
MEAN_METHODS.register("beta-binomial", "rsbounds.bounds.mean.beta_binomial:BetaBinomial")

__all__ = [
    "MEAN_METHODS",
    "AnyTimeOnly",
    "ConfidenceSequence",
    "Guarantee",
    "MeanMethod",
    "Side",
    "confidence_sequence",
    "mean_bound",
    "mean_method",
]
