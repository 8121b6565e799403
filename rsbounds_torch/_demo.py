"""The demonstration: a small CNN on the digits, certified through the run store."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import rsbounds
from rsbounds import _text
from rsbounds.report.runs import report_files, report_runs
from rsbounds_torch.distributed import certify_dataset
from rsbounds_torch.model import SmoothedClassifier

SIGMAS = (0.25, 0.5)
EPOCHS = 60


def digits_cnn() -> nn.Sequential:
    """A CNN for (1, 8, 8) digits in [0, 1]."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def _train(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, sigma: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(order), 100):
            batch = order[start : start + 100]
            noisy = images[batch] + sigma * torch.randn(images[batch].shape, generator=generator)
            loss = nn.functional.cross_entropy(model(noisy), labels[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()


def run_demo(
    folder: Path, *, inputs: int, n: int, alpha: float, seed: int, force: bool = False
) -> None:
    """Train with Gaussian augmentation, certify through a store, report every method.

    Writes, for each sigma, the store of the run, and a folder with the report and the figures.
    """
    if not 1 <= inputs <= 797:
        raise ValueError(f"inputs is {inputs}; allowed: an integer from 1 to 797")
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("the demo needs scikit-learn; install rsbounds[demo]") from None
    stores = [folder / f"cnn_sigma{sigma:g}.sqlite" for sigma in SIGMAS]
    report = folder / "cnn_report"
    report_files(stores, report, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = torch.from_numpy((digits.data / 16).astype(np.float32)).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(digits.target.astype(np.int64))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
    train, test = order[:1000], order[1000 : 1000 + inputs]
    data = [(images[i], int(labels[i])) for i in test]
    start = time.monotonic()
    for sigma, store in zip(SIGMAS, stores, strict=True):
        torch.manual_seed(seed)
        model = digits_cnn()
        weights = folder / f"cnn_sigma{sigma:g}.pt"
        if weights.exists():
            # A run resumes only with the model that it was begun with.
            print(f"sigma {sigma}: using the weights in {weights}", flush=True)
            model.load_state_dict(torch.load(weights, weights_only=True))
        else:
            print(f"sigma {sigma}: training a CNN on 1000 digits with noise", flush=True)
            _train(model, images[train], labels[train], sigma, seed)
            with _text.complete_file(weights, "wb") as stream:
                torch.save(model.state_dict(), stream)  # type: ignore[arg-type]
        classifier = SmoothedClassifier(model, num_classes=10, noise=rsbounds.Gaussian(sigma))
        # The same call resumes a run that was stopped.
        print(f"sigma {sigma}: certifying {inputs} digits, n = {n}, into {store}", flush=True)
        certify_dataset(classifier, data, store=store, n=n, alpha=alpha, seed=seed)
    print()
    print(report_runs(stores, report, force=force))
    print(f"\nDone in {time.monotonic() - start:.0f} s. The runs keep every count:")
    for store in stores:
        print(f"  rsbounds rebound {store} --method complement --alpha 1e-4")
