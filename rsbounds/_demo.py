"""The demonstration: a small classifier on the digits, from training to certificates."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rsbounds
from rsbounds import Certificates, Comparison, Counts, _text, _validate

SIGMAS = (0.25, 0.5)
#: The digits are multiples of 1/16, and so on this lattice: exact noise costs them nothing.
LATTICE = 1 / 256
OUTPUTS = ("_counts.npz", "_certificates.tsv", "_comparison.json", ".png", ".svg")


def run_demo(
    folder: Path, *, inputs: int, n: int, alpha: float, seed: int, force: bool = False
) -> None:
    """Train on the digits with Gaussian augmentation, sample votes, certify, compare.

    Writes, for each sigma, the selection and estimation counts (NPZ), the certificates of
    the default method (TSV), the comparison (JSON) and the figure (PNG and SVG).
    """
    _validate.integer("inputs", inputs, low=1, high=797)
    _validate.integer("n", n, low=1, high=_validate.MAX_N)
    _validate.alpha(alpha)
    _validate.integer("seed", seed, low=0, high=2**32 - 1)
    try:
        from sklearn.datasets import load_digits
        from sklearn.neural_network import MLPClassifier
    except ImportError:
        raise ImportError("the demo needs scikit-learn; install rsbounds[demo]") from None
    if folder.is_dir():
        for sigma in SIGMAS:
            for rest in OUTPUTS:
                _text.check_output(folder / f"digits_sigma{sigma:g}{rest}", force=force)
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = (digits.data / 16.0).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(images))
    train, test = order[:1000], order[1000 : 1000 + inputs]
    x, labels = images[test], digits.target[test]
    start = time.monotonic()
    for sigma in SIGMAS:
        law = rsbounds.Gaussian(sigma, lattice=LATTICE)
        print(f"sigma {sigma}: training on 1000 digits with Gaussian augmentation", flush=True)
        model = MLPClassifier((128,), max_iter=1, random_state=seed, learning_rate_init=2e-3)
        noise = np.random.default_rng(seed + 1)
        for _ in range(60):
            noisy = images[train] + noise.normal(0, sigma, images[train].shape).astype(np.float32)
            model.partial_fit(noisy, digits.target[train], classes=np.arange(10))

        # Any callable on a batch will do: here the model's own predict.
        print(f"sigma {sigma}: sampling 100 + {n} votes for each of {len(x)} digits", flush=True)
        select = rsbounds.sample_counts(
            model.predict, x, noise=law, n=100, num_classes=10, role="select", seed=seed
        )
        estimate = rsbounds.sample_counts(
            model.predict, x, noise=law, n=n, num_classes=10, seed=seed
        )
        top = rsbounds.select_top(select)
        comparison = rsbounds.compare(estimate, top, noise=law, alpha=alpha, labels=labels)
        print(f"\n{comparison}\n", flush=True)

        certificates = rsbounds.certify(estimate, top, noise=law, alpha=alpha)
        _write(folder, sigma, (select, estimate), labels, certificates, comparison)
    took = time.monotonic() - start
    print(f"Done in {took:.0f} s. Results in {folder}/ (one set for each sigma):")
    for file in sorted(folder.glob("digits_sigma*")):
        print(f"  {file}")
    print(
        "Certify the counts yourself:\n"
        f"  rsbounds certify {folder}/digits_sigma0.25_counts.npz --sigma 0.25 --lattice 1/256"
    )


def _write(
    folder: Path,
    sigma: float,
    counts: tuple[Counts, Counts],
    labels: NDArray[np.int64],
    certificates: Certificates,
    comparison: Comparison,
) -> None:
    """The files of one sigma."""
    select, estimate = counts
    name = f"digits_sigma{sigma:g}"
    with _text.complete_file(folder / f"{name}_counts.npz", "wb") as stream:
        np.savez_compressed(
            stream,  # type: ignore[arg-type]
            counts=estimate.values,
            select=select.values,
            label=labels,
        )
    certificates.write(folder / f"{name}_certificates.tsv", force=True)
    with _text.complete_file(folder / f"{name}_comparison.json") as stream:
        json.dump(comparison.as_dict(), stream, indent=1)
    for ending in ("png", "svg"):
        rsbounds.plot_certified_accuracy(
            comparison.curves(),
            labels,
            path=folder / f"{name}.{ending}",
            title=f"digits, sigma {sigma:g}, n = {estimate.n[0]}, alpha = {comparison.alpha:g}",
            force=True,
        )
