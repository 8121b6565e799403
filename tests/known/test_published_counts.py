"""Real counts and published logs (optional data; each test says where its numbers are from)."""

import numpy as np
import pytest

import rsbounds


@pytest.fixture(scope="module")
def cifar(data_folder):
    file = data_folder / "cifar10_resnet110_sigma0.25_counts.tsv"
    rows = np.loadtxt(file, skiprows=1, dtype=np.int64)
    return rows[:, :10], rows[:, 10]


# Means over 250 rows at alpha 0.001, sigma 0.25, top = argmax, from an independent
# implementation with scipy.special.betaincinv and scipy.stats.norm.ppf (given to five digits).
@pytest.mark.parametrize(
    ("method", "options", "mean", "acr", "certified"),
    [
        ("complement", {}, 0.45441, 0.40748, 0.924),
        ("t-certify", {"require_majority": True}, 0.46640, 0.41552, 0.924),
        ("runner-up", {"split": 0.9}, 0.46836, None, None),
        ("runner-up", {"split": "optimal"}, 0.46876, 0.41641, 0.996),
    ],
)
def test_cifar_radii(cifar, method, options, mean, acr, certified):
    counts, labels = cifar
    result = rsbounds.certify(
        counts, counts.argmax(axis=1), noise=rsbounds.Gaussian(0.25), alpha=0.001,
        method=method, **options,
    )  # fmt: skip
    assert result.radius.mean() == pytest.approx(mean, abs=6e-6)
    if acr is not None:
        assert rsbounds.average_certified_radius(result, labels) == pytest.approx(acr, abs=6e-6)
        assert (~result.abstained).mean() == certified


# Means over the labels at alpha 0.001, from scipy.stats.beta.ppf and isf and a bisection with
# scipy.stats.norm.cdf: the bound of Jia et al. 2020, Theorem 2, and ours.
@pytest.mark.parametrize(
    ("k", "theirs", "ours"),
    [(2, 0.53171, 0.53530), (3, 0.59753, 0.60173), (4, 0.64764, 0.65303), (5, 0.68091, 0.68808)],
)
def test_cifar_top_k_radii(cifar, k, theirs, ours):
    counts, labels = cifar
    law = rsbounds.Gaussian(0.25)
    found = rsbounds.certify_top_k(counts, labels, k, noise=law)
    baseline = rsbounds.certify_top_k(
        counts, labels, k, noise=law, method="bonferroni", over="classes"
    )
    assert found.radius.mean() == pytest.approx(ours, abs=6e-6)
    assert baseline.radius.mean() == pytest.approx(theirs, abs=6e-6)
    assert (found.radius >= baseline.radius - 1e-12).all()


def three_digits(values):
    return np.array([float(f"{v:.3g}") for v in values])


@pytest.mark.parametrize(
    ("file", "sigma"),
    [
        ("cifar10_resnet110_noise_0.25_test_sigma_0.25.tsv", 0.25),
        ("cifar10_resnet110_noise_0.50_test_sigma_0.50.tsv", 0.5),
        ("imagenet_resnet50_noise_0.50_test_sigma_0.50.tsv", 0.5),
    ],
)
def test_cohen_logs_come_from_counts_at_alpha_001(data_folder, file, sigma):
    # Logs of the published CERTIFY (n = 100,000), radii printed to three digits, rounded to
    # nearest. Every printed radius is the radius of some count of the top class at alpha 0.01,
    # and the largest is that of all votes; at alpha 0.001 neither holds.
    rows = (data_folder / "cohen2019" / file).read_text().splitlines()[1:]
    printed = np.array([float(r.split("\t")[3]) for r in rows if r.split("\t")[2] != "-1"])
    n = 100_000
    k = np.arange(n // 2, n + 1)
    counts = np.column_stack([k, n - k])
    noise = rsbounds.Gaussian(sigma)
    ours = rsbounds.certify(counts, 0, noise=noise, alpha=0.01, method="complement").radius
    assert np.isin(printed, three_digits(ours)).all()
    assert printed.max() == three_digits(ours[-1:])[0]
    strict = rsbounds.certify(counts, 0, noise=noise, alpha=0.001, method="complement").radius
    assert printed.max() != three_digits(strict[-1:])[0]


def test_cohen_certify_by_scipy():
    # Cohen et al. 2019, CERTIFY, written with scipy 1.17: beta.ppf(alpha, k, n-k+1), norm.ppf.
    from scipy import stats

    for k, n, alpha in [(99_000, 100_000, 0.001), (60, 100, 0.05), (100_000, 100_000, 0.001)]:
        p = stats.beta.ppf(alpha, k, n - k + 1)
        got = rsbounds.certify(
            [k, n - k], 0, noise=rsbounds.Gaussian(0.5), alpha=alpha, method="complement"
        ).radius[0]
        assert got == pytest.approx(0.5 * stats.norm.ppf(p), rel=1e-9)


def test_exact_on_cifar(cifar):
    # Floors: the figures of a prototype on the same counts.
    counts, labels = cifar
    top = counts.argmax(axis=1)
    law = rsbounds.Gaussian(0.25)
    result = rsbounds.certify(counts, top, noise=law, alpha=0.001, method="exact")
    assert result.guarantee == "proven"
    assert result.solved.all()
    assert result.radius.mean() >= 0.46922
    assert rsbounds.average_certified_radius(result, labels) >= 0.41676
    floor = rsbounds.certify(counts, top, noise=law, alpha=0.001, method="runner-up")
    assert (result.margin_lower >= floor.margin_lower - 1e-9).all()
