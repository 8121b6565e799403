"""Classifiers that know x by how x + noise was rounded: certified falsely, but for exact noise.

After Voracek and Hein (ICLR 2023), "Improving l1-certified robustness via randomized smoothing by
leveraging box constraints", section 3: sums of a float x with float noise lie on a coarser grid
than the noise alone, in a region where both are. A classifier that looks for that grid votes for 1
at x and, at a point 0 within the radius that its votes are certified with, for 0.
"""

import numpy as np
import pytest

import rsbounds

#: Type, numbers, value of each at x, sigma, and a classifier's grid: 1 where all v are on it.
CASES = {
    # Every sum with 3/32 is a multiple of 2^-28; noise alone, where it is below 1/32, need not be.
    "float32": (np.float32, 128, 3 / 32, 0.5, np.inf, 2.0**-28),
    "float32, near 0": (np.float32, 784, 1 / 32, 0.25, 2.0**-6, 2.0**-29),
    "float64": (np.float64, 128, 3 / 32, 0.5, np.inf, 2.0**-57),
}
N = 40_000


def detector(near, grid):
    def classifier(batch):
        cells = np.where(np.abs(batch) < near, batch, 0.0) / grid
        return (cells == np.rint(cells)).all(axis=1).astype(int)

    return classifier


def certificate_and_votes(case, lattice):
    kind, d, value, sigma, near, grid = CASES[case]
    law = rsbounds.Gaussian(sigma, lattice=lattice)
    x = np.array([np.full(d, value), np.zeros(d)], dtype=kind)
    shared = {"noise": law, "lattice": lattice, "num_classes": 2, "seed": 1}
    select = rsbounds.sample_counts(detector(near, grid), x, n=100, role="select", **shared)
    estimate = rsbounds.sample_counts(detector(near, grid), x, n=N, **shared)
    found = rsbounds.certify(estimate, rsbounds.select_top(select), noise=law)
    return found, estimate.values, value * d**0.5


@pytest.mark.parametrize("case", CASES)
def test_floats_certify_beyond_a_point_of_another_class(case):
    found, votes, distance = certificate_and_votes(case, None)
    assert found.candidate[0] == 1
    assert found.radius[0] > distance
    # At the point 0, inside of that ball, nearly all votes go to the other class.
    assert votes[1, 0] > 0.95 * N
    assert found.assurance == "proven in real arithmetic"
    assert str(found).endswith("guarantee: proven in real arithmetic")


@pytest.mark.parametrize("lattice", ["auto", 2.0**-10])
@pytest.mark.parametrize("case", CASES)
def test_exact_noise_does_not(case, lattice):
    found, votes, distance = certificate_and_votes(case, lattice)
    said = "proven, exact noise, alpha spent on it 2.3e-24, inputs within "
    assert found.assurance.startswith(said)
    if found.radius[0] > distance:
        assert votes[1, found.top[0]] > 0.95 * N
    # What the theorem says of the two points, with what is sure of their votes.
    assert can_be(found, votes, distance)
    if lattice != "auto":
        # All noisy copies are on the grid: the certificate is as large, and true.
        assert found.radius[0] > distance
        assert found.top.tolist() == [1, 1]


def can_be(found, votes, distance):
    """Whether the votes at two points so far apart are those of one smoothed classifier."""
    law = rsbounds.Gaussian(found.law["sigma"])
    top = found.candidate[0]
    low = rsbounds.clopper_pearson_lower(votes[0, top], N, alpha=1e-6)
    high = rsbounds.clopper_pearson_upper(votes[1, top], N, alpha=1e-6)
    return 1.0 - law.roc(distance, 1.0 - low) <= high


@pytest.mark.parametrize("case", CASES)
def test_floats_break_the_theorem(case):
    assert not can_be(*certificate_and_votes(case, None))


def test_the_float_path_rounds_the_parameter_and_exact_noise_does_not():
    # 0.1 is no float32: the noise that a float32 model gets from it is another law.
    sigma = float(np.float32(0.1))
    assert sigma != 0.1
    tables = [rsbounds.Gaussian(s, lattice=2.0**-9).table() for s in (0.1, sigma)]
    assert (tables[0].rest != tables[1].rest).any()
