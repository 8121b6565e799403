import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rsbounds
from rsbounds.bounds.margin._exact_kernels import (
    fill_boundary,
    fill_score,
    fill_wald,
    likelihood_limit,
    ranked_as,
    score_limit,
    wald_limit,
)
from rsbounds.testing import margin_errors, simplex_grid

CASES = [
    ("linear", "wald"),
    ("linear", "likelihood"),
    ("linear", "score"),
    ("linear", "runner-up"),
    ("probit", "likelihood"),
    ("probit", "runner-up"),
]
ids = ["-".join(case) for case in CASES]


def bound(counts, scale, alpha=0.001, top=0, **options):
    return rsbounds.margin_lower_bound(
        counts, top, alpha=alpha, scale=scale, method="exact", **options
    )


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
@pytest.mark.parametrize(("scale", "statistic"), CASES, ids=ids)
@pytest.mark.parametrize(("classes", "n"), [(3, 5), (3, 12), (3, 25), (3, 40), (4, 5), (4, 12)])
def test_coverage_by_complete_enumeration(scale, statistic, alpha, classes, n):
    grid = simplex_grid(classes, 10)
    corner = np.full(classes, 0.01 / (classes - 1))
    corner[0] = 0.99
    near = np.array([0.5, 0.499] + [0.001 / (classes - 2)] * (classes - 2))
    points = np.vstack([grid, corner, near])
    errors = margin_errors(
        "exact", n=n, classes=classes, alpha=alpha, scale=scale, points=points, statistic=statistic
    )
    assert errors.max() <= alpha * (1 + 1e-9)


@pytest.mark.parametrize("scale", ["linear", "probit"])
@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("n", [25, 40])
def test_coverage_with_four_classes(scale, alpha, n):
    points = np.vstack([simplex_grid(4, 6), [[0.97, 0.01, 0.01, 0.01], [0.4, 0.3, 0.2, 0.1]]])
    errors = margin_errors("exact", n=n, classes=4, alpha=alpha, scale=scale, points=points)
    assert errors.max() <= alpha * (1 + 1e-9)


@pytest.mark.parametrize(("scale", "statistic"), CASES, ids=ids)
def test_coverage_without_a_window(scale, statistic):
    errors = margin_errors(
        "exact",
        n=12,
        classes=3,
        alpha=0.05,
        scale=scale,
        points=simplex_grid(3, 16),
        statistic=statistic,
        beta=0.0,
    )
    assert errors.max() <= 0.05 * (1 + 1e-9)


@pytest.mark.parametrize("scale", ["linear", "probit"])
def test_two_classes_are_clopper_pearson(scale):
    n = 200
    counts = np.array([[k, n - k] for k in range(n + 1)])
    exact = bound(counts, scale).lower
    cohen = rsbounds.margin_lower_bound(
        counts, 0, alpha=0.001, scale=scale, method="complement"
    ).lower
    np.testing.assert_array_equal(exact, cohen)


@pytest.mark.parametrize("scale", ["linear", "probit"])
@pytest.mark.parametrize("beta", [0.0, 1e-3])
def test_all_votes_for_the_top_class_is_clopper_pearson(scale, beta):
    for n in (1, 3, 10, 100, 5000):
        exact = bound([[n, 0, 0]], scale, beta=beta)
        level = 0.001 * (1 - beta)
        cohen = rsbounds.margin_lower_bound(
            [[n, 0]], 0, alpha=level, scale=scale, method="complement"
        )
        assert exact.lower[0] <= cohen.lower[0] + 1e-9
        assert exact.lower[0] >= cohen.lower[0] - 2e-3


@pytest.mark.parametrize("scale", ["linear", "probit"])
def test_never_below_runner_up_with_that_ordering(scale):
    rng = np.random.default_rng(3)
    for n in (7, 60, 400):
        counts = np.vstack([rng.multinomial(n, rng.dirichlet([3, 1, 0.4])) for _ in range(60)])
        for beta in (0.0, 1e-3):
            exact = bound(counts, scale, statistic="runner-up", beta=beta).lower
            floor = rsbounds.margin_lower_bound(
                counts, 0, alpha=0.001 * (1 - beta), scale=scale, method="runner-up", split=0.9
            )
            p_a, p_b = floor.details["p_a_lower"], floor.details["p_b_upper"]
            separate = p_a + p_b < 1 - 1e-12  # where its second bound is in use
            keep = separate & np.isfinite(floor.lower)
            assert (exact[keep] >= floor.lower[keep] - 1e-9).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_monotone_and_blind_to_the_order_of_classes(data):
    classes = data.draw(st.integers(3, 6))
    counts = np.array(data.draw(st.lists(st.integers(0, 150), min_size=classes, max_size=classes)))
    counts[0] += 1
    scale = data.draw(st.sampled_from(["linear", "probit"]))
    alpha = data.draw(st.sampled_from([1e-6, 0.001, 0.05, 0.3]))
    # The exact limit is monotone; what is returned lies below it by at most slack over the
    # slope of log p in the level, which is above 1/5 for counts like these.
    slack = 1e-5
    fuzz = 5 * slack
    base = bound([counts], scale, alpha, slack=slack).lower[0]
    others = counts[1:].copy()
    np.random.default_rng(0).shuffle(others)
    assert bound([[counts[0], *others]], scale, alpha, slack=slack).lower[0] == base
    # One vote moves between classes, n fixed.
    giver = data.draw(st.integers(1, classes - 1))
    if counts[giver] > 0:
        moved = counts.copy()
        moved[giver] -= 1
        moved[0] += 1
        assert bound([moved], scale, alpha, slack=slack).lower[0] >= base - fuzz
    for taker in range(1, classes):
        if taker != giver and counts[giver] > 0 and counts[taker] == counts[1:].max():
            moved = counts.copy()
            moved[giver] -= 1
            moved[taker] += 1
            assert bound([moved], scale, alpha, slack=slack).lower[0] <= base + fuzz


@pytest.mark.parametrize("scale", ["linear", "probit"])
@pytest.mark.parametrize("alpha", [1e-12, 1e-6, 0.001, 0.5])
def test_hard_rows(scale, alpha):
    rows = []
    for n in (1, 2, 9, 1000, 10**5, 10**7):
        rows += [[n, 0, 0], [0, n, 0], [0, 0, n], [n - n // 3, n // 3, 0]]
        rows += [[n - 2 * (n // 3), n // 3, n // 3], [n // 4, n - n // 4, 0]]
        rows += [[n - 1, 1, 0], [n - 1, 0, 1], [n // 2, n - n // 2 - n // 10, n // 10]]
    counts = np.array(rows)
    result = bound(counts, scale, alpha)
    plug_in = (counts[:, 0] - counts[:, 1:].max(axis=1)) / counts.sum(axis=1)
    assert result.certified.all()
    assert not np.isnan(result.lower).any()
    assert (result.details["p_value"] <= alpha * (1 + 1e-9)).sum() >= len(rows) // 2
    if scale == "linear":
        assert (result.lower <= plug_in + 1e-9).all()
        large = counts.sum(axis=1) == 10**7
        assert (result.lower[large] >= plug_in[large] - 0.005).all()


def test_a_thousand_classes_and_a_small_budget():
    counts = np.zeros((1, 1000), dtype=int)
    counts[0, :5] = [900, 50, 30, 15, 5]
    full = bound(counts, "probit").lower[0]
    short = bound(counts, "probit", budget=3)
    assert short.details["exhausted"][0]
    assert short.lower[0] < full
    assert short.certified[0]


def test_boundaries_are_those_of_the_orderings():
    # By brute force over every outcome: T(y) >= T(x) wherever the boundary says so, and the
    # region is never smaller.
    n, z = 30, 3.09
    for x1, x2, probit in itertools.product((20, 26, 30, 12, 9), (0, 3, 4, 10, 18), (False, True)):
        if x1 + x2 > n:
            continue
        tested, param, _ = likelihood_limit(*ranked_as(x1, x2, n - x1 - x2, 0.5), z, probit)
        boundary = np.empty(n + 1, dtype=np.int64)
        fill_boundary(n, x1, x2, tested, param, z, 0.5, probit, 0, boundary)
        for y2 in range(n + 1):
            for y1 in range(n - y2 + 1):
                other, _, _ = likelihood_limit(*ranked_as(y1, y2, n - y1 - y2, 0.5), z, probit)
                if other > tested + 1e-7:
                    assert y1 >= boundary[y2]
                if other < tested - 2e-3:
                    assert y1 < boundary[y2]
        if not probit:
            fill_wald(n, x1, x2, wald_limit(n, x1, x2, z), z, 0, boundary)
            assert boundary[x2] <= x1
            assert (np.diff(boundary) >= 0).all()


@pytest.mark.parametrize("n", [6, 31])
@pytest.mark.parametrize("z", [0.5, 3.09])
def test_score_ordering_is_monotone_and_its_boundary_is_right(n, z):
    limits = np.full((n + 1, n + 1), -np.inf)
    for y1, y2 in itertools.product(range(n + 1), repeat=2):
        if y1 + y2 <= n:
            limits[y1, y2] = score_limit(*ranked_as(y1, y2, n - y1 - y2, 0.5), z)
    for y1, y2 in itertools.product(range(n + 1), repeat=2):
        if y1 + y2 < n:
            assert limits[y1 + 1, y2] > limits[y1, y2] > limits[y1, y2 + 1]
    for x1, x2 in itertools.product((0, 1, n // 3, n // 2, n - 2, n), (0, 1, n // 4, n // 2)):
        if x1 + x2 > n:
            continue
        boundary = np.empty(n + 1, dtype=np.int64)
        fill_score(n, x1, x2, limits[x1, x2], z, 0.5, 0, boundary)
        for y1, y2 in itertools.product(range(n + 1), repeat=2):
            if y1 + y2 <= n:
                inside = y1 >= boundary[y2]
                assert inside or limits[y1, y2] < limits[x1, x2]
                assert not inside or limits[y1, y2] >= limits[x1, x2] - 1e-5


def test_few_votes_outside_the_top_two_cost_nothing():
    # There the region ends within the stride of the boundary's nodes, and `runner-up` uses
    # p_B <= 1 - p_A.
    rows = []
    for n in (300, 1000, 10**4, 10**5):
        for share in (0.52, 0.68, 0.9, 0.99):
            for rest in (0, 1, 3, 8, 20):
                rows.append([int(n * share) - rest, n - int(n * share), rest])
    exact = bound(rows, "probit").lower
    floor = rsbounds.margin_lower_bound(rows, 0, alpha=0.001, scale="probit", method="runner-up")
    assert (exact >= floor.lower - 1e-9).all()


def test_options_are_checked():
    with pytest.raises(ValueError, match="wald"):
        bound([[5, 3, 2]], "probit", statistic="wald")
    with pytest.raises(ValueError, match="score"):
        bound([[5, 3, 2]], "probit", statistic="score")
    with pytest.raises(ValueError, match="beta"):
        bound([[5, 3, 2]], "probit", beta=1.0)
    with pytest.raises(ValueError, match="statistic"):
        bound([[5, 3, 2]], "probit", statistic="best")


def test_a_row_that_used_up_its_budget_says_so():
    # Too many draws for the default budget: lower than it could be, still proven, flagged.
    result = bound([[6_666_667, 3_333_333, 0]], "probit")
    assert result.details["exhausted"][0]
    assert result.details["p_value"][0] <= 0.001
    cohen = rsbounds.margin_lower_bound(
        [[6_666_667, 3_333_333, 0]], 0, alpha=0.001, scale="probit", method="complement"
    )
    assert result.lower[0] > cohen.lower[0] - 0.01
