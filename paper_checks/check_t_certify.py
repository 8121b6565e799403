"""Regularized training and tight certification (T-Certify)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import rsbounds
from paper_checks import Check, data_folder
from rsbounds.testing import margin_coverage, simplex_grid

PAPER = "T-Certify (Feng et al. 2020)"


def run() -> Iterator[Check]:
    rng = np.random.default_rng(0)
    rows = rng.multinomial(1000, [0.8, 0.12, 0.05, 0.03], size=200)
    full = rsbounds.margin_lower_bound(
        rows, 0, alpha=0.001, scale="probit", method="t-certify", fractions=(1.0,)
    ).lower
    cohen = rsbounds.margin_lower_bound(
        rows, 0, alpha=0.001, scale="probit", method="complement"
    ).lower
    yield Check(
        f"{PAPER}, Experiments", "with all of alpha on the top class the radius is Cohen's",
        "difference 0", f"{np.abs(full - cohen).max():.1g}", "0", bool((full == cohen).all()),
    )  # fmt: skip

    worst = 0.0
    for classes, n, steps in ((2, 23, 60), (3, 17, 24), (4, 9, 12)):
        for scale in ("linear", "probit"):
            for alpha in (0.001, 0.05, 0.3):
                found = margin_coverage(
                    "t-certify", n=n, classes=classes, alpha=alpha, scale=scale,
                    points=simplex_grid(classes, steps),
                )  # fmt: skip
                worst = max(worst, found.worst_error / alpha)
    yield Check(
        f"{PAPER}, Theorem 1", "the maximum over the grid of fractions errs at most alpha",
        "at most 1 alpha", f"{worst:.3f} alpha (worst of all outcomes, K = 2..4, n <= 23)",
        "0", worst <= 1,
        "the proof covers one fraction fixed in advance: guarantee 'enumerated'",
    )  # fmt: skip

    summed = rsbounds.margin_lower_bound(
        rows, 0, alpha=0.001, scale="probit", method="t-certify", fractions=(0.5,)
    ).lower
    largest = rsbounds.margin_lower_bound(
        rows, 0, alpha=0.001, scale="probit", method="runner-up", split=0.5
    ).lower
    yield Check(
        f"{PAPER}, eq. 14", "the bound on p_B needs the sum over all other classes",
        "largest count alone invalid",
        f"largest count alone is valid (intersection-union) and "
        f"{(largest - summed).max():.2g} larger at most here",
        "-", False, "runner-up drops the sum; t-certify keeps it",
    )  # fmt: skip

    folder = data_folder()
    if folder is None:
        return
    table = np.loadtxt(folder / "cifar10_resnet110_sigma0.25_counts.tsv", skiprows=1, dtype=int)
    means = {
        name: rsbounds.certify(
            table[:, :10], table[:, :10].argmax(axis=1), noise=rsbounds.Gaussian(0.25),
            method=name, **options,
        ).radius.mean()
        for name, options in (("complement", {}), ("t-certify", {"require_majority": True}))
    }  # fmt: skip
    yield Check(
        f"{PAPER}, Figure 2", "T-Certify certifies more than CERTIFY on CIFAR-10",
        "larger mean radius",
        f"{means['t-certify']:.5f} against {means['complement']:.5f} (published counts)",
        "-", bool(means["t-certify"] > means["complement"]),
    )  # fmt: skip
