"""Noise laws for l1: Laplace, uniform and split-uniform.

A small CNN learns 1000 of scikit-learn's digits under each law's own noise, at two standard
deviations, and is certified on others: n = 10,000 draws of exact noise for Laplace and uniform,
and every cell of split-uniform noise, whose certificates have no chance of error.

![certified accuracy](l1.svg)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import rsbounds
from paper_checks import Check, joined
from paper_checks._figures import figure, save
from rsbounds.noises import Noise, SplitUniform

#: Standard deviations of a number's noise.
SPREADS = (0.5, 1.0)
ALPHA = 0.001
Radii = dict[str, list[Any]]


def laws(spread: float) -> dict[str, Noise]:
    """Laws of about one standard deviation; the digits are multiples of 1/16."""
    half = spread * 3**0.5
    return {
        "laplace": rsbounds.Laplace(spread / 2**0.5, lattice=1 / 64),
        "uniform": rsbounds.Uniform(half, lattice=1 / 64),
        "split-uniform": SplitUniform(round(32 * half) / 32, levels=17),
    }


def run(quick: bool = False) -> Iterator[Check]:
    found = radii(10, 200, 2) if quick else radii(100, 10_000, 60)
    if found is None:
        print("  no scikit-learn or torch here: no network")
        return
    what = f"digits, standard deviations {'/'.join(map(str, SPREADS))}, alpha {ALPHA}"
    means = {name: [float(r.mean()) for r in every] for name, every in found.items()}
    pairs = (
        ("Yang et al. 2020, l1", "uniform", "laplace", "uniform noise certifies more than Laplace"),
        ("Levine and Feizi 2021", "split-uniform", "uniform",
         "split-uniform noise certifies more than uniform noise that is drawn"),
    )  # fmt: skip
    for source, better, worse, claim in pairs:
        gains = [a - b for a, b in zip(found[better], found[worse], strict=True)]
        errors = [float(g.std(ddof=1) / len(g) ** 0.5) for g in gains]
        high = all(g.mean() > 2 * e for g, e in zip(gains, errors, strict=True))
        low = any(g.mean() < -2 * e for g, e in zip(gains, errors, strict=True))
        yield Check(
            source, claim, "a larger average certified l1 radius",
            f"{joined(means[better])} against {joined(means[worse])} (standard errors of the "
            f"difference {joined(errors)})", f"2 standard errors at each; {what}",
            False if low else True if high else None,
            "`rsbounds.Laplace`, `rsbounds.Uniform`, `rsbounds.noises.SplitUniform`",
        )  # fmt: skip
    if not quick:
        draw(found)


def radii(images: int, n: int, epochs: int) -> Radii | None:
    """Of each law and spread, the radii of digits that were not learned, 0 where it is wrong."""
    try:
        import torch
        from sklearn.datasets import load_digits

        import rsbounds_torch
        from rsbounds_torch.models import small_cnn
    except ImportError:
        return None
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    x = torch.from_numpy((digits.data[order] / 16).astype(np.float32)).reshape(-1, 1, 8, 8)
    y = torch.from_numpy(digits.target[order].astype(np.int64))
    found: Radii = {}
    for spread in SPREADS:
        for name, law in laws(spread).items():
            torch.manual_seed(0)
            model = small_cnn()
            rsbounds_torch.train(
                model, (x[:1000], y[:1000]), noise=law, epochs=epochs, batch_size=100,
                seed=0, progress=False,
            )  # fmt: skip
            classifier = rsbounds_torch.SmoothedClassifier(model, num_classes=10, noise=law)
            sizes = {} if law.base == "draw" else {"n": n, "alpha": ALPHA}
            made = classifier.certify(
                x[1000 : 1000 + images], seed=0, index=range(images), progress=False, **sizes
            )
            right = made.top == y[1000 : 1000 + images].numpy()
            found.setdefault(name, []).append(np.where(right, made.radius, 0.0))
    return found


def draw(found: Radii) -> None:
    made = figure("l1", len(SPREADS))
    if made is None:
        return
    picture, panels = made
    for i, (axes, spread) in enumerate(zip(panels, SPREADS, strict=True)):
        at = np.linspace(0, 2 * spread * 3**0.5, 401)
        for name, every in found.items():
            share = [(every[i] >= max(r, 1e-12)).mean() for r in at]
            axes.plot(at, share, label=name)
        axes.set(
            title=f"standard deviation {spread:g}", xlabel="l1 radius",
            ylabel="certified accuracy", ylim=(0, 1),
        )  # fmt: skip
        axes.legend()
    save(picture, "l1")
