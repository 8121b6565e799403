"""What training for certificates gains, on MNIST and the digits.

`make paper-training` trains and certifies every method, in hours, and writes its tables, which are
read here: [training.md](training.md). The papers' claims are about CIFAR-10 and ImageNet; these
rows are the same comparisons on smaller data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from paper_checks import FOLDER, Check

#: How the tables name a paper, and how the report does.
NAMES = {"ADRE and T-Certify": "adre-t-certify", "Alfarra et al. 2022": "data-dependent-smoothing"}
HOLDS = {"holds": True, "does not hold": False, "not decided": None}


def run(quick: bool = False, path: Path = FOLDER / "training.md") -> Iterator[Check]:
    if not path.is_file():
        print("  no training.md here; `make paper-training` writes it, in hours")
        yield Check(
            "adre-t-certify and data-dependent-smoothing, all training tables",
            "training for certificates gains certified radius",
            "mean radius above the compared method's", "not run here", "-", None,
            "`make paper-training`, then `make paper-checks ARGS='--only training'`",
        )  # fmt: skip
        return
    yield from rows(path.read_text())


def rows(text: str) -> Iterator[Check]:
    """A check for each difference in the tables."""
    where = ""
    for line in text.splitlines():
        if line.startswith("## "):
            where = line.removeprefix("## ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 6 or cells[-1] not in HOLDS:
            continue
        pair, mean, interval, each, claim, said = cells
        method, parent = pair.split(" over ")
        source = re.sub("|".join(map(re.escape, NAMES)), lambda found: NAMES[found.group()], claim)
        yield Check(
            source, f"{method} certifies more than {parent} ({where})",
            "difference of mean radii above 0", f"{mean} (95 %: {interval}; by seed {each})",
            "the interval, over images, with the seeds as they are", HOLDS[said],
            "" if said == "holds" else "both are offered; `compare` on your own data",
        )  # fmt: skip
