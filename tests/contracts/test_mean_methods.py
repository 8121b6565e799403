"""Every registered mean method keeps the contract; a new one is tested without new code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rsbounds
from rsbounds.bounds.mean import MEAN_METHODS, mean_bound

METHODS = [
    pytest.param(name, dict(options), id=f"{name}{options or ''}")
    for name in MEAN_METHODS
    for options in MEAN_METHODS[name].variants
]


def data(name, rng, shape):
    if MEAN_METHODS[name].two_point:
        return (rng.random(shape) < 0.9).astype(float)
    return rng.beta(9, 1, shape)


@pytest.mark.parametrize(("name", "options"), METHODS)
class TestEveryMethod:
    def test_declares_itself(self, name, options):
        method = MEAN_METHODS[name](**options)
        assert method.name == name
        assert method.guarantee in ("proven", "enumerated")
        for text in (method.source, method.cost, method.choose, method.__doc__):
            assert len(text) > 10
        assert "probability" in method.__doc__, "the guarantee in one sentence"

    def test_one_row_is_the_batch_of_one(self, name, options):
        rows = data(name, np.random.default_rng(1), (7, 150))
        together = mean_bound(rows, alpha=0.01, side="both", method=name, axis=1, **options)
        for i, row in enumerate(rows):
            one = mean_bound(row, alpha=0.01, side="both", method=name, **options)
            assert one.lower[0] == together.lower[i]
            assert one.upper[0] == together.upper[i]
        assert (together.lower <= rows.mean(axis=1)).all()
        assert (together.upper >= rows.mean(axis=1)).all()

    def test_no_dependence_on_threads(self, name, options, monkeypatch):
        rows = data(name, np.random.default_rng(2), (40, 30_000))
        got = []
        for threads in ("1", "3"):
            monkeypatch.setenv("RSBOUNDS_NUM_THREADS", threads)
            got.append(mean_bound(rows, alpha=0.01, method=name, axis=1, **options).lower)
        assert (got[0] == got[1]).all()

    def test_reflection_swaps_the_sides(self, name, options):
        x = data(name, np.random.default_rng(3), (3, 400))
        low = mean_bound(x, alpha=0.01, side="lower", method=name, axis=1, **options).lower
        high = mean_bound(1 - x, alpha=0.01, side="upper", method=name, axis=1, **options).upper
        np.testing.assert_allclose(high, 1 - low, rtol=0, atol=2e-9)
        assert (high >= 1 - low - 1e-15).all()

    def test_scaling_moves_the_bound_along(self, name, options):
        x = data(name, np.random.default_rng(4), (3, 400))
        low = mean_bound(x, alpha=0.01, method=name, axis=1, **options).lower
        moved = mean_bound(-3 + 8 * x, alpha=0.01, method=name, support=(-3, 5), axis=1, **options)
        np.testing.assert_allclose(moved.lower, -3 + 8 * low, rtol=0, atol=2e-8)
        assert moved.support == (-3.0, 5.0)

    def test_smaller_alpha_never_raises_the_bound(self, name, options):
        x = data(name, np.random.default_rng(5), (4, 200))
        levels = [0.3, 0.05, 1e-3, 1e-9, 1e-100, 1e-300]
        bounds = [mean_bound(x, alpha=a, method=name, axis=1, **options).lower for a in levels]
        for wide, narrow in zip(bounds[1:], bounds[:-1], strict=True):
            # `goal` rounds to a grid that moves with alpha, by at most 0.3 % of its width.
            assert (wide <= narrow + (3e-3 if name == "goal" else 1e-12)).all()

    def test_extreme_rows(self, name, options):
        for row in ([0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0] * 500, [0.0] * 500):
            for alpha in (0.999999, 0.5, 1e-3, 1e-300):
                found = mean_bound(row, alpha=alpha, side="both", method=name, **options)
                assert 0 <= found.lower[0] <= found.upper[0] <= 1
                assert found.lower[0] <= max(row)
        assert mean_bound([0.0] * 500, alpha=0.1, method=name, **options).lower[0] == 0
        tiny = np.full(300, 5e-324)
        if not MEAN_METHODS[name].two_point:
            assert mean_bound(tiny, alpha=0.1, method=name, **options).lower[0] <= 1e-300

    def test_a_bound_on_all_ones_is_below_the_binomial_one(self, name, options):
        # For X = 1 always seen, no valid bound exceeds alpha^(1/n).
        found = mean_bound(np.ones(300), alpha=0.001, method=name, **options)
        assert found.lower[0] <= 0.001 ** (1 / 300)
        assert found.details["two_point"][0]


def test_axis_says_where_the_draws_lie():  # issue item 12
    x = np.random.default_rng(6).beta(9, 1, (500, 3))
    down = mean_bound(x, alpha=0.01, axis=0)
    assert len(down) == 3
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
    # issue item 12: 500 draws of 3 quantities were silently 500 bounds from 3 draws.
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
