"""One script per published claim: what it says, what we get, a verdict.

A script ``check_*.py`` holds a function ``run()`` that yields `Check` records. ``python -m
paper_checks`` (or ``make paper-checks``) runs them all and writes ``REPORT.md`` beside them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).resolve().parent


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
        What would still count as agreement.
    holds : bool
        Whether the claim holds as printed.
    remark : str
        What the library does about it.
    """

    source: str
    claim: str
    expected: str
    got: str
    tolerance: str
    holds: bool
    remark: str = ""

    @property
    def verdict(self) -> Literal["holds", "does not hold as printed"]:
        """The verdict in words."""
        return "holds" if self.holds else "does not hold as printed"


def data_folder() -> Path | None:
    """The folder with published counts and logs, where there is one."""
    given = os.environ.get("RSBOUNDS_DATA")
    folder = Path(given) if given else FOLDER.parent.parent / "shared" / "data"
    return folder if folder.is_dir() else None
