"""Small published tables, held here as facts with their source: known answers run everywhere."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import beta, binom, norm

import rsbounds

# Two-sided 95 % Clopper-Pearson limits, rounded as printed.
# Newcombe 1998 (Statistics in Medicine 17, 857-872), Table I, method 5 ("exact").
NEWCOMBE = [
    (81, 263, 0.2527, 0.3676),
    (15, 148, 0.0578, 0.1617),
    (0, 20, 0.0000, 0.1684),
    (1, 29, 0.0009, 0.1776),
]
# Conover 1971, p. 97: Mendel's peas, as printed in the documentation of R's binom.test.
CONOVER = [(682, 925, 0.7076683, 0.7654066)]
# Documentation of scipy.stats.binomtest: binomtest(7, n=50, p=0.1).proportion_ci(). Its root
# finder stops at 2e-12; mpmath 1.3's findroot on betainc(7, 44, 0, p, regularized=True) - 0.025
# gives 0.05819170034037208.
SCIPY = [(7, 50, 0.05819170033997342, 0.26739600249700846)]


@pytest.mark.parametrize(
    ("k", "n", "low", "high", "digits"),
    [
        *((*row, 4) for row in NEWCOMBE),
        *((*row, 7) for row in CONOVER),
        *((*row, 11) for row in SCIPY),
    ],
)
def test_clopper_pearson_limits(k, n, low, high, digits):
    got = rsbounds.clopper_pearson_interval(k, n, alpha=0.05)
    assert float(got[0]) == pytest.approx(low, abs=0.51 * 10**-digits)
    assert float(got[1]) == pytest.approx(high, abs=0.51 * 10**-digits)


def test_clopper_pearson_lower_limit():
    # Documentation of scipy.stats.binomtest: binomtest(3, n=15, p=0.1, alternative="greater")
    # has the interval from 0.05684686759024681 to 1.
    got = float(rsbounds.clopper_pearson_lower(3, 15, alpha=0.05))
    assert got == pytest.approx(0.05684686759024681, rel=1e-12)


# Votes of a ResNet-110 over 100,000 draws at sigma 0.25 on CIFAR-10 test images, published with
# Jia et al., ICLR 2020 (certified top-k robustness): the first seven images.
VOTES = np.array([
    [2, 2, 334, 93642, 2, 5279, 737, 0, 2, 0],
    [8333, 0, 157, 0, 91506, 0, 0, 0, 2, 2],
    [126, 1, 0, 0, 0, 0, 0, 0, 99873, 0],
    [9614, 15452, 0, 0, 0, 0, 0, 0, 74564, 370],
    [1120, 0, 98710, 160, 0, 10, 0, 0, 0, 0],
    [0, 0, 60, 9844, 0, 89877, 1, 218, 0, 0],
    [0, 100000, 0, 0, 0, 0, 0, 0, 0, 0],
])  # fmt: skip
LABELS = np.array([3, 4, 8, 8, 2, 5, 1])


def radii(method, **options):
    return rsbounds.certify(
        VOTES, LABELS, noise=rsbounds.Gaussian(0.25), alpha=0.001, method=method, **options
    ).radius


def top_and_others(row, label):
    return int(row[label]), [int(v) for c, v in enumerate(row) if c != label], int(row.sum())


def test_cohen_radii_of_published_votes():
    # By scipy 1.17.1: 0.25 * norm.ppf(beta.ppf(0.001, k, n - k + 1)).
    known = [0.376567766642, 0.338768027333, 0.734206056062, 0.161888152519, 0.549036142894]
    got = radii("complement")
    np.testing.assert_allclose(got[:5], known, rtol=1e-11)
    # All votes: sigma Phi^-1(alpha^(1/n)), Cohen et al. 2019, section 3.2.2.
    assert got[6] == pytest.approx(0.25 * norm.ppf(0.001**1e-5), rel=1e-10)


def test_t_certify_radii_of_published_votes():
    # Feng et al. 2020, eq. 14 and Algorithm 2, with scipy: p_A at a fraction of alpha, p_B where
    # the binomial tails of the other classes sum to the rest; the best of ten fractions.
    def bound(row, label, fraction, alpha=0.001):
        k, others, n = top_and_others(row, label)
        low = beta.ppf(fraction * alpha, k, n - k + 1)
        if fraction == 1.0:
            return norm.ppf(low)
        rest = (1 - fraction) * alpha
        high = brentq(lambda p: binom.cdf(others, n, p).sum() - rest, 1e-9, 1 - 1e-9, xtol=1e-15)
        return (norm.ppf(low) - norm.ppf(high)) / 2

    known = [
        0.25 * max(bound(row, label, f) for f in np.arange(1, 11) / 10)
        for row, label in zip(VOTES, LABELS, strict=True)
    ]
    np.testing.assert_allclose(radii("t-certify", require_majority=True), known, rtol=1e-9)
    # Against Cohen's on the same votes, as in the paper's Figure 2: never less, here more.
    assert (radii("t-certify") >= radii("complement")).all()
    assert (radii("t-certify") > radii("complement")).sum() == 5


def test_runner_up_radii_of_published_votes():
    # By scipy: p_A at 0.9 alpha, p_B of the largest other count at 0.1 alpha, or 1 - p_A.
    known = []
    for row, label in zip(VOTES, LABELS, strict=True):
        k, others, n = top_and_others(row, label)
        low = beta.ppf(0.0009, k, n - k + 1)
        high = min(beta.isf(0.0001, max(others) + 1, n - max(others)), 1 - low)
        known.append(0.125 * (norm.ppf(low) - norm.ppf(high)))
    np.testing.assert_allclose(radii("runner-up", split=0.9), known, rtol=1e-9)
    assert (radii("exact")[:6] > known[:6]).all()


@pytest.mark.parametrize(
    "law", [rsbounds.Uniform(0.5), rsbounds.Lipschitz(2.0, rsbounds.Gaussian(0.25))], ids=str
)
def test_radii_of_linear_laws_from_published_votes(law):
    # Radius per margin: half the half-width (uniform), 1/(sqrt(2) L) (Lipschitz); the runner-up
    # margin by scipy, as above, on the linear scale.
    factor = 0.5 if law.name == "uniform" else 1 / (np.sqrt(2) * 2)
    known = []
    for row, label in zip(VOTES, LABELS, strict=True):
        k, others, n = top_and_others(row, label)
        low = beta.ppf(0.0009, k, n - k + 1)
        known.append(low - min(beta.isf(0.0001, max(others) + 1, n - max(others)), 1 - low))
    got = rsbounds.certify(VOTES, LABELS, noise=law, alpha=0.001, method="runner-up", split=0.9)
    np.testing.assert_allclose(got.radius, factor * np.array(known), rtol=1e-9)
    exact = rsbounds.certify(VOTES, LABELS, noise=law, alpha=0.001, method="exact")
    assert exact.solved.all()
    assert (exact.radius >= got.radius).all()
    assert (exact.radius[:6] > got.radius[:6]).all()
    bound = rsbounds.margin_lower_bound(
        VOTES, LABELS, alpha=0.001, scale="linear", method="exact"
    ).lower
    np.testing.assert_allclose(exact.radius, bound * factor, rtol=1e-12)


# Logs published with Cohen et al. 2019 (ResNet-110 on CIFAR-10, n = 100,000), radii printed to
# three digits: of images 0, 40, 60, 80 and 120 at sigma 0.25, then the largest of the log.
PRINTED = [0.378, 0.341, 0.941, 0.755, 0.163, 0.978]


def test_printed_radii_are_those_of_some_count_at_alpha_001():
    # The largest is that of 100,000 votes of 100,000 at alpha 0.01; at 0.001 it is 0.953.
    n = 100_000
    k = np.arange(n // 2, n + 1)
    law = rsbounds.Gaussian(0.25)
    counts = np.column_stack([k, n - k])
    ours = rsbounds.certify(counts, 0, noise=law, alpha=0.01, method="complement").radius
    shown = np.array([float(f"{radius:.3g}") for radius in ours])
    assert np.isin(PRINTED, shown).all()
    assert shown.max() == max(PRINTED)
    strict = rsbounds.certify([n, 0], 0, noise=law, alpha=0.001, method="complement").radius[0]
    assert float(f"{strict:.3g}") == 0.953
