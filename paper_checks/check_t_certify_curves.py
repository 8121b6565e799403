"""T-Certify against CERTIFY on counts: Figure 2 of Feng et al. 2020.

The published counts of a ResNet-110 on CIFAR-10 (one sigma), and votes of our own at three: an
MLP learns 1000 of scikit-learn's digits under each sigma's noise, and is asked about 300 others.
Both methods see the same votes, so their difference has no noise of sampling; what another sample
of images would give is stated as a standard error. Solid: T-Certify; dashed: CERTIFY.

![certified accuracy](t_certify.svg)
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import rsbounds
from paper_checks import Check, data_folder, joined
from paper_checks._figures import figure, save

PAPER = "adre-t-certify"
SIGMAS = (0.25, 0.5, 1.0)
ALPHA = 0.001
Numbers = NDArray[np.float64]
Pair = tuple[Numbers, Numbers]


def run(quick: bool = False) -> Iterator[Check]:
    curves: dict[str, tuple[float, Pair]] = {}
    folder = data_folder()
    if folder is None:
        print("  no published counts here (RSBOUNDS_DATA): only our own")
    else:
        table = np.loadtxt(folder / "cifar10_resnet110_sigma0.25_counts.tsv", skiprows=1, dtype=int)
        pair = radii(table[:, :10], table[:, :10].argmax(axis=1), table[:, 10], 0.25)
        curves["CIFAR-10, sigma 0.25"] = 0.25, pair
        yield compared("on CIFAR-10", "published counts", pair)
    found = own(20, 300, 4) if quick else own(300, 10_000, 60)
    if found is None:
        print("  no scikit-learn here: no counts of our own")
        return
    curves |= {f"digits, sigma {sigma:g}": (sigma, found[sigma]) for sigma in SIGMAS}
    every = (np.concatenate([found[s][i] for s in SIGMAS]) for i in (0, 1))
    yield compared("on other data", "digits, three sigmas", tuple(every))  # type: ignore[arg-type]
    gains = [found[sigma][0] - found[sigma][1] for sigma in SIGMAS]
    means = [float(g.mean()) for g in gains]
    errors = [float(g.std(ddof=1) / np.sqrt(len(g))) for g in gains]
    steps = [gains[i + 1] - gains[i] for i in range(2)]
    scores = [float(s.mean() / (s.std(ddof=1) / np.sqrt(len(s)))) for s in steps]
    # Of few votes CERTIFY may certify nothing.
    areas = [float(found[sigma][1].mean()) for sigma in SIGMAS]
    relative = [m / a if a > 0 else math.inf for m, a in zip(means, areas, strict=True)]
    yield Check(
        f"{PAPER}, Figure 2", "the improvement is more significant when sigma is larger",
        "area between the curves grows over sigma 0.25/0.5/1",
        f"{joined(means)} (standard errors {joined(errors)}); of CERTIFY's area "
        f"{joined(relative, 3)}", "each step above 2 standard errors (paired by image)",
        min(scores) > 2, f"steps of {joined(scores, 1)} standard errors",
    )  # fmt: skip
    if not quick:
        draw(curves)


def radii(counts: Numbers, top: Numbers, labels: Numbers, sigma: float) -> Pair:
    """T-Certify's radii and CERTIFY's, 0 where the answer is wrong."""
    made = [
        rsbounds.certify(
            counts, top, noise=rsbounds.Gaussian(sigma), alpha=ALPHA, method=method, **options
        )
        for method, options in (("t-certify", {"require_majority": True}), ("complement", {}))
    ]
    one, other = (np.where(c.top == labels, c.radius, 0.0) for c in made)
    return one, other


def compared(where: str, what: str, pair: Pair) -> Check:
    ours, theirs = pair
    at = np.unique(np.concatenate(pair))
    gain = np.array([(ours >= r).mean() - (theirs >= r).mean() for r in at[at > 0]])
    difference = ours - theirs
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    return Check(
        f"{PAPER}, Figure 2", f"T-Certify certifies more than CERTIFY at each radius, {where}",
        "curve never below, somewhere above",
        f"accuracy {float(gain.min()):+.3f} to {float(gain.max()):+.3f}; mean radius "
        f"{float(ours.mean()):.5f} against {float(theirs.mean()):.5f} (difference "
        f"{float(difference.mean()):.5f}, standard error {error:.5f})",
        f"every radius; {what}, {len(ours)} rows, alpha {ALPHA}",
        bool(gain.min() >= 0 and gain.max() > 0),
        "by construction never below: CERTIFY is in its grid; `exact` gains more",
    )  # fmt: skip


def own(images: int, n: int, epochs: int) -> dict[float, Pair] | None:
    """Pairs of radii by sigma, of votes on digits that were not learned."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.neural_network import MLPClassifier
    except ImportError:
        return None
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    x = (digits.data / 16.0).astype(np.float32)[order]
    y = digits.target[order]
    found = {}
    for sigma in SIGMAS:
        model = MLPClassifier((128,), max_iter=1, random_state=0, learning_rate_init=2e-3)
        rng = np.random.default_rng(1)
        for _ in range(epochs):
            noisy = x[:1000] + rng.normal(0, sigma, (1000, 64)).astype(np.float32)
            model.partial_fit(noisy, y[:1000], classes=np.arange(10))
        law = rsbounds.Gaussian(sigma)
        select, estimate = (
            rsbounds.sample_counts(
                model.predict, x[1000 : 1000 + images], noise=law, lattice=None, n=size,
                num_classes=10, role=role, seed=0, progress=False, batch_size=10_000,
            )
            for role, size in (("select", 100), ("estimate", n))
        )  # fmt: skip
        top = rsbounds.select_top(select)
        found[sigma] = radii(estimate.values, top, y[1000 : 1000 + images], sigma)  # type: ignore[arg-type]
    return found


def draw(curves: dict[str, tuple[float, Pair]]) -> None:
    made = figure("t_certify", len(curves))
    if made is None:
        return
    picture, panels = made
    for axes, (name, (sigma, pair)) in zip(panels, curves.items(), strict=True):
        at = np.linspace(0, 4 * sigma, 401)
        for radius, style in zip(pair, ("-", "--"), strict=True):
            axes.plot(at, [(radius >= max(r, 1e-12)).mean() for r in at], style, color="C0")
        axes.set(title=name, xlabel="radius", ylabel="certified accuracy", ylim=(0, 1))
    save(picture, "t_certify")
