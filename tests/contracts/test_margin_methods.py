"""Every registered margin method keeps the contract; a new one is tested without new code."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import norm

import rsbounds
from rsbounds._types import Selection
from rsbounds.bounds.margin import MARGIN_METHODS, MarginMethod, margin_lower_bound
from rsbounds.testing.contracts import MARGIN_CHECKS

RNG = np.random.default_rng(5)


def usable_variants():
    for name in MARGIN_METHODS:
        if MARGIN_METHODS[name].usable():
            for options in MARGIN_METHODS[name].variants:
                text = ",".join(f"{k}={v}" for k, v in options.items())
                yield pytest.param(MARGIN_METHODS[name](**options), id=f"{name}[{text}]")


@pytest.mark.parametrize("check", MARGIN_CHECKS)
@pytest.mark.parametrize("method", list(usable_variants()))
def test_every_method_keeps_the_contract(method, check):
    MARGIN_CHECKS[check](method)


@dataclass(frozen=True)
class Hoeffding(MarginMethod):
    """With probability 1 - alpha each share is within its Hoeffding width: a third party's."""

    name: ClassVar[str] = "hoeffding-votes"
    source: ClassVar[str] = "Hoeffding 1963, Theorem 2"
    cost: ClassVar[str] = "one square root per row"
    choose: ClassVar[str] = "never: it is here to be checked"

    @property
    def guarantee(self):
        return "proven"

    def rows(self, problem):
        rows = np.arange(len(problem.n))
        others = problem.counts.copy()
        others[rows, problem.top] = -1
        width = np.sqrt(np.log(problem.counts.shape[1] / problem.alpha) / (2 * problem.n))
        p_a = np.clip(problem.counts[rows, problem.top] / problem.n - width, 0, 1)
        p_b = np.clip(others.max(axis=1) / problem.n + width, 0, 1)
        if problem.probit:
            with np.errstate(invalid="ignore"):
                margin = norm.ppf(p_a) - norm.ppf(p_b)
            return {"lower": np.where((p_a == 0) | (p_b == 1), -np.inf, margin)}
        return {"lower": p_a - p_b}


@pytest.mark.parametrize("check", MARGIN_CHECKS)
def test_a_third_partys_method_goes_through_the_same_checks(check):
    MARGIN_CHECKS[check](Hoeffding())


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"source": ""}, "declares itself"),
        ({"__doc__": "It holds."}, "declares itself"),
        ({"rows": lambda self, p: {"lower": p.counts[:, 0] / p.n}}, "never nan and in range"),
        ({"rows": lambda self, p: {"lower": p.alpha / np.sqrt(p.n)}}, "rows may have different n"),
        ({"rows": lambda self, p: {"lower": -p.alpha * np.ones(len(p.n))}}, "smaller alpha"),
        ({"rows": lambda self, p: {"lower": -np.arange(1.0, len(p.n) + 1)}}, "batch of one"),
        ({"rows": lambda self, p: {"lower": p.counts[:, 1] / p.n - 1}}, "classes may be permuted"),
    ],
)
def test_a_broken_method_is_caught(change, check):
    name = next(name for name in MARGIN_CHECKS if check in name)
    broken = type("Broken", (Hoeffding,), {"__doc__": Hoeffding.__doc__, **change})
    with pytest.raises(AssertionError):
        MARGIN_CHECKS[name](broken())


SCALES = ["linear", "probit"]


@pytest.mark.parametrize("scale", SCALES)
def test_order_of_methods(scale):
    rows = np.vstack([RNG.multinomial(n, RNG.dirichlet([3, 1, 0.5, 0.2])) for n in [50, 5000] * 40])
    runner = margin_lower_bound(rows, 0, alpha=0.01, scale=scale, method="runner-up", split=0.7)
    t = margin_lower_bound(rows, 0, alpha=0.01, scale=scale, method="t-certify", fractions=(0.7,))
    assert (runner.lower >= t.lower - 1e-12).all()
    full = margin_lower_bound(rows, 0, alpha=0.01, scale=scale, method="t-certify")
    cohen = margin_lower_bound(rows, 0, alpha=0.01, scale=scale, method="complement")
    assert (full.lower >= cohen.lower).all()
    same = margin_lower_bound(
        rows, 0, alpha=0.01, scale=scale, method="t-certify", fractions=(1.0,)
    )
    assert (same.lower == cohen.lower).all()
    whole = margin_lower_bound(rows, 0, alpha=0.01, scale=scale, method="runner-up", split=1.0)
    assert (whole.lower == cohen.lower).all()
    best = margin_lower_bound(rows, 0, alpha=0.01, scale=scale, method="runner-up", split="optimal")
    for f in best.details["fraction"][:3]:
        one = margin_lower_bound(
            rows, 0, alpha=0.01, scale=scale, method="runner-up", split=float(f)
        )
        assert (best.lower >= one.lower).all()


def test_t_certify_solves_equation_14():
    from scipy import stats

    for row in ([700, 150, 100, 50], [90, 3, 3, 4], [50, 0, 0, 0], [20, 40, 30, 10]):
        n, alpha, f = sum(row), 0.01, 0.4
        got = margin_lower_bound(
            row, 0, alpha=alpha, scale="linear", method="t-certify", fractions=(f,)
        )
        p_a, p_b = got.details["p_a_lower"][0], got.details["p_b_upper"][0]
        assert stats.binom.sf(row[0] - 1, n, p_a) == pytest.approx(f * alpha, rel=1e-9)
        total = sum(stats.binom.cdf(c, n, p_b) for c in row[1:])
        assert total == pytest.approx((1 - f) * alpha, rel=1e-9)
        assert got.lower[0] == pytest.approx(p_a - p_b, rel=1e-12)


def test_pair_bonferroni_is_equations_4_to_6():
    from scipy import stats

    row, alpha = np.array([700, 150, 100, 50]), 0.01
    got = margin_lower_bound(row, 0, alpha=alpha, scale="probit", method="bonferroni").lower[0]
    p_a = stats.beta.ppf(alpha / 2, 700, 301)
    p_b = stats.beta.isf(alpha / 2, 151, 850)
    assert got == pytest.approx(stats.norm.ppf(p_a) - stats.norm.ppf(p_b), rel=1e-10)
    got = margin_lower_bound(
        row, 0, alpha=alpha, scale="linear", method="bonferroni", over="classes"
    )
    p_a, p_b = stats.beta.ppf(alpha / 4, 700, 301), stats.beta.isf(alpha / 4, 151, 850)
    assert got.lower[0] == pytest.approx(p_a - p_b, rel=1e-10)


def test_paper_rule_of_t_certify():
    row = [45, 30, 25]
    plain = margin_lower_bound(row, 0, alpha=0.3, scale="linear", method="t-certify")
    ruled = margin_lower_bound(
        row, 0, alpha=0.3, scale="linear", method="t-certify", require_majority=True
    )
    assert plain.lower[0] > 0
    assert ruled.lower[0] == -1


def test_guarantees_are_stated():
    build = {name: MARGIN_METHODS[name] for name in MARGIN_METHODS}
    assert build["runner-up"]().guarantee == "proven"
    assert build["runner-up"](split="selection").guarantee == "proven"
    assert build["runner-up"](split="optimal").guarantee == "enumerated"
    assert build["t-certify"]().guarantee == "enumerated"
    assert build["t-certify"](fractions=(0.5,)).guarantee == "proven"
    default = rsbounds.certify([9, 1], 0, noise=rsbounds.Gaussian(1.0))
    assert default.guarantee == "proven"


def test_planned_split_uses_only_the_selection_counts():
    select = rsbounds.select_top(np.array([[95, 3, 2], [60, 40, 0]]))
    counts = np.array([[9000, 600, 400], [6000, 4000, 0]])
    other = np.array([[8000, 1600, 400], [9000, 500, 500]])
    one = margin_lower_bound(
        counts, select, alpha=0.01, scale="probit", method="runner-up", split="selection"
    )
    two = margin_lower_bound(
        other, select, alpha=0.01, scale="probit", method="runner-up", split="selection"
    )
    assert (one.details["fraction"] == two.details["fraction"]).all()
    with pytest.raises(ValueError, match="carries no selection counts"):
        margin_lower_bound(
            counts, 0, alpha=0.01, scale="probit", method="runner-up", split="selection"
        )


def test_selection_and_estimation_must_differ():
    counts = np.array([[95, 3, 2], [60, 40, 0]])
    with pytest.raises(ValueError, match="selected from the same counts"):
        margin_lower_bound(counts, rsbounds.select_top(counts), alpha=0.01, scale="probit")
    with pytest.raises(ValueError, match="selected from the same counts"):
        margin_lower_bound(
            counts[:1], Selection(np.array([0]), counts[:1]), alpha=0.1, scale="probit"
        )
    with pytest.raises(ValueError, match=r"top was selected from counts of shape \(1, 3\)"):
        margin_lower_bound(
            counts, rsbounds.select_top(np.array([[1, 2, 3]])), alpha=0.01, scale="probit"
        )
    with pytest.raises(ValueError, match="select_top"):
        margin_lower_bound(counts, counts, alpha=0.01, scale="probit")


BAD = [
    ({"counts": [[1, -1]]}, r"counts\[0, 1\] is -1"),
    ({"counts": [[1, 2], [1.5, 2]]}, r"counts\[1, 0\] is 1.5"),
    ({"counts": [[1, float("nan")]]}, r"counts\[0, 1\] is nan"),
    ({"counts": [[1, float("inf")]]}, r"counts\[0, 1\] is inf"),
    ({"counts": [[1, 10**13]]}, r"counts\[0, 1\] is 10000000000000"),
    ({"counts": np.array([[1, 2**64 - 1]], dtype=np.uint64)}, r"counts\[0, 1\] is 1844"),
    ({"counts": [[6 * 10**11, 6 * 10**11]]}, "row 0 sums to 1200000000000"),
    ({"counts": [[1, 2], [0, 0]]}, "row 1 sums to 0"),
    ({"counts": np.empty((0, 3), dtype=int)}, "has no rows"),
    ({"counts": [[]]}, r"0 column\(s\)"),
    ({"counts": [[5]]}, r"1 column\(s\); allowed: at least 2 classes"),
    ({"counts": [[1, 2], [3]]}, "rows of different lengths"),
    ({"counts": [["a", "b"]]}, "counts has type <U1"),
    ({"counts": np.ones((2, 2, 2))}, r"shape \(2, 2, 2\)"),
    ({"counts": [[True, False]]}, "counts has type bool"),
    ({"top": 2}, r"top\[0\] is 2; allowed: a class index from 0 to 1"),
    ({"top": -1}, r"top\[0\] is -1"),
    ({"top": [0, 1]}, "top has 2 entries; allowed: 1"),
    ({"top": 0.5}, r"top\[0\] is 0.5"),
    ({"top": "first"}, "top is 'first'"),
    ({"alpha": 0}, "alpha is 0"),
    ({"alpha": 1.0}, "alpha is 1.0"),
    ({"alpha": -0.1}, "alpha is -0.1"),
    ({"alpha": float("nan")}, "alpha is nan"),
    ({"alpha": None}, "alpha is None"),
    ({"scale": "logit"}, "scale is 'logit'; allowed: linear, probit"),
    ({"method": "best"}, "method is 'best'; known: exact, runner-up, complement"),
    ({"option": 1}, "option is not an option of runner-up; its options: fractions, split"),
    ({"split": 0}, "split is 0"),
    ({"split": 1.1}, "split is 1.1"),
    ({"split": "best"}, "split is 'best'"),
    ({"fractions": ()}, r"fractions is \(\)"),
    ({"fractions": (0.5, 2)}, r"fractions is \(0.5, 2\)"),
    ({"method": "bonferroni", "over": "all"}, "over is 'all'; allowed: pair, classes"),
    ({"method": "t-certify", "require_majority": 1}, "require_majority is 1"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_named(change, message):
    arguments = {"counts": [[8, 2]], "top": 0, "alpha": 0.01, "scale": "probit", **change}
    arguments.setdefault("method", "runner-up")
    with pytest.raises(ValueError, match=message):
        margin_lower_bound(arguments.pop("counts"), arguments.pop("top"), **arguments)


def test_a_bad_row_far_down_is_named():
    counts = np.full((10_000, 2), 5)
    counts[9_123, 1] = -7
    with pytest.raises(ValueError, match=r"counts\[9123, 1\] is -7"):
        margin_lower_bound(counts, 0, alpha=0.01, scale="linear")


def test_a_third_party_registers_a_method():
    from rsbounds._registry import Registry

    @dataclass(frozen=True)
    class Nothing(MarginMethod):
        """With probability one the margin is at least -1."""

        name: ClassVar[str] = "nothing"

        def rows(self, problem):
            return {"lower": np.full(len(problem.n), -np.inf if problem.probit else -1.0)}

    registry = Registry("method", "rsbounds.no_such_group")
    registry.register("nothing", Nothing)
    registry.register("lazy", "rsbounds.bounds.margin.complement:Complement")
    assert registry.names() == ["lazy", "nothing"]
    assert registry["lazy"].name == "complement"
    with pytest.raises(ValueError, match="registered already"):
        registry.register("nothing", Nothing)
    with pytest.raises(ValueError, match="known: lazy, nothing"):
        registry["other"]
    result = margin_lower_bound([3, 1], 0, alpha=0.1, scale="linear", method=Nothing())
    assert result.lower.tolist() == [-1.0]
    with pytest.raises(ValueError, match="split is not an option of nothing"):
        margin_lower_bound([3, 1], 0, alpha=0.1, scale="linear", method=Nothing(), split=0.5)


def test_a_method_that_returns_nan_is_stopped():
    @dataclass(frozen=True)
    class Broken(MarginMethod):
        """With probability zero it is right."""

        name: ClassVar[str] = "broken"

        def rows(self, problem):
            return {"lower": np.full(len(problem.n), np.nan)}

    with pytest.raises(ArithmeticError, match="broken returned NaN"):
        margin_lower_bound([3, 1], 0, alpha=0.1, scale="linear", method=Broken())
