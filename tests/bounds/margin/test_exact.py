import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaincinv, gammaln
from scipy.stats import norm

import rsbounds
from rsbounds.bounds.margin._orderings import (
    divergence_limit,
    fill_boundary,
    fill_wald,
    ranked_as,
    restricted,
    wald_limit,
    wald_pseudo,
)
from rsbounds.testing import margin_coverage, outcomes, simplex_grid

CASES = list(itertools.product(("linear", "probit"), ("likelihood", "score", "wald", "runner-up")))
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
    found = margin_coverage(
        "exact", n=n, classes=classes, alpha=alpha, scale=scale, points=points, statistic=statistic
    )
    found.assert_at_most(alpha)


@pytest.mark.parametrize("scale", ["linear", "probit"])
@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("n", [25, 40])
def test_coverage_with_four_classes(scale, alpha, n):
    points = np.vstack([simplex_grid(4, 6), [[0.97, 0.01, 0.01, 0.01], [0.4, 0.3, 0.2, 0.1]]])
    found = margin_coverage("exact", n=n, classes=4, alpha=alpha, scale=scale, points=points)
    found.assert_at_most(alpha)


@pytest.mark.parametrize(("scale", "statistic"), CASES, ids=ids)
def test_coverage_without_a_window(scale, statistic):
    found = margin_coverage(
        "exact",
        n=12,
        classes=3,
        alpha=0.05,
        scale=scale,
        points=simplex_grid(3, 16),
        statistic=statistic,
        beta=0.0,
    )
    found.assert_at_most(0.05)


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
            # Also where p_c <= 1 - p_A is what the runner-up bound uses.
            assert (exact >= floor.lower - 1e-12 * (1 + abs(floor.lower))).all()


def test_never_below_runner_up_at_any_small_outcome():
    # Old: -0.0242 for [54, 46, 0] at alpha 0.3, where the runner-up bound is 0.0087.
    for n, scale in itertools.product((9, 30), ("linear", "probit")):
        table = outcomes(n, 3)
        table = table[table[:, 0] > 0]
        for alpha, split in ((0.3, 0.9), (0.001, 0.5)):
            exact = bound(table, scale, alpha, statistic="runner-up", beta=0.0, split=split).lower
            floor = rsbounds.margin_lower_bound(
                table, 0, alpha=alpha, scale=scale, method="runner-up", split=split
            ).lower
            assert (exact >= floor - 1e-12 * (1 + abs(floor))).all()
    exact = bound([54, 46, 0], "linear", 0.3, statistic="runner-up", beta=0.0).lower
    assert exact[0] >= 0.0087


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_monotone_and_blind_to_the_order_of_classes(data):
    classes = data.draw(st.integers(3, 6))
    counts = np.array(data.draw(st.lists(st.integers(0, 150), min_size=classes, max_size=classes)))
    counts[0] += 1
    scale = data.draw(st.sampled_from(["linear", "probit"]))
    alpha = data.draw(st.sampled_from([1e-6, 0.001, 0.05, 0.3]))
    ordering = data.draw(st.sampled_from(["likelihood", "score", "wald", "runner-up"]))
    # The exact limit is monotone; what is returned lies below it by at most slack over the
    # slope of log p in the level, which is above 1/5 for counts like these.
    slack = 1e-5
    options = {"slack": slack, "budget": 1_000_000, "statistic": ordering}
    fuzz = 5 * slack
    base = bound([counts], scale, alpha, **options).lower[0]
    others = counts[1:].copy()
    np.random.default_rng(0).shuffle(others)
    assert bound([[counts[0], *others]], scale, alpha, **options).lower[0] == base
    # One vote moves between classes, n fixed.
    giver = data.draw(st.integers(1, classes - 1))
    if counts[giver] > 0:
        moved = counts.copy()
        moved[giver] -= 1
        moved[0] += 1
        assert bound([moved], scale, alpha, **options).lower[0] >= base - fuzz
    for taker in range(1, classes):
        if taker != giver and counts[giver] > 0 and counts[taker] == counts[1:].max():
            moved = counts.copy()
            moved[giver] -= 1
            moved[taker] += 1
            assert bound([moved], scale, alpha, **options).lower[0] <= base + fuzz


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
    assert result.solved.all()
    assert not np.isnan(result.lower).any()
    assert (result.details["p_value"] <= alpha * (1 + 1e-9)).sum() >= len(rows) // 2
    if scale == "linear":
        assert (result.lower <= plug_in + 1e-9).all()
        large = counts.sum(axis=1) == 10**7
        assert (result.lower[large] >= plug_in[large] - 0.005).all()


@pytest.mark.parametrize("scale", ["linear", "probit"])
@pytest.mark.parametrize("alpha", [1e-6, 0.001, 0.05, 0.3])
def test_the_slack_costs_no_more_than_it_says(scale, alpha):
    # log p rises by more than 1 per unit of the level here, so the bound loses at most slack.
    table = outcomes(20, 3)
    table = table[(table[:, 0] > 0) & (table[:, 1] >= table[:, 2])]
    fine = bound(table, scale, alpha, slack=1e-5, budget=1_000_000).lower
    loss = fine - bound(table, scale, alpha).lower
    assert loss.max() <= 2.5e-3
    assert loss.min() >= -1e-5


def test_a_thousand_classes_and_a_small_budget():
    counts = np.zeros((1, 1000), dtype=int)
    counts[0, :5] = [900, 50, 30, 15, 5]
    full = bound(counts, "probit").lower[0]
    short = bound(counts, "probit", budget=3)
    assert short.details["exhausted"][0]
    assert short.lower[0] < full
    assert short.solved[0]


def limits_of_all_outcomes(n, z, probit, statistic):
    limits = np.full((n + 1, n + 1), -np.inf)
    for y1, y2 in itertools.product(range(n + 1), repeat=2):
        if y1 + y2 <= n and statistic == "wald":
            limits[y1, y2] = wald_limit(n, y1, y2, z, probit)
        elif y1 + y2 <= n:
            counts = ranked_as(y1, y2, n - y1 - y2, 0.5)
            limits[y1, y2], _, _ = divergence_limit(*counts, z, probit, statistic == "score")
    return limits


@pytest.mark.parametrize("n", [6, 31])
@pytest.mark.parametrize("z", [0.5, 3.09, 7.0])
@pytest.mark.parametrize("probit", [False, True], ids=["linear", "probit"])
@pytest.mark.parametrize("statistic", ["likelihood", "score", "wald"])
def test_orderings_are_monotone_and_boundaries_are_theirs(n, z, probit, statistic):
    # By brute force over every outcome: what ranks as high as x is inside, and what ranks
    # clearly lower is not.
    limits = limits_of_all_outcomes(n, z, probit, statistic)
    for y1, y2 in itertools.product(range(n), repeat=2):
        if y1 + y2 < n:
            assert limits[y1 + 1, y2] > limits[y1, y2] > limits[y1, y2 + 1]
    for x1, x2 in itertools.product((0, 1, n // 3, n // 2, n - 2, n), (0, 1, n // 4, n // 2)):
        if x1 + x2 > n or (x1 == 0 and probit):
            continue
        boundary = np.empty(n + 1, dtype=np.int64)
        level = limits[x1, x2]
        if statistic == "wald":
            fill_wald(n, x1, x2, z, probit, 0, boundary)
        else:
            counts = ranked_as(x1, x2, n - x1 - x2, 0.5)
            pearson = statistic == "score"
            _, at, _ = divergence_limit(*counts, z, probit, pearson)
            fill_boundary(n, x1, x2, level, at, z, 0.5, probit, pearson, 0, boundary)
        assert (np.diff(boundary) >= 0).all()
        for y1, y2 in itertools.product(range(n + 1), repeat=2):
            if y1 + y2 > n:
                continue
            inside = y1 >= boundary[y2]
            assert inside or limits[y1, y2] < level
            if inside and statistic == "wald":
                assert limits[y1, y2] >= level - 1e-8
            elif inside and limits[y1, y2] < level:
                # Too large by at most a hundredth of a vote.
                a1, a2, a3 = ranked_as(y1, y2, n - y1 - y2, 0.5)
                counts = a1 + 0.01, a2, a3 - 0.01
                assert divergence_limit(*counts, z, probit, statistic == "score")[0] >= level


@pytest.mark.parametrize("pearson", [False, True], ids=["likelihood", "score"])
@pytest.mark.parametrize(("x1", "x2"), [(2, 1500), (40, 1200), (300, 300), (700, 1400), (1, 2999)])
def test_region_of_a_losing_row_holds_between_the_points_solved_for(x1, x2, pearson):
    # Not every x2 is solved for. The last outcome below the boundary ranks lower than what was
    # seen, and the first above it not clearly so.
    n, z = 3000, 3.0
    level, at, _ = divergence_limit(*ranked_as(x1, x2, n - x1 - x2, 0.5), z, True, pearson)
    assert level < 0
    boundary = np.empty(n + 1, dtype=np.int64)
    fill_boundary(n, x1, x2, level, at, z, 0.5, True, pearson, 0, boundary)
    for y2 in range(0, n + 1, 7):
        below = boundary[y2] - 1
        if (below, y2) != (x1 - 1, x2) and 0 < below <= n - y2:
            limit = divergence_limit(*ranked_as(below, y2, n - below - y2, 0.5), z, True, pearson)
            assert limit[0] < level
        above = boundary[y2]
        if above < n - y2 and not (above == x1 and y2 <= x2):
            a1, a2, a3 = ranked_as(above, y2, n - above - y2, 0.5)
            assert divergence_limit(a1 + 0.01, a2, a3 - 0.01, z, True, pearson)[0] >= level


@pytest.mark.parametrize("alpha", [1e-9, 0.001, 0.3])
@pytest.mark.parametrize("probit", [False, True], ids=["linear", "probit"])
@pytest.mark.parametrize("statistic", ["likelihood", "score", "wald"])
def test_the_p_value_dominates_a_dense_scan_at_the_bound(statistic, probit, alpha):
    # The region by brute force, the null points by a scan; nothing of the search is used.
    n, beta = 24, 1e-3
    z = max(-norm.ppf(alpha), 0.3)
    limits = limits_of_all_outcomes(n, z, probit, statistic)
    table = outcomes(n, 3)
    table = table[(table[:, 0] > 0) & (table[:, 1] >= table[:, 2])]
    everything = outcomes(n, 3)
    ranks = limits[everything[:, 0], everything[:, 1]]
    result = bound(table, "probit" if probit else "linear", alpha, statistic=statistic)
    ways = gammaln(n + 1) - gammaln(everything + 1).sum(axis=1)
    for x, level, p_value in zip(table, result.lower, result.details["p_value"], strict=True):
        lowest = betaincinv(x[0], n - x[0] + 1, 0.5 * beta * alpha)
        highest = betaincinv(x[1] + 1, n - x[1], 1 - 0.5 * beta * alpha) if x[1] < n else 1.0
        if probit:
            last = min(norm.ppf(highest), -0.5 * level)
            q2 = norm.cdf(np.linspace(norm.ppf(lowest) - level, last, 60))
            q1 = norm.cdf(norm.ppf(q2) + level)
        else:
            last = min(highest, 0.5 * (1 - level))
            q2 = np.maximum(np.linspace(lowest - level, last, 60), 0.0)
            q1 = q2 + level
        q = np.stack([q1, q2, 1 - q1 - q2], axis=1)
        q = np.clip(q[(q1 >= lowest) & (q2 <= highest) & (q[:, 2] >= 0)], 1e-300, 1.0)
        inside = everything[ranks >= limits[x[0], x[1]]]
        kept = ways[ranks >= limits[x[0], x[1]]]
        worst = np.exp(kept + np.log(q) @ inside.T).sum(axis=1).max(initial=0.0)
        assert beta * alpha + worst <= p_value * (1 + 1e-6)


@pytest.mark.parametrize("probit", [False, True], ids=["linear", "probit"])
@pytest.mark.parametrize("pearson", [False, True], ids=["deviance", "pearson"])
def test_the_nearest_point_of_the_curve_is_the_nearest(probit, pearson):
    rng = np.random.default_rng(5)
    for _ in range(40):
        x = rng.multinomial(rng.integers(5, 3000), rng.dirichlet([2, 1, 0.5])) + 0.5
        share = x / x.sum()
        level = rng.uniform(-0.9, 0.9) if not probit else rng.normal(1, 2)
        _, found, slope = restricted(*x, level, probit, pearson, 0.3)
        if probit:
            q2 = norm.cdf(np.linspace(-12, -0.5 * level, 400_001))
            q1 = norm.cdf(norm.ppf(q2) + level)
        else:
            q2 = np.linspace(max(0, -level), 0.5 * (1 - level), 400_001)
            q1 = q2 + level
        q = np.stack([q1, q2, 1 - q1 - q2])
        q = q[:, (q > 1e-12).all(axis=0)]
        if pearson:
            scan = 0.5 * (x.sum() * ((share[:, None] - q) ** 2 / q).sum(axis=0)).min()
        else:
            scan = (x[:, None] * np.log(share[:, None] / q)).sum(axis=0).min()
        assert found <= scan * (1 + 1e-9) + 1e-9
        assert found >= scan * (1 - 1e-3) - 1e-6
        step = 1e-5
        _, above, _ = restricted(*x, level + step, probit, pearson, 0.3)
        _, below, _ = restricted(*x, level - step, probit, pearson, 0.3)
        assert (above - below) / (2 * step) == pytest.approx(slope, rel=1e-3, abs=1e-2)


def test_the_pseudo_count_makes_the_probit_wald_limit_monotone():
    # Interval arithmetic over the whole simplex with p >= 1e-10 (n up to 1e9, with at least one
    # pseudo-count per cell): (dV/dp_i / dg/dp_i)^2 min(p)/(4 V) is below 9/16 where V works
    # against g, cell by cell in (Phi^-1(p1), Phi^-1(p2)).
    nodes = np.linspace(-6.5, 6.5, 1041)
    low, high = nodes[:-1], nodes[1:]
    fuzz = 1e-12
    p, rest = (norm.cdf(low), norm.cdf(high)), (norm.sf(high), norm.sf(low))
    f_low = np.minimum(norm.pdf(low), norm.pdf(high))
    f_high = np.where(low * high < 0, norm.pdf(0), np.maximum(norm.pdf(low), norm.pdf(high)))
    # p/phi grows and (1 - p)/phi falls with the quantile.
    r = (norm.cdf(low) / norm.pdf(low), norm.cdf(high) / norm.pdf(high))
    s = (norm.sf(high) / norm.pdf(high), norm.sf(low) / norm.pdf(low))
    ry = tuple(np.stack([low * r[0], low * r[1], high * r[0], high * r[1]]))
    ry = (np.min(ry, axis=0), np.max(ry, axis=0))
    column, row = np.s_[:, None], np.s_[None, :]
    variance = (
        (p[0] * rest[0] / f_high**2)[column]
        + (p[0] * rest[0] / f_high**2)[row]
        + 2 * r[0][column] * r[0][row]
    )
    # With t = dV/dp1 phi1 = (1 - 2 p1)/phi1 + 2 (1 - p1) r1 y1/phi1 + 2 r2 (1 + r1 y1).
    own = [np.stack([(rest[k] - p[1 - k]) / f for f in (f_low, f_high)]) for k in (0, 1)]
    turn = np.stack([s[i] * ry[j] for i in (0, 1) for j in (0, 1)])
    first = (own[0].min(axis=0) + 2 * turn.min(axis=0), own[1].max(axis=0) + 2 * turn.max(axis=0))
    lift = (np.maximum(1 + ry[0], 0.0), 1 + ry[1])  # r y > -1: Mills
    bottom = first[0][column] + 2 * r[0][row] * lift[0][column]
    top = first[1][column] + 2 * r[1][row] * lift[1][column]
    third = np.minimum(1 - p[0][column] - p[0][row], 1.0)
    smallest = np.minimum(np.minimum(p[1][column], p[1][row]), np.maximum(third, 0.0))
    for against in (np.maximum(top, 0.0), np.maximum(-bottom, 0.0)):
        assert (against**2 * smallest / (4 * variance)).max() * (1 + fuzz) < 9 / 16

    # The formula for t against differences of V, and V against the variance of its definition.
    def spread(p1, p2):
        w = np.array([1 / norm.pdf(norm.ppf(p1)), -1 / norm.pdf(norm.ppf(p2)), 0.0])
        q = np.array([p1, p2, 1 - p1 - p2])
        return q @ w**2 - (q @ w) ** 2

    for p1, p2 in ((0.7, 0.2), (0.02, 0.9), (0.3, 0.3), (0.99, 0.004)):
        y, f = norm.ppf(p1), norm.pdf(norm.ppf(p1))
        r1, r2 = p1 / f, p2 / norm.pdf(norm.ppf(p2))
        t = (1 - 2 * p1) / f + 2 * (1 - p1) * r1 * y / f + 2 * r2 * (1 + r1 * y)
        change = (spread(p1 + 1e-6, p2) - spread(p1 - 1e-6, p2)) / 2e-6
        assert t / f == pytest.approx(change, rel=1e-4)
        n = 10**6
        a, size = wald_pseudo(3.0), n + 3 * wald_pseudo(3.0)
        margin = norm.ppf((p1 * n + a) / size) - norm.ppf((p2 * n + a) / size)
        root = np.sqrt(spread((p1 * n + a) / size, (p2 * n + a) / size) / size)
        limit = wald_limit(n, round(p1 * n), round(p2 * n), 3.0, True)
        assert limit == pytest.approx(margin - 3 * root, abs=1e-9)


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
    with pytest.raises(ValueError, match="beta"):
        bound([[5, 3, 2]], "probit", beta=1.0)
    for budget in (0, 3.7, True):
        with pytest.raises(ValueError, match="budget"):
            bound([[5, 3, 2]], "probit", budget=budget)
    with pytest.raises(ValueError, match="statistic"):
        bound([[5, 3, 2]], "probit", statistic="best")


@pytest.mark.parametrize("scale", ["linear", "probit"])
def test_ten_million_draws_and_hardly_a_third_class(scale):
    # Against the bound of two classes, which is the best possible without a third.
    rows = [[6_666_667 - rest, 3_333_333, rest] for rest in (0, 3, 20)]
    rows += [[9_000_000, 999_000, 1000], [5_000_001, 4_999_999, 0]]
    result = bound(rows, scale)
    assert not result.details["exhausted"].any()
    for row, lower in zip(rows, result.lower, strict=True):
        two = [[row[0], row[1] + row[2]]]
        cohen = bound(two, scale).lower[0]
        floor = rsbounds.margin_lower_bound(
            [row], 0, alpha=0.001, scale=scale, method="runner-up"
        ).lower[0]
        assert lower >= floor
        assert lower >= cohen - 2e-5


@pytest.mark.parametrize(("scale", "statistic"), CASES, ids=ids)
def test_no_row_of_few_draws_uses_up_its_budget(scale, statistic):
    for n in (2, 9, 40):
        result = bound(outcomes(n, 3), scale, statistic=statistic)
        assert not result.details["exhausted"].any()


def test_a_row_that_used_up_its_budget_says_so():
    # Lower than it could be, still proven, flagged.
    full, short = (bound([[6667, 3333, 0]], "probit", budget=b) for b in (5000, 60))
    assert not full.details["exhausted"][0]
    assert short.details["exhausted"][0]
    assert short.details["p_value"][0] <= 0.001
    assert short.lower[0] <= full.lower[0]


def test_rows_that_share_their_bound_are_bounded_once(monkeypatch):
    """A bound rests on alpha, the scale, the top count, the largest other count and n."""
    from rsbounds.bounds.margin import exact, margin_method

    kernel, asked = exact._kernel, []

    def counted(counts, top, n, *rest):
        asked.extend(zip(counts.tolist(), top.tolist(), strict=True))
        return kernel(counts, top, n, *rest)

    monkeypatch.setattr(exact, "_kernel", counted)
    rows = [[60, 30, 10], [10, 60, 30], [60, 30, 9], [50, 40, 10], [5, 60, 35], [60, 30, 10]]
    top = [0, 1, 0, 0, 1, 1]
    method = margin_method("exact", {})
    settings = {"alpha": 0.01, "scale": "probit"}
    together = rsbounds.margin_lower_bound(rows, top, method=method, **settings)
    # (60, 30, 100) twice; (60, 30, 99), (50, 40, 100), (60, 35, 100) and (30, 60, 100) once.
    assert len(asked) == 5
    again = rsbounds.margin_lower_bound(rows[::-1], top[::-1], method=method, **settings)
    assert len(asked) == 5
    alone = [
        rsbounds.margin_lower_bound([row], [t], method="exact", **settings)
        for row, t in zip(rows, top, strict=True)
    ]
    assert len(asked) == 11
    np.testing.assert_array_equal(together.lower, [one.lower[0] for one in alone])
    np.testing.assert_array_equal(again.lower, together.lower[::-1])
    for name, values in together.details.items():
        np.testing.assert_array_equal(values, [one.details[name][0] for one in alone])
    # Nothing else is taken for it: two classes, another alpha, another scale.
    for counts, changed in [
        ([[60, 40]], settings), ([[60, 40, 0]], settings),
        (rows[:1], {**settings, "alpha": 0.02}), (rows[:1], {**settings, "scale": "linear"}),
    ]:  # fmt: skip
        held = rsbounds.margin_lower_bound(counts, 0, method=method, **changed)
        new = rsbounds.margin_lower_bound(counts, 0, method="exact", **changed)
        np.testing.assert_array_equal(held.lower, new.lower)
