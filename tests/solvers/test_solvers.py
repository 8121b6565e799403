import math
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import ndtri

from rsbounds.bounds.margin._inner import plug_in_region, searched
from rsbounds.solvers import SOLVERS, Solution, Window, signomial
from rsbounds.solvers._base import curve_range, on_curve
from rsbounds.solvers._taylor import coefficients, inverse, polynomial


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
def test_heuristics_reach_the_certified_optimum(name, package, n):
    pytest.importorskip(package)
    solver, proof = SOLVERS[name](), SOLVERS["branch-and-bound"]()
    reached = []
    for region, level in instances(n, 20 if name == "signomial" else 4, "linear", 7):
        found = solver(region, level, Window(), 1.0)
        certified = proof(region, level, Window(), 1.0)
        assert math.isinf(found.upper)
        assert found.value <= certified.upper * (1 + 1e-6)
        reached.append(found.value >= certified.upper * (1 - 1e-4))
    assert all(reached)


@pytest.mark.parametrize(("name", "package"), [("signomial", "cvxpy"), ("bayes-opt", "skopt")])
def test_heuristics_are_repeatable_and_stop_early(name, package):
    pytest.importorskip(package)
    solver = SOLVERS[name]()
    region, level = next(instances(20, 1, "linear", 3))
    whole = solver(region, level, Window(), 1.0)
    assert solver(region, level, Window(), 1.0) == whole
    early = solver(region, level, Window(), 1e-9)
    assert early.value > 1e-9
    assert early.evaluations < whole.evaluations


@pytest.mark.parametrize("order", [1, 3, 9, 31])
def test_the_polynomial_is_below_the_quantile_above_one_half(order):
    from mpmath import mp

    with mp.workdps(30):
        exact = mp.taylor(lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1), 0.5, min(order, 9))
    for k, c in enumerate(coefficients(order)[:5]):
        assert c == pytest.approx(float(exact[2 * k + 1]), rel=1e-12)
    u = np.linspace(0.0, 0.4999, 200)
    values = np.array([polynomial(x, order) for x in u])
    assert (values <= ndtri(0.5 + u) * (1 + 1e-12)).all()
    assert inverse(polynomial(0.3, order), order) == pytest.approx(0.3, rel=1e-12)


def test_signomial_solves_the_taylor_program():
    pytest.importorskip("cvxpy")
    region = plug_in_region(45, 4, 50, "probit", 31)
    window = Window(0.5, 0.5)
    found = SOLVERS["signomial"]()(region, 1.5, window, 1.0)
    start, end = curve_range(region, 1.5, window)
    points = (on_curve(region, 1.5, q) for q in np.linspace(start, end, 4001))
    dense = max(region.probability(q1, q2) for q1, q2, _ in points)
    assert found.value >= dense * (1 - 1e-4)
    proven = SOLVERS["branch-and-bound"]()(region, 1.5, window, 1.0)
    assert proven.value <= found.value * (1 + 1e-5), "the polynomial's null set is the larger one"
    with pytest.raises(ValueError, match=r"window\.a1 is 0\.0 with a Taylor margin"):
        SOLVERS["branch-and-bound"]()(region, 1.5, Window(), 1.0)


def test_a_solver_that_finds_nothing_cannot_lift_the_bound():
    @dataclass(frozen=True)
    class Blind:
        """Refutes no level."""

        def __call__(self, region, level, window, enough):
            return Solution(0.0, (0.5, 0.5, 0.0))

    certified, trusted = (
        searched(Blind(), certify, 18, 1, 20, 0.05, "linear", 0, Window(), 1e-3)
        for certify in (True, False)
    )
    assert certified.certified
    assert certified.p_value <= 0.05
    region = plug_in_region(18, 1, 20, "linear")
    assert scan(region, certified.lower) <= 0.05 * (1 + 1e-6)
    assert not trusted.certified
    assert trusted.p_value == 1.0


@pytest.mark.parametrize(("name", "package"), [("signomial", "cvxpy"), ("bayes-opt", "skopt")])
def test_missing_extra_is_named(name, package, monkeypatch):
    # As if it were not installed, with all that earlier tests imported and compiled of it.
    signomial._program.cache_clear()
    for module in {package, *(m for m in sys.modules if m.startswith(f"{package}."))}:
        monkeypatch.setitem(sys.modules, module, None)
    region, level = next(instances(10, 1, "linear", 2))
    with pytest.raises(ImportError, match=r"rsbounds\[solvers\]"):
        SOLVERS[name]()(region, level, Window(), 1.0)
