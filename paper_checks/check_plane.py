"""What rddrs does in the plane: its settings, its runs, and rotations.

The point and the three classes of Figure 1 (section `smoothing`). A run is an ascent from draws of
its own, certified with n = 10,000; its area is one of several local optima, so areas are means over
four seeds with their standard errors. An effect above 3 standard errors is one; below 2 it is none;
between the check does not decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paper_checks import Check, joined

PAPER = "rddrs"
SEEDS, ANGLES, N = 4, (0, 30, 60, 90), 10_000


def run(quick: bool = False) -> Iterator[Check]:
    try:
        import torch  # noqa: F401
    except ImportError:
        print("  no PyTorch here: the plane is not checked")
        return
    if quick:
        return
    yield compared(
        f"{PAPER}, 1", "ANCER is not invariant under rotations of the input",
        "other areas at 0/30/60/90 degrees",
        {angle: areas(angle, method="ancer") for angle in ANGLES},
        "`rotated`, `low-rank` and `rddrs` have axes of their own", differ=True,
    )  # fmt: skip
    told = {kappa: areas(30, kappa=kappa) for kappa in (1e-6, 2.0, 20.0)}
    yield compared(
        f"{PAPER}, 4", "kappa has no significant effect", "the same area for kappa 1e-6/2/20",
        told, "`kappa` is an option; the isotropic region stays inside with each",
    )  # fmt: skip
    turned = {
        first: {angle: areas(angle, first=first) for angle in ANGLES}
        for first in ("rotated", "low-rank")
    }
    most = [float(v.max() / v.min()) for v in turned["low-rank"].values()]
    yield Check(
        f"{PAPER}, 4", "different runs give almost the same", "areas of four seeds within 10 %",
        f"largest over smallest {joined(most, 2)} at 0/30/60/90 degrees",
        "400 draws a step; the paper has 20,000", max(most) < 1.1,
        "an ascent ends in one of several optima; it is judged, and never below its start",
    )  # fmt: skip
    for first, found in turned.items():
        yield compared(
            f"{PAPER}, abstract", "the regions do not depend on a rotation of the input (start "
            f"{first})", "the same area at 0/30/60/90 degrees", found,
            "the metric does not (section `riemannian`); which optimum an ascent ends in may",
        )  # fmt: skip


def compared(
    source: str,
    claim: str,
    expected: str,
    found: dict[Any, NDArray[np.float64]],
    remark: str,
    differ: bool = False,
) -> Check:
    """Whether the means of several samples are alike, or differ."""
    means = [float(v.mean()) for v in found.values()]
    errors = [float(v.std(ddof=1)) / math.sqrt(len(v)) for v in found.values()]
    pairs = combinations(zip(means, errors, strict=True), 2)
    score = max(abs(a - b) / math.hypot(e, f) for (a, e), (b, f) in pairs)
    return Check(
        source, claim, expected, f"{joined(means)} (standard errors {joined(errors)})",
        f"the largest difference is {score:.1f} standard errors, {SEEDS} seeds each",
        None if 2 <= score <= 3 else (score < 2) != differ, remark,
    )  # fmt: skip


def areas(angle: float, **settings: Any) -> NDArray[np.float64]:
    """Of the regions that rddrs finds in the plane turned by an angle, for each seed."""
    return np.array([area(angle, N, seed, **settings) for seed in range(SEEDS)])


def area(angle: float, n: int, seed: int = 0, method: str = "rddrs", **settings: Any) -> float:
    """Of the region that a method finds in the plane turned by an angle."""
    import rsbounds_torch
    from rsbounds_torch._demo import three_classes

    classifier, x = three_classes(np.deg2rad(angle))
    law = rsbounds_torch.optimize_noise(
        classifier, x, method=method, n=n, alpha=0.001, seed=seed, progress=False, **settings
    )
    made = classifier.certify(x, noise=law, n=n, alpha=0.001, seed=seed, progress=False)
    return float(np.pi * made.proxy_radius[0] ** 2)
