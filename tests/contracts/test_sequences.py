"""Every any-time form keeps the contract; a third party's is checked by the same functions."""

import json
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import rsbounds
from rsbounds.bounds.mean import MEAN_METHODS, AnyTimeOnly, ConfidenceSequence, MeanMethod
from rsbounds.bounds.mean.hoeffding import Hoeffding
from rsbounds.commands import main
from rsbounds.testing.contracts import SEQUENCE_CHECKS, check_mean_method, check_sequence

SETTINGS = {"betting": {"cap": 0.9}, "prpl-eb": {"cap": 0.2}, "beta-binomial": {"prior": (2, 9)}}
NAMES = [name for name in MEAN_METHODS if MEAN_METHODS[name].sequence is not None]
MEMBERS = [pytest.param(name, {}, id=name) for name in NAMES] + [
    pytest.param(name, options, id=f"{name}{options}") for name, options in SETTINGS.items()
]


@pytest.mark.parametrize("check", SEQUENCE_CHECKS)
@pytest.mark.parametrize(("name", "options"), MEMBERS)
def test_every_sequence_keeps_the_contract(name, options, check):
    SEQUENCE_CHECKS[check](MEAN_METHODS[name].sequence, **options)


def test_every_method_has_a_form():
    assert set(NAMES) == {"mixture", "betting", "prpl-eb", "beta-binomial"}
    for name in MEAN_METHODS:
        kind = MEAN_METHODS[name]
        assert kind.fixed_n or kind.sequence is not None
        if kind.sequence is not None:
            assert kind.sequence.name == name
            assert kind.sequence.two_point == kind.two_point
            assert kind.sequence.guarantee == kind().guarantee


class Union(ConfidenceSequence):
    """With probability 1 - alpha the mean is never outside: Hoeffding, alpha/(t (t + 1)) each."""

    name = "union"
    guarantee = "proven"
    source = "Hoeffding 1963, with a union bound over all times"
    memory = "two numbers per side and stream"
    choose = "never: it is here to be checked"

    def __init__(self, alpha, side, support):
        super().__init__(alpha, side, support)
        self.sums = np.zeros(1)
        self.best = {False: np.zeros(1), True: np.zeros(1)}

    def level(self, t):
        return self._share / (t * (t + 1.0))

    def _take(self, y):
        for i, column in enumerate(y.T):
            t = self.n + i + 1
            self.sums = self.sums + column
            width = np.sqrt(-np.log(self.level(t)) / (2 * t)) + 1e-12
            for reflected, mean in ((False, self.sums / t), (True, 1 - self.sums / t)):
                self.best[reflected] = np.maximum(self.best[reflected], mean - width)

    def _bound(self, reflected):
        return self.best[reflected].copy()


DECLARED = {
    "name": "bare",
    "source": "none",
    "cost": "none",
    "choose": "never",
    "guarantee": "proven",
}


@dataclass(frozen=True)
class UnionMethod(Hoeffding):
    """With probability 1 - alpha the mean is at least Hoeffding's bound; also at every time."""

    name: ClassVar[str] = "union"
    guarantee: ClassVar[str] = "proven"
    source: ClassVar[str] = "Hoeffding 1963, under another name"
    cost: ClassVar[str] = "one pass per row"
    choose: ClassVar[str] = "never: it is here to be checked"
    sequence: ClassVar[type[ConfidenceSequence]] = Union


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(MEAN_METHODS, "_loaded", dict(MEAN_METHODS._loaded))
    MEAN_METHODS.register("union", UnionMethod)


def test_a_third_partys_method_with_both_forms_is_one_class_and_one_line(registered, capsys):
    x = np.random.default_rng(0).beta(9, 1, 400)
    stream = rsbounds.confidence_sequence("union", alpha=0.01, side="lower")
    stream.update(x)
    fixed = rsbounds.mean_bound(x, alpha=0.01, method="union")
    assert 0.5 < stream.lower[0] < fixed.lower[0] < x.mean()
    assert main(["methods", "--json"]) == 0
    rows = {
        row["role"]: row for row in json.loads(capsys.readouterr().out) if "union" in row["name"]
    }
    assert set(rows) == {"mean", "any-time mean"}
    assert rows["any-time mean"]["cost"] == Union.memory
    with pytest.raises(ValueError, match=r"no any-time form; allowed: mixture, .*, union"):
        rsbounds.confidence_sequence("goal", alpha=0.1)


def test_a_third_partys_sequence_goes_through_the_same_checks():
    check_sequence(Union)
    check_mean_method(UnionMethod())


def peeking(self, y):
    for i, column in enumerate(y.T):
        t = self.n + i + 1
        self.sums = self.sums + column
        mean = self.sums / t
        width = 1.3 * np.sqrt((mean * (1 - mean) + 0.01) / t)
        self.best = {False: np.maximum(mean - width, 0), True: np.maximum(1 - mean - width, 0)}


def by_chunk(self, y):
    Union._take(self, y.mean(axis=1, keepdims=True))


def mixing_rows(self, y):
    Union._take(self, y * 0 + y.mean())


def last_only(self, y):
    self.best = {False: np.zeros(len(y)), True: np.zeros(len(y))}
    Union._take(self, y)


def hasty(self, chunk):
    # Changes something before the samples are checked.
    self.best[False] = self.best[False] / 2
    ConfidenceSequence.update(self, chunk)


def from_one(self, *arguments):
    Union.__init__(self, *arguments)
    self.n = 1


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"guarantee": "none"}, "declares"),
        ({"memory": ""}, "declares"),
        ({"__doc__": "Bounds that hold."}, "declares"),
        ({"__init__": from_one}, "before the first"),
        ({"_take": by_chunk}, "chunks"),
        ({"_take": mixing_rows}, "alone"),
        ({"update": hasty}, "refused"),
        ({"__getstate__": lambda self: {**vars(self), "sums": 0 * self.sums}}, "pickle"),
        ({"_take": last_only}, "nested"),
        ({"_bound": lambda self, reflected: self.best[False].copy()}, "two sides"),
        ({"lower": property(lambda self: 0 * self.best[False])}, "scaling"),
        ({"level": lambda self, t: 0.3 * (1 - self._share)}, "smaller alpha"),
        ({"_bound": lambda self, reflected: np.full_like(self.sums, 0.1)}, "extreme"),
        ({"_bound": lambda self, reflected: np.full_like(self.sums, np.nan)}, "extreme"),
        ({"_take": peeking, "nested": False}, "exactly"),
        ({"_take": peeking, "nested": False}, "by simulation"),
    ],
)  # fmt: skip
def test_a_broken_sequence_is_caught(monkeypatch, changes, check):
    (name,) = [name for name in SEQUENCE_CHECKS if check in name]
    own = {"__doc__": Union.__doc__, "__module__": __name__, "__qualname__": "Broken"}
    broken = type("Broken", (Union,), {**own, **changes})
    monkeypatch.setattr(sys.modules[__name__], "Broken", broken, raising=False)
    with pytest.raises((AssertionError, ArithmeticError)):
        SEQUENCE_CHECKS[name](broken)


def test_a_method_needs_one_of_the_two_forms():
    with pytest.raises(
        TypeError, match=r"Neither\.sequence is None; allowed: a ConfidenceSequence"
    ):
        type("Neither", (AnyTimeOnly,), {})
    with pytest.raises(ValueError, match="does not declare lower"):
        MEAN_METHODS.register("bare", type("Bare", (MeanMethod,), DECLARED))
