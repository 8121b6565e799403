"""A copy of the estimation counts passed as a selection, and the result as proven."""

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
        [[990, 8, 2]],  # equal by chance with 12 % at most
        [[995, 5]],
        [[95, 3, 2], [60, 40, 0]],
        [[999, 1, 0]] * 10 + [[1000, 0, 0]] * 90,
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
        [[999, 1, 0]],
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


@pytest.mark.parametrize(("copied", "seen"), [(240, True), (25, True), (8, True), (0, False)])
def test_copies_of_some_rows_are_refused(copied, seen):
    rng = np.random.default_rng(2)
    shares = rng.dirichlet([5, 1, 1], size=250)
    select, counts = rng.multinomial(1000, shares), rng.multinomial(1000, shares)
    select[:copied] = counts[:copied]
    if seen:
        with pytest.raises(ValueError, match=f"in {copied} of 250 rows"):
            certify(select, counts)
    else:
        certify(select, counts)
    # Rows of other totals beside them change nothing.
    select[200:] //= 10
    if copied == 240:
        with pytest.raises(ValueError, match="in 200 of 250 rows"):
            certify(select, counts)


def refused(select, counts):
    from rsbounds.bounds.margin._copies import refuse_copies

    try:
        refuse_copies(select, counts)
    except ValueError:
        return True
    return False


def test_independent_samples_are_refused_as_rarely_as_said():
    from scipy.stats import multinomial

    from rsbounds.bounds.margin._copies import SURPRISE
    from rsbounds.testing import outcomes

    rng = np.random.default_rng(1)
    # By enumeration: the chance that two samples are equal and refused, at any p.
    laws = (
        (5, [0.6, 0.4]), (12, [0.5, 0.3, 0.2]), (30, [0.9, 0.1]), (40, rng.dirichlet([1] * 4))
    )  # fmt: skip
    for n, p in laws:
        rows = outcomes(n, len(p))
        chance = multinomial.pmf(rows, n, p)
        said = np.array([refused(row[None], row[None].copy()) for row in rows])
        assert (chance**2)[said].sum() <= SURPRISE
    # Two rows, of which one, both or none are equal.
    rows = outcomes(4, 2)
    chance = multinomial.pmf(rows, 4, [0.7, 0.3])
    total = 0.0
    for i, j, k, m in np.ndindex(5, 5, 5, 5):
        if refused(rows[[i, j]], rows[[k, m]]):
            total += chance[i] * chance[j] * chance[k] * chance[m]
    assert 0 < total <= SURPRISE


def test_runs_of_the_library_know_that_their_samples_are_independent():
    same = np.array([[60, 30, 10]])
    from rsbounds.bounds.margin import margin_method
    from rsbounds.certificates import certify_votes

    result = certify_votes(
        same, same.copy(), np.zeros(1, int), noise=LAW, alpha=0.01,
        method=margin_method("complement", {}),
    )  # fmt: skip
    assert len(result) == 1
