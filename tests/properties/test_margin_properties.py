"""Properties over counts up to 1e9."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rsbounds
from rsbounds.bounds.margin import MARGIN_METHODS
from rsbounds.testing.strategies import alphas, counts

# Methods that are slow per row have their own properties, on fewer and smaller examples.
FAST = [
    name
    for name in MARGIN_METHODS
    if MARGIN_METHODS[name].seconds_per_row == 0 and MARGIN_METHODS[name].chunk >= 4096
]
SCALES = st.sampled_from(["linear", "probit"])


def lower(rows, name, scale, alpha, top=0, **options):
    return rsbounds.margin_lower_bound(
        rows, top, alpha=alpha, scale=scale, method=name, **options
    ).lower


def not_above(a, b):
    """a <= b, up to the outward rounding of both."""
    return a <= b + 1e-9 * (1 + abs(b)) if np.isfinite(b) or np.isfinite(a) else a <= b


@pytest.mark.parametrize("name", FAST)
@given(row=counts(), scale=SCALES, alpha=alphas())
def test_is_monotone_in_each_count(name, row, scale, alpha):
    base = lower(row, name, scale, alpha)[0]
    assert not np.isnan(base)
    if sum(row[1:]) > 0:
        # One vote moved from another class to the top class, n unchanged.
        other = 1 + int(np.argmax(row[1:]))
        moved = list(row)
        moved[other] -= 1
        moved[0] += 1
        assert not_above(base, lower(moved, name, scale, alpha)[0])
    if row[0] > 0 and name != "complement":
        for other in range(1, len(row)):
            moved = list(row)
            moved[0] -= 1
            moved[other] += 1
            assert not_above(lower(moved, name, scale, alpha)[0], base)


@pytest.mark.parametrize("name", FAST)
@given(row=counts(), scale=SCALES, alpha=alphas(1e-12, 0.25))
def test_is_monotone_in_alpha(name, row, scale, alpha):
    assert not_above(lower(row, name, scale, alpha)[0], lower(row, name, scale, 2 * alpha)[0])


@pytest.mark.parametrize("name", FAST)
@given(row=counts(), scale=SCALES, alpha=alphas(), data=st.data())
def test_does_not_see_the_order_of_the_others(name, row, scale, alpha, data):
    order = data.draw(st.permutations(range(1, len(row))))
    shuffled = [row[0], *[row[i] for i in order]]
    assert lower(row, name, scale, alpha) == lower(shuffled, name, scale, alpha)


@given(row=counts(), scale=SCALES, alpha=alphas())
def test_runner_up_is_at_least_t_certify_at_the_same_split(row, scale, alpha):
    for f in (0.1, 0.9):
        ours = lower(row, "runner-up", scale, alpha, split=f)[0]
        theirs = lower(row, "t-certify", scale, alpha, fractions=(f,))[0]
        assert not_above(theirs, ours)


@settings(max_examples=50)
@given(row=counts(max_classes=2), scale=SCALES, alpha=alphas())
def test_two_classes_are_one_proportion(row, scale, alpha):
    # With two classes the margin is a function of p_A: 2 p_A - 1, or 2 Phi^-1(p_A).
    cohen = lower(row, "complement", scale, alpha)[0]
    if scale == "linear":
        p = float(rsbounds.clopper_pearson_lower(row[0], sum(row), alpha=alpha))
        assert cohen == pytest.approx(2 * p - 1, abs=1e-12)
    for name in FAST:
        assert not_above(lower(row, name, scale, alpha)[0], cohen)


def test_every_fast_method_is_registered():
    # FAST is read from the registry: a method that left it would leave the tests unseen.
    assert {"runner-up", "complement", "bonferroni", "t-certify"} <= set(FAST)
