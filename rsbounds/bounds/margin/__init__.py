"""Lower bounds on the margin between a top class and every other class.

`MarginMethod` has the contract of a method, with an example. To add one: a file with a
`MarginMethod`, and one line here (or an entry point of the group ``rsbounds.margin_bounds``
in your own package). The contract tests, `rsbounds compare`, `rsbounds methods` and the
benchmark then pick it up.
"""

from __future__ import annotations

from rsbounds._types import Guarantee, Scale
from rsbounds.bounds.margin._base import (
    MARGIN_METHODS,
    MarginMethod,
    Problem,
    bound_of_claim,
    claimed,
    margin_lower_bound,
    margin_method,
)

MARGIN_METHODS.register("exact", "rsbounds.bounds.margin.exact:Exact")
MARGIN_METHODS.register("runner-up", "rsbounds.bounds.margin.runner_up:RunnerUp")
MARGIN_METHODS.register("complement", "rsbounds.bounds.margin.complement:Complement")
MARGIN_METHODS.register("bonferroni", "rsbounds.bounds.margin.bonferroni:Bonferroni")
MARGIN_METHODS.register("t-certify", "rsbounds.bounds.margin.t_certify:TCertify")
MARGIN_METHODS.register("signomial", "rsbounds.bounds.margin.signomial:SignomialMargin")
MARGIN_METHODS.register("bayes-opt", "rsbounds.bounds.margin.bayes_opt:BayesOptMargin")

__all__ = [
    "MARGIN_METHODS",
    "Guarantee",
    "MarginMethod",
    "Problem",
    "Scale",
    "bound_of_claim",
    "claimed",
    "margin_lower_bound",
    "margin_method",
]
