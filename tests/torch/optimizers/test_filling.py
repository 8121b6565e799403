"""Axes that fill the room which the margin leaves, and curves through votes at many scales."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import ndtr
from scipy.stats import binom, norm

pytest.importorskip("torch")

from rsbounds_torch.optimizers import _curve
from rsbounds_torch.optimizers._curve import STEP, Votes, best_log, best_node
from rsbounds_torch.optimizers._filling import filled
from rsbounds_torch.optimizers._foretold import Foretold


@pytest.mark.parametrize("budget", [0.05, 0.5, 3.0])
def test_the_filled_axes_have_the_largest_product_within_the_budget(budget):
    rng = np.random.default_rng(1)
    axes, felt = rng.uniform(0.2, 0.5, (4, 5)), 10.0 ** rng.uniform(-4, 0, (4, 5))
    part = rng.dirichlet(np.ones(5), 4)
    found = filled(axes, felt, part, budget, np.full(4, 4.0))
    assert (found >= axes * (1 - 1e-12)).all()
    assert (found <= 4.0 * (1 + 1e-12)).all()
    wanted = (1 + budget) * (axes**2 * felt).sum(axis=1)
    for a, w, v, got, limit in zip(axes, felt, part, found, wanted, strict=True):
        # Another route: a general program in the logarithms.
        other = minimize(
            lambda u, v=v: -u @ v, np.log(a), jac=lambda u, v=v: -v, method="SLSQP",
            bounds=[(np.log(one), np.log(4.0)) for one in a],
            constraints={
                "type": "ineq",
                "fun": lambda u, w=w, limit=limit: 1.0 - (np.exp(2 * u) * w).sum() / limit,
                "jac": lambda u, w=w, limit=limit: -2 * np.exp(2 * u) * w / limit,
            },
            options={"ftol": 1e-12, "maxiter": 500},
        )  # fmt: skip
        assert (got**2 * w).sum() <= limit * (1 + 1e-9)
        np.testing.assert_allclose(np.log(got) @ v, -other.fun, atol=1e-4)


def test_an_axis_beyond_the_highest_stays_where_it_was():
    found = filled(
        np.array([[5.0, 0.1]]), np.array([[1.0, 1e-9]]), np.full((1, 2), 0.5), 10.0, np.array([2.0])
    )
    np.testing.assert_allclose(found, [[5.0, 2.0]])


def test_an_axis_without_a_part_of_the_volume_has_nothing_of_the_budget():
    found = filled(
        np.full((1, 3), 0.2), np.ones((1, 3)), np.array([[0.0, 0.5, 0.5]]), 1.0, np.ones(1)
    )
    np.testing.assert_allclose(found, 0.2 * np.sqrt([[1.0, 2.5, 2.5]]), rtol=1e-9)


def votes_at(shares, draws, plural=False, top=40):
    """Votes against a class at nodes of a lattice, as many as the shares say on average."""
    nodes = np.array(sorted(shares))
    seen = Votes(
        *np.zeros((3, 1, 81)), plural=np.array([plural]), highest=np.array([top * STEP]), zero=40
    )
    for node in nodes:
        lost = round(shares[node] * draws)
        counts = np.array([[draws - lost, lost - lost // 2, lost // 2]])
        seen = seen.adding(np.array([0]), np.array([node]), counts, np.array([0]), draws)
    return seen


def test_the_curve_tells_rare_failures_from_frequent_ones():
    # A half-space at distance 1: the probit is 1 / sigma. Where it was seen there are failures
    # enough; where none of 500 draws failed, the curve still knows better than "none".
    shares = {40 + j: norm.sf(np.exp(-STEP * j)) for j in range(-12, 5, 2)}
    seen = votes_at(shares, 500)
    u, spread = _curve._fitted(seen.draws - seen.against, seen.against)
    node = 40 - 10
    assert seen.against[0, node] == 0
    truth = np.exp(STEP * 10)
    assert abs(u[0, node] - truth) < 2 * spread[0, node]
    # The votes of that node alone say less.
    alone = Votes(*(np.where(np.arange(81) == node, v, 0.0) for v in
                    (seen.draws, seen.against, seen.second)),
                  plural=seen.plural, highest=seen.highest, zero=40)  # fmt: skip
    _, wide = _curve._fitted(alone.draws - alone.against, alone.against)
    assert spread[0, node] < 0.5 * wide[0, node]


def test_the_fitted_probits_are_the_largest_posterior():
    rng = np.random.default_rng(2)
    held, lost = rng.integers(0, 60, (2, 1, 9)).astype(float)
    u, _ = _curve._fitted(held, lost)

    def energy(u):
        bends = np.diff(u, 2) / STEP**2
        prior = STEP * (bends**2).sum() / (2 * _curve._BEND**2) + 0.5 * _curve._RIDGE * (u**2).sum()
        return prior - binom.logpmf(held[0], (held + lost)[0], ndtr(u)).sum()

    other = minimize(energy, u[0] + 0.1, method="BFGS", options={"gtol": 1e-9})
    assert energy(u[0]) <= other.fun + 1e-6
    np.testing.assert_allclose(u[0], other.x, atol=1e-3)


def test_nothing_beyond_a_scale_where_draws_are_no_answer():
    seen = votes_at({40: 0.0, 44: 0.0}, 100)
    broken = seen.adding(np.array([0]), np.array([48]), np.array([[90, 0, 0]]), np.array([0]), 100)
    foretold = Foretold(1000, 0.001, "probit")
    assert best_node(seen, foretold)[0] >= 43
    assert best_node(broken, foretold)[0] <= 47
    assert best_log(broken, foretold)[0] <= 7 * STEP
    assert broken.worth(foretold)[0, 48] == 0.0


def test_votes_that_do_not_depend_on_the_input_are_no_reason_to_go_there():
    # Under very much noise this model answers the same whatever the input: 45 % of its votes are
    # for the class, and those of two others are split. The radius would be large; see `Votes`.
    shares = {40 + 4 * j: min(0.55, 0.001 * 6.0**j) for j in range(9)}
    foretold = Foretold(10_000, 0.001, "probit")
    near, far = (
        float(best_log(votes_at(shares, 2000, plural), foretold)[0]) for plural in (False, True)
    )
    worth = {k: np.exp(STEP * (k - 40)) * norm.isf(v) for k, v in shares.items()}
    assert abs(near - STEP * (max(worth, key=worth.get) - 40)) <= 4 * STEP
    assert far > near + 1.0
