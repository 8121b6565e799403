"""Classifiers that know x by how x + noise was rounded: Voracek and Hein 2023.

Float noise has a grid of its own, and a sum with x another. A classifier that looks for the grid
votes for 1 at x and for 0 at the point 0, which lies within the radius that its votes are
certified with: the theorem is about real numbers. Noise on a lattice is added before anything is
rounded, so that the same classifier is certified only within what is true of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rsbounds
from paper_checks import Check

#: Type, numbers, value of each at x, sigma, and the classifier: numbers nearer to 0 than this are
#: multiples of that.
CASES = {
    "float32, d = 128": (np.float32, 128, 3 / 32, 0.5, np.inf, 2.0**-28),
    "float32, d = 784": (np.float32, 784, 1 / 32, 0.25, 2.0**-6, 2.0**-29),
    "float64, d = 128": (np.float64, 128, 3 / 32, 0.5, np.inf, 2.0**-57),
}
SOURCE = "Voracek and Hein 2023, section 3"


def run(quick: bool = False) -> Iterator[Check]:
    n = 40_000
    for name, (kind, d, value, sigma, near, grid) in CASES.items():
        x = np.array([np.full(d, value), np.zeros(d)], dtype=kind)
        distance = value * d**0.5
        said, holds = {}, {}
        for lattice in (None, 2.0**-10):
            law = rsbounds.Gaussian(sigma, lattice=lattice)
            radius, top, share = certified(detector(near, grid), x, law, n)
            said[lattice] = f"radius {radius:.4f} for {top}, whose share at 0 is {share:.4f}"
            holds[lattice] = radius <= distance or share > 0.5
        yield Check(
            SOURCE, f"float noise certifies a radius beyond a point of another class ({name})",
            f"0 is at {distance:.4f}, and most votes there are for another class", said[None],
            f"n = {n}, alpha 0.001", not holds[None],
            "`lattice=None` says so: proven in real arithmetic",
        )  # fmt: skip
        yield Check(
            SOURCE, f"exact noise does not ({name})",
            f"a radius below {distance:.4f}, or the same class at 0", said[2.0**-10],
            f"n = {n}, alpha 0.001", holds[2.0**-10],
            '`Gaussian(sigma, lattice="auto")`: proven in floating point, for any model',
        )  # fmt: skip


def detector(near: float, grid: float) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    """Votes for 1 where all numbers nearer to 0 than ``near`` are multiples of ``grid``."""

    def classifier(batch: NDArray[Any]) -> NDArray[np.int64]:
        cells = np.where(np.abs(batch) < near, batch, 0.0) / grid
        return np.asarray((cells == np.rint(cells)).all(axis=1), dtype=np.int64)

    return classifier


def certified(
    classifier: Any, x: NDArray[Any], law: rsbounds.Gaussian, n: int
) -> tuple[float, int, float]:
    """Radius and class at the first input, and the share of that class at the second."""
    shared: dict[str, Any] = {"noise": law, "num_classes": 2, "seed": 1, "progress": False}
    shared["lattice"] = law.spacing
    select = rsbounds.sample_counts(classifier, x, n=100, role="select", **shared)
    estimate = rsbounds.sample_counts(classifier, x, n=n, **shared)
    found = rsbounds.certify(estimate, rsbounds.select_top(select), noise=law)
    top = int(found.candidate[0])
    return float(found.radius[0]), top, float(estimate.values[1, top] / n)
