"""Inner solvers: the most probable null point of a region. `Solver` has the contract."""

from __future__ import annotations

from rsbounds.solvers._base import SOLVERS, Region, Solution, Solver, Window

SOLVERS.register("branch-and-bound", "rsbounds.solvers.branch_and_bound:BranchAndBound")
SOLVERS.register("signomial", "rsbounds.solvers.signomial:Signomial")
SOLVERS.register("bayes-opt", "rsbounds.solvers.bayes_opt:BayesOpt")

__all__ = ["SOLVERS", "Region", "Solution", "Solver", "Window"]
