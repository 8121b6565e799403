"""The demonstration: a small CNN on the digits, certified through the run store.

And data-dependent smoothing: a noise law found for some of the digits, and the regions of laws of
every kind around a point of the plane.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import rsbounds
from rsbounds import _text
from rsbounds.noises import Noise
from rsbounds.regions import Region
from rsbounds.report import plot_regions
from rsbounds.report.runs import report_files, report_runs
from rsbounds_torch.distributed import certify_dataset
from rsbounds_torch.model import SmoothedClassifier
from rsbounds_torch.models import small_cnn
from rsbounds_torch.optimizers import OPTIMIZERS, optimize_noise
from rsbounds_torch.training import train

SIGMAS = (0.25, 0.5)
#: The digits are multiples of 1/16, and so on this lattice: exact noise costs them nothing.
LATTICE = 1 / 256
EPOCHS = 60
#: Digits for which a law is found, and what finds it.
FOUND, SMOOTHING = 10, "ddrs"


def three_classes(angle: float = 0.0) -> tuple[SmoothedClassifier, torch.Tensor]:
    """A problem of three classes in the plane, turned by an angle, and a point (1, 2) of it.

    The point lies in a wedge that is narrow across its axis, which is oblique to the
    coordinates: regions that may be long, and turned, are larger.
    """
    lines = torch.tensor([[0.0, 0.0], [-1.0, 2.2], [1.4, -2.0]], dtype=torch.float64)
    c, s = np.cos(angle), np.sin(angle)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    model = nn.Linear(2, 3, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(4.0 * lines @ turn.T)
        model.bias.copy_(4.0 * torch.tensor([0.0, -0.7, -0.6]))
    law = rsbounds.Gaussian(0.25)
    classifier = SmoothedClassifier(model, num_classes=3, noise=law, lattice=None)
    return classifier, torch.tensor([[0.2, 0.1]], dtype=torch.float64) @ turn.T


def one_of_each_kind(start: Noise, shape: tuple[int, ...]) -> list[str]:
    """For each kind of law that can be found, the first method that finds it."""
    each = start.scaled([1.0])
    found: dict[str, str] = {}
    for name in OPTIMIZERS.working():
        found.setdefault(OPTIMIZERS[name]().start(each, shape).name, name)
    return list(found.values())


def region_of(law: Noise, radius: Any) -> Region:
    """The region with that radius in the law's norm."""
    return law.region(np.atleast_1d(radius) / law.region([1.0]).radius)


def plot_plane(path: Path, *, n: int, alpha: float, seed: int, force: bool) -> None:
    """The regions that fixed noise and laws of every kind certify around one point."""
    classifier, x = three_classes()
    laws = {"fixed": classifier.noise.scaled([1.0])}
    for name in one_of_each_kind(classifier.noise, (2,)):
        laws[name] = optimize_noise(
            classifier, x, method=name, n=n, alpha=alpha, seed=seed, progress=False
        )
    regions = {}
    for name, law in laws.items():
        made = classifier.certify(x, noise=law, n=n, alpha=alpha, seed=seed, progress=False)
        regions[f"{name} ({law.name})"] = region_of(law, made.radius)
    weight, bias = (p.detach().numpy() for p in classifier.model.parameters())  # type: ignore[attr-defined]
    plot_regions(
        regions, x[0].numpy(), path=path, force=force, title="Regions around one point",
        classify=lambda points: (points @ weight.T + bias).argmax(axis=1),
    )  # fmt: skip


def run_demo(
    folder: Path, *, inputs: int, n: int, alpha: float, seed: int, force: bool = False
) -> None:
    """Train with Gaussian augmentation, certify through a store, report every method.

    Writes, for each sigma, the store of the run, and a folder with the report and the figures;
    with them a run on some of the digits with a law found for each, and ``regions.png``.
    """
    if not 1 <= inputs <= 797:
        raise ValueError(f"inputs is {inputs}; allowed: an integer from 1 to 797")
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("the demo needs scikit-learn; install rsbounds[demo]") from None
    stores = [folder / f"cnn_sigma{sigma:g}.sqlite" for sigma in SIGMAS]
    found = folder / f"cnn_sigma{SIGMAS[-1]:g}_{SMOOTHING}.sqlite"
    report, picture = folder / "cnn_report", folder / "regions.png"
    report_files([*stores, found], report, force=force)
    if folder.is_dir():
        _text.check_output(picture, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = torch.from_numpy((digits.data / 16).astype(np.float32)).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(digits.target.astype(np.int64))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
    learned, test = order[:1000], order[1000 : 1000 + inputs]
    data = [(images[i], int(labels[i])) for i in test]
    start = time.monotonic()
    for sigma, store in zip(SIGMAS, stores, strict=True):
        torch.manual_seed(seed)
        model = small_cnn()
        # A training and a run that are there are taken up, or gone on with.
        print(f"sigma {sigma}: a CNN learns 1000 digits with noise", flush=True)
        train(
            model, (images[learned], labels[learned]), noise=rsbounds.Gaussian(sigma),
            folder=folder / f"cnn_sigma{sigma:g}", epochs=EPOCHS, batch_size=100, seed=seed,
        )  # fmt: skip
        law = rsbounds.Gaussian(sigma, lattice=LATTICE)
        classifier = SmoothedClassifier(model, num_classes=10, noise=law)
        print(f"sigma {sigma}: certifying {inputs} digits, n = {n}, into {store}", flush=True)
        certify_dataset(classifier, data, store=store, n=n, alpha=alpha, seed=seed)
    some = min(FOUND, inputs)
    print(f"sigma {sigma}: finding noise for each of {some} digits, {SMOOTHING}", flush=True)
    certify_dataset(
        classifier, data[:some], store=found, n=n, alpha=alpha, seed=seed, smoothing=SMOOTHING
    )
    print(f"regions around a point of the plane: {picture}", flush=True)
    plot_plane(picture, n=n, alpha=alpha, seed=seed, force=force)
    print()
    print(report_runs([*stores, found], report, force=force))
    print(f"\nDone in {time.monotonic() - start:.0f} s. The runs keep every count:")
    for store in stores:
        print(f"  rsbounds rebound {store} --method complement --alpha 1e-4")
