"""What the papers claim, each claim with our numbers and a verdict.

A file ``check_*.py`` is one section: a function ``run(quick)`` yields `Check` records, one per
claim, in a fixed order; ``quick`` makes the same rows from less work, for the tests. ``python -m
paper_checks`` (or ``make paper-checks``) runs them all and writes ``REPORT.md`` beside them.
Everything is seeded, and no machine's timings are in it: the same code and data give the same
bytes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

#: The four papers that the library is built from, as sources name them.
PAPERS = {
    "adre-t-certify": "Feng, Wu, Chen, Zhang and Ning 2020, regularized training and tight "
    "certification",
    "optimal-certified-radius": "Moutaouakil, optimal certified radius estimation (a draft)",
    "data-dependent-smoothing": "Alfarra, Bibi, Torr and Ghanem 2022, data-dependent smoothing",
    "rddrs": "Labarbarie, Hajri and Arnaudon 2022, Riemannian data-dependent smoothing",
}

#: Places where a paper must not be taken as it is printed; every one has a row in the report.
ERRATA = {
    "rddrs-eq1": "R with sigma^2/2 for sigma/2",
    "rddrs-eq2": "r(x, Sigma) and R(C) without the half",
    "rddrs-covariance": "noise N(0, C), and y = x + C Z",
    "rddrs-root": "the square root of the product of axes",
    "rddrs-gradients": "B and D as printed do not type-check",
    "ddrs-soft-p": "p_A of the optimisation is soft and clamped",
    "tcertify-bars": "events with bars swapped",
    "tcertify-grid": "alpha = 0.1, ..., 1.0",
    "tcertify-sum": "a sum over all classes for p_B",
    "tcertify-maximum": "the maximum over the grid holds at 1 - alpha",
    "tcertify-majority": "lower(p_A) > 1/2 is required",
    "ocr-coefficient": "the multinomial coefficient as a product of binomials",
    "ocr-tail": "Pi(L) without the observed value",
    "ocr-runner-up": "why the empirical runner-up stays conservative",
    "ocr-heuristic": "a heuristic minimum decides the search",
    "ocr-proposition-2": "ln(1/delta) in both terms",
    "ocr-proposition-3": "PrPl-EB: square root, no t, cap 1, variance terms",
    "ocr-lemma-2": "the Taylor series and p_1 >= 1/2",
    "dds-ascent": "optimising cannot reduce the radius",
    "dds-certificate": "what the data-dependent classifier's certificate is about",
    "prpl-eb-factor": "PrPl-EB without the factor 4 in v_i",
}


@dataclass(frozen=True)
class Check:
    """One claim and what came of it.

    Attributes
    ----------
    source : str
        Paper and place.
    claim : str
        What it says, in a sentence.
    expected, got : str
        Numbers of the claim, and ours.
    tolerance : str
        What would still count as agreement, or the error of the check.
    holds : bool or None
        Whether the claim holds as printed; None where the check cannot decide.
    remark : str
        What the library does about it.
    erratum : str
        Key of `ERRATA`, where the row shows one.
    misprint : bool
        Whether what does not hold is a slip of the text, whose right form is in the remark.
    """

    source: str
    claim: str
    expected: str
    got: str
    tolerance: str
    holds: bool | None
    remark: str = ""
    erratum: str = ""
    misprint: bool = False

    def __post_init__(self) -> None:
        if self.holds is not None:
            # Comparisons of arrays give numpy's booleans.
            object.__setattr__(self, "holds", bool(self.holds))
        if self.erratum and self.erratum not in ERRATA:
            raise ValueError(f"erratum is {self.erratum!r}; allowed: {', '.join(ERRATA)}")

    @property
    def verdict(self) -> str:
        """``holds``, ``fails``, ``misprint`` or ``not decided``."""
        if self.holds is None:
            return "not decided"
        return "holds" if self.holds else "misprint" if self.misprint else "fails"


def data_folder() -> Path | None:
    """The folder with published counts and logs, where there is one."""
    given = os.environ.get("RSBOUNDS_DATA")
    folder = Path(given) if given else FOLDER.parent.parent / "shared" / "data"
    return folder if folder.is_dir() else None


def joined(values: object, digits: int = 4) -> str:
    """Numbers with a slash between them."""
    return "/".join(f"{value:.{digits}f}" for value in values)  # type: ignore[attr-defined]
