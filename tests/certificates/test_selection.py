"""Item 14: a copy of the estimation counts passed as a selection, and the result as proven."""

import numpy as np
import pytest

import rsbounds

LAW = rsbounds.Gaussian(0.5)


def certify(select, counts, **options):
    top = rsbounds.select_top(select, **options)
    return rsbounds.certify(counts, top, noise=LAW, method="complement")


@pytest.mark.parametrize(
    "counts",
    [
        [[600, 300, 100]],
        [[95, 3, 2], [60, 40, 0]],
        np.random.default_rng(0).multinomial(100_000, [0.9, 0.1], size=20),
    ],
)
def test_copies_are_refused(counts):
    counts = np.array(counts)
    copies = [counts.copy(), counts.tolist(), counts.astype(float), counts.copy(order="F")]
    try:
        import pandas
    except ImportError:
        pass
    else:
        copies.append(pandas.DataFrame(counts).copy())
    for copy in copies:
        with pytest.raises(ValueError, match="same values as those that are to be bounded"):
            certify(copy, counts)
        assert len(certify(copy, counts, independent=True)) == len(counts)


@pytest.mark.parametrize(
    "counts",
    [
        [[5, 0, 0]] * 1000,
        [[100, 0]] * 500,
        [[4, 1]],
        [[3, 2], [5, 0]],
        [[1, 0], [0, 1]],
    ],
)
def test_honest_samples_that_may_well_be_equal_pass(counts):
    assert len(certify(np.array(counts), np.array(counts))) == len(counts)


def test_the_same_memory_is_refused_whatever_is_said():
    counts = np.array([[100, 0]])
    with pytest.raises(ValueError, match="selected from the same counts"):
        certify(counts, counts, independent=True)


def test_independent_samples_are_refused_as_rarely_as_said():
    from rsbounds.bounds.margin._base import refuse_equal

    rng = np.random.default_rng(1)
    # By enumeration: the chance that two samples are equal and refused, at any p.
    laws = (
        (5, [0.6, 0.4]), (12, [0.5, 0.3, 0.2]), (30, [0.9, 0.1]), (40, rng.dirichlet([1] * 4))
    )  # fmt: skip
    for n, p in laws:
        from scipy.stats import multinomial

        from rsbounds.testing import outcomes

        refused = 0.0
        for row in outcomes(n, len(p)):
            try:
                refuse_equal(row[None], row[None].copy())
            except ValueError:
                refused += multinomial.pmf(row, n, p) ** 2
        assert refused <= 0.01


def test_runs_of_the_library_know_that_their_samples_are_independent():
    same = np.array([[60, 30, 10]])
    from rsbounds.certificates import certify_votes

    result = certify_votes(
        same, same.copy(), np.zeros(1, int), noise=LAW, alpha=0.01, method="complement"
    )
    assert len(result) == 1
