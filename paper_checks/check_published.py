"""Published numbers: the logs of Cohen et al. 2019, and the papers' own tables.

Nothing is trained here. The logs say with which alpha they can have been made; a table says
whether the sentences around it are right, and whether its numbers can exist at all: with n votes no
radius is larger than that of n equal votes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import rsbounds
from paper_checks import Check, data_folder, joined

N, ALPHA = 100_000, 0.001
DDS, ADRE = "data-dependent-smoothing", "adre-t-certify"
LOGS = {
    "cifar10_resnet110_noise_0.25_test_sigma_0.25": 0.25,
    "cifar10_resnet110_noise_0.50_test_sigma_0.50": 0.5,
    "imagenet_resnet50_noise_0.50_test_sigma_0.50": 0.5,
}
Numbers = NDArray[np.float64]


def run(quick: bool = False) -> Iterator[Check]:
    folder = data_folder()
    if folder is None or not (folder / "cohen2019").is_dir():
        print("  no logs here (RSBOUNDS_DATA): Cohen's are not checked")
    else:
        yield from logs(folder / "cohen2019")
    yield from largest()
    yield from sentences()


# -- logs ----------------------------------------------------------------------------------


def possible(alpha: float, sigma: float, low: float) -> Numbers:
    """Every radius of CERTIFY above ``low`` sigma, largest first."""
    k = np.arange(N, int(N * stats.norm.cdf(low)), -1)
    counts = np.stack([k, N - k], axis=1)
    found = rsbounds.certify(
        counts, 0, noise=rsbounds.Gaussian(sigma), alpha=alpha, method="complement"
    )
    return np.asarray(found.radius)


def unit(radius: Numbers) -> Numbers:
    """Of the third digit."""
    return 10.0 ** (np.floor(np.log10(radius)) - 2)


def logs(folder: Path) -> Iterator[Check]:
    shares: dict[float, list[float]] = {0.001: [], 0.01: []}
    largest, up, total = [], 0, 0
    means, right = [], []
    for name, sigma in LOGS.items():
        table = np.loadtxt(folder / f"{name}.tsv", skiprows=1, usecols=(1, 2, 3))
        label, predicted, radius = table.T
        largest.append(float(radius.max() / sigma))
        top = radius[radius > 3.2 * sigma]
        for alpha, share in shares.items():
            gap = abs(top[:, None] - possible(alpha, sigma, 3.1)).min(axis=1)
            share.append(float((gap <= 0.501 * unit(top)).mean()))
        exact = possible(0.01, sigma, 3.1)
        nearest = exact[abs(top[:, None] - exact).argmin(axis=1)]
        up += int((top > nearest).sum())
        total += len(top)
        good = np.where(predicted == label, radius, 0.0)
        means.append(float(good.mean()))
        right.append(float((predicted == label).mean()))
    closed = {a: float(stats.norm.ppf(a ** (1 / N))) for a in shares}
    paper = "Cohen et al. 2019, published logs"
    yield Check(
        paper, "made with n = 100,000 and alpha = 0.001",
        f"no radius above {closed[0.001]:.4f} sigma",
        f"{joined(largest)} sigma in the three logs (three digits)", "half of the third digit",
        max(largest) <= closed[0.001] + 0.005,
        f"n equal votes at alpha 0.01 give {closed[0.01]:.4f} sigma",
    )  # fmt: skip
    yield Check(
        paper, "their radii are CERTIFY's at alpha = 0.001",
        "each radius above 3.2 sigma is that of a whole number of votes",
        f"{joined(shares[0.001], 3)} of them ({total} in all)", "half of the third digit",
        min(shares[0.001]) == 1.0,
        f"at alpha = 0.01: {joined(shares[0.01], 3)} of them; so were they made",
    )  # fmt: skip
    yield Check(
        paper, "a printed radius is certified", "none above the radius of its votes",
        f"{up} of {total} above 3.2 sigma are (rounded to nearest)", "0", up == 0,
        "rounded down wherever a radius is shown or exported",
    )  # fmt: skip
    yield Check(
        "optimal-certified-radius, 2.5", "larger sigma: larger radii, less accuracy",
        "CIFAR-10 at sigma 0.25 and 0.5: mean radius up, accuracy down",
        f"radius {joined(means[:2], 3)}, accuracy {joined(right[:2], 3)}",
        "the same 500 images", means[1] > means[0] and right[1] < right[0],
        "`compare` shows both",
    )  # fmt: skip


# -- what can exist ------------------------------------------------------------------------


#: Of each table: sigma or lambda, and the largest radius at which it has accuracy above 0.
COHEN_LIKE: tuple[tuple[str, str, tuple[tuple[float, float], ...]], ...] = (
    (f"{ADRE}, Table 1", "CIFAR-10 and ImageNet",
     ((0.12, 0.25), (0.25, 0.75), (0.5, 1.75), (1.0, 3.0))),
    (f"{DDS}, Tables 1 to 3", "fixed sigma (FS)", ((0.5, 1.75), (1.0, 3.5))),
)  # fmt: skip


def largest() -> Iterator[Check]:
    top = float(stats.norm.ppf(ALPHA ** (1 / N)))
    for source, what, rows in COHEN_LIKE:
        over = [(sigma, r) for sigma, r in rows if r > top * sigma]
        yield Check(
            source, f"accuracy above 0 only where n = 100,000 votes can certify ({what})",
            f"radii up to {top:.3f} sigma",
            ", ".join(f"{r:g} at sigma {sigma:g} (at most {top * sigma:.3f})" for sigma, r in rows),
            "-", not over, "`complement` with every vote",
        )  # fmt: skip
    limit = 2 * ALPHA ** (1 / N) - 1
    yield Check(
        f"{DDS}, Table 4", "YANG certifies 46 % of CIFAR-10 at l1 radius 1.0 with lambda up to 1",
        "R_1 = lambda (p_A - p_B) of at least 1",
        f"at most {limit:.5f} with n = 100,000, and below 1 with any n",
        "-", limit >= 1.0,
        "a radius of 1 needs lambda > 1: 46 is impossible as stated (ImageNet's row has 0 there)",
    )  # fmt: skip


# -- tables against sentences --------------------------------------------------------------

#: Best certified accuracies at radii 0, 0.25, 0.5, 0.75 and the ACR.
TABLES = {
    ("CIFAR-10", "COHEN"): (79.9, 58.3, 40.1, 29.2, 0.591),
    ("CIFAR-10", "COHEN-DS"): (77.2, 64.5, 47.8, 38.3, 0.784),
    ("CIFAR-10", "COHEN-DS2"): (79.8, 66.5, 50.4, 39.2, 0.764),
    ("ImageNet", "COHEN"): (66.6, 58.2, 49.0, 42.4, 1.098),
    ("ImageNet", "COHEN-DS"): (67.8, 61.4, 53.6, 45.6, 1.257),
    ("ImageNet", "COHEN-DS2"): (67.4, 64.2, 58.4, 47.4, 1.319),
    ("CIFAR-10", "SMOOTHADV"): (76.0, 62.4, 46.7, 34.6, 0.681),
    ("CIFAR-10", "SMOOTHADV-DS"): (75.7, 66.4, 52.1, 38.8, 0.799),
    ("CIFAR-10", "SMOOTHADV-DS2"): (76.2, 66.8, 52.8, 39.3, 0.812),
    ("ImageNet", "SMOOTHADV"): (60.8, 57.8, 54.6, 50.4, 1.287),
    ("ImageNet", "SMOOTHADV-DS"): (62.0, 60.4, 57.4, 53.2, 1.445),
    ("ImageNet", "SMOOTHADV-DS2"): (62.2, 60.6, 58.8, 54.2, 1.514),
    ("CIFAR-10", "MACER"): (78.8, 59.3, 43.6, 34.7, 0.702),
    ("CIFAR-10", "MACER-DS"): (79.5, 66.7, 52.3, 43.0, 0.841),
    ("CIFAR-10", "MACER-DS2"): (82.4, 68.3, 52.7, 43.5, 0.807),
    ("CIFAR-10, l1", "YANG"): (92, 83, 75, 71, 0.775),
    ("CIFAR-10, l1", "YANG-DS"): (92, 89, 82, 76, 0.946),
    ("ImageNet, l1", "YANG"): (78, 73, 67, 63, 0.683),
    ("ImageNet, l1", "YANG-DS"): (79, 76, 70, 65, 0.729),
}
RADII = {"0": 0, "0.25": 1, "0.5": 2, "0.75": 3, "ACR": 4}
#: Place, data, method, over which, at what, by how much.
GAINS = (
    ("4.1", "CIFAR-10", "COHEN-DS", "COHEN", "0.5", 7.7),
    ("4.1", "CIFAR-10", "COHEN-DS", "COHEN", "0.75", 9.1),
    ("4.1", "CIFAR-10", "COHEN-DS", "COHEN", "ACR", 0.193),
    ("4.1", "ImageNet", "COHEN-DS", "COHEN", "0.5", 4.6),
    ("4.1", "ImageNet", "COHEN-DS", "COHEN", "0.75", 3.2),
    ("4.1", "ImageNet", "COHEN-DS", "COHEN", "ACR", 0.159),
    ("4.1", "CIFAR-10", "COHEN-DS2", "COHEN-DS", "0.5", 2.6),
    ("4.1", "CIFAR-10", "COHEN-DS2", "COHEN-DS", "0.75", 0.9),
    ("4.1", "ImageNet", "COHEN-DS2", "COHEN-DS", "0.5", 4.8),
    ("4.1", "ImageNet", "COHEN-DS2", "COHEN-DS", "0.75", 1.8),
    ("4.1", "CIFAR-10", "COHEN-DS2", "COHEN", "ACR", 0.173),
    ("4.2", "CIFAR-10", "SMOOTHADV-DS", "SMOOTHADV", "0.5", 5.4),
    ("4.2", "ImageNet", "SMOOTHADV-DS", "SMOOTHADV", "0.5", 2.8),
    ("4.2", "CIFAR-10", "SMOOTHADV-DS", "SMOOTHADV", "ACR", 0.118),
    ("4.2", "ImageNet", "SMOOTHADV-DS", "SMOOTHADV", "ACR", 0.158),
    ("4.2", "CIFAR-10", "SMOOTHADV-DS2", "SMOOTHADV-DS", "0.5", 0.7),
    ("4.2", "ImageNet", "SMOOTHADV-DS2", "SMOOTHADV-DS", "0.5", 1.4),
    ("4.2", "CIFAR-10", "SMOOTHADV-DS2", "SMOOTHADV-DS", "ACR", 0.013),
    ("4.2", "ImageNet", "SMOOTHADV-DS2", "SMOOTHADV-DS", "ACR", 0.069),
    ("4.2", "CIFAR-10", "SMOOTHADV-DS2", "SMOOTHADV", "0.5", 6.1),
    ("4.2", "ImageNet", "SMOOTHADV-DS2", "SMOOTHADV", "0.5", 4.2),
    ("4.3", "CIFAR-10", "MACER-DS", "MACER", "0.25", 7.4),
    ("4.3", "CIFAR-10", "MACER-DS", "MACER", "0.5", 8.7),
    ("4.3", "CIFAR-10", "MACER-DS", "MACER", "ACR", 0.139),
    ("4.3", "CIFAR-10", "MACER-DS2", "MACER", "0.5", 8.67),
    ("4.4", "CIFAR-10, l1", "YANG-DS", "YANG", "0.5", 7.0),
    ("4.4", "ImageNet, l1", "YANG-DS", "YANG", "0.5", 3.0),
)
NOT_OURS = "their numbers, not ours: what our training gains is in the section `training`"


def gain(data: str, one: str, other: str, at: str) -> float:
    return TABLES[data, one][RADII[at]] - TABLES[data, other][RADII[at]]


def sentences() -> Iterator[Check]:
    for place in dict.fromkeys(g[0] for g in GAINS):
        told = [g for g in GAINS if g[0] == place]
        off = [
            f"{one} over {other} at {at} on {data}: {said:g} said, {gain(data, one, other, at):.3g}"
            for _, data, one, other, at, said in told
            if abs(gain(data, one, other, at) - said) > (0.0011 if at == "ACR" else 0.051)
        ]
        yield Check(
            f"{DDS}, {place}", "the gains that the text states are those of its tables",
            f"{len(told)} of {len(told)}",
            "; ".join([str(len(told) - len(off)), *off]),
            "the last digit", not off, NOT_OURS, misprint=True,
        )  # fmt: skip
    best = []
    for data in ("CIFAR-10", "ImageNet"):
        base = max(v[2] for (d, m), v in TABLES.items() if d == data and "-DS" not in m)
        ours = max(v[2] for (d, m), v in TABLES.items() if d == data and m.endswith("-DS2"))
        best.append(ours - base)
    yield Check(
        f"{DDS}, abstract", "9 % and 6 % over the strongest baseline at radius 0.5 on CIFAR-10 "
        "and ImageNet", "9 and 6 points by its tables", joined(best, 1) + " points", "0.5",
        abs(best[0] - 9) < 0.5 and abs(best[1] - 6) < 0.5,
        "9 is over MACER, which is not the strongest at 0.5 (SMOOTHADV is); " + NOT_OURS,
    )  # fmt: skip
    reached = [
        max(v[1] for (d, m), v in TABLES.items() if d == data and m.endswith("-DS2"))
        for data in ("CIFAR-10", "ImageNet")
    ]
    yield Check(
        f"{DDS}, introduction", "certified accuracies of 68.3 % and 64.2 % at radius 0.25",
        "68.3/64.2 in its tables", joined(reached, 1), "0.05", reached == [68.3, 64.2], NOT_OURS,
    )  # fmt: skip
    drops = [
        f"{gain(data, 'SMOOTHADV-DS', 'SMOOTHADV', at):+.1f} at {at} on {data}"
        for data in ("CIFAR-10", "ImageNet")
        for at in ("0", "0.25", "0.5", "0.75")
        if gain(data, "SMOOTHADV-DS", "SMOOTHADV", at) < 0
    ]
    yield Check(
        f"{DDS}, 4.2", "SMOOTHADV-DS improves on SMOOTHADV over all radii",
        "no entry of its Table 2 below at radius 0 to 0.75", "; ".join(drops) or "none", "0",
        not drops, NOT_OURS,
    )  # fmt: skip
    yield from adre_table()


#: Accuracies of Table 1 in hundredths at radii 0, 0.25, ... of Basic and of the best ADRE rows.
ADRE_ROWS = {
    "CIFAR-10, sigma 0.12": ((81, 59), (83, 68)),
    "CIFAR-10, sigma 0.25": ((75, 60, 43, 27), (78, 64, 50, 34)),
    "CIFAR-10, sigma 0.50": ((65, 55, 41, 32, 23, 15, 9, 5), (67, 57, 48, 38, 30, 23, 17, 11)),
    "CIFAR-10, sigma 1.00": (
        (47, 39, 34, 28, 22, 17, 14, 12, 10, 8), (49, 43, 36, 29, 22, 19, 15, 13, 11, 8),
    ),
    "ImageNet, sigma 0.25": ((67, 58, 49, 37), (70, 64, 57, 45)),
    "ImageNet, sigma 0.50": (
        (57, 52, 46, 42, 37, 33, 29, 22), (62, 57, 52, 47, 42, 36, 29, 24),
    ),
    "ImageNet, sigma 1.00": (
        (44, 41, 38, 35, 33, 29, 26, 22, 19, 17, 15, 13, 12),
        (48, 45, 41, 37, 36, 32, 30, 26, 23, 22, 18, 15, 14),
    ),
}  # fmt: skip


def adre_table() -> Iterator[Check]:
    most: dict[str, int] = {}
    lost = []
    for name, (basic, regular) in ADRE_ROWS.items():
        data = name.split(",")[0]
        step = max(b - a for a, b in zip(basic, regular, strict=True))
        most[data] = max(most.get(data, 0), step)
        if regular[0] < basic[0]:
            lost.append(name)
    yield Check(
        f"{ADRE}, Table 1", "up to 9 % on CIFAR-10 and 8 % on ImageNet without losing standard "
        "accuracy", "9/8 points by its table, nothing lost",
        f"{most['CIFAR-10']}/{most['ImageNet']} points; lost: {', '.join(lost) or 'nothing'}",
        "the table's digits", most == {"CIFAR-10": 9, "ImageNet": 8} and not lost,
        "one lambda for each sigma; " + NOT_OURS,
    )  # fmt: skip
