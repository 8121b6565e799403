"""MNIST end to end: train on 8,000 of the published test images, certify 500 others.

Reads the IDX files from ``$RSBOUNDS_DATA/mnist`` or ``../shared/data/mnist`` beside the
repository; prints ACR and certified accuracy with Cohen's bound and the exact one from the same
counts. The training set proper is not used: these figures are about the tools, not MNIST.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _timing import machine

try:
    import torch
except ImportError:
    sys.exit("no torch here: nothing to measure")

from bench_torch import lenet

import rsbounds
import rsbounds_torch
from rsbounds_torch.data import load_data

N = 10_000


def folder():
    given = os.environ.get("RSBOUNDS_DATA")
    root = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"
    return root / "mnist"


def train(images, labels, sigma, network=lenet):
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(12):
        for batch in torch.randperm(len(images)).split(100):
            noisy = images[batch] + sigma * torch.randn_like(images[batch])
            loss = torch.nn.functional.cross_entropy(model(noisy), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def main():
    if not folder().is_dir():
        sys.exit("no MNIST files: set RSBOUNDS_DATA")
    print(machine())
    data = load_data(
        str(folder() / "t10k-images-idx3-ubyte.gz"), str(folder() / "t10k-labels-idx1-ubyte.gz")
    )
    images = torch.from_numpy(np.stack([data[i][0] for i in range(8000)]))
    labels = torch.tensor([data[i][1] for i in range(8000)])
    test = range(8000, 10_000, 4)
    print(f"trained on images 0-7999, certified 500 of the others, n = {N}, alpha = 0.001")
    for sigma in (0.25, 0.5):
        start = time.perf_counter()
        model = train(images, labels, sigma)
        trained = time.perf_counter() - start
        classifier = rsbounds_torch.SmoothedClassifier(
            model, num_classes=10, noise=rsbounds.Gaussian(sigma)
        )
        with tempfile.TemporaryDirectory() as name:
            store = Path(name, "mnist.sqlite")
            start = time.perf_counter()
            rsbounds_torch.certify_dataset(classifier, data, store=store, n=N, indices=test, seed=0)
            took = time.perf_counter() - start
            with rsbounds.RunStore(store) as run:
                truth = [row.label for row in run.rows()]
                print(f"sigma {sigma}: training {trained:.0f} s, certification {took:.0f} s")
                for method in ("complement", "exact"):
                    result = rsbounds.rebound(run, method=method)
                    radii = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])
                    shares = rsbounds.certified_accuracy(result, truth, radii)
                    acr = rsbounds.average_certified_radius(result, truth)
                    print(
                        f"  {method:10} ACR {acr:.4f}  abstained {result.abstained.mean():.3f}  "
                        + "  ".join(
                            f"r>={r:g}: {s:.3f}" for r, s in zip(radii, shares, strict=True)
                        )
                    )


if __name__ == "__main__":
    main()
