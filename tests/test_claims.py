"""What is certified is an object that methods declare they can prove."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import rsbounds
from rsbounds.bounds.margin import MarginMethod, margin_lower_bound
from rsbounds.claims import Claim, Top


@dataclass(frozen=True, eq=False)
class AtLeast(Claim):
    """The class has at least ``share`` of the votes: a claim of a third party."""

    classes: np.ndarray
    share: float
    selection: ClassVar[None] = None

    def __len__(self):
        return len(self.classes)

    def __getitem__(self, rows):
        return AtLeast(self.classes[rows], self.share)


@dataclass(frozen=True)
class Hoeffding(MarginMethod):
    """With probability 1 - alpha the class has the votes less the Hoeffding width."""

    name: ClassVar[str] = "hoeffding-share"
    claims: ClassVar[tuple[type[Claim], ...]] = (AtLeast,)
    chunk: ClassVar[int] = 2

    def rows(self, problem):
        share = problem.counts[np.arange(len(problem.n)), problem.top] / problem.n
        width = np.sqrt(np.log(1 / problem.alpha) / (2 * problem.n))
        return {"lower": share - width - problem.claim.share}


COUNTS = np.array([[90, 10], [40, 60], [0, 100]])


def test_a_claim_goes_to_the_methods_that_can_prove_it():
    claim = AtLeast(np.array([0, 1, 1]), 0.5)
    bound = margin_lower_bound(COUNTS, claim, alpha=0.1, scale="linear", method=Hoeffding())
    width = np.sqrt(np.log(10) / 200)
    np.testing.assert_allclose(bound.lower, np.array([0.4, 0.1, 0.5]) - width)
    assert bound.top.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="kind AtLeast; method 'exact' can prove: Top"):
        margin_lower_bound(COUNTS, claim, alpha=0.1, scale="linear")
    with pytest.raises(ValueError, match="kind Top; method 'hoeffding-share' can prove: AtLeast"):
        margin_lower_bound(COUNTS, 0, alpha=0.1, scale="linear", method=Hoeffding())
    with pytest.raises(ValueError, match="claim about 2 rows; allowed: 3"):
        margin_lower_bound(COUNTS, claim[:2], alpha=0.1, scale="linear", method=Hoeffding())


def test_top_is_what_classes_and_selections_become():
    select = np.array([[9, 1], [2, 8], [1, 9]])
    law = rsbounds.Gaussian(0.5)
    results = [
        rsbounds.certify(COUNTS, top, noise=law, method="complement").radius.tolist()
        for top in ([0, 1, 1], Top(np.array([0, 1, 1])), rsbounds.select_top(select))
    ]
    assert results[0] == results[1] == results[2]
    planned = [
        margin_lower_bound(
            COUNTS, top, alpha=0.01, scale="probit", method="runner-up", split="selection"
        ).lower.tolist()
        for top in (Top(np.array([0, 1, 1]), select), rsbounds.select_top(select))
    ]
    assert planned[0] == planned[1]


def test_counts_that_chose_the_claim_are_not_bounded():
    with pytest.raises(ValueError, match="selected from the same counts"):
        rsbounds.certify(COUNTS, Top(COUNTS.argmax(1), COUNTS), noise=rsbounds.Gaussian(1.0))
    with pytest.raises(ValueError, match=r"top\[0\] is 2"):
        rsbounds.certify(COUNTS, Top(np.array([2, 0, 0])), noise=rsbounds.Gaussian(1.0))
