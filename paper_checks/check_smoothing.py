"""Data-dependent smoothing: one sigma, one sigma per axis, one matrix per input.

Regions around a point of the plane that is turned (Figure 1 of rddrs), and certified accuracy on
MNIST over proxy and inscribed radius: [smoothing.md](smoothing.md), which is read where it is
there, and made anew with `RSBOUNDS_IMAGES` set to the number of images.

![regions in the plane](regions.svg)

![certified accuracy on MNIST](smoothing.svg)
"""

# Without PyTorch there is nothing to check; without smoothing.md and the MNIST files only the
# plane. RSBOUNDS_RUNS is a folder where the runs are kept, so that a long one can be resumed.

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import rsbounds
from paper_checks import FOLDER, Check, data_folder
from rsbounds._text import complete_file
from rsbounds.report import plot_regions

PAPER = "rddrs"
SIGMA, N, ALPHA = 0.5, 10_000, 0.001
ANGLES = (0, 15, 30, 45, 60, 75, 90)
RADII = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
#: A proxy radius at which the methods differ most.
LARGE = 1.5
#: The order that the paper finds, from small regions to large ones.
ORDER = ("fixed", "ddrs", "ancer", "rddrs")
#: Error probability of the bands around the curves.
BAND = 0.05


def run(quick: bool = False) -> Iterator[Check]:
    try:
        import torch
    except ImportError:
        print("  no PyTorch here: data-dependent smoothing is not checked")
        return
    # Sums, and so the figures, depend on how many threads take part in them.
    torch.set_num_threads(1)
    if not quick:
        yield from plane()
    kept_table = FOLDER / "smoothing.md"
    if "RSBOUNDS_IMAGES" not in os.environ and kept_table.is_file():
        yield from compared(*read(kept_table.read_text()))
        return
    if quick:
        return
    data = data_folder()
    if data is None or not (data / "mnist").is_dir():
        print("  no MNIST files here (RSBOUNDS_DATA): only the plane is checked")
        return
    images = int(os.environ.get("RSBOUNDS_IMAGES", "5"))
    kept = os.environ.get("RSBOUNDS_RUNS")
    if kept is not None:
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield from mnist(data / "mnist", Path(kept), images)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield from mnist(data / "mnist", Path(folder), images)


def found_law(name: str, classifier: Any, x: Any, n: int, **settings: Any) -> Any:
    """The law that a method finds; ``fixed`` is the one that there is."""
    import rsbounds_torch

    if name == "fixed":
        return classifier.noise.scaled([1.0])
    return rsbounds_torch.optimize_noise(
        classifier, x, method=name, n=n, alpha=ALPHA, seed=0, progress=False, **settings
    )


def areas(
    names: list[str], angles: tuple[int, ...] = ANGLES, n: int = N, **settings: Any
) -> dict[str, list[float]]:
    """Area of each method's region at each angle."""
    from rsbounds_torch._demo import three_classes

    held: dict[str, list[float]] = {name: [] for name in names}
    for angle in angles:
        classifier, x = three_classes(np.deg2rad(angle))
        for name in names:
            law = found_law(name, classifier, x, n, **(settings if name != "fixed" else {}))
            made = classifier.certify(x, noise=law, n=n, alpha=ALPHA, seed=0, progress=False)
            held[name].append(float(np.pi * made.proxy_radius[0] ** 2))
    return held


def methods() -> list[str]:
    """What there is, after the law that is fixed."""
    from rsbounds_torch.optimizers import OPTIMIZERS

    return ["fixed", *OPTIMIZERS]


def plane() -> Iterator[Check]:
    """Figure 1: the regions of three kinds of laws, and what turning the plane does to them."""
    from rsbounds_torch._demo import region_of, three_classes

    held = areas(methods())
    order = [name for name in ORDER if name in held]
    means = {name: float(np.mean(held[name])) for name in held}
    shown = ", ".join(f"{name} {means[name]:.4f}" for name in held)
    pairs = list(pairwise(order))
    # The optimizers see samples: 3 % of an area is their noise.
    ordered = all(b >= 0.97 * a for p, q in pairs for a, b in zip(held[p], held[q], strict=True))
    yield Check(
        f"{PAPER}, Figure 1", f"areas grow at every angle: {' <= '.join(order)}",
        "every angle from 0 to 90 degrees", shown, "3 %", ordered,
        "the judge keeps the start where nothing larger was found",
    )  # fmt: skip
    for name in ("rotated", "rddrs"):
        if name not in held:
            continue
        spread = max(held[name]) / min(held[name]) - 1.0
        others = max(held["ancer"]) / min(held["ancer"]) - 1.0
        yield Check(
            f"{PAPER}, Figure 1", f"turning the plane does not change the area of {name}",
            "varies by less than 3 %", f"{100 * spread:.1f} % (ancer {100 * others:.1f} %)", "-",
            spread < 0.03,
            "one run at each angle, with draws that do not turn; the section `plane` has means "
            "over seeds",
        )  # fmt: skip
    classifier, x = three_classes(np.deg2rad(30))
    regions = {}
    for name in order:
        law = found_law(name, classifier, x, N)
        made = classifier.certify(x, noise=law, n=N, alpha=ALPHA, seed=0, progress=False)
        regions[name] = region_of(law, made.radius)
    weight, bias = (p.detach().numpy() for p in classifier.model.parameters())  # type: ignore[attr-defined]
    plot_regions(
        regions, x[0].numpy(), path=FOLDER / "regions.svg", force=True,
        classify=lambda points: (points @ weight.T + bias).argmax(axis=1),
    )  # fmt: skip


def lenet(images: Any, labels: Any, epochs: int = 12) -> Any:
    """LeNet, trained under noise."""
    import torch

    from rsbounds_torch import models

    torch.manual_seed(0)
    model = models.lenet()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(100):
            noisy = images[batch] + SIGMA * torch.randn_like(images[batch])
            loss = torch.nn.functional.cross_entropy(model(noisy), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def mnist(data: Path, folder: Path, images: int, n: int = N, epochs: int = 12) -> Iterator[Check]:
    """The comparison on MNIST: trained on test images 0 to 7999, certified on some of the rest."""
    import torch

    import rsbounds_torch
    from rsbounds_torch.data import load_data

    held = load_data(
        *(str(data / f"t10k-{what}-ubyte.gz") for what in ("images-idx3", "labels-idx1"))
    )
    weights = folder / "lenet.pt"
    if not weights.is_file():
        inputs = torch.from_numpy(np.stack([np.asarray(held[i][0]) for i in range(8000)]))
        labels = torch.tensor([held[i][1] for i in range(8000)])
        torch.save(lenet(inputs, labels, epochs).state_dict(), weights)
    model = lenet(torch.empty(0, 1, 28, 28), torch.empty(0, dtype=torch.long), 0)
    model.load_state_dict(torch.load(weights, weights_only=True))
    classifier = rsbounds_torch.SmoothedClassifier(
        model, num_classes=10, noise=rsbounds.Gaussian(SIGMA), lattice=None,
        input_bounds=(0.0, 1.0), batch_size=250,
    )  # fmt: skip
    wanted = np.linspace(8000, 9999, images).round().astype(int).tolist()
    truth = np.array([held[i][1] for i in sorted(wanted)])
    made = {}
    for name in methods():
        print(f"  {name}: {images} images", flush=True)
        made[name] = rsbounds_torch.certify_dataset(
            classifier, held, store=folder / f"{name}.sqlite", n=n, alpha=ALPHA, seed=0,
            indices=wanted, smoothing=None if name == "fixed" else name,
        )  # fmt: skip
    write(made, truth)
    acr = {
        (name, size): rsbounds.average_certified_radius(made[name], truth, size=size)
        for name in made
        for size in ("proxy_radius", "inscribed_radius")
    }
    large = {
        name: rsbounds.certified_accuracy(made[name], truth, [LARGE], size="proxy_radius")[0]
        for name in made
    }
    yield from compared(images, acr, large)


def read(text: str) -> tuple[int, dict[tuple[str, str], float], dict[str, float]]:
    """Images, mean radii and accuracies of a table that `write` wrote."""
    found = re.search(r"on (\d+) MNIST images", text)
    assert found is not None, "smoothing.md is not a table of ours"
    acr, large = {}, {}
    size = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 2 + len(RADII) or cells[0].startswith("---"):
            continue
        if cells[0].endswith(" radius"):
            size = cells[0].replace(" ", "_")
            continue
        acr[cells[0], size] = float(cells[1])
        if size == "proxy_radius":
            large[cells[0]] = float(cells[2 + RADII.index(LARGE)])
    return int(found.group(1)), acr, large


def compared(
    images: int, acr: dict[tuple[str, str], float], large: dict[str, float]
) -> Iterator[Check]:
    """The orders that the papers find."""
    order = [name for name in ORDER if name in large]
    yield Check(
        f"{PAPER}, section 4", f"accuracy at proxy radius {LARGE:g}: {' <= '.join(order)}",
        "in that order", ", ".join(
            f"{name} {large[name]:.2f} (mean {acr[name, 'proxy_radius']:.3f})" for name in large
        ),
        f"{images} images (standard error of a difference at most {images**-0.5:.2f})",
        all(large[p] <= large[q] for p, q in pairwise(order)),
        "a proxy radius is about the volume: the inscribed radius stands beside it",
    )  # fmt: skip
    inner = {name: acr[name, "inscribed_radius"] for name in large}
    yield Check(
        "Eiras et al. 2022, section 5", "what grows the volume keeps the isotropic region inside",
        f"mean inscribed radius >= 0.98 of {inner['fixed']:.3f}, that of fixed noise",
        ", ".join(f"{name} {radius:.3f}" for name, radius in inner.items()),
        f"2 %, {images} images",
        all(radius >= 0.98 * inner["fixed"] for radius in inner.values()),
        "the judge refuses a law whose inscribed radius is smaller",
    )  # fmt: skip


def write(made: dict[str, Any], truth: Any) -> None:
    """The table and the figure of the comparison."""
    rsbounds.plot_certified_accuracy(
        made, truth, path=FOLDER / "smoothing.svg", size=("proxy_radius", "inscribed_radius"),
        band=BAND, title=f"MNIST, LeNet, sigma {SIGMA:g}, {len(truth)} images", force=True,
    )  # fmt: skip
    with complete_file(FOLDER / "smoothing.md") as stream:
        stream.write(
            f"Certified accuracy of a LeNet on {len(truth)} MNIST images, sigma {SIGMA:g}, alpha "
            f"{ALPHA:g}; ACR is the mean radius, wrong or abstained counted as 0.\n"
        )
        for size in ("proxy_radius", "inscribed_radius"):
            stream.write(f"\n| {size.replace('_', ' ')} | ACR |")
            stream.write("".join(f" r >= {r:g} |" for r in RADII))
            stream.write("\n|---" + "|---" * (1 + len(RADII)) + "|\n")
            for name, table in made.items():
                acr = rsbounds.average_certified_radius(table, truth, size=size)
                shares = rsbounds.certified_accuracy(table, truth, RADII, size=size)
                stream.write(f"| {name} | {acr:.3f} |")
                stream.write("".join(f" {share:.3f} |" for share in shares) + "\n")
