"""Every registered mean method keeps the contract; a new one is tested without new code."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rsbounds
from rsbounds.bounds.mean import MEAN_METHODS, MeanMethod, mean_bound
from rsbounds.testing.contracts import MEAN_CHECKS

METHODS = [
    pytest.param(MEAN_METHODS[name](**options), id=f"{name}{dict(options) or ''}")
    for name in MEAN_METHODS
    if MEAN_METHODS[name].fixed_n
    for options in MEAN_METHODS[name].variants
]


@pytest.mark.parametrize("check", MEAN_CHECKS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_contract(method, check):
    MEAN_CHECKS[check](method)


@dataclass(frozen=True)
class Half(MeanMethod):
    """With probability 1 - alpha the mean is above half of Hoeffding's bound: a third party's."""

    name: ClassVar[str] = "half"
    source: ClassVar[str] = "Hoeffding 1963, halved"
    cost: ClassVar[str] = "one pass per row"
    choose: ClassVar[str] = "never: it is here to be checked"

    @property
    def guarantee(self):
        return "proven"

    def lower(self, y, alpha):
        width = np.sqrt(np.log(1 / alpha) / (2 * y.shape[1]))
        return np.maximum(0.5 * (y.mean(axis=1) - width), 0.0)


@pytest.mark.parametrize("check", MEAN_CHECKS)
def test_a_third_partys_method_goes_through_the_same_checks(check):
    MEAN_CHECKS[check](Half())


@pytest.mark.parametrize(
    ("lower", "check"),
    [
        (lambda self, y, alpha: y.mean(axis=1), "all ones"),
        (lambda self, y, alpha: np.full(len(y), 0.5), "extreme rows"),
        (lambda self, y, alpha: y.mean(axis=1) * (1 - alpha), "smaller alpha"),
        (lambda self, y, alpha: y.mean(axis=1) / np.arange(1, len(y) + 1), "batch of one"),
    ],
)
def test_a_broken_method_is_caught(lower, check):
    name = next(name for name in MEAN_CHECKS if check in name)
    broken = type("Broken", (Half,), {"lower": lower, "__doc__": Half.__doc__})
    with pytest.raises(AssertionError):
        MEAN_CHECKS[name](broken())


def test_axis_says_where_the_draws_lie():
    x = np.random.default_rng(6).beta(9, 1, (500, 3))
    down = mean_bound(x, alpha=0.01, axis=0)
    assert down.n.tolist() == [500] * 3
    across = mean_bound(x.T, alpha=0.01, axis=1)
    alone = [mean_bound(column, alpha=0.01).lower[0] for column in x.T]
    assert down.lower.tolist() == across.lower.tolist() == alone
    with pytest.raises(ValueError, match=r"samples\[0, 0\] is .*; allowed with method clopper"):
        mean_bound(x, alpha=0.01, axis=0, method="clopper-pearson")
    assert mean_bound(x[:, 0], alpha=0.01, axis=0).lower[0] == alone[0]


@settings(max_examples=25)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=60),
    st.sampled_from([n for n in MEAN_METHODS if not MEAN_METHODS[n].two_point]),
    st.floats(1e-12, 0.9),
)
def test_any_samples_give_a_bound_in_range(row, method, alpha):
    found = mean_bound(row, alpha=alpha, side="both", method=method)
    assert 0 <= found.lower[0] <= found.upper[0] <= 1
    assert found.lower[0] <= max(row)
    assert found.upper[0] >= min(row)


BAD = [
    ({"samples": [0.2, 1.5]}, r"samples\[1\] is 1.5; allowed: numbers in \[0, 1\]"),
    ({"samples": [[0.2, 0.3], [0.1, -1e-9]]}, r"samples\[1, 1\] is -1e-09"),
    ({"samples": [0.2, float("nan")]}, r"samples\[1\] is nan"),
    ({"samples": []}, "samples is empty"),
    ({"samples": [0.5]}, "n = 1 draws; allowed: n >= 2"),
    ({"samples": ["a", "b"]}, "samples has type"),
    ({"samples": [[0.1, 0.2], [0.3]]}, "rows of different lengths"),
    ({"samples": np.zeros((2, 2, 2))}, "samples has shape"),
    # 500 draws of 3 quantities were silently 500 bounds from 3 draws.
    ({"samples": np.zeros((500, 3))}, r"axis is None for samples of shape \(500, 3\); allowed: 0"),
    ({"samples": np.zeros((3, 4)), "axis": 2}, "axis is 2; allowed: 0 or 1"),
    ({"samples": np.zeros((3, 4)), "axis": True}, "axis is True; allowed: 0 or 1"),
    ({"axis": 1}, "axis is 1 for a single row of samples"),
    ({"samples": np.zeros((1, 4)), "axis": 0}, "n = 1 draws"),
    ({"support": (1, 1)}, r"support is \(1, 1\); allowed: \(a, b\) with a < b"),
    ({"support": (2, 1)}, "support is"),
    ({"support": (0, float("inf"))}, "support is"),
    ({"support": 3}, "support is 3"),
    ({"alpha": 0}, "alpha is 0"),
    ({"alpha": 1}, "alpha is 1"),
    ({"side": "left"}, "side is 'left'; allowed: lower, upper, both"),
    ({"method": "magic"}, "method is 'magic'; known: goal"),
    ({"method": "betting", "cap": 1.0}, "cap is 1.0"),
    ({"method": "goal", "cap": 0.5}, "cap is not an option of goal"),
    ({"method": "mixture", "caps": (0.5,)}, "weights is"),
    ({"method": "clopper-pearson"}, r"samples\[0\] is 0.2; allowed with method clopper-pearson"),
]


@pytest.mark.parametrize(("given_", "message"), BAD)
def test_bad_input_is_refused(given_, message):
    arguments = {"samples": [0.2, 0.4, 1.0], "alpha": 0.05, **given_}
    with pytest.raises(ValueError, match=message):
        rsbounds.mean_bound(**arguments)
