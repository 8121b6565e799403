import math

import numpy as np
import pytest

from rsbounds.bounds.margin._inner import plug_in_region
from rsbounds.solvers import SOLVERS, Window
from rsbounds.solvers._base import on_curve


def instances(n, count, scale, seed):
    rng = np.random.default_rng([n, seed])
    made = 0
    while made < count:
        x = rng.multinomial(n, rng.dirichlet([3.0, 1.0, 0.7]))
        # At most a tail: with x1 <= x2 the supremum is one, and there is nothing to find.
        if x[0] <= x[1] + 1:
            continue
        made += 1
        level = (x[0] - x[1]) / n - rng.uniform(0.1, 0.4)
        yield plug_in_region(int(x[0]), int(x[1]), n, scale), float(level)


def scan(region, level):
    high = 0.5 * (1 - level)
    q2 = np.linspace(max(0.0, -level) + 1e-9, high, 4001)
    return max(region.probability(*on_curve(region, level, q)[:2]) for q in q2)


@pytest.mark.parametrize("n", [10, 20])
def test_branch_and_bound_proves_what_a_scan_finds(n):
    solver = SOLVERS["branch-and-bound"]()
    for region, level in instances(n, 10, "linear", 0):
        found = solver(region, level, Window(), 1.0)
        dense = scan(region, level)
        assert found.upper >= dense * (1 - 1e-6)
        assert found.upper <= dense * (1 + 1e-3)


@pytest.mark.parametrize(("name", "package"), [("signomial", "cvxpy"), ("bayes-opt", "skopt")])
@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.filterwarnings("ignore")
def test_heuristics_reach_the_certified_optimum(name, package, n):
    pytest.importorskip(package)
    solver, proof = SOLVERS[name](), SOLVERS["branch-and-bound"]()
    reached = []
    for region, level in instances(n, 20 if name == "signomial" else 4, "linear", 1):
        found = solver(region, level, Window(), 1.0)
        certified = proof(region, level, Window(), 1.0)
        assert math.isinf(found.upper)
        assert found.value <= certified.upper * (1 + 1e-6)
        reached.append(found.value >= certified.upper * (1 - 1e-4))
    assert np.mean(reached) >= 0.9


@pytest.mark.parametrize(("name", "package"), [("signomial", "cvxpy"), ("bayes-opt", "skopt")])
def test_missing_extra_is_named(name, package):
    try:
        __import__(package)
    except ImportError:
        region, level = next(instances(10, 1, "linear", 2))
        with pytest.raises(ImportError, match=r"rsbounds\[solvers\]"):
            SOLVERS[name]()(region, level, Window(), 1.0)
    else:
        pytest.skip("the extra is installed")
