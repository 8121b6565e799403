"""What training for certificates gains: every method on MNIST and on the digits.

    python -m paper_checks.training --methods gaussian,macer --sigma 0.5 --seeds 0,1

trains and certifies the cells asked for (data set, sigma, method, seed), and writes the tables of
all cells that are there into ``training.md``. Each cell is kept in the folder ``--runs``, and each
of its two halves goes on where it was stopped. MNIST is read from ``$RSBOUNDS_DATA/mnist``: a
LeNet learns the first 8,000 published test images, and 500 of the other 2,000 are certified; of
the digits (scikit-learn) a small CNN learns 1,000, and 500 others are certified. Settings were
fixed on seed 100, before a reported seed (0, 1, 2) was run: SGD's are the same for every method
and sigma, and a loss has its own defaults but for the copies and one weight (`METHODS`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

import rsbounds
from paper_checks import FOLDER, data_folder
from rsbounds._text import complete_file, down, mean_down

N, ALPHA = 10_000, 0.001
EPOCHS = {"mnist": 15, "digits": 60}
SETTINGS = {"batch_size": 100, "lr": 0.05, "warmup": 1.0, "clip": 1.0}
RADII = {
    0.25: (0.0, 0.25, 0.5, 0.75),
    0.5: (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5),
    1.0: (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
}
#: Error probability of the intervals of differences.
BAND = 0.05


@dataclass(frozen=True)
class Method:
    """How a model is trained and certified.

    Attributes
    ----------
    loss, options : str, dict
        The training's.
    smoothing : str or None
        What finds the noise of each training input.
    found : str or None
        What finds the noise of each input that is certified.
    parent : str or None
        The method that the paper compares it with, ``claim`` says where.
    """

    loss: str
    options: dict[str, Any] = field(default_factory=dict)
    smoothing: str | None = None
    found: str | None = None
    parent: str | None = None
    claim: str = ""


ADRE, DDS = "ADRE and T-Certify", "Alfarra et al. 2022"
_TWO, _EIGHT = {"copies": 2}, {"copies": 8}
METHODS = {
    "gaussian": Method("gaussian"),
    "gaussian-4": Method("gaussian", {"copies": 4}),
    "adre-reg": Method("adre-reg", {"copies": 4}, parent="gaussian-4", claim=f"{ADRE}, Table 1"),
    "smoothadv": Method("smoothadv", _TWO),
    "adre-adv": Method("adre-adv", _TWO, parent="smoothadv", claim=f"{ADRE}, Figure 1"),
    "macer": Method("macer", _EIGHT, parent="gaussian", claim="Zhai et al. 2020, Table 1"),
    "consistency": Method(
        "consistency", {"weight": 5.0}, parent="gaussian", claim="Jeong and Shin 2020, Table 1"
    ),
    "smoothmix": Method("smoothmix", parent="gaussian", claim="Jeong et al. 2021, Table 1"),
    "stability": Method("stability", parent="gaussian", claim="Li et al. 2019"),
    "gaussian-ds": Method("gaussian", found="search", parent="gaussian", claim=f"{DDS}, Table 1"),
    "gaussian-ds2": Method(
        "gaussian", {}, "ddrs", "search", parent="gaussian-ds", claim=f"{DDS}, Table 1"
    ),
    "smoothadv-ds": Method(
        "smoothadv", _TWO, found="search", parent="smoothadv", claim=f"{DDS}, Table 2"
    ),
    "smoothadv-ds2": Method(
        "smoothadv", _TWO, "ddrs", "search", parent="smoothadv-ds", claim=f"{DDS}, Table 2"
    ),
    "macer-ds": Method("macer", _EIGHT, found="search", parent="macer", claim=f"{DDS}, Table 3"),
    "macer-ds2": Method(
        "macer", _EIGHT, "ddrs", "search", parent="macer-ds", claim=f"{DDS}, Table 3"
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One model and its certificates."""

    data: str
    sigma: float
    method: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data}_sigma{self.sigma:g}_{self.method}_seed{self.seed}"

    @property
    def trained(self) -> str:
        """Folder of the training: of what is certified otherwise only, that of another cell."""
        method = self.method.removesuffix("-ds")
        return f"{self.data}_sigma{self.sigma:g}_{method}_seed{self.seed}"


@dataclass(frozen=True, eq=False)
class Found:
    """Certificates of a cell, by image: (B,) radii, and 0 where the answer is wrong."""

    radius: NDArray[np.float64]
    right: NDArray[np.bool_]
    seconds: dict[str, float]


def images_of(name: str) -> tuple[Any, Any, list[int]]:
    """All inputs and labels in their order; the first are learned, the rest may be certified."""
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.data))
        x = (digits.data / 16).astype(np.float32).reshape(-1, 1, 8, 8)[order]
        return x, digits.target.astype(np.int64)[order], [1000, len(order)]
    from rsbounds_torch.data import load_data

    folder = data_folder()
    if folder is None or not (folder / "mnist").is_dir():
        raise ValueError("no MNIST files; allowed: RSBOUNDS_DATA with a folder mnist, or digits")
    held = load_data(*(
        str(folder / "mnist" / f"t10k-{what}-ubyte.gz") for what in ("images-idx3", "labels-idx1")
    ))  # fmt: skip
    x, y = zip(*(held[i] for i in range(len(held))), strict=True)
    return np.stack(x), np.array(y), [8000, 10_000]  # type: ignore[arg-type]


def settings_of(cell: Cell) -> dict[str, Any]:
    """What a cell's numbers depend on, besides its name."""
    method = METHODS[cell.method]
    return {
        "loss": method.loss, "options": method.options, "smoothing": method.smoothing,
        "found": method.found, "epochs": EPOCHS[cell.data], "n": N, "alpha": ALPHA, **SETTINGS,
    }  # fmt: skip


def run_cell(
    cell: Cell, runs: Path, images: int, device: str = "cpu", compile: bool = False
) -> None:
    """Train and certify, or go on with it; the cell's file says that it is done."""
    import torch

    import rsbounds_torch
    from rsbounds_torch import models

    method = METHODS[cell.method]
    x, y, (learned, end) = images_of(cell.data)
    folder, law = runs / cell.trained, rsbounds.Gaussian(cell.sigma)
    torch.manual_seed(cell.seed)
    model = (models.lenet() if cell.data == "mnist" else models.small_cnn()).to(device)
    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    learn = [torch.from_numpy(part[:learned]).to(device) for part in (x, y)]
    rsbounds_torch.train(
        model, tuple(learn), noise=law, loss=method.loss,
        loss_options=method.options, smoothing=method.smoothing, folder=folder, seed=cell.seed,
        epochs=EPOCHS[cell.data], **SETTINGS,
    )  # fmt: skip
    trained = clock()
    classifier = rsbounds_torch.SmoothedClassifier(
        model, num_classes=10, noise=law, input_bounds=(0.0, 1.0),
        batch_size=1000 if device == "cpu" else 10_000, compile=compile,
    )  # fmt: skip
    wanted = np.linspace(learned, end - 1, images).round().astype(int).tolist()
    made = rsbounds_torch.certify_dataset(
        classifier, list(zip(x, y.tolist(), strict=True)), store=runs / f"{cell.name}.sqlite",
        n=N, alpha=ALPHA, seed=cell.seed, indices=wanted, smoothing=method.found,
    )  # fmt: skip
    rows = np.isin(made.index, wanted)
    right = (made.top == y[made.index]) & made.certified
    values = {
        "settings": settings_of(cell),
        "device": device,
        "radius": np.where(right, made.radius, 0.0)[rows].tolist(),
        "right": right[rows].tolist(),
        "seconds": {"train": trained - began, "certify": clock() - trained},
    }
    with complete_file(cell_file(cell, runs, images)) as stream:
        json.dump(values, stream)


def cell_file(cell: Cell, runs: Path, images: int) -> Path:
    return runs / f"{cell.name}.{images}.json"


def read_cell(cell: Cell, runs: Path, images: int) -> Found | None:
    """What a cell found, where it is done."""
    path = cell_file(cell, runs, images)
    if not path.is_file():
        return None
    held = json.loads(path.read_text())
    if held["settings"] != settings_of(cell):
        raise ValueError(
            f"{str(path)!r} was made with {held['settings']}; allowed: {settings_of(cell)}, or "
            "another --runs"
        )
    return Found(np.array(held["radius"]), np.array(held["right"]), held["seconds"])


# -- tables --------------------------------------------------------------------------------


def difference(one: list[Found], other: list[Found]) -> tuple[float, float, float, list[float]]:
    """Mean of the differences of radius, its interval over images, and the mean of each seed.

    The images are those that another sample could have been; the seeds are those that there are.
    """
    each = np.stack([a.radius - b.radius for a, b in zip(one, other, strict=True)])
    by_image = each.mean(axis=0)
    half = float(student.ppf(1 - BAND / 2, len(by_image) - 1)) * by_image.std(ddof=1)
    half /= np.sqrt(len(by_image))
    mean = float(by_image.mean())
    return mean, mean - half, mean + half, each.mean(axis=1).tolist()


def verdict(low: float, high: float) -> str:
    return "holds" if low > 0 else "does not hold" if high < 0 else "not decided"


def tables(runs: Path, images: int, seeds: tuple[int, ...] = tuple(range(10))) -> list[str]:
    """Lines of all tables, from the cells that are done."""
    lines: list[str] = []
    for data in EPOCHS:
        for sigma in RADII:
            found: dict[str, dict[int, Found]] = {}
            for name in METHODS:
                cells = {
                    seed: held
                    for seed in seeds
                    if (held := read_cell(Cell(data, sigma, name, seed), runs, images)) is not None
                }
                if cells:
                    found[name] = cells
            if found:
                lines += one_table(data, sigma, found)
    return lines


def one_table(data: str, sigma: float, found: dict[str, dict[int, Found]]) -> list[str]:
    """Of one data set and sigma: radii and accuracies, then differences."""
    radii = RADII[sigma]
    lines = ["", f"## {data}, sigma {sigma:g}", ""]
    lines.append(
        "| method | seeds | ACR (by seed) |" + "".join(f" r >= {r:g} |" for r in radii)
        + " training s | certification s |"
    )  # fmt: skip
    lines.append("|---" * (5 + len(radii)) + "|")
    for name, cells in found.items():
        held = list(cells.values())
        acr = [mean_down(one.radius.tolist()) for one in held]
        shares = [
            float(np.mean([(one.right & (one.radius >= r)).mean() for one in held])) for r in radii
        ]
        seconds = [np.median([one.seconds[part] for one in held]) for part in ("train", "certify")]
        lines.append(
            f"| {name} | {len(held)} | {down(mean_down(acr))} ({', '.join(map(down, acr))}) |"
            + "".join(f" {down(share, 3)} |" for share in shares)
            + "".join(f" {s:.0f} |" for s in seconds)
        )
    pairs = []
    for name, cells in found.items():
        method = METHODS[name]
        parent = found.get(method.parent or "", {})
        both = [seed for seed in cells if seed in parent]
        if both:
            mean, low, high, each = difference(
                [cells[seed] for seed in both], [parent[seed] for seed in both]
            )
            pairs.append(
                f"| {name} over {method.parent} | {mean:+.4f} | {low:+.4f} to {high:+.4f} | "
                f"{', '.join(f'{one:+.4f}' for one in each)} | {method.claim} | "
                f"{verdict(low, high)} |"
            )
    if pairs:
        lines += ["", "| ACR | difference | 95 % | by seed | claim | here |", "|---" * 6 + "|"]
        lines += pairs
    return lines


def write_tables(runs: Path, images: int, folder: Path = FOLDER) -> None:
    lines = tables(runs, images)
    if not lines:
        return
    epochs = ", ".join(f"{count} epochs on {name}" for name, count in EPOCHS.items())
    with complete_file(folder / "training.md") as stream:
        stream.write(
            "# Training for certificates\n\n"
            "Written by `make paper-training`. ACR is the mean certified radius, wrong or "
            f"abstained counted as 0, of {images} images that were not trained on; n = {N}, alpha "
            f"= {ALPHA:g}, method `exact`. SGD with {SETTINGS}, {epochs}. Differences are of the "
            "same images and seeds; their intervals are Student's over the images, with the seeds "
            "as they are. `-ds`: certified with noise found for each image, by `search`, which is "
            "cheaper than `ddrs`; `-ds2`: trained with noise found for each image too, by `ddrs`. "
            "Those certificates are each about the classifier smoothed with that image's "
            "noise. Seconds are medians: CPU time of one thread, on a GPU the clock's.\n"
        )
        stream.write("\n".join(lines) + "\n")
    print(f"written: {folder.name}/training.md")


def listed(text: str, kind: Any, allowed: list[Any] | None, name: str) -> list[Any]:
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--{name} is {text!r}; allowed: values with commas") from None
    for value in found:
        if allowed is not None and value not in allowed:
            raise ValueError(f"--{name} has {value}; allowed: {', '.join(map(str, allowed))}")
    return found


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="paper_checks.training", allow_abbrev=False)
    add = parser.add_argument
    add("--sets", default="digits,mnist", help="data sets (default both)")
    add("--methods", default=",".join(METHODS), help="default all")
    add("--sigma", default="0.25,0.5,1", help="default 0.25,0.5,1; the digits have no 1")
    add("--seeds", default="0,1,2")
    add("--images", type=int, default=500, help="images that are certified (default 500)")
    add("--threads", type=int, default=1, help="of PyTorch (default 1)")
    add("--device", default="cpu", help="torch device (default cpu)")
    add("--compile", action="store_true", help="torch.compile what is certified (twice as fast)")
    add("--runs", default="paper_runs", metavar="DIR", help="where the cells are kept")
    add("--output", default=str(FOLDER), metavar="DIR", help="where training.md is written")
    given = parser.parse_args(words)
    try:
        cells = [
            Cell(data, sigma, method, seed)
            for seed in listed(given.seeds, int, None, "seeds")
            for data in listed(given.sets, str, list(EPOCHS), "sets")
            for sigma in listed(given.sigma, float, list(RADII), "sigma")
            for method in listed(given.methods, str, list(METHODS), "methods")
            if data == "mnist" or sigma < 1
        ]
        if not 2 <= given.images <= 500:
            raise ValueError(f"--images is {given.images}; allowed: 2 to 500")
        run(cells, given)
    except (ValueError, OSError) as error:
        print(f"paper_checks.training: {error}", file=sys.stderr)
        return 2
    return 0


def run(cells: list[Cell], given: argparse.Namespace) -> None:
    """Every cell that is not there yet, and the tables after each."""
    import torch

    torch.set_num_threads(given.threads)
    runs = Path(given.runs)
    runs.mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(cells, start=1):
        if read_cell(cell, runs, given.images) is None:
            print(f"[{number}/{len(cells)}] {cell.name}", flush=True)
            run_cell(cell, runs, given.images, given.device, given.compile)
            write_tables(runs, given.images, Path(given.output))
    write_tables(runs, given.images, Path(given.output))


if __name__ == "__main__":
    sys.exit(main())
